"Settings: every value is held to its field."
from dataclasses import dataclass, fields, replace

import pytest

from cryoseg.base.files import VolumeError
from cryoseg.base.options import MAX_WHOLE, check_settings, explain, range_setting, setting, shown
from cryoseg.base.register import Register

KINDS = Register('kind')
KINDS.add('brie', 1)
KINDS.add('gouda', 2)


@dataclass(frozen=True)
class Inner:
    n:int = setting(1, 'A number.', low=1)

    def __post_init__(self): check_settings(self)


@dataclass(frozen=True)
class Toy:
    kind:str = setting('brie', 'Which.', choices=KINDS, option='--kind')
    mode:str = setting('a', 'How.', choices=('a', 'b'))
    count:int|None = setting(None, 'How many; None = all.', low=1, high=9)
    size_A:float = setting(2., 'Of each.', unit='Å', above=0)
    on:bool = setting(False, 'Whether.', cost=False)
    plain:int = 3
    inner:Inner = Inner()

    def __post_init__(self): check_settings(self)


@pytest.mark.parametrize('good', [{}, dict(kind='gouda'), dict(mode='b'), dict(count=1), dict(count=9), dict(count=None), dict(size_A=1), dict(size_A=1e-9), dict(on=True), dict(plain=4)])
def test_values_within_their_limits_are_kept(good):
    toy = Toy(**good)
    assert all(getattr(toy, name) == value for name, value in good.items()) and replace(toy) == toy


@pytest.mark.parametrize('name, value, remedy', [
    ('kind', 'edam', 'take brie, gouda'), ('kind', 3, 'give text'), ('mode', 'c', 'take a, b'), ('count', 0, 'give at least 1'), ('count', 10, 'give at most 9'),
    ('count', 2.5, 'give a whole number'), ('count', True, 'give a whole number'), ('size_A', 0, 'give more than 0'), ('size_A', float('nan'), 'give a finite number'),
    ('size_A', float('inf'), 'give a finite number'), ('size_A', '2', 'give a number'), ('size_A', None, 'give a number'), ('on', 1, 'give true or false'), ('plain', 'x', 'give a whole number')])
def test_wrong_values_are_refused_with_their_name(name, value, remedy):
    with pytest.raises(VolumeError, match=rf'^{name} = .*: {remedy}$'): Toy(**{name: value})


def test_help_explains_the_choices_that_a_register_has():
    told = {f.name: explain(f.metadata) for f in fields(Toy)}
    assert told['mode'] == 'How.' and told['plain'] == ''
    KINDS.add('edam', 'tests:none', 'round and red')
    try: assert explain(Toy.__dataclass_fields__['kind'].metadata).splitlines()[-1] == 'edam: round and red'       # whatever is added later
    finally: KINDS.remove('edam')
    assert explain(setting((), 'Some.', parts=KINDS).metadata).splitlines() == ['Some.', *(f'{k}: {KINDS.help(k)}' for k in KINDS)]


def test_settings_within_settings_check_themselves():
    with pytest.raises(VolumeError, match='^n = 0'): Toy(inner=Inner(0))


def test_a_field_says_all_of_itself():
    about = {f.name: f.metadata for f in fields(Toy)}
    assert about['size_A']['unit'] == 'Å' and about['size_A']['help'] == 'Of each.' and about['kind']['option'] == '--kind'
    assert about['on']['cost'] is False and about['kind']['cost'] is True and not about['plain']


@dataclass(frozen=True)
class Lists:
    pair:tuple = range_setting((1., 2.), 'From, to.', low=0)
    shape:tuple = setting((1, 2, 3), 'Sides.', each=int, length=3, low=1)
    names:tuple = setting(('brie',), 'Some.', parts=KINDS, min_length=1)
    loud:float = setting(1., 'May be endless.', above=0, infinite=True)
    file:str|None = setting(None, 'A file.')
    below:float = setting(.5, 'Less than one.', below=1)

    def __post_init__(self): check_settings(self)


@pytest.mark.parametrize('name, value, remedy', [
    ('pair', (1., 2., 3.), 'a list of 2 numbers'), ('pair', (2., 1.), 'smaller number first'), ('pair', (-1., 1.), 'at least 0'), ('pair', 3., 'give a list'),
    ('pair', '12', 'give a list'), ('pair', (float('nan'), 1.), 'finite'), ('pair', ('1', 2.), '2 numbers'), ('pair', ([1.], 2.), '2 numbers'), ('pair', (True, 2.), '2 numbers'),
    ('pair', (None, 2.), '2 numbers'), ('shape', (1., 2., 3.), '3 whole numbers'), ('shape', (1, 2), '3 whole'), ('shape', (0, 1, 2), 'at least 1'), ('shape', {'z': 1}, 'give a list'),
    ('names', (), 'at least 1'), ('names', ('edam',), 'take brie, gouda'), ('names', (1,), 'list of names'), ('names', (['brie'],), 'list of names'), ('loud', -float('inf'), 'finite'),
    ('loud', float('nan'), 'finite'), ('file', '', 'leave it out'), ('file', 'a\0b', 'control'), ('file', 'x'*10**7, 'at most'), ('below', 1., 'less than 1'),
    ('below', 10**400, '64 bits'), ('below', 1 + 2j, 'give a number')])
def test_entries_of_lists_are_held_to_their_field_too(name, value, remedy):
    with pytest.raises(VolumeError, match=rf'^{name} = .*{remedy}') as error: Lists(**{name: value})
    assert len(str(error.value)) < 300 and '\n' not in str(error.value)


def test_plain_values_are_kept():
    import numpy as np
    kept = Lists(pair=np.array([1, 2], np.float32), shape=[np.int64(4), 5, 6], loud=float('inf'), below=0)
    assert kept == Lists(pair=(1., 2.), shape=(4, 5, 6), loud=float('inf'), below=0.)
    assert [type(v) for v in (*kept.pair, *kept.shape, kept.below)] == [float]*2 + [int]*3 + [float]
    assert Toy(plain=MAX_WHOLE).plain == MAX_WHOLE and Lists(file='Bildschirmfoto\u202f1.png').file


def test_settings_of_another_class_are_refused():
    with pytest.raises(VolumeError, match='inner'): Toy(inner=3)
    with pytest.raises(VolumeError, match='inner'): Toy(inner=Lists())


def test_what_is_quoted_is_short():
    deep = []
    for _ in range(10_000): deep = [deep]
    for value in (deep, 'x'*10**7, 10**5000, {'a': deep}, 'two\nlines', [10**5000]):
        assert len(shown(value)) < 200 and '\n' not in shown(value)
