"Surfaces as voxels, against distances and insides that are known exactly."
import numpy as np
import pytest

from cryoseg.base.geometry import icosphere
from cryoseg.result.records import Surface, refused_surface
from cryoseg.surface.raster import raster_slabs, rasterize

DIRECTIONS, FACES = icosphere(4)
SHAPE = (30, 40, 50)


def ball(id, centre, radius, sigma=None, status='closed'):
    sigma = np.full(len(DIRECTIONS), .5) if sigma is None else sigma
    return Surface(id, np.array(centre, float) + radius*DIRECTIONS, FACES, sigma, status)


def distance(centre, radius):
    "Of every voxel from a sphere."
    return np.linalg.norm(np.moveaxis(np.indices(SHAPE), 0, -1) - centre, axis=-1) - radius


def test_shells_lumens_and_bands_are_those_of_a_sphere():
    shells, lumen, sigma = rasterize([ball(5, (14, 20, 22), 9)], SHAPE, thickness_vox=2., band_vox=3.)
    d = distance((14, 20, 22), 9)
    sure = np.abs(np.abs(d) - 1) > .15
    np.testing.assert_array_equal((shells == 5)[sure], (np.abs(d) < 1)[sure])
    np.testing.assert_array_equal((lumen == 5)[sure], (d < -1)[sure])
    sure = np.abs(np.abs(d) - 3) > .15
    np.testing.assert_array_equal(np.isfinite(sigma)[sure], (np.abs(d) < 3)[sure])
    assert (shells.dtype, lumen.dtype, sigma.dtype) == (np.uint16, np.uint16, np.float32)


@pytest.mark.parametrize('slab', [1, 7, 30, 1000])
def test_slices_at_a_time_change_nothing(slab):
    surfaces = [ball(1, (14, 20, 20), 11), ball(2, (14, 20, 20), 6), ball(3, (10, 15, 40), 8)]
    parts = zip(*raster_slabs(surfaces, SHAPE, n_voxels=slab*SHAPE[1]*SHAPE[2]))
    for one, others in zip(rasterize(surfaces, SHAPE), parts):
        np.testing.assert_array_equal(one, np.concatenate(others))


def test_inner_bodies_have_their_own_lumen():
    drawn = rasterize([ball(1, (14, 20, 20), 12), ball(2, (14, 20, 20), 6)], SHAPE)
    assert (drawn.lumen[14, 20, 20], drawn.lumen[14, 20, 29], drawn.lumen[14, 20, 40]) == (2, 1, 0)
    assert not ((drawn.lumen > 0) & (drawn.shells > 0)).any()


def test_where_two_meet_the_nearer_one_counts():
    left, right = ball(1, (14, 20, 15), 8), ball(2, (14, 20, 33), 8)
    shells = rasterize([left, right], SHAPE, thickness_vox=6.).shells
    assert (shells[14, 20, 23], shells[14, 20, 25]) == (1, 2)
    turned = rasterize([right, left], SHAPE, thickness_vox=6.).shells
    tie = np.abs(distance((14, 20, 15), 8) - distance((14, 20, 33), 8)) < .2
    np.testing.assert_array_equal(shells[~tie], turned[~tie])


def test_sigma_is_that_of_the_nearest_place():
    sigma = 1 + DIRECTIONS[:, 2]
    drawn = rasterize([ball(1, (14, 20, 22), 9, sigma)], SHAPE).sigma
    assert drawn[14, 20, 31] == pytest.approx(2, abs=.05) and drawn[14, 20, 13] == pytest.approx(0, abs=.05)
    assert drawn[14, 29, 22] == pytest.approx(1, abs=.1)


@pytest.mark.parametrize('status', ['open', 'truncated'])
def test_only_closed_bodies_have_a_lumen(status):
    drawn = rasterize([ball(1, (14, 20, 22), 9, status=status)], SHAPE)
    assert drawn.shells.any() and not drawn.lumen.any()


def test_what_lies_outside_or_is_refused_draws_nothing():
    drawn = rasterize([ball(1, (200, 20, 22), 9), refused_surface(2, 'few')], SHAPE)
    assert not drawn.shells.any() and not drawn.lumen.any() and np.isnan(drawn.sigma).all()
    half = rasterize([ball(1, (0, 20, 22), 9)], SHAPE)
    whole = distance((0, 20, 22), 9)
    assert (half.shells == 1).sum() == pytest.approx((np.abs(whole) < 1).sum(), rel=.1)
