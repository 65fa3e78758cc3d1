"Implicit surfaces: zero sets, oriented points, open sheets, closed bodies of any shape, and the errors of area and volume."
import numpy as np
import pytest
from scipy.spatial import cKDTree

from cryoseg.base.geometry import fibonacci_sphere, icosphere
from cryoseg.base.mesh import is_closed, mesh_area, mesh_volume, vertex_normals
from cryoseg.base.slivers import on_sides, smallest_angles
from cryoseg.surface.settings import SurfaceSettings
from cryoseg.surface.sheet import (
    _area_and_volume_weights, area_and_volume_sd, closing_values, concave_surface, even_mesh, fit_sheet, fit_sheet_surface,
    onto_zero, open_surface, oriented_points, signed_values, thinned, vertex_sigma, zero_set,
)

EXACT = SurfaceSettings(label_sigma_vox=0., flat_sigma_vox=0., systematic_sigma_vox=0., edge_vox=4.)
SHAPE = (100, 100, 100)


def sheet_cloud(n=1200, seed=0):
    "A gently bent sheet, upright."
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-25, 25, (2, n))
    return np.column_stack([a, b, .01*b**2]) + 50 + .3*rng.standard_normal((n, 3))


@pytest.fixture(scope='module')
def cloud():
    return sheet_cloud()


@pytest.fixture(scope='module')
def process(cloud):
    return fit_sheet(cloud, n=150)


def test_the_zero_set_of_a_distance_is_a_sphere():
    u = fibonacci_sphere(1500)
    mesh = zero_set(lambda p: np.linalg.norm(p - 30, axis=1) - 12, 30 + 12*u, reach=3.)
    assert is_closed(mesh.faces) and mesh_volume(*mesh) == pytest.approx(4/3*np.pi*12**3, rel=.02)
    inwards = zero_set(lambda p: 12 - np.linalg.norm(p - 30, axis=1), 30 + 12*u, reach=3.)
    assert mesh_volume(*inwards) == pytest.approx(-mesh_volume(*mesh), rel=1e-3)


@pytest.mark.parametrize('sign', [1, -1])
def test_a_function_of_one_sign_has_no_zero_set(sign):
    assert len(zero_set(lambda p: np.full(len(p), sign), fibonacci_sphere(50), 3.).faces) == 0


def test_oriented_points_of_a_ball_look_outwards():
    u = fibonacci_sphere(3000)
    on, normals = oriented_points(50 + 20*u, 100, 6.)
    outward = (on - 50)/np.linalg.norm(on - 50, axis=1, keepdims=True)
    assert len(on) == 100 and ((normals*outward).sum(1) > .99).all()
    assert np.abs(np.linalg.norm(on - 50, axis=1) - 20).max() < .2
    with pytest.raises(ValueError, match='do not lie on a sheet'):
        oriented_points(np.random.default_rng(0).uniform(0, 500, (30, 3)), 10, 6.)


def test_rims_are_left_out(cloud):
    everywhere, inner = (oriented_points(cloud, 300, 8., rim)[0] for rim in (np.inf, 1.5))
    assert np.abs(inner[:, :2] - 50).max() < np.abs(everywhere[:, :2] - 50).max() - 2


def test_helpers_are_left_out_between_two_sheets():
    grid = np.stack(np.meshgrid(np.arange(0, 20, 3.), np.arange(0, 20, 3.)), -1).reshape(-1, 2)
    one = np.column_stack([0*grid[:, 0], grid])
    normals = np.tile([1., 0, 0], (len(one), 1))
    points, values = signed_values(one, normals, 3.)
    assert len(points) == 3*len(one)
    np.testing.assert_allclose(points[:, 0], values)
    both = np.vstack([one, one + [4., 0, 0]])
    points, values = signed_values(both, np.vstack([normals, normals]), 3.)
    between = (points[:, 0] > .1) & (points[:, 0] < 3.9)
    assert not between.any() and len(points) == 4*len(one)


def test_the_process_is_a_signed_distance(cloud, process):
    at = np.array([50., 50., 50.]) + np.outer([-2, 0, 2], [0, 0, 1.])
    values = process.mean(at)*np.sign(process.mean(at[2:]))
    np.testing.assert_allclose(values, [-2, 0, 2], atol=.4)
    far, near = process.variance(np.array([[50., 50, 90], [50., 50, 50]]))
    assert far > 20*near


def test_newton_puts_vertices_on_zero(cloud, process):
    mesh = zero_set(process.mean, cloud, 4., 4.)
    moved = onto_zero(process, mesh.vertices)
    assert np.abs(process.mean(moved)).max() < .05*np.abs(process.mean(mesh.vertices)).max()
    sigma = vertex_sigma(process, moved, most=100)
    assert (sigma > 0).all()
    exact = np.sqrt(process.variance(moved))/np.linalg.norm(process.gradient(moved), axis=1)
    np.testing.assert_allclose(vertex_sigma(process, moved, most=10**6), exact)
    assert np.median(sigma/exact) == pytest.approx(1, abs=.2)


def test_shifted_vertices_lie_on_the_zero_set_again(cloud, process):
    mesh = zero_set(process.mean, cloud, 4., 4.)
    mesh = mesh._replace(vertices=onto_zero(process, mesh.vertices))
    even = even_mesh(process, mesh, np.arange(len(mesh.vertices)), None)
    at, source = cKDTree(mesh.vertices).query(even.vertices)
    assert smallest_angles(*mesh).min() < 10 < smallest_angles(even.vertices, even.faces).min() and (at > 0).any()
    assert np.abs(process.mean(even.vertices)).max() < 1.5*max(np.abs(process.mean(mesh.vertices)).max(), .01)
    np.testing.assert_array_equal(even.sigma[at == 0], source[at == 0])


def test_weights_of_area_and_volume_are_their_derivatives():
    u, faces = icosphere(2)
    vertices = u*[10, 12, 15]
    cell = (np.arange(len(vertices)) % 3)
    by_area, by_volume = _area_and_volume_weights(vertices, faces, cell, 3)
    normals = vertex_normals(vertices, faces)
    for k in range(3):
        out, into = (vertices + s*1e-4*normals*(cell == k)[:, None] for s in (1, -1))
        assert (mesh_area(out, faces) - mesh_area(into, faces))/2e-4 == pytest.approx(by_area[k], rel=1e-5)
        assert (mesh_volume(out, faces) - mesh_volume(into, faces))/2e-4 == pytest.approx(by_volume[k], rel=1e-5)


def test_a_shared_shift_adds_to_the_errors(cloud, process):
    mesh = zero_set(process.mean, cloud, 4., 4.)
    alone, shared = (area_and_volume_sd(process, *mesh, shift, n=100) for shift in (0., 2.))
    assert shared.volume > 2*alone.volume > 0 and shared.area > alone.area > 0


def test_an_open_surface_ends_where_its_voxels_and_the_volume_end(cloud):
    s = open_surface(cloud, SHAPE, EXACT, id=4, reason='why')
    assert (s.status, s.reason, s.method, s.id) == ('open', 'why', 'normals', 4)
    assert cKDTree(cloud).query(s.vertices_vox)[0].max() < EXACT.reach_vox + 1
    assert 50*50 < s.area_vox2 < 62*62 and not is_closed(s.faces)
    cut = open_surface(cloud, (70, 100, 100), EXACT)
    assert cut.vertices_vox[:, 0].max() <= 69.5 + 1e-6 and cut.area_vox2 < s.area_vox2
    for surface in (s, cut):
        assert smallest_angles(surface.vertices_vox, surface.faces).min() > 10 and len(surface.sigma_vox) == len(surface.vertices_vox)
        assert mesh_area(surface.vertices_vox, surface.faces) == pytest.approx(surface.area_vox2, rel=1e-3)
    assert on_sides(cut.vertices_vox, (70, 100, 100)).any(1).sum() > 10 and not on_sides(s.vertices_vox, SHAPE).any()


def test_a_cloud_without_a_sheet_is_refused():
    s = open_surface(np.random.default_rng(0).uniform(0, 900, (200, 3)), (900,)*3, EXACT, reason='first')
    assert s.status == 'refused' and s.reason == 'first; the voxels do not lie on a sheet' and s.n_points == 200


def test_the_box_says_that_a_body_ends():
    u = fibonacci_sphere(1000)
    points = 50 + 15*u
    x, y, variance = closing_values(points, u, points, EXACT, sides=4)
    box = y > 10
    np.testing.assert_allclose(y[box], cKDTree(points).query(x[box])[0])
    np.testing.assert_allclose(variance[box], (y[box]/4)**2)
    assert box.sum() == 4**3 - 2**3 and (y[:1000] == 0).all()
    helper = np.abs(y) == 1.5
    assert variance[helper].min() >= 4*variance[:1000].min()


def test_thinning_is_even():
    assert thinned(1000, 300).tolist() == list(range(0, 1000, 3)) and thinned(10, 300).tolist() == list(range(10))


def test_a_dumbbell_closes_and_a_sheet_does_not(cloud):
    u = fibonacci_sphere(1800)
    u = u[np.abs(u[:, 0]) < .7]
    peanut = 50 + (14 + 7*u[:, 2:]**2)*u
    s = fit_sheet_surface(peanut, SHAPE, EXACT, id=2)
    assert s.status == 'closed' and s.id == 2 and is_closed(s.faces) and s.volume_vox3 > 0
    assert smallest_angles(s.vertices_vox, s.faces).min() > 10
    assert mesh_area(s.vertices_vox, s.faces) == pytest.approx(s.area_vox2, rel=1e-3)
    assert s.volume_vox3 < mesh_volume(s.vertices_vox, s.faces) < 1.0025*s.volume_vox3   # edges of a third of its radius: nearer to the truth
    true = (14 + 7*((s.vertices_vox - 50)[:, 2]/np.linalg.norm(s.vertices_vox - 50, axis=1))**2)
    off = np.abs(np.linalg.norm(s.vertices_vox - 50, axis=1) - true)
    belt = np.abs(s.vertices_vox[:, 0] - 50) < 8
    assert off[belt].mean() < .3 and off.mean() < 1.5
    refused = concave_surface(cloud, SHAPE, EXACT)
    assert refused.status == 'refused' and refused.reason


def test_a_plane_is_an_open_sheet_at_once():
    rng = np.random.default_rng(0)
    plane = np.column_stack([50 + .2*rng.standard_normal(800), rng.uniform(30, 70, (800, 2))])
    assert fit_sheet_surface(plane, SHAPE, EXACT).reason == 'its voxels lie in a plane'


def test_coverage_is_asked_of_a_ball_of_the_same_volume(monkeypatch):
    import cryoseg.surface.sheet as room
    asked = []
    monkeypatch.setattr(room, 'why_not_covered', lambda *given: asked.append(given[4]) or 'not today')
    u = fibonacci_sphere(4000)
    s = concave_surface(50 + 20*u + .2*np.random.default_rng(0).standard_normal(u.shape), SHAPE, EXACT, 1)
    assert s.status == 'refused' and s.reason == 'not today' and asked == [pytest.approx(20, rel=.03)]
