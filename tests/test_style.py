"""How the package reads, measured: short lines, one statement each, few things at once, every parameter explained."""
import pytest

import style

ROOMS = style.rooms()
each_room = pytest.mark.parametrize('path', ROOMS, ids=['.'.join(p.relative_to(style.PACKAGE).with_suffix('').parts) for p in ROOMS])
MAX_LINES = 600


@each_room
def test_a_line_holds_one_thing(path):
    measured = style.measure(path)
    assert measured.long_lines == 0, f'{measured.long_lines} lines over {style.MAX_COLUMNS} columns'
    assert measured.density <= style.MAX_NODES, f'{measured.density:.1f} syntax nodes a code line: name what is in between'


@each_room
def test_a_room_is_small(path):
    assert style.measure(path).code_lines <= MAX_LINES, 'divide it'


@each_room
def test_every_parameter_is_explained(path):
    measured = style.measure(path)
    assert measured.told == measured.parameters, f'{measured.told} of {measured.parameters} parameters and returns have a docment'
