"""The rooms of the house: who may import whom, who prints, who draws, and which notebook makes which module."""
import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest

from notebooks import NBS, ROOT, notebooks

PACKAGE = ROOT / 'cryoseg'
ORDER = ('volume geometry metrics phantom contrast simulate unet segment trace link ellipse gp merge membranes select curves surface nested '
         'evaluate measure formats view report workflow scale cli').split()      # each imports only from its left
DRAWS = {'view', 'report'}
HEAVY = dict(matplotlib=DRAWS, k3d=DRAWS, trimesh={'phantom', 'surface', 'measure', 'formats', *DRAWS})     # package -> who may import it
MODULES = [p.stem for p in sorted(PACKAGE.glob('*.py')) if not p.stem.startswith('_')]
each_module = pytest.mark.parametrize('module', MODULES)


def tree(module):
    "The syntax tree of a module of the package."
    return ast.parse((PACKAGE / f'{module}.py').read_text(encoding='utf-8'))


def imports(code):
    "(name, line) of everything that `code` imports, inside functions too; names of the package start with cryoseg."
    found = []
    for node in ast.walk(code):
        if isinstance(node, ast.Import): found += [(alias.name, node.lineno) for alias in node.names]
        if not isinstance(node, ast.ImportFrom): continue
        base = '.'.join(filter(None, ['cryoseg' if node.level else '', node.module]))
        found += [(f'{base}.{alias.name}' if base == 'cryoseg' else base, node.lineno) for alias in node.names]
    return found


def own(code):
    "The modules of the package that `code` imports, with lines."
    names = ((name.split('.')[1], line) for name, line in imports(code) if name.startswith('cryoseg.'))
    return [(name, line) for name, line in names if not name.startswith('__')]


def test_every_module_has_its_place():
    assert set(MODULES) <= set(ORDER), f'not in the order of rooms: {set(MODULES) - set(ORDER)}'
    assert not [p for p in PACKAGE.iterdir() if p.is_dir() and (p / '__init__.py').exists()], 'the package is flat: a notebook, a module'


@each_module
def test_imports_go_one_way(module):
    "Left to right in ORDER, so that no circle can close."
    right = ORDER[ORDER.index(module):]
    wrong = [f'{module}.py:{line} imports {name}' for name, line in own(tree(module)) if name in right or name not in ORDER]
    assert not wrong, wrong


@each_module
def test_heavy_packages_stay_in_their_rooms(module):
    wrong = [f'{module}.py:{line} imports {name}' for name, line in imports(tree(module)) if module not in HEAVY.get(name.split('.')[0], {module})]
    assert not wrong, wrong


@each_module
def test_only_the_command_line_prints(module):
    lines = [node.lineno for node in ast.walk(tree(module)) if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'print']
    assert module == 'cli' or not lines, f'{module}.py prints at {lines}: return it, or leave it to cli'


@each_module
def test_one_notebook_makes_it(module):
    "The notebook is named after its module, and the module says which notebook to edit."
    sources = {path: ''.join(path.read_text(encoding='utf-8')) for path in notebooks()}
    makers = [path for path, source in sources.items() if re.search(rf'#\|\s*default_exp\s+{module}\b', source)]
    assert len(makers) == 1, f'{module} is made by {[p.name for p in makers]}: it wants exactly one notebook'
    assert re.fullmatch(rf'\d\d[a-z]?\d?_{module}', makers[0].stem), f'{makers[0].name} makes {module}: name it NN_{module}.ipynb'
    assert f'File to edit: ../nbs/{makers[0].relative_to(NBS).as_posix()}' in (PACKAGE / f'{module}.py').read_text(encoding='utf-8')


def test_what_is_imported_is_required():
    "A user's `pip install` brings every package that the code imports; nothing comes from the developer's extras."
    settings = (ROOT / 'settings.ini').read_text(encoding='utf-8')
    required = {name: normal(re.search(rf'^{name} *= *(.*)$', settings, re.MULTILINE).group(1)) for name in ('requirements', 'notebook_requirements', 'zarr_requirements')}
    makers, missing = packages_distributions(), []
    for module in MODULES:
        allowed = required['requirements'] | (required['notebook_requirements'] if module in DRAWS else set()) | (required['zarr_requirements'] if module == 'volume' else set())
        for name, line in imports(tree(module)):
            top = name.split('.')[0]
            if top == 'cryoseg' or top in sys.stdlib_module_names: continue
            if not normal(' '.join(makers.get(top, [top]))) & allowed: missing.append(f'{module}.py:{line} imports {top}')
    assert not missing, f'not in the requirements of settings.ini: {missing}'


def normal(requirements):
    "The names in a line of requirements, as package indexes compare them."
    return {re.sub(r'[-_.]+', '-', re.match(r'[\w.-]+', word).group()).lower() for word in requirements.split()}


def loads(module, package):
    "Whether importing `module` imports `package`: at its top level, not in a function."
    top = [node for node in tree(module).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return package in {name.split('.')[0] for name, _ in imports(ast.Module(top, []))}


def test_importing_is_light():
    "Importing the rooms in their order brings no drawing or mesh package before the first room that imports it itself."
    program = '\n'.join(f'import cryoseg.{m}; print({m!r}, *[p for p in {sorted(HEAVY)} if p in sys.modules])' for m in ORDER if m in MODULES)
    run = subprocess.run([sys.executable, '-c', 'import sys\n' + program], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    for package in HEAVY:
        for module, *loaded in map(str.split, run.stdout.splitlines()):
            if loads(module, package): break
            assert package not in loaded, f'importing cryoseg.{module} loads {package}: import it in the function that needs it'
