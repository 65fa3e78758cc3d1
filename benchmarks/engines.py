"""What computes the net: PyTorch and OpenVINO, in 32, 16 and 8 bits: `python benchmarks/engines.py`.

CPU seconds of the net alone for a slice of 512 x 512 pixels with one thread, the least of some runs; how many voxels get the
label that PyTorch gives in float32; and the membrane IoU on phantoms, whose truth is known. All from one run: read the ratios.
"""
import time

import numpy as np

from cryoseg.base.metrics import iou
from cryoseg.phantom.phantom import simulate_phantom
from cryoseg.phantom.settings import PhantomSettings
from cryoseg.segment.engines import import_openvino, is_installed, open_engine
from cryoseg.segment.predict import segment_volume
from cryoseg.segment.settings import SegmentSettings
from _tables import arguments, finish, print_table

KINDS = dict(torch=('float32', 'bf16'), openvino=('float32', 'bf16', 'int8'))
CONTRASTS = 2., 1., .7              # of the phantoms, in standard deviations of the noise
SIDE, RUNS, TURNS = 512, 3, 3


def kinds():
    "The settings of each engine that is installed, in each precision; the first is what the others are compared with."
    for engine, precisions in KINDS.items():
        if is_installed(engine):
            yield from (SegmentSettings(engine=engine, precision=precision, workers=1) for precision in precisions)


def net_seconds(engines):
    "CPU seconds of each engine for one slice, the least of some runs; they take turns, as the machine is shared."
    image = np.random.default_rng(0).normal(size=(1, SIDE, SIDE)).astype(np.float32)
    least = [np.inf] * len(engines)
    for _ in range(TURNS):
        for k, engine in enumerate(engines):
            with engine.threads(1) as pool:
                for _ in range(RUNS): least[k] = min(least[k], pool.submit(seconds, engine, image).result())
    return least


def seconds(engine, image):
    "CPU seconds of the whole process for one answer."
    started = time.process_time()
    engine.answer(image)
    return time.process_time() - started


def phantoms(seed=40):
    "The middle slices of phantoms of falling contrast: images and truths."
    made = [simulate_phantom(PhantomSettings(shape=(40, 256, 256), n_vesicles=5, cnr=cnr), seed=seed) for cnr in CONTRASTS]
    return [(np.asarray(m.tomogram.data)[14:26], m.labels[14:26]) for m in made]


def engine_rows():
    "One row an engine and precision."
    chosen = list(kinds())
    engines = [open_engine(settings) for settings in chosen]
    volumes, rows, first = phantoms(), [], None
    for settings, engine, cpu in zip(chosen, engines, net_seconds(engines)):
        labels = [segment_volume(image, engine, 10., settings).labels for image, _ in volumes]
        first = first or labels
        row = dict(engine=str(engine.choice), net_cpu_seconds=cpu, same_labels=f'{np.mean([(a == b).mean() for a, b in zip(labels, first)]):.3%}')
        for cnr, found, (_, truth) in zip(CONTRASTS, labels, volumes): row[f'iou_cnr_{cnr:g}'] = iou(found, truth, 1)
        rows.append(row)
    for row in rows: row['times_as_fast'] = rows[0]['net_cpu_seconds'] / row['net_cpu_seconds']
    return rows


def main():
    args = arguments(__doc__).parse_args()
    if is_installed('openvino'): print(f'OpenVINO {import_openvino().__version__}')
    tables = [('engines: a slice of 512 x 512, labels and membrane IoU of phantoms', engine_rows())]
    print_table(*tables[0])
    finish(tables, args.json)


if __name__ == '__main__': main()
