"""Run All in JupyterLab: each notebook in a plain kernel, without nbdev's flags, ends soon and changes nothing outside a temporary folder."""
import hashlib
import os
import shutil
import time

import pytest

from notebooks import NBS, ROOT, notebooks

SECONDS = 120                       # for a whole notebook on two cores; a cell that hangs is stopped then
SAMPLE = {'02_settings', '09c6_formats'}      # in `make test`; all in `make test-long`
COPIED = ('nbs', 'benchmarks', 'tools', 'cryoseg')
marks = [pytest.param(p, id=p.relative_to(NBS).with_suffix('').as_posix(), marks=() if p.stem in SAMPLE else pytest.mark.long) for p in notebooks()]


@pytest.fixture
def copy(tmp_path):
    "What notebooks may read, in another folder, and the environment that makes them read it."
    for name in COPIED: shutil.copytree(ROOT/name, tmp_path/name, ignore=shutil.ignore_patterns('__pycache__', '.ipynb_checkpoints'))
    shutil.copy(ROOT/'settings.ini', tmp_path)
    return tmp_path


def fingerprints(folder):
    "Path -> checksum of all files; caches left out."
    files = [p for p in folder.rglob('*') if p.is_file() and '__pycache__' not in p.parts]
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize('path', marks)
def test_run_all(path, copy, monkeypatch):
    import nbformat
    from nbclient import NotebookClient
    monkeypatch.delenv('CRYOSEG_LONG', raising=False)
    monkeypatch.delenv('IN_TEST', raising=False)
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(copy)]))
    before = fingerprints(copy)
    notebook = copy/'nbs'/path.relative_to(NBS)
    nb = nbformat.read(notebook, as_version=4)
    for cell in nb.cells:
        if cell.cell_type == 'code' and '#| eval: false' in cell.source: cell.source = ''       # not meant to be run by anyone
    began = time.monotonic()
    NotebookClient(nb, timeout=SECONDS, kernel_name='python3', resources={'metadata': {'path': str(notebook.parent)}}).execute()
    took = time.monotonic() - began
    after = fingerprints(copy)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert not changed, f'{path.name} changed {sorted(changed)}'
    assert took < SECONDS, f'{path.name} took {took:.0f} s'
