"""The notebooks are the source, the book and the first tests: each must run, and be fit to be read."""
import ast
import base64
import json
import re

import pytest

from notebooks import NBS, notebooks, run_apart

MAX_NOTEBOOK_BYTES, MAX_PICTURE_BYTES = 500_000, 100_000
MAX_CELLS, MAX_LINES = 60, 45      # of a notebook, of a code cell
SECONDS = 600                   # ordinary cells take about 20 s; this only stops a notebook that hangs
MACHINE_PATH = re.compile(r'(?<![\w.~])/(?:home|root|work|farm|tmp|Users|var/folders|private)/[\w.-]+|\b[A-Z]:\\+Users')
each_notebook = pytest.mark.parametrize('path', [pytest.param(p, id=p.relative_to(NBS).with_suffix('').as_posix()) for p in notebooks()])


def test_there_are_notebooks():
    assert notebooks(), 'nbs/ holds no notebook'


@each_notebook
def test_runs(path):
    "Every ordinary cell runs, in a process of its own; nothing is stored."
    ends_well(path, solve=False)


@pytest.mark.long
@pytest.mark.parametrize('path', [p for p in notebooks() if '<summary>Solution' in p.read_text(encoding='utf-8')], ids=lambda p: p.stem)
def test_solutions_run(path):
    "After the cells, the hidden solutions of the exercises run in the notebook's names."
    ends_well(path, solve=True)


def ends_well(path, solve):
    "Fail with what a notebook printed where it did not come to its end."
    code, text = run_apart(path, store=False, seconds=SECONDS, solve=solve)
    if code is None: pytest.fail(f'{path.name} did not end in {SECONDS} s\n{text[-2000:]}', pytrace=False)
    if code: pytest.fail(text[-8000:], pytrace=False)


@each_notebook
def test_is_fit_to_be_read(path):
    "What is committed is complete, light, and holds nothing of the machine that made it."
    found = faults(json.loads(path.read_text(encoding='utf-8')))
    if path.stat().st_size >= MAX_NOTEBOOK_BYTES: found.append(f'{path.stat().st_size // 1000} kB; the limit is {MAX_NOTEBOOK_BYTES // 1000} kB')
    if found: pytest.fail(f'{path.name}:\n' + '\n'.join(f'  {fault}' for fault in found), pytrace=False)


def faults(nb):
    "What is wrong with the stored notebook `nb`, one line each."
    found = []
    if not is_title(nb['cells'][0]): found.append('cell 0: the first cell holds `# Title` and `> one line`, nothing else (nbdev drops the rest)')
    if len(nb['cells']) > MAX_CELLS: found.append(f'{len(nb["cells"])} cells; the limit is {MAX_CELLS}: split it')
    if 'widgets' in nb['metadata']: found.append('widget state is stored; clean the notebook')
    found += bare_headings(nb['cells'])
    for number, cell in enumerate(nb['cells']):
        source, where = ''.join(cell['source']), f'cell {number}'
        found += [f'{where}: path of one machine: {m}' for m in MACHINE_PATH.findall(source)]
        if cell['cell_type'] != 'code': continue
        code = parse(source)
        if source.count('\n') >= MAX_LINES: found.append(f'{where}: {source.count(chr(10)) + 1} lines; the limit is {MAX_LINES}: cut it, with a sentence between')
        if code and 'export' in directives(source) and mixes_imports(code): found.append(f'{where}: imports stand alone in their cell')
        drawn = any(pictures(output) for output in cell['outputs'])
        if code and draws(code) and not drawn: found.append(f'{where}: it draws, but no picture is stored; run the notebook')
        found += [f'{where}: {fault}' for output in cell['outputs'] for fault in output_faults(output)]
    return found


def bare_headings(cells):
    "Headings that are followed by another heading, or by code, without a word between."
    found = []
    for number, (cell, then) in enumerate(zip(cells[1:], [*cells[2:], None]), 1):
        if cell['cell_type'] != 'markdown': continue
        text = re.sub(r'```.*?```', 'code', ''.join(cell['source']), flags=re.DOTALL)
        lines = [line for line in text.splitlines() if line.strip()]
        goes_on = then is not None and then['cell_type'] == 'markdown' and not ''.join(then['source']).startswith('#')
        bare = [a for a, b in zip(lines, [*lines[1:], 'words' if goes_on else '#']) if re.match('#+ ', a) and b.startswith('#')]
        found += [f'cell {number}: {heading!r} has no sentence' for heading in bare]
    return found


def output_faults(output):
    "What is wrong with one stored output."
    if output['output_type'] == 'error': return [f'an error is stored: {output["ename"]}: {output["evalue"]}']
    if output['output_type'] == 'stream' and output['name'] == 'stderr': return ['stderr is stored']
    data = output.get('data', {})
    found = ['a live widget is stored; draw a static figure beside it'] if any('widget' in kind for kind in data) else []
    found += [f'a picture of {len(p) // 1000} kB; the limit is {MAX_PICTURE_BYTES // 1000} kB' for p in pictures(output) if len(p) >= MAX_PICTURE_BYTES]
    text = ''.join(output.get('text', [])) + ''.join(''.join(v) for kind, v in data.items() if kind.startswith('text/'))
    return found + [f'path of one machine: {m}' for m in MACHINE_PATH.findall(text)]


def is_title(cell):
    "Whether `cell` is `# Title` and `> one line`."
    lines = [line for line in ''.join(cell['source']).splitlines() if line.strip()]
    return cell['cell_type'] == 'markdown' and len(lines) == 2 and lines[0].startswith('# ') and lines[1].startswith('> ')


def directives(source):
    "The words of the `#|` lines of a cell."
    return {word for line in source.splitlines() if line.startswith('#|') for word in line[2:].split()}


def parse(source):
    "The syntax tree of a cell without its magics; None where it is no Python."
    try: return ast.parse('\n'.join(line for line in source.splitlines() if not line.lstrip().startswith(('%', '!'))))
    except SyntaxError: return None


def mixes_imports(code):
    "Whether imports stand beside other statements."
    kinds = {isinstance(node, (ast.Import, ast.ImportFrom)) for node in code.body}
    return kinds == {True, False}


def draws(code):
    "Whether the cell itself (not a function that it defines) opens a figure with plt, and does not close it."
    calls = {node.func.attr for top in code.body if not isinstance(top, (ast.FunctionDef, ast.ClassDef)) for node in ast.walk(top)
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and getattr(node.func.value, 'id', '') == 'plt'}
    return bool(calls & {'subplots', 'figure', 'imshow', 'plot'}) and 'close' not in calls


def pictures(output):
    "The bytes of the pictures of one stored output."
    data = output.get('data', {})
    return ([base64.b64decode(''.join(data[kind])) for kind in ('image/png', 'image/jpeg') if kind in data]
            + [''.join(data[kind]).encode() for kind in ('image/svg+xml',) if kind in data])


def toy(source='1 + 1', outputs=(), kind='code'):
    "A notebook of a title and one cell."
    title = dict(cell_type='markdown', source='# Toy\n> one line', metadata={})
    return dict(cells=[title, dict(cell_type=kind, source=source, metadata={}, outputs=list(outputs))], metadata={})


def picture(n_bytes):
    return dict(output_type='display_data', data={'image/png': base64.b64encode(bytes(n_bytes)).decode()})


def text(words):
    return dict(output_type='stream', name='stdout', text=words)


@pytest.mark.parametrize('nb, fault', [
    (toy(), None),
    (toy('fig, ax = plt.subplots()', [picture(10)]), None),
    (toy('def show():\n    plt.subplots()'), None),
    (toy('#| export\nimport numpy as np\nfrom pathlib import Path'), None),
    (toy('%time\nx = 1', [text('a/tmp/b and ~/work/x')]), None),
    (toy('fig, ax = plt.subplots()'), 'no picture is stored'),
    (toy('#| export\nimport numpy as np\nx = np.zeros(3)'), 'imports stand alone'),
    (toy('x', [picture(200_000)]), 'a picture of 200 kB'),
    (toy('x', [text('saved in ' + '/tmp' + '/abc')]), 'path of one machine'),
    (toy('see ' + '/home' + '/ada/x.mrc', kind='markdown'), 'path of one machine'),
    (toy('x', [dict(output_type='stream', name='stderr', text='warning')]), 'stderr'),
    (toy('x', [dict(output_type='error', ename='ValueError', evalue='no')]), 'ValueError: no'),
    (toy('x', [dict(output_type='display_data', data={'application/vnd.jupyter.widget-view+json': {}})]), 'widget'),
    (dict(cells=[dict(cell_type='markdown', source='# Title\n> line\n\nmore prose')], metadata={}), 'first cell'),
    (dict(cells=toy()['cells'][:1] + toy()['cells'][1:] * MAX_CELLS, metadata={}), 'split it'),
    (toy('\n'.join(['x = 1']*50)), 'cut it'),
    (toy('## A\n\n### B\n\nwords', kind='markdown'), 'has no sentence'),
])
def test_faults_are_found(nb, fault):
    found = faults(nb)
    assert found == [] if fault is None else len(found) == 1 and fault in found[0], found
