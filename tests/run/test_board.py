"""Where each of many tomograms is: stage, share, time left, on a terminal and without one."""
import io
import math

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from cryoseg.run.board import Line, LiveBoard, PlainBoard, in_time, tomogram_lines
from cryoseg.run.console import LINE_S


def test_time_left_is_that_of_the_stage():
    line = Line('a')
    assert line.tell('segment', 0, 10, 100.) and not line.tell('segment', 4, 10, 120.)
    assert line.left_s(120.) == pytest.approx(30) and line.words(120.) == 'a: segment 40%, 30 s left'
    assert line.tell('surface', 0, 0, 130.) and line.left_s(131.) is None and line.words(131.) == 'a: surface'
    line.tell('surface', 5, 5, 140.)
    assert line.left_s(140.) == 0 and line.words(140.) == 'a: surface 100%'


@pytest.mark.parametrize('seconds, words', [(.2, '0 s'), (119, '119 s'), (120, '2 min'), (7199, '120 min'), (7200, '2 h'), (86_400, '24 h')])
def test_times_for_people(seconds, words): assert in_time(seconds) == words


def test_plain_lines_are_few():
    "One a stage, and one a minute and tomogram."
    shown, now = [], [0.]
    board = PlainBoard(['a', 'b'], shown.append, lambda: now[0])
    for now[0] in range(600): board.tell(0, 'segment', now[0] + 1, 600)
    board.tell(0, 'connect', 0, 1)
    assert len(shown) == math.ceil(600/LINE_S) + 1 and shown[0] == 'a: segment 0%, 0 s left'[:len(shown[0])] and shown[-1] == 'a: connect 0%'


def test_live_lines_go_when_they_are_done():
    screen = Console(file=io.StringIO(), force_terminal=True, width=60)
    with Progress(TextColumn('{task.description} {task.fields[stage]}'), console=screen, auto_refresh=False) as bars:
        board = LiveBoard(['a', 'b'], bars)
        board.tell(0, 'segment', 5, 10)
        board.tell(0, 'connect', 0, 1)
        board.tell(1, 'segment', 1, 10)
        assert [(task.description, task.fields['stage'], task.completed) for task in bars.tasks] == [('all', '', 0), ('a', 'connect', 0), ('b', 'segment', 1)]
        board.end(0, 'a: [bold]done')
        board.end(1, 'b: failed')
        assert [(task.description, task.completed) for task in bars.tasks] == [('all', 2)]
    assert 'b: failed' in screen.file.getvalue()


def test_nothing_is_shown_where_nothing_is_wanted(capsys):
    with tomogram_lines(['a'], shown=False) as board:
        board.tell(0, 'segment', 1, 2)
        board.end(0, 'a: done')
    with tomogram_lines(['a']) as board: board.end(0, 'a: done')
    captured = capsys.readouterr()
    assert captured.out == '' and captured.err == 'a: done\n'


def test_a_late_report_brings_no_line_back():
    with Progress(disable=True) as bars:
        board = LiveBoard(['a', 'b'], bars)
        board.tell(0, 'surface', 1, 3)
        board.end(0, 'a: 3 membranes')
        board.tell(0, 'surface', 3, 3)
        assert len(bars.tasks) == 1         # that of all
    shown = []
    plain = PlainBoard(['a'], shown.append)
    plain.end(0, 'a: 3 membranes')
    plain.tell(0, 'surface', 3, 3)
    assert shown == ['a: 3 membranes']
