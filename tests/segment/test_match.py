"The net matched to one tomogram: what is measured, painted, marked by hand, and learned."
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoseg.base.files import VolumeError
from cryoseg.segment.padding import find_padding
from cryoseg.base.formats import write_volume
from cryoseg.base.volume import Volume
from cryoseg.segment import match as room
from cryoseg.segment.match import (HELD_OUT, IGNORE, Appearance, background_windows, by_hand, choose_slices, flip_agreement, in_noise_units, local_depths, mean_profile,
                                   measure_appearance, membrane_strength, membrane_thickness, paint_scene, read_regions, sure_labels,
                                   train_on_tomogram)
from cryoseg.segment.motifs import IntensityModel
from cryoseg.segment.noise import Profile
from cryoseg.segment.train import Sample
from cryoseg.segment.unet import UNet


def small_net(seed=0):
    torch.manual_seed(seed)
    return UNet(2, 2).eval()


def weights(net): return torch.cat([p.flatten() for p in net.state_dict().values()]).clone()


def band(side=96, half=3, depth=4., seed=0):
    "A dark vertical band of 2 half + 1 pixels in noise of sd 1, and its mask."
    mask = np.zeros((side, side), bool)
    mask[:, side // 2 - half:side // 2 + half + 1] = True
    image = np.random.default_rng(seed).normal(size=(side, side)).astype(np.float32)
    return image - depth * mask, mask


def appearance(depth=-3., variation=0.):
    "An appearance with white noise of sd 1 and a profile of a dark line."
    offset = np.linspace(-8, 8, 33)
    profile = Profile(offset, depth * np.exp(-offset ** 2 / 8), 100)
    return Appearance(IntensityModel(), np.ones((16, 16)), variation, profile, 4., np.ones(3))


@pytest.fixture
def answer(monkeypatch):
    "Decide what the net says about a slice: answer(function) with function(image) -> (3,Y,X)."
    monkeypatch.setattr(room, 'TorchEngine', lambda net, *a, **k: net)
    return lambda function: monkeypatch.setattr(room, 'segment_slice', lambda image, net: function(image))


# what the net is sure of

def test_only_what_is_sure_is_labelled(answer):
    p = np.zeros((3, 40, 40), np.float32)
    p[0] = 1
    p[:, :, 20] = np.array([.05, .95, 0])[:, None]
    p[:, 5, 5] = .02, .03, .95
    p[:, 30, 2] = .9, .1, 0                                                 # unsure, but clear enough to harm no neighbour
    answer(lambda image: p)
    labels, membrane = sure_labels(np.zeros((40, 40)), None)
    assert (labels[:, 20] == 1).all() and labels[5, 5] == 2 and labels[30, 2] == IGNORE and labels[30, 3] == 0
    near = (labels[:, 14:27] != 0).all() and (labels[:, 13] == 0).sum() > 30
    assert near and (labels[12:, 27:] == 0).all()                            # six pixels on either side are left out
    assert membrane is p[1] or (membrane == p[1]).all()


def test_windows_are_background_and_the_cleanest_come_first():
    labels = np.zeros((64, 64), np.uint8)
    labels[:, :20] = 1
    labels[40:, 40:] = IGNORE
    image = np.arange(64 * 64).reshape(64, 64)
    windows = background_windows(image, labels, 16)
    shown = [(labels[np.isin(image, w)] == 0).mean() for w in windows]
    assert windows.shape[1:] == (16, 16) and min(shown) > .9 and shown == sorted(shown, reverse=True)
    assert len(background_windows(image, labels, 16, max_windows=2)) == 2
    assert len(background_windows(image, np.ones_like(labels), 16)) == 1     # the best there is
    with pytest.raises(VolumeError, match='too small'): background_windows(image[:10], labels[:10], 16)


def test_marked_regions_become_labels():
    marked = np.full((20, 20), IGNORE, np.uint8)
    marked[:5], marked[8:12], marked[15:] = 0, 1, 2
    probability, image = np.zeros((20, 20)), np.random.default_rng(0).normal(size=(20, 20))
    probability[8:12, 3:9] = .9
    labels = by_hand(marked, probability, image)
    assert (labels[:5] == 0).all() and (labels[5:8] == IGNORE).all() and (labels[15:] == 2).all()
    assert ((labels == 1) == ((marked == 1) & (probability > .5))).all()
    dark = by_hand(marked, 0 * probability, image)                          # the net sees nothing: the darkest fifth
    chosen = dark == 1
    assert chosen.sum() == 16 and image[chosen].max() <= np.sort(image[8:12].ravel())[15]


# measuring

@pytest.mark.parametrize('half', [1, 2, 4])
def test_thickness_is_that_of_the_band(half):
    assert membrane_thickness([band(half=half)[1]] * 2) == pytest.approx(2 * half + 1, rel=.1)
    assert membrane_thickness([np.zeros((8, 8), bool)]) == 0


def test_the_profile_is_dark_in_the_middle_and_nothing_outside():
    made = [band(seed=s) for s in range(3)]
    profile = mean_profile(np.stack([i for i, _ in made]), [m for _, m in made], 0.)
    assert profile.at(np.array([0.]))[0] == pytest.approx(-4, abs=.6) and abs(profile.at(np.array([8.]))[0]) < .6
    with pytest.raises(VolumeError, match='long enough'): mean_profile(made[0][0][None], [np.zeros((96, 96), bool)], 0.)


def test_what_was_put_in_is_measured(answer):
    made = [band(half=2, depth=6., seed=s) for s in range(3)]
    slices = np.stack([5 + 2 * i for i, _ in made])
    answer(lambda image: np.stack([image > 0, image <= -1, np.zeros(image.shape)]).astype(np.float32))
    marked = np.zeros(slices.shape, np.uint8)
    marked[:, :, 40:56] = IGNORE
    marked[:, :, 46:51] = 1
    found = measure_appearance(slices, None, marked)
    assert found.intensities.background.mean == pytest.approx(0, abs=.05) and found.intensities.background.sd == pytest.approx(1, abs=.05)
    assert found.intensities.membrane.mean == pytest.approx(-6, abs=.3)
    assert 4 < found.thickness_px <= 8 and found.variation < .15
    assert -7 < found.profile.value.min() < -4 and found.strengths == pytest.approx([1, 1, 1], abs=.2)
    with pytest.raises(VolumeError, match='too few'): measure_appearance(slices, None, np.zeros(slices.shape, np.uint8))


def uneven(side=192, depth=4., quiet=1., loud=5., slope=.1, seed=0):
    "Bands (middle at a quarter of the side) in quiet noise at the left, loud noise at the right, on a slope; and the quiet band's mask."
    noise = np.random.default_rng(seed).normal(size=(side, side)) * np.where(np.arange(side) < side // 2, quiet, loud)
    mask = np.zeros((side, side), bool)
    mask[:, side // 4 - 2:side // 4 + 3] = True
    return (noise - depth * mask + slope * np.arange(side)[:, None]).astype(np.float32), mask


def test_a_membrane_stands_out_against_what_is_beside_it(answer):
    made = [uneven(seed=s) for s in range(3)]
    slices = np.stack([image for image, _ in made])
    mask = made[0][1]
    answer(lambda image: np.stack([~mask, mask, np.zeros(mask.shape)]).astype(np.float32))
    found = measure_appearance(slices, None)
    assert found.intensities.cnr == pytest.approx(4, rel=.1)                # with one mean and one deviation for all: 0.6
    far = in_noise_units(slices[0], np.where(mask, 1, 0))[:, 150:]
    assert far.std() == pytest.approx(1, rel=.1)
    assert found.variation > .5                                             # and it is told that noise is uneven


def test_slices_without_background_say_nothing(answer):
    image, mask = band()
    answer(lambda image: np.stack([0 * mask, mask, ~mask]).astype(np.float32))
    with pytest.raises(VolumeError, match='too few'): measure_appearance(image[None], None)
    marked = np.full((2, *mask.shape), IGNORE, np.uint8)
    marked[:, mask] = 1
    marked[0, :, :20] = 0                                                   # the second slice has neither, by hand or by the net
    assert measure_appearance(np.stack([image] * 2), None, marked).intensities.cnr == pytest.approx(4, rel=.1)


def test_fading_is_measured():
    image, mask = band(half=2, depth=4., side=128)
    image[64:, mask[0]] += 2                                                # half of it half as dark
    depths = local_depths(image, mask)
    low, high = np.quantile(depths, [.1, .9])
    assert low == pytest.approx(2, abs=.5) and high == pytest.approx(4, abs=.5)
    assert len(local_depths(image, 0 * mask)) == 0


# painting

def test_an_empty_scene_is_background_and_noise():
    painted = paint_scene(np.zeros((7, 128, 128), np.float16), np.zeros((128, 128), np.uint8), appearance(), np.random.default_rng(0))
    model = IntensityModel()
    assert painted.mean() == pytest.approx(model.background.mean, abs=.1) and painted.std() == pytest.approx(model.background.sd, rel=.1)
    uneven = paint_scene(np.zeros((7, 128, 128), np.float16), np.zeros((128, 128), np.uint8), appearance(variation=.8), np.random.default_rng(0))
    blocks = lambda image: image.reshape(8, 16, 8, 16).std((1, 3)).std()
    assert blocks(uneven) > 3 * blocks(painted)


def test_a_membrane_takes_the_profile():
    layers, labels = np.zeros((7, 64, 64), np.float16), np.zeros((64, 64), np.uint8)
    layers[0, :, 30:35], labels[:, 30:35] = 1, 1
    deep, flat = (np.mean([paint_scene(layers, labels, appearance(d), np.random.default_rng(s)) for s in range(30)], (0, 1)) for d in (-3., 0.))
    difference = deep - flat
    assert difference.argmin() == 32 and -3.5 < difference[32] < -1.5 and np.abs(difference[:20]).max() < .05
    np.testing.assert_allclose(difference[32:42], difference[32:22:-1], atol=.05)


def test_faint_stretches_stay_faint():
    membrane, middle = np.zeros((40, 40), np.float32), np.zeros((40, 40), bool)
    middle[:, 20] = True
    membrane[:, 19:22] = 1
    membrane[25:, 19:22] = .2
    strength = membrane_strength(membrane, middle, np.random.default_rng(0))
    assert strength[35, 20] == pytest.approx(.2 * strength[10, 20], rel=.05) and .6 <= strength[10, 20] <= 1.35
    layers, labels = np.zeros((7, 40, 40), np.float16), np.zeros((40, 40), np.uint8)
    layers[0], labels[:, 18:23] = membrane, 1
    deep, flat = (np.mean([paint_scene(layers, labels, appearance(d), np.random.default_rng(s)) for s in range(30)], 0)[:, 20] for d in (-3., 0.))
    assert (deep - flat)[30:38].mean() == pytest.approx(.2 * (deep - flat)[5:15].mean(), rel=.1)


# marked by hand

@given(st.lists(st.tuples(st.sampled_from(['background', 'membrane', 'protein']), *[st.tuples(st.integers(0, 3), st.integers(1, 3)) for _ in range(3)]), min_size=1, max_size=4))
@settings(max_examples=25)
def test_boxes_are_marked_in_order(tmp_path_factory, boxes):
    wanted, text = np.full((4, 5, 6), IGNORE, np.uint8), ''
    for label, *ranges in boxes:
        ends = [(a, min(a + n, side)) for (a, n), side in zip(ranges, wanted.shape)]
        wanted[tuple(slice(*e) for e in ends)] = ('background', 'membrane', 'protein').index(label)
        text += f'[[box]]\nlabel = "{label}"\n' + ''.join(f'{axis} = [{a}, {b}]\n' for axis, (a, b) in zip('zyx', ends))
    path = tmp_path_factory.mktemp('regions') / 'r.toml'
    path.write_text('\ufeff' + text, encoding='utf-8')                       # a byte order mark, as Windows writes it
    np.testing.assert_array_equal(read_regions(path, wanted.shape), wanted)


def test_a_mask_is_marked(tmp_path):
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 4
    write_volume(tmp_path / 'm.mrc', Volume(values, 10.))
    (tmp_path / 'r.toml').write_text('mask = "m.mrc"')
    np.testing.assert_array_equal(read_regions(tmp_path / 'r.toml', (2, 3, 4)), np.array([IGNORE, 1, 2, 0], np.uint8)[values])
    with pytest.raises(VolumeError, match='same shape'): read_regions(tmp_path / 'r.toml', (2, 3, 5))
    for strange in (255, 4):          # a mask of another program would mark nothing
        write_volume(tmp_path / 'm.mrc', Volume(np.where(values == 1, strange, 0).astype(np.uint8), 10.))
        with pytest.raises(VolumeError, match=f'holds {strange}; mark with 1'): read_regions(tmp_path / 'r.toml', (2, 3, 4))


@pytest.mark.parametrize('text, said', [
    ('', 'empty'), ('boxes = 1', 'boxes'), ('[[', 'TOML'), ('box = 3', 'two brackets'), ('box = [1]', 'no table'), ('[box]\nlabel = "membrane"', 'two brackets'),
    ('[[box]]', 'label'), ('[[box]]\nlabel = "vesicle"', 'vesicle'), ('[[box]]\nlabel = ["membrane"]', 'label'), ('[[box]]\nlabel = 1', 'label'),
    ('[[box]]\nlabel = "protein"\nz = 99', 'no range'), ('[[box]]\nlabel = "protein"\nz = [1]', 'no range'), ('[[box]]\nlabel = "protein"\nz = ["a", "b"]', 'no range'),
    ('[[box]]\nlabel = "protein"\nz = [0.5, 1.5]', 'no range'), ('[[box]]\nlabel = "protein"\nz = [false, true]', 'no range'),
    ('[[box]]\nlabel = "protein"\nz = [1, 9]', r'\[1, 9\]'), ('[[box]]\nlabel = "protein"\ny = [-1, 2]', 'not inside'), ('[[box]]\nlabel = "protein"\ny = [2, 2]', 'not inside'),
    ('[[box]]\nlabel = "protein"\nw = [0, 2]', "'w' is not known"), ('mask = 3', 'no name'), ('box = ' + '['*5000, 'deep'), ('[[box]]\nlabel = "' + 'x'*100000 + '"', 'label'), ('[[box]]\nlabel = "protein"\n'*1001, 'at most 1000'),
    ('[[box]]\nlabel = "protein"\nz = [0, 99999999999999999999]', 'not inside'), ('[[box]]\nlabel = "protein"\nz = 1979-05-27', 'no range'), ('[[box]]\nlabel = "protein"\nz = [nan, inf]', 'no range'), ('mask = "none.mrc"', 'none.mrc')])
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, text, said):
    (tmp_path / 'r.toml').write_text(text)
    with pytest.raises(VolumeError, match=said) as error: read_regions(tmp_path / 'r.toml', (2, 6, 5))
    assert '\n' not in str(error.value) and len(str(error.value)) < 400


def test_no_file_is_refused(tmp_path):
    with pytest.raises(VolumeError, match='there is no file of regions'): read_regions(tmp_path / 'none.toml', (2, 2, 2))


# slices and agreement

def test_slices_are_spread_scaled_and_where_marks_are():
    data = np.arange(20)[:, None, None] * np.ones((20, 8, 8), np.float32)
    images, marked = choose_slices(data, None, .5, 3)
    assert images.shape == (3, 4, 4) and marked is None and images[:, 0, 0].tolist() == [5, 10, 14]
    marks = np.full((20, 8, 8), IGNORE, np.uint8)
    marks[4], marks[7, :4] = 1, 0
    images, marked = choose_slices(data, marks, 1., 8)
    assert images[:, 0, 0].tolist() == [4, 7] and (marked[0] == 1).all() and (marked[1, :4] == 0).all()
    with pytest.raises(VolumeError, match='no voxel is marked'): choose_slices(data, np.full_like(marks, IGNORE), 1., 8)


def test_padding_and_spikes_are_not_learnt():
    rng = np.random.default_rng(0)
    data = rng.normal(100, 10, (6, 64, 64))
    data[2, 30, 30] = 1e9
    data[0], data[:, :8], data[:, :, 50:] = 0, 0, np.nan
    images, _ = choose_slices(data, None, 1., 8, find_padding(data))
    assert images.shape[0] == 5 and 54 <= images.shape[1] <= 56 and 48 <= images.shape[2] <= 50 and images.min() > 40 and images.max() < 160
    marks = np.zeros(data.shape, np.uint8)
    assert choose_slices(data, marks, .5, 8, find_padding(data)).marked.shape[0] == 5


def test_agreement_is_full_for_what_knows_no_sides(answer):
    slices = np.random.default_rng(0).normal(size=(3, 16, 16)).astype(np.float32)
    answer(lambda image: np.stack([image < 0, image > 0, image < -9]).astype(np.float32))
    assert flip_agreement(None, slices) == 1
    answer(lambda image: np.zeros((3, *image.shape)))
    assert flip_agreement(None, slices) == 1
    def left(image):
        p = np.zeros((3, *image.shape))
        p[1, :, :8] = 1
        p[1, :, 8:12] = 1
        return p
    answer(left)
    assert flip_agreement(None, slices) == .5                               # columns 0-11 and 4-15


# the training

def test_each_volume_has_its_own_voxel_size(monkeypatch):
    asked, chosen = [], []
    monkeypatch.setattr(room, 'net_scale', lambda data, net, voxel_size_A=None, padding=None: asked.append((len(data), voxel_size_A)) or .1 * len(data))
    monkeypatch.setattr(room, 'choose_slices', lambda data, marked, scale, n, padding: chosen.append((len(data), scale, n)))
    monkeypatch.setattr(room, '_Matching', lambda net, *args: SimpleNamespace(
        train=lambda passes: False, appearance=None, race=SimpleNamespace(best=SimpleNamespace(state=net.state_dict(), iou=1., agreement=1., steps=0), iou_before=1., agreement=1.)))
    volumes = [np.random.default_rng(0).normal(size=(n, 4, 4)) for n in (2, 3, 4)]
    train_on_tomogram(volumes, small_net(), [8., None, 1.], n_slices=5)
    assert asked == [(2, 8.), (3, None), (4, 1.)]
    assert chosen == [(2, pytest.approx(.2), 5), (3, pytest.approx(.3), 5), (4, pytest.approx(.4), 5)]
    asked.clear()
    train_on_tomogram(volumes, small_net())
    assert [size for _, size in asked] == [None] * 3
    for given_ in (dict(voxel_sizes_A=[8.]), dict(marked=[None])):
        with pytest.raises(VolumeError, match='one for each volume'): train_on_tomogram(volumes, small_net(), **given_)
    with pytest.raises(VolumeError, match='n_scenes'): train_on_tomogram(volumes, small_net(), n_scenes=HELD_OUT)


@pytest.fixture
def small_world(monkeypatch):
    "Scenes with a band, general images of noise, an appearance that is given; crops of 32 pixels."
    layers, labels = np.zeros((7, 48, 48), np.float16), np.zeros((48, 48), np.uint8)
    layers[0, :, 20:25], labels[:, 20:25] = 1, 1
    class General:
        settings = SimpleNamespace(crop=32)
        def __init__(self, *args): pass
        def draw(self, rng): return Sample(rng.normal(size=(32, 32)).astype(np.float32), np.zeros((32, 32), np.uint8))
    measured = []
    monkeypatch.setattr(room, 'GeneralSet', General)
    monkeypatch.setattr(room, 'draw_scene', lambda settings, seed: (layers, labels))
    monkeypatch.setattr(room, 'measure_appearance', lambda images, net, marked: measured.append(weights(net)) or appearance(-6.))
    return measured


def run(steps, net=None, **given):
    data = np.stack([band(48, seed=s)[0] for s in range(2)])
    return train_on_tomogram([data], net or small_net(), [10.], steps=steps, n_scenes=20, n_slices=2, **given)


def test_the_best_net_wins_and_the_first_is_not_changed(small_world, monkeypatch):
    monkeypatch.setattr(room, 'flip_agreement', lambda net, slices: .9)
    monkeypatch.setattr(room, 'MATCH_TRAINING', room.replace(room.MATCH_TRAINING, rate=.02))
    first = small_net()
    before, matched = weights(first), run(30, first)
    assert torch.equal(weights(first), before)
    assert matched.iou_after > matched.iou_before and matched.steps in (25, 30) and not matched.stopped
    assert len(small_world) == 1 and not matched.net.training and not torch.equal(weights(matched.net), before)
    assert torch.equal(weights(matched.net), weights(run(30).net))           # the same seed, the same net


def test_a_net_that_lost_its_way_is_not_kept(small_world, monkeypatch):
    agreements = iter([.9] + [.5] * 9)
    monkeypatch.setattr(room, 'flip_agreement', lambda net, slices: next(agreements))
    monkeypatch.setattr(room, 'MATCH_TRAINING', room.replace(room.MATCH_TRAINING, rate=.02))
    first = small_net()
    matched = run(25, first)
    assert matched.steps == 0 and matched.iou_after == matched.iou_before and torch.equal(weights(matched.net), weights(first))
    assert (matched.agreement_before, matched.agreement_after) == (.9, .9)


def test_long_trainings_look_twice(small_world, monkeypatch):
    monkeypatch.setattr(room, 'flip_agreement', lambda net, slices: .9)
    monkeypatch.setattr(room, 'MIN_STEPS_FOR_TWO', 12)
    seen = []
    run(12, progress=lambda stage, done, total: seen.append((stage, done, total)))
    assert seen == [('train', k, 12) for k in range(1, 13)]
    run(11)
    assert len(small_world) == 3 and not torch.equal(*small_world[:2])       # the second time with the net in training


@pytest.mark.parametrize('steps, stop', [(11, 2), (12, 2), (12, 6)])
def test_the_best_is_kept_when_stopped(small_world, monkeypatch, steps, stop):
    monkeypatch.setattr(room, 'flip_agreement', lambda net, slices: .9)
    monkeypatch.setattr(room, 'MIN_STEPS_FOR_TWO', 12)
    def progress(stage, done, total):
        if done == stop: raise KeyboardInterrupt
    matched = run(steps, progress=progress)
    assert matched.stopped and matched.steps in (0, min(stop, 4)) and matched.iou_after >= matched.iou_before
