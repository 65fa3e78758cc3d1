"Contrast: what must hold for every image, whatever it shows."
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cryoseg.segment.settings import ContrastSettings
from cryoseg.segment.contrast import bilateral, bilateral_by_hand, clahe, enhance, noise_sigma
from cryoseg.base.files import VolumeError
from cryoseg.base.volume import Volume


def vesicle(shape=(96, 112), depth=3., seed=0):
    "A dark ring in noise of standard deviation 1."
    y, x = np.indices(shape)
    distance = np.hypot(y - shape[0]/2, x - shape[1]/2) - 0.3*min(shape)
    return (np.random.default_rng(seed).normal(size=shape) - depth*(np.abs(distance) < 3)).astype(np.float32), np.abs(distance) < 3


def cnr(image, mask): return abs(image[mask].mean() - image[~mask].mean())/image[~mask].std()


# the bilateral filter

@settings(max_examples=15, deadline=None)
@given(st.integers(6, 40), st.integers(6, 40), st.floats(0.5, 3.), st.floats(0.3, 20.), st.integers(0, 99))
def test_the_library_agrees_with_the_formula(h, w, sigma_space, sigma_color, seed):
    image = np.random.default_rng(seed).normal(size=(h, w)).astype(np.float32)
    np.testing.assert_allclose(bilateral(image, sigma_space, sigma_color, noise=1.), bilateral_by_hand(image, sigma_space, sigma_color), atol=2e-5)


def test_its_limits_are_a_blur_and_nothing():
    image, _ = vesicle()
    r = 5
    disc = np.hypot(*np.indices((2*r + 1, 2*r + 1)) - r)
    kernel = np.exp(-disc**2/8)*(disc <= r)
    np.testing.assert_allclose(bilateral(image, 2., 1e5, noise=1.), ndimage.convolve(image, kernel/kernel.sum(), mode='mirror'), atol=1e-4)
    np.testing.assert_allclose(bilateral(image, 2., 1e-4, noise=1.), image, atol=1e-4)


def test_it_averages_noise_and_keeps_a_strong_edge():
    image = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    image[:, 32:] += 30
    out = bilateral(image, 2., 3., noise=1.)
    assert out[:, :32].std() < 0.5 and out[:, 32:].std() < 0.5
    assert (out[:, 32] - out[:, 31]).min() > 25
    assert image.min() <= out.min() and out.max() <= image.max()


def test_it_lifts_contrast_to_noise():
    image, mask = vesicle(depth=1.5)
    assert cnr(bilateral(image), mask) > 2*cnr(image, mask)


@pytest.mark.parametrize('dtype', ['int8', 'uint8', 'int16', 'uint16', 'float16', 'float64', '>f4'])
def test_every_dtype_is_filtered(dtype):
    image = np.rint(20*vesicle()[0] + (128 if 'u' in dtype else 0)).clip(-100, 250).astype(dtype) if dtype != 'int8' else np.rint(10*vesicle()[0]).astype('int8')
    for out in (bilateral(image), clahe(image), enhance(image)):
        assert out.dtype == np.float32 and out.shape == image.shape and np.isfinite(out).all() and out.std() > 0


# the noise

@pytest.mark.parametrize('correlation', [0, 0.7, 1.5])
def test_noise_is_found_white_or_not_shaded_or_not(correlation):
    noise = np.random.default_rng(0).normal(size=(128, 128))
    if correlation: noise = ndimage.gaussian_filter(noise, correlation)
    noise /= noise.std()
    _, mask = vesicle((128, 128))
    ramp = np.linspace(-3, 3, 128)
    assert noise_sigma(noise) == pytest.approx(1, rel=0.1)
    assert noise_sigma(noise - 3*mask + ramp) == pytest.approx(1, rel=0.2)
    assert noise_sigma(50*noise + 700) == pytest.approx(50*noise_sigma(noise), rel=1e-3)


# CLAHE

def test_the_limit_acts():
    image, _ = vesicle((128, 128))
    spread = [clahe(image, limit, 32).std() for limit in (1, 2, 4, 16)]
    assert spread == sorted(spread) and spread[-1] > 1.3*spread[0]
    assert clahe(image).min() >= 0 and clahe(image).max() <= 1


def test_one_tile_keeps_the_order_of_intensities():
    image, _ = vesicle((64, 64))
    out, order = clahe(image, 3., tile_vox=999), np.argsort(image.ravel())
    assert (np.diff(out.ravel()[order]) >= 0).all()


def test_shading_is_levelled():
    image, mask = vesicle((192, 192), depth=2.)
    shaded = image + np.linspace(-8, 8, 192, dtype=np.float32)
    assert cnr(clahe(shaded, 4., 32), mask) > 1.5*cnr(shaded, mask)


# both

@settings(max_examples=12, deadline=None)
@given(st.floats(0.01, 1000), st.floats(-1e4, 1e4), st.booleans(), st.booleans())
def test_scale_and_offset_do_not_matter(scale, offset, use_bilateral, use_clahe):
    image, _ = vesicle()
    chosen = ContrastSettings(bilateral=use_bilateral, clahe=use_clahe, tile_vox=32)
    other = scale*image.astype(float) + offset*scale
    difference = np.abs(enhance(other.astype(np.float64), chosen) - enhance(image, chosen))
    assert difference.mean() < 0.01 and difference.max() < 0.1


@pytest.mark.parametrize('shape', [(1, 1), (1, 9), (3, 5), (2, 1, 7), (5, 17, 33), (1, 64, 64)])
def test_any_shape(shape):
    image = np.random.default_rng(0).normal(size=shape)
    for chosen in (ContrastSettings(), ContrastSettings(clahe=False)):
        out = enhance(image, chosen)
        assert out.shape == shape and out.dtype == np.float32 and np.isfinite(out).all()


def test_slices_of_one_volume_share_one_scale():
    one, two = vesicle(seed=0)[0], 3*vesicle(seed=1)[0]
    together = enhance(np.stack([one, one, two]), ContrastSettings(clahe=False))
    np.testing.assert_array_equal(together[0], together[1])
    assert together[2].std() > 2*together[0].std()


def test_a_volume_stays_where_it_is():
    volume = Volume(np.stack([vesicle()[0]]*3), 13.48, origin_A=(1., 2., 3.))
    out = enhance(volume)
    assert isinstance(out, Volume) and (out.voxel_size_A, out.origin_A) == (13.48, (1., 2., 3.))
    np.testing.assert_array_equal(out.data, enhance(volume.data))


def test_the_input_is_not_changed():
    image = vesicle()[0]
    before = image.copy()
    enhance(image), bilateral(image), clahe(image), noise_sigma(image)
    np.testing.assert_array_equal(image, before)


def test_the_number_of_threads_does_not_matter():
    image, before = vesicle((200, 200))[0], cv2.getNumThreads()
    outs = []
    for threads in (1, 2):
        cv2.setNumThreads(threads)
        outs.append(enhance(image))
    cv2.setNumThreads(before)
    np.testing.assert_array_equal(*outs)


# bad input

@pytest.mark.parametrize('value', [0, 7, -3.5])
def test_a_constant_image_stays_one(value):
    for out in (bilateral(np.full((9, 9), value)), clahe(np.full((9, 9), value)), enhance(np.full((3, 9, 9), value))): assert np.ptp(out) == 0


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_nan_and_infinity_are_told(bad):
    image = vesicle()[0]
    image[3, 4] = bad
    with pytest.raises(VolumeError, match='NaN or infinite'): enhance(image)
    with pytest.raises(VolumeError, match='1 of .* NaN or infinite'): enhance(np.stack([vesicle()[0]]*39 + [image]*2)[:40])
    for function in (bilateral, clahe, noise_sigma):
        with pytest.raises(VolumeError, match='NaN or infinite'): function(image)


@pytest.mark.parametrize('options', [dict(sigma_space_vox=0), dict(sigma_color=-1), dict(clip_limit=0), dict(tile_vox=0), dict(sigma_color=float('nan'))])
def test_bad_settings(options):
    with pytest.raises(VolumeError, match=f'{list(options)[0]} = .*(give more than 0|give a finite number)'): ContrastSettings(**options)


@pytest.mark.parametrize('shape', [(5,), (2, 3, 4, 5)])
def test_bad_shapes(shape):
    with pytest.raises(VolumeError, match='shape'): enhance(np.zeros(shape))
