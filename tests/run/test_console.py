"Consoles: no character that one lacks ends a program, and what is printed is printed letter by letter."
import io
import os
import subprocess
import sys

import pytest

from cryoseg.run.command import progress_bars
from cryoseg.run.terminal import Talk
from cryoseg.run.console import INSTEAD, StageLines, clock_time, draw_table, plain_help, safe_console

PAGES = 'ascii', 'cp1252', 'cp932', 'cp936', 'cp949', 'cp1251', 'cp437', 'koi8-r', 'shift_jis'


@pytest.mark.parametrize('page', PAGES)
def test_any_page_can_hold_all_that_is_printed(page):
    text = ''.join(INSTEAD) + 'über 😀\udcff'
    there = text.encode(page, 'typed').decode(page)
    assert there and (page != 'ascii' or 'nm2 +- A' in 'nm² ± Å'.encode(page, 'typed').decode(page))
    assert 'plain, 1,200' == 'plain, 1,200'.encode(page, 'typed').decode(page)


def test_streams_are_made_safe(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding='ascii')
    monkeypatch.setattr(sys, 'stdout', stream)
    monkeypatch.setattr(sys, 'stderr', None)            # as where there is no console at all
    safe_console()
    draw_table(('area nm²', 'why'), [('1 ± 2', 'Å')])
    stream.flush()
    text = stream.buffer.getvalue().decode('ascii')
    assert 'area nm2' in text and '1 +- 2' in text


@pytest.mark.parametrize('page', ['ascii', 'cp932'])
def test_help_and_errors_of_the_command(page):
    code = 'from cryoseg.run.cli import main; import sys; main(sys.argv[1:])'
    for words, exit_code in ((['segment', '--help'], 0), (['segment', 'größe.mrc', '-o', 'x', '--threshold', 'nan'], 2), (['segment', '--nosuch²'], 2)):
        done = subprocess.run([sys.executable, '-c', code, *words], capture_output=True, env={'PYTHONIOENCODING': page, **dict(PATH='')})
        assert done.returncode == exit_code and b'Traceback' not in done.stderr, done.stderr


def test_pictures_and_markup_stay_letters(capsys, monkeypatch):
    monkeypatch.setattr(Talk, 'level', 0)       # whatever a command before has asked for
    draw_table(('id', 'why'), [('1', ':smile: [bold]x[/bold] [px] [[box]]')])
    assert ':smile: [bold]x[/bold] [px] [[box]]' in capsys.readouterr().out
    with progress_bars() as progress: progress(':fire:[px]', 2, 2)
    assert ':fire:[px]' in capsys.readouterr().err


def test_few_lines_where_there_is_no_terminal():
    "However many steps: one at the end of a stage, and one a minute before that, with the time left."
    stream, seconds = io.StringIO(), [0.]
    lines = StageLines(stream, lambda: seconds[0])
    for done in range(10_001):
        lines.draw('segment', done, 10_000)
        seconds[0] += .0179
    lines.draw('segment', 10_000, 10_000)
    assert stream.getvalue().splitlines() == ['   segment 3352/10000 0:01:00 left 0:01:59', '   segment 6704/10000 0:02:00 left 0:00:59',
                                              '   segment 10000/10000 0:02:59']


@pytest.mark.parametrize('seconds, text', [(0, '0:00:00'), (59.6, '0:01:00'), (3661, '1:01:01'), (360_000, '100:00:00')])
def test_times_as_a_clock_shows_them(seconds, text):
    assert clock_time(seconds) == text


@pytest.mark.skipif(os.name != 'posix', reason='a terminal of POSIX')
def test_a_terminal_has_bars():
    import pty
    mine, its = pty.openpty()
    code = "from cryoseg.run.console import stage_bars\nwith stage_bars() as draw:\n    draw(':fire:[px]', 20, 100)\n    draw(':fire:[px]', 100, 100)"
    subprocess.run([sys.executable, '-c', code], stderr=its, check=True, env=os.environ | dict(TERM='xterm', COLUMNS='100'))
    os.close(its)
    said = os.read(mine, 100_000).decode()
    os.close(mine)
    assert '━' in said and ':fire:[px]' in said and '100/100' in said and 'left' in said


@pytest.mark.parametrize('text', ['Side. [px]', '[[box]] tables', 'Å² [Å²]', r'a \[px]', '[1, 2]', '[/x] [#a]'])
def test_help_shows_brackets(text):
    from rich.text import Text
    assert Text.from_markup(plain_help(text), emoji=False).plain == text
