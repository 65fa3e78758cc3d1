"""Ellipses: the distance, the five lengths, robust fits, and how sure they are."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from skimage.measure import EllipseModel

from cryoseg.surface import ellipse as E
from cryoseg.surface.ellipse import Ellipse, curve_distance, ellipse_from_parameters, ellipse_parameters, fit_ellipse, fit_ellipse_near
from cryoseg.surface.settings import EllipseSettings

SLIM = Ellipse((3., -2.), (40., 16.), .5)
TRUE = Ellipse((50., 60.), (30., 20.), 1.2)
ellipses = st.builds(lambda y, x, b, ratio, angle: Ellipse((y, x), (b*ratio, b), angle),
                     st.floats(-50, 50), st.floats(-50, 50), st.floats(5, 40), st.floats(1., 4.), st.floats(0, 3.1))


def arc(fraction, noise, n=150, seed=0, true=TRUE):
    "Points of the first part of a curve, off along its normals."
    t = true.spaced(int(n/fraction))[:n]
    return true.at(t) + true.normals(t)*np.random.default_rng(seed).normal(0, noise, (n, 1))


@given(ellipses)
def test_the_distance_is_to_the_nearest_point(e):
    points = np.random.default_rng(0).uniform(-120, 120, (50, 2))
    distance = e.signed_distance(points)
    np.testing.assert_allclose(np.abs(distance), cKDTree(e.points(20_000)).query(points)[0], atol=.03)
    inside = np.sum(((points - e.centre) @ e.frame.T/e.axes)**2, 1) < 1
    assert ((distance < 0) == inside).all()


@given(ellipses, st.floats(0, 6.2))
def test_a_step_along_the_normal_is_a_distance(e, t):
    t = np.array([t])
    foot = e.at(t) + 3*e.normals(t)
    assert e.signed_distance(foot)[0] == pytest.approx(3, abs=1e-6)
    np.testing.assert_allclose(e.at(e.nearest(foot)), e.at(t), atol=1e-5)


def test_distance_of_special_points():
    circle = Ellipse((0., 0.), (1., 1.))
    np.testing.assert_allclose(circle.signed_distance(np.array([[2., 0.], [0., 0.], [0., -.5]])), [1., -1., -.5], atol=1e-7)
    np.testing.assert_allclose(SLIM.signed_distance(np.array([SLIM.centre])), [-16.], atol=1e-6)
    s = E.foot_number(40., 16., np.array([30.]), np.array([20.]))
    assert (40*30/(s + 1600))**2 + (16*20/(s + 256))**2 == pytest.approx(1)


def test_length_and_area():
    around = SLIM.at(np.linspace(0, 2*np.pi, 20_001))
    assert SLIM.perimeter() == pytest.approx(np.linalg.norm(np.diff(around, axis=0), axis=1).sum(), rel=1e-6)
    y, x = around.T
    assert SLIM.area() == pytest.approx(abs((x[:-1]*y[1:] - x[1:]*y[:-1]).sum()/2), rel=1e-6)
    steps = np.linalg.norm(np.diff(SLIM.points(100), axis=0, append=SLIM.points(100)[:1]), axis=1)
    assert steps.std()/steps.mean() < .01                   # equal steps, on a slim curve too
    assert SLIM.along(np.array([2*np.pi - 1e-9]))[0] == pytest.approx(SLIM.perimeter(), rel=1e-4)
    assert Ellipse((0., 0.), (3., 3.)).perimeter() == pytest.approx(6*np.pi)


@given(ellipses)
def test_five_lengths_there_and_back(e):
    again = ellipse_from_parameters(ellipse_parameters(e))
    assert curve_distance(e, again) < 1e-6


def test_no_lengths_make_a_degenerate_ellipse():
    for p in ([0, 0, 5, 20, 0], [0, 0, -3, 0, 0], [0, 0, 0, 0, 0]):
        e = ellipse_from_parameters(np.array(p, float))
        assert e.axes[0] >= e.axes[1] > 0
    for bad in (dict(axes=(1., 2.)), dict(axes=(1., 0.)), dict(axes=(np.nan, 1.)), dict(axes=(2., 1.), angle_rad=np.inf)):
        with pytest.raises(ValueError, match='a >= b > 0'): Ellipse((0., 0.), **bad)


@given(ellipses.filter(lambda e: e.axes[0] > 1.05*e.axes[1]))
def test_jacobian_is_minus_that_of_the_distance(e):
    p, h = ellipse_parameters(e), 1e-4
    points = e.at(np.arange(7.))
    moved = [(ellipse_from_parameters(p + d).signed_distance(points) - ellipse_from_parameters(p - d).signed_distance(points))/(2*h) for d in h*np.eye(5)]
    np.testing.assert_allclose(-E.normal_jacobian(e, e.nearest(points)), np.array(moved).T, atol=1e-3)


def test_the_papers_fit_is_exact_for_an_upright_ellipse():
    for a, b in ((30., 20.), (20., 30.)):
        t = np.linspace(0, 6, 60)
        found = E.fit_ellipse_axis_aligned(np.c_[40 + b*np.sin(t), 50 + a*np.cos(t)])
        np.testing.assert_allclose([*found.centre, *found.axes], [40, 50, 30, 20], atol=1e-4)


def test_exact_points_as_scikit_image_fits_them():
    points = TRUE.points(100)
    model = EllipseModel.from_estimate(points[:, ::-1])
    (x, y), (a, b), theta = model.center, model.axis_lengths, model.theta
    if a < b: a, b, theta = b, a, theta + np.pi/2
    ours = fit_ellipse(points).ellipse
    np.testing.assert_allclose([*ours.centre, *ours.axes], [y, x, a, b], atol=.01)
    assert np.cos(2*(ours.angle_rad - theta)) == pytest.approx(1, abs=1e-4)


def test_strays_have_no_say():
    points = TRUE.points(120) + np.random.default_rng(0).normal(0, .5, (120, 2))
    strays = np.random.default_rng(1).uniform(0, 110, (25, 2))
    strays = strays[np.abs(TRUE.signed_distance(strays)) > 6]
    clean, dirty = fit_ellipse(points), fit_ellipse(np.vstack([points, strays]))
    assert curve_distance(clean.ellipse, dirty.ellipse) < .2 and curve_distance(dirty.ellipse, TRUE) < .3
    assert not dirty.used[120:].any() and dirty.used[:120].mean() > .95
    assert .3 < clean.noise_px < .8


def test_a_fit_moves_and_turns_with_its_points():
    points = arc(.8, .4)
    here = fit_ellipse(points).ellipse
    there = fit_ellipse(points + [70., -30.]).ellipse
    np.testing.assert_allclose(np.subtract(there.centre, here.centre), [70, -30], atol=1e-3)
    turned = fit_ellipse(np.column_stack([points[:, 1], 200 - points[:, 0]])).ellipse
    np.testing.assert_allclose(turned.axes, here.axes, atol=5e-3)
    twice = fit_ellipse(2*points).ellipse
    np.testing.assert_allclose(twice.axes, 2*np.array(here.axes), rtol=.01)


def test_the_same_seed_gives_the_same_fit():
    points = arc(.6, .8)
    one, two = fit_ellipse(points, seed=3), fit_ellipse(points, seed=3)
    np.testing.assert_array_equal(one.covariance, two.covariance)
    assert curve_distance(fit_ellipse(points, seed=4).ellipse, one.ellipse) < .5


def test_the_band_is_wide_where_nothing_was_seen_and_holds_the_truth():
    held = []
    for seed in range(8):
        fit = fit_ellipse(arc(.5, .8, seed=seed))
        t = fit.ellipse.spaced(72)
        held.append((np.abs(TRUE.signed_distance(fit.ellipse.at(t))) < 2*fit.sigma(t)).mean())
        near = cKDTree(arc(.5, 0.)).query(fit.ellipse.at(t))[0] < 3
        assert fit.sigma(t)[~near].max() > 2*fit.sigma(t)[near].mean()
    assert np.mean(held) > .85
    inner, outer = fit.band(t, 1.)
    np.testing.assert_allclose(np.linalg.norm(outer - inner, axis=1), 2*fit.sigma(t))


def test_alike_errors_widen_the_band():
    t = TRUE.spaced(200)
    wave = TRUE.at(t) + TRUE.normals(t)*(.8*np.sin(np.arange(200)/4))[:, None]
    alike, plain = fit_ellipse(wave), fit_ellipse(wave, EllipseSettings(correlated_fractions=()))
    assert alike.sigma(t).mean() > 1.2*plain.sigma(t).mean()


def test_one_case_is_the_linear_gaussian_posterior():
    rng = np.random.default_rng(0)
    jacobian, offset = rng.normal(size=(30, 5)), rng.normal(size=30)
    correlation = np.exp(-np.abs(np.subtract.outer(np.arange(30), np.arange(30)))/4)
    pull, precision = rng.normal(size=5), np.diag([1., 2, 3, 4, 5])
    stretches = E.Stretches(jacobian, offset, np.ones(30), np.zeros((30, 2)))
    grid = E.condition_lengths(stretches, correlation, np.array([[.7]]), pull, precision, np.array([4.]))
    weight = np.linalg.inv(.7*correlation)
    covariance = np.linalg.inv(jacobian.T @ weight @ jacobian + precision/4)
    mean = covariance @ (jacobian.T @ weight @ offset + precision @ pull/4)
    np.testing.assert_allclose(grid.covariance[0, 0], covariance, rtol=1e-5)
    np.testing.assert_allclose(grid.mean[0, 0], mean, rtol=1e-5)


def test_correlations_are_covariances_and_their_probabilities_add_up():
    place, count = SLIM.points(40), np.full(40, 2)
    cases = list(E.error_correlations(place, count, EllipseSettings()))
    assert sum(p for _, p in cases) == pytest.approx(1) and len(cases) == 21
    assert min(np.linalg.eigvalsh(c)[0] for c, _ in cases) > 0


def test_noise_is_measured_beside_strays():
    rng = np.random.default_rng(0)
    distance = np.r_[rng.normal(0, 2., 2000), rng.uniform(-60, 60, 200)]
    assert E.noise_of(distance) == pytest.approx(2, rel=.1)
    assert E.noise_of(10*distance) == pytest.approx(10*E.noise_of(distance))
    assert E.noise_of(np.zeros(50)) == E.MIN_NOISE_PX


def test_a_neighbour_helps_a_short_arc():
    points = arc(.3, .8)
    neighbour = ellipse_from_parameters(ellipse_parameters(TRUE) + [1, -1, 1, .5, -.5])
    alone, helped = fit_ellipse(points), fit_ellipse_near(points, neighbour)
    assert curve_distance(helped.ellipse, TRUE) < curve_distance(alone.ellipse, TRUE)
    t = np.arange(6.)
    assert helped.sigma(t).mean() < alone.sigma(t).mean()
    further = fit_ellipse_near(points, neighbour, slices=4)
    assert further.sigma(t).mean() > helped.sigma(t).mean()


def test_bounds_are_kept_and_priors_pull():
    near = ellipse_from_parameters(ellipse_parameters(TRUE) + [6, 0, 0, 0, 0])
    points = arc(1., .3)
    bound = fit_ellipse_near(points, near, method='bounds', settings=EllipseSettings(bounds_px=2.))
    assert np.abs(ellipse_parameters(bound.ellipse) - ellipse_parameters(near)).max() < 2 + 1e-6
    three = TRUE.points(9)[[0, 3, 6]]
    prior = fit_ellipse_near(three, TRUE)
    whole = fit_ellipse_near(points, TRUE)
    assert prior.sigma(np.arange(6.)).mean() > 2*whole.sigma(np.arange(6.)).mean()
    assert curve_distance(prior.ellipse, TRUE) < .5


@pytest.mark.parametrize('points, words', [
    (TRUE.points(80)[:5], '5 distinct points'), (np.ones((50, 2)), '1 distinct'), (np.r_[TRUE.points(80), [[np.nan, 1.]]], 'not finite'),
    (np.ones((9, 3)), r'shape \(9, 3\)'), (np.column_stack([np.arange(50.), 2*np.arange(50.)]), 'line'),
    (np.column_stack([np.arange(80.), 2*np.arange(80.) + np.random.default_rng(0).normal(0, .8, 80)]), 'bent')])
def test_what_defines_no_ellipse_is_refused(points, words):
    with pytest.raises(ValueError, match=words): fit_ellipse(points)


@pytest.mark.parametrize('change, words', [
    (dict(neighbour=Ellipse((200., 60.), (30., 30.))), '0 of the 80'), (dict(method='wish'), 'wish'), (dict(slices=0), 'slices = 0')])
def test_neighbours_that_do_not_fit_are_refused(change, words):
    with pytest.raises(ValueError, match=words): fit_ellipse_near(TRUE.points(80), **{'neighbour': TRUE, **change})
