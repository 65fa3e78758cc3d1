"Geometry: identities, invariances and libraries that compute the same."
import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.special import eval_legendre

from cryoseg.base import geometry
from cryoseg.base.geometry import (Ellipsoid, average_in_cells, connected_groups, farthest_points, fibonacci_sphere, fit_ellipsoid,
                                   harmonic_degrees, icosphere, local_planes, orient_normals, project_to_sheet, prune_sparse, spherical_harmonics)

AXES = np.array([20., 15., 12.])


def rng(seed=0): return np.random.default_rng(seed)


@pytest.fixture
def turn():
    "A rotation."
    q = np.linalg.qr(rng(1).normal(size=(3, 3)))[0]
    return q*np.linalg.det(q)


@pytest.fixture
def cloud():
    "Points of an ellipsoid with a little noise."
    return fibonacci_sphere(2500)*AXES + rng().normal(0, .2, (2500, 3))


# directions and meshes of the sphere

@pytest.mark.parametrize('n', [1, 2, 10, 1000])
def test_directions_are_unit_and_even(n):
    u = fibonacci_sphere(n)
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), 1)
    if n == 1000:
        gap = cKDTree(u).query(u, k=2)[0][:, 1]
        assert gap.max() < 1.8*gap.min() and np.abs(u.mean(0)).max() < 1e-3
        assert np.abs(u[:, 0] - np.linspace(1, -1, 2*n + 1)[1::2]).max() < 1e-12        # the first coordinate is the polar axis


@pytest.mark.parametrize('splits', range(4))
def test_icospheres_are_closed_and_look_outwards(splits):
    trimesh = pytest.importorskip('trimesh')
    v, f = icosphere(splits)
    assert len(v) == 10*4**splits + 2 and len(f) == 20*4**splits and (np.linalg.det(v[f]) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(v, axis=1), 1)
    theirs = trimesh.creation.icosphere(splits)
    ours = trimesh.Trimesh(v, f, process=False)
    assert ours.is_watertight and ours.volume == pytest.approx(theirs.volume) and ours.area == pytest.approx(theirs.area)


# clouds

def test_averages_lose_nothing(cloud):
    means, counts = average_in_cells(cloud, 5.)
    assert counts.sum() == len(cloud) and len(means) == len(np.unique(np.floor(cloud/5), axis=0))
    np.testing.assert_allclose(means.T @ counts, cloud.sum(0))
    again = average_in_cells(cloud[rng().permutation(len(cloud))], 5.)
    np.testing.assert_allclose(again.means, means)
    np.testing.assert_allclose(average_in_cells(cloud, 1e-6).means[np.argsort(average_in_cells(cloud, 1e-6).means[:, 0])], cloud[np.argsort(cloud[:, 0])])


def test_farthest_points_are_what_the_definition_says(cloud):
    points, n = cloud[:300], 20
    chosen = [int(np.argmax(((points - points.mean(0))**2).sum(1)))]
    while len(chosen) < n: chosen.append(int(np.argmax(cKDTree(points[chosen]).query(points)[0])))
    assert farthest_points(points, n).tolist() == chosen
    assert sorted(farthest_points(points, 999)) == list(range(300))
    assert farthest_points(3*points + 7, n).tolist() == chosen
    assert len(farthest_points(points[:, :2], 5)) == 5


def test_strays_are_pruned_and_the_rest_stays(cloud):
    strays = rng().uniform(-60, 60, (40, 3))
    strays = strays[cKDTree(cloud).query(strays)[0] > 8]
    keep = prune_sparse(np.vstack([cloud, strays]))
    assert keep[:len(cloud)].mean() > .99 and not keep[len(cloud):].any()
    assert prune_sparse(cloud[:8]).all() and prune_sparse(np.zeros((20, 3))).all()      # few points, or all in one place


@pytest.mark.parametrize('points, words', [(np.zeros(5), r'\(5,\)'), (np.zeros((5, 4)), r'\(5, 4\)'), (np.zeros((0, 3)), '0 points'), (np.full((5, 3), np.nan), '5 points that are not finite')])
def test_what_is_no_cloud_is_refused_by_name(points, words):
    for function in (lambda p: average_in_cells(p, 1.), lambda p: farthest_points(p, 3), prune_sparse, lambda p: local_planes(p, 2.)):
        with pytest.raises(ValueError, match=words): function(points)


# ellipsoids

def test_a_ball_is_an_ellipsoid():
    ball = Ellipsoid(np.array([1., 2, 3]), np.eye(3)/10)
    points = rng().normal(size=(50, 3))*20
    np.testing.assert_allclose(ball.signed_distance(points), np.linalg.norm(points - ball.centre, axis=1) - 10)
    np.testing.assert_allclose(ball.normals(points), ball.directions(points))
    assert ball.area() == pytest.approx(400*np.pi) and ball.volume() == pytest.approx(4000*np.pi/3) and ball.radius == pytest.approx(10)


def test_an_ellipsoid_agrees_with_itself_and_with_a_mesh():
    trimesh = pytest.importorskip('trimesh')
    body = Ellipsoid(np.array([5., 0, -3]), np.array([[1/30, 0, 0], [.01, 1/20, 0], [0, .005, 1/15]]))
    u = fibonacci_sphere(200)
    np.testing.assert_allclose(body.signed_distance(body.at(u, 2.5)), 2.5)
    np.testing.assert_allclose(body.directions(body.at(u, -1.)), u, atol=1e-9)
    x = body.at(u)
    for k in range(3):      # the normal is the gradient
        step = np.zeros(3)
        step[k] = 1e-5
        np.testing.assert_allclose((body.signed_distance(x + step) - body.signed_distance(x - step))/2e-5, body.normals(x)[:, k], atol=1e-6)
    v, f = icosphere(5)
    mesh = trimesh.Trimesh(body.at(v), f, process=False)
    assert mesh.area == pytest.approx(body.area(), rel=2e-3) and mesh.volume == pytest.approx(body.volume(), rel=3e-3)
    assert body.axes.tolist() == sorted(body.axes, reverse=True) and np.prod(body.axes) == pytest.approx(body.radius**3)


def test_derivatives_of_the_fit():
    p = np.array([.1, -.2, .05, .9, .1, 1.1, -.2, .05, 1.])
    x = fibonacci_sphere(40)*1.2
    numeric = approx_fprime(p, lambda p: geometry._residuals(p, x, .3)[0], 1e-7)
    np.testing.assert_allclose(geometry._residuals(p, x, .3)[1], numeric, atol=1e-5)


def test_an_exact_ellipsoid_is_found_wherever_it_lies(turn):
    centre = np.array([100., -50, 7])
    points = fibonacci_sphere(400)*AXES @ turn + centre
    found = fit_ellipsoid(points, shape_penalty=0.)
    np.testing.assert_allclose(found.axes, AXES, rtol=1e-6)
    np.testing.assert_allclose(found.centre, centre, atol=1e-5)
    assert np.abs(found.signed_distance(points)).max() < 1e-4
    larger = fit_ellipsoid(7*points, robust_scale=7*1.5, shape_penalty=0.)
    np.testing.assert_allclose(larger.axes, 7*AXES, rtol=1e-6)


def test_strays_say_little_and_the_seed_decides(cloud):
    strays = np.vstack([cloud, rng().uniform(-40, 40, (120, 3))])
    assert np.abs(fit_ellipsoid(strays).axes - AXES).max() < .4
    assert np.abs(fit_ellipsoid(strays, robust_scale=1e6).axes - AXES).max() > 1
    a, b, c = (fit_ellipsoid(cloud, most=300, seed=seed).matrix for seed in (0, 0, 1))
    assert (a == b).all() and (a != c).any()
    assert np.ptp(fit_ellipsoid(cloud, shape_penalty=1000.).axes) < .1        # nearly a sphere


@pytest.mark.parametrize('points, words', [(np.zeros((4, 3)), 'at least 9'), (np.c_[np.zeros(50), rng().normal(size=(50, 2))], 'one plane')])
def test_what_defines_no_ellipsoid(points, words):
    with pytest.raises(ValueError, match=words): fit_ellipsoid(points)


# planes

def test_planes_are_those_of_numpy(cloud):
    at, radius = cloud[:40], 4.
    normals, flatness, counts = local_planes(at, radius, support=cloud)
    for k, near in enumerate(cKDTree(cloud).query_ball_point(at, radius)):
        values, vectors = np.linalg.eigh(np.cov(cloud[near].T, bias=True))
        assert counts[k] == len(near) and abs(normals[k] @ vectors[:, 0]) == pytest.approx(1, abs=1e-9)
        assert flatness[k] == pytest.approx(1 - values[0]/values[1], abs=1e-6)


def test_planes_turn_with_the_cloud(cloud, turn):
    normals, flatness, counts = local_planes(cloud, 4.)
    turned = local_planes(cloud @ turn + 5, 4.)
    np.testing.assert_allclose(np.abs((turned.normals*(normals @ turn)).sum(1)), 1, atol=1e-6)
    np.testing.assert_allclose(turned.flatness, flatness, atol=1e-6)
    assert (turned.counts == counts).all()


def test_too_few_neighbours_make_no_plane(cloud):
    normals, flatness, counts = local_planes(np.array([[900., 0, 0], [-900, 5, 5], *cloud[:1]]), 4., support=cloud)
    assert np.isnan(normals[:2]).all() and counts[:2].tolist() == [0, 0] and flatness[:2].tolist() == [0, 0] and np.isfinite(normals[2]).all()


def test_lines_in_the_plane():
    angle = np.linspace(0, 2*np.pi, 200, endpoint=False)
    ring = 30*np.column_stack([np.cos(angle), np.sin(angle)])
    normals, flatness, _ = local_planes(ring, 5.)
    assert np.abs((normals*ring/30).sum(1)).min() > .999 and flatness.min() > .9


def test_normals_get_one_sign_whatever_they_had(cloud):
    outward = Ellipsoid(np.zeros(3), np.diag(1/AXES)).normals(cloud)
    flipped = outward*rng().choice([-1, 1], (len(cloud), 1))
    np.testing.assert_array_equal(orient_normals(cloud, flipped), outward)
    np.testing.assert_array_equal(orient_normals(cloud[:1], flipped[:1]), flipped[:1])
    two = np.vstack([cloud, cloud + 500])       # each part begins on its own
    np.testing.assert_array_equal(np.abs((orient_normals(two, np.vstack([flipped, flipped]))*np.vstack([outward, outward])).sum(1)).round(9), 1)


# the sheet

def test_points_move_onto_a_sphere_without_bias():
    support = 20*fibonacci_sphere(4000)
    start = support[::40]*1.03
    points, normals, counts = project_to_sheet(start, support, 5.)
    assert np.abs(np.linalg.norm(points, axis=1) - 20).max() < .03 and counts.min() >= 10
    assert np.abs((normals*points).sum(1)/np.linalg.norm(points, axis=1)).min() > .9999
    far = project_to_sheet(start + 300, support, 5.)
    assert (far.points == start + 300).all() and np.isnan(far.normals).all()


def test_a_flat_sheet_is_flat():
    y, x = np.mgrid[:30, :30]
    support = np.column_stack([np.full(900, 7.), y.ravel(), x.ravel()])
    start = support[[435, 436]] + [[1., 0, 0], [-1, 0, 0]]
    points, normals, _ = project_to_sheet(start, support, 4.)
    np.testing.assert_allclose(points, support[[435, 436]], atol=1e-6)
    np.testing.assert_allclose(np.abs(normals), [[1, 0, 0]]*2, atol=1e-6)
    assert (start[:, 0] == [8, 6]).all()        # the input stays as it was


# spherical harmonics

def test_harmonics_are_orthonormal_and_obey_the_addition_theorem():
    u, degrees = fibonacci_sphere(8000), harmonic_degrees(5)
    y = spherical_harmonics(u, 5)
    assert degrees.tolist() == [l for l in range(6) for _ in range(2*l + 1)]
    np.testing.assert_allclose(y.T @ y*4*np.pi/len(u), np.eye(36), atol=1e-3)
    for l in range(6):
        product = y[:40, degrees == l] @ y[40, degrees == l]
        np.testing.assert_allclose(product, (2*l + 1)/(4*np.pi)*eval_legendre(l, u[:40] @ u[40]), atol=1e-9)


def test_harmonics_in_closed_form():
    z, y, x = u = fibonacci_sphere(50).T
    found = spherical_harmonics(u.T, 2)
    np.testing.assert_allclose(found[:, 0], .5/np.sqrt(np.pi))
    np.testing.assert_allclose(found[:, 1:4], np.sqrt(3/(4*np.pi))*np.column_stack([y, z, x]), atol=1e-12)
    np.testing.assert_allclose(found[:, 6], np.sqrt(5/(16*np.pi))*(3*z**2 - 1), atol=1e-12)


# groups

def test_groups_are_those_of_a_graph_and_numbered_by_their_first_member():
    pairs = rng().integers(0, 200, (120, 2))
    groups = connected_groups(200, pairs)
    theirs = connected_components(coo_array((np.ones(120), pairs.T), shape=(200, 200)), directed=False)[1]
    assert len(np.unique(np.column_stack([groups, theirs]), axis=0)) == groups.max() + 1 == theirs.max() + 1
    firsts = [np.flatnonzero(groups == k)[0] for k in range(groups.max() + 1)]
    assert firsts == sorted(firsts)
    np.testing.assert_array_equal(connected_groups(200, map(tuple, pairs[::-1, ::-1])), groups)
    assert connected_groups(3, []).tolist() == [0, 1, 2]
