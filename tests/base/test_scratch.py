"Arrays in temporary files: the same numbers, no trace left, a full disk told before anything is written."
import os

import numpy as np
import pytest

from cryoseg.base import limits, scratch
from cryoseg.base.files import CannotWrite, VolumeError
from cryoseg.base.scratch import by_slabs, check_scratch, each_voxel, scratch_array, scratch_folder, slabs


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


def test_the_disk_is_asked_before_the_work(monkeypatch, tmp_path):
    disk = type('Disk', (), dict(total=10**12, free=2**30))
    monkeypatch.setattr(limits.shutil, 'disk_usage', lambda folder: disk)
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    monkeypatch.setattr('tempfile.tempdir', None)
    check_scratch(2**30, 'a.tif')
    with pytest.raises(VolumeError, match=f'a.tif: needs temporary files of 2 GB in {tmp_path}; 1 GB are free: .*TMPDIR'): check_scratch(2**31, 'a.tif')
    (tmp_path/'out').mkdir()
    check_scratch(2**29, 'a.tif', tmp_path/'out', 2**29)
    with pytest.raises(VolumeError, match='of 512 MB in .*, and results of 1 GB on the same disk; 1 GB are free'): check_scratch(2**29, 'a.tif', tmp_path/'out', 2**30)
    check_scratch(2**29, 'a.tif', tmp_path/'not there', 2**30)
    monkeypatch.setattr(scratch.os, 'stat', lambda folder: type('Stat', (), dict(st_dev=hash(str(folder)))))        # another disk
    check_scratch(2**29, 'a.tif', tmp_path/'out', 2**30)
    check_scratch(scratch.IN_MEMORY_BYTES, 'a.tif', tmp_path, 10**15)      # stays in memory
    disk.total = 0                                                         # a disk that does not say
    check_scratch(10**15, 'a.tif')


@pytest.mark.parametrize('axes', [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize('limit', [0, 10**9])
def test_each_voxel_in_the_order_of_the_file(axes, limit, monkeypatch):
    monkeypatch.setattr(scratch, 'IN_MEMORY_BYTES', limit)
    data = np.arange(210, dtype='>i4').reshape(5, 6, 7).transpose(axes)
    made = each_voxel(np.negative, data, np.int32)
    assert np.array_equal(made, -data.astype(np.int32)) and made.strides == data.strides and made.dtype.isnative
