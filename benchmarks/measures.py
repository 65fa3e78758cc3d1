"""Measures against the truth, and how often the truth lies within the error bar: `python benchmarks/measures.py`.

Each phantom is run as the command does: the net, membranes, surfaces, measures.

*Thickness*: random phantoms of 35 to 60 Å between the two leaflets, 5 to 10 Å a voxel, contrast to noise 0.7 to 2.5. `surface_off_A` is the
median of the mean distances of surfaces from the true middle of their bilayers.
*Distances and proteins*: crowded phantoms of 7 and 10 Å a voxel; two of three let their vesicles touch. Truth is the same measurement on
meshes of the true mid-surfaces.
*Shapes*: the random bodies of `_bodies.py`, half of them ellipsoids.
*Places*: on the same phantoms, how far surfaces lie from the true middle of their bilayers, before and after the densities have shown it.
*Halves*: surfaces of the odd slices of real masks against those of the even ones.
*PolNet*: a finished run on the two volumes of another simulator (`_polnet.py`); left out where they are not at hand.

`--first 0 --count 12` are the phantoms on which the limits and systematic errors were chosen; the default ones chose nothing. `--only` takes
one part. Twenty minutes on two cores.
"""
import math
from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from cryoseg.base.geometry import icosphere, spherical_harmonics
from cryoseg.base.mesh import clip_to_volume, mesh_area, mesh_volume, sphericity, vertex_areas
from cryoseg.base.formats import read_volume
from cryoseg.base.nearest import nearest_on_mesh
from cryoseg.base.pool import shared_map
from cryoseg.measure.curvature import directions_around, measured, parametric_curvature, rim_distance
from cryoseg.measure.distances import EDGE_A, measure_distances, why_unsure
from cryoseg.measure.proteins import measure_proteins
from cryoseg.measure.settings import DistanceSettings, ThicknessSettings
from cryoseg.measure.thickness import Neighbours, measure_thickness
from cryoseg.phantom.bodies import bilayer_profile
from cryoseg.phantom.phantom import simulate_phantom
from cryoseg.phantom.settings import PhantomSettings
from cryoseg.result.records import Surface
from cryoseg.surface.fit import fit_surface
from cryoseg.surface.select import prune_points
from cryoseg.surface.settings import SurfaceSettings
from _bodies import observe, random_body
from _chain import nearest_body, run_chain
from _polnet import SNRS, polnet_rows, polnet_summary
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


def known(voxels, size):
    "A length in Å; None where it is not known."
    return voxels*size if math.isfinite(voxels) else None


def one(task):
    "The rows of a phantom, one a surface."
    seed, defocus_um = task
    phantom = simulate_phantom(settings_of(seed, defocus_um), seed)
    settings, size = phantom.settings, phantom.settings.voxel_size_A
    labels, membranes, surfaces = run_chain(phantom)
    neighbours = Neighbours(membranes, labels)
    rows = []
    for surface in surfaces:
        if not len(surface.faces): continue
        found = measure_thickness(surface, phantom.tomogram.data, neighbours, size, THICKNESS[defocus_um > 0])
        patches = np.unique(np.column_stack([found.thickness_vox, found.thickness_sd_vox, found.reliability]), axis=0)
        patches = patches[patches[:, 2] >= .5]*[size, size, 1]
        error = patches[:, 0] - true_thickness(settings)
        rows.append(dict(seed=seed, voxel_A=size, cnr=settings.cnr, true_A=true_thickness(settings), off_body_A=nearest_body(phantom, surface)[1],
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


CROWDED_VOXELS_A = 7., 10.
CROWDED_GAPS_A = 0., 0., 30.
REACH, WIDER = DistanceSettings(), DistanceSettings(reach_A=330.)


def crowded_settings(seed):
    "A crowded phantom."
    rng = np.random.default_rng(2000 + seed)
    size, contrast, gap = float(rng.choice(CROWDED_VOXELS_A)), float(rng.choice(CONTRASTS)), float(rng.choice(CROWDED_GAPS_A))
    return PhantomSettings(shape=tuple(round(side/size) for side in SIZE_A), voxel_size_A=size, n_vesicles=9, gap_A=gap, double=.4, cnr=contrast,
                           n_ribosomes=2, radius_A=(150., 300.), double_gap_A=(90., 190.))


def true_surface(body, shape):
    "The mid-surface of a body inside the volume."
    vertices, faces = body.mesh(max(642, body.area_vox2/4))
    cut = clip_to_volume(vertices, faces, np.zeros(len(vertices)), shape)
    return Surface(body.id, cut.vertices, cut.faces, cut.sigma, 'closed' if len(cut.faces) == len(faces) else 'truncated')


def distance_rows(seed, phantom, surfaces, bodies):
    "The rows of pairs: what was found and what is true."
    size = phantom.settings.voxel_size_A
    meshes = [true_surface(body, phantom.settings.shape) for body in phantom.bodies]
    meshes = [mesh for mesh in meshes if len(mesh.faces)]
    true, within = ({(p.id_a, p.id_b): p for p in measure_distances(meshes, size, reach).pairs} for reach in (WIDER, REACH))
    kind = {s.id: s.method for s in surfaces}
    rows = []
    for pair in measure_distances(surfaces, size, REACH).pairs:
        key = tuple(sorted((bodies.get(pair.id_a, 0), bodies.get(pair.id_b, 0))))
        row = dict(seed=seed, voxel_A=size, cnr=phantom.settings.cnr, relation=pair.relation,
                   together=kind[pair.id_a] == kind[pair.id_b] == 'nested', known=key in true and key[0] != key[1],
                   unsure=why_unsure(pair, phantom.tomogram))
        if row['known']:
            row |= dict(true_relation=true[key].relation)
            for name, power in (('least', 1), ('median', 1), ('contact_area', 2)):
                if name == 'median' and key not in within: continue             # of what is within the reach
                found, exact = getattr(pair, name), getattr((within if name == 'median' else true)[key], name)
                row |= {name: known(found.value, size**power), f'{name}_sd': known(found.sd, size**power), f'{name}_true': known(exact.value, size**power)}
        rows.append(row)
    return rows


def protein_rows(seed, phantom, labels, surfaces, bodies):
    "The rows of attached particles, each with the true protein that it is; and how many proteins of found membranes are in the volume."
    size, shape = phantom.settings.voxel_size_A, np.array(phantom.settings.shape)
    proteins = [p for p in phantom.particles if p.kind == 'protein']
    centres = np.array([p.centre_vox for p in proteins]).reshape(-1, 3)
    inside = ((centres >= 0) & (centres <= shape - 1)).all(1)
    there = sum(1 for p, within in zip(proteins, inside) if within and p.membrane in bodies.values())
    above = phantom.settings.thickness_A/2 + phantom.settings.protein_stalk_A + phantom.settings.protein_diameter_A/2
    rows, used = [], set()
    for found in measure_proteins(labels, surfaces, phantom.tomogram).rows:
        if found.status != 'attached': continue
        centre = phantom.tomogram.to_zyx_vox(np.array([[found.x_A, found.y_A, found.z_A]]))[0]
        away, nearest = cKDTree(centres).query(centre)
        true = proteins[nearest]
        if away > true.radius_vox or nearest in used:
            rows.append(dict(seed=seed, matched=False))
            continue
        used.add(int(nearest))
        normal = np.array([found.normal_z, found.normal_y, found.normal_x])
        angle = math.degrees(math.acos(min(1., float(normal @ np.array(true.normal)))))
        rows.append(dict(seed=seed, matched=True, inside=bool(inside[nearest]), off_vox=float(away), angle_deg=angle, angle_sd_deg=found.normal_sd_deg,
                         height_error_A=found.height_A - above, height_sd_A=found.height_sd_A, own=bodies.get(found.membrane_id) == true.membrane,
                         doubt=bool(found.reason), outside=found.side == 'outside', visible=abs(true.normal[0]) <= math.cos(math.pi/4),
                         centre_within_2_sd=float((np.abs(centre - true.centre_vox) <= 2*found.centre_sd_A/size).mean())))
    return rows, there


def place_rows(phantom, surfaces, bodies):
    """Places of surfaces (n,7), Å: how far the true middle of the bilayer lies outwards; standard deviation of the surface; where the samples of the
    middle say that it lies, and their standard deviation; the component of the normal along the beam; the distance from the volume's sides."""
    size, rows = phantom.settings.voxel_size_A, []
    true = {body.id: body for body in phantom.bodies}
    for surface in surfaces:
        seen = surface.thickness.bilayer
        if surface.id not in bodies or not seen: continue
        nodes = seen.nodes_vox
        off = -true[bodies[surface.id]].signed_distance(nodes)
        room = np.minimum(nodes, np.array(phantom.settings.shape) - 1 - nodes).min(1)
        moves = seen.moves_vox
        rows.append(np.column_stack([off*size, surface.spread.moves_vox.std(0)*size, moves.mean(0)*size, moves.std(0)*size,
                                     np.abs(seen.normals[:, 0]), room*size]))
    return np.vstack(rows) if rows else np.zeros((0, 6))


BEAM = 0., .2, .35, .5, .6, .71, .8, .9, 1.01       # components of normals along the beam: groups of places
ROOM_A = 95.                    # from the sides of the volume: profiles of the density end inside it


def place_table(places):
    "Before and after the middle of the bilayer was seen: error, its standard deviation, how often the truth lies within two of them."
    off, sd, middle, middle_sd, beam, room = places.T
    inner = room > ROOM_A
    groups = [('all', np.full(len(off), True))]
    groups += [(f'{math.degrees(math.acos(min(high, 1))):.0f}° to {math.degrees(math.acos(low)):.0f}° from flat', inner & (low <= beam) & (beam < high))
               for low, high in zip(BEAM, BEAM[1:])]
    groups += [(f'upright, within {EDGE_A:g} Å of the edge', (beam < .71) & (room < EDGE_A))]
    table = []
    for name, some in groups:
        if not some.any(): continue
        row = dict(places=name, n=int(some.sum()))
        for when, error, sigma in (('before', -off, sd), ('after', middle - off, middle_sd)):
            error, sigma = error[some], sigma[some]
            row |= {f'{when}_mean_error_A': error.mean(), f'{when}_median_abs_A': np.median(np.abs(error)), f'{when}_rms_A': np.sqrt((error**2).mean()),
                    f'{when}_median_sd_A': np.median(sigma), f'{when}_within_2_sd': f'{(np.abs(error) <= 2*sigma).mean():.0%}'}
        table.append(row)
    return [('places of surfaces, before and after the middle of the bilayer was seen', table)]


def crowded(seed):
    "The rows of distances and of proteins of a phantom, and the places of its surfaces."
    phantom = simulate_phantom(crowded_settings(seed), seed)
    labels, membranes, surfaces = run_chain(phantom)
    neighbours, size = Neighbours(membranes, labels), phantom.settings.voxel_size_A
    surfaces = [replace(s, thickness=measure_thickness(s, phantom.tomogram.data, neighbours, size)) for s in surfaces if len(s.faces)]
    matched = {s.id: nearest_body(phantom, s) for s in surfaces}
    bodies = {id: body.id for id, (body, away) in matched.items() if away <= ON_BODY_A}
    return distance_rows(seed, phantom, surfaces, bodies), *protein_rows(seed, phantom, labels, surfaces, bodies), place_rows(phantom, surfaces, bodies)


def errors_of(rows, name):
    "Errors, standard deviations and true values of a measure of pairs."
    told = [r for r in rows if r['known'] and r.get(name) is not None and r[f'{name}_true'] is not None]
    return tuple(np.array([r[key] for r in told]) for key in (name, f'{name}_sd', f'{name}_true'))


def distance_summary(name, rows):
    "What some pairs have in common."
    row = dict(pairs=name, n=len(rows))
    for measure in ('least', 'median'):
        value, sd, true = errors_of(rows, measure)
        if not len(value): return row
        error = value - true
        row |= {f'{measure}_mean_error_A': error.mean(), f'{measure}_median_abs_A': np.median(np.abs(error)), f'{measure}_rms_A': np.sqrt((error**2).mean()),
                f'{measure}_within_3_A': f'{(np.abs(error) <= 3).mean():.0%}', f'{measure}_within_2_sd': f'{(np.abs(error) <= 2*sd).mean():.0%}',
                f'{measure}_median_sd_A': np.median(sd)}
    value, sd, true = errors_of(rows, 'contact_area')
    touching = (true > 0) | (value > 0)
    if touching.any():
        error = (value - true)[touching]
        row |= dict(in_contact=int(touching.sum()), contact_median_error=np.median(np.abs(error)/np.maximum(true[touching], 1e3)),
                    contact_within_2_sd=f'{(np.abs(error) <= 2*sd[touching]).mean():.0%}')
    return row


def distance_tables(rows):
    "Distances of all pairs, and of some kinds of them."
    true = [r for r in rows if r['known']]
    close = [r for r in true if r['true_relation'] == 'apart' and r['least_true'] < REACH.contact_A]
    groups = [('all', true), ('one within the other', [r for r in true if r['true_relation'] != 'apart']), ('nearer than 100 Å, apart', close),
              ('fitted together', [r for r in true if r['together']])]
    groups += [(f'nearest {where}', [r for r in true if words in r['unsure'] and bool(words) == bool(r['unsure'])])
               for where, words in (('where both were seen', ''), ('on a flat cap', 'flat'), ('at the edge', 'the edge of'))]
    groups += [(f'{size:g} Å a voxel', [r for r in true if r['voxel_A'] == size]) for size in CROWDED_VOXELS_A]
    groups += [(f'contrast to noise {cnr:.2g}', [r for r in true if r['cnr'] == cnr]) for cnr in CONTRASTS]
    swap = dict(inside='around', around='inside')
    right = np.mean([r['true_relation'] in (r['relation'], swap.get(r['relation'])) for r in true])
    said = dict(pairs=len(rows), of_true_bodies=len(true), relation_right=f'{right:.1%}', called_crossing=sum(r['relation'] == 'crossing' for r in rows))
    return [('distances between membranes of crowded phantoms', [distance_summary(*group) for group in groups]), ('pairs', [said])]


def protein_table(rows, there):
    "Proteins: how many, where, which way up."
    matched = [r for r in rows if r['matched']]
    inside = [r for r in matched if r['inside']]
    told = []
    for name, some in (('all', inside), ('on visible membrane', [r for r in inside if r['visible']]), ('on flat caps', [r for r in inside if not r['visible']])):
        off, angle = np.array([r['off_vox'] for r in some]), np.array([r['angle_deg'] for r in some])
        own = np.array([r['own'] for r in some])
        sure = np.array([r['own'] for r in some if not r['doubt']])
        angle_sd = np.array([r['angle_sd_deg'] for r in some])
        height, height_sd = np.array([r['height_error_A'] for r in some]), np.array([r['height_sd_A'] for r in some])
        told.append(dict(proteins=name, n=len(some), median_off_vox=np.median(off), within_1_5_vox=f'{(off <= 1.5).mean():.0%}',
                         centre_within_2_sd=f'{np.mean([r["centre_within_2_sd"] for r in some]):.0%}', own_membrane=f'{own.mean():.0%}',
                         own_where_no_doubt_is_told=f'{sure.mean():.0%}', own_within_15_deg=f'{(angle[own] <= 15).mean():.0%}',
                         median_angle_deg=np.median(angle[own]), angle_within_95=f'{(angle[own] <= 2.45*angle_sd[own]).mean():.0%}',
                         right_side=f'{np.mean([r["outside"] for r in some]):.0%}', height_mean_error_A=height[own].mean(),
                         height_within_2_sd=f'{(np.abs(height[own]) <= 2*height_sd[own]).mean():.0%}'))
    told[0] |= dict(of_true=there, found=f'{len(inside)/there:.0%}', attached=len(rows), that_are_none=len(rows) - len(matched))
    return [('proteins on membranes of the same phantoms', told)]


def true_shape(seed, amplitude):
    "Area, volume and Willmore energy of a random body of `_bodies.py`."
    rng, heights = np.random.default_rng(seed), np.zeros(36)
    for l in (2, 3, 4, 5):
        for m in range(-l, l + 1): heights[l*l + l + m] = (-1)**m*rng.normal()*60*.16/l**1.3
    axes = rng.uniform(.85, 1.2, 3)
    directions, faces = icosphere(6)
    at = lambda u: u*(60/np.sqrt((u*u/axes**2).sum(1)) + amplitude*(spherical_harmonics(u[:, ::-1], 5) @ heights))[:, None]
    bend = parametric_curvature(np.stack([at(u) for u in directions_around(directions)]), np.zeros(3))
    solid = vertex_areas(directions, faces)
    vertices = at(directions)
    return dict(area=mesh_area(vertices, faces), volume=mesh_volume(vertices, faces),
                willmore=float((bend.mean**2*bend.area*solid*4*np.pi/solid.sum()).sum()))


def shape(seed):
    "What is measured on a random body, seen with and without the missing wedge, and the truth."
    rows, amplitude = [], .6*(seed % 2)
    true = true_shape(seed, amplitude)
    true['sphericity'] = float(sphericity(true['area'], true['volume']))
    body = random_body(seed, amplitude)
    for wedge in (True, False):
        found = measured(fit_surface(observe(*body, wedge=wedge, seed=seed)[:, ::-1] + 100, (200, 200, 200)))
        values = dict(area=(found.area_vox2, found.area_sd_vox2), volume=(found.volume_vox3, found.volume_sd_vox3),
                      sphericity=(found.sphericity, found.sphericity_sd), willmore=(found.curvature.willmore, found.curvature.willmore_sd))
        rows.append(dict(seed=seed, bumpy=bool(seed % 2), wedge=wedge, **{name: (value, sd, true[name]) for name, (value, sd) in values.items()}))
    return rows


def shape_table(rows):
    "Shapes: error and coverage."
    told = []
    for bumpy in (False, True):
        for wedge in (False, True):
            some = [r for r in rows if (r['bumpy'], r['wedge']) == (bumpy, wedge)]
            row = dict(bodies='bumpy' if bumpy else 'ellipsoids', missing_wedge=wedge, n=len(some))
            for name in ('area', 'volume', 'sphericity', 'willmore'):
                value, sd, true = np.array([r[name] for r in some]).T
                row |= {f'{name}_rms': f'{np.sqrt(((value/true - 1)**2).mean()):.2%}', f'{name}_within_2_sd': f'{(np.abs(value - true) <= 2*sd).mean():.0%}'}
            told.append(row)
    return [('shapes of random bodies', told)]


HALVES = 'microsome_tomo22_ves4', 'vesicle_t74', 'thylakoid_T1S1M1', 'thylakoid_T1S2M15', 'thylakoid_T1S4M8'


def halves(path):
    "A real mask: the surface of its even slices against that of its odd ones. What both share, the systematic error, cancels in their difference."
    labels = np.asarray(read_volume(path, check=False).data)
    points = np.argwhere(labels == 1).astype(float)
    alone = SurfaceSettings(systematic_sigma_vox=0.)
    even, odd = (fit_surface(some[prune_points(some)], labels.shape, alone) for some in (points[points[:, 0] % 2 == k] for k in (0, 1)))
    row = dict(mask=path.stem, status=f'{even.status}, {odd.status}')
    if not (len(even.faces) and len(odd.faces)): return row
    found = nearest_on_mesh(even.vertices_vox, odd.vertices_vox, odd.faces, 20.)
    there = np.isfinite(found.distance) & (rim_distance(odd.vertices_vox, odd.faces)[found.vertex] > 3)
    off, sd = found.distance[there], np.hypot(even.sigma_vox[there], odd.sigma_vox[found.vertex[there]])
    weight = vertex_areas(even.vertices_vox, even.faces)[there]
    mean = lambda values: float(np.average(values, weights=weight))
    row |= dict(mean_difference_vox=mean(off), mean_sd_vox=mean(sd), within_2_sd=f'{mean(off <= 2*sd):.0%}')
    volumes = even.volume_vox3, odd.volume_vox3
    if np.isfinite(volumes).all():
        row |= dict(areas_differ_sd=abs(even.area_vox2 - odd.area_vox2)/math.hypot(even.area_sd_vox2, odd.area_sd_vox2),
                    volumes_differ_sd=abs(volumes[0] - volumes[1])/math.hypot(even.volume_sd_vox3, odd.volume_sd_vox3))
    return row


def halves_tables(seeds, share, data):
    "Odd slices against even ones, of real masks; none where they are not at hand."
    masks = data / 'segmentations'
    if not masks.is_dir():
        print(f'no masks at {masks}: left out (--data DIR)')
        return []
    return [('real masks: surfaces of odd slices against those of even ones', [halves(masks / f'{name}.npz') for name in HALVES])]


def thickness_tables(seeds, share, data):
    "Thickness, without and with a contrast transfer function."
    rows = [row for rows in share(one, [(seed, 0.) for seed in seeds]) for row in rows]
    blurred = {um: [row for rows in share(one, [(seed, um) for seed in seeds[:BLURRED]]) for row in rows] for um in DEFOCI_UM}
    groups = [('all', rows)]
    groups += [(f'{size:g} Å a voxel', [r for r in rows if r['voxel_A'] == size]) for size in VOXELS_A]
    groups += [(f'contrast to noise {cnr:.2g}', [r for r in rows if r['cnr'] == cnr]) for cnr in CONTRASTS]
    return [('thickness of the bilayers of phantoms', [summary(name, some) for name, some in groups]),
            ('thickness with a contrast transfer function, phases flipped', [summary(f'defocus {um:g} µm', some) for um, some in blurred.items()]),
            ('each membrane', rows)]


def crowded_tables(seeds, share, data):
    "Distances and proteins."
    found = list(share(crowded, list(seeds)))
    pairs, proteins = ([row for part in found for row in part[k]] for k in (0, 1))
    return [*distance_tables(pairs), *protein_table(proteins, sum(part[2] for part in found)), *place_table(np.vstack([part[3] for part in found]))]


def polnet_tables(seeds, share, data):
    "A finished run on the volumes of another simulator; nothing where they are not at hand."
    if not (data/'polnet').is_dir():
        print(f'no PolNet volumes at {data}/polnet: left out (--data DIR)')
        return []
    rows = [row for snr in SNRS for row in polnet_rows(data, snr)]
    return [('PolNet: measures against the truth', polnet_summary(rows)), ('PolNet: each vesicle and each pair', rows)]


def shape_tables(seeds, share, data):
    "Area, volume, sphericity and bending of known bodies."
    return shape_table([row for rows in share(shape, [1000 + seed for seed in seeds]) for row in rows])


PARTS = dict(thickness=thickness_tables, crowded=crowded_tables, shapes=shape_tables, halves=halves_tables, polnet=polnet_tables)


def main():
    parser = arguments(__doc__, data=True)
    parser.add_argument('--first', type=int, default=100, help='seed of the first phantom')
    parser.add_argument('--count', type=int, default=40, help='phantoms')
    parser.add_argument('--only', choices=PARTS, help='one of the parts')
    args = parser.parse_args()
    seeds = range(args.first, args.first + args.count)
    with shared_map(2) as share:
        tables = [table for name, part in PARTS.items() if args.only in (None, name) for table in part(seeds, share, args.data)]
    tables = [(name, [{**dict.fromkeys(rows[0]), **row} for row in rows]) for name, rows in tables if rows]
    for table in tables: print_table(*table)
    finish(tables, args.json)


if __name__ == '__main__': main()
