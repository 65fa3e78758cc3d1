"""One door for people and machines. Needs nothing but Python.

Makes .venv in this folder, installs into it what the command needs, with the versions of constraints.txt, and runs
the command there. Arguments after `test` go to pytest; `test-long` takes any of notebooks, tests, benchmarks, or the
name of one notebook or benchmark (05b_link, merging), and does everything where nothing is named.

On Linux the usual index brings the CUDA build of PyTorch, several GB. Where no NVIDIA card is seen, PyTorch's own index
of CPU builds is used beside it, if it can be reached. TORCH_INDEX names another index, an empty one none:
TORCH_INDEX=https://download.pytorch.org/whl/cu126 python tools/dev.py test
"""
import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / '.venv'
PYTHON = VENV / ('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
STAMP = VENV / 'installed.json'
RESULTS = ROOT / 'benchmarks' / 'results'
CPU_INDEX = 'https://download.pytorch.org/whl/cpu'
NVIDIA_DRIVER = Path('/proc/driver/nvidia')
REACH_SECONDS = 5
ONE_THREAD = dict.fromkeys(('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'NUMBA_NUM_THREADS'), '1')
SITE = ['sphinx>=8,<10', 'myst-nb>=1.3,<2', 'furo>=2025.9', 'sphinx-mathjax-offline>=0.0.2']     # only the site needs these


def say(text):
    "One short line of progress."
    print(f'== {text}', flush=True)


def call(*command, **variables):
    """Run `command` in the project's folder with `variables` added to the environment; return its exit code.

    Bytecode is kept even where PYTHONDONTWRITEBYTECODE is set: .venv is the project's own, and without it every process
    compiles the sources of torch anew, for some eight seconds."""
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONDONTWRITEBYTECODE'}
    return subprocess.run([str(c) for c in command], cwd=ROOT, env={**environment, **variables}).returncode


def need(*command, hint='', **variables):
    "Run `command`; where it fails, say so (and `hint`) and stop with its exit code."
    code = call(*command, **variables)
    if code:
        say(f'failed with exit code {code}: {" ".join(str(c) for c in command)}')
        if hint: say(hint)
        raise SystemExit(code)


def settings():
    "The keys of settings.ini."
    config = ConfigParser(delimiters=['='])
    config.read(ROOT / 'settings.ini', encoding='utf-8')
    return config['DEFAULT']


def wanted_state():
    "What an installation depends on, as one digest: the requirements and the pins."
    digest = hashlib.sha256()
    for name in ('settings.ini', 'constraints.txt', 'setup.py'): digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def has_nvidia():
    "Whether an NVIDIA card is seen."
    return NVIDIA_DRIVER.exists() or shutil.which('nvidia-smi') is not None


def is_reachable(index, opener=urlopen):
    "Whether an index of packages answers."
    try:
        with opener(f'{index}/torch/', timeout=REACH_SECONDS): return True
    except (OSError, ValueError): return False      # no network, a proxy that refuses, no such page


def torch_index(opener=urlopen):
    "The index that is asked for PyTorch beside the usual one; None for none. Says what it does on Linux without a card."
    named = os.environ.get('TORCH_INDEX')
    if named is not None or sys.platform != 'linux' or has_nvidia(): return named or None
    if is_reachable(CPU_INDEX, opener):
        say(f'no NVIDIA card is seen: the CPU build of PyTorch is taken from {CPU_INDEX} (TORCH_INDEX names another index)')
        return CPU_INDEX
    say(f'{CPU_INDEX} cannot be reached: PyTorch comes from the usual index, there perhaps with several GB of CUDA (TORCH_INDEX names another index)')
    return None


def setup(extras, more=()):
    "Make .venv and install the package, editable, with `extras` and the requirements `more`; skip what is done."
    minimum = settings()['min_python']
    if sys.version_info[:2] < tuple(int(n) for n in minimum.split('.')):
        say(f'Python {minimum} or newer is needed, this is {platform.python_version()}: run tools/dev.py with a newer one')
        raise SystemExit(2)
    done = json.loads(STAMP.read_text(encoding='utf-8')) if STAMP.exists() else {}
    had = set(done.get('extras', [])) | set(done.get('more', []))
    if done.get('state') == wanted_state() and had >= {*extras, *more}: return
    if not PYTHON.exists():
        say('making .venv')
        try: need(sys.executable, '-m', 'venv', VENV, hint='on Debian and Ubuntu the package python3-venv is needed')
        except SystemExit:
            shutil.rmtree(VENV, ignore_errors=True)     # half a .venv would pass for a whole one next time
            raise
    extras, more = sorted({*extras, *done.get('extras', [])}), sorted({*more, *done.get('more', [])})
    say(f'installing cryoseg[{",".join(extras)}]' + (f' and {" ".join(more)}' if more else '') + ', about a minute or two')
    index = torch_index()
    need(PYTHON, '-m', 'pip', 'install', '-qq', '--progress-bar', 'off', '--disable-pip-version-check', '--no-compile',
         *(['--extra-index-url', index] if index else []), '-c', 'constraints.txt', '-e', f'.[{",".join(extras)}]', *more, PIP_USE_PEP517='1')
    STAMP.write_text(json.dumps(dict(state=wanted_state(), extras=extras, more=more), indent=1) + '\n', encoding='utf-8')


def demo(arguments):
    "Simulate a small tomogram, run everything on it with the shipped weights, score it and report."
    setup(['notebook'])
    say('running the demo')
    need(PYTHON.with_name('cryoseg' + PYTHON.suffix), 'demo', '-o', 'demo', *arguments)


def test(arguments):
    "Run the tests: two processes of one thread each. Pytest's summary is the last line."
    setup(['dev'])
    say('running the tests')
    raise SystemExit(call(PYTHON, '-m', 'pytest', '-n', '2', '--dist', 'worksteal', *arguments, MPLBACKEND='agg', **ONE_THREAD))


def slow_notebooks():
    "Notebooks that hold a slow cell, or one that shows a stored result unless CRYOSEG_LONG is set."
    paths = [p for p in sorted((ROOT / 'nbs').rglob('*.ipynb')) if '.ipynb_checkpoints' not in p.parts]
    return [p for p in paths if any(mark in p.read_text(encoding='utf-8') for mark in ('#| slow', 'CRYOSEG_LONG', 'from stored import'))]


def commit():
    "The commit in the working tree, with `+changes` where the tree differs from it; None without git."
    try:
        name = subprocess.run(['git', 'rev-parse', '--short=12', 'HEAD'], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run(['git', 'status', '--porcelain', '--', ':!benchmarks/results'], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError): return None
    return name + ('+changes' if changed else '')


def machine():
    "What a timing depends on."
    model = platform.processor() or platform.machine()
    if Path('/proc/cpuinfo').exists():
        models = [line.split(':', 1)[1].strip() for line in Path('/proc/cpuinfo').read_text().splitlines() if line.startswith('model name')]
        model = models[0] if models else model
    return dict(cpu=model, cores=os.cpu_count(), system=platform.platform(terse=True), python=platform.python_version())


def benchmark(script, measured):
    "Run one benchmark; it prints its table and writes its numbers, to which the commit `measured` and the machine are added."
    out = RESULTS / f'{script.stem}.json'
    fresh = out.with_suffix('.new')
    fresh.unlink(missing_ok=True)
    code = call(PYTHON, script, '--json', fresh)
    if code: return code
    if not fresh.exists():
        say(f'{script.name} wrote no numbers')
        return 1
    numbers = json.loads(fresh.read_text(encoding='utf-8'))
    fresh.unlink()
    out.write_text(json.dumps(dict(commit=measured, machine=machine(), numbers=numbers), indent=1) + '\n', encoding='utf-8')
    say(f'wrote {out.relative_to(ROOT)}')
    return 0


def benchmarks():
    "The benchmark scripts."
    return sorted((ROOT / 'benchmarks').glob('[!_]*.py'))


def long_parts(arguments):
    "The notebooks, whether the long tests, and the benchmarks that `arguments` mean; SystemExit where one means nothing."
    books, scripts = ({path.stem: path for path in paths} for paths in (slow_notebooks(), benchmarks()))
    wanted = set(arguments or ('notebooks', 'tests', 'benchmarks'))
    unknown = wanted - {'notebooks', 'tests', 'benchmarks', *books, *scripts}
    if unknown:
        say(f'test-long takes notebooks, tests, benchmarks, or one of {", ".join((*books, *scripts))}; not {", ".join(sorted(unknown))}')
        raise SystemExit(2)
    if 'notebooks' in wanted: wanted.update(books)
    if 'benchmarks' in wanted: wanted.update(scripts)
    return [path for name, path in books.items() if name in wanted], 'tests' in wanted, [path for name, path in scripts.items() if name in wanted]


def test_long(arguments):
    "Run the slow cells, the long tests and the benchmarks, or a part; a failure does not stop the rest, the exit code tells."
    books, tests, scripts = long_parts(arguments)
    setup(['dev'])
    failed, measured = [], commit()     # asked before anything runs: what the run writes is no change of the source
    for notebook in books:
        say(f'slow cells of {notebook.name}')
        if call(PYTHON, 'tools/notebooks.py', 'run', '--slow', notebook.stem): failed.append(notebook.name)
    if tests:
        say('long tests')
        if call(PYTHON, '-m', 'pytest', '-m', 'long', MPLBACKEND='agg') not in (0, 5): failed.append('long tests')    # 5: there is none
    RESULTS.mkdir(parents=True, exist_ok=True)
    for script in scripts:
        say(f'benchmark {script.stem}')
        if benchmark(script, measured): failed.append(script.name)
    say(f'failed: {", ".join(failed)}' if failed else 'all done')
    raise SystemExit(1 if failed else 0)


def site(arguments):
    "Build the book: the notebooks as pages in _docs, from their stored outputs."
    setup(['dev'], SITE)
    say('building the site')
    need(PYTHON, 'tools/make_site.py', *arguments)


def install(arguments):
    "Install everything that the other commands need, except the site's own packages."
    setup(['dev', 'notebook'])
    say(f'ready: {PYTHON.relative_to(ROOT)}')


def clean(arguments):
    "Remove what the other commands made; .venv stays."
    folders = [ROOT / name for name in ('cryoseg', 'tools', 'tests', 'benchmarks', 'nbs')]
    caches = [p for folder in folders for p in folder.rglob('*') if p.name in ('__pycache__', '.ipynb_checkpoints')]
    made = [ROOT / name for name in ('demo', '_docs', 'build', 'dist', '.pytest_cache', '.ruff_cache', '.hypothesis')]
    for path in [*made, *caches]: shutil.rmtree(path, ignore_errors=True)
    say('clean')


COMMANDS = {'demo': demo, 'test': test, 'test-long': test_long, 'site': site, 'setup': install, 'clean': clean}


def main():
    listing = '\n'.join(f'  {name:10} {function.__doc__}' for name, function in COMMANDS.items())
    parser = argparse.ArgumentParser(description=f'{__doc__}\ncommands:\n{listing}', formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('command', choices=COMMANDS)
    parser.add_argument('arguments', nargs=argparse.REMAINDER)
    chosen = parser.parse_args()
    COMMANDS[chosen.command](chosen.arguments)


if __name__ == '__main__': main()
