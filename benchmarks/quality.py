"""What `--quality` buys: `python benchmarks/quality.py --data DIR`.

Membrane IoU and CPU seconds of `fast`, `normal` and `best`, on phantoms of three contrasts and on the PolNet liposomes of a
third party (against all true membrane voxels, the flat ones too). Which ways to offer was chosen on the phantom of seed 900 and
PolNet at signal to noise 1.0; of the other rows only PolNet at 0.3 had not been looked at before.
"""
import time

import numpy as np

from cryoseg.base.formats import read_volume
from cryoseg.base.metrics import iou
from cryoseg.phantom.phantom import simulate_phantom
from cryoseg.phantom.settings import PhantomSettings
from cryoseg.segment.engines import open_engine
from cryoseg.segment.predict import segment_volume
from cryoseg.segment.settings import SegmentSettings
from _tables import arguments, finish, print_table

QUALITIES = 'fast', 'normal', 'best'
CONTRASTS = 2., 1., .6              # of the phantoms, in standard deviations of the noise
SEEDS = {900: 'chose', 901: 'other'}


def volumes(data):
    "Name, use, image and true membranes of each volume."
    for cnr in CONTRASTS:
        for seed, use in SEEDS.items():
            made = simulate_phantom(PhantomSettings(shape=(64, 128, 128), n_vesicles=2, cnr=cnr), seed=seed)
            yield f'phantom, contrast {cnr:g}', use, np.asarray(made.tomogram.data), made.labels == 1
    if not data.is_dir(): return print(f'no data at {data}: PolNet left out (--data DIR)')
    known = np.load(data / 'polnet' / 'liposomes_truth.npz')
    truth = np.isin(known['labels'], known['membrane_labels'])
    for snr, use in (('1.0', 'chose'), ('0.3', 'other')):
        yield f'PolNet, signal to noise {snr}', use, np.asarray(read_volume(data / 'polnet' / f'liposomes_snr{snr}.mrc').data), truth


def quality_rows(data):
    "One row a volume."
    engine, rows = open_engine(), []
    for name, use, image, truth in volumes(data):
        row = dict(volume=name, use=use)
        for quality in QUALITIES:
            started = time.process_time()
            labels = segment_volume(image, engine, 10., SegmentSettings(quality=quality, workers=1)).labels
            row[f'iou_{quality}'], row[f'cpu_s_{quality}'] = iou(labels, truth.astype(np.uint8), 1), time.process_time() - started
        rows.append(row)
    return rows


def main():
    args = arguments(__doc__, data=True).parse_args()
    tables = [('quality: membrane IoU and CPU seconds', quality_rows(args.data))]
    print_table(*tables[0])
    finish(tables, args.json)


if __name__ == '__main__': main()
