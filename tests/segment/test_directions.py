"Looking along y and x, too: every voxel at its place, padding known from every side, flat membranes found."
import numpy as np
import pytest

from cryoseg.phantom.phantom import simulate_phantom
from cryoseg.phantom.settings import PhantomSettings
from cryoseg.segment.directions import BLOCK, MIN_SIDE_VOX, side_answers, side_padding, sides_are_long, three_directions
from cryoseg.segment.padding import find_padding
from cryoseg.segment.predict import Plan, label_slices, plan, segment_volume
from cryoseg.segment.settings import SegmentSettings

BITS = dict(precision='auto', workers=1)


def noise(*shape, seed=0): return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize('shape', [(5, BLOCK, BLOCK + 1), (3, 2*BLOCK - 1, 7), (1, 1, 1)])
@pytest.mark.parametrize('reach', [0, 1, 3])
def test_every_answer_comes_to_its_place(shape, reach):
    "An answer that says where it was asked comes back there; neighbours of a block are asked and not kept."
    data, steps = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 100, []
    def ask(block, padding):
        assert block.flags.c_contiguous and padding is None and 1 <= len(block) <= BLOCK + 2*reach
        return (np.stack([image, -image]) for image in block)
    total = side_answers(data, ask, reach, step=steps.append)
    np.testing.assert_allclose(total[:, 0], 2*data, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(total[:, 1], -2*data, rtol=2e-3, atol=2e-3)
    assert sum(steps) == shape[1] + shape[2]
    mean = np.stack(list(three_directions((np.stack([image, -image]) for image in data), total)))
    np.testing.assert_allclose(mean[:, 0], data, rtol=2e-3, atol=2e-3)


def test_padding_is_known_from_every_side():
    data = noise(20, 40, 33)
    data[:, :9], data[:6, 20:, 25:] = 0, 0
    padding = find_padding(data)
    valid = ~padding.mask
    for axis, start in ((1, 0), (1, 8), (2, 0), (2, 24)):
        seen = side_padding(padding, axis, start)
        for k in range(4):
            wanted = valid[:, start + k] if axis == 1 else valid[:, :, start + k]
            found = seen.valid(k)
            assert wanted.all() if found is None else (found == wanted).all()
    assert side_padding(None, 1, 0) is None and side_padding(find_padding(noise(20, 40, 33)), 1, 0) is None


def test_thin_volumes_have_no_sides():
    assert sides_are_long((MIN_SIDE_VOX,)*3) and not sides_are_long((MIN_SIDE_VOX - 1, 500, 500))


@pytest.fixture(scope='module')
def phantom(): return simulate_phantom(PhantomSettings(shape=(56, 96, 96), n_vesicles=1, cnr=1.), seed=3)


def member_iou(labels, truth): return ((labels == 1) & (truth == 1)).sum() / ((labels == 1) | (truth == 1)).sum()


def test_three_directions_find_more_and_workers_change_nothing(phantom):
    data, told = phantom.tomogram.data, []
    plain = segment_volume(data, None, 10., SegmentSettings(**BITS))
    best = segment_volume(data, None, 10., SegmentSettings(quality='best', **BITS), progress=lambda done, total: told.append((done, total)))
    assert member_iou(best.labels, phantom.labels) > member_iou(plain.labels, phantom.labels)
    assert told[-1] == (56 + 96 + 96,)*2 and told == sorted(told)
    two = segment_volume(data, None, 10., SegmentSettings(quality='best', workers=2))
    assert two.probability.tobytes() == best.probability.tobytes()


def test_fast_shows_the_net_fewer_pixels():
    from cryoseg.segment.engines import TorchEngine
    from cryoseg.segment.unet import UNet
    engine, fast = TorchEngine(UNet(2, 1).eval()), SegmentSettings(quality='fast')
    assert plan(noise(4, 16, 16), engine, 10., fast) == Plan(1, (.8,))
    assert plan(noise(1, 16, 16), engine, 10., fast) == Plan(1, (.8,))
    assert plan(noise(4, 16, 16), engine, 10., SegmentSettings(quality='fast', scale=1.)) == Plan(1, (1.,))
    with pytest.warns(match='voxel size is not known'): assert plan(noise(4, 16, 16), engine, None, fast) == Plan(1, (1.5,))


@pytest.mark.parametrize('shape, size', [((8, 40, 40), 10.), ((1, 64, 64), 10.), ((33, 40, 40), None)])
def test_best_is_normal_where_sides_show_too_little(shape, size):
    import warnings
    data = noise(*shape)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        best, plain = (segment_volume(data, None, size, SegmentSettings(quality=q, **BITS)) for q in ('best', 'normal'))
    assert best.probability.tobytes() == plain.probability.tobytes()


@pytest.mark.parametrize('shape, size_A, why', [((20, 40, 40), 10., 'a side of 20 voxels'), ((40, 40, 40), None, 'size is not known')])
def test_best_that_is_no_better_is_said(shape, size_A, why):
    data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    with pytest.warns(UserWarning, match=f'quality best: .*{why}'):
        next(label_slices(data, None, size_A, SegmentSettings(quality='best', workers=1)))
