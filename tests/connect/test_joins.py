"Joining across gaps: what continues is joined, what runs beside is not, and costs are those of geometry."
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from cryoseg.base.geometry import Ellipsoid
from cryoseg.base.pool import shared_map
from cryoseg.connect.joins import NO_PATCH, Join, RimCell, curvature_along, fit_height, height_terms, join_across_gaps
from cryoseg.connect.joins import join_on_bodies, joined, list_bridges, on_shell, one_body_cost, patch_cost, quadric_misses
from cryoseg.connect.joins import _nearest_of_each, _reach, _rim_cells_of_all, rim_cells, side_by_side
from cryoseg.connect.pieces import Scale, describe_piece
from cryoseg.connect.settings import ConnectSettings

SHAPE = 80, 80, 160
SCALE = Scale(ConnectSettings(), 10., SHAPE)


def shell(radius, centre=(40, 40, 60)):
    "Voxels of a spherical shell three voxels thick."
    distance = np.linalg.norm(np.indices(SHAPE) - np.reshape(centre, (3, 1, 1, 1)), axis=0)
    return np.argwhere(np.abs(distance - radius) <= 1.5)


def halves(voxels, gap=12, at=60):
    "The pieces on both sides of a slot across x."
    return [describe_piece(v, SCALE) for v in (voxels[voxels[:, 2] < at - gap/2], voxels[voxels[:, 2] > at + gap/2])]


@cache
def plate(low, high, z=30):
    "A plate from x = low to high, three voxels thick."
    y, x = np.indices((60, high - low)).reshape(2, -1)
    height = np.full(len(x), z)
    return describe_piece(np.vstack([np.column_stack([height + d, y, x + low]) for d in (-1, 0, 1)]), SCALE)


@pytest.fixture(scope='module')
def outer(): return halves(shell(34))


@pytest.fixture(scope='module')
def inner(): return halves(shell(20))


# one body

def test_points_on_a_shell_are_on_it(outer):
    body = Ellipsoid(np.array([40., 40, 60]), np.eye(3)/34)
    found = on_shell(body, outer[0], SCALE)
    assert found.fraction > .98 and found.rms < 1
    away = on_shell(Ellipsoid(body.centre, np.eye(3)/20), outer[0], SCALE)
    assert away.fraction == 0 and away.rms == np.inf


def test_a_quadric_carries_one_sphere_and_not_two(outer, inner):
    assert not quadric_misses(*outer, SCALE) and quadric_misses(outer[0], inner[0], SCALE)


def test_halves_of_one_body_cost_little(outer, inner):
    assert one_body_cost(*outer, SCALE) < .4 and one_body_cost(*outer[::-1], SCALE) == pytest.approx(one_body_cost(*outer, SCALE), abs=.02)
    assert one_body_cost(outer[0], inner[1], SCALE) == np.inf


def test_nested_halves_find_their_own(outer, inner):
    pieces = [outer[0], inner[0], inner[1], outer[1]]
    joins = join_on_bodies(pieces, SCALE)
    assert {j.pair for j in joins if j.taken} == {frozenset((0, 3)), frozenset((1, 2))} and len(joins) == 2
    assert all(j.distance == pytest.approx(13, abs=2) and j.middle[2] == pytest.approx(60, abs=1.5) for j in joins)


def test_the_order_of_pieces_changes_nothing(outer, inner):
    pieces = [outer[0], inner[0], inner[1], outer[1]]
    order = [2, 0, 3, 1]
    again = join_on_bodies([pieces[k] for k in order], SCALE)
    assert {frozenset(order[n] for n in j.pair) for j in again} == {frozenset((0, 3)), frozenset((1, 2))}


@pytest.mark.long
def test_two_processes_find_the_same_joins(outer, inner):
    "A body in two halves and one in three: the search goes on after a join, and every pair is compared elsewhere."
    voxels, most = outer[1].voxels, outer[1].voxels[:, 0] < 50
    pieces = [outer[0], inner[0], describe_piece(voxels[most], SCALE), inner[1], describe_piece(voxels[~most], SCALE)]
    alone = join_on_bodies(pieces, SCALE)
    assert sum(j.taken for j in alone) == 3
    with shared_map(2) as share: assert str(join_on_bodies(pieces, SCALE, share=share)) == str(alone)


def test_rivals_are_not_joined(outer):
    "Two copies of one half, three voxels apart, both continue the other half: nobody knows which."
    twin = describe_piece(outer[1].voxels + (0, 0, 3), SCALE)
    joins = join_on_bodies([outer[0], outer[1], twin], SCALE)
    assert not any(j.taken and 0 in j.pair for j in joins) and any('other joins fit as well' in j.reason for j in joins)


def test_joined_is_one_piece_of_all(outer):
    whole = joined(outer, SCALE)
    assert len(whole.voxels) == sum(len(p.voxels) for p in outer) and whole.weights.sum() == pytest.approx(1)
    assert whole.body.radius == pytest.approx(34, abs=.7) and joined(outer[:1], SCALE) is outer[0]
    assert min(p.thickness for p in outer) <= whole.thickness <= max(p.thickness for p in outer)


def test_a_large_volume_hides_no_small_body(inner):
    "However many larger pieces there are, and however far away, two small halves find each other."
    far = [replace(plate(0, 80), cells=plate(0, 80).cells + (0, 0, 2000*k), body=None) for k in range(1, 161)]
    joins = join_on_bodies([*far, *inner], SCALE)
    assert [sorted(j.pair) for j in joins if j.taken] == [[160, 161]]


def test_side_by_side(outer, inner):
    assert side_by_side(plate(0, 60), plate(0, 60, z=36), SCALE) and not side_by_side(*outer, SCALE)


# one patch

def test_the_rim_of_a_plate_is_its_edge():
    piece = plate(20, 80)
    rim = rim_cells(piece)
    y, x = piece.cells[rim.cells, 1], piece.cells[rim.cells, 2]
    edge = np.minimum.reduce([y, 59 - y, x - 20, 79 - x])
    assert len(rim.cells) > 60 and edge.max() < 4
    np.testing.assert_allclose(np.linalg.norm(rim.outward, axis=1), 1)
    np.testing.assert_allclose((rim.outward*piece.normals[rim.cells]).sum(1), 0, atol=1e-9)
    middle = np.array([30, 29.5, 49.5])
    assert ((piece.cells[rim.cells] - middle)*rim.outward).sum(1).min() > 0


def test_nearest_rims_are_those_of_brute_force(outer, inner):
    pieces = [*outer, *inner, plate(0, 60)]
    cells, owner = _rim_cells_of_all(pieces)
    places = np.array([cell.place for cell in cells])
    rows = _nearest_of_each(pieces, owner, places, SCALE)
    area = np.array([p.area for p in pieces])
    wanted = []
    for n in range(len(cells)):
        for j in set(owner) - {owner[n]}:
            gaps = np.where(owner == j, np.linalg.norm(places - places[n], axis=1), np.inf)
            if gaps.min() <= _reach(owner[n], area, SCALE)[j]: wanted.append((n, j, gaps.min()))
    np.testing.assert_allclose(np.column_stack([rows[:, 0], owner[rows[:, 1].astype(int)], rows[:, 2]]), sorted(wanted))


def test_a_closed_shell_has_hardly_a_rim(outer):
    assert len(rim_cells(describe_piece(shell(30), SCALE)).cells) < len(rim_cells(outer[0]).cells)/4


@pytest.mark.parametrize('way', [(1., 0.), (0., 3.), (-1., 2.)])
def test_a_sphere_bends_the_same_in_all_directions(way):
    u, v = (g.ravel() for g in np.meshgrid(np.linspace(-3, 3, 15), np.linspace(-3, 3, 15)))
    fit = fit_height(height_terms(u, v), 30 - np.sqrt(900 - u**2 - v**2))
    assert curvature_along(fit.coefficients, np.zeros(2), np.array(way)) == pytest.approx(1/30, rel=.02)


def test_heights_are_fitted_exactly():
    u, v = np.random.default_rng(0).normal(size=(2, 40))
    true = np.array([1., -2, 3, .5, -.25, 2])
    fit = fit_height(height_terms(u, v), height_terms(u, v) @ true)
    np.testing.assert_allclose(fit.coefficients, true)
    assert fit.squares == pytest.approx(0, abs=1e-20)
    assert curvature_along(np.array([1., 2, 3, 0, 0, 0]), np.ones(2), np.ones(2)) == 0


def facing(a, b):
    "The two rim cells where two plates along x face each other."
    found = []
    for piece, x, way in ((a, np.inf, 1), (b, -np.inf, -1)):
        rim = rim_cells(piece)
        k = min(range(len(rim.cells)), key=lambda k: np.linalg.norm(piece.cells[rim.cells[k]][1:] - (30, (70 if way > 0 else 80))))
        found.append(RimCell(piece, rim.cells[k], rim.outward[k]))
    return found


def test_a_plane_continues_itself():
    fit = patch_cost(*facing(plate(20, 70), plate(80, 130)), SCALE)
    assert fit.cost < .1 and fit.curvature_difference == pytest.approx(0, abs=2e-3)


def test_a_step_costs_more_the_higher_it_is():
    costs = [patch_cost(*facing(plate(20, 70), plate(80, 130, z=30 + step)), SCALE).cost for step in (0, 6, 14)]
    assert costs[0] < .2 and costs[0] < costs[1] < costs[2] and costs[2] > 1


def test_rims_that_look_away_have_no_patch():
    here, there = facing(plate(20, 70), plate(80, 130))
    assert patch_cost(here._replace(outward=-here.outward), there, SCALE) is NO_PATCH


def test_a_cut_sheet_is_joined_and_its_neighbour_is_not():
    pieces = [plate(20, 70), plate(80, 130), plate(20, 70, z=42)]
    joins = {j.pair: j for j in join_across_gaps(pieces, SCALE)}
    cut = joins[frozenset((0, 1))]
    assert cut.taken and cut.cost < .2 and cut.distance == pytest.approx(11, abs=2.5) and max(cut.angles) < 30
    assert cut.middle[0] == pytest.approx(30, abs=1.5) and cut.middle[2] == pytest.approx(74.5, abs=1.5)
    assert not any(j.taken for pair, j in joins.items() if 2 in pair)


def test_what_is_known_to_be_two_is_not_asked():
    assert join_across_gaps([plate(20, 70), plate(80, 130)], SCALE, apart={(0, 1)}) == []


def test_bridges_go_both_ways():
    b = list_bridges([plate(20, 70), plate(80, 130)], SCALE)
    assert {(0, 1), (1, 0)} == set(zip(b.a.tolist(), b.b.tolist())) and np.isfinite(b.cost).all()
    np.testing.assert_allclose(b.gap, np.linalg.norm(b.places[b.rim_a] - b.places[b.rim_b], axis=1))


def test_no_pieces_no_joins():
    assert join_on_bodies([], SCALE) == [] and join_across_gaps([], SCALE) == []


def test_a_pair_has_no_order():
    assert Join(1, 2, 0., 0., '', 'body').pair == Join(2, 1, 0., 0., '', 'patch').pair


