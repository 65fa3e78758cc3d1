"What the net is shown: sides that can be halved, and padding that counts for nothing."
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoseg.segment.normalise import pad_to_multiple, prepare


@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 2, 4, 16]))
def test_sides_become_multiples_and_the_image_stays(height, width, step):
    image = np.arange(height * width, dtype=np.float32).reshape(1, height, width)
    padded = pad_to_multiple(image, step)
    assert all(n % step == 0 and n - m < step for n, m in zip(padded.shape[1:], (height, width)))
    np.testing.assert_array_equal(padded[:, :height, :width], image)
    assert set(np.unique(padded)) <= set(np.unique(image))


@pytest.mark.parametrize('value', [0, 1e6, np.nan])
def test_padding_counts_for_nothing(value):
    image = np.random.default_rng(0).normal(5, 2, (90, 80)).astype(np.float32)
    valid = np.ones(image.shape, bool)
    valid[:30], valid[60:64, 50:55] = False, False
    shown = prepare(np.where(valid, image, value), valid=valid)
    np.testing.assert_array_equal(shown[valid], prepare(np.where(valid, image, 0.), valid=valid)[valid])
    assert abs(shown[valid].mean()) < 1e-5 and abs(shown[valid].std() - 1) < 1e-4 and shown.dtype == np.float32
