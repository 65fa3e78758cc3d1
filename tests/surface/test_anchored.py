"The paper's anchors: where they stand, what the process is at them, and the closed surface that follows."
import numpy as np
import pytest

from cryoseg.base.geometry import Ellipsoid, fibonacci_sphere
from cryoseg.base.mesh import is_closed, mesh_volume
from cryoseg.base.slivers import smallest_angles
from cryoseg.surface.anchored import (
    anchored_mesh, average_voxels, ellipsoid_anchors, fit_anchored, fit_anchored_surface, ray_anchors, scale_limits,
    sign_changes,
)
from cryoseg.surface.checks import NotClosed
from cryoseg.surface.settings import SurfaceSettings

SETTINGS = SurfaceSettings(method='paper', n_voxels=200, edge_vox=4., samples=4)
BALL = Ellipsoid(np.full(3, 50.), np.eye(3)/20)
SHAPE = (100, 100, 100)


@pytest.fixture(scope='module')
def seen():
    u = fibonacci_sphere(4000)
    u = u[np.abs(u[:, 0]) < .7]
    return 50 + 20*u + .3*np.random.default_rng(0).standard_normal(u.shape)


def test_rays_are_stretched_from_the_centroid(seen):
    anchors, centre = ray_anchors(seen, 20, 1.5), seen.mean(0)
    back = centre + (anchors - centre)/1.5
    assert np.abs(back[:, None] - seen).sum(2).min(1).max() < 1e-9
    assert (BALL.signed_distance(anchors) > 5).all() and len(np.unique(anchors, axis=0)) == 20


def test_anchors_of_an_ellipsoid_are_outside_it_all_round():
    anchors = ellipsoid_anchors(BALL, 40, 1.25)
    np.testing.assert_allclose(np.linalg.norm(anchors - 50, axis=1), 25)
    assert np.abs(anchors.mean(0) - 50).max() < .5


def test_voxels_are_averaged_down_to_so_many(seen):
    on = average_voxels(seen, 150)
    assert len(on) <= 150 and np.abs(BALL.signed_distance(on)).max() < 2
    few = seen[:40]
    assert len(average_voxels(few, 150)) <= 40


def test_the_scale_of_a_plate_is_given_and_that_of_others_is_found():
    assert scale_limits('thin_plate_3d', 60.) == (60., 60., 60.)
    start, least, most = scale_limits('matern52', 60.)
    assert least < start < most == 60.


@pytest.mark.parametrize('kernel', ['thin_plate_3d', 'matern52'])
def test_f_is_minus_one_inside_zero_on_it_and_one_at_the_anchors(seen, kernel):
    process = fit_anchored(seen, ellipsoid_anchors(BALL), 150, kernel=kernel)
    centre, anchors = process.mean(seen.mean(0)[None]), process.mean(ellipsoid_anchors(BALL))
    assert centre == pytest.approx(-1, abs=.05) and anchors == pytest.approx(np.ones(60), abs=.05)
    assert np.abs(process.mean(seen)).mean() < .1 and process.kernel == kernel
    mesh = anchored_mesh(process, 4.)
    assert is_closed(mesh.faces) and mesh_volume(*mesh) == pytest.approx(4/3*np.pi*20**3, rel=.08)


def test_sign_changes_are_those_of_every_cell():
    def function(p):
        return np.linalg.norm(p, axis=1) - 7

    low, step = np.full(3, -10.), 2.
    found = sign_changes(function, low, np.full(3, 10.), step)
    centres = low + step*(np.argwhere(np.ones((10,)*3)) + .5)
    corners = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)])
    signs = np.array([function(centres + c*step/2) > 0 for c in corners])
    np.testing.assert_allclose(found, centres[signs.any(0) & ~signs.all(0)])


def test_the_surface_of_a_ball(seen):
    s = fit_anchored_surface(seen, SHAPE, SETTINGS, id=6)
    assert (s.status, s.method, s.id) == ('closed', 'paper', 6) and is_closed(s.faces)
    assert smallest_angles(s.vertices_vox, s.faces).min() > 10
    off = np.abs(BALL.signed_distance(s.vertices_vox))
    assert off[np.abs(s.vertices_vox[:, 0] - 50) < 12].mean() < .3 and off.mean() < 1.5


def test_voxels_that_end_at_the_edge_make_no_closed_body(seen):
    s = fit_anchored_surface(seen - [0, 0, 29.9], (100, 100, 100), SETTINGS)
    assert s.status == 'truncated' and 'edge' in s.reason
    assert smallest_angles(s.vertices_vox, s.faces).min() > 10


def test_an_open_sheet_is_not_closed_by_force():
    rng = np.random.default_rng(0)
    sheet = np.column_stack([50 + 1.5*rng.standard_normal(2000), rng.uniform(20, 80, (2000, 2))])
    with pytest.raises(NotClosed, match='flat'):
        fit_anchored_surface(sheet, SHAPE, SETTINGS)


def test_small_parts_of_the_zero_set_are_dropped():
    class TwoBalls:
        points = np.array([[10., 10., 10.], [80., 80., 80.]])
        def mean(self, p): return np.minimum(np.linalg.norm(p - 32, axis=1) - 14, np.linalg.norm(p - 70, axis=1) - 4)
    mesh = anchored_mesh(TwoBalls(), 2.)
    assert is_closed(mesh.faces) and mesh_volume(*mesh) == pytest.approx(4/3*np.pi*14**3, rel=.05) and mesh.vertices.max() < 50
