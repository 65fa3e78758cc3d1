"""Settings of a run: all can be set in TOML and shown, old names are answered, wrong values are refused by name."""
import tomllib
from dataclasses import fields, is_dataclass

import pytest
import tomli_w

from cryoseg.base.files import VolumeError
from cryoseg.run.options import build_settings
from cryoseg.run.settings import (OLD_SETTINGS, RunSettings, list_settings, read_config, result_settings, settings_from_dict, settings_to_dict,
                                  with_values)

EVERY = {s.path: s for s in list_settings()}
OTHER = {'resources.memory': '2G'}      # texts that are not free


def leaves(settings):
    "How many settings there are."
    return sum(leaves(v) if is_dataclass(v) else 1 for v in (getattr(settings, f.name) for f in fields(settings)))


def test_every_setting_is_listed_with_its_help():
    assert len(EVERY) == leaves(RunSettings()) >= 106
    assert not [path for path, s in EVERY.items() if len(s.help) < 8], 'a setting without help'


@pytest.mark.parametrize('path', EVERY)
def test_every_setting_can_be_set_in_toml(path):
    s = EVERY[path]
    value = s.default if s.default is not None else s.choices[0] if s.choices else 2 if int in s.types else .5 if float in s.types else OTHER.get(path, 'x') if str in s.types else (1, 2)
    text = tomli_w.dumps(settings_to_dict(with_values(RunSettings(), {path: value})))
    again = settings_from_dict(tomllib.loads(text))
    assert {s.path: s.default for s in list_settings(again)}[path] == value


def test_options_have_one_name_each():
    names = [s.option for s in EVERY.values() if s.option and not s.path.startswith('phantom')]
    assert len(names) == len(set(names)) and all(name.startswith('--') for name in names)


def test_there_and_back():
    mine = with_values(RunSettings(), {'input.z_range': (3, 9), 'segment.threshold': .5, 'connect.trace.focus': 3., 'seed': 4})
    assert settings_from_dict(settings_to_dict(mine)) == mine
    assert settings_from_dict(tomllib.loads(tomli_w.dumps(settings_to_dict(mine)))) == mine


@pytest.mark.parametrize('values, names', [
    ({'settings': 3}, ('settings',)), ({'input': 3}, ('input', 'table')), ({'seed': True}, ('seed', 'True')), ({'seed': -1}, ('seed', '-1')),
    ({'segment': {'threshold': float('nan')}}, ('threshold', 'nan')), ({'segment': {'threshold': 'x'}}, ('threshold', 'x')),
    ({'segment': {'threshold': [[[]]]}}, ('threshold',)), ({'segment': {'device': 'mars'}}, ('device', 'mars', 'cpu')),
    ({'connect': {'membrane_values': 1}}, ('membrane_values',)), ({'surface': {'method': 'magic'}}, ('method', 'magic', 'paper')),
    ({'colour': 'red'}, ('colour', 'input')), ({'connect': {'trace': {'focos': 1}}}, ('focos', 'focus')),
])
def test_what_makes_no_sense_is_refused_by_name(values, names):
    with pytest.raises(VolumeError) as error: settings_from_dict(values, where='my.toml')
    for name in (*names, 'my.toml'): assert name in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('old', OLD_SETTINGS)
def test_old_names_are_answered_with_the_new_ones(old):
    "And the new ones exist."
    *groups, name = old.split('.')
    with pytest.raises(VolumeError) as error: settings_from_dict({groups[0]: {name: 1}} if groups else {name: 1})
    assert OLD_SETTINGS[old] in str(error.value)
    assert any(path == OLD_SETTINGS[old] or path.startswith(OLD_SETTINGS[old] + '.') for path in EVERY), OLD_SETTINGS[old]


def test_a_config_is_a_file_of_groups_or_a_record(tmp_path):
    (tmp_path/'a.toml').write_text('\ufeffseed = 4\n[connect]\nmin_area_A2 = 5\n', encoding='utf-8')
    assert read_config(tmp_path/'a.toml').connect.min_area_A2 == 5. and read_config(tmp_path/'a.toml').seed == 4
    (tmp_path/'run.toml').write_text('format = 2\n[run]\ninput = "x"\n[settings]\nseed = 5\n')
    assert read_config(tmp_path/'run.toml').seed == 5
    for name, text in (('broken.toml', '[a'), ('deep.toml', 'x = ' + '['*5000), ('bytes.toml', '')):
        (tmp_path/name).write_text(text)
        if name == 'bytes.toml': (tmp_path/name).write_bytes(b'\xff\xfe\x00')
        with pytest.raises(VolumeError, match=name): read_config(tmp_path/name)
    with pytest.raises(VolumeError, match='check the name'): read_config(tmp_path/'no.toml')


def test_what_cannot_change_a_result_is_not_in_the_key():
    a, b = (result_settings(with_values(RunSettings(), {'segment.workers': n, 'input.mask': m})) for n, m in ((1, 'a'), (2, 'b')))
    assert a == b
    assert a != result_settings(with_values(RunSettings(), {'segment.threshold': .5}))


@pytest.mark.parametrize('values, meant', [
    ({'segment': {'treshold': .5}}, 'is segment.threshold meant'), ({'surface': {'min_area_A2': 5}}, 'is connect.min_area_A2 meant'), ({'threshold': .5}, 'segment.threshold meant'),
    ({'conect': {}}, 'is connect meant'), ({'Seed': 3}, 'is seed meant'), ({'x'*10**6: 3}, 'there is no setting'), ({'a\nb': 3}, 'there is no setting')])
def test_unknown_names_are_answered_with_what_may_be_meant(values, meant):
    with pytest.raises(VolumeError, match=meant) as error: settings_from_dict(values, where='my.toml')
    assert '\n' not in str(error.value) and len(str(error.value)) < 900


NONSENSE = float('nan'), True, 'x'*5000, [[[[]]]], {'a': 1}, 10**40, -10**40, '', [float('inf')]*3, 1j


@pytest.mark.parametrize('path', EVERY)
def test_no_setting_takes_nonsense(path):
    "Refused in one short line that names it; a truth value is taken where the setting is one."
    for value in NONSENSE:
        if value is True and bool in EVERY[path].types: continue
        with pytest.raises(VolumeError) as error: with_values(RunSettings(), {path: value})
        assert path.rpartition('.')[2] in str(error.value) and '\n' not in str(error.value) and len(str(error.value)) < 600


@pytest.mark.parametrize('changed', [{'seed': 1, 'seed.x': 2}, {'connect': 3, 'connect.link': 'merge'}, {'connect.link': 'merge', 'connect': 3}, {'': 1}, {'.': 1}, {'a.b.c': 1},
                                     {'connect.trace': 3}, {'connect.': 1}, {'seed.': 1}])
def test_paths_that_are_none(changed):
    with pytest.raises(VolumeError): with_values(RunSettings(), changed)


def test_a_config_of_any_editor(tmp_path):
    for encoding in ('utf-16', 'utf-8-sig'):
        (tmp_path/'a.toml').write_bytes('seed = 4\r\n[surface]\r\nmethod = "paper"\r\n'.encode(encoding))
        assert read_config(tmp_path/'a.toml').surface.method == 'paper'
    for text in ('settings = 3', 'settings = [1]', 'x = 1979-05-27', 'seed = 1979-05-27T07:32:00Z', 'segment = [[1]]', 'seed = 0.5'):
        (tmp_path/'a.toml').write_text(text)
        with pytest.raises(VolumeError, match='a.toml'): read_config(tmp_path/'a.toml')


def test_a_whole_number_is_the_same_setting_as_a_real_one():
    a, b = (result_settings(with_values(RunSettings(), {'connect.min_area_A2': v, 'segment.calibration': (v, v)})) for v in (5, 5.))
    assert a == b and repr(a) == repr(b)


@pytest.mark.parametrize('text, value', [
    ('seed=4', 4), (' seed = 4 ', 4), ('connect.link=greedy', 'greedy'), ('connect.link="greedy"', 'greedy'), ('input.mask=/d/a b.mrc', '/d/a b.mrc'), ('input.mask="/d/a=b.mrc"', '/d/a=b.mrc'),
    ('segment.calibration=[1, 0]', (1., 0.)), ('input.invert=true', True), ('surface.edge_vox=3', 3.)])
def test_settings_of_the_command_line(text, value):
    settings = build_settings({}, changes=[text])
    assert {s.path: s.default for s in list_settings(settings)}[text.partition('=')[0].strip()] == value


@pytest.mark.parametrize('text', ['seed', 'seed=', '=3', 'seed=true', 'seed=\u0663x', 'seed=[' + '['*9000, 'seed=' + '9'*5000, 'a.b.c=1', 'input.invert=yes', 'input.mask=', 'input.mask=""', 'seed=1\nseed=2',
                                  'connect.epsilon_A=30,5', 'connect.epsilon_A=nan', 'connect={link = "merge"', 'connect.link.x=1', 'segment.calibration=[1]', '.'.join('a'*9000) + '=1'])
def test_nonsense_of_the_command_line_is_one_line(text):
    with pytest.raises(VolumeError) as error: build_settings({}, changes=[text])
    assert '\n' not in str(error.value) and len(str(error.value)) < 1000


@pytest.mark.parametrize('path', ['surface.degree', 'surface.samples', 'surface.n_directions', 'surface.n_voxels', 'contours.samples', 'contours.ellipse.circles', 'contours.ellipse.starts',
                                  'contours.ellipse.max_points', 'contours.ellipse.max_axis', 'connect.links.episodes', 'connect.links.max_actions', 'connect.trace.half_window',
                                  'contrast.sigma_space_vox', 'contrast.tile_vox', 'segment.neighbours', 'segment.workers', 'segment.scale', 'phantom.n_vesicles', 'phantom.n_ribosomes',
                                  'phantom.n_gold', 'input.voxel_size_A', 'phantom.voxel_size_A'])
def test_what_sizes_arrays_and_loops_has_an_end(path):
    "A thousand million of them would fill the memory or the day."
    with pytest.raises(VolumeError, match=f'{path.rpartition(".")[2]} = 1000000000(.0)?: give at most'): with_values(RunSettings(), {path: 10**9})


def test_files_are_named_by_their_whole_path(tmp_path, monkeypatch):
    "Another process may begin in another folder."
    monkeypatch.chdir(tmp_path)
    (tmp_path/'c.toml').write_text('[input]\nmask = "m.mrc"\n')
    made = build_settings({}, tmp_path/'c.toml', ['segment.weights=mine.safetensors'])
    assert (made.input.mask, made.segment.weights) == (str(tmp_path/'m.mrc'), str(tmp_path/'mine.safetensors'))
