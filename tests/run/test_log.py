"""The log of a run: lines that programs can read, appended, with all that a run has to say."""
import logging
import re
import shlex
import time
import warnings
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cryoseg.base.files import VolumeError, warn_user
from cryoseg.base.formats import write_volume
from cryoseg.base.volume import Volume
from cryoseg.run.cli import app
from cryoseg.run.log import PeakMemory, log_line, open_log, stage_logged, telling_log


def lines(path):
    "(level, {name: value}) of each line but those of a stack."
    found = []
    for line in path.read_text(encoding='utf-8').splitlines():
        if line.startswith(' '): continue
        moment, level, rest = line.split(' ', 2)
        assert datetime.fromisoformat(moment).utcoffset() is not None
        found.append((level, dict(word.split('=', 1) for word in shlex.split(rest) if '=' in word)))
    return found


def cryoseg(*words):
    return CliRunner().invoke(app, [str(w) for w in words])


@pytest.fixture(scope='module')
def mask(tmp_path_factory):
    "A shell in a folder with a space in its name."
    path = tmp_path_factory.mktemp('a log')/'mask.mrc'
    z, y, x = np.ogrid[-20:20, -24:24, -24:24]
    write_volume(path, Volume((abs(np.sqrt(z**2 + y**2 + x**2) - 15) < 1.2).astype(np.int8), 10.))
    return path


@pytest.mark.parametrize('value', ['', 'plain', 'a b', 'a "b"', 'back\\slash \\', 'C:\\new', "it's", 'x=1', '#1', 'a\nb', 'ü ±', 3, 2.5, '-', 'a;b', '$x `y`'])
def test_a_line_can_be_taken_apart(value):
    want = ' '.join(str(value).split())
    line = log_line(first=value, second=1)
    assert '\n' not in line and dict(word.split('=', 1) for word in shlex.split(line)) == dict(first=want, second='1')


def test_stages_of_commands_are_added_one_after_the_other(mask, tmp_path):
    log, out = tmp_path/'logs/night.log', tmp_path/'o'
    said = cryoseg('connect', mask, '-o', out, '-q', '--log', log)
    assert said.exit_code == 0, said.stderr
    first = log.read_bytes()
    assert cryoseg('surface', out/'membranes.mrc', '-o', out, '-q', '--log', log).exit_code == 0
    assert cryoseg('connect', mask, '-o', out, '-q', '--log', log).exit_code == 0
    assert log.read_bytes().startswith(first) and {level for level, _ in lines(log)} == {'INFO'}
    facts = [facts for _, facts in lines(log)]
    assert [f['stage'] for f in facts] == ['connect', 'report', 'contours', 'surface', 'measure', 'report', 'connect', 'report']
    assert facts[0]['tomogram'] == str(mask) and facts[0]['membranes'] == '1' and facts[3]['closed'] == '1'
    assert facts[6] == dict(tomogram=str(mask), stage='connect', kept='yes')
    for f in facts[:6]: assert 0 <= float(f['seconds']) < 100 and 10 < float(f['peak_MB']) < 10_000


def test_warnings_and_errors_are_logged_once_and_said_as_before(mask, tmp_path):
    log = tmp_path/'a.log'
    said = cryoseg('connect', mask, '-o', tmp_path/'o', '-q', '--set', 'input.voxel_size_A=20', '--log', log)
    (level, facts), *more = lines(log)
    assert level == 'WARNING' and 'without effect here' in facts['warning'] and 'without effect here' in said.stderr
    assert facts['tomogram'] == str(mask) and {level for level, _ in more} == {'INFO'}
    quiet = tmp_path/'b.log'
    said = cryoseg('run', tmp_path/'one.mrc', tmp_path/'two.mrc', '-o', tmp_path/'p', '-q', '--log', quiet, '--log-level', 'warning')
    assert said.exit_code == 1 and 'one.mrc' in said.stderr
    assert [(level, facts['tomogram'], facts['kind']) for level, facts in lines(quiet)] == [('ERROR', str(tmp_path/f'{name}.mrc'), 'VolumeError') for name in ('one', 'two')]


def test_a_bug_leaves_its_stack_at_debug_only(tmp_path):
    for level in ('debug', 'info'):
        path = tmp_path/f'{level}.log'
        with pytest.raises(ZeroDivisionError), open_log(path, level) as log, telling_log(log, 'a.mrc'), stage_logged(log, 'a.mrc', 'connect'):
            1/0
        text = path.read_text()
        assert ('Traceback' in text) == ('begins=yes' in text) == (level == 'debug')
        assert 'error="division by zero" kind=ZeroDivisionError' in text and 'seconds' not in text
        assert all(line.startswith('    ') for line in text.splitlines() if not re.match(r'\d{4}-\d\d-\d\dT', line))


def test_nothing_is_said_without_a_log_and_no_logger_is_registered(tmp_path):
    before, handlers = set(logging.Logger.manager.loggerDict), list(logging.getLogger().handlers)
    with open_log(None) as log, telling_log(log), stage_logged(log, 'a', 'connect', tmp_path) as facts:
        assert log is None and facts == {}
    with open_log(tmp_path/'a.log') as log, telling_log(log), warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter('always')
        warn_user('seen')
    assert len(shown) == 1 and set(logging.Logger.manager.loggerDict) == before and logging.getLogger().handlers == handlers


def test_a_log_that_cannot_be_written_is_said_before_any_work(mask, tmp_path):
    before = mask.read_bytes()
    for place in (tmp_path, mask, mask/'log'):
        said = cryoseg('connect', mask, '-o', tmp_path/'o', '-q', '--log', place)
        assert said.exit_code == 2 and '--log' in said.stderr and len(said.stderr.splitlines()) == 1
    assert not (tmp_path/'o').exists() and mask.read_bytes() == before
    with pytest.raises(VolumeError, match='debug, info, warning'), open_log(tmp_path/'a.log', 'loud'): pass


def test_lines_are_on_the_disk_at_once_and_a_full_disk_stops_nothing(tmp_path):
    with open_log(tmp_path/'a.log') as log:
        log.info(log_line(stage='connect'))
        assert (tmp_path/'a.log').read_text().endswith('INFO stage=connect\n')
    if not Path('/dev/full').exists(): return
    with open_log('/dev/full') as log, stage_logged(log, 'a', 'connect'): pass


def test_peak_memory_sees_what_was_held_for_a_while():
    with PeakMemory() as memory:
        before = memory.n_bytes
        held = np.ones(60_000_000, np.uint8)
        time.sleep(.6)
        del held
    assert 50e6 < memory.n_bytes - before < 200e6
