"""One run at a time: who holds a folder is said, the dead are noticed, one of two takes over, and nothing stays behind."""
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cryoseg.base.files import VolumeError, VolumeWarning, machine_mark
from cryoseg.result import lock
from cryoseg.result.lock import LOCK_NAME, STALE_S, Holder, Locked, check_lock, leftovers, locked_file, locked_folder, read_holder, this_process

posix = pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX')
HOLD = '''
import sys, time
from cryoseg.result.lock import locked_folder, Locked
try:
    with locked_folder(sys.argv[1]):
        print('holding', flush=True)
        time.sleep(float(sys.argv[2]))
except Locked as error:
    print(f'told: {error}', flush=True)
'''
GONE = 2**22 + 1        # no process has this number: Linux gives none above 2**22


def hold(folder, seconds=60):
    "A process that asks for a folder and keeps it for a while; it has answered when this returns."
    process = subprocess.Popen([sys.executable, '-W', 'ignore', '-c', HOLD, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def leave(folder, **about):
    "A lock of another process, as it would stand there; returns its holder."
    age_s = about.pop('age_s', 0)
    holder = replace(this_process(), **about)
    (folder/LOCK_NAME).write_text(json.dumps(asdict(holder)))
    then = (folder/LOCK_NAME).stat().st_mtime - age_s
    os.utime(folder/LOCK_NAME, (then, then))
    return holder


def test_the_second_is_told_who_holds_it_and_since_when(tmp_path):
    first, words = hold(tmp_path)
    try:
        assert words == 'holding'
        holder = read_holder(tmp_path/LOCK_NAME)
        assert holder.pid == first.pid and holder.machine == machine_mark()
        with pytest.raises(Locked, match=f'process {first.pid} on {holder.host} since {holder.since}.*-o') as told, locked_folder(tmp_path): pass
        assert '\n' not in str(told.value)
    finally:
        first.kill()
        first.wait()


@posix
@pytest.mark.parametrize('reaped', [True, False], ids=['gone', 'a zombie'])
def test_a_killed_holder_is_noticed_at_once(tmp_path, reaped):
    first, words = hold(tmp_path)
    first.send_signal(signal.SIGKILL)
    if reaped: first.wait()
    else: os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)       # dead, and still in the table of processes
    with pytest.warns(VolumeWarning, match=f'process {first.pid} .* taken over'), locked_folder(tmp_path): pass
    assert os.listdir(tmp_path) == []
    first.wait()


def test_it_is_given_back_after_errors_too(tmp_path):
    for place in (tmp_path, tmp_path/'new'):        # a new folder that stayed empty goes again
        with pytest.raises(KeyError), locked_folder(place): raise KeyError
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('about, stale', [
    (dict(machine='another', age_s=STALE_S - 20), False), (dict(machine='another', age_s=STALE_S + 20), True),
    (dict(machine='another', age_s=-STALE_S - 20), True),                               # touched by a clock of the future
    (dict(pid=GONE), True), (dict(), False), (dict(age_s=1e6), False),                  # this very process lives, however quiet
    (dict(started=5., age_s=60), True), (dict(started=5.), False)],                     # the number was used again; its clock was set
    ids=str)
def test_what_is_stale(tmp_path, about, stale):
    leave(tmp_path, **about)
    if stale:
        with pytest.warns(VolumeWarning, match='taken over'), locked_folder(tmp_path): pass
        assert os.listdir(tmp_path) == []
    else:
        with pytest.raises(Locked), locked_folder(tmp_path): pass
        assert os.listdir(tmp_path) == [LOCK_NAME]


@pytest.mark.parametrize('skew_s', [-86_400, 86_400])
def test_the_clock_of_the_machine_is_not_asked(tmp_path, monkeypatch, skew_s):
    "The lock of another machine is as old as the file system says."
    now = time.time
    monkeypatch.setattr(time, 'time', lambda: now() + skew_s)
    leave(tmp_path, machine='another', age_s=10)
    with pytest.raises(Locked), locked_folder(tmp_path): pass


@pytest.mark.parametrize('text', ['', '{', '[]', '3', '{"pid": "x", "token": 5}', '[' * 100_000, '{"token": "a", "pid": 1e400}', '{"pid": ' + '9' * 400 + ', "token": "a"}'])
def test_a_lock_that_says_nothing_is_one_all_the_same(tmp_path, text):
    (tmp_path/LOCK_NAME).write_text(text)
    with pytest.raises(Locked, match='remove .*lock'), locked_folder(tmp_path): pass
    old = time.time() - 2*STALE_S
    os.utime(tmp_path/LOCK_NAME, (old, old))
    with pytest.warns(VolumeWarning), locked_folder(tmp_path): pass


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='pipes of POSIX')
@pytest.mark.parametrize('make', [os.mkfifo, lambda path: path.symlink_to('/nowhere/x'), lambda path: path.symlink_to('/dev/zero'), Path.mkdir], ids=['pipe', 'dead link', 'device', 'folder'])
def test_a_lock_that_is_no_file_is_not_waited_for(tmp_path, make):
    make(tmp_path/LOCK_NAME)
    assert read_holder(tmp_path/LOCK_NAME) == Holder()
    with suppress(Locked), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with locked_folder(tmp_path): pass


@pytest.mark.filterwarnings('ignore::cryoseg.base.files.VolumeWarning')
def test_of_many_that_find_a_stale_lock_one_takes_it(tmp_path):
    for _ in range(5):
        leave(tmp_path, pid=GONE)
        start, won, told = threading.Barrier(8), [], []

        def ask():
            start.wait()
            try:
                with locked_folder(tmp_path):
                    won.append(1)
                    done.wait()
            except Locked: told.append(1)
        done = threading.Event()
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for t in threads: t.start()
        while len(won) + len(told) < 8: time.sleep(.01)
        done.set()
        for t in threads: t.join()
        assert (len(won), len(told)) == (1, 7) and os.listdir(tmp_path) == []


def test_two_processes_that_find_a_stale_lock(tmp_path):
    leave(tmp_path, pid=GONE)
    both = [subprocess.Popen([sys.executable, '-W', 'ignore', '-c', HOLD, str(tmp_path), '2'], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    words = sorted(p.communicate()[0].strip()[:4] for p in both)
    assert words == ['hold', 'told']


def test_a_guard_that_was_left_does_not_shut_out_for_ever(tmp_path):
    leave(tmp_path, pid=GONE)
    guard = tmp_path/(LOCK_NAME + lock.GUARD_SUFFIX)
    guard.write_text('')
    with pytest.raises(Locked), locked_folder(tmp_path): pass
    old = time.time() - 2*STALE_S
    os.utime(guard, (old, old))
    with pytest.raises(Locked), locked_folder(tmp_path): pass           # removes it
    with pytest.warns(VolumeWarning), locked_folder(tmp_path): pass
    assert os.listdir(tmp_path) == []


def test_the_heart_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, 'BEAT_S', .05)
    with locked_folder(tmp_path):
        os.utime(tmp_path/LOCK_NAME, (0, 0))
        time.sleep(.5)
        assert (tmp_path/LOCK_NAME).stat().st_mtime > 0


def test_one_that_slept_finds_that_another_took_over(tmp_path):
    with locked_folder(tmp_path):
        other = leave(tmp_path, token='other', pid=GONE)
        with pytest.raises(Locked, match=f'taken over by process {GONE}'): check_lock(tmp_path)
    assert read_holder(tmp_path/LOCK_NAME) == other                     # and leaves it alone
    check_lock(tmp_path)                                                # nothing held, nothing lost


def test_a_folder_by_another_name_is_the_same(tmp_path):
    (tmp_path/'a').mkdir()
    (tmp_path/'b').symlink_to(tmp_path/'a')
    with locked_folder(tmp_path/'a'), locked_folder(tmp_path/'b'): pass         # the same thread
    held, words = hold(tmp_path/'a')
    with pytest.raises(Locked), locked_folder(tmp_path/'b'): pass
    held.kill()
    held.wait()


def test_files_are_locked_one_by_one(tmp_path):
    def ask(name, found):
        try:
            with locked_file(tmp_path/name): found.append('free')
        except Locked: found.append('held')
    with locked_file(tmp_path/'a.mrc'):
        found = []
        for name in ('a.mrc', 'b.mrc'):
            thread = threading.Thread(target=ask, args=(name, found))
            thread.start()
            thread.join()
    assert found == ['held', 'free'] and os.listdir(tmp_path) == []


def test_what_the_dead_have_left_goes_and_nothing_else(tmp_path):
    mine, hex8 = machine_mark(), '01234567'
    dead = [f'.{mine}-{GONE}-{hex8}.tmp.labels.mrc', f'.new-{mine}-{GONE}-{hex8}', f'.another1-{GONE}-{hex8}.tmp.x'.replace('another1', 'abcdef01')]
    alive = [f'.{mine}-{os.getpid()}-{hex8}.tmp.labels.mrc', f'.new-{mine}-{os.getpid()}-{hex8}', f'.abcdef01-1-{hex8}.tmp.y', f'.{hex8}', '.a.tmp.b', 'labels.mrc', '.new-notes']
    for name in (*dead, *alive):
        if '.new' in name: (tmp_path/name).mkdir()
        else: (tmp_path/name).write_text('x')
    os.utime(tmp_path/dead[2], (0, 0))
    (tmp_path/dead[1]/'surfaces').symlink_to(tmp_path/alive[4])         # a link is not followed
    assert sorted(p.name for p in leftovers(tmp_path)) == sorted(dead)
    with pytest.warns(VolumeWarning, match='3 temporary files'), locked_folder(tmp_path): pass
    assert sorted(os.listdir(tmp_path)) == sorted(alive)


def test_what_a_dead_machine_has_left_goes_with_its_lock(tmp_path):
    leave(tmp_path, machine='abcdef01', pid=7, age_s=2*STALE_S)
    (tmp_path/'.new-abcdef01-7-01234567').mkdir()
    (tmp_path/'.new-abcdef01-8-01234567').mkdir()
    with pytest.warns(VolumeWarning), locked_folder(tmp_path): pass
    assert os.listdir(tmp_path) == ['.new-abcdef01-8-01234567']


@posix
def test_places_that_cannot_be_locked(tmp_path):
    (tmp_path/'file').write_text('')
    with pytest.raises(VolumeError, match='cannot be written'), locked_folder(tmp_path/'file'): pass
    with pytest.raises(VolumeError, match='cannot be written'), locked_folder(tmp_path/'file/x'): pass
    if os.geteuid():
        (tmp_path/'shut').mkdir(mode=0o500)
        with pytest.raises(VolumeError, match='cannot be written'), locked_folder(tmp_path/'shut'): pass


@pytest.mark.parametrize('name, where', [('dump', 'json'), ('_create', ''), ('_take', ''), ('Lock', ''), ('_tell_of_the_dead', ''), ('remove_leftovers', '')])
def test_one_may_be_stopped_between_any_two_lines(tmp_path, monkeypatch, name, where):
    place = lock.json if where else lock
    whole = getattr(place, name)
    def stopped(*a, **k):
        whole(*a, **k)
        raise KeyboardInterrupt
    monkeypatch.setattr(place, name, stopped)
    with pytest.raises(KeyboardInterrupt), locked_folder(tmp_path): pass
    monkeypatch.undo()
    assert os.listdir(tmp_path) == [] and lock.held_lock(tmp_path/LOCK_NAME) is None


def test_a_full_disk_leaves_no_empty_lock(tmp_path, monkeypatch):
    def full(*_, **__): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(lock.json, 'dump', full)
    with pytest.raises(VolumeError, match='No space left'), locked_folder(tmp_path): pass
    assert os.listdir(tmp_path) == []
