"""Pages of the site that are no notebook: the API, the gallery, the map of the paper, benchmarks, peers, changes."""
import ast
import base64
import json
import re
import tomllib
from importlib import import_module
from pathlib import Path

import benchmark_tables
from notebooks import NBS, ROOT

PACKAGE = ROOT / 'cryoseg'
WINGS = dict(phantom='tomograms whose truth is known', segment='from grey values to labels', connect='from labels to single membranes',
             surface='closed surfaces with their errors', measure='curvature, thickness, distances, scores', run='the whole chain',
             show='figures, widgets, report, export', result='records, tables, the folder of a run', base='files, volumes, geometry')


def page_name(path):
    "The name of a notebook's page, as nbdev's links have it: 5_connect/05c1_merge becomes 5_connect/merge."
    relative = path.relative_to(NBS)
    if relative.parts[0] == 'tutorials': return relative.with_suffix('').as_posix()
    return relative.with_name(re.sub(r'^\d+[a-z0-9]*_', '', relative.stem)).as_posix()


def table(head, rows):
    "A Markdown table."
    return '\n'.join(['| ' + ' | '.join(line) + ' |' for line in (head, ['---']*len(head), *rows)])


def cell(text):
    "Text that does not end its cell."
    return ' '.join(str(text).split()).replace('|', '\\|')


# API

def source_of(module):
    "Where nbdev says that a module comes from: its notebook."
    found = re.search(r'File to edit: (?:\.\./)*nbs/(\S+?)\.ipynb', (PACKAGE / f'{module.replace(".", "/")}.py').read_text(encoding='utf-8'))
    return NBS / f'{found[1]}.ipynb'


def arguments(node, body):
    "(name, type, default) of each argument of a function, or field of a record."
    if isinstance(node, ast.ClassDef):
        fields = [n for n in body if isinstance(n, ast.AnnAssign) and n.target.id[0] != '_']
        return [(n.target.id, ast.unparse(n.annotation), ast.unparse(n.value) if n.value else '') for n in fields]
    every = [*node.args.posonlyargs, *node.args.args]
    defaults = [''] * (len(every) - len(node.args.defaults)) + [ast.unparse(d) for d in node.args.defaults]
    some = [(a.arg, ast.unparse(a.annotation) if a.annotation else '', d) for a, d in zip(every, defaults)]
    return some + ([(f'**{node.args.kwarg.arg}', '', '')] if node.args.kwarg else [])


def whole_body(node, classes):
    "What stands in a class, that of its private bases in the same module first."
    bases = [classes[base.id] for base in getattr(node, 'bases', []) if isinstance(base, ast.Name) and base.id[0] == '_' and base.id in classes]
    return [n for base in bases for n in whole_body(base, classes)] + node.body


def methods(body):
    "A table of the public methods and properties of a class."
    public = {n.name: n for n in body if isinstance(n, ast.FunctionDef) and n.name[0] != '_'}
    rows = []
    for name, node in public.items():
        names = ', '.join(a.arg for a in node.args.args if a.arg != 'self')
        form = name if any('property' in ast.unparse(d) for d in node.decorator_list) else f'{name}({names})'
        rows.append((f'`{form}`', cell((ast.get_docstring(node) or '').partition('\n\n')[0])))
    return table(('method', 'what it does'), rows) if rows else ''


def field_comments(body, module):
    "name -> what the comment at a field says."
    lines = Path(module.__file__).read_text(encoding='utf-8').splitlines()
    return {n.target.id: lines[n.end_lineno - 1].partition('#')[2].strip() for n in body if isinstance(n, ast.AnnAssign)}


def comments(thing):
    "name -> what the comment at an argument says; `return` of what is given back."
    from fastcore.docments import docments
    try: return {name: text or '' for name, text in docments(thing, returns=True).items()}
    except (TypeError, ValueError, OSError, AttributeError, SyntaxError, KeyError): return {}


def described(node, module, page, classes):
    "A function or class: its line, its words, its arguments with types and shapes, its methods."
    home, body = import_module(f'cryoseg.{module}'), whole_body(node, classes)
    said = field_comments(body, home) if isinstance(node, ast.ClassDef) else comments(getattr(home, node.name))
    given = [a for a in arguments(node, body) if a[0] != 'self']
    form = ', '.join(name + (f'={default}' if default else '') for name, _, default in given)
    text = [f'### {node.name}', f'`{node.name}({form})` · [notebook](../{page}.ipynb)', ast.get_docstring(node) or '']
    rows = [(f'`{name}`', f'`{cell(kind)}`' if kind else '', cell(said.get(name.strip('*'), ''))) for name, kind, _ in given]
    if rows: text.append(table(('name', 'type', 'meaning, shape, unit'), rows))
    if isinstance(node, ast.ClassDef): text.append(methods(body))
    elif said.get('return'): text.append(f'Returns {said["return"]}.')
    return '\n\n'.join(part for part in text if part)


def api_page(wing):
    "All public functions and records of a wing of the package."
    text = [f'# cryoseg.{wing}', f'{WINGS[wing].capitalize()}. Arrays are (z, y, x) in voxels; the meaning of each argument has its shape and unit.']
    for path in sorted((PACKAGE / wing).glob('*.py')):
        module = f'{wing}.{path.stem}'
        if path.stem.startswith('_'): continue
        code, page = ast.parse(path.read_text(encoding='utf-8')), page_name(source_of(module))
        public = [n for n in code.body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name[0] != '_']
        classes = {n.name: n for n in code.body if isinstance(n, ast.ClassDef)}
        text += [f'## {module}', ast.get_docstring(code) or '', *(described(n, module, page, classes) for n in public)]
    return '\n\n'.join(text) + '\n'


def api_index():
    "The pages of the API, and what the package offers at its top."
    import cryoseg
    rows = [(f'`cryoseg.{name}`', f'[{place}](api/{place.split(".")[0]}.md)') for name, place in cryoseg._ROOMS.items()]
    pages = '\n'.join(f'api/{wing}' for wing in WINGS)
    return (f'# API\n\nWhat most people need is at the top of the package; the rest lies in its parts.\n\n{table(("name", "where"), rows)}\n\n'
            + f'```{{toctree}}\n:maxdepth: 1\n\n{pages}\n```\n')


# other pages

def pictures(path):
    "The stored pictures of a notebook, under the heading where they stand."
    heading = ''
    for cell_ in json.loads(path.read_text(encoding='utf-8'))['cells']:
        source = ''.join(cell_['source'])
        if cell_['cell_type'] == 'markdown': heading = ([line.lstrip('# ') for line in source.splitlines() if line.startswith('#')] or [heading])[-1]
        for output in cell_.get('outputs', []):
            if 'image/png' in output.get('data', {}): yield heading, base64.b64decode(''.join(output['data']['image/png']))


def shown_of_paper():
    "(name, its place) of what the paper shows and a notebook makes."
    places = tomllib.loads((NBS / 'paper_map.toml').read_text(encoding='utf-8'))
    return [(name, place) for name, place in places.items() if 'notebook' in place]


def gallery(folder):
    "The figures of the paper, each with a link; the pictures are written into `folder`."
    text = ['# Gallery', 'The figures of the paper, made anew by the notebooks that stand below them.']
    (folder / 'gallery').mkdir(parents=True, exist_ok=True)
    for name, place in shown_of_paper():
        path, words = NBS / f'{place["notebook"]}.ipynb', place['heading']
        data = next((data for heading, data in pictures(path) if words in heading), None)
        if name.startswith('Fig.') and data is not None:
            file = folder / 'gallery' / f'{re.sub("[^0-9]+", "", name)}.png'
            file.write_bytes(data)
            text += [f'## {name}', f'![{name}: {cell(words)}](gallery/{file.name})', f'[{page_name(path)}]({page_name(path)}.ipynb)']
    return '\n\n'.join(text) + '\n'


def paper_map():
    "Each figure, table, algorithm and equation of the paper: its notebook and its function."
    rows = []
    for name, place in shown_of_paper():
        page = page_name(NBS / f'{place["notebook"]}.ipynb')
        rows.append((name, f'[{page}]({page}.ipynb)', cell(place.get('heading', '')), f'`{place["function"]}`' if place.get('function') else ''))
    return f'# The paper and its cells\n\nWhere each figure, table, algorithm and equation is made.\n\n{table(("paper", "notebook", "heading", "function"), rows)}\n'


def compared():
    "What was measured beside other programs here, and what their authors measured."
    commit = benchmark_tables.stored('opponents')['commit']
    theirs = [('ETSAM', '0.787', '0.80', '0.80'), ('TARDIS', '0.555', '0.62', '0.57'), ('MemBrain-seg', '0.540', '0.47', '0.74')]
    others = [('MemBrain-seg', 'the default choice for labels; 3-D net', 'single membranes are connected components; gaps stay open'),
              ('TARDIS', 'labels and instances in one command', 'labels points, adds no surface'),
              ('ETSAM', 'best Dice of the table below', 'needs an NVIDIA card; no single membranes, no error'),
              ('surface_morphometrics', 'curvature, thickness and distances on meshes', 'needs labels; no error bars'),
              ('Mosaic', 'clustering and fits by hand, many formats', 'no error bars'),
              ('cryoseg', 'single membranes, closed surfaces, measures, each with an error; no GPU, no hand labels', 'crowded cells: recall; see the front page')]
    return '\n\n'.join([
        '# How it compares', 'Other programs do things that this one does not, and the other way round.', table(('program', 'strength', 'where it stops'), others),
        '## Measured here', f'`python benchmarks/opponents.py`, commit `{commit}`: surfaces of bodies of which parts are missing.', benchmark_tables.markdown_tables('opponents'),
        '## Measured by others', 'Ten tomograms of the CryoET Data Portal, from the tables of the authors of ETSAM; cryoseg was not part of it, and was not run on them.',
        table(('program', 'mean Dice', 'precision', 'recall'), theirs)]) + '\n'


def moved_links(text):
    "Links of a document at the top of the repository, for a page of the site."
    return re.sub(r'\]\(nbs/((?:\w+/)*)(\w+)\.ipynb', lambda m: f']({page_name(NBS / f"{m[1]}{m[2]}.ipynb")}.ipynb', text)


def write_extra(folder):
    "Write all of them into `folder`; return the names of the pages."
    pages = dict(api=api_index(), gallery=gallery(folder), paper_map=paper_map(), compared=compared(),
                 benchmarks=re.sub(r'\]\((results|\w+\.py)\)', '](https://github.com/cryoseg/cryoseg/tree/main/benchmarks)', benchmark_tables.page()),
                 changes=(ROOT / 'CHANGELOG.md').read_text(encoding='utf-8'), contributing=moved_links((ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8')))
    for name, text in pages.items(): (folder / f'{name}.md').write_text(text, encoding='utf-8')
    (folder / 'api').mkdir(exist_ok=True)
    for wing in WINGS: (folder / 'api' / f'{wing}.md').write_text(api_page(wing), encoding='utf-8')
    return list(pages)

