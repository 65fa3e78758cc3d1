"Scenes of the third round: each kind of thing where it belongs, and a seed gives a scene."
from dataclasses import replace

import numpy as np
import pytest

from cryoseg.segment.hard import dim_some, draw_hard_scene, perhaps_recolour, recolour
from cryoseg.segment.scenes import LAYERS, Pen
from cryoseg.segment.settings import HardSettings, SceneSettings

EMPTY = SceneSettings(size=128, proteins=0., filaments=0., gold=0., giant=0., open_membranes=0.)
NONE = HardSettings(scene=EMPTY, organelles=0., lined=0., rings=0., faint=0., microtubules=0., rods=0.)


def layer(scene, name): return scene.layers[LAYERS.index(name)].astype(float)


def test_a_seed_gives_a_scene():
    one, same, other = (draw_hard_scene(HardSettings(), seed) for seed in (3, 3, 4))
    assert (one.layers == same.layers).all() and (one.labels == same.labels).all() and (one.labels != other.labels).any()
    assert one.layers.shape == (len(LAYERS), 256, 256) and set(np.unique(one.labels)) <= {0, 1, 2, 255}


@pytest.mark.parametrize('name', ['microtubules', 'rods'])
def test_long_things_are_background(name):
    for seed in range(3):
        scene = draw_hard_scene(replace(NONE, **{name: 1.}), seed)
        on = layer(scene, 'filament') > .2
        assert on.sum() > 100 and (scene.labels[on & (layer(scene, 'membrane') < .01)] == 1).mean() < .1


def test_a_lining_is_protein_and_the_bilayer_membrane():
    scene = draw_hard_scene(replace(NONE, lined=1.), 2)
    on = layer(scene, 'protein') > .55
    assert on.sum() > 50 and (scene.labels[on] == 2).mean() > .9 and (scene.labels == 1).sum() > 200


@pytest.mark.parametrize('name', ['organelles', 'rings'])
def test_organelles_and_rings_are_membranes(name):
    with_them = sum((draw_hard_scene(replace(NONE, **{name: 1.}), seed).labels == 1).sum() for seed in range(4))
    assert with_them > 800


def test_a_faint_membrane_keeps_its_label_and_its_whole_length():
    pen = Pen(64)
    for row in (20, 60, 100): pen.layers['membrane'][row:row + 4], pen.labels[row:row + 4] = 1., 1
    before = pen.labels.copy()
    dim_some(pen, np.random.default_rng(1))
    values = [np.unique(pen.layers['membrane'][row:row + 4]) for row in (20, 60, 100)]
    assert all(len(v) == 1 for v in values) and len({float(v[0]) for v in values}) > 1 and (pen.labels == before).all()


def test_another_reconstruction_changes_the_spectrum_alone():
    image = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    out = recolour(image, np.random.default_rng(1))
    assert out.shape == image.shape and abs(out.mean()) < 1e-4 and out.std() == pytest.approx(1, abs=1e-3)
    phases = [np.angle(np.fft.rfft2(i))[1:20, 1:20] for i in (image, out)]
    np.testing.assert_allclose(np.exp(1j*phases[0]), np.exp(1j*phases[1]), atol=1e-2)
    assert perhaps_recolour(0., image, np.random.default_rng(0)) is image
