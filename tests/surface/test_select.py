"""Which voxels belong to a membrane: pruning, slices that follow each other, places between voxels."""
import numpy as np
import pytest
from scipy.spatial.distance import directed_hausdorff

from cryoseg.base.geometry import fibonacci_sphere
from cryoseg.surface import select as S
from cryoseg.surface.ellipse import Ellipse, fit_ellipse
from cryoseg.surface.settings import EllipseSettings


def test_membrane_points_are_those_of_each_id():
    volume = np.random.default_rng(0).integers(0, 5, (4, 6, 7))
    points = S.membrane_points(volume)
    assert list(points) == [1, 2, 3, 4]
    for id, p in points.items(): np.testing.assert_array_equal(p, np.argwhere(volume == id))
    assert S.membrane_points(np.zeros((2, 2, 2), int)) == {}
    np.testing.assert_array_equal(S.select_points(volume, 3, prune=False), points[3])
    assert S.select_points(np.zeros((2, 2, 2), int), 1).shape == (0, 3)


@pytest.fixture(scope='module')
def cloud():
    "A band of a shell with specks and a clump that sticks out; which of them are strays."
    rng = np.random.default_rng(0)
    u = fibonacci_sphere(20_000)
    shell = 30*u[np.abs(u[:, 0]) < .8]
    shell = shell + rng.normal(0, .8, shell.shape)
    points = np.concatenate([shell, rng.uniform(-40, 40, (700, 3)), [0, 38, 0] + rng.normal(0, 2, (250, 3))])
    stray = (np.arange(len(points)) >= len(shell)) & (np.abs(np.linalg.norm(points, axis=1) - 30) > 3)
    return points, stray


def test_pruning_takes_strays_and_leaves_the_sheet(cloud):
    points, stray = cloud
    kept = S.prune_points(points)
    assert (~kept)[stray].mean() > .8 and kept[~stray].mean() > .97
    np.testing.assert_array_equal(S.prune_points(points + 3*S.CELL_VOX), kept)          # wherever it lies
    order = np.random.default_rng(1).permutation(len(points))
    np.testing.assert_array_equal(S.prune_points(points[order]), kept[order])


def test_off_sheet_finds_what_sticks_out(cloud):
    plane = np.argwhere(np.ones((1, 40, 40))).astype(float)
    bump = [[h, 20., 20.] for h in (6., 7., 8., 9.)]
    off = S.off_sheet(np.vstack([plane, bump]))
    assert off[-4:].all() and not off[:-4].any()
    assert not S.off_sheet(plane[:S.MIN_VOXELS - 1]).any()                              # too few say nothing


@pytest.mark.parametrize('lost, left', [(.4, .6), (.6, 1.)])
def test_what_would_lose_half_of_itself_is_left_alone(lost, left, monkeypatch):
    plane = np.argwhere(np.ones((1, 40, 40))).astype(float)
    monkeypatch.setattr(S, 'prune_sparse', lambda p: np.ones(len(p), bool))
    monkeypatch.setattr(S, 'off_sheet', lambda p: np.arange(len(p)) < lost*len(p))
    assert S.prune_points(plane).mean() == pytest.approx(left)
    assert S.prune_points(plane[:5]).all()                                              # five points say nothing


def test_smoothness_is_the_hausdorff_distance():
    mask = np.random.default_rng(0).random((4, 12, 12)) < .2
    found = S.slice_smoothness(mask)
    for z in range(3):
        a, b = np.argwhere(mask[z]), np.argwhere(mask[z + 1])
        assert found[z, 0] == pytest.approx(max(directed_hausdorff(a, b)[0], directed_hausdorff(b, a)[0]))
        assert found[z, 1] <= found[z, 0]
    assert np.isnan(S.slice_smoothness(np.zeros((3, 4, 4)))).all() and len(S.slice_smoothness(np.ones((1, 2, 2)))) == 0
    np.testing.assert_array_equal(S.slice_smoothness(np.ones((3, 4, 4))), np.zeros((2, 2)))


def stack(centres, part=1.):
    "Voxels (n,3) of circles of radius 20, one a slice, whose centres move."
    t = np.linspace(0, 2*np.pi*part, 120, endpoint=False)
    return np.vstack([np.column_stack([np.full(120, z), y + 20*np.sin(t), 50 + 20*np.cos(t)]) for z, y in enumerate(centres)])


def test_ellipses_follow_each_other():
    points = stack([50., 50.5, 51., 51.5])
    fits = S.follow_ellipses(points)
    assert list(fits) == [0, 1, 2, 3]
    for z, fit in fits.items(): np.testing.assert_allclose([*fit.ellipse.centre, *fit.ellipse.axes], [50 + z/2, 50, 20, 20], atol=.1)


def test_the_best_slice_is_fitted_alone_and_helps_the_others():
    whole, scarce = stack([50., 50., 50.]), stack([50., 50., 50.], .2)
    points = np.vstack([whole[whole[:, 0] == 1], scarce[scarce[:, 0] != 1][::3]])
    fits = S.follow_ellipses(points)
    assert list(fits) == [0, 1, 2]
    np.testing.assert_array_equal(fits[1].covariance, fit_ellipse(points[points[:, 0] == 1][:, 1:]).covariance)
    for z in (0, 2): np.testing.assert_allclose([*fits[z].ellipse.centre, *fits[z].ellipse.axes], [50, 50, 20, 20], atol=1.5)
    line = np.column_stack([np.zeros(40), np.arange(40.), np.arange(40.)])
    assert S.follow_ellipses(line) == {}
    other = np.vstack([points, [[3., 0., 0.], [3., 1., 0.], [3., 0., 1.]]])             # a slice that holds something else
    assert list(S.follow_ellipses(other, EllipseSettings())) == [0, 1, 2]


@pytest.mark.parametrize('points, words', [(np.zeros((0, 3)), r'shape \(0, 3\)'), (np.zeros((4, 2)), 'shape'), ([[.5, 1., 1.]], 'between slices')])
def test_follow_refuses_what_is_no_voxel(points, words):
    with pytest.raises(ValueError, match=words): S.follow_ellipses(points)


def test_pixels_near_a_curve():
    labels = np.zeros((80, 80), int)
    labels[::2] = 1
    labels[1::4] = 2
    e = Ellipse((40., 40.), (25., 20.))
    near = S.pixels_near_curve(labels, e, 3.)
    everywhere = np.argwhere(labels == 1)
    np.testing.assert_array_equal(near, everywhere[np.abs(e.signed_distance(everywhere)) <= 3.])
    assert len(S.pixels_near_curve(labels, e, 3., values=(1, 2))) > len(near) > 0
    assert len(S.pixels_near_curve(labels > 0, e, 3.)) == len(S.pixels_near_curve(labels, e, 3., values=(1, 2)))
    fit = fit_ellipse(e.points(60)[:25])
    assert len(S.pixels_near_curve(labels, fit, 3.)) > len(S.pixels_near_curve(labels, fit, 3., sds=0.))
    assert len(S.pixels_near_curve(np.zeros((5, 5), int), e)) == 0
    with pytest.raises(ValueError, match='one slice'): S.pixels_near_curve(np.zeros((2, 3, 3)), e)


def test_points_move_to_the_middle_of_their_own_ridge():
    y, x = np.mgrid[:40, :60]
    ridge = np.exp(-.5*((y - 20.3)/1.5)**2) + np.exp(-.5*((y - 30.)/1.5)**2)            # at 20.3, and another ten away
    line = np.column_stack([np.full(50, 20.), np.arange(5, 55)])
    np.testing.assert_allclose(S.subvoxel_points(ridge, line)[:, 0], 20.3, atol=.02)
    np.testing.assert_allclose(S.subvoxel_points(ridge, line, reach_vox=8.)[:, 0], 20.3, atol=.1)
    np.testing.assert_allclose(S.subvoxel_points(ridge[::-1], [39., 0.] + line*[-1, 1])[:, 0], 39 - 20.3, atol=.02)
    sheet = np.array([(z, 20., x) for z in range(9) for x in range(5, 55)])
    np.testing.assert_allclose(S.subvoxel_points(np.repeat(ridge[None], 9, 0), sheet)[:, 1], 20.3, atol=.02)
    np.testing.assert_array_equal(S.subvoxel_points(np.zeros((40, 60)), line), line)    # nothing there: stay
    np.testing.assert_array_equal(S.subvoxel_points(ridge, line[:2]), line[:2])         # no normal: stay
    with pytest.raises(ValueError, match=r'\(5, 3\)'): S.subvoxel_points(np.zeros((4, 4)), np.zeros((5, 3)))


def test_voxels_are_gathered_over_slabs(monkeypatch):
    monkeypatch.setattr(S, 'slabs', lambda shape: [slice(z, z + 1) for z in range(shape[0])])
    volume = np.random.default_rng(0).choice([0, 0, 0, 2, 5, 300], (6, 7, 8)).astype(np.uint16)
    found = S.membrane_voxels(volume)
    assert list(found) == [2, 5, 300]
    for id, voxels in found.items():
        assert voxels.dtype == np.int32 and np.array_equal(voxels, np.argwhere(volume == id))
