"""cryoseg/ and README.md are what the notebooks make: nothing stale, edited by hand, or left behind."""
import ast
import difflib
import shutil
import subprocess
import sys

import pytest

from notebooks import NBS, ROOT, notebooks

COPIED = ('settings.ini', 'setup.py', 'README.md')


@pytest.fixture
def copy(tmp_path):
    "The sources alone, in another folder: notebooks, tools and settings, no package."
    for name in COPIED: shutil.copy(ROOT / name, tmp_path)
    for name in ('nbs', 'tools'): shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns('.ipynb_checkpoints', '__pycache__'))
    return tmp_path


def tool(folder, *command):
    "Run tools/notebooks.py of `folder`."
    run = subprocess.run([sys.executable, folder / 'tools' / 'notebooks.py', *command], cwd=folder, capture_output=True, text=True)
    if run.returncode: pytest.fail(run.stdout[-2000:] + run.stderr[-4000:], pytrace=False)


def modules(folder):
    "Path -> text of the package's modules in `folder`."
    return {p.relative_to(folder).as_posix(): p.read_text(encoding='utf-8') for p in sorted((folder / 'cryoseg').rglob('*.py'))}


def first_difference(committed, made):
    "The first lines in which two texts differ."
    lines = difflib.unified_diff(committed.splitlines(), made.splitlines(), 'committed', 'made', lineterm='', n=1)
    return '\n'.join(line[:160] for line in list(lines)[:12])


def test_package_is_what_the_notebooks_export(copy):
    tool(copy, 'export')
    committed, made = modules(ROOT), modules(copy)
    faults = [f'{name}: no notebook makes it; delete it' for name in committed.keys() - made.keys()]
    faults += [f'{name}: missing; export the notebooks' for name in made.keys() - committed.keys()]
    for files in (committed, made): files['cryoseg/__init__.py'] = files['cryoseg/__init__.py'].splitlines()[0]      # the rest is written by hand
    faults += [f'{name}: differs; export the notebooks, never edit it\n{first_difference(committed[name], made[name])}'
               for name in sorted(committed.keys() & made.keys()) if committed[name] != made[name]]
    assert not faults, '\n'.join(faults)


def test_notebooks_are_clean():
    "As nbdev_clean leaves them: no execution counts, no stray metadata, no ids of objects in memory."
    from execnb.nbio import nb2str
    from fastcore.xtras import loads
    from nbdev.clean import _nbdev_clean
    dirty = []
    for path in notebooks():
        committed = path.read_text(encoding='utf-8')
        nb = loads(committed)
        _nbdev_clean(nb)
        if nb2str(nb) != committed: dirty.append(f'{path.name}\n{first_difference(committed, nb2str(nb))}')
    assert not dirty, 'bring them in with tools/notebooks.py:\n' + '\n'.join(dirty)


def test_readme_is_made_from_the_index(copy):
    assert (NBS / 'index.ipynb').exists(), 'nbs/index.ipynb is missing: README.md is made from it'
    tool(copy, 'readme')
    committed, made = ((folder / 'README.md').read_text(encoding='utf-8') for folder in (ROOT, copy))
    assert committed == made, 'python tools/notebooks.py readme\n' + first_difference(committed, made)


def test_ruff():
    "No undefined name, in notebooks too; no print in library code; no bare except."
    paths = [ROOT / name for name in ('cryoseg', 'tools', 'tests', 'benchmarks', 'nbs', 'setup.py') if (ROOT / name).exists()]
    command = [sys.executable, '-m', 'ruff', 'check', '--no-cache', '--output-format', 'concise', '--config', ROOT / 'ruff.toml', *paths]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode: pytest.fail(run.stdout + run.stderr, pytrace=False)


def test_exported_code_needs_no_notebook_tools():
    "Whoever installs the wheel must not inherit the bounds of nbdev and fastcore."
    unwanted = {'fastcore', 'nbdev', 'execnb', 'IPython'}
    found = []
    for path in sorted((ROOT / 'cryoseg').rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ''] if isinstance(node, ast.ImportFrom) else []
            found += [f'{path.name}:{node.lineno} imports {name}' for name in names if name.split('.')[0] in unwanted]
    assert not found, found
