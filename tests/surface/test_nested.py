"Double membranes: the two priors, held-out prediction, the joint fit, and when it does not happen."
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import cryoseg.surface.nested
from cryoseg.base.geometry import Ellipsoid, fibonacci_sphere, harmonic_degrees, icosphere
from cryoseg.result.records import Surface
from cryoseg.surface.nested import (
    apart_prior, candidates, fit_nested, fit_pair, held_out, own_points, pair_features, parallel_ellipsoid, refit_nested,
    together_prior,
    why_not_nested,
)
from cryoseg.surface.settings import SurfaceSettings

SETTINGS = SurfaceSettings(label_sigma_vox=0., flat_sigma_vox=0., systematic_sigma_vox=0., degree=4, samples=4, edge_vox=4.)
SHAPE = (110, 110, 110)


def shell(radius, lost=0, seed=0, n=4000):
    "Voxels of a bumpy sphere without its poles, and without the side of +x or -x."
    u = fibonacci_sphere(n)
    u = u[(np.abs(u[:, 0]) < .6) & (lost*u[:, 2] < .8)]
    swell = 2*u[:, 1:2]**3
    return 55 + (radius + swell)*u + .3*np.random.default_rng(seed).standard_normal(u.shape)


def sphere(id, radius, centre=55., method='star', status='closed'):
    u, faces = icosphere(2)
    return Surface(id, centre + radius*u, faces, np.zeros(len(u)), status, method=method)


@pytest.fixture(scope='module')
def seen():
    return shell(36, 1, 1), shell(28, -1, 2)


@pytest.fixture(scope='module')
def pair(seen):
    return fit_pair(*seen, SETTINGS)


@pytest.mark.parametrize('make, theta', [(together_prior, [.3, -.5, -1.]), (apart_prior, [.3, -.5])])
def test_gradients_of_the_priors_are_their_derivatives(make, theta):
    prior, theta = make(4, 9.), np.array(theta)
    numeric = [(prior(theta + 1e-5*e)[0] - prior(theta - 1e-5*e)[0])/2e-5 for e in np.eye(len(theta))]
    np.testing.assert_allclose(prior(theta)[1], numeric, atol=1e-6)


def test_apart_means_independent_with_the_variance_of_one():
    variance = np.exp(apart_prior(3, 9.)([.2, -.4])[0])
    p = len(harmonic_degrees(3))
    middle, distance = variance[:p], variance[p:]
    np.testing.assert_allclose(middle - distance/4, 0, atol=1e-9)                    # covariance of outer and inner
    assert middle[0] + distance[0]/4 == pytest.approx(81)


def test_features_are_the_middle_and_half_the_distance():
    u = fibonacci_sphere(5)
    outer, inner = (pair_features(2)(np.c_[u, np.full(5, side)]) for side in (.5, -.5))
    np.testing.assert_array_equal(outer[:, :9], inner[:, :9])
    np.testing.assert_array_equal(outer[:, 9:], -inner[:, 9:])
    np.testing.assert_allclose(outer[:, 9:]*2, outer[:, :9])


def test_held_out_is_a_fit_without_the_patch():
    rng = np.random.default_rng(0)
    f, y, variance, log_variance = rng.standard_normal((40, 3)), rng.standard_normal(40), rng.uniform(.5, 2, 40), np.array([0., 1., -1.])
    patch = np.arange(40) % 4
    off = held_out(f, y, variance, log_variance, patch)
    for k in range(4):
        rest = patch != k
        weighted = f[rest].T/variance[rest]
        direct = np.linalg.solve(weighted @ f[rest] + np.diag(np.exp(-log_variance)), weighted @ y[rest])
        np.testing.assert_allclose(off[~rest], y[~rest] - f[~rest] @ direct)


def test_the_pair_knows_its_distance_and_fills_what_one_lost(pair):
    assert pair.distance_vox == pytest.approx(8, abs=5*pair.distance_sd_vox + .1) and 0 < pair.distance_sd_vox < .5
    u = fibonacci_sphere(3000)
    u = u[(np.abs(u[:, 0]) < .5)]
    for star, radius in ((pair.outer, 36), (pair.inner, 28)):
        assert np.abs(star.distance(55 + (radius + 2*u[:, 1:2]**3)*u)).max() < 1.


def test_what_is_not_nested_is_said():
    ellipsoid = Ellipsoid(np.full(3, 55.), np.eye(3)/36)
    outer, inner = shell(36), shell(28)
    assert why_not_nested(outer, inner, ellipsoid) is None
    assert why_not_nested(inner, outer, ellipsoid) == 'it does not lie inside'
    assert 'varies' in why_not_nested(outer, (inner - 55)*.5 + 55 + [0, 12, 0], ellipsoid)
    west, east = outer[outer[:, 2] < 50], inner[inner[:, 2] > 60]
    assert 'directions see both' in why_not_nested(west, east, ellipsoid)


def test_a_trial_gives_a_pair_or_a_reason(seen):
    rng = np.random.default_rng(0)
    flat = np.column_stack([np.zeros(200), rng.uniform(0, 50, (200, 2))])
    assert fit_nested(flat, flat).pair is None and 'plane' in fit_nested(flat, flat).reason
    never = fit_nested(*seen, SETTINGS, max_ratio=0.)
    assert never.pair is None and 'together' in never.reason
    assert fit_nested(*seen, SETTINGS, max_ratio=9.).pair is not None


def test_candidates_lie_in_each_other_and_are_closed_stars():
    surfaces = [sphere(1, 36), sphere(2, 20), sphere(3, 30), sphere(4, 10, 200.), sphere(5, 25, method='paper'), sphere(6, 25, status='open')]
    assert candidates(surfaces) == [(0, 2), (2, 1), (0, 1)]
    assert candidates([sphere(1, 20), sphere(2, 20)]) == [] and candidates([]) == []


def test_own_points_lie_near():
    points = np.vstack([55 + 12*fibonacci_sphere(500), 55 + 20*fibonacci_sphere(50), [[55., 55, 55]]])
    np.testing.assert_array_equal(own_points(sphere(1, 10), points), points[:500])


def test_double_membranes_are_refitted_and_others_left(seen, monkeypatch):
    surfaces = [sphere(7, 36), sphere(9, 28), sphere(8, 10)]
    points = {7: seen[0], 9: seen[1], 8: shell(10)}
    monkeypatch.setattr(cryoseg.surface.nested, 'fit_nested', partial(fit_nested, max_ratio=9.))
    after = refit_nested(surfaces, points, SHAPE, SETTINGS)
    assert [s.method for s in after] == ['nested', 'nested', 'star'] and after[2] is surfaces[2]
    assert [s.id for s in after] == [7, 9, 8] and 'fitted with membrane 9' in after[0].reason and 'fitted with membrane 7' in after[1].reason
    assert refit_nested(surfaces, points, SHAPE, replace(SETTINGS, method='paper')) is surfaces


def test_a_failure_leaves_both_as_they_were(seen, monkeypatch):
    def fails(*arguments, **keywords):
        raise np.linalg.LinAlgError('singular')

    monkeypatch.setattr(cryoseg.surface.nested, '_refit_pair', fails)
    surfaces = [sphere(7, 36), sphere(9, 28)]
    assert refit_nested(surfaces, {7: seen[0], 9: seen[1]}, SHAPE, SETTINGS) == surfaces


def test_the_poles_of_a_flat_double_body_are_not_far_off():
    "Measured from one ellipsoid for both, they lay two to three standard deviations too high."
    axes, u = np.array([28., 42., 34.]), fibonacci_sphere(6000)
    clouds, bodies = [], [Ellipsoid(np.full(3, 55.), np.diag(1/(axes - gap))) for gap in (0., 13.)]
    for seed, body in enumerate(bodies):
        points = body.at(u)
        seen = np.abs(body.normals(points)[:, 0]) < .6
        clouds.append(points[seen] + .3*np.random.default_rng(seed).standard_normal((seen.sum(), 3)))
    pair = fit_pair(*clouds, SETTINGS)
    poles = np.array([[1., 0., 0.], [-1., 0., 0.]])
    for star, body in zip((pair.outer, pair.inner), bodies):
        mean, sd = star.displacement(poles)
        off = body.signed_distance(star.ellipsoid.at(poles, mean))
        assert (np.abs(off) < 1.5*sd).all(), (off, sd)


def test_a_parallel_ellipsoid_lies_at_its_distance():
    rng = np.random.default_rng(3)
    large = Ellipsoid(np.zeros(3), np.tril(rng.normal(0, .004, (3, 3)), -1) + np.diag([.04, .03, .025]))
    small = parallel_ellipsoid(large, 7.)
    np.testing.assert_allclose(large.axes - small.axes, 7.)
    with pytest.raises(ValueError, match='would lie 26.0 voxels inside'): parallel_ellipsoid(large, 26.)
