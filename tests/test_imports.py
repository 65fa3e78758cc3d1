"""The wings and rooms of the house: who may import whom, who prints, who draws, and which notebook makes which module."""
import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest

from notebooks import NBS, ROOT, notebooks

PACKAGE = ROOT / 'cryoseg'
HOUSE = {       # the wings in their order, and the rooms of each: imports go from right to left and from below upwards
    'base': 'files register options limits scratch pool text spreadsheets chunks compiled distance counts volume colours mrc tiff arrays zarr amira formats '
            'spacing geometry mesh slivers nearest metrics',
    'result': 'settings records tables meshes lock resources folder',
    'phantom': 'settings bodies imaging phantom example',
    'segment': 'settings padding outliers contrast noise motifs normalise weights unet scenes hard slabs train engines directions predict match',
    'connect': 'settings trace context link merge pieces concentric stack split joins candidates reasons instances edits membranes labels',
    'surface': 'settings ellipse gp features select contours checks star sheet anchored fit nested raster',
    'measure': 'settings curvature middle thickness label_error distances proteins evaluate groups',
    'show': 'slices scene picture widgets layers pages found doubts overview points imod multiscale report export napari manners correct',
    'run': 'settings signals console terminal labelling blocks fits stages measures log workflow summary board cluster scale doctor review view example options command cli',
}
ORDER = [f'{wing}.{room}' for wing, rooms in HOUSE.items() for room in rooms.split()]
SETTINGS = [room for room in ORDER if room.endswith('.settings')]
PLAIN = 'base.files', 'base.register', 'base.options', 'base.text', 'base.limits'       # rooms that every settings room may use
PRINTS = {'run.cli', 'run.command', 'run.terminal'}
DRAWS = {room for room in ORDER if room.startswith('show.')}
MESHES = {'phantom.phantom', 'base.mesh', 'base.nearest', 'result.meshes', *DRAWS}
HEAVY = dict(matplotlib=DRAWS, k3d=DRAWS, trimesh=MESHES)     # package -> who may import it
EXTRAS = {'notebook_requirements': DRAWS, 'zarr_requirements': {'base.zarr', 'base.formats', 'show.multiscale'}, 'cluster_requirements': {'run.cluster'}, 'napari_requirements': {'show.napari'}}     # who may import what an extra brings
MODULES = ['.'.join(p.relative_to(PACKAGE).with_suffix('').parts) for p in sorted(PACKAGE.glob('*/*.py')) if not p.stem.startswith('_')]
each_module = pytest.mark.parametrize('module', MODULES)


def source(module):
    "The text of a room."
    return (PACKAGE / f'{module.replace(".", "/")}.py').read_text(encoding='utf-8')


def tree(module):
    "The syntax tree of a room."
    return ast.parse(source(module))


def imports(code, module='base.files'):
    "(name, line) of everything that the `code` of a room imports, inside functions too; names of the package start with cryoseg."
    found = []
    for node in ast.walk(code):
        if isinstance(node, ast.Import): found += [(alias.name, node.lineno) for alias in node.names]
        if not isinstance(node, ast.ImportFrom): continue
        package = ['cryoseg', module.split('.')[0]][:3 - node.level] if node.level else []
        base = '.'.join([*package, *filter(None, [node.module])])
        found += [(f'{base}.{alias.name}' if base.count('.') < 2 and base.startswith('cryoseg') else base, node.lineno) for alias in node.names]
    return found


def own(module):
    "The rooms that a room imports, with lines."
    names = ((name.removeprefix('cryoseg.'), line) for name, line in imports(tree(module), module) if name.startswith('cryoseg.'))
    return [('.'.join(name.split('.')[:2]), line) for name, line in names if not name.startswith('__')]


def test_every_module_has_its_place():
    assert set(MODULES) <= set(ORDER), f'not in the order of rooms: {set(MODULES) - set(ORDER)}'
    loose = [p.name for p in PACKAGE.glob('*.py') if p.name not in ('__init__.py', '__main__.py', '_modidx.py')]
    assert not loose, f'{loose}: a room lies in a wing'


@each_module
def test_imports_go_one_way(module):
    "Left to right in ORDER, so that no circle can close."
    right = ORDER[ORDER.index(module):]
    wrong = [f'{module}:{line} imports {name}' for name, line in own(module) if name in right or name not in ORDER]
    assert not wrong, wrong


@pytest.mark.parametrize('module', [m for m in SETTINGS if m in MODULES])
def test_settings_need_the_standard_library_alone(module):
    "So that options and help cost no import; the plain rooms of base need no more, but inside functions."
    for room in (module, *PLAIN):
        at_once = [node for node in tree(room).body if not isinstance(node, ast.FunctionDef)]
        for name, line in imports(ast.Module(at_once, []), room):
            assert name.startswith('cryoseg') or name.split('.')[0] in sys.stdlib_module_names, f'{room}:{line} imports {name}'
    own_rooms = {name for name, _ in own(module)}
    assert own_rooms <= {*PLAIN, *SETTINGS}, f'{module} imports {own_rooms}'


@each_module
def test_heavy_packages_stay_in_their_rooms(module):
    wrong = [f'{module}:{line} imports {name}' for name, line in imports(tree(module), module) if module not in HEAVY.get(name.split('.')[0], {module})]
    assert not wrong, wrong


@each_module
def test_only_the_command_line_prints(module):
    lines = [node.lineno for node in ast.walk(tree(module)) if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'print']
    assert module in PRINTS or not lines, f'{module} prints at {lines}: return it, or leave it to run.cli'


@each_module
def test_one_notebook_makes_it(module):
    "The notebook lies in its wing's chapter and is named after its room, and the module says which notebook to edit."
    wing, room = module.split('.')
    makers = [path for path in notebooks() if re.search(rf'#\|\s*default_exp\s+{re.escape(module)}\b', path.read_text(encoding='utf-8'))]
    assert len(makers) == 1, f'{module} is made by {[p.name for p in makers]}: it wants exactly one notebook'
    place = makers[0].relative_to(NBS).as_posix()
    assert re.fullmatch(rf'\d_{wing}/\d\d[a-z]?\d?_{room}\.ipynb', place), f'{place} makes {module}: name it N_{wing}/NN_{room}.ipynb'
    assert f'File to edit: ../../nbs/{place}' in source(module)


def test_what_is_imported_is_required():
    "A user's `pip install` brings every package that the code imports; nothing comes from the developer's extras."
    settings = (ROOT / 'settings.ini').read_text(encoding='utf-8')
    required = {name: normal(re.search(rf'^{name} *= *(.*)$', settings, re.MULTILINE).group(1)) for name in ('requirements', *EXTRAS)}
    makers, missing = packages_distributions(), []
    for module in MODULES:
        allowed = required['requirements'].union(*(required[extra] for extra, rooms in EXTRAS.items() if module in rooms))
        for name, line in imports(tree(module), module):
            top = name.split('.')[0]
            if top == 'cryoseg' or top in sys.stdlib_module_names: continue
            if not normal(' '.join(makers.get(top, [top]))) & allowed: missing.append(f'{module}:{line} imports {top}')
    assert not missing, f'not in the requirements of settings.ini: {missing}'


def normal(requirements):
    "The names in a line of requirements, as package indexes compare them."
    return {re.sub(r'[-_.]+', '-', re.match(r'[\w.-]+', word).group()).lower() for word in requirements.split()}


def loads(module, package):
    "Whether importing `module` imports `package`: at its top level, not in a function."
    top = [node for node in tree(module).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return package in {name.split('.')[0] for name, _ in imports(ast.Module(top, []), module)}


def test_importing_is_light():
    "Importing the rooms in their order brings no drawing or mesh package before the first room that imports it itself."
    program = '\n'.join(f'import cryoseg.{m}; print({m!r}, *[p for p in {sorted(HEAVY)} if p in sys.modules])' for m in ORDER if m in MODULES)
    run = subprocess.run([sys.executable, '-c', 'import sys\n' + program], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    for package in HEAVY:
        for module, *loaded in map(str.split, run.stdout.splitlines()):
            if loads(module, package): break
            assert package not in loaded, f'importing cryoseg.{module} loads {package}: import it in the function that needs it'
