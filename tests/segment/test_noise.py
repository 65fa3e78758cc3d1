"Noise and profiles: what is drawn has what was asked for, and what is measured is what is there."
import numpy as np
import pytest
from scipy import ndimage

from cryoseg.segment.noise import Profile, bilayer_density, blur, coloured_noise, describe_profile, fingerprint
from cryoseg.segment.noise import membrane_profile, mixed_noise, noise_spectrum, noise_spectrum_2d, noise_variation, standardise


def ring(half_px, width_px, noise=0., shape=(160, 160), radius=50, fringe=0.):
    "A round membrane of one or two dark lines, and its mask."
    y, x = np.indices(shape)
    d = np.hypot(y - shape[0]/2, x - shape[1]/2) - radius
    dark = -np.exp(-.5*((np.abs(d) - half_px)/width_px)**2)
    bright = fringe*np.exp(-.5*((np.abs(d) - half_px - 4)/1.5)**2)
    return dark + bright + noise*np.random.default_rng(0).normal(size=shape), np.abs(d) < max(half_px + 1, 1.6)


def test_blur_is_that_of_scipy():
    image = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    np.testing.assert_allclose(blur(image, 1.5), ndimage.gaussian_filter(image, 1.5, mode='reflect', truncate=3), atol=2e-3)
    np.testing.assert_allclose(blur(image, 1., 2.), blur(image.T.copy(), 2., 1.).T, atol=1e-6)
    np.testing.assert_allclose(blur(np.full((9, 9), 3, np.float32), 2.), 3, atol=1e-6)


def test_standardise_forgets_scale_and_offset():
    image = np.random.default_rng(0).normal(5, 2, (30, 30))
    out = standardise(image)
    assert out.mean() == pytest.approx(0, abs=1e-9) and out.std() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(standardise(7*image - 3), out, atol=1e-5)
    assert not standardise(np.full((4, 4), 9.)).any()


def test_white_noise_has_a_flat_spectrum():
    white = np.random.default_rng(0).normal(size=(256, 256))
    frequency, power = noise_spectrum(white)
    np.testing.assert_allclose(power[1:], 1, atol=.15)
    assert (np.diff(frequency) > 0).all() and frequency[-1] < .5
    np.testing.assert_allclose(noise_spectrum(3*white + 7).power, power)                       # scale and offset do not matter


def test_a_wave_lies_in_its_bin():
    wave = np.sin(2*np.pi*.2*np.arange(128))*np.ones((128, 1))
    frequency, power = noise_spectrum(wave, 20)
    assert abs(frequency[power.argmax()] - .2) < .03


@pytest.mark.parametrize('seed', range(3))
def test_drawn_noise_has_the_measured_spectrum(seed):
    rough = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(256, 256)), 1.)
    spectrum = noise_spectrum(rough)
    drawn = coloured_noise((256, 256), np.random.default_rng(seed + 10), spectrum)
    np.testing.assert_allclose(noise_spectrum(drawn).power[2:], spectrum.power[2:], rtol=.3)        # the first bins hold few frequencies
    assert drawn.dtype == np.float32 and drawn.mean() == pytest.approx(0, abs=1e-3) and drawn.std() == pytest.approx(1, abs=1e-3)
    assert noise_spectrum(drawn).power[0] > 5*noise_spectrum(drawn).power[-1]


def test_directions_are_kept():
    power = np.ones((32, 32))
    power[:, np.abs(np.fft.fftfreq(32)) > .2] = .05                                            # smooth along x
    windows = np.stack([coloured_noise((32, 32), np.random.default_rng(k), power) for k in range(100)])
    across_x, across_y = ((np.diff(windows, axis=axis)**2).mean() for axis in (2, 1))
    assert across_x < .7*across_y
    found = noise_spectrum_2d(windows)
    assert found.mean() == pytest.approx(1) and found[:, 12:20].mean() < .3*found[:, :6].mean()


def test_variation_of_the_noise():
    rng = np.random.default_rng(0)
    white = rng.normal(size=(300, 24, 24))
    assert noise_variation(white) == pytest.approx(0, abs=.02) and noise_variation(white[:1]) == 0
    assert noise_variation(white*np.exp(.3*rng.normal(size=(300, 1, 1)))) == pytest.approx(.3, abs=.04)


def test_profile_of_one_and_two_lines():
    for half in (0, 2.5):
        image, mask = ring(half, .9 if half else 1.8, noise=.3)
        profile = membrane_profile(image + 4, mask, 4.)
        assert profile.offset_px[profile.value.argmin()] == pytest.approx(half, abs=.51) and abs(profile.at(9.)) < .05
        shape = describe_profile(profile)
        assert shape.leaflets == (2 if half else 1) and shape.separation_px == pytest.approx(2*half, abs=.4)
        assert shape.depth == pytest.approx(1, abs=.3) and ('two leaflets' in str(shape)) == bool(half)


def test_profile_is_symmetric_and_linear():
    image, mask = ring(2., 1., noise=.3)
    one, two = membrane_profile(image, mask, 0.), membrane_profile(3*image + 5, mask, 5.)
    np.testing.assert_allclose(two.value, 3*one.value, atol=1e-4)
    np.testing.assert_allclose(one.at(-one.offset_px), one.at(one.offset_px))
    turned = membrane_profile(np.rot90(image).copy(), np.rot90(mask).copy(), 0.)
    assert np.abs(turned.value - one.value).max() < .05 and one.at(99.) == 0


def test_what_differs_on_the_two_sides_is_averaged():
    y, x = np.indices((160, 160))
    d = np.hypot(y - 80, x - 80) - 50
    assert np.abs(membrane_profile(d, np.abs(d) < 2, 0.).value).max() < .5                      # an odd course cancels
    assert membrane_profile(np.abs(d), np.abs(d) < 2, 0.).value[-1] == pytest.approx(12, abs=.5)  # an even one stays


def test_a_fringe_is_found_where_it_is():
    with_fringe, without = (describe_profile(membrane_profile(*ring(1.5, 1., fringe=f), 0.)) for f in (.3, 0.))
    assert with_fringe.fringe == pytest.approx(.3, abs=.08) and with_fringe.fringe_px == pytest.approx(5.5, abs=1)
    assert without.fringe < .05 and 'no bright fringe' in str(without) and 'a bright fringe of' in str(with_fringe)


def test_what_cannot_be_measured_is_refused():
    image, _ = ring(0, 1.)
    with pytest.raises(ValueError, match='too few'): membrane_profile(image, np.zeros_like(image), 0.)
    with pytest.raises(ValueError, match='darker'): describe_profile(Profile(np.arange(5.), np.ones(5), 30))


@pytest.mark.parametrize('draw', [mixed_noise, fingerprint])
def test_noise_is_standardised_and_the_generators_alone(draw):
    one, again, other = (draw((48, 64), np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert one.shape == (48, 64) and abs(one.mean()) < 1e-3 and one.std() == pytest.approx(1, abs=1e-3)
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < .3


def test_fingerprints_are_rougher_than_white_noise_is_not():
    "Ridges: neighbours are alike, and the power lies at the scale of membranes."
    image = fingerprint((128, 128), np.random.default_rng(0))
    assert np.corrcoef(image[:, 1:].ravel(), image[:, :-1].ravel())[0, 1] > .3
    frequency, power = noise_spectrum(image)
    assert .03 < frequency[power.argmax()] < .35


def test_bilayer_density():
    d = np.linspace(-8, 8, 161)
    one, two = bilayer_density(d, 6., False), bilayer_density(d, 6., True)
    np.testing.assert_allclose(one, one[::-1])
    assert one.sum()*.1 == pytest.approx(6, abs=.05) and one[80] == 1 and two[80] == pytest.approx(.15)   # its integral is its thickness
    assert (two <= one).all() and two[np.abs(np.abs(d) - 2.3).argmin()] == pytest.approx(1) and not two[np.abs(d) > 3.6].any()
