"Training material, the paper's training, and the training of the net that ships."
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cryoseg.segment import train as room
from cryoseg.segment.settings import GeneralSettings, TrainSettings
from cryoseg.segment.train import (GeneralSet, ImageSet, Sample, draw_crop, mean_loss, mirror_border, paper_images, smear_border,
                                   train_as_paper, train_general, train_round)
from cryoseg.segment.normalise import prepare
from cryoseg.segment.unet import UNet, load_weights

SHORT = TrainSettings(steps=2, batch=2, rate=2e-3, schedule='cosine', dice=.5)
TINY = GeneralSettings(n_scenes=2, n_slabs=1, crop=48, width=2, depth=2, train=SHORT, polish=SHORT, hard=SHORT)


def weights(net): return torch.cat([p.flatten() for p in net.state_dict().values()])


def numbered(side=40):
    "An image whose pixels are all different, and labels that follow it."
    image = np.arange(side * side, dtype=np.float32).reshape(side, side)
    return image, (image % 3).astype(np.uint8)


@pytest.fixture
def stub_material(monkeypatch):
    "Scenes of zeros and slabs of ones, without any simulation."
    monkeypatch.setattr(room, 'draw_scene', lambda settings, seed: (np.zeros((7, 64, 64), np.float16), np.full((64, 64), 1, np.uint8)))
    monkeypatch.setattr(room, 'simulate_slab', lambda settings, seed: (np.full((5, 64, 64), seed % 7, np.float16), np.full((5, 64, 64), 2, np.uint8)))
    monkeypatch.setattr(room, 'draw_hard_scene', lambda settings, seed: (np.zeros((7, 64, 64), np.float16), np.full((64, 64), 1, np.uint8)))
    monkeypatch.setattr(room, 'render_scene', lambda layers, rng, ctf=0., streaks=0., change=None: rng.normal(size=layers.shape[1:]).astype(np.float32))


# crops and borders

def test_a_crop_is_a_square_of_neighbours_with_its_labels():
    image, labels = numbered()
    for seed in range(12):
        cut = draw_crop(image, labels, 16, np.random.default_rng(seed))
        assert cut.image.shape == cut.labels.shape == (16, 16)
        np.testing.assert_array_equal(cut.labels, (cut.image % 3).astype(np.uint8))
        assert {abs(v) for v in np.diff(cut.image, axis=0).ravel()} | {abs(v) for v in np.diff(cut.image, axis=1).ravel()} == {1, 40}


def test_all_eight_orientations_and_all_places_are_drawn():
    image, labels = numbered(9)
    cuts = [draw_crop(image, labels, 8, np.random.default_rng(seed)).image for seed in range(300)]
    assert len({c.tobytes() for c in cuts}) == 8 * 4


def test_layers_are_cut_alike():
    image, labels = numbered()
    cut = draw_crop(np.stack([image, 2 * image]), labels, 16, np.random.default_rng(3))
    np.testing.assert_array_equal(cut.image[1], 2 * cut.image[0])
    np.testing.assert_array_equal(cut.labels, (cut.image[0] % 3).astype(np.uint8))


def test_a_mirrored_border_mirrors_labels_too():
    image, labels = numbered()
    edges = set()
    for seed in range(20):
        out = mirror_border(image, labels, np.random.default_rng(seed))
        np.testing.assert_array_equal(out.labels, (out.image % 3).astype(np.uint8))
        changed = out.image != image
        assert 4 * 40 <= changed.sum() <= 10 * 40 and out.image.shape == (40, 40)
        edges.add(tuple(np.flatnonzero([changed[0].all(), changed[-1].all(), changed[:, 0].all(), changed[:, -1].all()])))
    assert edges == {(0,), (1,), (2,), (3,)}


def test_a_smeared_border_has_no_labels_and_no_detail():
    image = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    for seed in range(8):
        out = smear_border(image, np.ones((40, 40), np.uint8), np.random.default_rng(seed))
        strip = out.labels == 0
        assert 3 * 40 <= strip.sum() < 8 * 40 and (out.image[~strip] == image[~strip]).all()
        axis = 0 if strip[0].all() or strip[-1].all() else 1
        detail = np.diff(out.image, axis=1 - axis)
        assert detail[strip.all(1 - axis)].std() < .5 * detail.std() if axis == 0 else detail[:, strip.all(0)].std() < .5 * detail.std()


def test_borders_leave_their_input_alone():
    image, labels = numbered()
    for change in (mirror_border, smear_border):
        change(image, labels, np.random.default_rng(1))
        np.testing.assert_array_equal(image, numbered()[0])
        np.testing.assert_array_equal(labels, numbered()[1])


# the paper's training

def test_the_loss_of_a_set_is_pytorchs_and_keeps_the_mode():
    rng = np.random.default_rng(0)
    data = ImageSet([rng.normal(size=(16, 16)).astype(np.float32) for _ in range(3)], [rng.integers(0, 3, (16, 16)) for _ in range(3)])
    net = UNet(2, 2)
    for mode in (True, False):
        net.train(mode)
        loss = mean_loss(net, data)
        assert net.training is mode
    with torch.inference_mode(): wanted = F.cross_entropy(net(torch.from_numpy(np.stack(data.images))[:, None]), torch.from_numpy(np.stack(data.labels)))
    assert loss == pytest.approx(wanted.item(), rel=1e-5)


def test_images_depend_on_their_seed_alone():
    one, two = paper_images(5, 3), paper_images(6, 1)
    np.testing.assert_array_equal(one.images[1], two.images[0])
    np.testing.assert_array_equal(one.labels[1], two.labels[0])
    assert (one.images[0] != one.images[1]).any()
    assert abs(one.images[0].mean()) < .01 and one.images[0].std() == pytest.approx(1, rel=.01)       # prepared


@pytest.fixture
def small_images(monkeypatch):
    "Images of 32 pixels instead of 256, and the seeds that were asked for."
    asked = []

    def images(first, n, model=None, workers=1):
        asked.append(range(first, first + n))
        made = [np.random.default_rng(s).normal(size=(32, 32)).astype(np.float32) for s in asked[-1]]
        return ImageSet(made, [(m < -1).astype(np.uint8) for m in made])

    monkeypatch.setattr(room, 'paper_images', images)
    return asked


def run(seed=0, **given):
    return train_as_paper(seed=seed, **{**dict(epochs=3, n_images=(12, 2, 3), settings=TrainSettings(batch=4, rate=.02), width=2, test_every=2), **given})


def test_the_checkpoint_is_that_of_the_smallest_test_loss(small_images):
    trained = run()
    assert trained.train_loss.shape == (9, 2) and trained.test_loss.shape == trained.validation_loss.shape == (4, 2)
    np.testing.assert_allclose(trained.train_loss[:, 0], np.arange(1, 10) / 3)
    test = room.paper_images(small_images[1].start, 2)
    assert mean_loss(trained.net, test) == pytest.approx(trained.test_loss[:, 1].min(), rel=1e-5)
    assert not trained.net.training and len(trained.validation.images) == 3


def test_the_test_images_choose_and_not_the_last_step(small_images, monkeypatch):
    losses, states = iter([3., 0., 1., 9., 2., 0., 5., 0.]), []              # test, validation, test, ...
    monkeypatch.setattr(room, 'mean_loss', lambda net, data: states.append(weights(net)) or next(losses))
    trained = run()
    assert torch.equal(weights(trained.net), states[2]) and not torch.equal(states[2], states[6])
    assert trained.test_loss[:, 1].tolist() == [3, 1, 2, 5] and trained.validation_loss[:, 1].tolist() == [0, 9, 0, 0]


def test_no_image_is_used_twice(small_images):
    for seed in (0, 1): run(seed)
    seeds = [s for r in small_images for s in r]
    assert len(seeds) == len(set(seeds)) == 2 * 17


def test_a_seed_gives_a_net(small_images):
    assert torch.equal(weights(run(4).net), weights(run(4).net))
    assert not torch.equal(weights(run(4).net), weights(run(5).net))


def test_every_image_is_seen_once_an_epoch(small_images, monkeypatch):
    batches, original = [], room.to_batch
    monkeypatch.setattr(room, 'to_batch', lambda images, labels: batches.append(len(images)) or original(images, labels))
    run(test_every=99)
    assert batches == [4] * 9


def test_it_can_be_stopped(small_images):
    assert len(run(after_step=lambda step, loss: step == 3).train_loss) == 4


# the general training

@pytest.mark.parametrize('fraction, label', [(0., 1), (1., 2)])
def test_the_fraction_of_slabs_is_kept(stub_material, fraction, label):
    data = GeneralSet(replace(TINY, slab_fraction=fraction, border_fraction=0.), seed=1, workers=1)
    assert len(data.scenes) == 2 and len(data.slices) == 2                  # every third of five slices
    for seed in range(5):
        image, labels = data.draw(np.random.default_rng(seed))
        assert image.shape == (48, 48) and image.dtype == np.float32 and set(np.unique(labels)) == {label}


def test_rounds_and_trainings_share_no_seed(stub_material, monkeypatch):
    asked = []
    monkeypatch.setattr(room, 'in_parallel', lambda make, seeds, workers: asked.append(seeds) or [make(s % 1000) for s in seeds])
    one = replace(SHORT, steps=1)
    few = replace(TINY, n_scenes=1200, n_slabs=80, train=one, polish=one, hard=one)
    for seed in (0, 1): train_general(few, seed, workers=1)
    seeds = [s for r in asked for s in r]
    assert len(seeds) == len(set(seeds)) == 6 * 1280


def test_a_batch_is_drawn_in_order(stub_material):
    data = GeneralSet(TINY, seed=1, workers=1)
    batch, rng = data.batch(np.random.default_rng(7), 3), np.random.default_rng(7)
    for image in batch.images[:, 0]: np.testing.assert_array_equal(image.numpy(), data.draw(rng).image)


@pytest.mark.parametrize('part', [0, 1, 2])
def test_real_material_is_prepared_and_labelled(part):
    data = GeneralSet(replace(TINY, border_fraction=1.), seed=5, workers=1, part=part)
    drawn = [data.draw(np.random.default_rng(s)) for s in range(6)]
    assert all(isinstance(d, Sample) and np.isfinite(d.image).all() and abs(d.image.mean()) < .01 for d in drawn)
    assert {1} <= {int(v) for d in drawn for v in np.unique(d.labels)} <= {0, 1, 2, 255}
    assert sorted(getattr(data.render, 'keywords', {})) == [[], ['ctf', 'streaks'], ['change', 'ctf', 'streaks']][part]


def test_all_rounds_train_one_net(stub_material):
    losses = []
    trained = train_general(TINY, 0, workers=1, after_step=lambda step, loss: losses.append(loss))
    assert trained.losses == losses and len(losses) == 6
    assert torch.equal(weights(trained.net), weights(train_general(TINY, 0, workers=1).net))
    assert not torch.equal(weights(trained.net), weights(train_general(TINY, 1, workers=1).net))
    none = replace(SHORT, steps=0)
    only_shapes = train_general(replace(TINY, polish=none, hard=none), 0, workers=1)
    assert only_shapes.losses == losses[:2] and train_round(trained.net, 0, replace(TINY, train=none), 0) == []


def trained_in_pieces(script, path, steps_a_sitting, **given):
    "The weights of a training that is stopped after so many steps, again and again."
    def sit(trainer):
        done, after = [], trainer.after_step
        def counted(step, loss):
            done.append(step)
            if len(done) == steps_a_sitting: trainer.until = -1.
            return after(step, loss)
        trainer.after_step = counted
        return trainer.run()
    make = lambda: script.Trainer(path, TINY, 3, 1, say=lambda *a, **k: None)
    sittings, done = 1, sit(make().start(**given))
    while not done: sittings, done = sittings + 1, sit(make().resume())
    return sittings, load_weights(path)


def test_a_training_that_is_stopped_ends_as_one_that_is_not(stub_material, tmp_path):
    import train_weights as script
    _, whole = trained_in_pieces(script, tmp_path / 'whole.safetensors', 99)
    for steps in (1, 3, 5):
        sittings, net = trained_in_pieces(script, tmp_path / f'{steps}.safetensors', steps)
        assert sittings > 1 and torch.equal(weights(net), weights(whole)) and net.about == whole.about
        assert not list(tmp_path.glob('*.checkpoint'))
    assert torch.equal(weights(whole), weights(train_general(TINY, 3, workers=1).net))


def test_the_script_writes_weights_and_their_history(stub_material, tmp_path):
    import train_weights as script
    first = script.Trainer(tmp_path / 'new.safetensors', TINY, 3, 1, say=print).start()
    assert first.run()
    about = load_weights(tmp_path / 'new.safetensors').about
    assert (about['seed'], about['steps'], about['losses']) == ('3', '6', f'{np.mean(first.losses):.4f}')
    more = script.Trainer(tmp_path / 'more.safetensors', TINY, 3, 1, say=print).start(tmp_path / 'new.safetensors', 2)
    assert more.run() and len(more.losses) == 2
    about = load_weights(tmp_path / 'more.safetensors').about
    assert about['steps'] == '8' and len(about['losses'].split(',')) == 2
    assert script.mean_losses([1.] * 25 + [2.] * 10) == '1.0000,2.0000'
    with pytest.raises(SystemExit): script.main([])                         # it never writes where it was not told to
    with pytest.raises(SystemExit, match='no .* to go on from'): script.main(['-o', str(tmp_path / 'none.safetensors'), '--resume'])


@pytest.mark.long
def test_a_checkpoint_of_another_training_is_refused(stub_material, tmp_path):
    import train_weights as script
    trainer = script.Trainer(tmp_path / 'a.safetensors', TINY, 3, 1, minutes=1e-9, say=print).start()
    assert not trainer.run() and trainer.checkpoint.exists()
    with pytest.raises(SystemExit, match='another seed'): script.Trainer(tmp_path / 'a.safetensors', TINY, 4, 1).resume()
    with pytest.raises(SystemExit, match='other settings'): script.Trainer(tmp_path / 'a.safetensors', replace(TINY, crop=32), 3, 1).resume()


def test_the_model_card_names_the_script():
    card = Path(sys.modules['cryoseg'].__file__).parent / 'weights' / 'README.md'
    assert 'tools/train_weights.py' in card.read_text(encoding='utf-8')
    assert prepare.__module__ in card.read_text(encoding='utf-8')
