"""Seconds and peak memory of each stage of a run, with its files, on phantoms: `python benchmarks/pipeline.py`.

Machines differ and are shared: read the shares of a run and the ratio of its two sizes, not the seconds.
"""
import os
import tempfile
import threading
import time
from pathlib import Path

import psutil

from cryoseg.phantom.settings import PhantomSettings
from cryoseg.phantom.phantom import simulate_phantom, write_phantom
from cryoseg.run.labelling import read_input
from cryoseg.run.settings import RunSettings
from cryoseg.run.stages import Job
from cryoseg.run.workflow import STAGES, do_stage, stage_reads, start_record
from _tables import arguments, finish, print_table

SIZES = {'100x200x200': PhantomSettings(shape=(100, 200, 200), n_vesicles=6, cnr=2.),
         '200x512x512': PhantomSettings(shape=(200, 512, 512), n_vesicles=20, cnr=2.)}


def resident(process):
    "Bytes of a process and of all that it started."
    total = 0
    for one in (process, *process.children(recursive=True)):
        try: total += one.memory_info().rss
        except psutil.Error: pass           # it has just ended
    return total


class Watch:
    "Measures wall seconds, CPU seconds and the peak of resident memory of a block, with the processes that it starts and waits for."
    def __enter__(self):
        self.process, self.on = psutil.Process(), True
        self.peak, self.wall, self.cpu = 0, time.perf_counter(), sum(self.process.cpu_times()[:4])
        self.thread = threading.Thread(target=self.follow)
        self.thread.start()
        return self

    def follow(self):
        while self.on:
            self.peak = max(self.peak, resident(self.process))
            time.sleep(.05)

    def __exit__(self, *_):
        self.on = False
        self.thread.join()
        self.wall, self.cpu = time.perf_counter() - self.wall, sum(self.process.cpu_times()[:4]) - self.cpu


def measure(size, settings):
    "The rows of one size: one for each stage."
    rows = []

    def timed(stage, work):
        with Watch() as watch: result = work()
        rows.append(dict(volume=size, stage=stage, seconds=watch.wall, cpu_seconds=watch.cpu, peak_MB=watch.peak / 2 ** 20))
        return result

    with tempfile.TemporaryDirectory() as folder:
        folder, chosen = Path(folder), RunSettings()
        path = folder / 'phantom' / 'tomogram.mrc'
        timed('simulate', lambda: write_phantom(simulate_phantom(settings, 0), path.parent))
        volume = timed('read', lambda: read_input(path, chosen.input))
        run = folder / 'run'
        run.mkdir()
        job = Job(run, path, 'tomogram', volume, chosen, start_record(run, path, 'tomogram', volume, chosen, False), densities=volume)
        for stage in STAGES:
            timed(stage.name, lambda: do_stage(stage, job, stage.name, stage_reads(stage, job)))
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
