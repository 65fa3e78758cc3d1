"What computes the net: PyTorch and OpenVINO give the same labels, and each choice is the right one or refused in a line."
import os
import shutil
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest
import torch

from cryoseg.base.files import VolumeError, VolumeWarning
from cryoseg.phantom.phantom import simulate_phantom
from cryoseg.phantom.settings import PhantomSettings
from cryoseg.segment import engines as room
from cryoseg.segment import predict as asking
from cryoseg.segment.engines import (Choice, Engine, OpenVinoEngine, TorchEngine, choose, engine_for, has_bf16, import_openvino, is_installed, open_engine,
                                     quantised_path, read_quantised, save_quantised, single_threads, thread_pool, to_device, unet_graph, use_bf16)
from cryoseg.segment.predict import ask_slices, segment_volume
from cryoseg.segment.settings import SegmentSettings
from cryoseg.segment.unet import UNet, load_weights, save_weights
from cryoseg.segment.weights import default_weights, read_weights

FLOAT = SegmentSettings(engine='torch', precision='float32', workers=1)
BITS = SegmentSettings(engine='openvino', precision='int8', workers=1)
PLAIN = SegmentSettings(precision='float32', workers=1, scale=1., flips=1, scale_spread=0., neighbours=0)


@pytest.fixture(scope='module')
def phantom():
    "The middle slices of a phantom: image and truth."
    made = simulate_phantom(PhantomSettings(shape=(40, 160, 160), n_vesicles=3, cnr=1.), seed=4)
    return np.asarray(made.tomogram.data)[15:25], made.labels[15:25]


@pytest.fixture(scope='module')
def by_torch(phantom): return segment_volume(phantom[0], None, 10., FLOAT)


@pytest.fixture(scope='module')
def by_bits(phantom): return segment_volume(phantom[0], None, 10., BITS)


def noise(*shape, seed=0): return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def small_net(depth=2, seed=0):
    torch.manual_seed(seed)
    return UNet(3, depth).eval()


def without(monkeypatch, *names):
    "As if packages were not installed: importing them fails."
    for name in names: monkeypatch.setitem(sys.modules, name, None)


# the same answers

def test_the_graph_is_the_net():
    "Every size, odd ones and tiny ones too, several images at a time."
    weights = read_weights()
    graph, net = OpenVinoEngine(unet_graph(weights), weights.net), TorchEngine(load_weights())
    for shape in ((1, 64, 80), (2, 45, 51), (1, 1, 1), (1, 3, 200)):
        x = noise(*shape)
        assert graph.answer(x).shape == (shape[0], 3, *shape[1:]) and graph.answer(x).dtype == np.float32
        np.testing.assert_allclose(graph.answer(x), net.answer(x), atol=2e-5)
    assert (graph.depth, graph.classes) == (net.depth, net.classes) == (4, 3)


@pytest.mark.parametrize('depth', [1, 3])
def test_the_graph_of_any_net(tmp_path, depth):
    net = small_net(depth)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.running_mean, module.weight.data, module.bias.data): values.uniform_(.5, 2)
    save_weights(tmp_path / 'a.safetensors', net)
    weights, x = read_weights(tmp_path / 'a.safetensors'), noise(1, 40, 24)
    np.testing.assert_allclose(OpenVinoEngine(unet_graph(weights), weights.net).answer(x), TorchEngine(net).answer(x), atol=2e-5)


def test_labels_of_the_engines_agree(phantom, by_torch, by_bits):
    assert (by_bits.labels == by_torch.labels).mean() > .999
    truth = phantom[1] == 1
    def iou(labels): return ((labels == 1) & truth).sum() / ((labels == 1) | truth).sum()
    assert iou(by_bits.labels) > iou(by_torch.labels) - .01
    graph = segment_volume(phantom[0][:4], None, 10., SegmentSettings(engine='openvino', precision='float32', workers=1))
    assert (graph.labels == segment_volume(phantom[0][:4], None, 10., FLOAT).labels).mean() > .9999


def test_labels_of_an_image_that_nobody_here_made_agree():
    from skimage.data import cell
    image = cell()[100:420, 60:380].astype(np.float32)[None]        # phase contrast, not tomography: strange for the net
    one, other = (segment_volume(image, None, 10., s).labels for s in (FLOAT, BITS))
    assert (one == 1).any() and (one == other).mean() > .99


def test_eight_bits_do_not_depend_on_workers_or_company(phantom, by_bits):
    data = phantom[0]
    for workers in (2, 3):
        again = segment_volume(data, None, 10., SegmentSettings(engine='openvino', precision='int8', workers=workers))
        assert again.probability.tobytes() == by_bits.probability.tobytes() and again.labels.tobytes() == by_bits.labels.tobytes()
    engine = open_engine(BITS)
    alone = engine.answer(noise(1, 64, 64))
    engine.answer(noise(1, 200, 80))                                # another size between
    np.testing.assert_array_equal(engine.answer(noise(1, 64, 64)), alone)


def test_float32_is_the_net_of_pytorch_to_the_last_byte(phantom, by_torch):
    given = segment_volume(phantom[0], load_weights(), 10., SegmentSettings(precision='float32', workers=2))
    assert given.probability.tobytes() == by_torch.probability.tobytes()


# what is chosen

def test_what_is_chosen_by_itself(monkeypatch):
    monkeypatch.setattr(room.platform, 'machine', lambda: 'x86_64')
    assert choose() == Choice('openvino', 'int8') and str(choose()) == 'openvino int8'
    assert choose(SegmentSettings(precision='float32')) == Choice('torch', 'float32')
    assert choose(SegmentSettings(precision='bf16')) == Choice('torch', 'bf16')
    assert choose(SegmentSettings(precision='int8')) == Choice('openvino', 'int8')
    assert choose(SegmentSettings(engine='torch')).engine == 'torch'
    assert choose(SegmentSettings(engine='openvino', precision='bf16')) == Choice('openvino', 'bf16')
    monkeypatch.setattr(room.platform, 'machine', lambda: 'arm64')
    assert choose().engine == 'torch' and choose(SegmentSettings(engine='openvino')) == Choice('openvino', 'int8')


def test_without_openvino_pytorch_computes(monkeypatch, phantom):
    without(monkeypatch, 'openvino')
    assert not is_installed('openvino') and choose().engine == 'torch'
    found = segment_volume(phantom[0][:2], None, 10., SegmentSettings(workers=1))
    assert (found.labels == 1).any()
    for wanted in (dict(engine='openvino'), dict(precision='int8')):
        with pytest.raises(VolumeError, match='pip install openvino'): open_engine(SegmentSettings(**wanted))


def test_without_pytorch_openvino_computes(monkeypatch):
    without(monkeypatch, 'torch')
    assert choose() == Choice('openvino', 'int8') and choose(SegmentSettings(precision='float32')) == Choice('openvino', 'float32')
    for wanted in (dict(engine='torch'), dict(device='cuda')):
        with pytest.raises(VolumeError, match='PyTorch is not installed'): choose(SegmentSettings(**wanted))


def test_what_cannot_be_is_refused():
    with pytest.raises(VolumeError, match='on the processor, not on cuda'): choose(SegmentSettings(engine='openvino', device='cuda'))
    with pytest.raises(VolumeError, match='PyTorch has no such weights'): choose(SegmentSettings(engine='torch', precision='int8'))
    with pytest.raises(VolumeError, match='PyTorch has no such weights'): TorchEngine(small_net(), 'int8')


def test_a_net_in_memory_is_pytorchs_and_an_engine_stays():
    engine = engine_for(small_net(), SegmentSettings(precision='float32'))
    assert isinstance(engine, TorchEngine) and engine_for(engine) is engine
    assert isinstance(engine_for(None, SegmentSettings(engine='openvino')), OpenVinoEngine)
    with pytest.raises(NotImplementedError): Engine(Choice('none', 'float32'), 1, 3).answer(noise(1, 4, 4))


# quantised weights belong to their net

@pytest.fixture
def mine(tmp_path):
    "Weights of one's own, with quantised ones beside them."
    for path in (default_weights(), quantised_path()): shutil.copy(path, tmp_path / path.name.replace('general', 'mine'))
    return tmp_path / 'mine.safetensors'


def test_quantised_weights_are_found_beside_the_float_ones(mine):
    assert quantised_path(mine).name == 'mine.int8.safetensors' and read_quantised(mine).net == read_weights(mine).net
    assert choose(SegmentSettings(weights=str(mine))) == Choice('openvino', 'int8')


def test_weights_without_quantised_ones_are_computed_in_floats(mine):
    quantised_path(mine).unlink()
    assert choose(SegmentSettings(weights=str(mine))).engine == 'torch'
    assert choose(SegmentSettings(weights=str(mine), engine='openvino')).precision in ('bf16', 'float32')
    with pytest.raises(VolumeError, match='no quantised weights at .*mine.int8.safetensors.*quantise_weights'):
        open_engine(SegmentSettings(weights=str(mine), precision='int8'))


def damaged(path):
    raw = bytearray(path.read_bytes())
    raw[-5000] ^= 255
    path.write_bytes(raw)


@pytest.mark.parametrize('harm, said', [
    (lambda path: save_weights(path, UNet(16, 4)), 'made from other weights'), (lambda path: damaged(quantised_path(path)), 'is damaged'),
    (lambda path: quantised_path(path).write_bytes(b'PK\3\4' + bytes(50)), 'PyTorch file'), (lambda path: quantised_path(path).write_bytes(b''), 'damaged'),
    (lambda path: shutil.copy(path, quantised_path(path)), 'cannot be read|no quantised weights')])
def test_quantised_weights_that_do_not_fit_are_never_used(mine, harm, said):
    harm(mine)
    with pytest.warns(VolumeWarning, match=said): assert choose(SegmentSettings(weights=str(mine))).engine == 'torch'
    with pytest.raises(VolumeError, match=said): open_engine(SegmentSettings(weights=str(mine), precision='int8'))


def test_weights_that_are_missing_are_named(tmp_path):
    for engine in ('auto', 'openvino', 'torch'):
        with pytest.raises(VolumeError, match='no weights at .*none.safetensors'): open_engine(SegmentSettings(weights=str(tmp_path / 'none.safetensors'), engine=engine))


def test_what_is_saved_is_read(mine):
    kept = read_quantised(mine)
    graph = np.frombuffer(kept.graph, np.uint8)
    save_quantised(quantised_path(mine), graph, kept.constants, mine, seed=3)
    again = read_quantised(mine)
    assert again.graph == kept.graph and again.constants.tobytes() == kept.constants.tobytes() and again.about['seed'] == '3'


# nothing is sent, nothing heavy is imported

def test_importing_openvino_sends_nothing_and_writes_nothing(tmp_path):
    "Its telemetry writes into the home folder, and sends, as soon as it is imported."
    code = ('import sys; from cryoseg.segment.engines import open_engine; open_engine(); '
            'assert "openvino" in sys.modules and not [m for m in sys.modules if m.startswith("openvino_telemetry")]')
    run = subprocess.run([sys.executable, '-c', code], env={**os.environ, 'HOME': str(tmp_path), 'USERPROFILE': str(tmp_path)}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_telemetry_that_was_there_stays(monkeypatch):
    there = object()
    monkeypatch.setitem(sys.modules, room.TELEMETRY, there)
    import_openvino()
    assert sys.modules[room.TELEMETRY] is there


def test_segmenting_with_openvino_imports_no_pytorch(tmp_path):
    from cryoseg.base.formats import write_volume
    from cryoseg.base.volume import Volume
    write_volume(tmp_path / 'a.mrc', Volume(noise(3, 48, 48), 10.))
    code = (f'import sys; sys.argv = ["cryoseg", "segment", r"{tmp_path / "a.mrc"}", "-o", r"{tmp_path / "labels.mrc"}", "--engine", "openvino"]\n'
            'from cryoseg.run.cli import main\ntry: main()\nexcept SystemExit as e: assert not e.code, e.code\n'
            'assert "openvino" in sys.modules and "torch" not in sys.modules')
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert run.returncode == 0 and (tmp_path / 'labels.mrc').exists(), run.stderr


# the device

@pytest.mark.parametrize('on_gpu', [True, False])
def test_auto_asks_the_device_that_computes(monkeypatch, on_gpu):
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda *a, **k: on_gpu)
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: 'DEFAULT' if on_gpu else 'AVX512')
    monkeypatch.setattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported', lambda: True)
    assert use_bf16('auto', 'cuda') is on_gpu and use_bf16('auto', 'cpu') is (not on_gpu) and use_bf16('auto') is has_bf16('cpu')
    assert use_bf16('bf16', 'cpu') and use_bf16('bf16', 'cuda') and not use_bf16('float32', 'cpu') and not use_bf16('float32', 'cuda')


def test_a_run_on_a_gpu_asks_the_gpu(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda *a, **k: asked.append('gpu') or False)
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: asked.append('cpu') or 'DEFAULT')
    monkeypatch.setattr(room, 'to_device', lambda net, device: net)         # there is none here
    list(ask_slices(noise(1, 16, 16), TorchEngine(small_net(), 'auto', 'cuda'), settings=SegmentSettings(scale=1., workers=1)))
    assert set(asked) == {'gpu'}
    asked.clear()
    list(ask_slices(noise(1, 16, 16), TorchEngine(small_net(), 'auto', 'cpu'), settings=SegmentSettings(scale=1., workers=1)))
    assert set(asked) == {'cpu'}


def test_what_is_not_there_is_refused(monkeypatch):
    with pytest.raises(VolumeError, match='int7'): use_bf16('int7')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(VolumeError, match='no GPU'): to_device(small_net(), 'cuda')
    with pytest.raises(VolumeError, match='no GPU'): segment_volume(noise(1, 16, 16), small_net(), 10., SegmentSettings(device='cuda'))
    assert to_device(small_net(), 'cpu').device.type == 'cpu'


# threads

@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def later_threads():
    "How many torch threads a thread gets that starts now."
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0], torch.get_num_threads()


def test_one_torch_thread_inside_and_as_before_outside(two_threads):
    with single_threads(3) as pool: inside = list(pool.map(lambda k: torch.get_num_threads(), range(6)))
    assert inside == [1] * 6 and later_threads() == (2, 2)


@pytest.mark.parametrize('where', ['pool', 'slice', 'progress'])
def test_threads_are_put_back_after_errors(two_threads, monkeypatch, where):
    def fail(*args, **given): raise RuntimeError('on purpose')
    with pytest.raises(RuntimeError, match='on purpose'):
        if where == 'pool':
            with single_threads(2): fail()
        if where == 'slice': monkeypatch.setattr(asking, 'segment_slice', fail)
        segment_volume(noise(3, 16, 16), small_net(), settings=PLAIN, progress=fail if where == 'progress' else None)
    assert later_threads() == (2, 2)


def test_segmenting_leaves_the_threads_alone(two_threads):
    before = cv2.getNumThreads()
    for net in (small_net(), open_engine(BITS)):
        segment_volume(noise(3, 16, 16), net, settings=PLAIN)
        assert later_threads() == (2, 2) and cv2.getNumThreads() == before
    with thread_pool(2): assert cv2.getNumThreads() == 1
