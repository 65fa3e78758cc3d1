"Depths are those of SciPy, to the last bit."
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import distance_transform_edt

from cryoseg.base.distance import depths


def whole(mask):
    "The depths of a mask, of the volume as a whole."
    return distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1, 1:-1].astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=9)))
def test_small_masks(mask):
    np.testing.assert_array_equal(depths(mask), whole(mask))


@pytest.mark.parametrize('share', [0, .5, .97, .999, 1])
@pytest.mark.parametrize('shape', [(1, 1, 1), (1, 40, 3), (50, 1, 1), (31, 17, 23), (4, 60, 61)])
def test_noise_and_solid_blocks(shape, share):
    mask = np.random.default_rng(0).random(shape) < share
    found = depths(mask)
    np.testing.assert_array_equal(found, whole(mask))
    assert found.dtype == np.float32
