"""Gaussian processes: kernels and their derivatives, conditioning against scikit-learn, curves, features."""
import inspect

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.spatial.distance import cdist
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, RationalQuadratic

from cryoseg.base.geometry import fibonacci_sphere
from cryoseg.surface import anchored, gp
from cryoseg.surface.fit import fit_surface
from cryoseg.surface.gp import GaussianProcess, Kernel, box_diagonal, fit_curve, fit_gp, zero_curve
from cryoseg.surface.settings import KERNELS, SurfaceSettings


class Toy(Kernel):
    "A kernel of one's own: the rational quadratic with exponent 1."
    def value(self, r): return 1/(1 + .5*(r/self.scale)**2)
    def first(self, r): return -self.value(r)**2/self.scale**2
    def second(self, r): return self.first(r)*(1 - 2*(r/self.scale)**2*self.value(r))


@pytest.fixture
def toy():
    KERNELS.add('toy', Toy, 'for a test')
    yield 'toy'
    KERNELS.remove('toy')


@pytest.fixture(scope='module')
def data():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(40, 3))
    return points, np.sin(points.sum(1)), rng.normal(size=(15, 3))


ORACLES = {'squared_exponential': RBF(1.3), 'matern32': Matern(1.3, nu=1.5), 'matern52': Matern(1.3, nu=2.5), 'toy': RationalQuadratic(1.3, 1.)}
SCALED = [name for name in (*KERNELS, 'toy') if not name.startswith('thin')]


@pytest.mark.parametrize('name', [*KERNELS, 'toy'])
def test_derivatives_of_kernels(name, toy):
    r, h, k = np.linspace(.05, 5, 50), 1e-4, KERNELS[name](7.)
    assert k.value(np.zeros(1)) == pytest.approx(1)
    np.testing.assert_allclose(k.first(r)*r, (k.value(r + h) - k.value(r - h))/(2*h), atol=1e-8)
    np.testing.assert_allclose(k.second(r), (k.value(r + h) - 2*k.value(r) + k.value(r - h))/h**2, atol=1e-6)
    longer, shorter = KERNELS[name](7*np.exp(h)), KERNELS[name](7*np.exp(-h))
    np.testing.assert_allclose(k.by_log_scale(r), (longer.value(r) - shorter.value(r))/(2*h), atol=1e-7)
    np.testing.assert_allclose(k.by_log_scale(r), Kernel.by_log_scale(k, r), atol=1e-12)


@pytest.mark.parametrize('name', SCALED)
def test_a_scale_is_a_unit(name, toy):
    r = np.linspace(0, 5, 20)
    np.testing.assert_allclose(KERNELS[name](14.).value(2*r), KERNELS[name](7.).value(r), rtol=1e-12)


@pytest.mark.parametrize('name, dimension', [('thin_plate_2d', 2), ('thin_plate_3d', 3), ('matern32', 3), ('gaussian', 2)])
def test_kernels_are_positive_definite(name, dimension):
    points = np.random.default_rng(0).uniform(-1, 1, (120, dimension))
    k = KERNELS[name](box_diagonal(points)).value(cdist(points, points))
    assert np.linalg.eigvalsh(k)[0] > -1e-12
    if name == 'thin_plate_3d':     # with the sign that the paper prints it is none
        R, r = box_diagonal(points), cdist(points, points)
        assert np.linalg.eigvalsh((2*r**3 + 3*R*r**2 + R**3)/R**3)[0] < -1


def test_a_plate_must_cover_its_points(data):
    points, values, _ = data
    with pytest.raises(ValueError, match='too small'): GaussianProcess(points, values, np.full(40, .01), 'thin_plate_3d', 2.)
    ring = np.c_[np.cos(np.arange(40)), np.sin(np.arange(40))]
    tight = GaussianProcess(ring, np.ones(40), np.full(40, 1e-3), 'thin_plate_2d', box_diagonal(ring))
    for ask in (tight.mean, tight.variance, tight.gradient):
        with pytest.raises(ValueError, match='too small'): ask(np.array([[5., 5.]]))


@pytest.mark.parametrize('name', ORACLES)
def test_conditioning_is_that_of_scikit_learn(name, data, toy):
    points, values, ask = data
    ours = GaussianProcess(points, values, np.full(40, .01), name, 1.3, .7)
    oracle = GaussianProcessRegressor(ConstantKernel(.7)*ORACLES[name], alpha=.01, optimizer=None).fit(points, values)
    mean, covariance = oracle.predict(ask, return_cov=True)
    np.testing.assert_allclose(ours.mean(ask), mean, atol=1e-7)
    np.testing.assert_allclose(ours.covariance(ask), covariance, atol=1e-7)
    np.testing.assert_allclose(ours.variance(ask), np.diag(covariance), atol=1e-7)
    assert ours.log_likelihood == pytest.approx(oracle.log_marginal_likelihood_value_, abs=1e-5)


def test_a_kernel_of_ones_own_is_fitted(data, toy):
    points, values, ask = data
    ours = fit_gp(points, values, toy, start=((1., 1., .01),), bounds=((.1, 10.), (1e-3, 1e3), (1e-2, 1.)))
    oracle = GaussianProcessRegressor(ConstantKernel(ours.amplitude)*RationalQuadratic(ours.scale, 1.), alpha=ours.noise[0], optimizer=None)
    np.testing.assert_allclose(ours.mean(ask), oracle.fit(points, values).predict(ask), atol=1e-5)
    for factor in (.9, 1.1):        # and its length is the most likely one
        other = GaussianProcess(points, values, ours.noise, toy, factor*ours.scale, ours.amplitude)
        assert other.log_likelihood < ours.log_likelihood


@pytest.mark.xfail('settings.kernel' not in inspect.getsource(anchored), reason='surface/anchored does not pass settings.kernel yet')
def test_a_kernel_of_ones_own_makes_surfaces(toy):
    u = fibonacci_sphere(3000)
    shell = np.unique(np.round(30 + 15*u[np.abs(u[:, 0]) < .8]), axis=0)
    surface = fit_surface(shell, (60, 60, 60), SurfaceSettings(method='paper', kernel=toy, edge_vox=4., samples=4))
    assert surface.model.kernel == toy and surface.status == 'closed'
    assert surface.volume_vox3 == pytest.approx(4/3*np.pi*15**3, rel=.1)


def test_limits_of_conditioning(data):
    points, values, ask = data
    exact = GaussianProcess(points, values, np.full(40, 1e-10), 'matern52', 1.3, .7)
    np.testing.assert_allclose(exact.mean(points), values, atol=1e-6)                     # passes through exact values
    assert exact.variance(points).max() < 1e-6
    far = points[:1] + 1e3
    assert exact.mean(far)[0] == pytest.approx(0) and exact.variance(far)[0] == pytest.approx(.7)     # and forgets
    order = np.random.default_rng(0).permutation(40)
    mixed = GaussianProcess(points[order], values[order], np.full(40, 1e-10), 'matern52', 1.3, .7)
    np.testing.assert_allclose(mixed.mean(ask), exact.mean(ask), atol=1e-6)
    negative = GaussianProcess(points, -values, exact.noise, 'matern52', 1.3, .7)
    np.testing.assert_allclose(negative.mean(ask), -exact.mean(ask), atol=1e-9)
    with pytest.raises(ValueError, match='raise the noise'): GaussianProcess(np.zeros((3, 2)), np.arange(3.), np.full(3, -1e-3))
    with pytest.raises(ValueError, match="'cubic' is not known"): GaussianProcess(points, values, exact.noise, 'cubic')


@pytest.mark.parametrize('name, scale', [('gaussian', 1.3), ('matern32', 1.3), ('matern52', 1.3), ('thin_plate_3d', 30.)])
def test_gradient_is_that_of_the_mean(name, scale, data):
    points, values, ask = data
    process = GaussianProcess(points, values, np.full(40, .01), name, scale)
    steps = 1e-5*np.eye(3)
    numeric = np.stack([(process.mean(ask + e) - process.mean(ask - e))/2e-5 for e in steps], 1)
    np.testing.assert_allclose(process.gradient(ask), numeric, atol=1e-6)


def test_more_points_than_a_block(data):
    points, values, _ = data
    process = GaussianProcess(points, values, np.full(40, .01))
    many = np.random.default_rng(0).normal(size=(gp.BLOCK + 3, 3))
    np.testing.assert_allclose(process.mean(many)[-2:], process.mean(many[-2:]))
    np.testing.assert_allclose(process.variance(many)[-2:], process.variance(many[-2:]))
    np.testing.assert_allclose(process.gradient(many)[-2:], process.gradient(many[-2:]))


@pytest.mark.parametrize('name', ['matern52', 'squared_exponential', 'gaussian'])
def test_covariance_of_gradients(name):
    kernel, h, eye = KERNELS[name](1.5), 1e-4, np.eye(2)
    p, q = np.array([[.3, .1]]), np.array([[-.4, .6]])
    joint = gp.value_gradient_covariance(kernel, p, q)[0, 0]
    def k(a, b): return kernel.value(cdist(p + h*a, q + h*b))[0, 0]
    zero = np.zeros(2)
    np.testing.assert_allclose(joint[1:, 0], [(k(e, zero) - k(-e, zero))/(2*h) for e in eye], atol=1e-7)
    np.testing.assert_allclose(joint[0, 1:], [(k(zero, e) - k(zero, -e))/(2*h) for e in eye], atol=1e-7)
    mixed = [[sum(s*t*k(s*e, t*f) for s in (-1, 1) for t in (-1, 1))/(4*h*h) for f in eye] for e in eye]
    np.testing.assert_allclose(joint[1:, 1:], mixed, atol=1e-6)
    cloud = np.random.default_rng(2).uniform(-1, 1, (15, 2))
    whole = gp.value_gradient_covariance(kernel, cloud, cloud).transpose(0, 2, 1, 3).reshape(45, 45)
    np.testing.assert_allclose(whole, whole.T, atol=1e-12)
    assert np.linalg.eigvalsh(whole)[0] > -1e-9


@pytest.mark.parametrize('name', SCALED)
def test_likelihood_gradient(name, data, toy):
    points, values, _ = data
    theta, weight = np.log([1.3, .7, .05]), np.linspace(.5, 2, 40)
    distance = cdist(points, points)
    def value(t): return gp.log_likelihood_and_gradient(t, distance, values, weight, name).value
    numeric = [(value(theta + e) - value(theta - e))/2e-5 for e in 1e-5*np.eye(3)]
    np.testing.assert_allclose(gp.log_likelihood_and_gradient(theta, distance, values, weight, name).gradient, numeric, atol=1e-4)


def test_impossible_hyper_parameters_are_told_apart():
    found = gp.log_likelihood_and_gradient(np.array([0., 0., -40.]), np.zeros((3, 3)), np.ones(3), -1e20*np.ones(3))
    assert found.value == gp.IMPOSSIBLE and not found.gradient.any()


def test_fit_finds_length_and_noise_and_keeps_what_is_fixed():
    rng = np.random.default_rng(1)
    t = np.sort(rng.uniform(0, 40, 120))[:, None]
    k = KERNELS['squared_exponential'](2.).value(cdist(t, t)) + 1e-8*np.eye(120)
    values = np.linalg.cholesky(k) @ rng.standard_normal(120) + .3*rng.standard_normal(120)
    free = fit_gp(t, values, 'squared_exponential', start=((.5, 1., .1), (5., 1., .1)))
    assert 1.4 < free.scale < 2.8 and .05 < free.noise[0] < .14
    R = box_diagonal(t)/.7
    fixed = fit_gp(t, values, 'squared_exponential', bounds=((R, R), (1e-3, 1e3), (.04, .04)))
    assert fixed.scale == R and fixed.noise[0] == .04       # to the last bit


def test_joint_covariance_is_one_matrix(data):
    points, _, ask = data
    blocks = gp.joint_covariance(points, ask, 'matern52', 1.3, .7)
    np.testing.assert_array_equal(blocks.k12, blocks.k21.T)
    assert [b.shape for b in blocks] == [(40, 40), (40, 15), (15, 40), (15, 15)]
    values = np.arange(40.)
    process = GaussianProcess(points, values, np.full(40, .01), 'matern52', 1.3, .7)
    by_hand = blocks.k21 @ np.linalg.solve(blocks.k11 + .01*np.eye(40), values)
    np.testing.assert_allclose(process.mean(ask), by_hand, rtol=1e-6)


def test_density_and_positional_sigma():
    assert quad(lambda m: gp.zero_density(m, 4.), -np.inf, np.inf)[0] == pytest.approx(1)
    np.testing.assert_allclose(gp.positional_sigma(np.array([4., 9.]), np.array([[0., 0., 2.], [3., 0., 0.]])), [1., 1.])


RING = 50 + 20*np.c_[np.sin(np.arange(60)*2*np.pi/60), np.cos(np.arange(60)*2*np.pi/60)]
FAR = 50 + 2*(RING[::5] - 50)


@pytest.mark.parametrize('kernel', ['thin_plate_2d', 'matern52', 'gaussian'])
def test_a_ring_of_points_is_closed(kernel):
    process = fit_curve(RING, [[50., 50.]], FAR, kernel)
    points, sigma = zero_curve(process, [20, 20], [80, 80])[0]
    np.testing.assert_allclose(np.linalg.norm(points - 50, axis=1), 20, atol=.5)
    np.testing.assert_array_equal(points[0], points[-1])
    assert (sigma > 0).all() and process.mean(np.array([[50., 55.]]))[0] < 0 < process.mean(np.array([[50., 75.]]))[0]
    assert zero_curve(process, [46, 46], [54, 54]) == []


def test_offset_anchors_lie_on_either_side():
    inside, outside = gp.offset_anchors(RING, 3., 6., every=1)
    np.testing.assert_allclose(np.linalg.norm(inside - 50, axis=1), 17, atol=.1)
    np.testing.assert_allclose(np.linalg.norm(outside - 50, axis=1), 23, atol=.1)
    assert len(gp.offset_anchors(RING, 3., 6., every=3).inside) == 20
    two = np.vstack([RING, 50 + .8*(RING - 50)])            # another membrane four pixels inside: no anchor on it
    side = gp.offset_anchors(two, 4., 3., every=1)
    everything = np.vstack(side)
    assert cdist(everything, two).min() >= gp.CLEARANCE*4


@pytest.mark.parametrize('points, inside, outside, words', [
    (np.zeros((0, 2)), [[0., 0.]], FAR, 'at least one'), (RING, np.zeros((0, 2)), FAR, 'each side'), (RING, [[np.nan, 0]], FAR, 'not finite')])
def test_curves_without_two_sides_are_refused(points, inside, outside, words):
    with pytest.raises(ValueError, match=words): fit_curve(points, inside, outside)
