"Workers: results in order, and no process outlives the one who asked, however that ends."
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import Future

import numpy as np
import psutil
import pytest

from cryoseg.base.files import CannotWrite, VolumeError
from cryoseg.base.pool import ByFile, in_order, worker_processes

SLEEPERS = '''
import os, sys, time
from cryoseg.base.pool import ByFile, in_order, worker_processes
if __name__ == '__main__':
    with worker_processes(2) as pool:
        print(*in_order(pool, abs, [-1], 1), *[pool.submit(os.getpid).result() for _ in range(4)], flush=True)
        waiting = [pool.submit(time.sleep, 60) for _ in range(2)]
        for task in waiting: task.result()
'''


def test_results_come_in_order_from_processes():
    with worker_processes(2) as pool: assert list(in_order(pool, abs, range(-9, 0), 3)) == list(range(9, 0, -1))


def test_a_worker_that_is_killed_is_told():
    with pytest.raises(VolumeError, match='--workers'):
        with worker_processes(1) as pool: pool.submit(os._exit, 9).result()


def test_an_error_of_a_task_is_the_error():
    with pytest.raises(ZeroDivisionError):
        with worker_processes(1) as pool: pool.submit(divmod, 1, 0).result()


@pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX')
@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGKILL], ids=['Ctrl-C', 'kill'])
def test_no_worker_outlives_the_one_who_asked(tmp_path, how):
    script = tmp_path/'sleepers.py'
    script.write_text(SLEEPERS)
    asker = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    workers = {int(pid) for pid in asker.stdout.readline().split()[1:]}
    assert workers and all(psutil.pid_exists(pid) for pid in workers)
    asker.send_signal(how)
    asker.wait(10)
    end = time.time() + 10
    while any(map(psutil.pid_exists, workers)) and time.time() < end: time.sleep(.1)
    assert not any(map(psutil.pid_exists, workers))


def test_by_file_only_paths_are_sent(tmp_path):
    "An array goes to another process and comes back, through a folder that is empty again at the end."
    sent = []

    class Spy:
        def submit(self, *args):
            sent.append(len(pickle.dumps(args)))
            return processes.submit(*args)
    with worker_processes(2) as processes:
        squares = list(ByFile(Spy(), tmp_path/'parts').map(np.square, [np.full((100, 100), k) for k in range(5)]))
    assert [a[0, 0] for a in squares] == [k*k for k in range(5)] and squares[3].shape == (100, 100)
    assert max(sent) < 1000 and list((tmp_path/'parts').iterdir()) == []


def test_by_file_a_task_whose_worker_is_lost_is_done_here(tmp_path):
    class Lost(Exception): pass
    class Broken:
        def submit(self, *_):
            future = Future()
            future.set_exception(Lost())
            return future
    assert list(ByFile(Broken(), tmp_path, lost=(Lost,)).map(abs, [-2, -1])) == [2, 1]
    with pytest.raises(Lost): next(ByFile(Broken(), tmp_path).map(abs, [-2]))
    assert list(tmp_path.iterdir()) == []


def full_disk(_):
    raise CannotWrite('/tmp', 'disk full')


def test_an_error_of_a_worker_keeps_its_words():
    with pytest.raises(CannotWrite, match='disk full') as error, worker_processes(1) as pool: pool.submit(full_disk, 0).result()
    assert error.value.reason == 'disk full'


UNGUARDED = '''
from cryoseg.base.pool import shared_map
print('begun', flush=True)
with shared_map(2) as share: print(*share(abs, [-3, 2, -1]))
'''


@pytest.mark.parametrize('how', ['file', 'pipe'])
def test_a_script_without_a_guard_is_not_run_again_by_workers(tmp_path, how):
    script = tmp_path/'unguarded.py'
    script.write_text(UNGUARDED)
    told = subprocess.run([sys.executable, *([script] if how == 'file' else ['-'])], input=UNGUARDED if how == 'pipe' else None,
                          capture_output=True, text=True, timeout=120)
    assert told.stdout.split('\n')[:2] == ['begun', '3 2 1'] and told.returncode == 0, told.stderr


def test_what_a_guarded_script_defines_is_known_to_its_workers(tmp_path):
    script = tmp_path/'guarded.py'
    script.write_text(UNGUARDED.replace('print(\'begun\', flush=True)', 'def twice(n): return 2*n').replace('with', "if __name__ == '__main__':\n  with").replace('abs', 'twice'))
    told = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert told.stdout.split('\n')[0] == '-6 4 -2', told.stderr
