"Limits: what is free, and what is refused before it is read."
import os
import sys

import pytest

from cryoseg.base import limits
from cryoseg.base.files import VolumeError
from cryoseg.base.limits import bytes_of, check_memory, check_ratio, check_regular, check_unpacked, default_budget, free_memory, in_words


def test_what_does_not_fit_is_refused_with_both_numbers(monkeypatch):
    monkeypatch.setattr(limits, 'free_memory', lambda: 2.*2**30)
    check_memory(1.7*2**30, 'a.mrc')
    with pytest.raises(VolumeError, match=r'a.mrc: needs 1.9 GB of memory, 1.8 GB are free'):
        check_memory(1.9*2**30, 'a.mrc')


def test_a_group_of_processes_limits_too(monkeypatch, tmp_path):
    (tmp_path/'max').write_text('1048576\n')
    (tmp_path/'used').write_text('1000000\n')
    monkeypatch.setattr(limits, 'CGROUP_FILES', (tuple(str(tmp_path/name) for name in ('max', 'used', 'stat')),))
    assert free_memory() == 48_576
    for names in (('inactive_file', 'active_file'), ('total_inactive_file', 'total_active_file')):      # files that were read do not count
        (tmp_path/'stat').write_text(f'anon 99\n{names[0]} 500000\n{names[1]} 100000\n')
        assert free_memory() == 648_576
    (tmp_path/'stat').write_text('what is this\n')
    assert free_memory() == 48_576
    (tmp_path/'max').write_text('max\n')
    assert free_memory() > 48_576


def test_what_is_packed_is_refused_where_it_is_much_out_of_nothing(monkeypatch):
    monkeypatch.setattr(limits, 'free_memory', lambda: 2.**40)
    check_unpacked(2**29, 10, 'a.mrc.gz')
    check_unpacked(2**35, 2**28, 'a.mrc.gz')
    with pytest.raises(VolumeError, match='a.mrc.gz: 1 kB unpack to 1 GB, nearly all of one value'): check_unpacked(2**30, 2**10, 'a.mrc.gz')
    with pytest.raises(VolumeError, match='needs'): check_unpacked(2**40, 2**39, 'a.mrc.gz')


def test_sizes_in_words():
    assert [in_words(n) for n in (5, 2048, 3*2**20, 1.5*2**40)] == ['5 bytes', '2 kB', '3 MB', '1.5 TB']


@pytest.mark.skipif(sys.platform == 'win32', reason='Windows has no pipes in folders')
def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path/'a.mrc')
    with pytest.raises(VolumeError, match='is a pipe'):
        check_regular(tmp_path/'a.mrc')
    check_regular(tmp_path)


@pytest.mark.parametrize('text, n_bytes', [('8G', 2**33), ('500M', 500*2**20), ('1.5 GB', 3*2**29), ('1.5gib', 3*2**29), ('2 kB', 2048), ('5 bytes', 5), ('1000', 1000), (1000, 1000), (' .5T ', 2**39), ('1e3', 1000)])
def test_amounts_of_memory(text, n_bytes):
    assert bytes_of(text) == n_bytes and isinstance(bytes_of(text), int)


@pytest.mark.parametrize('text', ['', 'much', '0', '0.0 GB', '-8G', '8 GG', '8 X', 'nan', 'inf', '1e999', '9'*400 + 'G', '8G 500M', '1,5G', None])
def test_what_is_no_amount_of_memory(text):
    with pytest.raises(VolumeError, match='is no amount of memory; write it as 8G, 500M, 1.5 GB'): bytes_of(text)


def test_what_a_message_says_can_be_given_back():
    for n in (1, 5, 2048, 3*2**29, 7*2**40): assert bytes_of(in_words(n)) == n


def test_half_of_what_is_free_is_the_budget(monkeypatch):
    monkeypatch.setattr(limits, 'free_memory', lambda: 2.**31)
    assert default_budget() == 2**30


def test_the_ratio_is_judged_whatever_is_free(monkeypatch):
    monkeypatch.setattr(limits, 'free_memory', lambda: 0.)
    check_ratio(2**40, 2**35, 'a.tif')
    with pytest.raises(VolumeError, match='a.tif: 1 MB unpack to 1 TB'): check_ratio(2**40, 2**20, 'a.tif')
