"""Accuracy on data that nobody here made: `python benchmarks/accuracy.py --data DIR`.

The data's own README says what each file is. Settings are the defaults of the command line; the rule for the scale of the real
slices, whose voxel size is not known, was chosen on the two lower-numbered images of each group and is reported on the other two.
"""
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt
from skimage.metrics import adapted_rand_error

from cryoseg.measure.evaluate import distance_to_mesh
from cryoseg.connect.settings import ConnectSettings
from cryoseg.connect.membranes import connect_labels
from cryoseg.base.metrics import skeleton_f1
from cryoseg.segment.settings import SegmentSettings
from cryoseg.segment.predict import segment_volume
from cryoseg.surface.fit import fit_surface
from cryoseg.surface.select import select_points
from cryoseg.segment.engines import open_engine
from cryoseg.base.formats import read_volume
from cryoseg.result.meshes import fit_file, read_fit
from cryoseg.result.settings import InputSettings
from cryoseg.run.settings import RunSettings
from cryoseg.run.workflow import run_tomogram
from _tables import POLNET_SPHERES, arguments, finish, print_table, read_slices

VISIBLE = np.cos(np.radians(45))


def sphere_points(centre, radius, shape, n=4000):
    "Points of a sphere that are inside the volume and visible (normal at least 45° from the beam)."
    i = np.arange(n) + .5
    z, a = 1 - 2 * i / n, np.pi * (1 + 5 ** .5) * i
    u = np.stack([z, np.sqrt(1 - z * z) * np.sin(a), np.sqrt(1 - z * z) * np.cos(a)], 1)
    p = np.asarray(centre) + radius * u
    return p[(np.abs(z) <= VISIBLE) & (p >= 0).all(1) & (p <= np.array(shape) - 1).all(1)]


def spheres(bin):
    "Centre and radius of each true vesicle in voxels of `bin` times the edge: middles of voxels, not their corners, are counted."
    return {name: ((np.array(centre) - (bin - 1) / 2) / bin, radius / bin) for name, (centre, radius) in POLNET_SPHERES.items()}


HALF_WALL = 2.5     # of a true vesicle, voxels of 10 Å: half the distance of its leaflets, and half a voxel


def polnet_rows(data, snr, bin=1):
    "One row a true vesicle: the ids on it and the distances of its surface, voxels, where visible."
    with tempfile.TemporaryDirectory() as folder:
        run = run_tomogram(data / 'polnet' / f'liposomes_snr{snr}.mrc', Path(folder), RunSettings(input=InputSettings(bin=bin)))
        run.membranes, run.labels       # read while the folder is there
        surfaces = {row.id: read_fit(fit_file(run.folder, row.id)) for row in run.table if fit_file(run.folder, row.id).exists()}
    truth = np.load(data / 'polnet' / 'liposomes_truth.npz')['labels'][bin // 2::bin, bin // 2::bin, bin // 2::bin]
    truth = truth[tuple(slice(n) for n in run.membranes.shape)]
    middle, normal_z = distances_to_spheres(run.membranes.shape, spheres(bin))
    visible = (np.abs(middle) < .75) & (normal_z <= VISIBLE)
    found = run.labels == 1
    voxels = dict(precision=float((np.abs(middle)[found] <= HALF_WALL / bin + 1.5).mean()), recall=float((distance_transform_edt(~found)[visible] <= 1.5).mean()))
    rows, used = [], set()
    for name, (centre, radius) in spheres(bin).items():
        near = [i for i, s in surfaces.items() if len(s.vertices_vox) and np.median(np.abs(np.linalg.norm(s.vertices_vox - centre, axis=1) - radius)) < 6 / bin]
        used |= set(near)
        row = dict(snr=snr, vesicle=name, ids=len(near), status=surfaces[near[0]].status if near else 'not found', to_truth_vox=None, from_truth_vox=None)
        if near:
            s, points = surfaces[near[0]], sphere_points(centre, radius, run.membranes.shape)
            v = s.vertices_vox
            seen = (np.abs(v[:, 0] - centre[0]) / np.linalg.norm(v - centre, axis=1) <= VISIBLE) & (v >= 0).all(1) & (v <= np.array(run.membranes.shape) - 1).all(1)
            row['to_truth_vox'] = float(np.abs(np.linalg.norm(v[seen] - centre, axis=1) - radius).mean())
            row['from_truth_vox'] = float(distance_to_mesh(points, s).mean())
        rows.append(row)
    ribosomes = distance_transform_edt(truth != 2)
    extra = [i for i in surfaces if i not in used and len(surfaces[i].vertices_vox)]
    on_ribosome = sum((ribosomes[tuple(np.clip(surfaces[i].vertices_vox.round().astype(int), 0, np.array(truth.shape) - 1).T)] < 3).mean() > .3 for i in extra)
    rows.append(dict(snr=snr, vesicle='(other surfaces)', ids=len(extra), status=f'{on_ribosome} on ribosomes', to_truth_vox=None, from_truth_vox=None))
    return rows, dict(snr=snr, voxel_size_A=10 * bin, **voxels)


def distances_to_spheres(shape, true):
    "Signed distance of each voxel to the nearest true sphere, and |z| of that sphere's normal."
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing='ij'), -1).astype(np.float32)
    best, normal_z = np.full(shape, 1e9, np.float32), np.ones(shape, np.float32)
    for centre, radius in true.values():
        q = np.linalg.norm(grid - np.array(centre, np.float32), axis=-1)
        nearer = np.abs(q - radius) < np.abs(best)
        best[nearer], normal_z[nearer] = (q - radius)[nearer], (np.abs(grid[..., 0] - centre[0]) / np.maximum(q, 1e-6))[nearer]
    return best, normal_z


def slice_rows(data):
    "Skeleton F1 of each group of hand-traced real slices: the half used for choosing and the other half."
    engine, scores = open_engine(workers=2), {}
    for group, pairs in read_slices(data).items():
        found = [segment_volume(image[None], engine, settings=SegmentSettings(workers=2))[0][0] == 1 for image, _ in pairs]
        scores[group] = [[skeleton_f1(f, mask, t) for t in (2, 3)] for f, (_, mask) in zip(found, pairs)]
    rows = [dict(group=g, images=len(v), f1_2px_chosen_on=float(np.mean([s[0] for s in v[:2]])), f1_2px_other=float(np.mean([s[0] for s in v[2:]])),
                 f1_3px_other=float(np.mean([s[1] for s in v[2:]]))) for g, v in scores.items()]
    return rows + [dict(group='mean', images=sum(r['images'] for r in rows), **{k: float(np.mean([r[k] for r in rows])) for k in list(rows[0])[2:]})]


def mask_rows(data):
    "Real 3-D masks through connect and surface: pieces in, membranes out, status of the surfaces."
    rows = []
    for name, values in (('wrapped_autophagic_body_middle', (1, 2)), ('vesicle_t74', (1,)), ('microsome_tomo22_ves4', (1,)), ('phagophore_middle', (1, 2, 3)),
                         ('phagophore_vacuole_contact', (1, 2, 3)), ('golgi_vesicles_filled', (1,)), ('thylakoid_T1S4M8', (1,))):
        path, start = data / 'segmentations' / f'{name}.npz', time.perf_counter()
        volume = read_volume(path, check=False)
        labels = np.asarray(volume.data)
        found = connect_labels(np.isin(labels, values), volume.voxel_size_A, ConnectSettings())
        membranes, table = found.membranes, found.table
        both = (membranes > 0) & (labels > 0)
        error = float(adapted_rand_error(labels[both], membranes[both])[0]) if len(values) > 1 and both.any() else None
        surfaces = [fit_surface(select_points(membranes, row.id), membranes.shape, id=row.id) for row in table[:6]]
        rows.append(dict(mask=name, labels_used=str(values), membranes=len(table), largest=str([row.n_voxels for row in table[:4]]), adapted_rand=error,
                         surfaces=', '.join(s.status for s in surfaces), seconds=round(time.perf_counter() - start, 1)))
    return rows


def main():
    args = arguments(__doc__, data=True).parse_args()
    warnings.simplefilter('ignore')     # the voxel size of the slices is not known
    if not args.data.is_dir(): raise SystemExit(f'no data at {args.data}; give --data DIR')
    tables, voxels = [], []
    for bin, snr in ((1, '1.0'), (1, '0.3'), (2, '1.0'), (2, '0.3')):
        rows, row = polnet_rows(args.data, snr, bin)
        voxels.append(row)
        tables.append((f'PolNet liposomes, SNR {snr}: surfaces against the true spheres, mean distance where visible, voxels of {10 * bin} Å', rows))
        print_table(*tables[-1])
    tables.append(('PolNet liposomes: membrane voxels, tolerance 1.5 voxels; recall where visible', voxels))
    print_table(*tables[-1])
    tables.append(('real slices with hand-made masks: skeleton F1', slice_rows(args.data)))
    print_table(*tables[-1])
    tables.append(('real 3-D masks: single membranes and surfaces', mask_rows(args.data)))
    print_table(*tables[-1])
    finish(tables, args.json)


if __name__ == '__main__': main()
