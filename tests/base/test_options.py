"Settings: every value is held to its field."
from dataclasses import dataclass, fields, replace

import pytest

from cryoseg.base.files import VolumeError
from cryoseg.base.options import check_settings, explain, setting
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
    ('kind', 'edam', 'take brie, gouda'), ('kind', 3, 'give str'), ('mode', 'c', 'take a, b'), ('count', 0, 'give at least 1'), ('count', 10, 'give at most 9'),
    ('count', 2.5, 'give int'), ('count', True, 'give int'), ('size_A', 0, 'give more than 0'), ('size_A', float('nan'), 'give a finite number'),
    ('size_A', float('inf'), 'give a finite number'), ('size_A', '2', 'give float'), ('size_A', None, 'give float'), ('on', 1, 'give bool'), ('plain', 'x', 'give int')])
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
