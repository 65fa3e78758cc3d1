"""Build the book: the notebooks of nbs/ as pages in _docs/, from their stored outputs; no cell is run.

`python tools/dev.py site` installs what this needs and calls it.
"""
import ast
import os
import re
import shutil

import nbformat
from nbformat.v4 import new_markdown_cell

from notebooks import NBS, ROOT, filtered, notebooks

OUT = ROOT / '_docs'


def page_name(path):
    "The name of a notebook's page, as nbdev's links have it: 5_connect/05c1_merge becomes merge."
    relative = path.relative_to(NBS)
    return relative.with_name(re.sub(r'^\d+[a-z0-9]*_', '', relative.stem)).as_posix()


def public_names(source):
    "The names of the functions and classes that a cell defines for its readers."
    try: return [n.name for n in ast.parse(source).body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name[0] != '_']
    except SyntaxError: return []      # a cell with a magic


def anchored(cells):
    "Yield `cells` with a target before each one that defines names, for links to arrive at."
    for cell in cells:
        names = public_names(cell.source) if cell.cell_type == 'code' else []
        if names: yield new_markdown_cell(''.join(f'<a id="{name.lower()}"></a>' for name in names))
        yield cell


def link(cell, home, up):
    "Link the names in backticks to the pages that explain them, and notebooks to their pages; `up` leads to the first page."
    from nbdev.doclinks import NbdevLookup
    linked = NbdevLookup().linkify(cell.source)
    linked = re.sub(r'\]\(((?:\.\./|\w+/)*)\d+[a-z0-9]*_(\w+\.ipynb)', r'](\1\2', linked)
    cell.source = re.sub(rf'\[(`[^`]+`)\]\({re.escape(home)}/([^)]+)\)', rf'<a href="{up}\2">\1</a>', linked)


def captions(index):
    "Folder of nbs/ -> the title of its chapter, from the table of the notebook `index`."
    rows = re.findall(r'^\| (.+?) \| \[\w+\]\((\w+)/', '\n'.join(cell.source for cell in index.cells), re.MULTILINE)
    return {folder: title for title, folder in rows}


def contents(pages, titles):
    "The table of contents, chapter by chapter, a cell for the foot of the first page."
    lists = []
    for folder, title in titles.items():
        names = [page for page in pages if page.startswith(f'{folder}/')]
        lists.append('\n'.join(['```{toctree}', f':caption: {title}', ':maxdepth: 1', '', *names, '```']))
    return new_markdown_cell('\n\n'.join(lists))


def write_pages(folder):
    "Write every notebook as a page into `folder`."
    from nbdev.config import get_config
    home = (get_config().doc_host + get_config().doc_baseurl).rstrip('/')
    paths = notebooks()
    for path in paths:
        nb, name = filtered(path), page_name(path)
        nb.cells = list(anchored(nb.cells))
        for cell in nb.cells:
            if cell.cell_type == 'markdown': link(cell, home, '../' * name.count('/'))
        if name == 'index':
            for cell in nb.cells: cell.source = cell.source.replace('](../', f']({get_config().git_url}/blob/main/')
            nb.cells.append(contents([page_name(p) for p in paths], captions(nb)))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nb, folder / f'{name}.ipynb')


def main():
    from nbdev.config import get_config
    from sphinx.application import Sphinx
    os.chdir(ROOT)
    config, pages = get_config(), OUT / '.pages'
    shutil.rmtree(OUT, ignore_errors=True)
    write_pages(pages)
    options = dict(project=config.title, author=config.author, copyright=config.copyright, release=config.version,
                   extensions=['myst_nb'], nb_execution_mode='off', myst_enable_extensions=['dollarmath', 'amsmath'],
                   html_theme='furo', html_title=config.title, html_show_sourcelink=False, html_copy_source=False)
    app = Sphinx(str(pages), None, str(OUT), str(OUT / '.doctrees'), 'html', confoverrides=options, status=None)
    app.build()
    for made in (OUT / '.pages', OUT / '.doctrees', ROOT / 'jupyter_execute'): shutil.rmtree(made, ignore_errors=True)
    (OUT / '.nojekyll').touch()         # or GitHub leaves out the folders that begin with an underscore
    if app.statuscode: raise SystemExit(app.statuscode)
    print((OUT / 'index.html').relative_to(ROOT))


if __name__ == '__main__': main()
