"""Bilayer thickness against the truth, and how often the truth lies within the error bar: `python benchmarks/measures.py`.

Random phantoms of 35 to 60 Å between the two leaflets, 5 to 10 Å a voxel, contrast to noise 0.7 to 2.5, each run as the command does:
the net, membranes, surfaces, thickness. `surface_off_A` is the median of the mean distances of surfaces from the true middle of their
bilayers. `--first 0 --count 12` are the phantoms on which the limits and the systematic error of `measure.settings` were chosen; the
default ones chose nothing. Ten minutes on two cores.
"""
import math
import tempfile
from pathlib import Path

import numpy as np

from cryoseg.base.formats import read_volume
from cryoseg.base.pool import shared_map
from cryoseg.connect.membranes import find_membranes
from cryoseg.connect.settings import ConnectSettings
from cryoseg.measure.settings import ThicknessSettings
from cryoseg.measure.thickness import Neighbours, measure_thickness
from cryoseg.phantom.bodies import bilayer_profile
from cryoseg.phantom.phantom import simulate_phantom
from cryoseg.phantom.settings import PhantomSettings
from cryoseg.run.labelling import write_labels
from cryoseg.run.settings import RunSettings
from cryoseg.run.stages import fit_surfaces
from cryoseg.segment.settings import SegmentSettings
from cryoseg.surface.settings import SurfaceSettings
from _tables import arguments, finish, print_table

SIZE_A = 800., 1300., 1300.     # of each phantom
VOXELS_A = 5., 7., 10.
# the error that a membrane shares: what was found on choosing phantoms without a transfer function, and with one (the default)
THICKNESS = {False: ThicknessSettings(systematic_sigma_A=.25), True: ThicknessSettings()}
DEFOCI_UM = 2., 4.              # of phantoms with a contrast transfer function
BLURRED = 10                    # phantoms of each
CONTRASTS = math.sqrt(.5), 1., 1.5, 2.5
NUMBERS = 'mean_error_A rms_error_A worst_A within_2_A within_2_sd median_sd_A patches_within_2_sd surface_off_A'.split()
ON_BODY_A = 40.                 # mean distance of a surface from the body that it shows; else most of it shows none


def settings_of(seed, defocus_um=0.):
    "A random phantom."
    rng = np.random.default_rng(1000 + seed)
    size, separation, contrast = float(rng.choice(VOXELS_A)), float(rng.uniform(35, 60)), float(rng.choice(CONTRASTS))
    leaflet, core = float(rng.uniform(4, 8)), float(rng.choice([0., .2]))
    shape = tuple(round(side/size) for side in SIZE_A)
    if defocus_um: contrast = min(contrast, 1.)         # the fringes of the transfer function leave no more
    return PhantomSettings(shape=shape, voxel_size_A=size, n_vesicles=4, leaflet_separation_A=separation, thickness_A=separation + 4*leaflet,
                           cnr=contrast, n_ribosomes=2, radius_A=(150., 330.), double_gap_A=(130., 190.), core_density=core, defocus_um=defocus_um)


def true_thickness(settings):
    "Distance of the two minima of the density across a bilayer before it is sampled, Å."
    away = np.linspace(0, settings.thickness_A, 60_001)
    density = bilayer_profile(away, settings.thickness_A, settings.leaflet_separation_A, 0., settings.core_density/settings.membrane_density)
    return 2*away[density.argmax()]


def nearest_body(phantom, surface):
    "Mean distance, Å, of a surface from the body nearest to it."
    some = surface.vertices_vox[::max(1, len(surface.vertices_vox)//300)]
    return min(np.abs(body.signed_distance(some)).mean() for body in phantom.bodies)*phantom.settings.voxel_size_A


def known(voxels, size):
    "A length in Å; None where it is not known."
    return voxels*size if math.isfinite(voxels) else None


def one(task):
    "The rows of a phantom, one a surface."
    seed, defocus_um = task
    phantom = simulate_phantom(settings_of(seed, defocus_um), seed)
    settings, size = phantom.settings, phantom.settings.voxel_size_A
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/'labels.mrc'
        write_labels(phantom.tomogram, RunSettings(segment=SegmentSettings(workers=1)), path)
        labels = np.array(read_volume(path).data)
    membranes = find_membranes(labels, size).membranes
    neighbours = Neighbours(membranes, labels)
    rows = []
    for surface in fit_surfaces(membranes, SurfaceSettings(bilayer_vox=ConnectSettings().bilayer_A/size)):
        if not len(surface.faces): continue
        found = measure_thickness(surface, phantom.tomogram.data, neighbours, size, THICKNESS[defocus_um > 0])
        patches = np.unique(np.column_stack([found.thickness_vox, found.thickness_sd_vox, found.reliability]), axis=0)
        patches = patches[patches[:, 2] >= .5]*[size, size, 1]
        error = patches[:, 0] - true_thickness(settings)
        rows.append(dict(seed=seed, voxel_A=size, cnr=settings.cnr, true_A=true_thickness(settings), off_body_A=nearest_body(phantom, surface),
                         thickness_A=known(found.average_vox, size), sd_A=known(found.average_sd_vox, size),
                         offset_A=known(found.average_offset_vox, size),
                         reliable_patches=len(patches), patches_within_2sd=float((np.abs(error) <= 2*patches[:, 1]).mean()) if len(patches) else None,
                         reason=found.reason))
    return rows


def summary(name, rows):
    "What some surfaces have in common; surfaces of no body apart."
    true = [r for r in rows if r['off_body_A'] <= ON_BODY_A]
    told = [r for r in true if r['thickness_A'] is not None]
    elsewhere = len([r for r in rows if r['off_body_A'] > ON_BODY_A and r['thickness_A'] is not None])
    if not told: return dict(phantoms=name, membranes=len(true), measured=0, **dict.fromkeys(NUMBERS), off_bodies_measured=elsewhere)
    error = np.array([r['thickness_A'] - r['true_A'] for r in told])
    sd, patches = np.array([r['sd_A'] for r in told]), np.array([(r['patches_within_2sd'], r['reliable_patches']) for r in told])
    return dict(phantoms=name, membranes=len(true), measured=len(told), mean_error_A=error.mean(), rms_error_A=np.sqrt((error**2).mean()),
                worst_A=np.abs(error).max(), within_2_A=f'{(np.abs(error) <= 2).mean():.0%}', within_2_sd=f'{(np.abs(error) <= 2*sd).mean():.0%}',
                median_sd_A=np.median(sd), patches_within_2_sd=f'{np.average(patches[:, 0], weights=patches[:, 1]):.0%}',
                surface_off_A=np.median([r['off_body_A'] for r in told]), off_bodies_measured=elsewhere)


def main():
    parser = arguments(__doc__)
    parser.add_argument('--first', type=int, default=100, help='seed of the first phantom')
    parser.add_argument('--count', type=int, default=40, help='phantoms')
    args = parser.parse_args()
    seeds = range(args.first, args.first + args.count)
    with shared_map(2) as share:
        rows = [row for rows in share(one, [(seed, 0.) for seed in seeds]) for row in rows]
        blurred = {um: [row for rows in share(one, [(seed, um) for seed in seeds[:BLURRED]]) for row in rows] for um in DEFOCI_UM}
    groups = [('all', rows)]
    groups += [(f'{size:g} Å a voxel', [r for r in rows if r['voxel_A'] == size]) for size in VOXELS_A]
    groups += [(f'contrast to noise {cnr:.2g}', [r for r in rows if r['cnr'] == cnr]) for cnr in CONTRASTS]
    tables = [('thickness of the bilayers of phantoms', [summary(name, some) for name, some in groups]),
              ('thickness with a contrast transfer function, phases flipped', [summary(f'defocus {um:g} µm', some) for um, some in blurred.items()]),
              ('each membrane', rows)]
    for table in tables: print_table(*table)
    finish(tables, args.json)


if __name__ == '__main__': main()
