"Arrays in temporary files: the same numbers, no trace left, a full disk told before anything is written."
import os

import numpy as np
import pytest

from cryoseg.base import scratch
from cryoseg.base.files import CannotWrite
from cryoseg.base.scratch import by_slabs, scratch_array, scratch_folder, slabs


@pytest.mark.parametrize('shape', [(3, 4, 5), (0, 4, 5), (2, 3), ()])
@pytest.mark.parametrize('limit', [0, 10**9])
def test_zeros_wherever_they_lie(shape, limit):
    made = scratch_array(shape, np.uint16, limit)
    assert made.shape == shape and made.dtype == np.uint16 and not made.any()
    made[...] = 7
    assert (made == 7).all() and type(made) is np.ndarray


def test_no_file_is_left_and_none_is_seen(tmp_path, monkeypatch):
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    monkeypatch.setattr('tempfile.tempdir', None)
    made = scratch_array((100, 100), np.float32, 0)
    made[:] = 1
    assert scratch_folder() == tmp_path and os.listdir(tmp_path) == []


def test_a_full_disk_is_told_with_a_remedy(monkeypatch):
    def full(file, n_bytes): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(scratch, '_reserve', full)
    with pytest.raises(CannotWrite, match='19.5 kB are needed for a while.*TMPDIR'): scratch_array((100, 100), np.uint16, 0)


@pytest.mark.parametrize('n', [1, 90, 250, 10**9])
def test_slabs_cover_all_slices_once(n):
    parts = list(slabs((7, 9, 10), n))
    assert [z for part in parts for z in range(part.start, part.stop)] == list(range(7))
    assert all((part.stop - part.start)*90 <= max(n, 90) for part in parts)
    data = np.arange(630).reshape(7, 9, 10)
    assert np.array_equal(by_slabs(lambda part: part % 2 == 0, data, bool), data % 2 == 0)
