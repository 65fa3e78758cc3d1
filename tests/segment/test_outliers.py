"Outliers: what they change, and what they leave alone."
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoseg.segment.outliers import CLIP, cleaned, robust_scale, untrusted
from cryoseg.segment.normalise import prepare


def noise(*shape, seed=0): return 100 + 10*np.random.default_rng(seed).normal(size=shape)


@settings(max_examples=30, deadline=None)
@given(st.floats(-8, 12), st.floats(-100, 100), st.integers(0, 99))
def test_the_scale_follows_gain_and_offset(log_gain, offset, seed):
    image, gain = noise(40, 50, seed=seed), 10.**log_gain
    one, other = robust_scale(image), robust_scale((image + offset)*gain)
    assert other.spread == pytest.approx(one.spread*gain, rel=1e-9) and other.centre == pytest.approx((one.centre + offset)*gain, rel=1e-6, abs=1e-6*gain)


def test_outliers_do_not_move_the_scale():
    image = noise(128, 128)
    hot = image.copy()
    hot[np.random.default_rng(1).random(hot.shape) < .03] = 1e30
    assert robust_scale(hot).spread == pytest.approx(robust_scale(image).spread, rel=.15)


def test_a_cell_in_a_smooth_field_is_no_outlier():
    image = noise(128, 128)*.01
    image[:80, :60] = noise(80, 60)
    assert not untrusted((image - np.median(image))/robust_scale(image).spread, np.ones(image.shape, bool)).any()


@pytest.mark.parametrize('size', [10, 100, 1e3, 1e6, 1e30, -10, -1e6])
def test_a_spike_changes_itself_alone(size):
    image = noise(96, 96)
    hot = image.copy()
    hot[30:32, 40:42] += size*10
    clean = cleaned(hot)
    assert not clean.trusted[30:32, 40:42].any() and clean.trusted.sum() >= image.size - 16
    change = np.abs(prepare(hot) - prepare(image))
    change[24:38, 34:48] = 0
    assert change.max() < .05


def test_lines_gold_and_charge_are_taken_out_and_membranes_stay():
    y, x = np.indices((128, 128))
    ring = abs(np.hypot(y - 64, x - 64) - 45) < 2
    image = noise(128, 128) - 150*ring                                      # a membrane of 15 standard deviations
    image[:, 20], image[90] = 3000, -3000
    gold, charge = np.hypot(y - 60, x - 70) < 7, np.hypot(y - 75, x - 60) < 6
    image[gold], image[charge] = -500, 4000
    trusted = cleaned(image).trusted
    away = (x != 20) & (y != 90) & (np.hypot(y - 60, x - 70) > 11) & (np.hypot(y - 75, x - 60) > 11)
    assert not trusted[gold | charge].any() and not trusted[:, 20].any() and not trusted[90].any()
    assert trusted[ring & away].mean() > .9 and trusted[~ring & away].all()


@pytest.mark.parametrize('dtype', ['uint8', 'int16', 'float16', 'float32', 'float64'])
def test_every_kind_of_number(dtype):
    image = noise(64, 64).round()
    np.testing.assert_allclose(cleaned(image.astype(dtype)).image, cleaned(image).image, atol=1e-5)


def test_ordinary_and_tiny_images_are_trusted():
    for shape in ((1, 1), (1, 7), (3, 5), (200, 300)):
        found = cleaned(noise(*shape))
        assert found.trusted.all() and found.image.dtype == np.float32 and np.abs(found.image).max() <= CLIP
        np.testing.assert_allclose(found.restored(), noise(*shape), rtol=1e-4)
    assert not cleaned(np.full((4, 4), np.nan)).trusted.any()


def test_padding_is_measured_nowhere():
    image = noise(96, 96).astype(np.float32)
    valid = np.ones(image.shape, bool)
    valid[:30], valid[:, 80:] = False, False
    one, other = (prepare(np.where(valid, image, value), valid=valid) for value in (0, 1e9))
    np.testing.assert_array_equal(one, other)
    assert abs(one[valid].mean()) < .02 and one[valid].std() == pytest.approx(1, abs=.02)
    assert np.corrcoef(one[valid], prepare(image)[valid])[0, 1] > .98
