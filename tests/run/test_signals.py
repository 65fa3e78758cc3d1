"""Being stopped: exit code 130, one line, nothing half done, at any moment and by any signal that asks."""
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from cryoseg.run import signals
from cryoseg.run.signals import INTERRUPTED, Stop, catching, handling, is_importing, stop_if_asked

pytestmark = pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX')
BEGIN = 'import os, signal, sys, time\nfrom cryoseg.run import signals\nfrom cryoseg.base.files import atomic_write\nsignals.install_handler()\n'
ASKING = 'SIGINT', 'SIGTERM', 'SIGHUP'


def end(program, folder, **keywords):
    "Run a program in a folder: its exit code, and what it said on stderr."
    run = subprocess.run([sys.executable, '-c', BEGIN + program], capture_output=True, text=True, cwd=folder, **keywords)
    return run.returncode, run.stderr


@pytest.mark.parametrize('name', ASKING)
def test_each_signal_ends_alike_wherever_it_falls(tmp_path, name):
    for program in (f'os.kill(os.getpid(), signal.{name})',                                     # before any command
                    'with atomic_write("a") as p, signals.catching(): p.write_text("x"); Kill()',    # in the middle of an import
                    f'with atomic_write("a") as p, signals.catching():\n try: os.kill(os.getpid(), signal.{name})\n except KeyboardInterrupt: os.kill(os.getpid(), signal.{name})'):
        (tmp_path/'killer.py').write_text(f'import os, signal\nos.kill(os.getpid(), signal.{name})\n')
        code, said = end(program.replace('Kill()', 'import killer'), tmp_path, env=dict(os.environ, PYTHONPATH=os.pathsep.join(['.', *sys.path])))
        assert (code, said) == (INTERRUPTED, signals.WORDS)
        assert [p.name for p in tmp_path.iterdir() if p.name.startswith('.')] == []


def test_the_first_is_an_exception_where_it_is_caught(tmp_path):
    program = '''
with signals.catching():
    try: os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt: print('caught', file=sys.stderr)
'''
    assert end(program, tmp_path) == (0, 'caught\n')


def test_one_that_a_library_swallowed_comes_again():
    with catching():
        Stop.swallowed = True
        with pytest.raises(KeyboardInterrupt): stop_if_asked()
        stop_if_asked()
    with catching(): stop_if_asked()


@pytest.mark.parametrize('name', ASKING)
def test_when_all_is_done_the_exit_code_stays(tmp_path, name):
    "Python takes down its modules, which takes a second where there are many."
    program = f'''
class Late:
    def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.{name}): kill(pid, number)
late = Late()
from cryoseg.run import cli
cli.main = lambda: None
signals.main()
'''
    assert end(program, tmp_path) == (0, '')


def test_what_is_ignored_stays_ignored(tmp_path):
    "As `nohup` does it, and a shell for what runs in the background."
    run = subprocess.Popen([sys.executable, '-c', BEGIN + 'print("ready", flush=True)\ntime.sleep(.5)'], stdout=subprocess.PIPE, text=True,
                           preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert run.stdout.readline() == 'ready\n'
    run.send_signal(signal.SIGHUP)
    assert run.wait() == 0


def test_children_leave_the_end_to_their_parent(tmp_path):
    program = '''
child = os.fork()
if not child:
    os.kill(os.getpid(), signal.SIGINT)
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
child = os.fork()
if not child:
    time.sleep(20)
    os._exit(1)
time.sleep(.5)      # Python forgets a signal that falls into the fork itself
os.kill(child, signal.SIGTERM)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
'''
    assert end(program, tmp_path) == (0, '')


def test_the_handlers_are_put_back():
    before = [signal.getsignal(getattr(signal, name)) for name in ASKING]
    with handling():
        assert signal.getsignal(signal.SIGINT) is signals._handle
        with handling(): pass                           # stands already
        assert signal.getsignal(signal.SIGINT) is signals._handle
    assert [signal.getsignal(getattr(signal, name)) for name in ASKING] == before and Stop.process is None
    failed = []
    def beside():
        try:
            with handling(): pass                       # only the main thread may set one
        except ValueError as error: failed.append(error)
    thread = threading.Thread(target=beside)
    thread.start()
    thread.join()
    assert not failed


def test_imports_are_seen_from_within(tmp_path, monkeypatch):
    (tmp_path/'looks.py').write_text('import sys\nfrom cryoseg.run.signals import is_importing\nseen = is_importing(sys._getframe())\n')
    monkeypatch.syspath_prepend(tmp_path)
    import looks
    assert looks.seen and not is_importing(sys._getframe())


def test_starting_loads_nothing_before_the_handler_stands():
    program = "import sys\nbefore = set(sys.modules)\nimport cryoseg.run.signals\nprint(*sorted(m for m in set(sys.modules) - before if m.startswith('cryoseg')))"
    run = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert run.stdout.split() == ['cryoseg', 'cryoseg.run', 'cryoseg.run.signals'], run.stderr


COMMAND = 'import sys; from cryoseg.run.signals import main; print("begun", flush=True); main()'


@pytest.mark.parametrize('name', ASKING)
@pytest.mark.parametrize('wait_s', [.0, .1, .3, .7, 1.5])
def test_a_command_is_stopped_while_it_loads(tmp_path, name, wait_s):
    "At whatever import it happens to be; the folder is as if nothing had been."
    words = 'demo', '-o', str(tmp_path/'o')
    run = subprocess.Popen([sys.executable, '-c', COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout.readline() == 'begun\n'
    time.sleep(wait_s + .02)
    run.send_signal(getattr(signal, name))
    said = run.communicate()[1]
    assert run.returncode == INTERRUPTED and 'Traceback' not in said and said.endswith(signals.WORDS), said
    assert not (tmp_path/'o').exists() or not [p for p in (tmp_path/'o').iterdir() if p.name.startswith('.')]
