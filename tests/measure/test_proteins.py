"Proteins: found where they are, on the right membrane and side, and judged against chance."
import numpy as np
import pytest

from cryoseg.base.geometry import farthest_points, icosphere
from cryoseg.base.volume import Volume
from cryoseg.measure.distances import prepare
from cryoseg.measure.proteins import (find_particles, marked_places, measure_proteins, neighbour_spacings, spacing_on, surface_graph, touching_groups,
                                      with_proteins)
from cryoseg.measure.settings import ProteinSettings
from cryoseg.result.records import Membrane, Protein, Surface
from cryoseg.result.tables import read_rows, rounded, write_rows

DIRECTIONS, FACES = icosphere(4)
SHAPE = 80, 90, 100
PLACE = Volume(np.zeros((2, 2, 2), np.float32), 8., (100., -50., 7.))
GRID = np.indices(SHAPE)


def heads(*centres, radius=5.5, shape=SHAPE):
    labels = np.zeros(shape, np.int8)
    for centre in centres: labels[((GRID - np.reshape(centre, (3, 1, 1, 1)))**2).sum(0) <= radius**2] = 2
    return labels


def ball(id, centre, radius):
    return Surface(id, np.array(centre, float) + radius*DIRECTIONS, FACES, np.full(len(DIRECTIONS), .3), 'closed', area_vox2=4*np.pi*radius**2)


VESICLE = ball(3, (40, 45, 40), 22)


def attached(labels, surfaces=(VESICLE,), **settings):
    return [p for p in measure_proteins(labels, list(surfaces), PLACE, ProteinSettings(**settings)).rows if p.status == 'attached']


def test_places_and_directions():
    row, = attached(heads((40, 45, 71)))
    np.testing.assert_allclose((row.x_A, row.y_A, row.z_A), (100 + 8*71, -50 + 8*45, 7 + 8*40), atol=.5)
    assert (row.membrane_id, row.side) == (3, 'outside') and row.height_A == pytest.approx(8*9, abs=2)
    np.testing.assert_allclose((row.normal_x, row.normal_y, row.normal_z), (1, 0, 0), atol=.05)
    np.testing.assert_allclose((row.foot_x_A, row.foot_z_A), (100 + 8*62, 7 + 8*40), atol=2)


def test_the_inner_side():
    row, = attached(heads((40, 45, 50)))
    assert row.side == 'inside' and row.normal_x < -.99 and row.height_A == pytest.approx(8*12, abs=2)


def test_what_does_not_count_is_named():
    rows = measure_proteins(heads((40, 45, 71), (40, 45, 88), (6, 6, 6)) + 0, [VESICLE], PLACE).rows
    assert [p.status for p in rows] == ['attached', 'free', 'free'] and all(p.reason for p in rows[1:])
    large = heads((40, 45, 75), radius=11)
    row, = measure_proteins(large, [VESICLE], PLACE).rows
    assert row.status == 'large' and '--max-protein' in row.reason


def test_specks_are_none():
    labels = heads((40, 45, 71))
    labels[10, 10, 10:12] = 2
    assert len(measure_proteins(labels, [VESICLE], PLACE).rows) == 1
    assert measure_proteins(np.zeros(SHAPE, np.int8), [VESICLE], PLACE).rows == []


def test_touching_heads_are_divided():
    labels = heads((40, 45, 71), (40, 55, 71), (60, 66, 40), (40, 45, 9))
    found = find_particles(labels, 60)
    assert found.count == 4
    centres = np.array([found.places[found.group == k].mean(0) for k in range(4)])
    assert min(np.linalg.norm(centres - [40, 45, 71], axis=1)) < 1 and min(np.linalg.norm(centres - [40, 55, 71], axis=1)) < 1


def test_rows_do_not_meet_at_the_edges():
    "The last voxel of a row and the first of the next are neighbours in memory alone."
    labels = np.zeros((4, 5, 6), np.int8)
    labels[1, 2, 5] = labels[1, 3, 0] = labels[3, 4, 5] = labels[2, 3, 4] = 2
    groups = touching_groups(marked_places(labels), labels.shape)
    assert groups.tolist() == [0, 1, 0, 0]


def test_groups_are_those_of_scipy():
    from scipy.ndimage import label
    labels = (np.random.default_rng(1).random((20, 21, 22)) < .08).astype(np.int8)*2
    places = marked_places(labels)
    ours, theirs = touching_groups(places, labels.shape), label(labels, np.ones((3, 3, 3)))[0][tuple(places.T)]
    assert len(set(zip(ours.tolist(), theirs.tolist()))) == len(set(theirs.tolist())) == len(set(ours.tolist()))


def test_the_nearest_voxel_decides_between_two_membranes():
    "A head on a stalk between two vesicles belongs to the one that the stalk reaches."
    other = ball(4, (40, 45, 100), 22)
    labels = heads((40, 45, 70.5), radius=4.5)
    labels[40, 45, 63:67] = 2
    row, = attached(labels, (VESICLE, other))
    assert row.membrane_id == 3 and not row.reason
    row, = attached(heads((40, 45, 70), radius=4.), (VESICLE, other))
    assert 'as near' in row.reason


def test_distance_along_a_surface_is_an_arc():
    graph = surface_graph(VESICLE.vertices_vox, FACES)
    rng = np.random.default_rng(0)
    for a, b in rng.integers(0, len(DIRECTIONS), (20, 2)):
        if a == b: continue
        arc = 22*np.arccos(np.clip(DIRECTIONS[a] @ DIRECTIONS[b], -1, 1))
        assert .97*arc - .1 < neighbour_spacings(graph, np.array([a, b]))[0] < 1.045*arc + .1


def test_neighbours_are_the_nearest():
    "Against all pairs, one search each."
    from scipy.sparse.csgraph import dijkstra
    graph = surface_graph(VESICLE.vertices_vox, FACES)
    places = np.random.default_rng(3).choice(len(DIRECTIONS), 15, replace=False)
    every = dijkstra(graph, directed=False, indices=places)[:, places]
    np.fill_diagonal(every, np.inf)
    np.testing.assert_allclose(neighbour_spacings(graph, places), every.min(1))
    twice = np.r_[places, places[:1]]
    assert neighbour_spacings(graph, twice)[[0, -1]].tolist() == [0, 0]


def test_patterns_are_told_from_chance():
    areas = prepare(VESICLE).areas
    rng = np.random.default_rng(0)
    cap = np.flatnonzero(DIRECTIONS[:, 0] > .7)
    ratio = {}
    for name, places in dict(cluster=rng.choice(cap, 20), apart=farthest_points(VESICLE.vertices_vox, 20)).items():
        found = spacing_on(VESICLE, areas, places, np.random.default_rng(1))
        ratio[name] = (found.mean - found.random)/found.random_sd
    assert ratio['cluster'] < -3 and ratio['apart'] > 3
    scores = []
    for seed in range(20):
        found = spacing_on(VESICLE, areas, np.random.default_rng(seed).choice(len(areas), 12, p=areas/areas.sum()), np.random.default_rng(100 + seed))
        scores.append((found.mean - found.random)/found.random_sd)
    assert abs(np.mean(scores)) < .7 and np.mean(np.abs(scores) > 2) <= .2
    assert spacing_on(VESICLE, areas, np.array([5]), rng) is None


def test_membranes_say_what_stands_on_them():
    labels = heads((40, 45, 71), (40, 76, 40), (40, 45, 50))
    found = measure_proteins(labels, [VESICLE], PLACE)
    row = Membrane(3, 5000, 'closed', area_A2=4*np.pi*(22*8)**2)
    filled, refused = with_proteins([row, Membrane(4, 9, 'refused')], found.rows, found.spacings)
    assert (filled.n_proteins, filled.proteins_outside, filled.proteins_inside) == (3, 2, 1) and refused.n_proteins is None
    assert filled.protein_density_per_um2 == pytest.approx(3/(row.area_A2*1e-8)) and filled.protein_spacing_A == pytest.approx(8*22*np.pi/2, rel=.05)
    outside = [p for p in found.rows if p.side == 'outside']
    assert outside[0].spacing_A == pytest.approx(8*22*np.pi/2, rel=.05)
    assert [p for p in found.rows if p.side == 'inside'][0].spacing_A is None


def test_rows_come_back(tmp_path):
    rows = measure_proteins(heads((40, 45, 71), (6, 6, 6)), [VESICLE], PLACE).rows
    write_rows(tmp_path/'p.csv', rows, Protein)
    assert read_rows(tmp_path/'p.csv', Protein) == [rounded(row) for row in rows]


def test_the_same_seed_gives_the_same_numbers():
    labels = heads((40, 45, 71), (40, 76, 40), (68, 45, 40))
    one, two = (measure_proteins(labels, [VESICLE], PLACE, seed=4) for _ in range(2))
    assert one == two


def test_the_side_is_that_of_the_bilayer():
    "The bilayer lies a voxel further out than the mesh: a centre between the two is inside."
    from dataclasses import replace
    from cryoseg.result.records import Spread, Thickness
    moves = np.random.default_rng(0).normal(0, .1, (100, len(DIRECTIONS[::5])))
    spread = Spread(VESICLE.vertices_vox[::5], DIRECTIONS[::5], moves)
    nothing = np.full(len(DIRECTIONS), np.nan)
    seen = replace(VESICLE, spread=spread, thickness=Thickness(nothing, nothing, nothing, nothing, bilayer=replace(spread, moves_vox=moves + 2.)))
    row, = attached(heads((40, 45, 63), radius=4.), (seen,))
    assert row.side == 'inside' and row.normal_x < -.9 and row.height_A == pytest.approx(8, abs=3)


def test_a_sheet_of_label_2_is_no_heap_of_particles():
    "Ice or a carbon edge across the volume: dividing it would fill the memory."
    labels = heads((40, 45, 71), (40, 45, 9), (60, 66, 40))
    labels[70, :, :] = labels[:, 85, :] = 2
    found = find_particles(labels, 60)
    assert found.count == 4 and sum(p.status == 'large' for p in measure_proteins(labels, [VESICLE], PLACE).rows) == 1


def test_particles_on_parts_that_nothing_joins_have_no_spacing():
    two = Surface(3, np.vstack([VESICLE.vertices_vox, VESICLE.vertices_vox + [0, 0, 200.]]), np.vstack([FACES, FACES + len(DIRECTIONS)]),
                  np.full(2*len(DIRECTIONS), .3), 'open')
    assert spacing_on(two, prepare(two).areas, np.array([5, 5 + len(DIRECTIONS)]), np.random.default_rng(0)) is None
