"What speaks against a closed surface: extents, flatness, coverage, mouths, and running along the voxels."
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cryoseg.base.geometry import fibonacci_sphere, fit_ellipsoid, icosphere
from cryoseg.base.mesh import vertex_areas
from cryoseg.surface.checks import (
    cloud_extents, covered_vertices, fraction_along, join_reasons, largest_patch, lies_in_plane, near_surface,
    one_sidedness, outside_volume, visible_vertices, why_flat, why_no_surface, why_not_covered,
)

DIRECTIONS, FACES = icosphere(4)
BALL = 50 + 25*fibonacci_sphere(4000)
VERTICES = 50 + 25*DIRECTIONS
SHAPE = (100, 100, 100)


def cloud(scale, n=1500, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 3))*scale + 50


@given(seed=st.integers(0, 1000), scale=st.tuples(*[st.floats(.1, 30)]*3))
def test_extents_are_those_of_the_covariance_and_do_not_turn(seed, scale):
    points = cloud(scale, 60, seed)
    extents = cloud_extents(points)
    np.testing.assert_allclose(extents**2, np.linalg.eigvalsh(np.cov(points.T, ddof=0))[::-1], rtol=1e-8, atol=1e-9)
    turned = points @ Rotation.random(rng=np.random.default_rng(seed)).as_matrix().T + 7
    np.testing.assert_allclose(cloud_extents(turned), extents, rtol=1e-8)


@pytest.mark.parametrize('scale, said', [((20, 1, 1), 'line'), ((0, 20, 20), 'slice'), ((20, 20, 20), None), ((20, 20, 1), None)])
def test_lines_and_slices_are_no_surfaces(scale, said):
    why = why_no_surface(cloud(scale))
    assert why is None if said is None else said in why


def test_a_tilted_plane_is_one_and_a_thick_one_is_not():
    turn = Rotation.from_euler('xyz', [30, 40, 50], degrees=True).as_matrix()
    assert lies_in_plane(cloud((20, 20, .3)) @ turn) and not lies_in_plane(cloud((20, 20, 1.)) @ turn)


def test_a_ball_is_not_flat_and_sheets_are():
    assert why_flat(fit_ellipsoid(BALL), BALL) is None
    disc = np.column_stack([50 + np.random.default_rng(0).normal(0, 1.5, 3000), *np.random.default_rng(1).uniform(20, 80, (2, 3000))])
    assert 'flat' in why_flat(fit_ellipsoid(disc), disc)
    lens = 50 + fibonacci_sphere(3000)*[3, 25, 25]
    assert why_flat(fit_ellipsoid(lens), lens).endswith('6 voxels thin')


@pytest.mark.parametrize('spread, limit', [(.01, 2.5), (1., 3*1.4826), (100., 5.)])
def test_near_is_three_robust_sds_within_limits(spread, limit):
    misfit = np.r_[np.tile([-spread, spread], 50), limit - .01, limit + .01]
    assert near_surface(misfit)[-2:].tolist() == [True, False]


def test_the_largest_patch_of_two_is_one_of_them():
    area = vertex_areas(DIRECTIONS, FACES)
    small, large = DIRECTIONS[:, 0] < -.9, DIRECTIONS[:, 0] > .7
    assert largest_patch(FACES, small | large, area) == pytest.approx(area[large].sum())
    assert largest_patch(FACES, small, area) == pytest.approx(area[small].sum())
    assert largest_patch(FACES, small & large, area) == 0
    assert largest_patch(FACES, small | ~small, area) == pytest.approx(area.sum())
    order = np.random.default_rng(0).permutation(len(FACES))
    assert largest_patch(FACES[order], small | large, area) == pytest.approx(area[large].sum())


def test_visible_is_upright_and_inside():
    vertices = np.array([[5., 5, 5], [5, 5, 5], [5, 5, 12], [-.4, 5, 5], [-.6, 5, 5]])
    normals = np.array([[0, 0, 1.], [1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 0]])
    assert visible_vertices(vertices, normals, (10, 10, 10)).tolist() == [True, False, False, True, False]


def test_covered_is_near_a_voxel():
    points = np.column_stack([np.arange(20.), np.zeros(20), np.zeros(20)])
    vertices = np.array([[5., 3.9, 0], [5, 4.1, 0], [5, 9., 0]])
    assert covered_vertices(vertices, points, radius=1.).tolist() == [True, False, False]
    assert covered_vertices(vertices, points, radius=120.).tolist() == [True, True, True]


def test_outside_is_counted_from_the_faces_of_the_volume():
    assert outside_volume(np.array([[0., 0, 0], [9, 9, 9]]), (10, 10, 10)) == pytest.approx(-.5)
    assert outside_volume(np.array([[0., 0, 0], [9, 9, 11.5]]), (10, 10, 10)) == pytest.approx(2.)
    assert outside_volume(np.array([[-4., 0, 0]]), (10, 10, 10)) == pytest.approx(3.5)


def test_a_surface_runs_along_its_own_voxels_and_not_across_them():
    assert fraction_along(VERTICES, DIRECTIONS, BALL, BALL) > .99
    across = np.roll(DIRECTIONS, 1, axis=1)
    across -= (across*DIRECTIONS).sum(1, keepdims=True)*DIRECTIONS
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    assert fraction_along(VERTICES, across, BALL, BALL) < .01
    assert fraction_along(VERTICES, DIRECTIONS, BALL[:20], BALL[:20]) is None


@pytest.mark.parametrize('keep, said', [(1., None), (0., 'a cup'), (-.75, 'too little')])
def test_balls_close_and_cups_do_not(keep, said):
    seen = BALL[(BALL[:, 2] - 50)/25 <= keep]
    why = why_not_covered(VERTICES, FACES, seen, seen, 25., SHAPE, min_coverage=.35)
    assert why is None if said is None else said in why


def test_what_cannot_be_seen_is_not_missed():
    belt = BALL[np.abs(BALL[:, 0] - 50) < 25*.72]
    assert why_not_covered(VERTICES, FACES, belt, belt, 25., SHAPE, min_coverage=.95) is None
    half = BALL[BALL[:, 2] < 50]
    inside = SHAPE[:2] + (50,)                       # the mouth lies outside the volume
    assert why_not_covered(VERTICES, FACES, half, half, 25., inside, min_coverage=.35) is None


def test_points_at_an_edge_have_their_neighbours_on_one_side():
    disc = np.random.default_rng(0).uniform(-30, 30, (20_000, 3))*[0, 1, 1]
    midst, edge, corner = one_sidedness(np.array([[0, 0, 0], [0, 0, 30.], [0, 30, 30.]]), disc, 7.)
    assert midst < .05 and abs(edge - 1) < .2 and corner > edge


def test_reasons_are_joined():
    assert join_reasons('a', None, '', 'b') == 'a; b' and join_reasons(None) == ''
