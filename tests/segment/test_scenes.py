"Scenes: curves are what they say, labels are whole, what is drawn stays apart, and a seed is all that decides."
from dataclasses import fields, replace
from functools import partial

import numpy as np
import pytest
from scipy import ndimage

from cryoseg.phantom.imaging import contrast_transfer, rfft_frequencies
from cryoseg.segment.settings import ROUGH_SCENES, SceneSettings
from cryoseg.segment.noise import IGNORE
from cryoseg.segment.scenes import LAYERS, PEN_SCALE, Pen, Stroke, add_densities, closed_curve, distort_intensities, draw_curve
from cryoseg.segment.scenes import draw_dirt, draw_membrane, draw_proteins, draw_scene, faint_stretches, fading, in_parallel
from cryoseg.segment.scenes import membrane_contrast, offset_curve, open_curve, render_scene

SMALL = SceneSettings(size=96)
NOTHING = replace(SMALL, **{f.name: 0. for f in fields(SceneSettings) if isinstance(f.default, float)})


def circle(radius, n=400):
    "A circle round 0."
    t = np.linspace(0, 2*np.pi, n, endpoint=False)
    return radius*np.stack([np.cos(t), np.sin(t)], 1)


def area(points):
    "Area inside a polygon, signed."
    x, y = points.T
    return (x*np.roll(y, -1) - y*np.roll(x, -1)).sum()/2


@pytest.fixture(scope='module')
def scene():
    return draw_scene(SMALL, 8)


# curves

@pytest.mark.parametrize('seed', range(4))
def test_a_calm_closed_curve_is_an_ellipse(seed):
    curve = closed_curve(np.random.default_rng(seed), 30., 0.)
    assert abs(area(curve)) == pytest.approx(np.pi*900, rel=.01)                       # stretching keeps the area
    spread = np.linalg.eigvalsh(np.cov(curve.T))
    assert 1 <= spread[1]/spread[0] <= 2.4**2 + .1 and np.abs(curve.mean(0)).max() < 1e-6


def test_wobble_and_dents():
    calm, wild = (closed_curve(np.random.default_rng(1), 30., w) for w in (0., .3))
    assert np.ptp(np.linalg.norm(wild, axis=1)) > np.ptp(np.linalg.norm(calm, axis=1))
    dented = closed_curve(np.random.default_rng(1), 30., 0., dented=1.)
    assert np.linalg.norm(dented, axis=1).min() < .75*np.linalg.norm(calm, axis=1).min()


def test_an_open_curve_takes_even_steps_and_bends_slowly():
    curve = open_curve(np.random.default_rng(0), 100)
    steps = np.diff(curve, axis=0)
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), 2)
    turn = np.diff(np.unwrap(np.arctan2(steps[:, 1], steps[:, 0])))
    assert np.abs(np.diff(turn)).max() < .1 and 60 <= len(curve) < 260


def test_offset_of_a_circle_is_a_circle():
    for d in (-4, 4): np.testing.assert_allclose(np.linalg.norm(offset_curve(circle(20), d), axis=1), 20 - d, atol=1e-2)
    np.testing.assert_allclose(offset_curve(circle(20), 0), circle(20))


def test_fading_and_faint_stretches():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        value = fading(rng, 200, .3)
        assert value.shape == (200,) and .3 <= value.min() <= value.max() <= 1 and np.abs(np.diff(value)).max() < .1
        faint = faint_stretches(rng, 200)
        assert 0 <= faint.min() < .7 and faint.max() == 1 and (faint < 1).mean() <= 3*.22 + .01
    assert (fading(np.random.default_rng(0), 50, 1.) == 1).all()


def test_a_drawn_circle_has_its_length_and_width():
    canvas, varying = np.zeros((200, 200), np.float32), np.zeros((200, 200), np.float32)
    draw_curve(canvas, circle(30) + 50, 1., 4.)
    draw_curve(varying, circle(30) + 50, np.ones(400), np.full(400, 4.))
    assert canvas.sum()/PEN_SCALE**2 == pytest.approx(2*np.pi*30*4, rel=.15)
    assert (canvas != varying).mean() < .01
    y, x = np.nonzero(canvas)
    assert np.abs(np.hypot(x/PEN_SCALE - 50, y/PEN_SCALE - 50) - 30).max() < 3


def test_an_open_line_does_not_close():
    half, whole = np.zeros((200, 200), np.uint8), np.zeros((200, 200), np.uint8)
    path = circle(30)[:200] + 50
    draw_curve(half, path, 1, 2., closed=False)
    draw_curve(whole, path, 1, 2.)
    assert not half[100, 90:110].any() and whole[100, 90:110].any()
    varying = np.zeros((200, 200), np.float32)
    draw_curve(varying, path, np.ones(200), np.full(200, 2.), closed=False)
    assert not varying[100, 90:110].any() and varying.any()


# the pen

def test_pen_knows_what_is_free_and_inside():
    pen = Pen(100)
    assert pen.side == 200 and set(pen.layers) == set(LAYERS) and (pen.layers['grain'] == 1).all()
    assert pen.inside(circle(30) + 50).sum()/PEN_SCALE**2 == pytest.approx(np.pi*900, rel=.03)
    draw_curve(pen.occupied, circle(30) + 50, 1, 3.)
    assert not pen.free([circle(31) + 50], 3., True) and pen.free([circle(20) + 50], 3., True)


def test_labels_of_a_membrane_are_whole_where_it_fades():
    pen, path = Pen(100), circle(30) + 50
    draw_membrane(pen, [path], np.random.default_rng(0), Stroke(4., .1, False, True, gaps=1.))
    ring = np.zeros_like(pen.labels)
    draw_curve(ring, path, 1, 1.)
    assert pen.labels[ring > 0].all()
    layer = pen.layers['membrane'][ring > 0]
    assert layer.min() < .3*layer.max()


def test_leaflets_leave_a_light_core():
    plain, two = Pen(100), Pen(100)
    path = circle(30) + 50
    for pen, leaflets in ((plain, False), (two, True)):
        draw_membrane(pen, [path], np.random.default_rng(0), Stroke(5., 1., leaflets, True))
    y, x = (path*PEN_SCALE).round().astype(int).T[::-1]
    assert two.layers['membrane'][y, x].mean() < .5*plain.layers['membrane'][y, x].mean()


@pytest.mark.parametrize('turn', [1, -1])
def test_proteins_stand_outside(turn):
    pen = Pen(100)
    draw_proteins(pen, (circle(25) + 50)[::turn], np.random.default_rng(2), 4.)
    y, x = np.nonzero(pen.layers['protein'])
    assert len(y) and (np.hypot(x/PEN_SCALE - 50, y/PEN_SCALE - 50) > 26).all()


# scenes

def test_a_seed_is_all_that_decides(scene):
    again, other = draw_scene(SMALL, 8), draw_scene(SMALL, 9)
    np.testing.assert_array_equal(again.layers, scene.layers)
    np.testing.assert_array_equal(again.labels, scene.labels)
    assert (other.labels != scene.labels).any()
    assert scene.layers.shape == (7, 96, 96) and scene.layers.dtype == np.float16 and scene.labels.dtype == np.uint8


def test_what_is_switched_off_is_not_drawn():
    for seed in range(4):
        layers, labels = draw_scene(NOTHING, seed)
        for name in ('protein', 'filament', 'gold'): assert not layers[LAYERS.index(name)].any(), name
        assert set(np.unique(labels)) <= {0, 1}
    gold = draw_scene(replace(NOTHING, gold=1.), 0)
    assert gold.layers[LAYERS.index('gold')].any() and not gold.labels[gold.layers[LAYERS.index('gold')] == 1].any()


def test_distractors_keep_off_membranes():
    for seed in range(4):
        layers, labels = draw_scene(replace(SMALL, filaments=1., leaflets=0.), seed)
        core = ndimage.binary_erosion(labels == 1, iterations=2)
        for name in ('filament', 'blob'): assert not layers[LAYERS.index(name)][core].any(), name
    assert layers[LAYERS.index('filament')].any()


def test_dirt_is_ignored_or_dark():
    caps = [draw_scene(replace(NOTHING, caps=1.), seed) for seed in range(4)]
    assert any((s.labels == IGNORE).any() for s in caps)
    plain = draw_scene(NOTHING, 0)
    carbon = draw_scene(replace(NOTHING, carbon=1.), 0)
    fill = LAYERS.index('fill')
    assert carbon.layers[fill].astype(float).sum() < plain.layers[fill].astype(float).sum()
    assert not (plain.labels == IGNORE).any()
    pen = Pen(64)
    draw_dirt(pen, np.random.default_rng(0), replace(NOTHING, size=64, ice=1.))
    assert pen.layers['blob'].any() and not pen.ignored.any()


# rendering

def test_membranes_are_dark_in_what_is_rendered(scene):
    for seed in range(5):
        image = render_scene(scene.layers, np.random.default_rng(seed), cnr=(4., 5.))
        assert image.dtype == np.float32 and 0 <= image.min() <= image.max() <= 1
        assert image[scene.layers[0] > .4].mean() < image[scene.labels == 0].mean()
    np.testing.assert_array_equal(render_scene(scene.layers, np.random.default_rng(4), cnr=(4., 5.)), image)


def test_more_noise_less_contrast(scene):
    def contrast(cnr):
        images = [render_scene(scene.layers, np.random.default_rng(seed), cnr=(cnr, cnr)) for seed in range(6)]
        return np.mean([(i[scene.labels == 0].mean() - i[scene.layers[0] > .4].mean())/i[scene.labels == 0].std() for i in images])
    assert contrast(.3) < .6*contrast(5.)


def test_streaks_run_along_an_axis():
    "They make neighbours along x or along y alike."
    empty = np.zeros((7, 96, 96), np.float16)
    def alike(image): return max(np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in ((image[:, 8:], image[:, :-8]), (image[8:], image[:-8])))
    plain, streaked = ([alike(render_scene(empty, np.random.default_rng(s), streaks=p)) for s in range(12)] for p in (0., 1.))
    assert np.mean(streaked) > np.mean(plain) + .02


def test_the_fringe_of_the_microscope_is_that_of_the_phantom(scene):
    "With ctf = 1 the spectrum is cut by the contrast transfer function of phantom.imaging: zeros where it has zeros."
    layers = np.zeros((7, 128, 128), np.float32)
    layers[0, 64, 64] = 1
    image = add_densities(layers, np.random.default_rng(5), ctf=1.)
    assert image.dtype == np.float32 and abs(image.mean()) < .07 and (image > 0).any() and (image < 0).any()
    k = rfft_frequencies((64, 64), 10.)
    transfer = contrast_transfer(k, 3., envelope_A2=300.)
    assert transfer[0, 0] == pytest.approx(.07) and np.abs(transfer).max() <= 1
    np.testing.assert_allclose(transfer, contrast_transfer(k, 3.)*np.exp(-300*k**2/4))
    with_ctf, without = (add_densities(scene.layers.astype(np.float32), np.random.default_rng(0), ctf=c) for c in (1., 0.))
    assert abs(with_ctf.mean()) < abs(without.mean())*.5 or np.abs(with_ctf - without).max() > .05


def test_membrane_contrast():
    membrane = np.zeros((32, 32), np.float32)
    assert membrane_contrast(membrane, membrane) == 1
    membrane[:, 10:14] = 1
    assert membrane_contrast(-2*membrane, membrane) == pytest.approx(.55*2)                  # no spread: the step alone
    assert membrane_contrast(-6*membrane, membrane) == pytest.approx(3*membrane_contrast(-2*membrane, membrane))


def test_distortion_keeps_the_order_where_nothing_is_uneven():
    image = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    for seed in range(6):
        out = distort_intensities(image, np.random.default_rng(seed))
        assert 0 <= out.min() and out.max() <= 1 and np.corrcoef(out.ravel(), image.ravel())[0, 1] > .3
        np.testing.assert_allclose(distort_intensities(9*image + 4, np.random.default_rng(seed)), out, atol=2e-3)


def test_order_does_not_depend_on_workers():
    draw = partial(draw_scene, replace(NOTHING, size=48))
    one, two = in_parallel(draw, [3, 1, 2]), in_parallel(draw, [3, 1, 2], workers=2)
    for a, b in zip(one, two): np.testing.assert_array_equal(a.labels, b.labels)
    assert ROUGH_SCENES.caps > 0 and in_parallel(abs, []) == []
