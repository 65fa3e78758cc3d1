"""How honest the bars of surfaces are, from the net to the surface: `python benchmarks/coverage.py --data DIR`.

Phantoms of `measures.py` (5, 7 and 10 Å a voxel, contrast to noise 0.7 to 2.5) and the two volumes of PolNet are labelled by the net; each
membrane is fitted twice: with the fixed errors of labels, as before, and with its labels corrected by the densities. Errors are distances of
vertices from the true body, weighted by area. `--first 0 --count 9` are the phantoms on which the constants of `measure.label_error` were
chosen; the default ones chose nothing. PolNet was looked at while they were chosen; it is left out where it is not at hand. Surfaces that are
nowhere near a body (40 Å on average) are counted, not measured. Ten minutes on two cores.
"""
from dataclasses import replace

import numpy as np

from cryoseg.base.formats import read_volume
from cryoseg.base.mesh import vertex_areas, vertex_normals
from cryoseg.base.pool import shared_map
from cryoseg.phantom.bodies import Body
from cryoseg.phantom.phantom import simulate_phantom
from cryoseg.surface.settings import SurfaceSettings
from _chain import fit_chain, label_chain
from _tables import POLNET_SPHERES, arguments, finish, print_table
from measures import ON_BODY_A, settings_of

WAYS = {'fixed errors': SurfaceSettings(use_densities=False), 'corrected by the densities': SurfaceSettings()}
EDGE_VOX = 3.                   # vertices nearer to a side of the volume are a group of their own
FLAT, LEANING = .5, .25         # of the square of the normal's component along the beam: 45° and 60° from it


def places_of(surface, bodies, shape, size):
    "Places of a surface (n,5): error and sigma, Å, weight, the squared component of the normal along the beam, distance from the sides; None elsewhere."
    vertices = surface.vertices_vox
    off = [body.signed_distance(vertices) for body in bodies]
    nearest = min(off, key=lambda distances: np.abs(distances).mean())
    if size*np.abs(nearest).mean() > ON_BODY_A: return None
    area, lean = vertex_areas(vertices, surface.faces), vertex_normals(vertices, surface.faces)[:, 0]**2
    room = np.minimum(vertices, np.array(shape) - 1 - vertices).min(1)
    return np.column_stack([size*nearest, size*surface.sigma_vox, area/area.sum(), lean, room])


def compare(tomogram, bodies):
    "The places of all surfaces of a tomogram, fitted either way; None for a surface that shows no body."
    labels, membranes = label_chain(tomogram)
    found = {}
    for name, settings in WAYS.items():
        surfaces = fit_chain(tomogram, labels, membranes, settings)
        found[name] = [places_of(s, bodies, membranes.shape, tomogram.voxel_size_A) for s in surfaces if len(s.faces)]
    return found


def of_phantom(seed):
    "One phantom."
    phantom = simulate_phantom(settings_of(seed), seed)
    return compare(phantom.tomogram, phantom.bodies)


def of_polnet(path):
    "One volume of PolNet."
    volume = read_volume(path)
    return compare(replace(volume, data=np.asarray(volume.data, np.float32)), [Body(0, 'sphere', centre, (radius,)*3) for centre, radius in POLNET_SPHERES.values()])


def rows_of(name, way, found):
    "What the surfaces of some tomograms have in common, by place."
    surfaces = [places for tomogram in found for places in tomogram[way]]
    error, sigma, weight, lean, room = np.vstack([places for places in surfaces if places is not None]).T
    inner = room > EDGE_VOX
    groups = {'all': np.full(len(error), True), 'upright': inner & (lean < LEANING), 'leaning': inner & (lean >= LEANING) & (lean < FLAT),
              'flat': inner & (lean >= FLAT), 'at the sides': ~inner}
    rows = []
    for group, some in groups.items():
        if not some.any(): continue
        mean = lambda values: float(np.average(values[some], weights=weight[some]))
        rows.append(dict(tomograms=name, errors=way, surfaces=len(surfaces), of_no_body=sum(places is None for places in surfaces), places=group,
                         mean_A=mean(error), off_A=mean(np.abs(error)), sigma_A=mean(sigma), sigma_over_off=mean(sigma)/mean(np.abs(error)),
                         in_95=mean(np.abs(error) < 1.96*sigma), in_50=mean(np.abs(error) < .674*sigma)))
    return rows


def surface_row(name, way, found):
    "How many of the surfaces are good ones: a few that follow something else spoil every mean."
    each = [(np.average(np.abs(p[:, 0]), weights=p[:, 2]), np.average(np.abs(p[:, 0]) < 1.96*p[:, 1], weights=p[:, 2]))
            for tomogram in found for p in tomogram[way] if p is not None]
    off, inside = np.array(each).T
    return dict(tomograms=name, errors=way, surfaces=len(off), median_off_A=float(np.median(off)), worst_tenth_off_A=float(np.quantile(off, .9)),
                within_5_A=float((off < 5).mean()), nine_tenths_in_95=float((inside >= .9).mean()))


def main():
    parser = arguments(__doc__, data=True)
    parser.add_argument('--first', type=int, default=100, help='seed of the first phantom')
    parser.add_argument('--count', type=int, default=20, help='phantoms')
    args = parser.parse_args()
    seeds = range(args.first, args.first + args.count)
    with shared_map(2) as share:
        groups = {f'phantoms, seeds {seeds[0]}-{seeds[-1]}': list(share(of_phantom, seeds))}
        polnet = [path for snr in ('1.0', '0.3') if (path := args.data/'polnet'/f'liposomes_snr{snr}.mrc').exists()]
        if polnet: groups['PolNet'] = list(share(of_polnet, polnet))
    rows = [row for name, found in groups.items() for way in WAYS for row in rows_of(name, way, found)]
    each = [surface_row(name, way, found) for name, found in groups.items() for way in WAYS]
    tables = [('surfaces of labelled tomograms against the truth', rows), ('each surface by itself', each)]
    for table in tables: print_table(*table)
    finish(tables, args.json)


if __name__ == '__main__': main()
