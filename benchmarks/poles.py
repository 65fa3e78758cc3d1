"""Surfaces of the whole pipeline at the equator and at the poles, as they were and as they are: `python benchmarks/poles.py --data DIR`.

Three phantoms and the two PolNet volumes are labelled and their membranes told apart once, by the code as it is. Then each version fits surfaces to the same
membranes.mrc: the code of older commits (taken out of the git history, each run in a process of its own), the code as it is, and its `--surface paper`.
Equator: the true normal is at least 60° from the beam (|normal_z| <= 0.5), where a tomogram of ±60° sees a membrane; the poles are the rest.
Only membranes that have a surface in all of these are compared (the paper's where it has one), and only what lies inside the volume; vertices count by their area.
"""
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import warnings
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from cryoseg.result.meshes import read_surfaces
from cryoseg.measure.evaluate import distance_to_mesh, inside, vertex_weights
from cryoseg.base.geometry import fibonacci_sphere
from cryoseg.phantom.settings import PhantomSettings
from cryoseg.phantom.phantom import simulate_phantom, write_phantom
from cryoseg.result.records import Surface
from cryoseg.base.formats import read_volume
from cryoseg.run.workflow import run_tomogram
from _tables import POLNET_SPHERES, arguments, finish, print_table

ROOT = Path(__file__).resolve().parents[1]
BEFORE = '19a93ae', 'd506f8c'      # the first surfaces with error bars; the last commit before those of §6.2 that are not star-shaped
EQUATOR = .5
PAPER = "now, the paper's"
PHANTOM = PhantomSettings(shape=(72, 144, 144), n_vesicles=4, cnr=1.)
SEEDS = 21, 22, 23


class Sphere:
    "A true sphere that answers as the phantom's bodies do."
    def __init__(self, centre, radius): self.centre, self.radius = np.array(centre), radius

    def signed_distance(self, points): return np.linalg.norm(points - self.centre, axis=1) - self.radius

    def surface(self, n):
        u = fibonacci_sphere(n)
        return self.centre + self.radius*u, u, np.ones(n)


def fit_with(code, membranes, folder, *options):
    "Surfaces of a version of the code, whose package lies in the folder `code`: `cryoseg surface` in a process of its own."
    room = 'cryoseg.run.cli' if (Path(code) / 'cryoseg' / 'run').is_dir() else 'cryoseg.cli'
    program = f'import sys; sys.path.insert(0, sys.argv.pop(1)); from {room} import main; main()'
    subprocess.run([sys.executable, '-W', 'ignore', '-c', program, str(code), 'surface', str(membranes), '-o', str(folder), '-q', *options], check=True, cwd=code, env={**os.environ, 'PYTHONPATH': str(code)})
    return {s.id: s for s in read_surfaces(folder, read_volume(membranes, check=False))}


def checkout(commit, folder):
    "The package as it was at a commit; None where there is no such history."
    archive = subprocess.run(['git', 'archive', commit, 'cryoseg'], cwd=ROOT, capture_output=True)
    if archive.returncode: return None
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar: tar.extractall(folder, filter='data')
    return folder


def true_body(surfaces:list[Surface], bodies):
    "The body that most surfaces of one membrane lie on."
    return min(bodies, key=lambda b: sum(np.median(np.abs(b.signed_distance(s.vertices_vox))) for s in surfaces))


def samples(surface, body, shape):
    "Of each vertex inside the volume: distance from the truth, sigma, area, |normal_z|; of each true point inside it: distance from the mesh, |normal_z|."
    v, (p, n, area) = surface.vertices_vox, body.surface(6000)
    here, there = inside(v, shape), inside(p, shape)
    up = np.abs(n[:, 0])/np.linalg.norm(n, axis=1)
    found = np.column_stack([np.abs(body.signed_distance(v)), surface.sigma_vox, vertex_weights(surface), up[cKDTree(p).query(v)[1]]])[here]
    return found, np.column_stack([distance_to_mesh(p[there], surface), np.asarray(area)[there]/np.sum(area), up[there]])


def zone_rows(name, versions, bodies, shape, voxel_size_A):
    "A row for each version and zone."
    common = sorted(set.intersection(*(set(surfaces) for version, surfaces in versions.items() if version != PAPER)))
    truth = {id: true_body([versions['now'][id]], bodies) for id in common}
    rows = []
    for version, surfaces in versions.items():
        compared = [id for id in common if id in surfaces]
        if not compared: continue
        found, back = (np.vstack(parts) for parts in zip(*(samples(surfaces[id], truth[id], shape) for id in compared)))
        for zone, use, there in (('equator', found[:, 3] <= EQUATOR, back[:, 2] <= EQUATOR), ('poles', found[:, 3] > EQUATOR, back[:, 2] > EQUATOR)):
            error, sigma, weight = found[use, :3].T
            mean = lambda x: float(np.average(x, weights=weight)) if weight.sum() else None
            rows.append(dict(data=name, surfaces=version, zone=zone, membranes=len(compared), error_vox=mean(error), error_A=mean(error)*voxel_size_A, truth_to_surface_vox=float(np.average(back[there, 0], weights=back[there, 1])),
                             sigma_vox=mean(sigma), coverage68=mean(error < .994*sigma), coverage95=mean(error < 1.96*sigma)))
    return rows


def one(name, tomogram, bodies, old, folder):
    "Label, tell apart, and fit with each version."
    run = run_tomogram(tomogram, folder / 'run')
    membranes, shape, a = folder / 'run' / 'membranes.mrc', run.membranes.shape, run.volume.voxel_size_A
    versions = {f'at {commit}': fit_with(code, membranes, folder / commit) for commit, code in old.items()}
    versions |= {'now': fit_with(ROOT, membranes, folder / 'now'), PAPER: fit_with(ROOT, membranes, folder / 'paper', '--surface-method', 'paper')}
    for version, surfaces in versions.items(): print(f'{name}, {version}: ' + (', '.join(f'{s.id} {s.status}' for s in surfaces.values()) or 'none'), flush=True)
    return zone_rows(name, versions, bodies, shape, a)


def pooled(rows):
    "Means over the volumes, each weighted by its number of membranes."
    out = []
    for version in dict.fromkeys(r['surfaces'] for r in rows):
        for zone in ('equator', 'poles'):
            part = [r for r in rows if r['surfaces'] == version and r['zone'] == zone]
            weight = [r['membranes'] for r in part]
            out.append(dict(data='all', surfaces=version, zone=zone, membranes=sum(weight), **{k: float(np.average([r[k] for r in part], weights=weight)) for k in list(part[0])[4:]}))
    return out


def main():
    parser = arguments(__doc__, data=True)
    parser.add_argument('--before', default=BEFORE, metavar='COMMIT', nargs='+', help=f'older versions ({" ".join(BEFORE)})')
    args = parser.parse_args()
    warnings.simplefilter('ignore')
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        old = {commit: code for commit in args.before if (code := checkout(commit, folder / commit))}
        for commit in set(args.before) - set(old): print(f'there is no commit {commit} in this history: it is left out')
        for seed in SEEDS:
            phantom = simulate_phantom(PHANTOM, seed)
            write_phantom(phantom, folder / f'truth{seed}')
            rows += one(f'phantom {seed}', folder / f'truth{seed}' / 'tomogram.mrc', phantom.bodies, old, folder / f'phantom{seed}')
        for snr in ('1.0', '0.3'):
            path = args.data / 'polnet' / f'liposomes_snr{snr}.mrc'
            if path.exists(): rows += one(f'PolNet, SNR {snr}', path, [Sphere(*s) for s in POLNET_SPHERES.values()], old, folder / f'polnet{snr}')
            else: print(f'no data at {path}: left out')
    tables = [('whole pipeline: surfaces at the equator and at the poles, all volumes', pooled(rows)), ('whole pipeline: surfaces at the equator and at the poles, each volume', rows)]
    for table in tables: print_table(*table)
    finish(tables, args.json)


if __name__ == '__main__': main()
