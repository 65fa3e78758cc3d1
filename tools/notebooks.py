"""Author, export and run the notebooks: `python tools/notebooks.py --help`.

The notebooks in nbs/ are the source. `run` stores the outputs that are committed, with nbdev's own skips;
`write` brings a py:percent text into its notebook, exports it and runs it, in one step.
"""
import argparse
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT / 'nbs'
for variable in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'NUMBA_NUM_THREADS'):
    os.environ.setdefault(variable, '2')   # the same figures on every machine, whatever its number of cores


def notebooks(names=()):
    "The notebooks that `names` means (a path, a stem, or the start of one such as 05c); all of them where it is empty."
    every = sorted(p for p in NBS.rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)
    if not names: return every
    found = []
    for name in names:
        hits = [p for p in every if p.stem == Path(name).stem] or [p for p in every if p.stem.startswith(Path(name).stem)]
        if not hits: raise SystemExit(f'no notebook {name!r} in nbs/; there are {", ".join(p.stem for p in every)}')
        found += hits
    return found


def export(paths=None):
    "Export `paths` (default all) into cryoseg/ and rebuild nbdev's index of the package."
    from nbdev.config import add_init, get_config
    from nbdev.doclinks import _build_modidx
    from nbdev.export import nb_export
    os.chdir(ROOT)
    for path in paths or notebooks(): nb_export(path)
    add_init(get_config().lib_path)
    _build_modidx()


def small_png(data, limit=30_000):
    "The base64 PNG `data` with fewer colours where it is larger than `limit` bytes: noise does not compress."
    import base64
    import io
    from PIL import Image
    raw = base64.b64decode(data)
    if len(raw) <= limit: return data
    out, picture = io.BytesIO(), Image.open(io.BytesIO(raw)).convert('RGB')
    picture.quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(out, 'PNG', optimize=True)
    return base64.b64encode(min(raw, out.getvalue(), key=len)).decode()


def clean_outputs(nb):
    "Drop what a stored notebook must not hold (stderr, live widget views), and shrink the pictures."
    for cell in nb.cells:
        if cell.cell_type != 'code': continue
        kept = []
        for output in cell.get('outputs', []):
            if output['output_type'] == 'stream' and output['name'] == 'stderr': continue
            data = output.get('data', {})
            if 'application/vnd.jupyter.widget-view+json' in data: continue
            if 'image/png' in data: data['image/png'] = small_png(''.join(data['image/png']))
            kept.append(output)
        cell.outputs = kept


def solutions(nb):
    "The code of the solutions to its exercises, hidden in <details>, in their order."
    text = '\n\n'.join(cell.source for cell in nb.cells if cell.cell_type == 'markdown')
    hidden = re.findall(r'<details>\s*<summary>Solution</summary>(.*?)</details>', text, re.DOTALL)
    return [code for answer in hidden for code in re.findall(r'```python\n(.*?)```', answer, re.DOTALL)]


def run_cell(shell, path, cell):
    "Run one cell; stop with its source and the end of the traceback where it fails."
    shell.cell(cell)
    if not shell.exc: return
    lines = ''.join(traceback.format_exception(shell.exc)[-6:])
    raise SystemExit(f'{path.name}: a cell failed\n--- cell\n{cell.source}\n--- error\n{lines}')


def run_here(path, slow=False, store=True, solve=True):
    """Run the notebook `path` in this process with nbdev's skips (and the slow cells where `slow`), after it the
    solutions to its exercises where `solve`; `store` the outputs of its cells."""
    sys.path.insert(0, str(ROOT))
    from execnb.nbio import mk_cell, read_nb, write_nb
    from execnb.shell import CaptureShell
    from nbdev.clean import _nbdev_clean
    from nbdev.config import get_config
    from IPython.paths import get_ipython_cache_dir
    from nbdev.process import NBProcessor
    os.environ['IN_TEST'] = '1'
    if slow: os.environ['CRYOSEG_LONG'] = '1'       # cells that show stored results compute them anew
    shutil.rmtree(Path(get_ipython_cache_dir()) / 'numba_cache', ignore_errors=True)    # it does not see when a function that another cell calls has changed
    skips = set(get_config(path=NBS).tst_flags.split()) - ({'slow'} if slow else set())
    flags = NBProcessor(path, process=True).nb       # parsed apart: it takes the directives out of the cells
    nb = read_nb(path)
    shell = CaptureShell(mpl_format='png')
    os.chdir(path.parent)
    for marked, cell in zip(flags.cells, nb.cells):
        directives = getattr(marked, 'directives_', None) or {}
        if cell.cell_type != 'code' or skips & set(directives) or directives.get('eval:', [''])[0].lower() == 'false': continue
        cell.outputs = []
        run_cell(shell, path, cell)
    for code in solutions(nb) if solve else (): run_cell(shell, path, mk_cell(code))
    if not store: return
    clean_outputs(nb)
    nb.metadata = dict(kernelspec=dict(display_name='python3', language='python', name='python3'))
    _nbdev_clean(nb)
    write_nb(nb, path)


class Outcome(NamedTuple):
    "How the run of a notebook ended."
    code: int | None        # exit code, 0 where every cell ran; None where it was stopped
    text: str               # what it printed


# A process of its own for each notebook (settings of one must not leak into the next), forked where the system can
# from a server that has the libraries loaded: they take as long to load as the cells of many a notebook to run.
LIBRARIES = ('execnb.shell nbdev.clean nbdev.process fastcore.test matplotlib.pyplot numba scipy.stats scipy.ndimage scipy.optimize '
             'skimage.measure skimage.morphology cv2 torch trimesh').split()


def processes():
    "The context that makes the processes."
    if 'forkserver' not in multiprocessing.get_all_start_methods(): return multiprocessing.get_context('spawn')
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(LIBRARIES)
    return context


def run_into(log, path, slow, store, solve):
    "Run the notebook `path` here; what it prints goes to the file `log`."
    multiprocessing.set_start_method(None, force=True)      # the cells see the system's own way, not that of this process
    with open(log, 'wb') as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
        run_here(path, slow, store, solve)


def run_apart(path, slow=False, store=True, seconds=None, solve=True):
    "Run the notebook `path` in a process of its own, for `seconds` at most."
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / 'log'
        log.touch()                     # there to be read even where the process never comes to its notebook
        process = processes().Process(target=run_into, args=(log, path, slow, store, solve))
        process.start()
        try:
            process.join(seconds)
            code = process.exitcode     # None while it runs
        finally:                        # stopped too where somebody presses Ctrl-C: else it would be waited for
            process.kill()
            process.join()
        return Outcome(code, log.read_text(encoding='utf-8', errors='replace'))


def run(paths, slow=False):
    "Run each notebook in a process of its own and store its outputs."
    for path in paths:
        print(f'running {path.name}', flush=True)
        outcome = run_apart(path, slow)
        print(outcome.text, end='', flush=True)
        if outcome.code: raise SystemExit(1)


def write(text, path):
    "Bring the py:percent `text` into the notebook `path`, keeping ids and the outputs of unchanged cells."
    update = ['--update'] if path.exists() else []
    subprocess.run([sys.executable, '-m', 'jupytext', '--quiet', *update, '--to', 'ipynb', '-o', str(path), str(text)], check=True)
    subprocess.run([sys.executable, '-c', 'import sys; from nbdev.clean import nbdev_clean; nbdev_clean.__wrapped__(sys.argv[1])', str(path)],
                   check=True, cwd=ROOT)


def figures(paths, folder):
    "Save every stored figure of `paths` into `folder` as PNG, to be looked at."
    import base64
    from execnb.nbio import read_nb
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        images = [o['data']['image/png'] for c in read_nb(path).cells for o in c.get('outputs', []) if 'image/png' in o.get('data', {})]
        for i, image in enumerate(images):
            out = folder / f'{path.stem}_{i:02d}.png'
            out.write_bytes(base64.b64decode(''.join(image)))
            print(out, f'{out.stat().st_size // 1024} kB')


def filtered(path):
    """The notebook `path` as its readers see it: nbdev's filters, less those that write front matter and links to the
    published site, run cells, or drop exported source; then `echo: false` and the directives taken out."""
    from execnb.nbio import nb2str, read_nb
    from nbdev.processors import FilterDefaults
    import nbformat

    def drop_hidden(cell):
        if cell.directives_.keys() & {'hide', 'default_exp'}: del cell['source']

    class Filter(FilterDefaults):
        def base_procs(self): return [drop_hidden, *(p for p in super().base_procs() if p.__name__ not in skipped)]

    skipped = {'FrontmatterProc', 'insert_warning', 'add_links', 'add_show_docs', 'clean_show_doc', 'exec_show_docs', 'mv_exports', 'add_fold', 'rm_export'}
    nb = read_nb(path)
    Filter()(nb)               # works in place
    nb = nbformat.reads(nb2str(nb), as_version=4)
    nb.metadata['language_info'] = dict(name='python', pygments_lexer='python')
    for cell in nb.cells:
        if cell.cell_type != 'code': continue
        cell.source = '' if '#| echo: false' in cell.source else '\n'.join(line for line in cell.source.splitlines() if not line.startswith('#|'))
    return nb


def readme(folder=ROOT):
    "Make README.md (and the pictures it shows, in nbs/images) from nbs/index.ipynb."
    import nbconvert
    os.chdir(ROOT)
    text, resources = nbconvert.MarkdownExporter().from_notebook_node(filtered(NBS / 'index.ipynb'))
    images = folder / 'nbs' / 'images'
    for i, (name, data) in enumerate(sorted(resources['outputs'].items())):
        images.mkdir(parents=True, exist_ok=True)
        (images / f'index_{i}.png').write_bytes(data)
        text = text.replace(f']({name})', f'](nbs/images/index_{i}.png)')
    text = re.sub(r'\]\(((?:\w+/)*\w+\.ipynb(?:#[\w-]+)?)\)', r'](nbs/\1)', text).replace('](../', '](')
    text = re.sub(r'```python\s*```\s*', '', text)
    (folder / 'README.md').write_text(re.sub(r'\n{3,}', '\n\n', text).strip() + '\n', encoding='utf-8')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    for name, text in (('export', 'nbs/ -> cryoseg/'), ('run', 'run notebooks and store their outputs'), ('figures', 'save the stored figures as PNG')):
        p = commands.add_parser(name, help=text)
        p.add_argument('names', nargs='*', help='notebooks, for example 05c; all where none is named')
        if name == 'run': p.add_argument('--slow', action='store_true', help='run the slow cells too')
        if name == 'figures': p.add_argument('-o', type=Path, required=True, help='folder for the pictures')
    commands.add_parser('readme', help='README.md from nbs/index.ipynb')
    p = commands.add_parser('write', help='py:percent text -> notebook, exported and run')
    p.add_argument('text', type=Path)
    p.add_argument('notebook', type=Path, help='for example nbs/5_connect/05c1_merge.ipynb')
    p.add_argument('--no-run', action='store_true')
    args = parser.parse_args()
    if args.command == 'export': export(notebooks(args.names))
    elif args.command == 'run': run(notebooks(args.names), args.slow)
    elif args.command == 'figures': figures(notebooks(args.names), args.o)
    elif args.command == 'readme': readme()
    elif args.command == 'write':
        path = (ROOT / args.notebook).resolve()
        write(args.text, path)
        export([path])
        if not args.no_run: run([path])


if __name__ == '__main__': main()
