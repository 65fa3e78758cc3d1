"""Build the book: the notebooks of nbs/ as pages in _docs/, from their stored outputs; no cell is run.

`python tools/dev.py site` installs what this needs and calls it.
"""
import ast
import os
import re
import shutil
import tempfile
from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell

from notebooks import NBS, ROOT, filtered, notebooks
from pipeline_map import STEPS, svg
from site_pages import page_name, write_extra

OUT = ROOT / '_docs'


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


DOCUMENTS = {'benchmarks/README.md': 'benchmarks.md', 'CHANGELOG.md': 'changes.md', 'CONTRIBUTING.md': 'contributing.md', 'paper_map.toml': 'paper_map.md'}


def fold(cell):
    "Hide what a reader of the page does not need: the source of a cell that only shows, and imports until they are asked for."
    if not cell.source.strip() and cell.outputs: cell.source, cell.metadata['tags'] = 'pass', ['remove-input']
    try: code = ast.parse(cell.source).body
    except SyntaxError: return
    if code and all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in code) and len(code) > 1: cell.metadata['tags'] = ['hide-input']


def link(cell, home, up, url):
    "Link names in backticks to the pages that explain them, notebooks and documents to their pages; `up` leads to the first page."
    from nbdev.doclinks import NbdevLookup
    linked = NbdevLookup().linkify(cell.source)
    linked = re.sub(r'\]\(((?:\.\./|\w+/)*)\d+[a-z0-9]*_(\w+\.ipynb)', r'](\1\2', linked)
    for file, page in DOCUMENTS.items(): linked = re.sub(rf'\]\((?:\.\./)*{re.escape(file)}(#[\w-]+)?\)', f']({up}{page})', linked)
    linked = re.sub(r'\]\((?:\.\./)+([A-Z]\w+\.\w+)\)', rf']({url}/blob/main/\1)', linked)
    cell.source = re.sub(rf'\[(`[^`]+`)\]\({re.escape(home)}/([^)]+)\)', rf'<a href="{up}\2">\1</a>', linked)


def captions(contents):
    "Folder of nbs/ -> the title of its chapter, from the table of the notebook `contents`."
    rows = re.findall(r'^\| (.+?) \| \[\w+\]\((\w+)/', '\n'.join(cell.source for cell in contents.cells), re.MULTILINE)
    return {folder: title for title, folder in rows if folder != 'tutorials'}


def toctree(caption, pages):
    "One part of the table of contents."
    return '\n'.join(['```{toctree}', f':caption: {caption}', ':maxdepth: 1', ':hidden:', '', *pages, '```'])


def contents(pages, titles, extra=()):
    "The table of contents, chapter by chapter, a cell for the foot of the first page."
    first = [page for page in ('contents', 'commands', 'glossary', 'errata') if page in pages]
    lists = [toctree('Start here', first), toctree('Tutorials', [page for page in pages if page.startswith('tutorials/')])]
    lists += [toctree(title, [page for page in pages if page.startswith(f'{folder}/')]) for folder, title in titles.items()]
    if extra: lists.append(toctree('Look up', extra))
    return new_markdown_cell('\n\n'.join(lists))


def map_cell(path, up):
    "The map with the box of a notebook's folder lit, its boxes being links."
    drawn = svg(path.parent.name if path.parent != NBS else '').replace('href="', f'href="{up}')
    return new_markdown_cell(f'<div class="pipeline">{drawn}</div>'.replace('\n', ''))


def with_map(nb, path, up):
    "A chapter with the map below its title; the page of the map itself has it in the place of its picture."
    if path.parent.name in {step.folder for step in STEPS}: nb.cells.insert(1, map_cell(path, up))
    for k, cell in enumerate(nb.cells):
        if '](images/map.svg)' in cell.source:
            before, after = re.split(r'!\[[^]]*\]\(images/map\.svg\)', cell.source)
            nb.cells[k:k + 1] = [new_markdown_cell(before), map_cell(path, up), *([new_markdown_cell(after)] if after.strip() else [])]
            break


def write_pages(folder, extra=()):
    "Write every notebook as a page into `folder`; the names `extra` of other pages come last in the contents."
    from nbdev.config import get_config
    config = get_config()
    home = (config.doc_host + config.doc_baseurl).rstrip('/')
    paths = notebooks()
    titles = captions(filtered(NBS / 'contents.ipynb'))
    for path in paths:
        nb, name = filtered(path), page_name(path)
        up = '../' * name.count('/')
        nb.cells = list(anchored(nb.cells))
        for cell in nb.cells:
            if cell.cell_type == 'markdown': link(cell, home, up, config.git_url)
            else: fold(cell)
        with_map(nb, path, up)
        if name == 'index': nb.cells.append(contents([page_name(p) for p in paths], titles, extra))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nb, folder / f'{name}.ipynb')


CSS = '''.pipeline svg { width: 100%; height: auto; border: 1px solid #d5dde3; border-radius: 8px; }
.pipeline a { text-decoration: none; }
.pipeline a:hover rect { stroke-width: 3; }
details { border-left: 3px solid #0072b2; padding: 0 .8em; margin: .6em 0; }
details summary { cursor: pointer; color: #0072b2; font-weight: 600; }
div.cell_output img { max-width: 100%; height: auto; }
table { display: block; overflow-x: auto; }
@media (min-width: 82em) { .content { width: 57em; } }
'''


def main():
    from nbdev.config import get_config
    os.chdir(ROOT)
    shutil.rmtree(OUT, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder: build(get_config(), Path(folder) / 'pages')
    shutil.rmtree(ROOT / 'jupyter_execute', ignore_errors=True)
    (OUT / '.nojekyll').touch()         # or GitHub leaves out the folders that begin with an underscore
    print((OUT / 'index.html').relative_to(ROOT))


def build(config, pages):
    "Write the pages and build the site from them; a warning is an error."
    from sphinx.application import Sphinx
    pages.mkdir()
    write_pages(pages, write_extra(pages))
    shutil.copytree(NBS / 'images', pages / 'images')
    (pages / '_static').mkdir()
    (pages / '_static' / 'book.css').write_text(CSS, encoding='utf-8')
    options = dict(project=config.title, author=config.author, copyright=config.copyright, release=config.version,
                   extensions=['myst_nb', 'sphinx-mathjax-offline'], nb_execution_mode='off', myst_enable_extensions=['dollarmath', 'amsmath'],
                   myst_heading_anchors=3, html_static_path=['_static'], html_css_files=['book.css'], nb_render_markdown_format='myst', nb_code_prompt_show='show: {type}',
                   html_theme='furo', html_title=config.title, html_show_sourcelink=False, html_copy_source=False)
    app = Sphinx(str(pages), None, str(OUT), str(pages.parent / 'doctrees'), 'html', confoverrides=options, status=None, warningiserror=True)
    app.build()
    if app.statuscode: raise SystemExit(app.statuscode)


if __name__ == '__main__': main()
