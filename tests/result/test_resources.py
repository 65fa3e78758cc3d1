"What a stage will need is compared with what is there, before anything is done."
import shutil

import pytest

from cryoseg.base.files import VolumeError
from cryoseg.result.resources import affordable_workers, check_resources, check_space, check_stage_memory
from cryoseg.run.settings import RunSettings, result_settings, with_values

GB = 2**30


@pytest.mark.parametrize('free, total, enough', [(10**9, 10**12, True), (10**6, 10**12, False), (0, 0, True)])
def test_space_is_counted_before(tmp_path, monkeypatch, free, total, enough):
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage(total, total - free, free))
    if enough: check_space(tmp_path, 10**8, 'surface')
    else:
        with pytest.raises(VolumeError, match='surface needs 111 MB, the disk has 977 kB free'): check_space(tmp_path, 10**8, 'surface')


def test_memory_is_counted_before(monkeypatch):
    monkeypatch.setattr('cryoseg.result.resources.free_memory', lambda: 2*GB)
    check_stage_memory('connect', 2*10**9)
    with pytest.raises(VolumeError, match='connect of 3,000,000,000 voxels needs 2.79 GB of memory, 2 GB are free'): check_stage_memory('connect', 3*10**9)
    with pytest.raises(VolumeError, match='1 GB are allowed'): check_stage_memory('connect', 10**9, '1G')
    check_stage_memory('connect', 3*10**9, '4G')
    with pytest.raises(VolumeError, match='300 MB are allowed .*no run goes with less than 384 MB; allow more'): check_stage_memory('connect', 1000, '300M')


def test_workers_follow_the_memory(monkeypatch):
    monkeypatch.setattr('cryoseg.result.resources.default_budget', lambda: GB)
    few, many = affordable_workers(64, None), affordable_workers(64, '16G')
    assert 1 <= few < many <= 64 and affordable_workers(64, '16M') == 1 and affordable_workers(2, '16G') == 2


def test_temporary_files_count_beside_the_results(tmp_path, monkeypatch):
    "A disk that holds the results alone is too small where temporary files lie on it, too."
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage(10**12, 0, 8*10**8))
    with pytest.raises(VolumeError, match=r'a.mrc: needs temporary files of 668 MB .* results of 381 MB on the same disk; 763 MB are free: .* TMPDIR'):
        check_resources('connect', 'a.mrc', tmp_path, 10**8, RunSettings())
    check_resources('segment', 'a.mrc', tmp_path, 10**8, RunSettings())
    for change in ({'input.enhance': True}, {'segment.quality': 'best'}):
        with pytest.raises(VolumeError, match='temporary'):
            check_resources('segment', 'a.mrc', tmp_path, 18*10**7, with_values(RunSettings(), change))


def test_memory_changes_no_result():
    one, other = RunSettings(), with_values(RunSettings(), {'resources.memory': '2G'})
    assert result_settings(one) == result_settings(other)
    with pytest.raises(VolumeError, match='resources: .*write it as 8G'): with_values(RunSettings(), {'resources.memory': 'plenty'})
