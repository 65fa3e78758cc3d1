"""Speed of merging by distance (union-find, §5.2) against SciPy and connected-components-3d: `python benchmarks/union_find.py`."""
import subprocess
import sys
import timeit
from pathlib import Path

import cc3d
import numpy as np
from scipy.ndimage import label

from cryoseg.connect.merge import merge_union_find
from _tables import arguments, finish, print_table


def shells(side, n, seed=0):
    "A mask of `side`³ voxels with about n labelled ones: shells 3 voxels thick."
    rng, mask = np.random.default_rng(seed), np.zeros((side, side, side), bool)
    while np.count_nonzero(mask) < n:
        radius = rng.uniform(.08, .16)*side
        centre = rng.uniform(0, side, 3)
        box = tuple(slice(max(int(c - radius - 3), 0), min(int(c + radius + 4), side)) for c in centre)
        z, y, x = np.ogrid[box]
        mask[box] |= np.abs(np.sqrt((z - centre[0])**2 + (y - centre[1])**2 + (x - centre[2])**2) - radius) < 1.5
    return mask


def peak_MB(side, n):
    "Peak memory, in a process of its own, of making the mask and merging it."
    code = ('import resource; from union_find import shells; from cryoseg.connect.merge import merge_union_find; '
            f'mask = shells({side}, {n}); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; merge_union_find(mask, 1.8); '
            'print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)')
    before, after = map(int, subprocess.run([sys.executable, '-c', code], cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout.split())
    return before/1024, after/1024                      # Linux counts KiB


def rows():
    "Seconds of union-find at epsilon 1.8 and at 26 neighbours, and of two libraries at 26 neighbours; peak memory (with and without the merging)."
    found = []
    for side, n in ((64, 10**4), (128, 10**5), (300, 10**6), (420, 10**7)):
        mask = shells(side, n)
        count, best = int(np.count_nonzero(mask)), lambda work: min(timeit.repeat(work, number=1, repeat=3))
        wide, near = best(lambda: merge_union_find(mask, 1.8)), best(lambda: merge_union_find(mask, 3**.5))
        scipy, compiled = best(lambda: label(mask, np.ones((3, 3, 3)))), best(lambda: cc3d.connected_components(mask, connectivity=26))
        before, peak = peak_MB(side, n)
        found.append(dict(labelled=count, seconds=wide, million_voxels_a_second=count/wide/1e6, seconds_at_26=near, seconds_scipy=scipy, seconds_cc3d=compiled,
                         time_over_cc3d_at_26=near/compiled, peak_MB=peak, of_it_before_MB=before))
    return found


def main():
    args = arguments(__doc__).parse_args()
    merge_union_find(np.ones((3, 3, 3), bool))          # compiled before anything is timed
    tables = [('union-find', rows())]
    print_table(*tables[0])
    finish(tables, args.json)


if __name__ == '__main__': main()
