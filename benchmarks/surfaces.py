"""Surfaces of single membranes (§6.2): how far off, how honest their error bars, and at what cost.

Bodies seen with 0.75 voxel noise and 5 % outliers, the poles beyond 60° missing, pruned as in a run. Errors are distances of
the fitted surface from the true one, in voxels; the *gap* is what was not seen. Seeds 100-111 are those on which methods and
settings were chosen, 200-219 never were. Bodies that are left open have no gap to be measured; their number says so.
"""
import os
import resource
import subprocess
import sys
import timeit
from pathlib import Path

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from cryoseg.base.geometry import farthest_points, harmonic_degrees, project_to_sheet, spherical_harmonics
from cryoseg.surface.gp import positional_sigma
from cryoseg.surface.nested import refit_nested
from cryoseg.surface.select import prune_points
from cryoseg.base.mesh import face_normals, vertex_normals
from cryoseg.base.slivers import smallest_angles
from cryoseg.surface.settings import SurfaceSettings
from cryoseg.surface.sheet import fit_sheet
from cryoseg.surface.fit import fit_surface
from cryoseg.surface.raster import rasterize
from cryoseg.base.formats import read_volume
from _bodies import area_and_volume, bean, bent_capsule, biconcave_disc, double_body, observe, random_body
from _tables import arguments, finish, print_table

EXACT = dict(label_sigma_vox=0., flat_sigma_vox=0., systematic_sigma_vox=0.)      # these voxels err one by one
TUNED, FRESH, VIEWS = range(100, 112), range(200, 220), range(5)
STAR = {'ellipsoids': 0., 'bumpy, 0.6': .6, 'bumpy, 1.0': 1.}


def tilted(body, angle_deg=35.):
    "A body turned about its x axis, so that other parts of it are hidden."
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    turn = np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
    return body[0] @ turn, body[1] @ turn, body[2]


CONCAVE = {'C (bent capsule)': bent_capsule, 'bean': bean, 'biconcave disc': biconcave_disc}     # settings were chosen on the first view of each
OTHERS = {'C, tilted': lambda: tilted(bent_capsule()), 'bean, tilted': lambda: tilted(bean()), 'longer bean': lambda: bean(half_length=90., tube=24., bend=45.),
          'disc, tilted': lambda: tilted(biconcave_disc())}


def to_volume(body):
    "The body with coordinates z,y,x in a volume that holds it, and the shape of that volume."
    points, normals, area = body
    low = points.min(0) - 20
    return (points - low)[:, ::-1], normals[:, ::-1], area, tuple(np.ceil(np.ptp(points, axis=0) + 40).astype(int)[::-1])


def distances(surface, points, normals):
    "Of each vertex: its distance from the true surface, whether it lies where that was not seen, and the area that it stands for."
    far, k = cKDTree(points).query(surface.vertices_vox)
    height = np.abs(((surface.vertices_vox - points[k])*normals[k]).sum(1))
    size = np.linalg.norm(face_normals(surface.vertices_vox, surface.faces), axis=1)
    weight = np.bincount(surface.faces.ravel(), weights=np.repeat(size, 3), minlength=len(far))
    return np.where(far < 3, height, far), np.abs(normals[k, 0]) > .5, weight        # nowhere near the surface, a plane says nothing


def fit_one(body, seed, method='auto'):
    "Fit one body and compare; its measures as a dict."
    points, normals, area, shape = to_volume(body)
    seen = observe(points[:, ::-1], normals[:, ::-1], area, seed=seed)[:, ::-1]
    start = timeit.default_timer()
    surface = fit_surface(seen[prune_points(seen)], shape, SurfaceSettings(method=method, **EXACT))
    row = dict(status=surface.status, method=surface.method, seconds=timeit.default_timer() - start)
    if surface.status == 'refused': return row
    row |= dict(smallest_angle=float(smallest_angles(surface.vertices_vox, surface.faces).min()))
    off, gap, weight = distances(surface, points, normals)
    for name, part in dict(seen=~gap, gap=gap).items():
        if surface.status != 'closed' and name == 'gap': continue
        mean = lambda x: float(np.average(x[part], weights=weight[part]))
        row |= {f'{name}_error': mean(off), f'{name}_95': mean(off < 2*surface.sigma_vox), f'{name}_50': mean(off < .674*surface.sigma_vox)}
    if surface.status == 'closed':
        true_area, true_volume = area_and_volume(points - points.mean(0), normals, area)
        row |= dict(area=float(abs(surface.area_vox2 - true_area) < 2*surface.area_sd_vox2), volume=float(abs(surface.volume_vox3 - true_volume) < 2*surface.volume_sd_vox3))
    return row


def group_row(name, seeds, fits):
    "One row of the table: means over the bodies of a group."
    mean = lambda key: float(np.mean([f[key] for f in fits if key in f])) if any(key in f for f in fits) else None
    count = lambda status: sum(f['status'] == status for f in fits)
    sharpest = min((f['smallest_angle'] for f in fits if 'smallest_angle' in f), default=None)
    return dict(bodies=name, seeds=seeds, n=len(fits), closed=count('closed'), open=count('open'), refused=count('refused'),
                seen_error=mean('seen_error'), gap_error=mean('gap_error'), seen_in_95=mean('seen_95'), gap_in_95=mean('gap_95'),
                seen_in_50=mean('seen_50'), gap_in_50=mean('gap_50'), area_in_95=mean('area'), volume_in_95=mean('volume'), smallest_angle_deg=sharpest, seconds=mean('seconds'))


def body_rows():
    "The table of bodies."
    rows = []
    for name, amplitude in STAR.items():
        for label, seeds in (('100-111', TUNED), ('200-219', FRESH)):
            rows.append(group_row(name, label, [fit_one(random_body(seed, amplitude, 30_000), seed) for seed in seeds]))
    rows.append(group_row('ellipsoids', '400-439', [fit_one(random_body(seed, 0., 30_000), seed) for seed in range(400, 440)]))     # for area and volume 20 are few
    for name, make in CONCAVE.items():
        rows.append(group_row(name, '0-4', [fit_one(make(), seed) for seed in VIEWS]))
    for name, make in OTHERS.items():
        rows.append(group_row(name, '10-12', [fit_one(make(), seed) for seed in (10, 11, 12)]))
    return rows


def known_generator(seed, amplitude, finest=5, centre_known=False):
    "The gap error of someone who knows how `random_body` draws: the variances of its bumps, that they end at a degree, the noise, and which voxels are strays."
    points, normals, area = random_body(seed, amplitude, 30_000)
    rng = np.random.default_rng(seed)
    rng.normal(size=32)
    axes, degrees = rng.uniform(.85, 1.2, 3), harmonic_degrees(finest)[4:]
    seen = observe(points, normals, area, outliers=0., seed=seed)
    def features(u):                                                # bumps, axes, centre: to first order, each times its standard deviation
        q = (u*u/axes**2).sum(1)
        parts = [spherical_harmonics(u[:, ::-1], finest)[:, 4:]*amplitude*60*.16/degrees**1.3, 60*q[:, None]**-1.5*u*u/axes**3*.35/12**.5]
        return np.hstack(parts if centre_known else [*parts, 30*u])
    def bump(x):
        r = np.linalg.norm(x, axis=1)
        return x/r[:, None], r - 60/np.sqrt(((x/r[:, None])**2/axes**2).sum(1))
    near = cKDTree(points).query(seen)[1]
    u, y = bump(seen)
    slope = np.abs((u*normals[near]).sum(1))
    f, y = features(u)*slope[:, None]/.75, y*slope/.75
    mean = np.linalg.solve(f.T @ f + np.eye(f.shape[1]), f.T @ y)
    u, y = bump(points)
    off, gap = np.abs(features(u) @ mean - y)*np.abs((u*normals).sum(1)), np.abs(normals[:, 2]) > .5
    return float(np.average(off[gap], weights=area[gap]))


def bound_rows(rows):
    "What the gap error could be at best, beside what it is."
    found = {(r['bodies'], r['seeds']): r['gap_error'] for r in rows}
    knows = {'all_but_axes': dict(centre_known=True), 'all_but_axes_and_centre': {}, 'and_bumps_may_end_at_6': dict(finest=6), 'and_bumps_may_end_at_8': dict(finest=8)}
    return [dict(bodies=name, seeds=label, ours=found[name, label], **{key: float(np.mean([known_generator(seed, amplitude, **k) for seed in seeds])) for key, k in knows.items()})
            for name, amplitude in STAR.items() if amplitude for label, seeds in (('100-111', TUNED), ('200-219', FRESH))]


LOST = np.cos(np.radians(35))


def double_one(outer, inner, seed):
    "A body in a body, each with a stretch of its own lost, before and after they are tried together: measures of both as a dict."
    low = outer[0].min(0) - 20
    shape, angle = tuple(np.ceil(np.ptp(outer[0], axis=0) + 40).astype(int)[::-1]), np.random.default_rng([seed, 9]).uniform(0, 2*np.pi)
    truth, clouds = {}, {}
    for id, (points, normals, area), side in ((1, outer, 1), (2, inner, -1)):
        points, normals, side = (points - low)[:, ::-1], normals[:, ::-1], side*np.array([0, np.cos(angle), np.sin(angle)])
        u = points - points.mean(0)
        lost = u @ side > LOST*np.linalg.norm(u, axis=1)
        truth[id] = points, normals, lost
        seen = observe(points[:, ::-1], normals[:, ::-1], np.where(lost, 0, area), n=15_000, seed=seed + 1000*id)[:, ::-1]
        clouds[id] = seen[prune_points(seen)]
    settings = SurfaceSettings(**EXACT)
    alone = [fit_surface(cloud, shape, settings, id=id) for id, cloud in clouds.items()]
    start = timeit.default_timer()
    both = refit_nested(alone, clouds, shape, settings)
    row = dict(closed=all(s.status == 'closed' for s in alone), together=all(s.method == 'nested' for s in both), seconds=timeit.default_timer() - start)
    for name, surfaces in (('alone', alone), ('together', both)):
        for s in surfaces:
            points, normals, lost = truth[s.id]
            off, gap, weight = distances(s, points, normals)
            lost = lost[cKDTree(points).query(s.vertices_vox)[1]] & ~gap
            for zone, part in dict(seen=~gap & ~lost, lost=lost, poles=gap).items():
                row.setdefault(f'{zone}_{name}', []).append(float(np.average(off[part], weights=weight[part])))
                if name == 'together': row.setdefault(f'{zone}_in_95', []).append(float(np.average((off < 2*s.sigma_vox)[part], weights=weight[part])))
    return {k: float(np.mean(v)) if isinstance(v, list) else v for k, v in row.items()}


def shifted(body, scale, shift):
    "A body scaled down and moved."
    return body[0]*scale + shift, body[1], body[2]*scale**2


def double_rows():
    "Double membranes, and vesicles that only lie one in the other."
    kinds = {f'double, {a}, {d:g} apart': lambda seed, a=a, d=d: double_body(seed, a, d) for a, d in ((.6, 10.), (1., 10.), (.6, 20.))}
    kinds['stranger in the middle'] = lambda seed: (random_body(seed, .6, 30_000), shifted(random_body(seed + 50, .6, 30_000), .6, 0))
    kinds['stranger aside'] = lambda seed: (random_body(seed, .6, 30_000), shifted(random_body(seed + 50, .6, 30_000), .6, [6, -5, 2]))
    rows = []
    for kind, make in kinds.items():
        for label, seeds in (('300-302', range(300, 303)), ('500-505', range(500, 506))):      # the former chose the priors
            fits = [double_one(*make(seed), seed) for seed in seeds]
            done = [f for f in fits if f['together']]
            mean = lambda key: float(np.mean([f[key] for f in done])) if done else None
            rows.append(dict(bodies=kind, seeds=label, n=len(fits), closed=sum(f['closed'] for f in fits), together=len(done),
                             **{f'{zone}_{key}': mean(f'{zone}_{key}') for zone in ('seen', 'lost', 'poles') for key in ('alone', 'together', 'in_95')}, seconds=float(np.mean([f['seconds'] for f in fits]))))
    return rows


def open_rows(seeds=range(2), n=3_000):
    "Sheets that have a boundary in full view: how many are closed by force."
    rows = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        a, b, t = rng.uniform(-50, 50, n), rng.uniform(-50, 50, n), rng.uniform(-1.6, 1.6, n)
        ball = rng.standard_normal((3*n, 3))
        ball /= np.linalg.norm(ball, axis=1)[:, None]
        ball = 45*ball[np.abs(ball[:, 0]) < .5]
        sheets = {'flat, upright': np.c_[a, b, 0*a], 'flat, level': np.c_[0*a, a, b], 'wavy': np.c_[a, b, 12*np.sin(b/12)], 'half a tube': np.c_[a, 30*np.sin(t), 30*np.cos(t)],
                  'S-shaped wall': np.c_[a, 25*np.sign(t)*(1 - np.cos(2*t)), 25*np.sin(2*t)], 'half a sphere': ball[ball[:, 1] < 0], 'three quarters of a sphere': ball[ball[:, 1] < 22]}
        for name, cloud in sheets.items():
            for method in ('auto', 'normals'):
                s = fit_surface(cloud + 100 + .5*rng.standard_normal(cloud.shape), (200,)*3, SurfaceSettings(method=method, **EXACT))
                rows.append(dict(sheet=name, method=method, status=s.status))
    pairs = dict.fromkeys((r['sheet'], r['method']) for r in rows)
    return [dict(sheet=sheet, method=method, n=len(seeds), **{status: sum(r == dict(sheet=sheet, method=method, status=status) for r in rows) for status in ('closed', 'open', 'refused')}) for sheet, method in pairs]


def score(away, sigma):
    "Error and coverage of held-out positions."
    return dict(held_out=len(away), error_vox=float(np.abs(away).mean()), in_95=float((np.abs(away) < 1.96*sigma).mean()), in_50=float((np.abs(away) < .674*sigma).mean()), sigma_vox=float(sigma.mean()))


def held_out_slices(path):
    "A real closed membrane: every third slice is left out and predicted. The held-out position is the middle of the sheet there."
    labels = np.asarray(read_volume(path, check=False).data)
    points = np.argwhere(labels == 1).astype(float)
    left_out = points[:, 0] % 3 == 1
    kept, held = points[~left_out], points[left_out]
    s = fit_surface(kept[prune_points(kept)], labels.shape)
    middle, normals, _ = project_to_sheet(held[farthest_points(held, 2000)], held, 7.)
    middle = middle[np.isfinite(normals).all(1)]
    near = cKDTree(s.vertices_vox).query(middle)[1]
    away = ((middle - s.vertices_vox[near])*vertex_normals(s.vertices_vox, s.faces)[near]).sum(1)
    return dict(mask=path.stem, left_out='every third slice', status=s.status, **score(away, s.sigma_vox[near]))


def held_out_patches(path, share=.1, radius=7.5, seed=0):
    "A real sheet: patches 15 voxels wide, a tenth of it, are left out and predicted by the process behind the open surface."
    labels = np.asarray(read_volume(path, check=False).data)
    points = np.argwhere(labels == 1).astype(float)
    points = points[prune_points(points)]
    left_out, rng = np.zeros(len(points), bool), np.random.default_rng(seed)
    while left_out.mean() < share: left_out |= np.linalg.norm(points - points[rng.integers(len(points))], axis=1) < radius
    process, held = fit_sheet(points[~left_out]), points[left_out]
    middle, normals, _ = project_to_sheet(held, held, 7.)
    middle = middle[np.isfinite(normals).all(1)]
    gradient = process.gradient(middle)
    sigma = np.hypot(positional_sigma(process.variance(middle), gradient), SurfaceSettings().systematic_sigma_vox)
    return dict(mask=path.stem, left_out='patches of 15 voxels', status='open', **score(process.mean(middle)/np.linalg.norm(gradient, axis=1), sigma))


def cost_rows():
    "Seconds of the fit against the number of voxels."
    rows = []
    for n in (1_000, 10_000, 100_000, 1_000_000):
        points, normals, area, shape = to_volume(random_body(100, .6, 30_000))
        seen = observe(points[:, ::-1], normals[:, ::-1], area, n=n)[:, ::-1]
        start = timeit.default_timer()
        kept = seen[prune_points(seen)]
        pruned = timeit.default_timer()
        surface = fit_surface(kept, shape, SurfaceSettings(**EXACT))
        rows.append(dict(voxels=n, status=surface.status, prune_seconds=pruned - start, fit_and_mesh_seconds=timeit.default_timer() - pruned))
    return rows


def grid_rows():
    "Seconds to draw one surface (fitted once, radius about 60 voxels) into volumes of growing size, and of a body that grows with its volume."
    points, normals, area, _ = to_volume(random_body(100, .6, 30_000))
    seen = observe(points[:, ::-1], normals[:, ::-1], area)[:, ::-1]
    rasterize([fit_surface(seen, (400,)*3, SurfaceSettings(**EXACT))], (180,)*3)      # compiled before anything is timed
    rows = []
    for side in (100, 160, 250, 360, 460):
        row = dict(grid_voxels=side**3)
        for name, scale in (('same_body', .6), ('growing_body', .6*side/100)):
            surface = fit_surface((seen - seen.mean(0))*scale + side/2, (side,)*3, SurfaceSettings(**EXACT))
            start = timeit.default_timer()
            rasterize([surface], (side,)*3)
            row[f'{name}_seconds'] = timeit.default_timer() - start
        rows.append(row)
    return rows


def peak_GB():
    "The most memory of this process so far. (ru_maxrss would begin with that of the process that started this one.)"
    status = Path('/proc/self/status')
    if not status.exists(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1e6
    return int(next(line for line in status.read_text().splitlines() if line.startswith('VmHWM')).split()[1])*1024/1e9


def whole_volume(n=300_000, side=412):
    "What the subprocess does: one large body, fitted, meshed and drawn into a volume of 7e7 voxels; prints its seconds and memory."
    points, normals, area = random_body(100, .6, 30_000)
    seen = observe(points*2.4, normals, area, n=n)[:, ::-1] + side/2
    small = fit_surface(observe(points, normals, area, n=3000)[:, ::-1] + 90, (180,)*3, SurfaceSettings(**EXACT))
    rasterize([small], (180,)*3)                                    # compiled before anything is timed
    before = peak_GB()
    start = timeit.default_timer()
    surface = fit_surface(seen, (side,)*3, SurfaceSettings(**EXACT))
    fitted = timeit.default_timer()
    rasterize([surface], (side,)*3)
    print(surface.status, fitted - start, timeit.default_timer() - fitted, before, peak_GB())


def dense_seconds(n=300_000, voxels=7e7, part=2_000):
    "What a dense thin-plate interpolation would take for as much: its solution measured on a part and extrapolated with n³, its values with n times voxels."
    rng = np.random.default_rng(0)
    points = rng.standard_normal((part, 3))
    start = timeit.default_timer()
    f = RBFInterpolator(points, points[:, 0], smoothing=1e-3, kernel='cubic')
    solved = timeit.default_timer()
    f(rng.standard_normal((5_000, 3)))
    return (solved - start)*(n/part)**3 + (timeit.default_timer() - solved)*(n/part)*(voxels/5_000)


def volume_row():
    "The whole volume in a process of its own, for its memory."
    path = os.pathsep.join([str(Path(__file__).resolve().parents[1]), os.environ.get('PYTHONPATH', '')])
    done = subprocess.run([sys.executable, __file__, '--whole-volume'], capture_output=True, text=True, check=True, env={**os.environ, 'PYTHONPATH': path})
    status, fit, draw, before, after = done.stdout.split()
    ours, dense = float(fit) + float(draw), dense_seconds()
    return dict(voxels=300_000, grid_voxels=412**3, status=status, fit_and_mesh_seconds=float(fit), rasterize_seconds=float(draw), memory_before_GB=float(before), peak_memory_GB=float(after),
                dense_rbf_seconds_extrapolated=dense, times_faster=dense/ours)


def main():
    if '--whole-volume' in sys.argv: return whole_volume()
    args = arguments(__doc__, data=True).parse_args()
    fit_one(random_body(1, .6, 5_000), 1)                           # compiled before anything is timed
    bodies = body_rows()
    tables = [('surfaces', bodies), ('the gap, if one knew the generator', bound_rows(bodies)), ('double membranes', double_rows()), ('sheets that are open', open_rows()), ('cost against the number of voxels', cost_rows()), ('cost against the grid', grid_rows()), ('a large body in a large volume', [volume_row()])]
    masks = args.data / 'segmentations'
    if masks.is_dir():
        tables.append(('real membranes: held out and predicted', [held_out_slices(masks / f'{name}.npz') for name in ('microsome_tomo22_ves4', 'vesicle_t74')] +
                       [held_out_patches(masks / f'thylakoid_{name}.npz') for name in ('T1S1M1', 'T1S2M15', 'T1S4M8')]))
    else: print(f'no masks at {masks}: left out (--data DIR)')
    for title, rows in tables: print_table(title, rows)
    finish(tables, args.json)


if __name__ == '__main__': main()
