"Registers: what is entered is found, what is not is refused with the choices, places are imported late."
import math
import sys

import pytest

from cryoseg.base.files import VolumeError
from cryoseg.base.register import Register, import_place


@pytest.fixture
def shapes():
    register = Register('shape')
    register.add('square', abs, 'four equal sides')
    register.add('root', 'math:sqrt', 'a place')
    return register


def test_what_is_entered_is_found(shapes):
    assert shapes['square'] is abs and shapes['root'] is math.sqrt and shapes['root'] is math.sqrt
    assert list(shapes) == ['square', 'root'] and len(shapes) == 2 and 'root' in shapes and 'cube' not in shapes
    assert shapes.help('square') == 'four equal sides'


def test_what_is_not_entered_is_refused_with_the_choices(shapes):
    for ask in (lambda: shapes['cube'], lambda: shapes.help('cube'), lambda: shapes.remove('cube'), lambda: shapes.check('cube')):
        with pytest.raises(VolumeError, match="shape 'cube' is not known; take square, root"): ask()


def test_adding_replaces_and_removing_takes_out(shapes):
    shapes.add('square', max)
    assert shapes['square'] is max and shapes.help('square') == '' and len(shapes) == 2
    shapes.remove('square')
    assert list(shapes) == ['root'] and 'square' not in shapes


def test_a_place_is_imported_when_it_is_asked_for(shapes, tmp_path, monkeypatch):
    (tmp_path/'late_module_of_a_test.py').write_text('thing = 7')
    monkeypatch.syspath_prepend(tmp_path)
    shapes.add('late', 'late_module_of_a_test:thing')
    assert 'late' in shapes and 'late_module_of_a_test' not in sys.modules
    assert shapes['late'] == 7 and 'late_module_of_a_test' in sys.modules
    sys.modules.pop('late_module_of_a_test')


def test_what_is_no_text_is_no_place():
    assert import_place(abs) is abs and import_place(None) is None and import_place('math:pi') == math.pi
    with pytest.raises(AttributeError): import_place('math:no_such_name')
    with pytest.raises(ModuleNotFoundError): import_place('no_such_module_here:x')
