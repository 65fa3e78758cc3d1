"""Build the book: the notebooks of nbs/ as pages in _docs/, from their stored outputs; no cell is run.

`python tools/dev.py site` installs what this needs and calls it.
"""
import ast
import os
import re
import shutil
from pathlib import Path

from execnb.nbio import mk_cell, read_nb, write_nb
from nbdev.config import get_config
from nbdev.processors import FilterDefaults

from notebooks import NBS, ROOT, notebooks

OUT = ROOT / '_docs'
NOT_HERE = {'FrontmatterProc', 'insert_warning', 'add_show_docs', 'clean_show_doc', 'exec_show_docs', 'mv_exports', 'add_fold', 'rm_export'}


def drop_hidden(cell):
    "Drop hidden cells, as nbdev does; exported source stays: it is the text of this book."
    if cell.directives_.keys() & {'hide', 'default_exp'}: del cell['source']


class Book(FilterDefaults):
    "nbdev's filter of notebooks, less what runs cells or drops exported source."
    def base_procs(self): return [drop_hidden, *(p for p in super().base_procs() if p.__name__ not in NOT_HERE)]


def page_name(path):
    "The name of a notebook's page, as nbdev's links have it: 05c_merge becomes merge."
    relative = path.relative_to(NBS)
    return relative.with_name(re.sub(r'^\d+[a-z]*_', '', relative.stem)).as_posix()


def with_anchors(nb):
    "Put a target before each cell that defines public names, so that links to functions arrive."
    cells = []
    for cell in nb.cells:
        try: names = [n.name for n in ast.parse(cell.source).body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name[0] != '_'] if cell.cell_type == 'code' else []
        except SyntaxError: names = []
        if names: cells.append(mk_cell(''.join(f'<a id="{name}"></a>' for name in names), 'markdown'))
        cells.append(cell)
    nb.cells = cells


def page(path):
    "The notebook `path` as a page: filtered, with anchors, its links within this site."
    nb = read_nb(path)
    Book()(nb)
    with_anchors(nb)
    home = get_config().doc_host + get_config().doc_baseurl
    up = '../' * (len(path.relative_to(NBS).parts) - 1)
    for cell in nb.cells:
        if cell.cell_type == 'markdown': cell.source = cell.source.replace(home.rstrip('/') + '/', up)
    return nb


def contents(pages):
    "The table of contents, a cell for the foot of the first page."
    groups = [('The paper, section by section', [p for p in pages if '/' not in p and p != 'index']), ('Tutorials', [p for p in pages if '/' in p])]
    return mk_cell('\n\n'.join('```{toctree}\n:caption: ' + caption + '\n\n' + '\n'.join(names) + '\n```' for caption, names in groups if names), 'markdown')


def write_pages(folder):
    "Write every page, filtered, into `folder`."
    paths = notebooks()
    for path in paths:
        nb, out = page(path), folder / f'{page_name(path)}.ipynb'
        if page_name(path) == 'index': nb.cells.append(contents([page_name(p) for p in paths]))
        out.parent.mkdir(parents=True, exist_ok=True)
        write_nb(nb, out)


def main():
    from sphinx.application import Sphinx
    os.chdir(ROOT)
    source, config = OUT / '.pages', get_config()
    shutil.rmtree(OUT, ignore_errors=True)
    write_pages(source)
    options = dict(project=config.title, author=config.author, copyright=config.copyright, release=config.version, html_title=config.title, html_theme='furo',
                   extensions=['myst_nb'], nb_execution_mode='off', myst_enable_extensions=['dollarmath', 'amsmath'], html_show_sourcelink=False,
                   suppress_warnings=['mystnb.unknown_mime_type'])
    app = Sphinx(str(source), None, str(OUT), str(OUT / '.doctrees'), 'html', confoverrides=options, status=None)
    app.build()
    for made in ('.pages', '.doctrees', '.jupyter_cache'): shutil.rmtree(OUT / made, ignore_errors=True)
    (OUT / '.nojekyll').touch()
    if app.statuscode: raise SystemExit(app.statuscode)
    print((OUT / 'index.html').relative_to(Path.cwd()))


if __name__ == '__main__': main()
