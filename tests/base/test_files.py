"Files are written whole or not at all, and errors say what to do."
import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from cryoseg.base import files
from cryoseg.base.files import (CannotWrite, VolumeError, VolumeWarning, absolute_path, atomic_write, machine_mark, move_over, new_mark,
                                remove_path, remove_unfinished, six_digits, unfinished, warn_user)
from cryoseg.base.volume import Volume
from cryoseg.base.formats import read_volume, write_volume


@pytest.mark.parametrize('trouble', [ValueError('bug'), KeyboardInterrupt(), OSError(errno.ENOSPC, 'No space left on device')])
def test_the_older_file_stays_whole(tmp_path, trouble):
    (tmp_path/'a').write_text('older')
    with pytest.raises(VolumeError if isinstance(trouble, OSError) else type(trouble)):
        with atomic_write(tmp_path/'a') as part:
            part.write_text('half')
            raise trouble
    assert [p.name for p in tmp_path.iterdir()] == ['a'] and (tmp_path/'a').read_text() == 'older'


@pytest.mark.skipif(os.name != 'posix', reason='signals and limits of POSIX')
@pytest.mark.parametrize('how', ['killed', 'no space'])
def test_the_older_volume_survives_a_kill_and_a_full_disk(tmp_path, image, how):
    write_volume(tmp_path/'a.mrc', Volume(image, 10.))
    older = (tmp_path/'a.mrc').read_bytes()
    code = {'killed': 'import os, signal, sys; from cryoseg.base.files import atomic_write\n'
                      'with atomic_write(sys.argv[1]) as part: part.write_bytes(b"half"); os.kill(os.getpid(), signal.SIGKILL)',
            'no space': 'import resource, sys, numpy as np; from cryoseg.base.files import VolumeError; from cryoseg.base.volume import Volume; from cryoseg.base.formats import write_volume\n'
                        'resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))\n'
                        'try: write_volume(sys.argv[1], Volume(np.ones((50, 50, 50), np.float32), 10.))\n'
                        'except VolumeError as error: print(error)'}[how]
    out = subprocess.run([sys.executable, '-c', code, str(tmp_path/'a.mrc')], capture_output=True, text=True)
    assert (tmp_path/'a.mrc').read_bytes() == older
    if how == 'no space':
        assert 'cannot be written' in out.stdout and out.returncode == 0, out.stderr
        assert [p.name for p in tmp_path.iterdir()] == ['a.mrc']


def test_unwritable_places(tmp_path, image):
    (tmp_path/'file').write_text('')
    with pytest.raises(VolumeError, match='cannot be written.*another output folder'): write_volume(tmp_path/'file'/'a.mrc', Volume(image, 10.))
    (tmp_path/'folder.mrc').mkdir()
    with pytest.raises(VolumeError, match='is a folder'): write_volume(tmp_path/'folder.mrc', Volume(image, 10.))
    with pytest.raises(VolumeError, match='cannot be written'): write_volume(tmp_path/('n'*300 + '.mrc'), Volume(image, 10.))


@pytest.mark.skipif(os.name != 'posix', reason='links and permissions of POSIX')
def test_links_and_permissions_are_kept(tmp_path, image):
    write_volume(tmp_path/'a.mrc', Volume(image, 10.))
    (tmp_path/'a.mrc').chmod(0o640)
    (tmp_path/'link.mrc').symlink_to(tmp_path/'a.mrc')
    write_volume(tmp_path/'link.mrc', Volume(2*image, 10.))
    assert (tmp_path/'link.mrc').is_symlink() and (tmp_path/'a.mrc').stat().st_mode & 0o777 == 0o640
    np.testing.assert_array_equal(read_volume(tmp_path/'a.mrc').data, 2*image)


@pytest.mark.parametrize('n_times, works', [(2, True), (9, False)])
def test_a_file_that_is_held_for_a_moment_is_replaced_all_the_same(tmp_path, monkeypatch, n_times, works):
    "On Windows a virus scanner holds what was just written."
    real, tries = os.replace, []

    def held(source, target):
        tries.append(1)
        if len(tries) <= n_times: raise PermissionError(errno.EACCES, 'used by another process')
        real(source, target)
    monkeypatch.setattr(os, 'replace', held)
    monkeypatch.setattr(files, 'RETRY_S', (.001,)*4)
    (tmp_path/'a').write_text('older')
    if works:
        with atomic_write(tmp_path/'a') as part: part.write_text('newer')
    else:
        with pytest.raises(CannotWrite, match='used by another'), atomic_write(tmp_path/'a') as part: part.write_text('newer')
    assert (tmp_path/'a').read_text() == ('newer' if works else 'older') and len(list(tmp_path.iterdir())) == 1
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError): move_over(tmp_path/'none', tmp_path/'b')


def test_temporary_names_say_who_writes(tmp_path):
    with atomic_write(tmp_path/'a.mrc') as part:
        machine, pid, _ = part.name[1:].partition('.tmp.')[0].split('-')
        assert (machine, int(pid)) == (machine_mark(), os.getpid()) and part.suffix == '.mrc'
    assert new_mark() != new_mark()


@pytest.mark.parametrize('name', ['n'*251 + '.mrc', 'é'*125 + '.mrc'])
def test_the_longest_names_can_be_written(tmp_path, name):
    with atomic_write(tmp_path/name) as part:
        assert part.suffix == '.mrc'
        part.write_text('x')
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_folder_that_is_removed_meanwhile_is_said(tmp_path):
    with pytest.raises(CannotWrite, match='removed meanwhile'), atomic_write(tmp_path/'o/a') as part:
        part.write_text('x')
        remove_path(tmp_path/'o')


@pytest.mark.skipif(os.name != 'posix', reason='devices of POSIX')
def test_a_device_is_not_replaced():
    with pytest.raises(VolumeError, match='no file'), atomic_write('/dev/null'): pass


def test_what_is_unfinished_can_be_removed_at_once(tmp_path):
    (tmp_path/'kept').write_text('x')
    with unfinished(tmp_path/'folder') as folder, unfinished(tmp_path/'file') as file, unfinished(tmp_path/'link') as link, unfinished(tmp_path/'none'):
        folder.mkdir()
        (folder/'x').write_text('x')
        file.write_text('x')
        link.symlink_to(tmp_path/'kept')
        remove_unfinished()
    assert [p.name for p in tmp_path.iterdir()] == ['kept']
    remove_unfinished()


# small helpers

def test_warnings_are_of_their_own_kind():
    with pytest.warns(VolumeWarning, match='a.mrc: odd'): warn_user('a.mrc: odd')
    assert not issubclass(VolumeWarning, VolumeError)


@pytest.mark.parametrize('value, rounded', [(np.float32(13.68), 13.68), (np.float32(-1e-3), -1e-3), (0, 0.), (np.nan, 0.), (np.inf, 0.), (123456.7, 123457.)])
def test_six_digits_are_all_that_is_true(value, rounded):
    assert six_digits(value) == rounded and six_digits(six_digits(value)) == rounded


@pytest.mark.skipif(os.name != 'posix', reason='links of POSIX')
def test_absolute_paths_keep_the_names_of_links(tmp_path, monkeypatch):
    (tmp_path/'real').mkdir()
    (tmp_path/'link.zarr').symlink_to(tmp_path/'real')
    monkeypatch.chdir(tmp_path)
    assert absolute_path('link.zarr') == tmp_path/'link.zarr'
    assert absolute_path('link.zarr/..') == (tmp_path/'link.zarr'/'..').resolve()
    assert absolute_path(tmp_path) == tmp_path
