"""Many tomograms on Dask, with workers in processes of their own: what a machine that dies takes with it, and what becomes of the rest."""
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip('distributed')

import cloudpickle  # noqa: E402
import distributed  # noqa: E402
import psutil  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from cryoseg.base.files import VolumeError  # noqa: E402
from cryoseg.base.formats import write_volume  # noqa: E402
from cryoseg.phantom.phantom import simulate_phantom  # noqa: E402
from cryoseg.phantom.settings import PhantomSettings  # noqa: E402
from cryoseg.run import cli, cluster  # noqa: E402
from cryoseg.run.cluster import Outcome, TomogramTask, do_tomogram, local_cluster, outcomes, tasks_for  # noqa: E402
from cryoseg.run.settings import RunSettings  # noqa: E402

cloudpickle.register_pickle_by_value(sys.modules[__name__])     # workers cannot import a test
PLAIN = 'from cryoseg.run.signals import main; main()'
SMALL = PhantomSettings(shape=(20, 72, 72), n_vesicles=1, radius_A=(130., 200.), cnr=2.)   # two blocks of slices
SETTINGS = RunSettings()
N = 2
MAX_BYTES = 20_000      # of a task or a result, as it goes through the scheduler
posix = pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX')


def contents(folder):
    "Name -> bytes of all files, hidden ones too."
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob('*') if p.is_file()}


@pytest.fixture(scope='module')
def inputs(tmp_path_factory):
    "Small tomograms."
    folder = tmp_path_factory.mktemp('cluster')
    paths = [folder/f't{k}.mrc' for k in range(N)]
    for seed, path in enumerate(paths): write_volume(path, simulate_phantom(SMALL, seed).tomogram)
    return paths


@pytest.fixture(scope='module')
def wanted(inputs):
    "What each run leaves when nothing disturbs it, in this process: name of the tomogram -> contents of its folder."
    out = inputs[0].parent/'wanted'
    tasks = tasks_for({path: out/path.stem for path in inputs}, SETTINGS, False, 1)
    for task in tasks: assert not do_tomogram(task).error
    return {task.name: contents(task.folder) for task in tasks}


@pytest.fixture(scope='module')
def two():
    "A cluster of two workers."
    with local_cluster(2) as client: yield client


def folders_in(inputs, out):
    return {path: out/path.stem for path in inputs}


def pids(client):
    "Address of each worker -> its process."
    return client.run(os.getpid)


def thread_counts():
    "How many threads the libraries of this process would use."
    import cv2
    import numba
    import torch
    from threadpoolctl import threadpool_info
    return [cv2.getNumThreads(), numba.get_num_threads(), torch.get_num_threads(), *(pool['num_threads'] for pool in threadpool_info())]


def test_one_worker_is_killed_and_a_bad_file_is_reported(two, inputs, wanted, tmp_path):
    "The tomogram of the dead is done by another, no byte is another, the bad one is named; all that is sent is small."
    bad = tmp_path/'bad.mrc'
    bad.write_bytes(b'no tomogram')
    tasks = tasks_for(folders_in([*inputs, bad], tmp_path/'out'), SETTINGS, False, 2)
    victims, before = [], set(pids(two).values())

    def kill(event):
        "Kill the first worker that has begun a second stage."
        number, stage = event[1][:2]
        if stage == 'connect' and not victims:
            victims.append(number)
            lock = Path(tasks[number].folder)/'.cryoseg.lock'
            os.kill(int(lock.read_text().split('"pid": ')[1].split(',')[0]), signal.SIGKILL)
    two.subscribe_topic(tasks[0].topic, kill)
    ended = {outcome.task.name: outcome for outcome in outcomes(two, tasks)}
    assert sorted(ended) == ['bad', 't0', 't1'] and victims
    assert [name for name, outcome in ended.items() if outcome.error] == ['bad'] and 'MRC header' in ended['bad'].error
    again = ended[tasks[victims[0]].name]
    assert again.kept == ('segment',) and any('taken over' in words for words in again.warnings)
    for name, files in wanted.items(): assert contents(tmp_path/'out'/name) == files
    assert set(pids(two).values()) != before
    sent = [len(pickle.dumps(thing)) for thing in (*tasks, *ended.values())]
    assert max(sent) < MAX_BYTES


def test_one_thread_in_each_library(two):
    for counts in two.run(thread_counts).values(): assert set(counts) == {1}, counts


def test_helpers_give_the_same_bytes(two, inputs, wanted, tmp_path):
    "One tomogram, two workers: its slices and membranes are tasks, and nothing of them is left lying about."
    task, = tasks_for(folders_in(inputs[:1], tmp_path), SETTINGS, False, 2)
    assert task.shared == 2
    ended, = outcomes(two, [task])
    assert not ended.error and contents(tmp_path/'t0') == wanted['t0']
    ran = {key for log in two.run(lambda dask_worker: [entry[0] for entry in dask_worker.state.log if 'executing' in entry]).values() for key in log}
    assert sum(str(key).startswith('do_by_file') for key in ran) >= 2


# without a cluster

LOADED = '''
import numba
from cryoseg.run.cluster import local_cluster

def compiles():
    import numba
    from cryoseg.run.cluster import one_thread
    one_thread()
    return numba.njit(lambda x: x + 1)(1), numba.get_num_threads()

if __name__ == '__main__':
    with local_cluster(1) as client: print(client.submit(compiles).result())
'''


def test_numba_may_be_loaded_before_the_workers_begin(tmp_path):
    "As in a script that simulates first: workers load the script, and numba with as many threads as there are processors."
    (tmp_path/'script.py').write_text(LOADED)
    free = {name: value for name, value in os.environ.items() if name != cluster.NUMBA_VARIABLE}
    ended = subprocess.run([sys.executable, tmp_path/'script.py'], env=free, capture_output=True, text=True)
    assert ended.stdout.strip() == '(2, 1)', ended.stderr


def test_who_may_be_helped():
    "Only in a last round with fewer tomograms than workers: help costs time where nobody would be idle. Never by oneself."
    def shared(n_inputs, n): return [task.shared for task in tasks_for({f'{k}': f'o/{k}' for k in range(n_inputs)}, SETTINGS, False, n)]
    assert shared(3, 1) == [0, 0, 0] and shared(4, 2) == [0, 0, 0, 0] and shared(3, 2) == [0, 0, 2] and shared(1, 8) == [8] and shared(3, 1000) == [1000]*3
    task = tasks_for({'a': 'o/a'}, SETTINGS, False, 1000)[0]
    assert task.every_s == 20 and task.settings.segment.workers == 1 and Path(task.path).is_absolute() and Path(task.folder).is_absolute()


class Pretended:
    "A cluster that gives prepared answers: outcomes, or exceptions."
    def __init__(self, **answers): self.answers, self.asked = answers, []


@pytest.fixture
def pretended(monkeypatch):
    "A cluster in whose place answers are prepared: name -> those of its tries, in turn."
    def ended(client, tasks):
        for task in tasks:
            client.asked.append(task.name)
            yield task, client.answers[task.name].pop(0)(task)
    monkeypatch.setattr(cluster, '_ended', ended)
    monkeypatch.setattr(cluster.time, 'sleep', lambda s: None)
    return Pretended


def good(task): return Outcome(task)
def lost(task): return None
def held(task): return Outcome(task, 'o is held by process 1; wait', held=True)


def test_what_was_killed_is_tried_alone_and_what_is_held_until_it_is_free(pretended):
    tasks, said = [TomogramTask(name, f'o/{name}') for name in 'abcd'], []
    client = pretended(a=[lost, good], b=[good], c=[held, held, good], d=[lost, lost])
    found = {o.task.name: o.error for o in outcomes(client, tasks, lambda task, words: said.append(words))}
    assert client.asked == ['a', 'b', 'c', 'd', 'a', 'd', 'c', 'c'] and said == ['o is held by process 1; waiting']
    assert found == {'a': '', 'b': '', 'c': '', 'd': cluster.KILLED}


def test_what_stays_held_is_reported(pretended, monkeypatch):
    monkeypatch.setattr(cluster, 'WAIT_S', -1)
    found, = outcomes(pretended(a=[held, held]), [TomogramTask('a', 'o/a')])
    assert 'held by process 1' in found.error


def test_without_the_extra(inputs, tmp_path, monkeypatch):
    "A scheduler is refused with the name of the extra; several tomograms are run one after the other."
    import importlib.util
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *rest: None if name == 'distributed' else real(name, *rest))
    result = CliRunner().invoke(cli.app, ['run', str(inputs[0]), '-o', str(tmp_path), '--scheduler', 'tcp://127.0.0.1:1'])
    assert result.exit_code == 2 and 'pip install "cryoseg[cluster]"' in result.stderr
    assert not cli.wants_cluster(inputs, cluster.with_values(SETTINGS, {'segment.workers': 2}), None)


def test_memory_limits_the_tomograms_at_a_time():
    asked = cluster.with_values(SETTINGS, {'segment.workers': 16})
    assert cluster.local_workers(asked) == 16
    assert [cluster.local_workers(cluster.with_values(asked, {'resources.memory': m})) for m in ('1G', '4G', '64G')] == [1, 4, 16]


def test_who_wants_a_cluster(inputs):
    more = cluster.with_values(SETTINGS, {'segment.workers': 2})
    assert [cli.wants_cluster(inputs[:n], how, None) for n, how in ((1, more), (3, SETTINGS), (3, more))] == [False, False, True]
    assert cli.wants_cluster(inputs[:1], SETTINGS, 'tcp://h:1')


# whole commands

def start(*words):
    "The command in a process of its own."
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen([sys.executable, '-c', PLAIN, *map(str, words)], **pipes)


def said_by(process, seconds=900):
    "Exit code, and the lines of stderr that are the command's own."
    err = process.communicate(timeout=seconds)[1]
    assert 'Traceback' not in err, err
    return process.returncode, [line for line in err.splitlines() if line.startswith('cryoseg: ')]


def wait_for(condition, seconds=300):
    "Wait until something holds."
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it did not come to that'
        time.sleep(.1)


@pytest.mark.long
@posix
@pytest.mark.parametrize('how', ['SIGINT', 'SIGTERM', 'SIGKILL'])
def test_no_worker_outlives_the_command(inputs, wanted, tmp_path, how):
    "And the same command, given again, ends with the same bytes; after Ctrl-C nothing half done lies about."
    words = ['run', *inputs, '-o', tmp_path/'out', '--workers', 2]
    first = start(*words)
    wait_for(lambda: list(tmp_path.rglob('.new-*')))
    workers = psutil.Process(first.pid).children(recursive=True)
    first.send_signal(getattr(signal, how))
    code, lines = said_by(first)
    assert code == (-signal.SIGKILL if how == 'SIGKILL' else 130)
    assert len(workers) >= 2 and not psutil.wait_procs(workers, timeout=20)[1]
    if how != 'SIGKILL':
        assert 'what was finished is kept' in lines[-1]
        assert not [p for p in tmp_path.rglob('.*')], 'hidden files are left'
    code, lines = said_by(start(*words))
    assert code == 0
    assert {name: contents(tmp_path/'out'/name) for name in wanted} == wanted


@pytest.fixture
def machines(tmp_path):
    "Start a scheduler and two workers, as somebody would on plain machines; they end with the test."
    begun = []

    def begin(port):
        log = open(tmp_path/f'{port}.log', 'w')
        dask = [sys.executable, '-m', 'distributed.cli.dask_scheduler', '--host', '127.0.0.1', '--port', str(port), '--no-dashboard']
        worker = [sys.executable, '-m', 'distributed.cli.dask_worker', f'tcp://127.0.0.1:{port}', '--nthreads', '1', '--nworkers', '2',
                  '--memory-limit', '0', '--no-dashboard', '--local-directory', str(tmp_path)]
        for command in (dask, worker): begun.append(subprocess.Popen(command, stdout=log, stderr=log))
        return begun[-2:]
    yield begin
    for process in begun:
        for one in [*psutil.Process(process.pid).children(recursive=True), process] if process.poll() is None else []: one.kill()
        process.wait()


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


@pytest.mark.long
@posix
def test_a_scheduler_is_lost(machines, inputs, wanted, tmp_path):
    "The command says so in one line; with another scheduler it goes on."
    port = free_port()
    scheduler, _ = machines(port)
    out, words = tmp_path/'out', ['run', *inputs, '-o', tmp_path/'out', '-q', '--scheduler']
    first = start(*words, f'tcp://127.0.0.1:{port}')
    wait_for(lambda: list(out.rglob('labels.mrc')))
    scheduler.kill()
    code, lines = said_by(first)
    assert code == 2 and len(lines) == 1 and 'the scheduler is gone' in lines[0], lines
    other = free_port()
    machines(other)
    code, lines = said_by(start(*words, f'tcp://127.0.0.1:{other}'))
    assert code == 0, lines
    assert {name: contents(out/name) for name in wanted} == wanted


@pytest.mark.long
def test_no_scheduler_there(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, 'CONNECT_S', 1)
    with pytest.raises(VolumeError, match='does not answer.*dask scheduler'):
        with cluster.running_cluster(f'tcp://127.0.0.1:{free_port()}', tmp_path): pass


class Poison(distributed.WorkerPlugin):
    "One tomogram ends every process that reads it."
    name = 'poison'

    def setup(self, worker):
        from cryoseg.run import workflow
        real = workflow.read_input

        def read_input(path, *rest):
            if Path(path).stem == 'poison': os.kill(os.getpid(), signal.SIGKILL)
            return real(path, *rest)
        workflow.read_input = read_input


@pytest.mark.long
@posix
def test_a_tomogram_that_kills_its_workers(inputs, wanted, tmp_path):
    "After some tries it is reported; its neighbours, which it may have taken with it, are done."
    poison = tmp_path/'poison.mrc'
    poison.write_bytes(inputs[0].read_bytes())
    with local_cluster(2) as client:
        client.register_plugin(Poison())
        tasks = tasks_for(folders_in([poison, *inputs], tmp_path/'out'), SETTINGS, False, 2)
        ended = {outcome.task.name: outcome.error for outcome in outcomes(client, tasks)}
    assert ended.pop('poison') == cluster.KILLED and not any(ended.values()), ended
    assert {name: contents(tmp_path/'out'/name) for name in wanted} == wanted


@pytest.mark.long
@pytest.mark.parametrize('n', [1, 2])
def test_one_and_two_workers_give_the_same_bytes(n, inputs, wanted, tmp_path):
    with local_cluster(n) as client:
        ended = list(outcomes(client, tasks_for(folders_in(inputs, tmp_path), SETTINGS, False, n)))
    assert not any(outcome.error for outcome in ended)
    assert {name: contents(tmp_path/name) for name in wanted} == wanted
