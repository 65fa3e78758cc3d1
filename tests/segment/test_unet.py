"The net: its formulas against PyTorch's own, its training, and its weights on disk."
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from cryoseg.base.files import VolumeError
from cryoseg.segment.noise import IGNORE
from cryoseg.segment.normalise import pad_to_multiple, prepare
from cryoseg.segment.settings import GeneralSettings, TrainSettings
from cryoseg.segment.unet import (CLASS_PRIOR, Batch, UNet, cross_entropy, dice_loss, fit_net, fold_batchnorm, learning_rate, load_weights,
                                  predict, save_weights, softmax, to_batch, training_step)


def small_net(seed=0, width=4, depth=2):
    "A net whose batch normalisations do something."
    torch.manual_seed(seed)
    net = UNet(width, depth).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, .1)
            module.running_var.uniform_(.5, 2)
            module.weight.data.uniform_(.5, 1.5)
    return net


def answers(seed=0, shape=(2, 3, 5, 6)):
    torch.manual_seed(seed)
    return torch.randn(shape) * 5, torch.randint(0, 3, (shape[0], *shape[2:]))


def pictures(n=2, side=32, seed=0): return np.random.default_rng(seed).normal(size=(n, side, side)).astype(np.float32)


# formulas

def test_softmax_is_pytorchs_and_does_not_overflow():
    a, _ = answers()
    torch.testing.assert_close(softmax(a), F.softmax(a, 1))
    torch.testing.assert_close(softmax(a + 1e4), softmax(a), atol=1e-3, rtol=0)
    assert torch.isfinite(softmax(a * 1e6)).all()


@pytest.mark.parametrize('left_out', [0, 7])
def test_cross_entropy_is_pytorchs(left_out):
    a, y = answers()
    y.view(-1)[:left_out] = IGNORE
    torch.testing.assert_close(cross_entropy(a, y), F.cross_entropy(a, y, ignore_index=IGNORE))


def test_nothing_to_learn_costs_nothing():
    a, y = answers()
    assert cross_entropy(a, torch.full_like(y, IGNORE)) == 0


def test_dice_is_that_of_the_masks_where_the_net_is_certain():
    _, y = answers(shape=(4, 3, 8, 8))
    _, guess = answers(1, shape=(4, 3, 8, 8))
    a = F.one_hot(guess, 3).permute(0, 3, 1, 2) * 60.
    p, t = (guess == 1).flatten(1), (y == 1).flatten(1)
    dice = (2 * (p & t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)
    assert dice_loss(a, y).item() == pytest.approx(1 - dice.mean().item(), abs=1e-5)
    assert dice_loss(F.one_hot(y, 3).permute(0, 3, 1, 2) * 60., y).item() == pytest.approx(0, abs=1e-5)


def test_dice_does_not_look_at_what_is_left_out():
    a, y = answers()
    y[:, :2] = IGNORE
    other = a.clone()
    other[:, :, :2] += 30 * torch.randn(2, 3, 2, 6)
    torch.testing.assert_close(dice_loss(a, y), dice_loss(other, y))


# what the net is shown

@settings(max_examples=15)
@given(st.floats(.01, 1000), st.floats(-1e3, 1e3))
def test_gain_and_offset_do_not_matter(gain, offset):
    image = pictures(1, 48)[0]
    assert np.abs(prepare(gain * image + offset * gain) - prepare(image)).max() < .02


def test_prepare_knows_no_direction_and_turns_with_the_sign():
    image = pictures(1, 40)[0]
    np.testing.assert_allclose(prepare(image.T), prepare(image).T, atol=1e-4)
    np.testing.assert_allclose(prepare(image[::-1]), prepare(image)[::-1], atol=1e-4)
    np.testing.assert_allclose(prepare(-image), -prepare(image), atol=1e-4)


def test_prepare_levels_contrast_but_not_emptiness():
    image = pictures(1, 128)[0]
    image[:, 64:] *= 4
    out = prepare(image)
    assert out[:, 90:].std() / out[:, :38].std() < 2
    assert out.mean() == pytest.approx(0, abs=1e-3) and out.std() == pytest.approx(1, abs=1e-3)
    assert np.abs(prepare(np.full((32, 32), 7.))).max() == 0
    image[:, :64] *= 1e-3
    assert prepare(image)[:, :30].std() < .1


# the architecture

def test_shapes_and_the_prior():
    net = UNet(4, 2)
    assert net(torch.zeros(2, 1, 16, 24)).shape == (2, 3, 16, 24)
    torch.testing.assert_close(net.head.bias.exp(), torch.tensor(CLASS_PRIOR))
    assert [b.shape[1] for b in (p for n, p in net.named_parameters() if n.startswith('up') and p.ndim == 4)] == [4, 8]
    assert net.device.type == 'cpu'


def test_folding_changes_nothing():
    net = small_net()
    x = torch.from_numpy(pictures())[:, None]
    with torch.inference_mode():
        torch.testing.assert_close(fold_batchnorm(net)(x), net(x), atol=1e-4, rtol=1e-4)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in fold_batchnorm(net).modules())


@pytest.mark.parametrize('shape', [(5, 7), (16, 16), (3, 40), (1, 1), (33, 18)])
def test_any_size_is_answered(shape):
    p = predict(small_net(), np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32))
    assert p.shape == (1, 3, *shape)
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)


def test_padding_is_by_reflection_and_only_at_the_ends():
    images = pictures(1, 10)
    np.testing.assert_array_equal(pad_to_multiple(images, 4), np.pad(images, ((0, 0), (0, 2), (0, 2)), mode='reflect'))
    np.testing.assert_array_equal(pad_to_multiple(images, 5), images)
    np.testing.assert_array_equal(pad_to_multiple(images[:, :1], 4)[0], np.tile(np.pad(images[0, :1], ((0, 0), (0, 2)), mode='edge'), (4, 1)))


def test_a_shift_by_whole_poolings_shifts_the_answer():
    net, image = small_net(), pictures(1, 96)
    whole, part = predict(net, image)[0], predict(net, image[:, 8:, 8:])[0]
    np.testing.assert_allclose(part[:, 30:58, 30:58], whole[:, 38:66, 38:66], atol=1e-4)


# training

def test_the_rate_rises_and_falls():
    cosine = TrainSettings(steps=400, schedule='cosine', rate=.1)
    rates = np.array([learning_rate(k, cosine) for k in range(400)])
    assert (np.diff(rates[:15]) > 0).all() and (np.diff(rates[20:]) < 0).all()
    assert rates.max() < .1 * 1.01 and rates[0] < .01 and rates[-1] < .0015
    assert {learning_rate(k, TrainSettings(rate=.3)) for k in (0, 50, 99)} == {.3}


def test_one_step_is_adams():
    batch = to_batch(pictures(), np.random.default_rng(0).integers(0, 3, (2, 32, 32)))
    ours, theirs = small_net(), small_net()
    chosen = TrainSettings(steps=1, rate=.01, dice=.5)
    losses = fit_net(ours, lambda step: batch, chosen)
    theirs.train()
    optimiser = torch.optim.Adam(theirs.parameters(), .01, betas=(.9, .999))
    a = theirs(batch.images)
    loss = F.cross_entropy(a, batch.labels) + .5 * dice_loss(a, batch.labels)
    loss.backward()
    optimiser.step()
    assert losses == [pytest.approx(loss.item(), rel=1e-5)]
    torch.testing.assert_close(ours.head.weight, theirs.head.weight, atol=1e-5, rtol=1e-4)


def test_it_learns_by_heart_and_ends_in_evaluation_mode():
    images = pictures(4)
    batch = to_batch(images, (images < -1).astype(int))
    net = small_net()
    losses = fit_net(net, lambda step: batch, TrainSettings(steps=40, rate=.02, schedule='cosine', dice=.5))
    assert losses[-1] < .5 * losses[0] and not net.training


def test_training_can_be_stopped():
    batch, seen = to_batch(pictures(), np.zeros((2, 32, 32))), []
    losses = fit_net(small_net(), lambda step: batch, TrainSettings(steps=9), lambda step, loss: seen.append((step, loss)) or step == 2)
    assert [s for s, _ in seen] == [0, 1, 2] and losses == [loss for _, loss in seen]


def test_a_batch_has_its_types():
    batch = to_batch([np.zeros((4, 6), np.float64)] * 3, [np.ones((4, 6), np.uint8)] * 3)
    assert isinstance(batch, Batch) and batch.images.shape == (3, 1, 4, 6) and batch.labels.shape == (3, 4, 6)
    assert (batch.images.dtype, batch.labels.dtype) == (torch.float32, torch.int64)
    net = small_net().train()
    assert training_step(net, torch.optim.Adam(net.parameters()), Batch(torch.zeros(1, 1, 8, 8), torch.zeros(1, 8, 8, dtype=torch.int64)), TrainSettings()) > 0


# weights on disk

def test_a_round_trip_is_exact(tmp_path):
    net = small_net()
    save_weights(tmp_path / 'a.safetensors', net, seed=7)
    again = load_weights(tmp_path / 'a.safetensors')
    for (name, a), (other, b) in zip(net.state_dict().items(), again.state_dict().items()):
        assert name == other and torch.equal(a, b) and b.device.type == 'cpu'
    assert again.about['seed'] == '7' and not again.training and again.architecture == net.architecture
    np.testing.assert_array_equal(predict(again, pictures()), predict(net.to(memory_format=torch.channels_last), pictures()))
    fit_net(again, lambda step: to_batch(pictures(), np.zeros((2, 32, 32))), TrainSettings(steps=1))      # they can be trained on


def test_reading_weights_draws_no_random_numbers(tmp_path):
    save_weights(tmp_path / 'a.safetensors', small_net())
    torch.manual_seed(3)
    first = torch.rand(1)
    torch.manual_seed(3)
    load_weights(tmp_path / 'a.safetensors')
    assert torch.rand(1) == first


def test_the_weights_that_ship_are_those_of_the_general_training():
    about, wanted = load_weights().about, GeneralSettings()
    assert (int(about['width']), int(about['depth'])) == (wanted.width, wanted.depth)
    assert int(about['steps']) == wanted.train.steps + wanted.polish.steps
    assert len(about['losses'].split(',')) == int(about['steps']) / 25


@pytest.mark.parametrize('header, said', [
    (dict(width='-4'), "width = '-4'"), (dict(width='1000000'), 'width'), (dict(width=''), 'width'), (dict(width='1e3'), 'width'), (dict(depth='60'), 'depth'),
    (dict(depth='10', width='1024'), 'does not fit'), (dict(classes='9'), 'classes'), (dict(width='8'), 'does not fit'), (dict(format='other'), '--weights')])
def test_headers_that_lie_are_refused_without_cost(tmp_path, header, said):
    net = small_net()
    save_weights(tmp_path / 'a.safetensors', net)
    about = {**load_weights(tmp_path / 'a.safetensors').about, **header}
    (tmp_path / 'b.safetensors').write_bytes(save(net.state_dict(), about))
    with pytest.raises(VolumeError, match=said) as error: load_weights(tmp_path / 'b.safetensors')
    assert 'b.safetensors' in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value):
    net = small_net()
    net.head.weight.data[0] = value
    save_weights(tmp_path / 'a.safetensors', net)
    with pytest.raises(VolumeError, match='NaN or infinite'): load_weights(tmp_path / 'a.safetensors')


def test_files_that_are_no_weights_are_refused(tmp_path):
    (tmp_path / 'broken.safetensors').write_text('not weights')
    (tmp_path / 'other.safetensors').write_bytes(save({'a': torch.zeros(2)}))
    for name in ('broken', 'other', 'none'):
        with pytest.raises(VolumeError, match=f'{name}.safetensors'): load_weights(tmp_path / f'{name}.safetensors')


class Trap:
    "What a hostile pickle holds: something that runs when it is opened."
    def __reduce__(self): return Path.touch, (Path('sprung'),)


def test_files_of_other_programs_are_named_and_never_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({'state_dict': small_net().state_dict(), 'x': Trap()}, tmp_path / 'membrain.pth')
    torch.save(Trap(), tmp_path / 'old.pt', _use_new_zipfile_serialization=False)
    Path('plain.pkl').write_bytes(pickle.dumps(Trap()))
    Path('keras.h5').write_bytes(b'\x89HDF\r\n\x1a\n' + bytes(100))
    for name, said in (('membrain.pth', 'PyTorch'), ('old.pt', 'pickle'), ('plain.pkl', 'pickle'), ('keras.h5', 'Keras'), ('.', 'no weights')):
        with pytest.raises(VolumeError, match=said) as error: load_weights(tmp_path / name)
        assert '\n' not in str(error.value) and '--weights' in str(error.value)
    assert not Path('sprung').exists()


@pytest.mark.parametrize('length', [0, 7, 8, 9, 100, 2000, -100, -1])
def test_files_that_were_cut_short_are_refused(length, tmp_path):
    save_weights(tmp_path / 'a.safetensors', small_net())
    (tmp_path / 'b.safetensors').write_bytes((tmp_path / 'a.safetensors').read_bytes()[:length])
    with pytest.raises(VolumeError, match='b.safetensors'): load_weights(tmp_path / 'b.safetensors')


def with_header_of(net, tensors, path):
    "A file with other tensors under the header of a net."
    save_weights(path, net)
    path.write_bytes(save(tensors, load_weights(path).about))
    return path


@pytest.mark.parametrize('change, said', [
    (lambda t: t | {'head.weight': t['head.weight'].to(torch.int8)}, 'head.weight holds I8'), (lambda t: t | {'more': torch.zeros(2)}, "'more' is unknown"),
    (lambda t: {k: v for k, v in t.items() if k != 'head.bias'}, "'head.bias' is missing"), (lambda t: t | {'head.bias': torch.zeros(4)}, r'shape \(4,\), not \(3,\)'),
    (lambda t: t | {k: -v for k, v in t.items() if k.endswith('running_var')}, 'variance below 0')])
def test_tensors_that_are_not_the_nets_are_refused(change, said, tmp_path):
    net = small_net()
    with pytest.raises(VolumeError, match=said): load_weights(with_header_of(net, change(dict(net.state_dict())), tmp_path / 'a.safetensors'))


@pytest.mark.parametrize('kind', [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precision_are_read(kind, tmp_path):
    net = small_net()
    tensors = {k: v.to(kind) if v.is_floating_point() else v for k, v in net.state_dict().items()}
    again = load_weights(with_header_of(net, tensors, tmp_path / 'a.safetensors'))
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    torch.testing.assert_close(again.head.weight, net.head.weight, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize('width', ['9'*5000, '٤', '4\n', ' 4', '4.0', '0'])
def test_numbers_of_a_header_are_small_and_plain(width, tmp_path):
    save_weights(tmp_path / 'a.safetensors', small_net())
    about = {**load_weights(tmp_path / 'a.safetensors').about, 'width': width}
    (tmp_path / 'b.safetensors').write_bytes(save(small_net().state_dict(), about))
    with pytest.raises(VolumeError, match='width') as error: load_weights(tmp_path / 'b.safetensors')
    assert '\n' not in str(error.value) and len(str(error.value)) < 400
