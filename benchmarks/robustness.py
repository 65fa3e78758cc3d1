"""What faults of the intensities cost: `python benchmarks/robustness.py`.

Phantoms of 32x128x128 voxels are labelled as they are, and again with padding, spikes, NaN, other units and other kinds of numbers.
A last table is about voxel sizes.
Membrane IoU is taken where the fault left an image, of the faulty volume and of the clean one: the clean value is the limit.
"""
import warnings
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import rotate

from cryoseg.base.formats import read_volume
from cryoseg.base.metrics import iou
from cryoseg.base.volume import Volume, bin_volume
from cryoseg.phantom.phantom import simulate_phantom
from cryoseg.phantom.settings import PhantomSettings
from cryoseg.segment.contrast import enhance
from cryoseg.segment.padding import find_padding
from cryoseg.segment.predict import segment_volume
from cryoseg.segment.settings import SegmentSettings
from cryoseg.segment.unet import load_weights
from _tables import arguments, finish, print_table

SEEDS = 5, 6
SHAPE = 32, 128, 128
SETTINGS = SegmentSettings(workers=1)
MEAN, SD = 100., 10.            # of the volumes, in their own unit


@dataclass(frozen=True)
class Case:
    "A phantom as a microscope writes it."
    data: np.ndarray            # (Z,Y,X) float32
    truth: np.ndarray           # (Z,Y,X) bool


def case(seed):
    "A phantom of mean 100 and standard deviation 10."
    made = simulate_phantom(PhantomSettings(shape=SHAPE, n_vesicles=3, voxel_size_A=10., cnr=2.), seed)
    data = np.asarray(made.tomogram.data, np.float64)
    return Case((MEAN + SD * (data - data.mean()) / data.std()).astype(np.float32), made.labels == 1)


def valid_parts():
    "Name and mask (Z,Y,X) of what padding leaves."
    z, y, x = np.indices(SHAPE)
    for width in (1, 2, 4, 8, 16, 32): yield f'rim of {width}', np.minimum.reduce([y, x, 127 - y, 127 - x]) >= width
    yield 'corners', abs(y - 64) + abs(x - 64) < 90
    yield 'strip', x < 100
    yield 'slices at the ends', (z >= 6) & (z < 26)
    yield 'slices in the middle', (z < 14) | (z >= 17)


def padded(data):
    "Name, volume and valid part of each kind of padding."
    for name, valid in valid_parts(): yield f'{name}, 0', np.where(valid, data, 0).astype(np.float32), valid
    for name, valid in valid_parts():
        if name in ('rim of 8', 'corners'):
            for word, value in (('mean', MEAN), ('-1', -1), ('255', 255), ('NaN', np.nan)):
                yield f'{name}, {word}', np.where(valid, data, value).astype(np.float32), valid
    square = np.pad(np.ones((104, 104)), 12)
    weight = np.broadcast_to(rotate(square, 12, reshape=False, order=1), SHAPE)       # as an interpolation leaves it: the rim is mixed
    yield 'turned square, soft rim, 0', (weight * data).astype(np.float32), weight > .5


def spiked(data, rng):
    "Name, volume and valid part of each kind of outlier."
    everywhere = np.ones(SHAPE, bool)
    def spikes(per_slice, size):
        faulty = data.copy()
        for image in faulty: image[rng.integers(0, SHAPE[1], per_slice), rng.integers(0, SHAPE[2], per_slice)] += size * SD
        return faulty
    for size in (10, 100, 1000, 1e4, 1e6): yield f'six spikes of {size:g} sd a slice', spikes(6, size), everywhere
    yield 'one spike near the largest float32', spikes(1, 1e37), everywhere
    yield 'dead pixels, 1 % of 0', np.where(rng.random(SHAPE) < .01, 0, data).astype(np.float32), everywhere
    lines = data.copy()
    lines[:, 40] += 50 * SD
    lines[:, :, 77] -= 50 * SD
    yield 'a hot row and a dead column', lines, everywhere
    y, x = np.indices(SHAPE[1:])
    gold = np.zeros(SHAPE, bool)
    for cy, cx in rng.uniform(10, 118, (4, 2)): gold[8:24] |= np.hypot(y - cy, x - cx) < 5
    for word, size in (('gold', -20), ('charge', 100)): yield f'four beads of {word}, {size} sd', np.where(gold, data + size * SD, data).astype(np.float32), ~gold


def rescaled(data):
    "Name, volume and valid part of other units and kinds of numbers."
    everywhere, unit = np.ones(SHAPE, bool), (data.astype(np.float64) - MEAN) / SD
    for gain in (1e-8, 1e-4, 1e4, 1e12): yield f'gain {gain:g}', (unit * gain).astype(np.float32), everywhere
    for offset in (1e-8, 1e4, 1e12): yield f'offset {offset:g}, float64', unit + offset, everywhere
    yield 'bytes', np.clip(128 + 25 * unit, 0, 255).round().astype(np.uint8), everywhere
    yield 'signed bytes', np.clip(25 * unit, -128, 127).round().astype(np.int8), everywhere
    yield 'int16', (3000 * unit).clip(-32768, 32767).round().astype(np.int16), everywhere
    yield 'uint16', (30000 + 3000 * unit).round().astype(np.uint16), everywhere
    yield 'float16', data.astype(np.float16), everywhere
    yield 'float16 near its end', (30000 + 3000 * unit).astype(np.float16), everywhere


def labels_of(data, net, enhanced=False):
    "Membrane (Z,Y,X) bool."
    padding = find_padding(data)
    if enhanced: data = enhance(data, padding=padding)
    return segment_volume(data, net, 10., SETTINGS, padding=padding).labels == 1


def rows(faults, net, enhanced=False):
    "IoU with and without each fault, mean over phantoms."
    scores, wrong = {}, {}
    for seed in SEEDS:
        clean = case(seed)
        before = labels_of(clean.data, net, enhanced)
        for name, faulty, valid in faults(clean.data, np.random.default_rng(seed)):
            found = labels_of(faulty, net, enhanced)
            inside = [iou((mask & valid).astype(np.uint8), (clean.truth & valid).astype(np.uint8), 1) for mask in (before, found)]
            scores.setdefault(name, []).append(inside)
            wrong[name] = wrong.get(name, 0) + int((found & ~valid).sum())
    def row(name, pairs):
        clean, faulty = np.mean(pairs, 0)
        return dict(fault=name, iou_clean=float(clean), iou=float(faulty), difference=float(faulty - clean),
                    worst=float(np.min(np.diff(pairs, axis=1))), outside=wrong[name])
    return [row(*item) for item in scores.items()]


def few(data, rng):
    "One fault of each kind."
    kept = 'rim of 8, 0', 'corners, 0', 'rim of 8, NaN', 'six spikes of 1000 sd a slice', 'bytes', 'gain 1e-08'
    for name, faulty, valid in (*padded(data), *spiked(data, rng), *rescaled(data)):
        if name in kept: yield name, faulty, valid


SEEN_A = 8., 10., 13., 16., 20.  # voxel sizes to which slices are scaled for the net


def scale_row(what, size_A, cases, net):
    "IoU at several scales and at the one that `cryoseg segment` takes, mean over cases."
    def score(scale):
        chosen = SegmentSettings(workers=1, scale=scale)
        return float(np.mean([iou(segment_volume(c.data, net, size_A, chosen).labels, c.truth.astype(np.uint8), 1) for c in cases]))
    return dict(volume=what, voxel_A=size_A, **{f'seen_at_{seen:g}_A': score(size_A / seen) for seen in SEEN_A}, default=score(None))


def sized_phantoms(size_A, cnr=1.4):
    "Two phantoms of one voxel size."
    chosen = PhantomSettings(shape=(32, 144, 144), n_vesicles=2, n_ribosomes=0, radius_A=(150., 220.), voxel_size_A=size_A, cnr=cnr)
    made = [simulate_phantom(chosen, seed) for seed in (11, 12)]
    return [Case(np.asarray(m.tomogram.data), m.labels == 1) for m in made]


def binned_polnet(data, snr, bins):
    "A PolNet volume and its truth, averaged over blocks; half of a block must be membrane."
    known = np.load(data / 'polnet' / 'liposomes_truth.npz')
    volume = read_volume(data / 'polnet' / f'liposomes_snr{snr}.mrc')
    truth = Volume(np.isin(known['labels'], known['membrane_labels']).astype(np.float32), volume.voxel_size_A)
    volume, truth = bin_volume(volume, bins), bin_volume(truth, bins)
    return Case(np.asarray(volume.data), truth.data >= .5)


def scale_rows(data, net):
    "Where the net wants slices to be scaled to."
    rows = [scale_row('phantom', size, sized_phantoms(size), net) for size in (5., 8., 10., 13., 16., 20., 25., 30.)]
    if data.is_dir():
        rows += [scale_row(f'PolNet, SNR {snr}', 10. * n, [binned_polnet(data, snr, n)], net) for snr in ('1.0', '0.3') for n in (2, 3)]
    return rows


def main():
    args = arguments(__doc__, data=True).parse_args()
    net, tables = load_weights(), []
    warnings.simplefilter('ignore')
    for title, faults, enhanced in (('padding', lambda data, rng: padded(data), False), ('outliers', spiked, False),
                                    ('units and kinds of numbers', lambda data, rng: rescaled(data), False), ('after enhance', few, True)):
        made = rows(faults, net, enhanced)
        tables.append((f'{title}: membrane IoU where there is an image, and voxels labelled where there is none', made))
        print_table(*tables[-1])
    tables.append(('scale: membrane IoU where slices are scaled so that the net sees voxels of so many Å', scale_rows(args.data, net)))
    print_table(*tables[-1])
    finish(tables, args.json)


if __name__ == '__main__': main()
