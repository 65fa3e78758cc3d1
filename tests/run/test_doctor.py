"""The doctor: it tells what is broken, and does not die of it."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cryoseg.run import doctor
from cryoseg.run.doctor import BROKEN, NOTE, OK, Requirement, findings_of, import_errors, is_older, judge_package, parse_requirement

MAIN = 'from cryoseg.run.signals import main; main()'


@pytest.mark.parametrize('text, wanted', [
    ('numpy>=1.26', Requirement('numpy', (1, 26))),
    ('scikit-image', Requirement('scikit-image')),
    ('fastcore<2,>=1.12.3; extra == "dev"', Requirement('fastcore', (1, 12, 3), 'dev')),
    ("zarr>=3.0 ; extra == 'zarr'", Requirement('zarr', (3, 0), 'zarr')),
    ('nbdev==2.4.14; extra == "dev"', Requirement('nbdev', (2, 4, 14), 'dev')),
    ('fastgit<0.1', Requirement('fastgit')),
    ('openvino>=2026.0; platform_machine == "no such"', None)])
def test_requirements_are_read(text, wanted):
    assert parse_requirement(text) == wanted


@pytest.mark.parametrize('version, least, older', [('2.4.6', (2, 4), False), ('2.13.0+cpu', (2, 4), False), ('2.4', (2, 4, 1), True), ('1.9', (1, 26), True),
                                                   ('10', (9, 9), False), ('3.0rc1', (3, 0), False), ('0.1', (), False), ('', (1,), True)])
def test_versions_are_compared_by_number(version, least, older):
    assert is_older(version, least) == older


@pytest.mark.parametrize('version, error, extra, state, words, remedy', [
    ('3.1', '', 'zarr', OK, '3.1', ''),
    ('', '', 'zarr', NOTE, 'not installed', 'pip install "cryoseg[zarr]"'),
    ('', '', '', BROKEN, 'not installed', 'pip install "zarr>=3.0"'),
    ('2.9', '', '', BROKEN, 'older than 3.0', 'pip install "zarr>=3.0"'),
    ('3.1', 'ImportError: no libx', '', BROKEN, 'no libx', 'pip install --force-reinstall zarr')])
def test_a_package_is_judged(version, error, extra, state, words, remedy):
    found = judge_package(Requirement('zarr', (3, 0), extra), version, error)
    assert found.state == state and words in found.value and found.remedy == remedy


def test_a_package_that_crashes_python_is_named_and_the_others_are_tried(tmp_path, monkeypatch):
    bad = dict(crashes='import os; os.abort()', exits='raise SystemExit(0)', fails='1/0', fine='', prints='print("[hello")')
    for name, code in bad.items(): (tmp_path/f'{name}.py').write_text(code)
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')]))
    found = import_errors(['crashes', 'exits', 'fails', 'fine', 'no_such', 'prints', 'crashes'])
    assert 'crashes' in found['crashes'] and 'SystemExit' in found['exits'] and 'ZeroDivisionError' in found['fails']
    assert found['fine'] == found['prints'] == '' and 'ModuleNotFoundError' in found['no_such'] and len(found) == 6


def broken_package(tmp_path, name, code):
    "The environment of a Python in which a package is broken."
    (tmp_path/'bad'/name).mkdir(parents=True)
    (tmp_path/'bad'/name/'__init__.py').write_text(code)
    root = str(Path(doctor.__file__).parents[2])
    return os.environ | dict(PYTHONPATH=os.pathsep.join([str(tmp_path/'bad'), root]), COLUMNS='300')


@pytest.mark.parametrize('name, code', [('numpy', 'raise ImportError("of another processor")'), ('psutil', 'import os; os._exit(7)')])
def test_a_broken_package_is_told_and_the_rest_is_looked_at(tmp_path, monkeypatch, name, code):
    env = broken_package(tmp_path, name, code)
    for key in ('PYTHONPATH', 'COLUMNS'): monkeypatch.setenv(key, env[key])
    monkeypatch.setattr(doctor, 'requirements', lambda: [Requirement(name), Requirement('rich'), Requirement('no-such', (2,), 'more')])
    monkeypatch.setattr(doctor, 'BESIDE', ())
    found = {f.name: f for f in doctor.examine(test=False)}
    assert found[name].state == BROKEN and 'reinstall' in found[name].remedy and found['rich'].state == OK
    assert found['no-such'].state == NOTE and 'cryoseg[more]' in found['no-such'].remedy
    assert found['processors'].state in (OK, NOTE) and found['machine' if name == 'psutil' else 'net'].state == BROKEN


@pytest.mark.long
def test_the_command(tmp_path):
    "Without the packages, which take long to load: as JSON, with an exit code that says whether all is well, and without names of places."
    code = 'import cryoseg.run.doctor as d; d.requirements = lambda: []; d.BESIDE = ()\n' + MAIN
    words = [sys.executable, '-c', code, 'doctor', '--json', '-q']
    home = tmp_path/'home of ada'
    home.mkdir()
    done = subprocess.run(words, capture_output=True, text=True, cwd=home, env=os.environ | dict(HOME=str(home), TMPDIR=str(home)))
    found = json.loads(done.stdout)
    assert done.returncode == 0 and done.stderr == '', done.stderr
    tests = [f for f in found if f['part'] == 'test']
    assert [f['name'] for f in tests] == ['simulate', 'segment', 'connect', 'surface'] and all(f['value'] == 'PASS' and f['seconds'] >= 0 for f in tests)
    assert 'ada' not in done.stdout and {'engine', 'GPU', 'general.safetensors'} <= {f['name'] for f in found}
    env = broken_package(tmp_path, 'scipy', 'raise ImportError("of another processor")')
    done = subprocess.run([*words[:-2], '--no-test'], capture_output=True, text=True, env=env)
    assert done.returncode == 1 and 'of another processor' in done.stdout and 'Traceback' not in done.stdout + done.stderr


def test_the_self_test_says_which_step_failed(monkeypatch):
    def fails(*_): raise ArithmeticError('no root')
    monkeypatch.setattr(doctor, '_labelled', fails)
    first, second = doctor.self_test()
    assert first.value == 'PASS' and (second.name, second.state) == ('segment', BROKEN) and second.value == 'FAIL: ArithmeticError: no root'


def test_a_part_that_waits_for_ever_is_ended(monkeypatch):
    monkeypatch.setattr(doctor, 'APART_S', .5)
    monkeypatch.setattr(doctor, 'ASIDE', 'import time; print(\'{"part": "net", "name": "a", "value": "b"}\', flush=True); time.sleep(60)')
    one, two = findings_of('net')
    assert (one.name, two.state) == ('a', BROKEN) and 'nothing came' in two.value


@pytest.mark.parametrize('text, processors', [('200000 100000', 2.), ('50000 100000', .5), ('max 100000', float('inf')), ('', float('inf')), ('1 0', float('inf'))])
def test_the_limit_of_the_group(tmp_path, monkeypatch, text, processors):
    (tmp_path/'cpu.max').write_text(text)
    monkeypatch.setattr(doctor, 'QUOTAS', (str(tmp_path/'cpu.max'), str(tmp_path/'none')))
    assert doctor.group_quota() == processors and doctor.usable_processors() >= 1


def test_damaged_weights_are_told(monkeypatch):
    monkeypatch.setattr(doctor, 'recorded_checksums', lambda: {'general.safetensors': 'another'})
    found = next(f for f in doctor.look_at_weights() if f.name == 'general.safetensors')
    assert found.state == BROKEN and 'not what was installed' in found.value and 'reinstall' in found.remedy
