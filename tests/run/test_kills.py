"""Killed without a word at any place, and started again: the same bytes. The same bytes, too, in pieces of any size."""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from cryoseg.phantom.phantom import simulate_phantom, write_phantom
from cryoseg.phantom.settings import PhantomSettings

pytestmark = pytest.mark.skipif(os.name != 'posix', reason='signals and forks of POSIX')
PHANTOM = PhantomSettings(shape=(20, 64, 64), n_vesicles=1, cnr=5., radius_A=(140., 170.), n_ribosomes=0, double=0., proteins_per_vesicle=(0, 0))
TWO = replace(PHANTOM, shape=(28, 72, 72), n_vesicles=2)      # for two workers
OPTIONS = ('-q', '--precision', 'float32', '--min-area-A2', '20000', '--set', 'contours.method=ellipse', '--set', 'contours.samples=20',
           '--set', 'surface.samples=8')
STAGES = 'segment', 'connect', 'contours', 'surface', 'measure', 'report'
POLL_S, PATIENCE_S = .01, 120
MARK = 'CRYOSEG_TEST_OF_KILLS'          # in the environment of all processes of a test

# a command with other constants, by name in whichever room; at the move `aim[1]` of its stage `aim[0]`, both counted from 1, it kills itself; at the end it says how many moves each stage had
COMMAND = '''
import json, os, signal, sys
aim, counted = json.loads(os.environ['CRYOSEG_AIM']), os.environ['CRYOSEG_COUNTED']
moves = []
def watch(event, args):
    if event == 'os.mkdir' and os.path.basename(args[0]).startswith('.new-') and not os.path.exists(args[0]):
        moves.append(0)
    elif event == 'os.rename' and moves:
        moves[-1] += 1
        if [len(moves), moves[-1]] == aim:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
import cryoseg.run.stages
for room in [room for name, room in sys.modules.items() if name.startswith('cryoseg.')]:
    for name, value in json.loads(os.environ['CRYOSEG_PIECES']).items():
        usual = vars(room).get(name)
        if usual is None: continue
        for thing in vars(room).values():
            given = getattr(thing, '__defaults__', None) or ()
            if any(default is usual for default in given):
                thing.__defaults__ = tuple(value if default is usual else default for default in given)
        setattr(room, name, value)
try:
    from cryoseg.run.signals import main
    main()
finally:
    with open(counted, 'w') as file:
        json.dump(moves, file)
'''
# a process that has everything loaded, and becomes the command as often as it is asked to
WARM = '''
import importlib, json, os, pkgutil, sys
import cryoseg
for room in pkgutil.walk_packages(cryoseg.__path__, 'cryoseg.'):
    importlib.import_module(room.name)
import matplotlib.pyplot
from cryoseg.segment.unet import load_weights
load_weights(None)
for line in sys.stdin:
    environment, words = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.environ.update(environment)
        sys.argv = ['cryoseg', *words]
        try: exec(os.environ['CRYOSEG_PROGRAM'])
        except SystemExit as end: os._exit(end.code or 0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
'''


class Command:
    "`cryoseg` in a process of its own."

    def __init__(self, environment, words):
        self.process = subprocess.Popen([sys.executable, '-c', COMMAND, *words], env=os.environ | environment, stderr=subprocess.PIPE, text=True)
        self.pid = self.process.pid

    def runs(self):
        return self.process.poll() is None

    def code(self):
        "Exit code, the negative number of a signal; what it said is shown where it went wrong."
        said = self.process.communicate()[1]
        assert 'Traceback' not in said, said
        return self.process.returncode


class Warm:
    "The same from a process that has loaded all packages already; one at a time."

    def __init__(self, mark):
        environment = os.environ | {'CRYOSEG_PROGRAM': COMMAND, MARK: mark}
        self.process = subprocess.Popen([sys.executable, '-c', WARM], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, environment, words):
        print(json.dumps([environment, words]), file=self.process.stdin, flush=True)
        self.pid = int(self.process.stdout.readline())
        return self

    def runs(self):
        try: return psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess: return False

    def code(self):
        return int(self.process.stdout.readline())


def contents(folder):
    "Name -> bytes of all files, hidden ones too."
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob('*') if p.is_file()}


def stage_of(folder):
    "The stage that a run is at, alive or dead: the first that its record does not name. None before the first has begun."
    older = next(folder.glob('.new-*/.older/run.toml'), folder/'run.toml')       # the first that is moved when results are put in place
    try: record = older.read_text(encoding='utf-8')
    except OSError: record = ''
    done = sum(f'[stages.{name}]' in record for name in STAGES[:-1])
    begun = any(folder.glob('.new-*/'))
    return STAGES[done] if begun or done == len(STAGES) - 1 else None


def living(mark):
    "The processes of a test that are still there."
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE: found.append(process)
        except psutil.Error: pass
    return found


def helpers_of(pid):
    "How many processes a process has started that are still there, those of its helpers too."
    try: return len(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess: return 0


class Bench:
    "A tomogram, what a run on it gives that nobody disturbs, and how long its stages take."

    def __init__(self, folder, start, mark, workers):
        self.folder, self.start, self.mark, self.workers = folder, start, mark, workers
        self.killed = []        # stages in which a run was killed
        self.helpers = 0        # processes that a run has started, at most at a time
        self.counted = folder/'counted.json'
        self.seconds = dict.fromkeys(STAGES, 0.)
        code = self.run(folder/'whole/o', lambda process: self.watch(process, folder/'whole/o'))
        assert code == 0
        self.moves = json.loads(self.counted.read_text())
        self.wanted = contents(folder/'whole/o')
        self.out = folder/'killed/o'

    def run(self, out, meanwhile=lambda process: None, aim=None, pieces=None):
        "Start the command, do something meanwhile, and give the exit code."
        pieces = {'WORTH_SHARING': 0} | (pieces or {})      # so that two workers are two processes for a phantom, too
        environment = {'CRYOSEG_AIM': json.dumps(aim), 'CRYOSEG_COUNTED': str(self.counted), 'CRYOSEG_PIECES': json.dumps(pieces), MARK: self.mark}
        process = self.start(environment, ['run', str(self.folder/'p/tomogram.mrc'), '-o', str(out), *OPTIONS, '--workers', str(self.workers)])
        meanwhile(process)
        return process.code()

    def watch(self, process, out):
        "Measure the stages of a run."
        before = time.monotonic()
        while process.runs():
            time.sleep(POLL_S)
            stage, now = stage_of(out), time.monotonic()
            self.helpers = max(self.helpers, helpers_of(process.pid))
            if stage: self.seconds[stage] += now - before
            before = now

    def kill_in(self, stage, delay_s):
        "Kill a run so many seconds after it has come to a stage; where it ends before, sooner next time."
        def meanwhile(process):
            end = time.monotonic() + PATIENCE_S
            while process.runs() and stage_of(self.out) != stage and time.monotonic() < end: time.sleep(POLL_S)
            time.sleep(delay_s)
            if process.runs(): os.kill(process.pid, signal.SIGKILL)
        self.after(self.run(self.out, meanwhile), lambda: self.kill_in(stage, delay_s/2))

    def kill_at(self, stage, move):
        "Let a run be killed at a move of a file within a stage."
        done = STAGES.index(stage_of(self.out) or next((s for s in STAGES if s not in self.done()), 'report'))
        aim = [STAGES.index(stage) - done + 1, move]
        self.after(self.run(self.out, aim=aim), lambda: self.kill_at(stage, move), stage)

    def done(self):
        "The stages that the record names."
        record = self.out/'run.toml'
        return [s for s in STAGES if record.exists() and f'[stages.{s}]' in record.read_text(encoding='utf-8')]

    def after(self, code, again, stage=None):
        "Note where a run was killed; one that has ended before is compared, removed, and tried again."
        if code == -signal.SIGKILL:
            self.killed.append(stage or stage_of(self.out))
            return
        assert code == 0 and self.differs() == []
        shutil.rmtree(self.out)
        again()

    def differs(self, out=None):
        "The names of files that are not what an undisturbed run gives, hidden ones too."
        found = contents(out or self.out)
        return sorted(name for name in found.keys() | self.wanted.keys() if found.get(name) != self.wanted.get(name))

    def go_on(self):
        "Resume until all is done: nothing differs, nothing is left over."
        assert self.run(self.out) == 0 and self.differs() == []
        shutil.rmtree(self.out)


def nobody_is_left(mark):
    "Wait a little for workers to see that the one who asked is gone."
    end = time.monotonic() + PATIENCE_S
    while living(mark) and time.monotonic() < end: time.sleep(.1)
    return living(mark) == []


@pytest.fixture(scope='module')
def tomogram(tmp_path_factory):
    "A folder with a tomogram."
    folder = tmp_path_factory.mktemp('kills')
    write_phantom(simulate_phantom(PHANTOM, 7), folder/'p')
    return folder


@pytest.fixture(scope='module')
def warm():
    start = Warm(uuid.uuid4().hex)
    yield start
    start.process.kill()
    start.process.wait()


@pytest.fixture(scope='module')
def bench(tomogram, warm):
    return Bench(tomogram, warm, uuid.uuid4().hex, 1)


@pytest.mark.long
def test_three_kills(bench):
    "At work on the labels, while the membranes are written and put in their place, and at work on the surfaces."
    draw = random.Random(0)
    bench.kill_in('segment', draw.uniform(0, bench.seconds['segment']/2))
    bench.kill_at('connect', draw.randint(1, bench.moves[1]))
    bench.kill_in('surface', draw.uniform(0, bench.seconds['surface']/2))
    bench.go_on()
    assert len(bench.killed) == 3 and 'connect' in bench.killed and nobody_is_left(bench.mark)      # on a busy machine the others may come late
    assert {'report.html', 'run.toml', 'surfaces.glb', 'membranes.csv', 'curves.csv', 'sigma.mrc', 'labels.mrc'} <= bench.wanted.keys()


@pytest.mark.long
@pytest.mark.parametrize('workers', [1, 2])
def test_ten_kills_each(tmp_path, workers):
    "In every stage at any time, and at any move of a file."
    write_phantom(simulate_phantom(TWO, 7), tmp_path/'p')
    bench, draw = Bench(tmp_path, Command, uuid.uuid4().hex, workers), random.Random(workers)
    assert (bench.helpers >= 2) == (workers == 2)
    for stage in STAGES:
        bench.kill_in(stage, draw.uniform(0, bench.seconds[stage]/2))
    bench.go_on()
    for stage, n_moves in zip(STAGES, bench.moves):
        bench.kill_at(stage, draw.randint(1, n_moves))
    bench.kill_in('report', draw.uniform(0, bench.seconds['report']/2))
    bench.go_on()
    assert len(bench.killed) == 10 and {*bench.killed} == {*STAGES} and nobody_is_left(bench.mark)


# pieces of any size: name of a constant in any room -> its value; a slice of the phantom has 4096 voxels
FINE = dict(SLAB_VOXELS=1, SLAB_BYTES=1, IN_MEMORY_BYTES=0)
ODD = dict(SLAB_VOXELS=3*4096, SLAB_BYTES=7*4096, IN_MEMORY_BYTES=100_000)


def same_in_pieces(bench, pieces, workers):
    out, bench.workers = bench.folder/'pieces/o', workers
    try:
        assert bench.run(out, pieces=pieces) == 0
        return bench.differs(out)
    finally:
        bench.workers = 1
        shutil.rmtree(out)


@pytest.mark.long
def test_the_same_bytes_in_pieces(bench):
    "Slice by slice, from temporary files, with two workers; the record, and the report after it, say that these were two."
    assert same_in_pieces(bench, FINE, 2) == ['report.html', 'run.toml']


@pytest.mark.long
@pytest.mark.parametrize('pieces', [{}, FINE, ODD])
@pytest.mark.parametrize('workers', [1, 2])
def test_the_same_bytes_in_pieces_of_any_size(bench, pieces, workers):
    assert same_in_pieces(bench, pieces, workers) == ([] if workers == 1 else ['report.html', 'run.toml'])
