"Motifs: fits are those of the formula, shapes stay apart, images are painted with what was asked for."
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import cKDTree

from cryoseg.segment.settings import MotifSettings
from cryoseg.segment.noise import noise_spectrum
from cryoseg.segment.motifs import Ellipse, Gaussian, IntensityModel, elastic_field, ellipse_distance, fit_gaussian
from cryoseg.segment.motifs import fit_intensities, paint_labels, place_ellipses, place_proteins, simulate_image, simulate_labels

SMALL = MotifSettings(size=128, radius=(14., 30.))


def test_gaussian_agrees_with_scipy():
    values = np.random.default_rng(0).normal(3, 2, 5000)
    found = fit_gaussian(values)
    assert (found.mean, found.sd) == pytest.approx(stats.norm.fit(values))
    x = np.linspace(-5, 10, 31)
    np.testing.assert_allclose(found.density(x), stats.norm(found.mean, found.sd).pdf(x))
    with pytest.raises(ValueError, match='too small'): fit_gaussian(np.ones(9))


def test_intensities_are_fitted_class_by_class():
    labels = np.random.default_rng(0).integers(0, 4, (80, 80))                      # 3 is left out
    means = np.array([5., -1., -3., 99.])
    model = fit_intensities(means[labels] + np.random.default_rng(1).normal(size=labels.shape), labels)
    np.testing.assert_allclose([g.mean for g in model.classes], means[:3], atol=.1)
    assert model.cnr == pytest.approx(6, abs=.2)
    no_protein = fit_intensities(means[labels], np.where(labels == 2, 3, labels))
    assert no_protein.protein == no_protein.membrane
    for bad, words in ((np.zeros_like(labels), 'membrane'), (np.ones_like(labels), 'background'), (labels[:4], 'shape')):
        with pytest.raises(ValueError, match=words): fit_intensities(means[labels], bad)


def test_distance_to_a_circle_is_exact_and_to_an_ellipse_near():
    y, x = np.mgrid[:60, :80].astype(float)
    circle, away = ellipse_distance(x, y, (40, 30), (15, 15), .7), np.hypot(x - 40, y - 30)
    np.testing.assert_allclose(circle[away > 0], away[away > 0] - 15, atol=1e-6)                  # its centre has no nearest point
    t = np.linspace(0, 2*np.pi, 20_000)
    u, v, angle = 25*np.cos(t), 14*np.sin(t), .4
    curve = np.c_[40 + u*np.cos(angle) - v*np.sin(angle), 30 + u*np.sin(angle) + v*np.cos(angle)]
    found = ellipse_distance(x, y, (40, 30), (25, 14), angle)
    true, _ = cKDTree(curve).query(np.stack([x, y], -1))
    near = true < 2
    np.testing.assert_allclose(np.abs(found)[near], true[near], atol=.3)
    assert found[30, 40] < 0 < found[0, 0]


def test_elastic_field_is_smooth_and_scales():
    one, two = (elastic_field((64, 80), np.random.default_rng(0), a) for a in (1., 3.))
    np.testing.assert_allclose(two, 3*one, rtol=1e-4, atol=1e-5)
    assert one.shape == (2, 64, 80) and np.abs(np.diff(one, axis=2)).max() < .4 < one.std()


@pytest.mark.parametrize('seed', range(5))
def test_ellipses_stay_apart_and_proteins_outside(seed):
    rng = np.random.default_rng(seed)
    placed = place_ellipses(rng, SMALL)
    for i, a in enumerate(placed):
        assert SMALL.radius[0] <= a.axes[0] <= SMALL.radius[1] and SMALL.aspect[0] <= a.axes[1]/a.axes[0] <= SMALL.aspect[1]
        for b in placed[:i]: assert np.hypot(*(a.centre - b.centre)) > a.axes[0] + b.axes[0] + 10
    for disc in place_proteins(rng, placed[0], 5., SMALL):
        distance = ellipse_distance(np.array(disc.x), np.array(disc.y), *placed[0])
        assert 2.5 + disc.radius - .3 < distance < 2.5 + disc.radius + 2.6


def test_a_turned_ellipse_turns_its_proteins():
    straight, turned = (place_proteins(np.random.default_rng(0), Ellipse(np.zeros(2), (30., 20.), a), 5., SMALL) for a in (0., np.pi/2))
    np.testing.assert_allclose([(d.x, d.y) for d in turned], [(-d.y, d.x) for d in straight], atol=1e-9)


def test_labels_hold_what_was_asked_for():
    plain = replace(SMALL, n_proteins=(0, 0), double=0., deformation=0., n_vesicles=(1, 1), thickness=(4., 4.), radius=(28., 32.), aspect=(.8, 1.))
    seed = next(k for k in range(99) if np.abs(place_ellipses(_after_field(k, plain), plain)[0].centre - 64).max() < 20)   # it is whole
    labels = simulate_labels(np.random.default_rng(seed), plain)
    assert set(np.unique(labels)) == {0, 1} and labels.dtype == np.uint8 and labels.shape == (128, 128)
    a, b = place_ellipses(_after_field(seed, plain), plain)[0].axes
    around = np.pi*(3*(a + b) - np.sqrt((3*a + b)*(a + 3*b)))                                      # Ramanujan
    assert labels.sum(dtype=int) == pytest.approx(4*around, rel=.05)
    doubled = simulate_labels(np.random.default_rng(seed), replace(plain, double=1.))
    assert (doubled >= labels).all() and (doubled == 1).sum() > 1.3*labels.sum(dtype=int)
    assert 2 in simulate_labels(np.random.default_rng(seed), replace(plain, n_proteins=(6, 6)))


def _after_field(seed, settings):
    "The generator as it is when ellipses are placed."
    rng = np.random.default_rng(seed)
    elastic_field((settings.size,)*2, rng, rng.uniform(0, settings.deformation))
    return rng


def test_images_are_painted_with_the_model():
    model = IntensityModel(Gaussian(10., 1.), Gaussian(4., 2.), Gaussian(-5., .5))
    labels = np.random.default_rng(0).integers(0, 3, (200, 200))
    found = fit_intensities(paint_labels(labels, model, np.random.default_rng(1)), labels)
    for a, b in zip(found.classes, model.classes): assert (a.mean, a.sd) == pytest.approx((b.mean, b.sd), abs=.1)


def test_spectrum_and_seed():
    image, labels = simulate_image(np.random.default_rng(6), settings=SMALL)
    again = simulate_image(np.random.default_rng(6), settings=SMALL)
    np.testing.assert_array_equal(again.image, image)
    assert image.dtype == np.float32 and image.shape == labels.shape == (128, 128)
    smooth = noise_spectrum(np.cumsum(np.random.default_rng(0).normal(size=(64, 64)), 1))
    rough = simulate_image(np.random.default_rng(6), settings=SMALL, spectrum=smooth)
    np.testing.assert_array_equal(rough.labels, labels)                                            # only the noise changes
    assert np.abs(np.diff(rough.image, axis=1)).mean() < .9*np.abs(np.diff(image, axis=1)).mean()
