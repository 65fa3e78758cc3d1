"Distances between membranes: exact on balls and sheets, with errors from both, on the right side."
import numpy as np
import pytest
from scipy.sparse import csr_array

from cryoseg.base.geometry import icosphere
from cryoseg.base.nearest import nearest_on_mesh
from cryoseg.base.volume import Volume
from cryoseg.measure.distances import distance_row, gap_to, measure_distances, moves_at, prepare, why_unsure
from cryoseg.measure.middle import DRIFT, Seen, samples_of_middle
from cryoseg.measure.settings import DistanceSettings
from cryoseg.result.records import Distance, Spread, Surface, Thickness
from cryoseg.result.tables import read_rows, rounded, write_rows

DIRECTIONS, FACES = icosphere(4)
PLACE = Volume(np.zeros((2, 2, 2), np.float32), 5., (10., 20., 30.))


def ball(id, centre, radius, sigma=.4, seed=None, status='closed'):
    "A ball whose samples move it in and out as a whole; without a seed it has none."
    vertices = np.array(centre, float) + radius*DIRECTIONS
    spread = None
    if seed is not None:
        moves = np.random.default_rng(seed).normal(0, sigma, (100, 1))*np.ones(len(DIRECTIONS[::5]))
        spread = Spread(vertices[::5], DIRECTIONS[::5], moves)
    return Surface(id, vertices, FACES, np.full(len(vertices), sigma), status, spread=spread)


def sheet(id, z, sigma=.4, n=41, seed=None, tilt=0.):
    "A flat sheet of n x n voxels, its normal upwards in z."
    y, x = np.mgrid[:n, :n].reshape(2, -1).astype(float)
    vertices = np.column_stack([z + tilt*x, y, x])
    k = np.arange(n*(n - 1)).reshape(n - 1, n)[:, :-1].ravel()
    faces = np.vstack([np.column_stack([k, k + n, k + 1]), np.column_stack([k + 1, k + n, k + n + 1])])
    if np.cross(*np.diff(vertices[faces[0]], axis=0))[0] < 0: faces = faces[:, ::-1]
    spread = None
    if seed is not None:
        nodes = slice(None, None, 7)
        moves = np.random.default_rng(seed).normal(0, sigma, (400, len(vertices[nodes])))
        spread = Spread(vertices[nodes], np.tile([1., 0, 0], (len(vertices[nodes]), 1)), moves)
    return Surface(id, vertices, faces, np.full(len(vertices), sigma), 'open', spread=spread)


def pairs(*surfaces, reach_A=300., contact_A=100., size=5.):
    return measure_distances(surfaces, size, DistanceSettings(reach_A, contact_A)).pairs


@pytest.mark.parametrize('apart', [4., 15., 40.])
def test_two_balls(apart):
    pair, = pairs(ball(1, (50, 50, 50), 20, seed=1), ball(2, (50, 50, 80 + apart), 10, seed=2))
    assert pair.relation == 'apart' and pair.least.value == pytest.approx(apart, abs=.25)
    assert pair.least.sd == pytest.approx(np.hypot(.4, .4), rel=.2)             # of both
    np.testing.assert_allclose(pair.place, (50, 50, 70 + apart/2), atol=1.5)


def test_what_lies_within():
    outer, inner = ball(1, (50, 50, 50), 40, seed=1), ball(2, (50, 50, 50), 30, seed=2)
    pair, = pairs(outer, inner)
    assert pair.relation == 'inside' and pair.median.value == pytest.approx(10, abs=.2)
    back, = pairs(ball(1, (50, 50, 50), 30), ball(2, (50, 50, 50), 40))
    assert back.relation == 'around' and np.isnan(back.least.sd)                # without samples no error
    assert pair.contact_area.value == pytest.approx(2*np.pi*(40**2 + 30**2), rel=.02)


def test_membranes_that_cross_are_told():
    pair, = pairs(ball(1, (50, 50, 50), 20), ball(2, (50, 50, 80), 20))
    assert pair.relation == 'crossing' and pair.least.value < .2


def test_an_error_that_both_share_leaves_their_distance():
    "A double membrane that was fitted together has samples of one seed: both move in and out as one."
    alone, = pairs(ball(1, (50, 50, 50), 40, seed=1), ball(2, (50, 50, 50), 30, seed=2))
    together, = pairs(ball(1, (50, 50, 50), 40, seed=1), ball(2, (50, 50, 50), 30, seed=1))
    assert together.median.sd < .2*alone.median.sd or together.median.sd < 2.1/5       # what is within reach is never quite known


def test_the_truth_lies_within_the_error():
    "Two flat sheets, 12 apart; each was fitted off by as much as its samples say."
    def off(id, z, rng):
        s = sheet(id, z + rng.normal(0, .4))
        nodes = s.vertices_vox[::7]
        moves = rng.normal(0, .4, (100, 1))*np.ones(len(nodes))
        return Surface(**{**vars(s), 'spread': Spread(nodes, np.tile([1., 0, 0], (len(nodes), 1)), moves)})
    inside = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        pair, = pairs(off(1, 0., rng), off(2, 12., rng))
        inside.append([abs(found.value - 12) <= 2*found.sd for found in (pair.least, pair.median)])
        assert pair.least.sd == pytest.approx(np.hypot(.4, .4), rel=.25)
    assert (np.mean(inside, 0) >= .85).all()


def wavering(id, z, seed, unseen_sd=6., n=21):
    "A sheet that was seen to one side; to the other its samples waver, and its mean is off by half as much."
    surface, rng = sheet(id, z, n=n), np.random.default_rng(seed)
    x = surface.vertices_vox[:, 2]
    sd = np.where(x < n/2, .3, unseen_sd)
    away = ((surface.vertices_vox[:, None] - surface.vertices_vox)**2).sum(2)
    waves = np.linalg.cholesky(np.exp(-away/(2*5**2)) + 1e-6*np.eye(len(x)))
    draws = (waves @ rng.standard_normal((len(x), 121))).T*sd
    vertices = surface.vertices_vox + draws[0][:, None]*[.5, 0, 0]
    up = np.tile([1., 0, 0], (len(x), 1))
    return Surface(id, vertices, surface.faces, sd, 'open', spread=Spread(vertices, up, draws[1:]))


def test_the_least_distance_is_not_sought_where_nobody_has_seen():
    "Two sheets at a constant distance: the least of what wavers would be far too small."
    found, least_of_samples = [], []
    for seed in range(12):
        one, two = wavering(1, 0., 2*seed), wavering(2, 40., 2*seed + 1)
        pair, = pairs(one, two)
        found.append((pair.least.value - 40)/pair.least.sd)
        samples = gap_to(prepare(one), prepare(two), 66.).samples
        least_of_samples.append(samples.min(1).mean() - 40)
        assert pair.least.value > samples.min(1).mean()
    found = np.array(found)
    assert np.mean(least_of_samples) < -8 and (np.abs(found) <= 2).all() and abs(found.mean()) < .75


def test_why_a_least_distance_is_less_sure():
    def why(*surfaces, shape=(200, 200, 200)):
        pair, = pairs(*surfaces)
        return why_unsure(pair, Volume(np.broadcast_to(np.float32(0), shape), 5.))
    left, right, above = ball(1, (50, 50, 50), 20, seed=1), ball(2, (50, 50, 95), 20, seed=2), ball(3, (95, 50, 50), 20, seed=3)
    assert why(left, right) == '' and 'flat' in why(left, above)
    assert 'edge of the volume' in why(left, right, shape=(55, 200, 200))
    assert 'cross' in why(left, ball(2, (50, 50, 80), 20, seed=2))
    assert 'flat' in why(ball(1, (50, 50, 50), 20), ball(3, (95, 50, 50), 20))          # without samples too


def test_contact_needs_nearness():
    near, = pairs(sheet(1, 0., seed=1), sheet(2, 10., seed=2))
    assert near.contact_area.value == pytest.approx(1600, rel=.02)
    far, = pairs(sheet(1, 0.), sheet(2, 30.))
    assert far.contact_area.value == 0
    half, = pairs(sheet(1, 0.), sheet(2, 10., tilt=.5))                         # within 20 voxels over half of its length
    assert .4 < half.contact_area.value/1600 < .7


def test_beyond_the_reach_there_is_nothing():
    found = measure_distances([ball(1, (50, 50, 50), 20), ball(2, (50, 50, 150), 20)], 5., DistanceSettings(reach_A=200.))
    assert found.pairs == [] and all(np.isnan(s.proximity.distance_vox).all() and not s.proximity.nearest_id.any() for s in found.surfaces)


def test_each_vertex_knows_its_nearest():
    surfaces = [ball(1, (50, 50, 50), 20, seed=1), ball(2, (50, 50, 85), 10, seed=2), ball(7, (50, 50, 15), 10, seed=3)]
    first = measure_distances(surfaces, 5.).surfaces[0].proximity
    right = DIRECTIONS[:, 2] > .9
    assert (first.nearest_id[right] == 2).all() and (first.nearest_id[DIRECTIONS[:, 2] < -.9] == 7).all()
    true = np.linalg.norm(surfaces[0].vertices_vox - [50, 50, 85], axis=1) - 10
    np.testing.assert_allclose(first.distance_vox[right], true[right], atol=.25)
    assert first.distance_sd_vox[right].min() > .3


def test_surfaces_without_a_mesh_are_passed_over():
    nothing = Surface(3, np.zeros((0, 3)), np.zeros((0, 3), int), np.zeros(0), 'refused')
    found = measure_distances([nothing, ball(1, (50, 50, 50), 20), ball(2, (50, 50, 85), 10)], 5.)
    assert len(found.pairs) == 1 and found.surfaces[0] is nothing
    assert measure_distances([], 5.).pairs == []


def test_the_bilayer_counts_where_it_was_seen():
    "The densities say that each membrane lies 1 voxel further in: the distance grows by both."
    def placed(surface):
        seen = Spread(surface.spread.nodes_vox, surface.spread.normals, surface.spread.moves_vox*.1 - 1.)
        nothing = np.full(len(surface.vertices_vox), np.nan)
        return Surface(**{**vars(surface), 'thickness': Thickness(nothing, nothing, nothing, nothing, bilayer=seen)})
    one, two = ball(1, (50, 50, 50), 20, seed=1), ball(2, (50, 50, 90), 10, seed=2)
    before, = pairs(one, two)
    after, = pairs(placed(one), placed(two))
    assert after.least.value - before.least.value == pytest.approx(2, abs=.1) and after.least.sd < before.least.sd


def test_samples_are_conditioned_on_what_was_seen():
    surface = sheet(1, 0., seed=1)
    nodes = surface.spread.nodes_vox
    rng = np.random.default_rng(5)
    as_one = rng.normal(0, .4, (400, 1)) + rng.normal(0, .02, surface.spread.moves_vox.shape)
    surface = Surface(**{**vars(surface), 'spread': Spread(nodes, surface.spread.normals, as_one)})
    weights = csr_array(np.full((1, len(nodes)), 1/len(nodes)))
    seen = Seen(nodes, weights, nodes[len(nodes)//2:len(nodes)//2 + 1], np.array([[1., 0, 0]]), np.array([.8]), np.array([.01]))
    placed = samples_of_middle(surface.spread, seen, 100., .2, np.random.default_rng(0))
    means = placed.moves_vox.mean(1)
    assert means.mean() == pytest.approx(.8, abs=.03) and means.std() == pytest.approx(.2, rel=.25)


def test_samples_are_less_sure_far_from_what_was_seen():
    surface = sheet(1, 0., seed=1, n=61)
    nodes = surface.spread.nodes_vox
    seen = Seen(nodes[:1], csr_array(np.ones((1, 1))), nodes[:1], np.array([[1., 0, 0]]), np.array([0.]), np.array([.01]))
    placed = samples_of_middle(surface.spread, seen, 5., 0., np.random.default_rng(0))
    away = np.linalg.norm(nodes - nodes[0], axis=1)
    far = away > 40
    sd = placed.moves_vox.std(0)
    assert (sd[far] >= DRIFT*away[far]).all() and sd[far].mean() > 2*surface.spread.moves_vox.std(0)[far].mean()
    assert sd[0] < .1


def test_another_side_is_not_taken_for_ones_own():
    "A patch on the other wall of a thin body says nothing of this one."
    nodes = np.array([[0., 0, 0], [4., 0, 0]])
    spread = Spread(nodes, np.array([[-1., 0, 0], [1., 0, 0]]), np.random.default_rng(0).normal(0, .4, (200, 2)))
    seen = Seen(nodes[:1], csr_array(np.ones((1, 1))), nodes[:1], spread.normals[:1], np.array([2.]), np.array([.01]))
    placed = samples_of_middle(spread, seen, 10., 0., np.random.default_rng(1))
    assert placed.moves_vox[:, 0].mean() == pytest.approx(2, abs=.05) and abs(placed.moves_vox[:, 1].mean()) < .5


def test_moves_between_nodes_have_the_sigma_of_the_place():
    surface = sheet(1, 0., seed=4)
    places = surface.vertices_vox[100:140] + [0, .5, .5]
    moves = moves_at(surface, places, np.linspace(.2, 2, 40))
    np.testing.assert_allclose(moves.std(0), np.linspace(.2, 2, 40), rtol=1e-6)


def test_the_nearest_place_of_a_mesh():
    rng = np.random.default_rng(0)
    points = rng.normal(0, 15, (800, 3))
    found = nearest_on_mesh(points, 10*DIRECTIONS, FACES)
    assert np.abs(found.distance - np.abs(np.linalg.norm(points, axis=1) - 10)).max() < .03
    np.testing.assert_allclose(np.linalg.norm(points - found.places, axis=1), found.distance, atol=1e-9)
    none = nearest_on_mesh(points + 1000, 10*DIRECTIONS, FACES, reach=50.)
    assert np.isinf(none.distance).all() and (none.vertex == -1).all()


def test_a_row_comes_back(tmp_path):
    pair, = pairs(ball(1, (50, 50, 50), 20, seed=1), ball(2, (50, 50, 85), 10, seed=2))
    row = distance_row(pair, PLACE)
    assert row.distance_A == pytest.approx(5*pair.least.value) and row.x_A == pytest.approx(10 + 5*pair.place[2]) and row.z_A == pytest.approx(30 + 5*pair.place[0])
    write_rows(tmp_path/'d.csv', [row], Distance)
    assert read_rows(tmp_path/'d.csv', Distance) == [rounded(row)]


def test_nothing_near_gives_nothing():
    assert gap_to(prepare(ball(1, (50, 50, 50), 5)), prepare(ball(2, (500, 50, 50), 5)), 20.) is None
