"""Time and memory of a whole run against the size of its volume.

The volumes are one simulated block, repeated along all axes with fresh noise, so that the number of membranes grows with the volume.
Each is run by the command itself in a process of its own. What counts is anonymous memory (RssAnon of Linux, sampled ten times a second,
of the process and its workers together): pages of files that are mapped are the system's to take back. With `--limit 4G` the system
itself ends a run that takes more (a group of processes, Linux as root): then pages of files count, too, but it can take those back.
"""
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from _memory import anonymous_bytes
from _tables import arguments, finish, print_table

from cryoseg.base.limits import bytes_of
from cryoseg.base.mrc import mrc_slices
from cryoseg.base.volume import Volume
from cryoseg.phantom.phantom import simulate_phantom
from cryoseg.phantom.settings import PhantomSettings

BLOCK = PhantomSettings(shape=(100, 256, 256), n_vesicles=6, cnr=2., n_ribosomes=4)
REPEATS = {'1e7': (1, 1, 2), '5e7': (2, 2, 2), '1e8': (2, 3, 3), '1e9': (5, 5, 6)}
ORDINARY = 512, 924, 956        # of an ordinary tomogram: blocks as in pipeline.py, cut to this size
ORDINARY_BLOCK = PhantomSettings(shape=(200, 512, 512), n_vesicles=20, cnr=2.)


def simulated(settings):
    "The image of a phantom."
    return np.asarray(simulate_phantom(settings, 0).tomogram.data, np.float32)


def write_volume_of_blocks(path, block, shape, seed=0):
    "Write a large tomogram, int16, slice by slice."
    rng = np.random.default_rng(seed)
    depth, height, width = shape
    repeats = [-(-n//side) for n, side in zip(shape, block.shape)]
    scale = 1000/block.std()
    like = Volume(np.broadcast_to(np.int16(0), (depth, height, width)), 10.)
    with mrc_slices(path, like, np.int16, path) as file:
        for z in range(depth):
            image = np.tile(block[z % len(block)], repeats[1:])[:height, :width]
            noise = .2*block.std()*rng.standard_normal(image.shape, np.float32)
            file.write(np.rint((image + noise)*scale).clip(-32000, 32000).astype(np.int16)[None])
    return depth*height*width


def anonymous_of_all(process):
    "Memory of a process and its workers that no file stands behind."
    with contextlib.suppress(psutil.NoSuchProcess):
        return sum(anonymous_bytes(one.pid) for one in (process, *process.children(recursive=True)))
    return 0


GROUPS = ((Path('/sys/fs/cgroup/memory'), 'memory.limit_in_bytes'), (Path('/sys/fs/cgroup'), 'memory.max'))     # versions 1 and 2


def made_group(limit):
    "The folder of a new group of processes that may take so much memory; None where none can be made."
    for root, name in GROUPS:
        group = root/f'cryoseg-{os.getpid()}'
        try:
            group.mkdir()
            (group/name).write_text(str(bytes_of(limit)))
            return group
        except OSError:
            with contextlib.suppress(OSError): group.rmdir()
    print(f'no group of {limit} can be made here: only the memory that is seen is told')
    return None


@contextlib.contextmanager
def group_of(limit):
    "The file by which a process enters a group that may take so much memory; None where nothing is asked or none can be made."
    group = made_group(limit) if limit else None
    try: yield group and group/'cgroup.procs'
    finally:
        if group: group.rmdir()


def watched(command, limit=None):
    "Run a command: seconds, peak of its anonymous memory, exit code, whether its memory was limited."
    with group_of(limit) as entry:
        if entry: command = ['sh', '-c', f'echo $$ > {entry}; exec "$@"', 'sh', *command]
        return *followed_to_end(command), entry is not None


def followed_to_end(command):
    "Run a command: seconds, peak of its anonymous memory, exit code."
    start, seen = time.perf_counter(), []
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    followed = psutil.Process(process.pid)
    while process.poll() is None:
        seen.append(anonymous_of_all(followed))
        time.sleep(.1)
    return time.perf_counter() - start, max(seen), process.returncode


def measure(name, block, folder, limit=None):
    "The rows of one size."
    path, out = folder/f'{name}.mrc', folder/name
    shape = ORDINARY if name == 'ordinary' else [n*side for n, side in zip(REPEATS[name], block.shape)]
    n_voxels = write_volume_of_blocks(path, block, shape)
    command = [sys.executable, '-c', 'from cryoseg.run.signals import main; main()', 'run', path, '-o', out, '-q', '--log', folder/f'{name}.log']
    seconds, peak, code, limited = watched(list(map(str, command)), limit)
    if code:
        raise SystemExit(f'the run of {name} voxels ended with exit code {code}')
    rows = sum(1 for _ in open(out/'membranes.csv')) - 1
    disk = sum(p.stat().st_size for p in out.rglob('*') if p.is_file())
    return dict(size=name, voxels=n_voxels, seconds=seconds, us_per_voxel=1e6*seconds/n_voxels, peak_anonymous_MB=peak/2**20, bytes_per_voxel=peak/n_voxels,
                membranes=rows, results_MB=disk/2**20, limit=limit if limited else 'none')


def main():
    parser = arguments(__doc__)
    parser.add_argument('--sizes', default='1e7,5e7', help=f'of {", ".join([*REPEATS, "ordinary"])}; 1e8 takes three minutes, 1e9 half an hour and 25 GB of disk')
    parser.add_argument('--limit', help='memory that each run may take, as 4G')
    parser.add_argument('--folder', help='for the volumes and results; a temporary one where not given')
    args = parser.parse_args()
    print(f'{os.cpu_count()} processors')
    block = simulated(BLOCK)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        rows = [measure(name, simulated(ORDINARY_BLOCK) if name == 'ordinary' else block, Path(folder), args.limit) for name in args.sizes.split(',')]
    tables = [('whole runs: time and memory that no file stands behind', rows)]
    print_table(*tables[0])
    finish(tables, args.json)


if __name__ == '__main__': main()
