"From a volume to labels: tiles, scales, precision, threads."
import warnings
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from cryoseg.base.files import VolumeError, VolumeWarning
from cryoseg.segment import predict as room
from cryoseg.segment.engines import TorchEngine
from cryoseg.segment.padding import find_padding
from cryoseg.segment.predict import (MAX_SCALE, Answer, MembraneEvidence, Plan, Symmetry, average_neighbours, calibrated, flipped_copies,
                                     looks_bright, measured_scale, membrane_evidence, middle_of, net_scale, plan, predict_tiled,
                                     receptive_radius, resized, resized_back, sample_slices, segment_slice, segment_volume,
                                     spread_indices, tile_starts, working_scale)
from cryoseg.segment.settings import SegmentSettings
from cryoseg.segment.unet import UNet, load_weights, predict

PLAIN = SegmentSettings(precision='float32', workers=1, scale=1., flips=1, scale_spread=0., neighbours=0)


@pytest.fixture(scope='module')
def net(): return TorchEngine(load_weights())


def small_net(depth=2, seed=0):
    torch.manual_seed(seed)
    return UNet(3, depth).eval()


def small_engine(depth=2, seed=0): return TorchEngine(small_net(depth, seed))


def noise(*shape, seed=0): return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def ring(side=96, radius=30, depth=4., seed=0):
    "A dark ring in noise of sd 1, and its mask."
    y, x = np.indices((side, side)) - side / 2
    mask = np.abs(np.hypot(y, x) - radius) < 2.5
    return noise(side, side, seed=seed) - depth * mask, mask


# tiles

@pytest.mark.parametrize('depth', [1, 2])
def test_a_pixel_looks_as_far_as_the_radius_says_and_no_further(depth):
    net, side, radius = small_net(depth).double(), 96, receptive_radius(depth)
    x = torch.zeros(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    reached = np.zeros((side, side), bool)
    for shift in range(2 ** depth):                                         # the reach depends on the place in a pooling block
        x.grad = None
        out = net(x + torch.randn_like(x))[0, :, side // 2 + shift, side // 2 + shift].sum()
        out.backward()
        reached[:] |= np.roll(x.grad[0, 0].numpy() != 0, (-shift, -shift), (0, 1))
    far = np.abs(np.argwhere(reached) - side // 2).max()
    assert radius - 2 ** (depth + 1) <= far <= radius


@settings(max_examples=60)
@given(st.integers(1, 900), st.integers(1, 40), st.integers(0, 30), st.integers(0, 3))
def test_tiles_keep_every_pixel_once_with_its_margin(n, extra, margin, depth):
    step = 2 ** depth
    tiles = tile_starts(n, 2 * margin + step + extra, margin, step)
    assert [i for t in tiles for i in range(t.keep_from, t.keep_to)] == list(range(n))
    for t in tiles:
        assert 0 <= t.start <= t.keep_from < t.keep_to <= t.stop <= n and t.start % step == 0
        assert t.keep_from == 0 or t.keep_from - t.start >= margin
        assert t.keep_to == n or t.stop - t.keep_to >= margin


def test_a_tile_of_margins_alone_is_refused():
    with pytest.raises(VolumeError, match='at least 68'): tile_starts(500, 60, 30, 8)


def test_tiles_leave_no_seams():
    net, image = small_net(), noise(150, 170)
    np.testing.assert_allclose(predict_tiled(image, TorchEngine(net), 80), predict(net, image[None])[0], atol=1e-5)


# scale, precision, device

def test_unknown_is_none_and_one_angstrom_is_a_size():
    assert working_scale(None) == 1 and working_scale(1.) == 1 / 10 and working_scale(5.) == .5
    assert working_scale(10.) == working_scale(12.) == 1 and 1.5 <= working_scale(20.) <= 1.6 and 2 <= working_scale(30.) <= 2.5


@pytest.mark.parametrize('size, scale', [(1., 1 / 10), (5., .5), (None, .45)])
def test_the_scale_is_measured_only_where_the_size_is_unknown(monkeypatch, size, scale):
    monkeypatch.setattr(room, 'measured_scale', lambda data, engine, padding: .45)
    assert net_scale(noise(2, 8, 8), None, size, SegmentSettings()) == scale
    assert net_scale(noise(2, 8, 8), None, size, SegmentSettings(scale=.7)) == .7


# one slice

def test_the_eight_symmetries_differ_and_are_undone():
    image = noise(5, 7)
    every = flipped_copies(8)
    assert len({s.apply(image).tobytes() for s in every}) == 8
    for s in every: np.testing.assert_array_equal(s.undo(np.stack([s.apply(image)] * 2)), np.stack([image] * 2))
    assert flipped_copies(1) == [Symmetry(0, False)] and flipped_copies(4) == every[:4]
    assert flipped_copies(2) == [Symmetry(0, False), Symmetry(2, False)]
    for n in (0, 3, 16):
        with pytest.raises(VolumeError, match=f'flips = {n}'): flipped_copies(n)


def test_eight_copies_forget_the_orientation():
    net, image, chosen = small_engine(), noise(32, 32), SegmentSettings(flips=8)
    p = segment_slice(image, net, chosen)
    np.testing.assert_allclose(segment_slice(image.T, net, chosen), p.transpose(0, 2, 1), atol=1e-5)
    np.testing.assert_allclose(segment_slice(image[::-1], net, chosen), p[:, ::-1], atol=1e-5)
    assert np.abs(segment_slice(image.T, net) - segment_slice(image, net).transpose(0, 2, 1)).max() > 1e-4


def test_scaling_and_back():
    image = noise(30, 40)
    assert resized(image, .5).shape == (15, 20) and resized(image, 1.5).shape == (45, 60)
    np.testing.assert_allclose(resized(image, .5), image.reshape(15, 2, 20, 2).mean((1, 3)), atol=1e-5)
    for scale in (.5, 2.):
        np.testing.assert_allclose(resized_back(np.full((2, int(30 * scale), int(40 * scale)), .3, np.float32), (30, 40), scale), np.full((2, 30, 40), .3), atol=1e-6)
    assert segment_slice(image, small_engine(), scale=.7).shape == (3, 30, 40)


def test_slices_are_spread_and_cut_from_the_middle():
    assert list(spread_indices(9, 2)) == [3, 5] and list(spread_indices(101, 4)) == [20, 40, 60, 80]
    assert middle_of(10, 4) == slice(3, 7) and middle_of(3, 8) == slice(0, 8)
    data = np.arange(5 * 6 * 8).reshape(5, 6, 8)
    np.testing.assert_array_equal(sample_slices(data, 1, 4).images, data[2:3, 1:5, 2:6])
    assert [image.shape for image in sample_slices(data[:1], 3, 99).images] == [(6, 8)]


# what the net sees

def test_evidence_is_zero_without_membranes_and_grows_with_darkness(net):
    empty = membrane_evidence([np.zeros((64, 64), np.float32)], net, 1.)
    clear = membrane_evidence([ring()[0]], net, 1.)
    assert empty == MembraneEvidence(0., 0.) and 0 < clear.confidence <= 1 and clear.amount > 0
    assert membrane_evidence([-ring()[0]], net, 1.).amount < clear.amount


def test_the_finest_of_the_good_scales_is_taken(monkeypatch):
    sure = {.2: .1, .3: .80, .45: .78, .67: .75, 1.: .5, 1.5: .4}
    monkeypatch.setattr(room, 'membrane_evidence', lambda slices, engine, scale, valid: MembraneEvidence(sure[scale], 1.))
    data = noise(3, 400, 400)
    assert measured_scale(data, small_engine()) == .67 and measured_scale(data, small_engine(), tolerance=.03) == .45
    assert measured_scale(data[:, :100, :100], small_engine()) == .67          # smaller scales would leave under 64 pixels
    sure.update(dict.fromkeys(sure, 0.))
    assert measured_scale(data, small_engine()) == 1


def test_bright_membranes_are_noticed(net):
    data = np.stack([ring(seed=s)[0] for s in range(3)])
    assert looks_bright(-data, net, settings=PLAIN) and not looks_bright(data, net, settings=PLAIN)


# neighbours and calibration

def averaged(probability, reach):
    "Slices (Z,Y,X) averaged."
    return [a[0] for a in average_neighbours((Answer(p[None]) for p in probability), reach)]


def test_neighbours_are_averaged_and_the_ends_have_fewer():
    p = np.random.default_rng(0).random((6, 3, 4)).astype(np.float32)
    for n, reach in product((0, 1, 2, 3, 6), (0, 1, 2, 3, 7)):
        out = averaged(p[:n], reach)
        assert len(out) == n
        for z in range(n): np.testing.assert_allclose(out[z], p[max(0, z - reach):z + reach + 1][:n - max(0, z - reach)].mean(0), rtol=1e-6)
    np.testing.assert_allclose(averaged(p[::-1], 2)[::-1], averaged(p, 2), rtol=1e-6)


def test_slices_are_taken_as_they_come():
    "No more than a slice and its neighbours are asked for before the first average is there."
    asked = []
    def answers():
        for z in range(9):
            asked.append(z)
            yield Answer(np.full((2, 1, 1), z, np.float32))
    for z, average in enumerate(average_neighbours(answers(), 2)):
        assert len(asked) == min(z + 3, 9) and average[0, 0, 0] == np.mean(range(max(0, z - 2), min(z + 3, 9)))


def test_calibration_is_a_line_for_the_logit():
    p = np.linspace(.01, .99, 50).reshape(2, 25)
    np.testing.assert_allclose(calibrated(p, .55, -.6), expit(.55 * logit(p) - .6), atol=1e-3)
    np.testing.assert_array_equal(calibrated(p, 1, 0), p.astype(np.float16))
    ends = calibrated(np.array([[0., 1.]]), .55, -.6)
    assert np.isfinite(ends).all() and 0 < ends[0, 0] < ends[0, 1] < 1
    assert calibrated(np.array([[.5]]), *SegmentSettings().calibration)[0, 0] == pytest.approx(SegmentSettings().threshold, abs=2e-3)


# a volume

def test_what_is_open_is_decided_once():
    data, net = noise(4, 16, 16), small_engine()
    assert plan(data, net, 10., SegmentSettings()) == Plan(1, (1.,))
    single = plan(data[:1], net, 10., SegmentSettings())
    assert single.flips == 4 and single.scales == pytest.approx((2 / 3, 1., 4 / 3))
    assert plan(data[:1], net, None, SegmentSettings(flips=2, scale_spread=0., scale=.5)) == Plan(2, (.5,))
    assert plan(data, net, 5., SegmentSettings(scale_spread=.25)) == Plan(1, (.375, .5, .625))


def test_an_unknown_size_takes_three_scales_and_says_so():
    for n, flips in ((1, 4), (3, 1)):
        with pytest.warns(VolumeWarning, match='voxel size is not known: the net sees slices at 1, 1.5, 2 times'):
            assert plan(noise(n, 16, 16), small_engine(), None, SegmentSettings()) == Plan(flips, (1., 1.5, 2.))


def test_only_an_unknown_size_is_warned_about():
    with pytest.warns(VolumeWarning, match='voxel size is not known'): plan(noise(1, 16, 16), small_engine(), None, SegmentSettings())
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        plan(noise(1, 64, 64), small_engine(), 1., SegmentSettings())
        plan(noise(1, 16, 16), small_engine(), None, SegmentSettings(scale=1.))


def test_a_ring_is_found_in_a_volume(net):
    made = [ring(seed=s) for s in range(3)]
    data, truth = (np.stack(m) for m in zip(*made))
    found = segment_volume(data, net, 10., SegmentSettings(precision='float32', workers=1))
    member = found.labels == 1
    assert (member & truth).sum() / (member | truth).sum() > .6
    assert found.probability.dtype == np.float16 and found.labels.dtype == np.uint8
    np.testing.assert_array_equal(member, (found.probability >= SegmentSettings().threshold) & (found.labels != 2))
    assert str(found.padding) == 'all voxels hold an image' and found.padding.mask is None


def test_workers_change_nothing_and_progress_counts(net):
    data, seen = np.stack([ring(48, 15, seed=s)[0] for s in range(3)]), []
    chosen = [SegmentSettings(precision='float32', workers=n, scale=1.) for n in (1, 3)]
    one = segment_volume(data, net, settings=chosen[0], progress=lambda done, total: seen.append((done, total)))
    three = segment_volume(data, net, settings=chosen[1])
    np.testing.assert_array_equal(one.probability, three.probability)
    np.testing.assert_array_equal(one.labels, three.labels)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_proteins_win_over_membranes_only_where_they_are_likelier(monkeypatch):
    membrane, protein = np.array([[[.9, .6, .2, .8]]], np.float16), np.array([[[.1, .7, .6, .6]]], np.float16)
    monkeypatch.setattr(room, 'ask_slices', lambda *a: iter([Answer(np.stack([membrane[0], protein[0]]).astype(np.float32))]))
    chosen = SegmentSettings(calibration=(1, 0), threshold=.5)
    assert segment_volume(np.arange(4.)[None, None], small_net(), settings=chosen).labels.ravel().tolist() == [1, 2, 2, 1]


# padding and outliers

def volume_of_rings(n=4, side=128):
    "A volume of mean 100 and sd 10 or so, and its membranes."
    made = [ring(side, 40, seed=s) for s in range(n)]
    return (100 + 10 * np.stack([m[0] for m in made])).astype(np.float32), np.stack([m[1] for m in made])


def agreement(found, other, where): return (found & other & where).sum() / ((found | other) & where).sum()


@pytest.mark.parametrize('value', [0, 100, 255, np.nan])
def test_padding_is_never_labelled_and_changes_little_beside_it(net, value):
    data, truth = volume_of_rings()
    y, x = np.indices(data.shape[1:])
    chosen = SegmentSettings(precision='float32', workers=1)
    clean = segment_volume(data, net, 10., chosen).labels == 1
    for valid in (np.minimum.reduce([y, x, 127 - y, 127 - x]) >= 12, (x < 100) & (y > 20), abs(y - 64) + abs(x - 64) < 90):
        padded = np.where(valid, data, np.float32(value))
        with pytest.warns(VolumeWarning, match='left out'): found = segment_volume(padded, net, 10., chosen)
        assert not found.labels[:, ~valid].any() and not found.probability[:, ~valid].any()
        member, inside = found.labels == 1, np.broadcast_to(valid, data.shape)
        assert agreement(member, truth, inside) > agreement(clean, truth, inside) - .03
        assert found.padding.fraction == pytest.approx((~valid).mean(), abs=.01)


def test_missing_slices_do_not_thin_their_neighbours(net):
    data, _ = volume_of_rings(5)
    data[2] = 0
    chosen = SegmentSettings(precision='float32', workers=1)
    with pytest.warns(VolumeWarning, match='20 % of the voxels are constant'): found = segment_volume(data, net, 10., chosen)
    alone = segment_volume(data[:2], net, 10., chosen)
    assert not found.labels[2].any()
    np.testing.assert_array_equal(found.labels[:2], alone.labels)


@pytest.mark.parametrize('size', [1e2, 1e4, 1e7, 1e30])
@pytest.mark.parametrize('scale', [None, .7, 1.5])
def test_hot_pixels_change_nothing_else(net, size, scale):
    data, _ = volume_of_rings(2)
    chosen = SegmentSettings(precision='float32', workers=1, scale=scale)
    clean = segment_volume(data, net, 10., chosen).labels == 1
    rng = np.random.default_rng(0)
    for image in data: image[rng.integers(0, 128, 6), rng.integers(0, 128, 6)] += size
    assert agreement(segment_volume(data, net, 10., chosen).labels == 1, clean, True) > .97


@pytest.mark.parametrize('change', [lambda v: v * 1e-8, lambda v: v * 1e12, lambda v: v.astype(float) + 1e12, lambda v: v.astype(np.float16),
                                    lambda v: (v + 20).clip(0, 255).astype(np.uint8), lambda v: (200 * v - 20000).astype(np.int16), lambda v: v.astype('>f4')])
def test_units_and_kinds_of_numbers_change_nothing(net, change):
    data, _ = volume_of_rings(2)
    chosen = SegmentSettings(precision='float32', workers=1)
    one, other = (segment_volume(v, net, 10., chosen).labels == 1 for v in (data, change(data)))
    assert agreement(one, other, True) > .95


@pytest.mark.parametrize('shape', [(1, 1, 2), (1, 3, 5), (3, 5, 7), (2, 1, 40), (1, 17, 9)])
@pytest.mark.parametrize('size', [None, 2., 10., 40.])
def test_tiny_volumes_are_labelled(shape, size):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', VolumeWarning)
        found = segment_volume(noise(*shape), small_net(), size, SegmentSettings(workers=1))
    assert found.labels.shape == shape and np.isfinite(found.probability).all()


@pytest.mark.parametrize('data', [np.zeros((1, 1, 1)), np.full((3, 32, 32), 7, np.int16), np.full((2, 8, 8), np.nan)])
def test_volumes_of_one_value_are_refused(data):
    with pytest.raises(VolumeError, match='no voxel holds an image'): segment_volume(data, small_net(), settings=PLAIN)


@pytest.mark.parametrize('seed', range(3))
def test_polarity_is_right_with_padding_gold_and_spikes_and_silent_about_noise(net, seed):
    data, _ = volume_of_rings(3)
    y, x = np.indices(data.shape[1:])
    rng = np.random.default_rng(seed)
    padded = np.where(x < 30, np.float32(rng.choice([0, 100, 255, 1e5])), data)
    gold = data - 300 * (np.hypot(y - rng.integers(20, 100), x - rng.integers(20, 100)) < 6)
    spiked = data.copy()
    spiked[:, rng.integers(0, 128, 9), rng.integers(0, 128, 9)] = 1e6
    for image in (data, padded, gold, spiked):
        for sign in (1, -1):
            image = sign * image
            assert looks_bright(image, net, 10., PLAIN, padding=find_padding(image)) == (sign < 0)
    empty = noise(3, 128, 128, seed=seed)
    assert not looks_bright(empty, net, 10., PLAIN) and not looks_bright(-empty, net, 10., PLAIN)


def test_slices_that_do_not_fit_are_refused_before_any_is_read(net, monkeypatch):
    monkeypatch.setattr(room, 'free_memory', lambda: 10_000_000)
    data = noise(3, 400, 400)
    with pytest.raises(VolumeError, match='2 slices of 2,560,000 pixels, at 4 times their size, need 195 MB of memory, 9.54 MB are free: .*--workers'):
        segment_volume(data, net, settings=SegmentSettings(workers=2), voxel_size_A=80.)


@pytest.mark.parametrize('factor', [1e6, 1e30])
def test_a_net_whose_numbers_run_over_is_refused(factor):
    "Its weights are finite, and its answers NaN: nothing would be labelled, with exit code 0."
    broken = load_weights()
    with torch.no_grad():
        for weights in broken.state_dict().values():
            if weights.is_floating_point(): weights *= factor
    with pytest.raises(VolumeError, match='NaN or infinity in slice 0.*float32'):
        segment_volume(np.random.default_rng(0).normal(size=(2, 48, 48)).astype('f4'), broken, voxel_size_A=10.)


def test_only_volumes_are_labelled(net):
    for shape in ((8, 8), (1, 2, 8, 8)):
        with pytest.raises(VolumeError, match='three axes'): segment_volume(np.zeros(shape), net)
    for wrong in (SegmentSettings(), '10', 0., -3.):
        with pytest.raises(VolumeError, match='positive number of Å, got'): segment_volume(np.zeros((2, 8, 8), np.float32), net, wrong)


def test_the_calibration_is_found_again():
    import calibrate
    rng = np.random.default_rng(0)
    p = rng.uniform(.02, .98, 40_000)
    member = rng.random(p.size) < expit(.55 * logit(p) - .6)
    np.testing.assert_allclose(calibrate.fit_line(p, member), (.55, -.6), atol=.04)


def test_an_absurd_voxel_size_does_not_enlarge_without_end():
    assert working_scale(5000.) == working_scale(100.) == MAX_SCALE and working_scale(20.) < 2


def test_voxels_larger_than_a_membrane_is_thick_are_told(net):
    data, measured = noise(2, 40, 40), SegmentSettings(precision='float32', workers=1, flips=1, scale_spread=0., neighbours=0)
    with pytest.warns(VolumeWarning, match='voxels of 100 Å are larger.*--voxel-size.*segment.scale=1'): segment_volume(data, net, 100., measured)
    for size, given_ in ((52., measured), (100., PLAIN)):
        with warnings.catch_warnings():
            warnings.simplefilter('error', VolumeWarning)
            segment_volume(data, net, size, given_)
