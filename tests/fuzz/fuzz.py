"""Damaged files for every reader: a result, or one line of the program's own that names the file; in 5 seconds and 1 GB.

    python tests/fuzz/fuzz.py READER SEED              one case again, with its traceback; its file is kept
    python tests/fuzz/fuzz.py --batch READER FIRST N   cases FIRST to FIRST + N - 1, in this process, which may die of them

`run_batch` starts such processes, and goes on behind a case of which one died.
"""
import contextlib
import functools
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
READERS = ('mrc mrc_gz mrc_bz2 tiff tiff_zlib tiff_imagej tiff_ome png jpeg npy npz zarr2 zarr3 amira weights regions config record links fragments edits '
           'membranes').split()
ORDINARY_CASES = 200            # a reader, in the ordinary tests
LONG_CASES = 100_000            # of all readers together, in the long tests
BATCH = 1000                    # cases of a process in the long tests
MAX_SECONDS = 5                 # of the processor, a case; a busy machine may take longer by the clock
MAX_CLOCK_SECONDS = 60          # a case that waits for something
MAX_BYTES = 1 << 30             # beyond what the process has when its first file is read
SUFFIXES = dict(mrc='.mrc', mrc_gz='.mrc.gz', mrc_bz2='.mrc.bz2', tiff='.tif', tiff_zlib='.tif', tiff_imagej='.tif', tiff_ome='.ome.tif', png='.png', jpeg='.jpg', npy='.npy',
                npz='.npz', zarr2='.zarr', zarr3='.zarr', amira='.am', weights='.safetensors', regions='.toml', config='.toml', record='')
STACK_BYTES = 512 << 10         # of a thread, so that a pool of them takes no address space worth counting


def read_volume_file(path, rng):
    "Read a volume, as `run`, as `connect` or as `info` do."
    from cryoseg.base.formats import describe, read_meaning, read_volume
    way = rng.randrange(4)
    if way == 0: return describe(path)
    if way == 1: return read_meaning(path)
    volume = read_volume(path, check=way == 2)
    return float(volume.data[-1].astype(float).sum())     # what is mapped is touched


def read_weights(path, rng):
    from cryoseg.segment.unet import load_weights
    return load_weights(path)


def read_regions_file(path, rng):
    from cryoseg.segment.match import read_regions
    return read_regions(path, (5, 9, 11))


def read_config_file(path, rng):
    from cryoseg.run.settings import read_config
    return read_config(path)


def read_folder_record(folder, rng):
    "The record of a run, as a command and as the report read it, and what `--overwrite` does of it."
    from cryoseg.result.folder import changed_file, read_record, usable_record
    from cryoseg.show.report import made_html, read_run
    assert usable_record(folder, overwrite=True) is None or read_record(folder)
    if rng.random() < .5: return made_html(read_run(folder).record)
    record = read_record(folder)
    for stage in record.stages.values(): changed_file(folder, stage)
    return record


def read_table(kind):
    def read(path, rng):
        from cryoseg.result import records
        from cryoseg.result.tables import read_rows
        return read_rows(path, getattr(records, kind))
    return read


READ = dict.fromkeys(READERS, read_volume_file) | dict(
    weights=read_weights, regions=read_regions_file, config=read_config_file, record=read_folder_record,
    links=read_table('Link'), fragments=read_table('Fragment'), edits=read_table('Edit'), membranes=read_table('Membrane'))


@functools.cache
def picture():
    "A picture, for a run that has read one."
    from PIL import Image
    out = io.BytesIO()
    Image.linear_gradient('L').save(out, 'PNG')
    return out.getvalue()


def write_case(folder, reader, files):
    "Write the files of a case; the path that is to be read, and the name that an error must hold."
    if reader == 'record':
        (folder/'run.toml').write_bytes(files[''])
        (folder/'a.png').write_bytes(picture())
        return folder, 'run.toml'
    path = folder/f'case{SUFFIXES.get(reader, ".csv")}'
    if '' in files:
        path.write_bytes(files[''])
        return path, path.name
    path.mkdir()
    for name, data in files.items():
        place = path/name.lstrip('/')
        if place.exists() or any(p.is_file() for p in place.parents): continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return path, path.name


def make_case(folder, reader, seed):
    "Damage a seed of a reader; random numbers of the case's own come along."
    from mutate import mutated
    from seeds import seeds_of
    if reader not in make_case.seeds: make_case.seeds[reader] = seeds_of(reader)
    rng = random.Random(f'{reader} {seed}')
    files = mutated(rng, reader, rng.choice(make_case.seeds[reader]))
    return (*write_case(folder, reader, files), rng)


make_case.seeds = {}


def fault_of(reader, path, name, rng):
    "What is wrong with how a case ends; empty where nothing is."
    from cryoseg.base.files import VolumeError
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            READ[reader](path, rng)
    except VolumeError as error:
        if '\n' in str(error): return f'an error of several lines: {str(error)[:200]!r}'
        return '' if name in str(error) else f'an error that does not name the file: {str(error)[:200]!r}'
    except (Exception, RecursionError) as error:
        where = traceback.extract_tb(error.__traceback__)
        own = next((f for f in reversed(where) if 'cryoseg' in f.filename), where[-1])
        return f'{type(error).__name__}: {str(error)[:200]!r} in {Path(own.filename).name}:{own.lineno}'
    return ''


def limit_memory():
    "Let this process have no more than MAX_BYTES beyond what it has now."
    import resource
    import psutil
    limit = psutil.Process().memory_info().vms + MAX_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


@contextlib.contextmanager
def limited_time():
    "End this process where a case takes too long."
    signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, MAX_CLOCK_SECONDS)
    try: yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def batch(reader, first, n, say):
    "Run cases in this process; each is told before it begins, so that one that ends the process is known."
    import threading
    threading.stack_size(STACK_BYTES)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        place = folder/'whole'
        place.mkdir()
        from seeds import seeds_of
        for files in seeds_of(reader):              # whole files first: all imports are done, and seeds have to be read
            shutil.rmtree(place)
            place.mkdir()
            path, name = write_case(place, reader, files)
            fault = fault_of(reader, path, name, random.Random(2))
            assert not fault, f'the seed of {reader} itself: {fault}'
        limit_memory()
        for seed in range(first, first + n):
            place = folder/f'case{seed}'
            place.mkdir()
            path, name, rng = make_case(place, reader, seed)
            say(dict(begun=seed))
            start = time.process_time()
            with limited_time(): fault = fault_of(reader, path, name, rng)
            if fault: say(dict(seed=seed, fault=fault))
            if time.process_time() - start > 1: say(dict(seed=seed, slow=round(time.process_time() - start, 1)))
            shutil.rmtree(place)
    say(dict(done=first + n))


def run_batch(readers, first, n):
    "Faults of cases first to first + n - 1 of some readers, each with how to see it again."
    faults, waiting = [], [(reader, first) for reader in readers]
    while waiting:
        words = [word for reader, begin in waiting for word in (reader, str(begin), str(first + n - begin))]
        environment = dict(os.environ, MALLOC_ARENA_MAX='1', OMP_NUM_THREADS='1', NUMBA_NUM_THREADS='1', PYTHONPATH=str(ROOT), PYTHONFAULTHANDLER='')
        child = subprocess.run([sys.executable, __file__, '--batch', *words], env=environment, capture_output=True, text=True, errors='replace')
        reader, last, rest = None, None, []
        for line in child.stdout.splitlines():
            told = json.loads(line)
            if 'reader' in told: reader, last = told['reader'], None
            if 'begun' in told: last = told['begun']
            if 'done' in told: waiting = [(r, b) for r, b in waiting if r != reader]
            if 'fault' in told: faults.append(f'{reader} {told["seed"]}: {told["fault"]}')
        if child.returncode == 0: break
        if last is None: raise RuntimeError(f'{reader} did not begin: {child.stderr[-2000:]}')
        why = {-signal.SIGPROF: f'more than {MAX_SECONDS} s', -signal.SIGALRM: f'waited for more than {MAX_CLOCK_SECONDS} s'}.get(child.returncode, f'the process ended with {child.returncode}')
        faults.append(f'{reader} {last}: {why}')
        rest = [(r, b) for r, b in waiting if r != reader]
        waiting = [(reader, last + 1), *rest] if last + 1 < first + n else rest
    return [f'{fault}    (python tests/fuzz/fuzz.py {" ".join(fault.split(":")[0].split())})' for fault in faults]


def replay(reader, seed):
    "One case again, with its traceback; the file stays."
    import faulthandler
    folder = Path(tempfile.mkdtemp(prefix='fuzz-'))
    path, name, rng = make_case(folder, reader, seed)
    print(f'{path}: {sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())} bytes', flush=True)
    faulthandler.dump_traceback_later(2*MAX_SECONDS, exit=True)
    start = time.process_time()
    print(READ[reader](path, rng))
    print(f'{time.process_time() - start:.2f} s')


def main(words):
    sys.path[:0] = [str(HERE), str(ROOT)]
    if words[:1] != ['--batch']: return replay(words[0], int(words[1]))
    def say(told): print(json.dumps(told), flush=True)
    words = words[1:]
    while words:
        reader, first, n, *words = words
        say(dict(reader=reader))
        batch(reader, int(first), int(n), say)


if __name__ == '__main__': main(sys.argv[1:])
