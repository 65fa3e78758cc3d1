"Gaussian processes of features: what they find, that they are those of a kernel, gradients, nodes, draws."
import numpy as np
import pytest

from cryoseg.surface import features, gp


def waves(angle):
    return np.column_stack([np.ones(len(angle))] + [f(k*angle[:, 0]) for k in range(1, 8) for f in (np.cos, np.sin)])


LEVEL = np.r_[0, np.repeat(np.arange(1, 8), 2)]


def falling(theta):
    decay = np.exp(theta[1])
    return 2*theta[0] - 2*decay*LEVEL, np.vstack([np.full(15, 2.), -2*decay*LEVEL])


@pytest.fixture(scope='module')
def wave():
    rng = np.random.default_rng(4)
    true = rng.standard_normal(15)*np.exp(falling(np.array([.5, -1.]))[0]/2)
    angle = rng.uniform(0, 1.5*np.pi, (2000, 1))
    values = waves(angle) @ true + .3*rng.standard_normal(2000)
    limits = [(-3, 3), (-3, 1), (-5, 5)]
    fit = features.fit_features(waves, angle, values, np.ones(2000), falling, np.array([0., -1., 0.]), limits, np.zeros(3), np.full(3, np.inf))
    return true, angle, values, fit


def test_features_find_the_function_and_its_noise(wave):
    true, _, _, fit = wave
    full = np.linspace(0, 2*np.pi, 200)[:, None]
    error, sd = fit.mean(full) - waves(full) @ true, np.sqrt(fit.variance(full))
    assert (np.abs(error) < 2.5*sd).mean() > .9 and np.sqrt(fit.noise) == pytest.approx(.3, rel=.1)
    hidden = full[:, 0] > 1.5*np.pi
    assert sd[hidden].max() > 2*sd[~hidden].max()


def test_features_are_a_kernel(wave):
    _, angle, values, _ = wave
    few, ask = angle[:200], np.linspace(0, 6, 30)[:, None]
    W, log_variance = waves(few), falling(np.array([.5, -1.]))[0]
    found = features.feature_posterior(log_variance, W.T @ W, W.T @ values[:200], 1.)
    K = W*np.exp(log_variance) @ W.T + np.eye(200)
    cross = waves(ask)*np.exp(log_variance) @ W.T
    np.testing.assert_allclose(waves(ask) @ found.mean, cross @ np.linalg.solve(K, values[:200]), atol=1e-8)
    posterior = waves(ask)*np.exp(log_variance) @ waves(ask).T - cross @ np.linalg.solve(K, cross.T)
    np.testing.assert_allclose(waves(ask) @ found.covariance @ waves(ask).T, posterior, atol=1e-8)
    assert found.log_determinant == pytest.approx(np.linalg.slogdet(K)[1])


def test_feature_cost_has_the_right_gradient(wave):
    _, angle, values, _ = wave
    W = waves(angle[:300])
    y = values[:300]
    problem = features.FeatureProblem(W.T @ W, W.T @ y, y @ y, 300, falling, np.array([0., 0., 0.]), np.array([1., 2., np.inf]))
    theta = np.array([.3, -.8, .1])
    numeric = [(problem.cost(theta + e).value - problem.cost(theta - e).value)/2e-5 for e in 1e-5*np.eye(3)]
    np.testing.assert_allclose(problem.cost(theta).gradient, numeric, rtol=1e-5, atol=1e-5)
    nodes = features.posterior_nodes(problem.cost, theta, np.array([(-9, 9)]*3))
    assert nodes.shape == (9, 3) and (nodes[:, 2] == .1).all()
    np.testing.assert_allclose(nodes.mean(0), theta, atol=1e-9)


def test_draws_have_mean_and_covariance(wave):
    _, _, _, fit = wave
    ask = np.linspace(0, 6, 5)[:, None]
    draws = fit.sample(ask, 4000, np.random.default_rng(0))
    sd = np.sqrt(fit.variance(ask))
    np.testing.assert_array_less(np.abs(draws.mean(0) - fit.mean(ask)), 5*sd/np.sqrt(4000))
    np.testing.assert_allclose(draws.std(0), sd, rtol=.1)
    singular = gp.gaussian_draws(np.ones((3, 3)), 50, np.random.default_rng(0))
    np.testing.assert_allclose(singular, singular[:, :1].repeat(3, 1), atol=1e-7)      # values that are one value
