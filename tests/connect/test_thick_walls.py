"Thick walls are thinned a few slices at a time, as if the volume were one array."
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, maximum_filter

from cryoseg.base import scratch
from cryoseg.connect.membranes import DEEPEST, thin_walls
from cryoseg.connect.pieces import HALF_PERCENTILE, MIDDLE, keep_deepest


def whole(mask):
    "The depths of a mask, of the volume as a whole."
    return distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1, 1:-1].astype(np.float32)


def blob(shape, centre, radius):
    "A ball."
    return sum((n - c)**2 for n, c in zip(np.ogrid[tuple(map(slice, shape))], centre)) <= radius**2


@pytest.fixture
def walls():
    "A thick wall, a solid ball that is deeper than it, a thread and specks."
    shape = 40, 70, 60
    mask = blob(shape, (20, 30, 25), 18) & ~blob(shape, (20, 30, 25), 11) | blob(shape, (25, 55, 45), 14)
    mask[3, 3:60, 4] = True
    return mask | (np.random.default_rng(0).random(shape) < .002)


@pytest.mark.parametrize('slab', [1, 9000, 10**9])
def test_walls_are_thinned_as_of_the_volume_as_a_whole(walls, slab, monkeypatch):
    depth = whole(walls)
    half = float(np.percentile(depth[walls], HALF_PERCENTILE))
    monkeypatch.setattr(scratch.slabs, '__defaults__', (slab,))
    monkeypatch.setattr(scratch, 'IN_MEMORY_BYTES', 0)
    for mask in (walls, np.asfortranarray(walls)):
        found = thin_walls(mask)
        assert found.half == half
        np.testing.assert_array_equal(found.mask, mask & (depth >= DEEPEST*maximum_filter(depth, 2*int(np.ceil(half)) + 1)))
    for reach in (.2, 3., 50.):
        np.testing.assert_array_equal(keep_deepest(walls, depth, reach), walls & (depth >= MIDDLE*maximum_filter(depth, 2*int(np.ceil(reach)) + 1)))
