"""Slices labelled block by block are those of the whole volume, whatever the settings leave open."""
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from cryoseg.base.formats import write_volume
from cryoseg.base.pool import ByFile
from cryoseg.base.volume import Volume
from cryoseg.result.folder import read_input
from cryoseg.result.settings import InputSettings
from cryoseg.run.blocks import BLOCK_SLICES, SliceBlock, label_in_blocks
from cryoseg.run.labelling import labelled_slices
from cryoseg.run.settings import RunSettings, with_values
from cryoseg.segment.engines import open_engine
from cryoseg.segment.padding import find_padding
from cryoseg.segment.predict import label_slices
from cryoseg.segment.settings import SegmentSettings

DEPTH = BLOCK_SLICES + 1       # the last block is a single slice
FLOAT = SegmentSettings(precision='float32', workers=1)


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    "A dark shell in noise, beside a rim that holds no image; a whole slice is empty, too."
    z, y, x = np.ogrid[:DEPTH, :48, :64]
    shell = np.abs(np.sqrt((z - 8)**2 + (y - 24)**2 + (x - 24)**2) - 17) < 1.5
    data = (np.random.default_rng(0).normal(size=shell.shape) - 4*shell).astype(np.float32)
    data[:, :, 52:] = 0
    data[14] = 0
    path = tmp_path_factory.mktemp('blocks')/'shell.mrc'
    write_volume(path, Volume(data, 10.))
    return path


@pytest.mark.filterwarnings('ignore::cryoseg.base.files.VolumeWarning')
@pytest.mark.parametrize('change, size_A', [(dict(), 10.), (dict(neighbours=3, flips=2), None), (dict(neighbours=0, scale_spread=.2), None)], ids=str)
def test_blocks_are_as_the_whole(path, tmp_path, change, size_A):
    settings, seen = replace(FLOAT, **change), []
    data = read_input(path).data
    padding = find_padding(data)
    assert padding.bits is not None
    whole = list(label_slices(data, None, size_A, settings, None, padding))
    with ThreadPoolExecutor(1) as thread:
        pool = ByFile(thread, tmp_path)
        blocks = list(label_in_blocks(pool, path, InputSettings(), data, open_engine(settings), size_A, settings, lambda *x: seen.append(x), padding))
    assert len(blocks) == DEPTH and seen == [(z, DEPTH) for z in range(1, DEPTH + 1)]
    assert sum((b.labels == 1).sum() for b in blocks) > 100
    for one, two in zip(whole, blocks):
        assert (one.labels == two.labels).all() and (one.probability == two.probability).all()


def test_a_block_reads_its_neighbours_within_the_volume():
    def read(start, stop, reach):
        place = SliceBlock('a', InputSettings(), replace(FLOAT, neighbours=reach), 10., start, stop, 40).read
        return place.start, place.stop
    assert read(0, 16, 1) == (0, 17) and read(16, 32, 2) == (14, 34) and read(32, 40, 5) == (27, 40) and read(8, 9, 0) == (8, 9)


@pytest.mark.parametrize('change, depth', [(dict(), 1), (dict(quality='best'), 40)], ids=str)
def test_what_blocks_would_label_otherwise_is_not_cut(change, depth):
    "A single image, seen at several scales, and a volume that is looked at along all axes."
    asked = []
    image = np.random.default_rng(0).normal(size=(depth, 40, 40)).astype(np.float32)
    settings = with_values(RunSettings(), {'segment.workers': 1} | {f'segment.{name}': value for name, value in change.items()})
    next(labelled_slices(Volume(image, 10.), settings, label=lambda *words: asked.append(words)))
    assert not asked


def test_a_block_has_the_engine_of_the_whole_and_its_own_files(path, tmp_path):
    "A worker with another engine fails rather than mix; of a file that was replaced nothing old is kept."
    data, seen = read_input(path).data, []

    class Seen:
        def map(self, function, blocks):
            seen.append(list(blocks))
            return []
    for _ in range(2): list(label_in_blocks(Seen(), path, InputSettings(), data, open_engine(FLOAT), 10., FLOAT))
    one, other = (blocks[0] for blocks in seen)
    assert (one.segment.engine, one.segment.precision) == ('torch', 'float32') and one.work != other.work
