"""CPU seconds to start: `cryoseg --help`, `import cryoseg` and `cryoseg info FILE`, with Python and NumPy alone beside them.

Each command is a process of its own, run several times; the least CPU time is given, and its ratio to `import numpy`.
"""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from cryoseg.base.formats import write_volume
from cryoseg.base.volume import Volume
from _tables import arguments, finish, print_table

REPEATS = 7


def cpu_seconds(*words):
    "The least CPU time of a command in a process of its own."
    times = []
    for _ in range(REPEATS):
        before = os.times()
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        after = os.times()
        times.append(after.children_user - before.children_user + after.children_system - before.children_system)
    return min(times)


def main():
    args = arguments(__doc__).parse_args()
    start = 'from cryoseg.run.cli import main; main()'
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/'a.mrc'
        write_volume(path, Volume(np.random.default_rng(0).normal(size=(50, 200, 200)).astype(np.float32), 10.))
        commands = {'python alone': ('-c', 'pass'), 'import numpy': ('-c', 'import numpy'), 'import cryoseg': ('-c', 'import cryoseg'),
                    'cryoseg --help': ('-c', start, '--help'), 'cryoseg run --help': ('-c', start, 'run', '--help'),
                    'cryoseg settings': ('-c', start, 'settings'), 'cryoseg info FILE': ('-c', start, 'info', str(path))}
        seconds = {name: cpu_seconds(*words) for name, words in commands.items()}
    rows = [dict(command=name, cpu_seconds=s, over_numpy=s/seconds['import numpy']) for name, s in seconds.items()]
    table = ('starting: CPU seconds, the least of seven', rows)
    print_table(*table)
    finish([table], args.json)


if __name__ == '__main__': main()
