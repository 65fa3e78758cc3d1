"Where tools/dev.py takes PyTorch from."
from contextlib import nullcontext
from urllib.error import URLError

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import dev


@pytest.fixture
def plain_linux(monkeypatch):
    "A Linux machine without a card and without a wish."
    monkeypatch.delenv('TORCH_INDEX', raising=False)
    monkeypatch.setattr(dev.sys, 'platform', 'linux')
    monkeypatch.setattr(dev, 'has_nvidia', lambda: False)


def answers(asked): return lambda url, timeout: asked.append((url, timeout)) or nullcontext()


def fails(error):
    def opener(url, timeout): raise error
    return opener


def test_without_a_card_the_cpu_build_is_taken(plain_linux, capsys):
    asked = []
    assert dev.torch_index(answers(asked)) == dev.CPU_INDEX
    assert asked == [(dev.CPU_INDEX + '/torch/', dev.REACH_SECONDS)]
    said, = capsys.readouterr().out.splitlines()
    assert 'no NVIDIA card' in said and dev.CPU_INDEX in said and 'TORCH_INDEX' in said


@pytest.mark.parametrize('error', [URLError('no route'), TimeoutError('slow'), ValueError('no proxy')])
def test_an_index_that_does_not_answer_is_left_out_and_said(plain_linux, capsys, error):
    assert dev.torch_index(fails(error)) is None
    said, = capsys.readouterr().out.splitlines()
    assert 'cannot be reached' in said and 'usual index' in said and 'TORCH_INDEX' in said


@pytest.mark.parametrize('named, wanted', [('https://my.own/index', 'https://my.own/index'), ('', None)])
def test_a_named_index_wins_and_nothing_is_asked(plain_linux, monkeypatch, capsys, named, wanted):
    monkeypatch.setenv('TORCH_INDEX', named)
    assert dev.torch_index(fails(AssertionError('asked'))) == wanted and not capsys.readouterr().out


def test_cards_and_other_systems_take_the_usual_index(plain_linux, monkeypatch, capsys):
    monkeypatch.setattr(dev, 'has_nvidia', lambda: True)
    assert dev.torch_index(fails(AssertionError('asked'))) is None
    monkeypatch.setattr(dev, 'has_nvidia', lambda: False)
    for system in ('darwin', 'win32'):
        monkeypatch.setattr(dev.sys, 'platform', system)
        assert dev.torch_index(fails(AssertionError('asked'))) is None
    assert not capsys.readouterr().out


def test_a_card_is_seen_by_its_driver_or_its_tool(monkeypatch, tmp_path):
    monkeypatch.setattr(dev, 'NVIDIA_DRIVER', tmp_path / 'none')
    monkeypatch.setattr(dev.shutil, 'which', lambda name: None)
    assert not dev.has_nvidia()
    monkeypatch.setattr(dev, 'NVIDIA_DRIVER', tmp_path)
    assert dev.has_nvidia()
    monkeypatch.setattr(dev, 'NVIDIA_DRIVER', tmp_path / 'none')
    monkeypatch.setattr(dev.shutil, 'which', lambda name: '/usr/bin/' + name)
    assert dev.has_nvidia()


def test_the_pin_admits_the_cpu_build_and_pip_prefers_it():
    "pip takes the highest version of all indexes; a local version is higher than the plain one, and == without one admits it."
    plain, cpu = Version('2.13.0'), Version('2.13.0+cpu')
    assert cpu > plain and cpu in SpecifierSet('==2.13.0')
