"""Every reader against damaged files: nothing but a result, or one line that names the file; no case over 5 s or 1 GB.

The ordinary tests see some hundred cases of each reader, the long ones a hundred thousand in all; a batch that is done need not be done again:
`python tools/dev.py test tests/fuzz -m long -k "mrc and batch3"`.
"""
import importlib.util
import sys
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location('fuzz', Path(__file__).with_name('fuzz.py'))
fuzz = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz)
pytestmark = pytest.mark.skipif(sys.platform in ('win32', 'darwin'), reason='limits of memory and of processor time are those of Linux')
GROUPS = dict(mrc='mrc mrc_gz mrc_bz2', pictures='tiff tiff_zlib tiff_imagej tiff_ome png jpeg', arrays='npy npz zarr2 zarr3 amira',
              texts='weights regions config record links fragments edits membranes')
BATCHES = range(-(-fuzz.LONG_CASES // (fuzz.BATCH*len(fuzz.READERS))))


def test_every_reader_is_in_a_group():
    assert sorted(' '.join(GROUPS.values()).split()) == sorted(fuzz.READERS)
    assert len(BATCHES)*fuzz.BATCH*len(fuzz.READERS) >= fuzz.LONG_CASES


@pytest.mark.parametrize('group', GROUPS)
def test_some_cases(group):
    faults = fuzz.run_batch(GROUPS[group].split(), 0, fuzz.ORDINARY_CASES)
    assert not faults, '\n'.join(['', *faults])


@pytest.mark.long
@pytest.mark.parametrize('batch', BATCHES, ids=lambda n: f'batch{n}')
@pytest.mark.parametrize('reader', fuzz.READERS)
def test_many_cases(reader, batch):
    faults = fuzz.run_batch([reader], batch*fuzz.BATCH, fuzz.BATCH)
    assert not faults, '\n'.join(['', *faults])
