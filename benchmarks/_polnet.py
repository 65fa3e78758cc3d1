"""What a finished run says of the vesicles of PolNet, another simulator, and what is true of them.

Its vesicles are spheres; label 1 of its truth is the shell between the middles of their two leaflets. So centre, radius and thickness follow
from the labels, and from them area, volume, diameter, curvature, and the distances between vesicles. Its ribosomes lie on no membrane:
there is no truth for proteins on membranes, none for bodies that are no spheres, and none for one membrane within another.
"""
import math
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

from cryoseg.base.geometry import icosphere
from cryoseg.base.mesh import clip_to_volume, mesh_area
from cryoseg.measure.distances import measure_distances
from cryoseg.result.meshes import fit_file, read_fit
from cryoseg.result.records import Surface
from cryoseg.run.settings import RunSettings
from cryoseg.run.workflow import run_tomogram
from cryoseg.segment.settings import SegmentSettings
from _tables import POLNET_SPHERES

SNRS = '1.0', '0.3'             # of its two tomograms
NEAR_VOX = 6.                   # of the mid-surface of a vesicle: its labels, and the surface that shows it
MEASURES = {'thickness': ('thickness_A', 'thickness_sd_A'), 'area': ('area_A2', 'area_sd_A2'), 'volume': ('volume_A3', 'volume_sd_A3'),
            'diameter': ('diameter_A', 'diameter_sd_A'), 'mean curvature': ('mean_curvature_per_A', 'mean_curvature_sd_per_A'),
            'sphericity': ('sphericity', 'sphericity_sd')}


class Vesicle(NamedTuple):
    "A true sphere, in voxels."
    name:str
    centre:np.ndarray # (3,) z,y,x
    radius:float # of its mid-surface
    thickness:float # between the middles of the leaflets


def true_vesicles(labels):
    "The spheres that truth labels are made of."
    points = np.argwhere(labels == 1).astype(float)
    found = []
    for name, (centre, radius) in POLNET_SPHERES.items():
        own = points[np.abs(np.linalg.norm(points - centre, axis=1) - radius) < NEAR_VOX]
        away = lambda centre: np.linalg.norm(own - centre, axis=1)
        fit = least_squares(lambda p: (away(p[:3]) - p[3])/away(p[:3]), [*centre, radius]).x
        weight = 1/away(fit[:3])**2                     # a shell has more voxels farther out
        middle = np.average(away(fit[:3]), weights=weight)
        spread = np.average((away(fit[:3]) - middle)**2, weights=weight)
        found.append(Vesicle(name, fit[:3], float(middle), math.sqrt(12*spread)))       # of a shell that is evenly filled
    return found


def true_values(vesicle, shape, size):
    "What is true of a vesicle, as in membranes.csv, and its surface inside the volume."
    directions, faces = icosphere(6)
    directions = directions*np.sqrt(4*math.pi/mesh_area(directions, faces))         # facets cut corners: the same area as the sphere
    cut = clip_to_volume(vesicle.centre + vesicle.radius*directions, faces, np.zeros(len(directions)), shape)
    radius = vesicle.radius*size
    whole = len(cut.faces) == len(faces)
    values = dict(thickness_A=vesicle.thickness*size, area_A2=mesh_area(cut.vertices, cut.faces)*size**2, volume_A3=cut.volume*size**3,
                  diameter_A=2*radius, mean_curvature_per_A=1/radius, sphericity=1. if whole else None)
    return values, Surface(ord(vesicle.name), cut.vertices, cut.faces, cut.sigma, 'closed' if whole else 'truncated')


def shown_by(run, vesicle):
    "The row of the membrane whose surface is that of a vesicle; None where there is none."
    for row in run.table:
        path = fit_file(run.folder, row.id)
        if not path.exists(): continue
        away = np.linalg.norm(read_fit(path).vertices_vox - vesicle.centre, axis=1) - vesicle.radius
        if np.median(np.abs(away)) < NEAR_VOX: return row
    return None


def row_of(snr, what, measure, value, sd, true):
    "A measure beside the truth."
    told = value is not None and true is not None
    return dict(snr=snr, of=what, measure=measure, found=value, sd=sd, true=true, error=value - true if told else None,
                error_in_sd=(value - true)/sd if told and sd else None)


def polnet_rows(data, snr):
    "Each measure of each vesicle, and each distance, beside the truth."
    truth = np.load(data/'polnet'/'liposomes_truth.npz')
    size, labels = float(truth['voxel_size']), truth['labels']
    vesicles = true_vesicles(labels)
    rows, own = [], {}
    true = {v.name: true_values(v, labels.shape, size) for v in vesicles}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        run = run_tomogram(data/'polnet'/f'liposomes_snr{snr}.mrc', Path(folder), RunSettings(segment=SegmentSettings(workers=1)))
        for vesicle in vesicles:
            row = shown_by(run, vesicle)
            if row: own[row.id] = vesicle.name
            values, of = true[vesicle.name][0], f"{vesicle.name} ({row.status if row else 'not found'})"
            rows += [row_of(snr, of, measure, getattr(row, name, None), getattr(row, sd_name, None), values[name])
                     for measure, (name, sd_name) in MEASURES.items() if values[name] is not None]
        pairs = run.distances
    return rows + distance_rows(snr, pairs, own, [surface for _, surface in true.values()], size)


def distance_rows(snr, pairs, own, surfaces, size):
    "The least and the median distances of vesicles, beside those of the true spheres."
    found = {tuple(sorted(own.get(id, '') for id in (p.membrane_a, p.membrane_b))): p for p in pairs}
    rows = []
    for exact in measure_distances(surfaces, size).pairs:
        names = chr(exact.id_a), chr(exact.id_b)
        pair, of = found.get(names), ' to '.join(names)
        rows += [row_of(snr, of, 'least distance', getattr(pair, 'distance_A', None), getattr(pair, 'distance_sd_A', None), exact.least.value*size),
                 row_of(snr, of, 'median distance', getattr(pair, 'median_distance_A', None), getattr(pair, 'median_distance_sd_A', None),
                        exact.median.value*size)]
    return rows


def polnet_summary(rows):
    "How often the truth lies within two standard deviations, by measure."
    told = []
    for measure in dict.fromkeys(row['measure'] for row in rows):
        some = [row for row in rows if row['measure'] == measure]
        known = [row for row in some if row['error_in_sd'] is not None]
        away = np.array([row['error'] for row in known])
        true = np.array([row['true'] for row in known])
        told.append(dict(measure=measure, with_truth=sum(row['true'] is not None for row in some), measured=len(known),
                         median_error=f'{np.median(np.abs(away/true)):.1%}' if known else None,
                         mean_error=f'{np.mean(away/true):+.1%}' if known else None,
                         within_2_sd=f"{sum(abs(row['error_in_sd']) <= 2 for row in known)} of {len(known)}" if known else None))
    return told
