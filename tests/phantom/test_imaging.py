"""Imaging: projection and back-projection are linear and lose nothing, the wedge is empty, the optics and noise are right."""
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import constants, ndimage
from scipy.ndimage import gaussian_filter1d

from cryoseg.base.files import VolumeError
from cryoseg.phantom.settings import DEMO
from cryoseg.phantom.imaging import (
    apply_optics, back_project, contrast_to_noise, contrast_transfer, detector_width, electron_wavelength, filter_image,
    missing_wedge, noise_level, project, rfft_frequencies, tilt_angles, tilt_matrix,
)


def test_projection_and_back_projection_are_linear():
    rng = np.random.default_rng(0)
    angles = tilt_angles(60, 10)
    a, b = rng.random((2, 20, 3, 24), dtype=np.float32)
    np.testing.assert_allclose(project(a + 2*b, angles), project(a, angles) + 2*project(b, angles), atol=1e-3)
    images = rng.random((2, len(angles), 3, 60), dtype=np.float32)
    both = back_project(images[0] + 2*images[1], angles, (20, 3, 24))
    np.testing.assert_allclose(both, back_project(images[0], angles, (20, 3, 24)) + 2*back_project(images[1], angles, (20, 3, 24)), atol=1e-3)


def test_projection_untilted_is_a_sum():
    volume = np.pad(np.random.default_rng(0).random((9, 4, 16), dtype=np.float32), ((0, 0), (0, 0), (8, 8)))
    volume = gaussian_filter1d(volume, 1.5, axis=2)
    image = project(volume, [0.], width=32)[0]
    np.testing.assert_allclose(image, volume.sum(0), atol=.03)
    np.testing.assert_allclose(project(volume, tilt_angles(60, 5)).sum(2), volume.sum((0, 2))[None].repeat(25, 0), rtol=1e-3)     # nothing is lost


def test_nothing_wraps_round():
    "A point in one corner leaves the opposite corner calm."
    corner = np.zeros((32, 1, 48), np.float32)
    corner[1, 0, 1] = 1
    angles = tilt_angles(60, 2)
    again = back_project(project(corner, angles), angles, corner.shape)
    assert np.unravel_index(again.argmax(), again.shape) == (1, 0, 1) and np.abs(again[20:, :, 30:]).max() < .03*again.max()


def test_missing_wedge():
    wedge = missing_wedge((20, 3, 24), 60)
    assert wedge.dtype == bool and wedge.shape == (20, 3, 24) and not wedge[0].any() and wedge[1:, :, 0].all()
    np.testing.assert_array_equal(wedge, np.roll(np.flip(wedge, (0, 2)), 1, (0, 2)))                # a real volume: k and -k alike
    assert missing_wedge((64, 1, 64), 45).mean() == pytest.approx(.5, abs=.02)
    assert missing_wedge((64, 1, 64), 70).sum() < missing_wedge((64, 1, 64), 50).sum()


def test_a_point_leaves_the_wedge_empty():
    point = np.zeros((64, 1, 64), np.float32)
    point[32, 0, 32] = 1
    angles = tilt_angles(50, 2)
    spread = back_project(project(point, angles), angles, point.shape)*np.hanning(64)[:, None, None]*np.hanning(64)
    power = np.abs(np.fft.fftn(spread))**2
    assert power[missing_wedge(point.shape, 53)].sum() < .005*power.sum()


def test_optics():
    images = np.random.default_rng(0).random((2, 16, 20), dtype=np.float32)
    assert apply_optics(images, DEMO) is images
    out = apply_optics(images, replace(DEMO, defocus_um=3.))
    assert out.shape == images.shape and np.isfinite(out).all()
    np.testing.assert_allclose(out.mean((1, 2)), .07*images.mean((1, 2)), rtol=1e-3)                # only the amplitude contrast at k = 0


def test_bad_arrays_are_refused():
    angles = tilt_angles(60, 10)
    with pytest.raises(VolumeError, match='give .Z,Y,X.'): project(np.zeros((4, 4)), angles)
    with pytest.raises(VolumeError, match='needs a detector'): project(np.zeros((20, 4, 20)), angles, width=10)
    with pytest.raises(VolumeError, match='do not fit'): back_project(np.zeros((3, 4, 40)), angles, (20, 4, 20))
    with pytest.raises(VolumeError, match='between 0 and 90'): missing_wedge((8, 8, 8), 90)
    assert tilt_angles(60, 3).size == 41 and tilt_angles(50, 50).tolist() == [-50, 0, 50] and detector_width((20, 4, 20), angles) >= 28


def test_every_voxel_is_divided_between_two_bins():
    matrix = tilt_matrix((5, 7), 33., 12)
    np.testing.assert_allclose(matrix.sum(0), 1, atol=1e-6)
    assert (matrix.toarray() >= 0).all() and (np.count_nonzero(matrix.toarray(), axis=0) <= 2).all()


def test_the_centre_of_mass_is_projected():
    "t = x cos + z sin, counted from the middle."
    z, x = np.mgrid[:24, :32]
    blob = np.exp(-((z - 8)**2 + (x - 20)**2)/8.)[:, None]
    angles = tilt_angles(60, 20)
    images = project(blob, angles)[:, 0]
    t = np.arange(images.shape[1]) - (images.shape[1] - 1)/2
    expected = (20 - 15.5)*np.cos(np.radians(angles)) + (8 - 11.5)*np.sin(np.radians(angles))
    np.testing.assert_allclose((images*t).sum(1)/images.sum(1), expected, atol=.02)


@pytest.mark.parametrize('voltage_kV, wavelength', [(100, .03701), (200, .02508), (300, .01969)])
def test_wavelength_is_that_of_the_textbooks(voltage_kV, wavelength):
    assert electron_wavelength(voltage_kV) == pytest.approx(wavelength, abs=6e-6)
    c = constants
    energy = voltage_kV*1e3*c.e
    exact = c.h/math.sqrt(2*c.m_e*energy*(1 + energy/(2*c.m_e*c.c**2)))*1e10
    assert electron_wavelength(voltage_kV) == pytest.approx(exact, rel=1e-5)


def test_contrast_transfer():
    k = np.linspace(0, .1, 2001)
    assert contrast_transfer(k)[0] == pytest.approx(.07)                                   # the amplitude contrast alone
    plain = contrast_transfer(k, 3., amplitude_contrast=0., cs_mm=0.)
    zero = k[np.flatnonzero(np.diff(np.sign(plain[1:])))[0] + 1]
    assert zero == pytest.approx(1/math.sqrt(electron_wavelength()*3e4), abs=1e-4)         # sin(pi lambda defocus k²) = 0
    w = .1
    both = math.sqrt(1 - w*w)*contrast_transfer(k, amplitude_contrast=0.) + w*contrast_transfer(k, amplitude_contrast=1.)
    np.testing.assert_allclose(contrast_transfer(k, amplitude_contrast=w), both, atol=1e-9)  # phase and amplitude add up
    np.testing.assert_array_equal(contrast_transfer(k, phase_flip=True), np.abs(contrast_transfer(k)))
    np.testing.assert_allclose(contrast_transfer(k, envelope_A2=300.), contrast_transfer(k)*np.exp(-75*k**2))


def test_spherical_aberration_acts_against_underfocus():
    "The phase is zero again where the two terms cancel: k² = 2 defocus / (Cs lambda²)."
    wavelength = electron_wavelength()
    k = math.sqrt(2*.1e4/(2.7e7*wavelength**2))
    assert contrast_transfer(np.array([k]), .1)[0] == pytest.approx(.07, abs=1e-9)


def test_frequencies_and_filtering():
    k = rfft_frequencies((8, 10), 5.)
    assert k.shape == (8, 6) and k[0, 0] == 0 and k[0, 1] == pytest.approx(1/50) and k[1, 0] == pytest.approx(1/40)
    image = np.random.default_rng(0).random((8, 10), dtype=np.float32)
    np.testing.assert_allclose(filter_image(image, np.ones(k.shape, np.float32)), image, atol=1e-6)
    sigma = 1.5
    blurred = filter_image(image.astype(float), np.exp(-2*(np.pi*sigma*rfft_frequencies((8, 10), 1.))**2))
    np.testing.assert_allclose(blurred, ndimage.gaussian_filter(image.astype(float), sigma, mode='wrap', truncate=9), atol=2e-3)


def test_contrast_to_noise_is_invariant():
    rng = np.random.default_rng(0)
    image, membrane = rng.normal(size=(4, 20, 20)), rng.random((4, 20, 20)) < .3
    image[membrane] -= 2
    value = contrast_to_noise(image, membrane, ~membrane)
    assert value == pytest.approx(2, abs=.1) == contrast_to_noise(7 - 3*image, membrane, ~membrane)


def test_noise_level_gives_what_was_asked_for():
    rng = np.random.default_rng(1)
    membrane = rng.random((4, 30, 30)) < .3
    signal, noise = np.where(membrane, -1., 0.), rng.normal(size=membrane.shape)
    sigma = noise_level(signal, noise, membrane, ~membrane, replace(DEMO, cnr=.5))
    assert contrast_to_noise(signal + sigma*noise, membrane, ~membrane) == pytest.approx(.5, rel=.05)
    by_snr = noise_level(signal, noise, membrane, ~membrane, replace(DEMO, snr=.25))
    assert signal.var()/(by_snr*noise).var() == pytest.approx(.25)
    assert noise_level(signal, noise, membrane, ~membrane, replace(DEMO, cnr=math.inf)) == 0
    with pytest.raises(VolumeError, match='no CNR'): noise_level(signal, noise, membrane & False, ~membrane, DEMO)
    with pytest.raises(VolumeError, match='cannot be reached'):
        noise_level(signal + .5*noise, noise, membrane, ~membrane, replace(DEMO, cnr=50.))
