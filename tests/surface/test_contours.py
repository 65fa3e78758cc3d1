"""Contours: the middle of a band, a process round an ellipse, closed or not, and the voxels near them."""
import numpy as np
import pytest

from cryoseg.result.records import Contour
from cryoseg.surface import contours as C
from cryoseg.surface.contours import fit_contours, fit_section, voxels_near_contours
from cryoseg.surface.ellipse import fit_ellipse
from cryoseg.surface.settings import ContourSettings

GP, ELLIPSE = ContourSettings(method='gp', samples=50), ContourSettings(method='ellipse', samples=50)


def band(part=1., radius=25., centre=(50., 50.), bumps=0., thick=1.5, size=100):
    "Pixels (n,2) of a ring of which a part is seen."
    y, x = np.mgrid[:size, :size] - np.array(centre)[:, None, None]
    angle = np.arctan2(y, x) % (2*np.pi)
    wall = np.abs(np.hypot(y, x) - radius*(1 + bumps*np.cos(3*angle))) < thick
    return np.argwhere(wall & (angle < 2*np.pi*part))


@pytest.fixture(scope='module')
def ring():
    return fit_section(band(), (100, 100), GP)


def test_polygons_measured():
    square = np.array([[0, 0], [0, 2], [2, 2], [2, 0]], float)
    np.testing.assert_allclose(C.polygon_area(np.stack([square, 3*square, square[::-1]])), [4, 36, 4])
    assert C.polygon_length(square) == 8 and C.polygon_length(square, False) == 6
    t = np.arange(1000)*2*np.pi/1000
    circle = 7*np.c_[np.sin(t), np.cos(t)]
    assert C.polygon_area(circle) == pytest.approx(49*np.pi, rel=1e-4) and C.polygon_length(circle) == pytest.approx(14*np.pi, rel=1e-4)


def test_resample_makes_equal_steps():
    t = np.linspace(0, 1, 400)**2*2*np.pi                   # dense at one end
    circle = 30*np.c_[np.sin(t), np.cos(t)]
    closed = C.resample(circle)
    steps = np.linalg.norm(np.roll(closed, -1, 0) - closed, axis=1)
    assert steps.std() < .05*steps.mean() and steps.mean() == pytest.approx(3, rel=.1)
    line = C.resample(np.array([[0., 0.], [0., 150.]]))
    np.testing.assert_allclose(line[[0, -1]], [[0, 0], [0, 150]])                      # ends stay where no loop closes
    assert len(C.resample(.1*circle)) == C.VERTICES[0] and len(C.resample(100*circle)) == C.VERTICES[1]


def test_cut_open_leaves_what_was_seen():
    assert C.cut_open(np.array([0, 1, 1, 0, 1, 0], bool), True).tolist() == [3, 4, 5, 0]
    assert C.cut_open(np.array([1, 0, 1, 0, 1], bool), False).tolist() == [1, 2, 3]
    assert len(C.cut_open(np.ones(4, bool), True)) == 0 and len(C.cut_open(np.zeros(4, bool), True)) == 4
    for seed in range(20):
        lost = np.random.default_rng(seed).random(15) < .6
        kept = C.cut_open(lost, True)
        if len(kept): assert not lost[kept[0]] and not lost[kept[-1]] and set(np.flatnonzero(~lost)) <= set(kept.tolist())


@pytest.mark.parametrize('thick', [1.5, 4.5])
def test_middle_line_of_a_band(thick):
    points, thickness = C.middle_line(band(thick=thick))
    np.testing.assert_allclose(np.linalg.norm(points - 50, axis=1), 25, atol=1.)
    assert thickness == pytest.approx(2*thick, abs=1.5)


def test_data_of_a_process_have_two_sides():
    middle = C.middle_line(band(.6))
    data = C.curve_data(middle.points, middle.thickness_px, GP)
    assert set(np.sign(data.values)) == {-1, 0, 1} and np.abs(data.values).max() == data.level
    e = fit_ellipse(band(.6))
    left = C.beyond_ellipse(data, e)
    on = data.values == 0
    np.testing.assert_allclose(left[on], -e.ellipse.signed_distance(data.points[on]))
    assert np.abs(left[~on]).max() < 2                      # whichever side the anchors call outside, the ellipse says it
    flipped = C.beyond_ellipse(data._replace(values=-data.values), e)
    np.testing.assert_allclose(flipped, left)


@pytest.mark.parametrize('with_ellipse', [True, False])
def test_process_is_zero_on_the_membrane_and_knows_its_gaps(with_ellipse):
    pixels = band(.7, bumps=.06)
    middle = C.middle_line(pixels)
    process = C.fit_process(middle.points, fit_ellipse(pixels) if with_ellipse else None, middle.thickness_px, GP)
    assert np.abs(process.mean(middle.points)).mean() < .5
    inside, outside = process.mean(np.array([[50., 65.], [50., 85.]]))
    assert inside*outside < 0
    seen, gap = np.array([[75., 50.]]), np.array([[35., 65.]])
    assert process.variance(gap)[0] > 4*process.variance(seen)[0]
    query = middle.points[:6] + .7
    covariance = process.covariance(query)
    np.testing.assert_allclose(np.diag(covariance), process.variance(query), atol=1e-8)
    assert np.linalg.eigvalsh(covariance)[0] > -1e-8
    steepness = np.linalg.norm(process.gradient(middle.points), axis=1)
    assert np.median(steepness) == pytest.approx(1, abs=.2)         # a signed distance


def test_process_with_an_ellipse_is_bayesian_regression():
    "The formulas for the shift and its covariance, against one big Gaussian process that has the ellipse's kernel in it."
    pixels = band(.7, bumps=.06)
    middle, e = C.middle_line(pixels), fit_ellipse(pixels)
    found = C.fit_process(middle.points, e, middle.thickness_px, GP)
    p = found.process
    query = middle.points[::9] + 1.3
    H, h = found.jacobian(p.points), found.jacobian(query)
    prior = GP.variance_inflation*e.covariance
    def k(a, b): return p._covariance(a, b)
    K = k(p.points, p.points) + np.diag(p.noise + 1e-10*p.amplitude) + H @ prior @ H.T
    cross = k(query, p.points) + h @ prior @ H.T
    left = p.values + H @ found.shift
    mean = e.ellipse.signed_distance(query) + cross @ np.linalg.solve(K, left)
    np.testing.assert_allclose(found.mean(query), mean, atol=1e-6)
    covariance = k(query, query) + h @ prior @ h.T - cross @ np.linalg.solve(K, cross.T)
    np.testing.assert_allclose(found.covariance(query), covariance, atol=1e-6)


def test_a_whole_ring_is_closed(ring):
    assert ring.status == 'closed' and ring.method == 'gp' and not ring.reason and ring.seen > .95
    np.testing.assert_allclose(np.linalg.norm(ring.points - 50, axis=1), 25, atol=.6)
    assert ring.area_px2 == pytest.approx(625*np.pi, rel=.03) and ring.perimeter_px == pytest.approx(50*np.pi, rel=.03)
    assert abs(ring.area_px2 - 625*np.pi) < 3*ring.area_sd_px2 + 50*np.pi*.3
    assert (ring.sigma >= GP.label_px).all() and ring.perimeter_sd_px > 0


def test_a_contour_moves_with_its_pixels_and_repeats(ring):
    again = fit_section(band(), (100, 100), GP)
    np.testing.assert_array_equal(again.points, ring.points)
    assert again.area_sd_px2 == ring.area_sd_px2
    moved = fit_section(band() + [9, 18], (200, 200), GP)
    np.testing.assert_allclose(moved.area_px2, ring.area_px2, rtol=.01)
    other = fit_section(band(), (100, 100), GP, seed=5)
    assert other.area_sd_px2 != ring.area_sd_px2 and other.area_px2 == pytest.approx(ring.area_px2, rel=1e-3)


def test_both_methods_agree_on_a_ring(ring):
    e = fit_section(band(), (100, 100), ELLIPSE)
    assert e.method == 'ellipse' and e.status == 'closed' and e.area_px2 == pytest.approx(ring.area_px2, rel=.01)
    auto = fit_section(band(), (100, 100), ContourSettings(samples=50))
    assert auto.method == 'gp' and auto.area_px2 == ring.area_px2


def test_status_of_what_is_seen_in_part():
    assert fit_section(band(.85), (100, 100), GP).status == 'closed'
    third = fit_section(band(.3), (100, 100), GP)
    assert third.status == 'open' and third.reason
    assert np.isnan(third.area_px2) and third.perimeter_px < 50*np.pi*.5
    ends = ~third.extrapolated[[0, -1]]
    assert ends.all()                                       # it begins and ends where pixels are
    cut = band()
    cut = fit_section(cut[cut[:, 1] >= 35] - [0, 35], (100, 65), GP)
    assert cut.status == 'truncated' and 'outside the image' in cut.reason and cut.closed


@pytest.mark.parametrize('pixels, words', [
    (band()[:3], 'too few'), (np.vstack([band(), [[np.nan, 0]]]), 'no numbers'), (np.tile([[5, 5]], (40, 1)), '1 pixels are too few'),
    (np.argwhere(np.hypot(*np.mgrid[-20:21, -20:21]) < 15), 'clump')])
def test_what_is_no_section_is_refused(pixels, words):
    for settings in (GP, ELLIPSE):
        c = fit_section(pixels, (100, 100), settings, id=7, z=3)
        assert c.status == 'refused' and words in c.reason and (c.id, c.z) == (7, 3) and not len(c.points)


def test_a_line_is_not_closed():
    line = np.column_stack([30 + np.round(3*np.sin(np.arange(80)/20)), np.arange(80)])
    c = fit_section(line, (100, 100), GP)
    assert not c.closed and c.reason and np.isnan(c.area_px2)
    e = fit_section(line, (100, 100), ELLIPSE)
    assert not e.closed and e.reason and np.isnan(e.area_px2)
    given = fit_section(band(), (100, 100), ELLIPSE, no_ellipse='a good reason')
    assert given.status == 'refused' and given.reason == 'a good reason'


def test_settings_decide_what_is_closed(ring):
    drawn = C.DrawnCurve(ring.points, ring.sigma, np.stack([ring.points, 1.01*ring.points]), True)
    assert C.judge_contour(ring, drawn, (100, 100), GP).status == 'closed'
    strict = ContourSettings(method='gp', max_sigma=1e-4)
    assert C.judge_contour(ring, drawn, (100, 100), strict).status == 'open'
    assert C.why_open(ring, False, GP) == 'its ends do not meet' and C.why_open(ring, True, GP) == ''


@pytest.fixture(scope='module')
def volume():
    v = np.zeros((4, 100, 100), np.uint16)
    for z in range(4):
        v[z][tuple(band(.8, 20. + z/2, (35., 35.)).T)] = 2
        v[z][tuple(band(1., 14., (70., 70.)).T)] = 5
    return v


def test_all_sections_of_a_volume(volume):
    calls = []
    found = fit_contours(volume, GP, progress=lambda *n: calls.append(n))
    assert [(c.id, c.z) for c in found] == [(id, z) for id in (2, 5) for z in range(4)] and calls == [(k, 8) for k in range(1, 9)]
    assert all(c.status == 'closed' for c in found)
    for c in found: assert c.area_px2 == pytest.approx(np.pi*((20 + c.z/2)**2 if c.id == 2 else 14**2), rel=.06)
    assert fit_contours(volume) == [] and fit_contours(np.zeros((1, 9, 9), int)) == []


def test_an_image_is_a_volume_of_one_slice(volume):
    image = volume[:1]
    found = fit_contours(image, ContourSettings(samples=50))
    assert [(c.id, c.z, c.status) for c in found] == [(2, 0, 'closed'), (5, 0, 'closed')]
    alone = fit_section(np.argwhere(image[0] == 5), (100, 100), GP, 5)
    np.testing.assert_array_equal(found[1].points, alone.points)
    assert fit_contours(image, ContourSettings(method='none')) == []


def test_voxels_near_contours():
    toy = np.zeros((2, 40, 40), np.uint16)
    toy[0, 20, 5:35] = 3
    toy[0, 35, 5] = 3                                       # a stray
    toy[1, 5, 5] = 3                                        # a slice without a contour
    straight = Contour(3, 0, 'open', '', 'gp', np.column_stack([np.full(31, 20.), np.arange(5, 36.)]), np.full(31, .5), np.zeros(31, bool))
    free = np.zeros(toy.shape, bool)
    free[0, 22, 10:12] = True                               # near: claimed
    free[0, 30, 10] = True                                  # far: not
    before = toy.copy()
    chosen = voxels_near_contours(toy, [straight], free)
    assert (chosen[0] == 3).sum() == 32 and not chosen[0, 35, 5] and chosen[0, 22, 10] == 3 and not chosen[0, 30, 10]
    assert chosen[1, 5, 5] == 3 and (toy == before).all()
    np.testing.assert_array_equal(voxels_near_contours(toy, []), toy)
    closer = Contour(4, 0, 'open', '', 'gp', straight.points + [2.5, 0], straight.sigma, straight.extrapolated)
    toy[0, 24, 5:35] = 4
    for order in ([straight, closer], [closer, straight]):  # the nearer contour claims, whichever comes first
        assert (voxels_near_contours(toy, order, free)[0, 22, 10:12] == 4).all()


def over_whole_slices(membranes, curves, labelled, settings):
    "The selection by the textbook: every curve looks at its whole slice."
    from scipy.spatial import cKDTree
    selected, nearest = membranes.copy(), {}
    for curve in curves:
        ids = membranes[curve.z]
        free, own = (ids == 0) & labelled[curve.z], ids == curve.id
        best = nearest.setdefault(curve.z, np.full(ids.shape, np.inf))
        for pixel in np.argwhere(own | free):
            away, k = cKDTree(curve.points).query(pixel)
            near, pixel = away <= settings.reach_px + min(2*curve.sigma[k], settings.reach_px), tuple(pixel)
            if own[pixel] and not near: selected[curve.z][pixel] = 0
            if free[pixel] and near and away < best[pixel]: selected[curve.z][pixel], best[pixel] = curve.id, away
    return selected


def test_boxes_change_nothing():
    rng = np.random.default_rng(0)
    membranes, labelled = rng.integers(0, 5, (2, 24, 30)).astype(np.uint16)*(rng.random((2, 24, 30)) < .3), rng.random((2, 24, 30)) < .7
    curves = []
    for id, z, y in ((1, 0, 3.), (2, 1, 20.), (3, 0, 8.5), (9, 0, -3.), (4, 1, 18.)):
        points = np.column_stack([np.full(12, y), np.linspace(-5, 22, 12)])
        curves.append(Contour(id, z, 'open', '', 'gp', points, rng.uniform(0, 4, 12), np.zeros(12, bool)))
    settings = ContourSettings(reach_px=2.)
    np.testing.assert_array_equal(voxels_near_contours(membranes, curves, labelled, settings), over_whole_slices(membranes, curves, labelled, settings))
