"""Surfaces beside those of others, in one run: `pip install "cryoseg[bench]"`, then `python benchmarks/opponents.py`.

The bumpy bodies of `surfaces.py`, seen with 0.75 voxel noise and 5 % outliers, the poles beyond 60° missing. All get the same pruned voxels,
averaged to the same oriented points (but ours by displacement, which takes the voxels themselves):

* screened Poisson (Kazhdan and Hoppe 2013), pymeshlab, depth 6;
* stochastic Poisson (Sellán and Jacobson 2022), gpytoolbox, on a grid of 30³;
* radial basis functions, thin plates, scipy, on the values -1, 0, 1 at points beside the sheet.

Errors are distances from the true surface in voxels; the *gap* is what was not seen. Where a method has an error bar, one factor is chosen on
the seeds 100-105 so that ±2σ holds 95 % there; its coverage and its mean σ, the *sharpness*, are of the seeds 200-209.

The second table asks four packages for the same measures of one mesh, of an ellipsoid whose curvature is known.
"""
import time

import numpy as np
from scipy.interpolate import RBFInterpolator
from skimage.measure import marching_cubes

from cryoseg.base.mesh import largest_parts
from cryoseg.result.records import Surface
from cryoseg.surface.fit import fit_surface
from cryoseg.surface.select import prune_points
from cryoseg.surface.settings import SurfaceSettings
from cryoseg.surface.sheet import oriented_points
from _bodies import observe, random_body
from _tables import arguments, finish, print_table
from surfaces import EXACT, distances, to_volume

CHOOSING, FRESH, AMPLITUDE = range(100, 106), range(200, 210), .6
N_POINTS, RADIUS, OFFSET, SIDE, MARGIN = 700, 7., 2., 30, 12.
WANTED = .95


def as_surface(vertices, faces, sigma=None):
    "A mesh as a Surface, its largest part."
    kept = largest_parts(vertices, faces, .5)
    return Surface(1, vertices, faces[kept], np.full(len(vertices), np.nan) if sigma is None else sigma, 'closed')


def grid_of(points):
    "The corner and the step of a cubic grid round some points."
    low, high = points.min(0) - MARGIN, points.max(0) + MARGIN
    return low, float((high - low).max()/(SIDE - 1))


def zero_mesh(values, low, step):
    "The zero set of values on a grid."
    vertices, faces, _, _ = marching_cubes(values, 0., gradient_direction='descent')
    return low + step*vertices, faces


def interpolated(values, vertices, low, step):
    "Values of a grid at some places."
    from scipy.ndimage import map_coordinates
    return map_coordinates(values, ((vertices - low)/step).T, order=1, mode='nearest')


def ours(voxels, on, normals, shape):
    "This package."
    return fit_surface(voxels, shape, SurfaceSettings(**EXACT))


def screened_poisson(voxels, on, normals, shape):
    "pymeshlab."
    import pymeshlab
    meshes = pymeshlab.MeshSet()
    meshes.add_mesh(pymeshlab.Mesh(vertex_matrix=on, v_normals_matrix=normals))
    meshes.generate_surface_reconstruction_screened_poisson(depth=6, preclean=True)
    mesh = meshes.current_mesh()
    return as_surface(mesh.vertex_matrix(), mesh.face_matrix())


def stochastic_poisson(voxels, on, normals, shape):
    "gpytoolbox: mean and variance of an indicator on a grid; the surface's error is the indicator's over its slope."
    from gpytoolbox import stochastic_poisson_surface_reconstruction
    low, step = grid_of(on)
    span = step*(SIDE - 1)/2                        # its numbers want a box of about two
    mean, variance, _ = stochastic_poisson_surface_reconstruction((on - low)/span, normals, gs=np.array([SIDE]*3), h=np.array([step/span]*3),
                                                                  corner=np.zeros(3), output_variance=True, sigma=.05, sigma_n=.02, solve_subspace_dim=1000)
    mean, variance = (np.reshape(values, (SIDE,)*3).T for values in (mean, variance))       # its last axis comes first
    vertices, faces = zero_mesh(mean, low, step)
    slope = np.linalg.norm([interpolated(part, vertices, low, step) for part in np.gradient(mean, step)], axis=0)
    return as_surface(vertices, faces, np.sqrt(np.maximum(interpolated(variance, vertices, low, step), 0))/np.maximum(slope, 1e-9))


def radial_basis(voxels, on, normals, shape):
    "scipy: thin plates through the sheet and points beside it."
    low, step = grid_of(on)
    places = np.vstack([on, on + OFFSET*normals, on - OFFSET*normals])
    values = np.repeat([0., 1., -1.], len(on))
    grid = low + step*np.stack(np.meshgrid(*[np.arange(SIDE)]*3, indexing='ij'), -1).reshape(-1, 3)
    field = RBFInterpolator(places, values, neighbors=100, smoothing=1., kernel='thin_plate_spline')(grid).reshape((SIDE,)*3)
    return as_surface(*zero_mesh(field, low, step))


METHODS = {'cryoseg': ours, 'screened Poisson': screened_poisson, 'stochastic Poisson': stochastic_poisson, 'radial basis functions': radial_basis}


def one(seed):
    "What each method makes of a body: errors, sigmas, weights, and CPU seconds."
    points, normals, area, shape = to_volume(random_body(seed, AMPLITUDE, 30_000))
    seen = observe(points[:, ::-1], normals[:, ::-1], area, seed=seed)[:, ::-1]
    voxels = seen[prune_points(seen)]
    start = time.process_time()
    on, outwards = oriented_points(voxels, N_POINTS, RADIUS)
    shared, found = time.process_time() - start, {}
    for name, method in METHODS.items():
        start = time.process_time()
        surface = method(voxels, on, outwards, shape)
        seconds = time.process_time() - start + (0 if name == 'cryoseg' else shared)
        off, gap, weight = distances(surface, points, normals)
        found[name] = dict(off=off, gap=gap, weight=weight, sigma=surface.sigma_vox, seconds=seconds, status=surface.status)
    return found


def pooled(found, name, part):
    "Errors, sigmas and weights of all bodies, of the seen part or of the gap."
    rows = [f[name] for f in found]
    chosen = [row['gap'] if part == 'gap' else ~row['gap'] if part == 'seen' else np.ones(len(row['off']), bool) for row in rows]
    return tuple(np.concatenate([row[key][own]/(row['weight'].sum() if key == 'weight' else 1) for row, own in zip(rows, chosen)]) for key in ('off', 'sigma', 'weight'))


def factor_for(found, name):
    "The factor of sigma by which ±2σ holds the wanted part."
    off, sigma, weight = pooled(found, name, 'all')
    if not np.isfinite(sigma).all(): return None
    order = np.argsort(off/(2*np.maximum(sigma, 1e-9)))
    share = np.cumsum(weight[order])/weight.sum()
    return float((off/(2*np.maximum(sigma, 1e-9)))[order][np.searchsorted(share, WANTED)])


def rows_of(chosen, fresh):
    "A row a method."
    rows = []
    for name in METHODS:
        factor, row = factor_for(chosen, name), dict(method=name, bodies=len(fresh))
        for part in ('seen', 'gap'):
            off, sigma, weight = pooled(fresh, name, part)
            row[f'{part}_error'] = np.average(off, weights=weight)
            row[f'{part}_in_95_as_it_is'] = f'{np.average(off <= 2*sigma, weights=weight):.0%}' if factor else ''
        off, sigma, weight = pooled(fresh, name, 'all')
        row['factor'] = factor if factor else ''
        row['coverage_with_it'] = f'{np.average(off <= 2*factor*sigma, weights=weight):.0%}' if factor else ''
        row['sharpness_with_it'] = np.average(factor*sigma, weights=weight) if factor else ''
        row['cpu_seconds'] = np.mean([f[name]['seconds'] for f in fresh])
        rows.append(row)
    return rows


def mesh_rows():
    "Curvature, area, volume and the distance of nearest places on the mesh of an ellipsoid, by four packages."
    import igl
    import pyvista
    import trimesh
    from cryoseg.base.geometry import icosphere
    from cryoseg.base.mesh import mesh_area, mesh_volume
    from cryoseg.base.nearest import nearest_on_mesh
    from cryoseg.measure.curvature import mesh_curvature
    directions, faces = icosphere(4)
    a = np.array([30., 24., 18.])
    vertices = directions*a
    q = (vertices**2/a**4).sum(1)
    true_mean = ((a**2).sum() - (vertices**2).sum(1))/(2*a.prod()**2*q**1.5)
    asked = np.random.default_rng(0).normal(0, 30, (3000, 3))
    closest = trimesh.Trimesh(vertices, faces, process=False)
    poly = pyvista.PolyData(vertices, np.column_stack([np.full(len(faces), 3), faces]))
    first, second = igl.principal_curvature(vertices, faces)[2:4]
    off = {'cryoseg': nearest_on_mesh(asked, vertices, faces).distance, 'libigl': np.sqrt(igl.point_mesh_squared_distance(asked, vertices, faces)[0])}
    off['pyvista'] = np.abs(pyvista.PolyData(asked).compute_implicit_distance(poly)['implicit_distance'])
    mean = {'cryoseg': mesh_curvature(vertices, faces).mean, 'libigl': np.abs(first + second)/2, 'pyvista': np.abs(poly.curvature('mean'))}
    size = {'cryoseg': (mesh_area(vertices, faces), mesh_volume(vertices, faces)), 'trimesh': (closest.area, closest.volume), 'pyvista': (poly.area, poly.volume)}
    rows = []
    for name in ('cryoseg', 'libigl', 'trimesh', 'pyvista'):
        row = dict(package=name)
        row['mean_curvature_rms'] = f'{np.sqrt(np.mean((mean[name]/true_mean - 1)**2)):.3%}' if name in mean else ''
        for k, what in enumerate(('area', 'volume')):
            row[f'{what}_from_ours'] = f'{abs(size[name][k]/size["cryoseg"][k] - 1):.1e}' if name in size else ''
        row['nearest_place_from_ours_vox'] = f'{np.abs(off[name] - off["cryoseg"]).max():.1e}' if name in off else ''
        rows.append(row)
    return rows


def main():
    args = arguments(__doc__).parse_args()
    chosen, fresh = ([one(seed) for seed in seeds] for seeds in (CHOOSING, FRESH))
    tables = [('surfaces of bumpy bodies, beside those of others', rows_of(chosen, fresh)), ('measures of one mesh, by others', mesh_rows())]
    for table in tables: print_table(*table)
    finish(tables, args.json)


if __name__ == '__main__': main()
