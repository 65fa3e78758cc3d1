"""nbs/paper_map.toml says where each figure, table, algorithm and equation of the paper lives; here it is held to that."""
import ast
import json
import re
import tomllib

import pytest

from notebooks import NBS, ROOT, notebooks

MAP = tomllib.loads((NBS / 'paper_map.toml').read_text(encoding='utf-8'))
FIGURES = [f'Fig. {n}' for n in range(1, 28)]
EQUATIONS = [f'eq. ({n})' for n in range(1, 14)]
ALL = [*FIGURES, 'Table 1', 'Algorithm 1', *EQUATIONS]
MAY_BE_PENDING = {}               # open part of the paper -> the issue that will bring it
DONE, PENDING = ([name for name, entry in MAP.items() if ('pending' in entry) is pending] for pending in (False, True))


def test_the_map_is_whole():
    assert sorted(MAP) == sorted(ALL), f'missing {set(ALL) - set(MAP)}, unknown {set(MAP) - set(ALL)}'


@pytest.mark.parametrize('name', DONE)
def test_is_where_the_map_says(name):
    entry = MAP[name]
    assert set(entry) == {'notebook', 'heading', 'function'}, f'{name} wants notebook, heading and function, or pending'
    path = NBS / f'{entry["notebook"]}.ipynb'
    assert path.exists(), f'there is no nbs/{path.name}'
    below = sections(json.loads(path.read_text(encoding='utf-8')), entry['heading'])
    assert below, f'no heading of {path.name} has {entry["heading"]!r}'
    source = function_source(entry['function'])
    assert source, f'cryoseg has no {entry["function"]}'
    if name in FIGURES: assert any(is_image(o) for cells in below for o in cells), f'no picture stands below {entry["heading"]!r} in {path.name}'
    elif name == 'Table 1': assert any(is_table(o) for cells in below for o in cells), f'no table stands below {entry["heading"]!r} in {path.name}'
    else: assert carries(source, name), f'{entry["function"]} carries no comment # {name}'


@pytest.mark.parametrize('name', PENDING)
def test_pending_is_open(name):
    "What is pending may be, and is not there already."
    assert set(MAP[name]) == {'pending'}, f'{name} is pending or it is not'
    assert MAP[name]['pending'] == MAY_BE_PENDING.get(name), f'{name} may be pending only as {MAY_BE_PENDING.get(name)}'
    if name in EQUATIONS: found = [p.name for p in sorted((ROOT / 'cryoseg').rglob('*.py')) if carries(p.read_text(encoding='utf-8'), name)]
    else: found = [p.name for p in notebooks() if sections(json.loads(p.read_text(encoding='utf-8')), name)]
    assert not found, f'{name} is in {", ".join(found)}: map it, it is no longer pending'


def sections(nb, words):
    "For each heading of `nb` that has `words`: the visible outputs up to the next heading of its level or higher."
    found, open_sections = [], []
    for cell in nb['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown':
            for level, heading in headings(source):
                open_sections = [s for s in open_sections if s[0] < level]
                if has_words(heading, words):
                    found.append([])
                    open_sections.append((level, found[-1]))
        elif cell['cell_type'] == 'code' and not re.search(r'^#\|\s*hide\s*$', source, re.MULTILINE):
            for _, outputs in open_sections: outputs += cell['outputs']
    return found


def headings(markdown):
    "(level, text) of the headings outside code blocks."
    text = re.sub(r'^```.*?^```', '', markdown, flags=re.MULTILINE | re.DOTALL)
    return [(len(marks), words) for marks, words in re.findall(r'^(#{1,6}) +(.*)$', text, re.MULTILINE)]


def has_words(text, words):
    "Whether `text` has `words` as they stand: Fig. 1 is not in Fig. 12."
    return re.search(rf'(?<!\w){re.escape(words)}(?!\w)', text) is not None


def is_image(output):
    "Whether a stored output is a picture."
    return any(kind.startswith('image/') for kind in output.get('data', {}))


def is_table(output):
    "Whether a stored output is a table, or text of three rows and more."
    data = output.get('data', {})
    return '<table' in ''.join(data.get('text/html', [])) or ''.join(output.get('text', data.get('text/plain', []))).strip().count('\n') >= 2


def function_source(name):
    "The source of `module:function` or `module:Class.method`; None where it is not there."
    module, _, path = name.partition(':')
    file = ROOT / 'cryoseg' / f'{module.replace(".", "/")}.py'
    if not file.exists(): return None
    text = file.read_text(encoding='utf-8')
    node = ast.parse(text)
    for part in path.split('.'):
        node = next((n for n in node.body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name == part), None)
        if node is None: return None
    return '\n'.join(text.splitlines()[node.lineno - 1:node.end_lineno])


def carries(source, name):
    "Whether a comment of `source` names the equation or algorithm `name`."
    return any(has_words(comment, name) for comment in re.findall(r'#(.*)$', source, re.MULTILINE))


TOY = dict(cells=[dict(cell_type=kind, source=source, outputs=outputs) for kind, source, outputs in [
    ('markdown', '# Toy\n> one line', []),
    ('markdown', '## Fig. 1: a slice', []),
    ('code', '#| hide\nshow()', [dict(data={'image/png': 'hidden'})]),
    ('markdown', '### closer\n```\n## Fig. 3\n```', []),
    ('code', 'show()', [dict(data={'image/png': 'one'})]),
    ('markdown', '## Fig. 12', []),
    ('code', 'show()', [dict(text=['a\n', 'b\n', 'c\n'])]),
]])


@pytest.mark.parametrize('words, images', [('Fig. 1', [1]), ('Fig. 12', [0]), ('Fig. 2', []), ('Fig. 3', []), ('Toy', [1])])
def test_sections_end_where_they_should(words, images):
    assert [sum(is_image(o) for o in outputs) for outputs in sections(TOY, words)] == images


def test_tables_and_comments_are_told():
    assert [is_table(o) for o in sections(TOY, 'Fig. 12')[0]] == [True] and not is_table(dict(text='1.0'))
    assert carries('x = y  # eq. (1)', 'eq. (1)') and not carries('x = y  # eq. (12)', 'eq. (1)') and not carries('"(eq. 1)"', 'eq. (1)')
