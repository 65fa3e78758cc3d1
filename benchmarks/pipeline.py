"""Seconds and peak memory of each stage of the pipeline, on phantoms: `python benchmarks/pipeline.py`.

Machines differ and are shared: read the shares of a run and the ratio of its two sizes, not the seconds.
"""
import os
import tempfile
import threading
import time
from pathlib import Path

import psutil

from cryoseg.connect.membranes import find_membranes
from cryoseg.phantom.settings import PhantomSettings
from cryoseg.phantom.phantom import simulate_phantom, write_phantom
from cryoseg.base.formats import read_volume
from cryoseg.run.settings import RunSettings
from cryoseg.run.labelling import write_labels
from cryoseg.run.measures import write_meshes
from cryoseg.run.stages import fit_surfaces, write_surfaces
from _tables import arguments, finish, print_table

SIZES = {'100x200x200': PhantomSettings(shape=(100, 200, 200), n_vesicles=6, cnr=2.),
         '200x512x512': PhantomSettings(shape=(200, 512, 512), n_vesicles=20, cnr=2.)}


class Watch:
    "Measures wall seconds, CPU seconds and the peak of resident memory of a block."
    def __enter__(self):
        self.process, self.on = psutil.Process(), True
        self.peak, self.wall, self.cpu = 0, time.perf_counter(), sum(self.process.cpu_times()[:2])
        self.thread = threading.Thread(target=self.follow)
        self.thread.start()
        return self

    def follow(self):
        while self.on:
            self.peak = max(self.peak, self.process.memory_info().rss)
            time.sleep(.02)

    def __exit__(self, *_):
        self.on = False
        self.thread.join()
        self.wall, self.cpu = time.perf_counter() - self.wall, sum(self.process.cpu_times()[:2]) - self.cpu


def measure(size, settings):
    "The rows of one size: one for each stage."
    with tempfile.TemporaryDirectory() as folder:
        folder, rows, results = Path(folder), [], {}
        stages = {
            'simulate': lambda: write_phantom(simulate_phantom(settings, 0), folder / 'phantom'),
            'read': lambda: read_volume(folder / 'phantom' / 'tomogram.mrc'),
            'segment': lambda: write_labels(folder / 'labels.mrc', results['read'], RunSettings()),
            'connect': lambda: find_membranes(read_volume(folder / 'labels.mrc').data, results['read'].voxel_size_A, workers=os.cpu_count()).membranes,
            'surface': lambda: fit_surfaces(results['connect'], workers=os.cpu_count()),
            'write': lambda: [write(folder, results['surface'], results['read']) for write in (write_surfaces, write_meshes)],
        }
        for name, stage in stages.items():
            with Watch() as watch: results[name] = stage()
            rows.append(dict(volume=size, stage=name, seconds=watch.wall, cpu_seconds=watch.cpu, peak_MB=watch.peak / 2 ** 20))
    total = sum(row['seconds'] for row in rows[1:])
    for row in rows: row['share'] = f'{row["seconds"] / total:.0%}' if row['stage'] != 'simulate' else ''
    return rows


def main():
    args = arguments(__doc__).parse_args()
    print(f'{os.cpu_count()} processors')
    measure('warm-up', PhantomSettings(shape=(48, 96, 96), n_vesicles=2))     # compiles what numba compiles
    tables = []
    for size, settings in SIZES.items():
        tables.append((f'stages on a phantom of {size} voxels', measure(size, settings)))
        print_table(*tables[-1])
    finish(tables, args.json)


if __name__ == '__main__': main()
