"""What the net that ships is worth: `python benchmarks/network.py --data DIR`.

Real slices (never trained on) with the default settings of `cryoseg segment`, what each part of the answer adds (ablations),
how far its probabilities can be believed, phantoms of falling contrast, and how much of the machine's speed is used.
The rule for the scale of pictures without a voxel size and the threshold were chosen on the two lower-numbered images of each group.
"""
import os
import time
import timeit
import warnings

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from skimage.filters import apply_hysteresis_threshold
from skimage.morphology import remove_small_objects, skeletonize
from torch.utils.flop_counter import FlopCounterMode

from cryoseg.connect.membranes import find_membranes
from cryoseg.base.metrics import adapted_rand_error, expected_calibration_error, iou, skeleton_f1
from cryoseg.phantom.settings import PhantomSettings
from cryoseg.phantom.phantom import simulate_phantom
from cryoseg.segment.settings import SegmentSettings
from cryoseg.segment.engines import open_engine, use_bf16
from cryoseg.segment.predict import segment_volume
from cryoseg.segment.motifs import simulate_image
from cryoseg.segment.scenes import draw_scene, render_scene
from cryoseg.segment.unet import fold_batchnorm, load_weights, predict
from cryoseg.base.formats import read_volume
from _tables import arguments, finish, print_table, read_slices


def answers(groups, net, settings):
    "Membrane probability of each slice."
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')         # the voxel size is not known
        return {g: [segment_volume(image[None], net, settings=settings)[1][0].astype(np.float32) for image, _ in pairs] for g, pairs in groups.items()}


def f1(groups, found, threshold=SegmentSettings().threshold):
    "Skeleton F1 at 2 px, 3 px, and 3 px without a border of 20 px: (groups, images, 3)."
    inner = (slice(20, -20),) * 2
    score = lambda p, m: [skeleton_f1(p, m, 2), skeleton_f1(p, m, 3), skeleton_f1(p[inner], m[inner], 3)]
    return np.array([[score(p >= threshold, mask) for p, (_, mask) in zip(found[g], pairs)] for g, pairs in groups.items()])


def slice_rows(groups, scores):
    "One row a group, and the mean over groups, for the half that was used for choosing and the other half."
    columns = [f'{name}_{half}' for half in ('chosen_on', 'other') for name in ('f1_2px', 'f1_3px', 'f1_3px_inner')]
    rows = [dict(group=g, **dict(zip(columns, np.r_[s[:2].mean(0), s[2:].mean(0)].tolist()))) for g, s in zip(groups, scores)]
    return rows + [dict(group='mean', **{c: float(np.mean([r[c] for r in rows])) for c in columns})]


def ablation_rows(groups, net):
    "What flips and scales add on the slices."
    rows = []
    for name, settings in (('one scale (1), no flips', SegmentSettings(scale=1., flips=1, scale_spread=0.)), ('measured scale, no flips', SegmentSettings(flips=1, scale_spread=0.)), ('measured scale, three scales round it, 4 flips', SegmentSettings(scale_spread=1/3)),
                           ('scales 1, 1.5, 2', SegmentSettings(flips=1)), ('scales 1, 1.5, 2, 4 flips (default)', SegmentSettings()),
                           ('scales 1, 1.5, 2, 8 flips', SegmentSettings(flips=8))):
        scores = f1(groups, answers(groups, net, settings)).mean(0)
        rows.append(dict(slices=name, f1_2px_chosen_on=float(scores[:2, 0].mean()), f1_2px_other=float(scores[2:, 0].mean())))
    return rows


def answer_rows(groups, found):
    "Other ways to make a mask of the same probabilities."
    rows = []
    for name, mask in ((f'threshold {SegmentSettings().threshold:g} (default)', lambda p: p >= SegmentSettings().threshold), ('threshold 0.3', lambda p: p >= .3),
                       ('from 0.24 on where it is connected to 0.5', lambda p: apply_hysteresis_threshold(p, .24, .5)),
                       ('threshold 0.28, no pieces below 40 px', lambda p: remove_small_objects(p >= .28, max_size=39))):
        scores = f1(groups, {g: [mask(p) for p in ps] for g, ps in found.items()}, .5).mean(0)
        rows.append(dict(mask=name, f1_2px_chosen_on=float(scores[:2, 0].mean()), f1_2px_other=float(scores[2:, 0].mean())))
    return rows


def loss_rows(groups, found, tolerances_px=(2, 3, 6)):
    "Where F1 is lost: the share of the found line near a traced one, and the other way round, on the images that chose nothing."
    rows = []
    for g, pairs in groups.items():
        shares = []
        for p, (_, mask) in list(zip(found[g], pairs))[2:]:
            a, b = skeletonize(p >= SegmentSettings().threshold), skeletonize(mask)
            near = lambda line, other: [(distance_transform_edt(~other)[line] <= t).mean() for t in tolerances_px]
            shares.append([*near(a, b), *near(b, a)])
        rows.append(dict(group=g, **dict(zip([f'{name}_{t}px' for name in ('precision', 'recall') for t in tolerances_px], np.mean(shares, 0).tolist()))))
    return rows


def judged_pixels(groups, found, images, threshold):
    "Probability and truth of the pixels with p > 0.05 or within 10 px of true or predicted membrane, of some images of each group."
    probabilities, truths = [], []
    for g, pairs in groups.items():
        for p, (_, mask) in list(zip(found[g], pairs))[images]:
            near = (p > .05) | (distance_transform_edt(~(mask | (p >= threshold))) <= 10)
            probabilities.append(p[near])
            truths.append(mask[near])
    return np.concatenate(probabilities), np.concatenate(truths).astype(float)


def calibration_row(groups, found):
    "Calibration of the judged pixels of the images that chose nothing."
    p, y = judged_pixels(groups, found, slice(2, None), SegmentSettings().threshold)
    clipped, constant = np.clip(p, 1e-4, 1 - 1e-4), y.mean()
    nll = lambda q: float(-(y * np.log(q) + (1 - y) * np.log(1 - q)).mean())
    return dict(pixels=len(p), ece=float(expected_calibration_error(p, y)), nll=nll(clipped), nll_constant=nll(constant),
                brier=float(((p - y) ** 2).mean()), brier_constant=float(((constant - y) ** 2).mean()))


CONTRASTS = 2., .5, .2       # squares of the contrast-to-noise ratio


def phantom(square, seed):
    "A phantom of 64x192x192 voxels, all else as the generator has it."
    return simulate_phantom(PhantomSettings(shape=(64, 192, 192), n_vesicles=5, cnr=square ** .5), seed=seed)


def threshold_rows(net, seeds=(950, 951, 952), thresholds=(.2, .23, .26, .29, .32, .355)):
    "Membrane IoU at some thresholds, on phantoms other than those below."
    scores = np.zeros((len(thresholds), len(CONTRASTS), len(seeds)))
    for j, square in enumerate(CONTRASTS):
        for k, seed in enumerate(seeds):
            made = phantom(square, seed)
            labels, p, _ = segment_volume(np.asarray(made.tomogram.data), net, made.tomogram.voxel_size_A, SegmentSettings(threshold=1e-3))
            for i, t in enumerate(thresholds): scores[i, j, k] = iou(np.where((labels == 1) & (p < t), 0, labels), made.labels, 1)
    return [dict(threshold=t, **{f'cnr_squared_{c:g}': float(v) for c, v in zip(CONTRASTS, row.mean(1))}, mean=float(row.mean())) for t, row in zip(thresholds, scores)]


def single_rows(net, seeds=(960, 961, 962), thresholds=(.26, .355)):
    "What the next step makes of masks cut at two thresholds: larger phantoms, their single membranes."
    rows, made = [], [simulate_phantom(PhantomSettings(shape=(100, 300, 300), n_vesicles=12, cnr=2 ** .5), seed=seed) for seed in seeds]
    for t in thresholds:
        found, seconds, wrong = 0, 0., []
        for m in made:
            labels = segment_volume(np.asarray(m.tomogram.data), net, m.tomogram.voxel_size_A, SegmentSettings(threshold=t))[0]
            started = time.process_time()
            ids = find_membranes(labels, m.tomogram.voxel_size_A).membranes
            seconds += time.process_time() - started
            truth = np.where(ids > 0, m.membranes, 0)                  # voxels that were found
            found += len(np.unique(ids)) - 1
            wrong.append(adapted_rand_error(ids, truth))
        rows.append(dict(threshold=t, true=sum(len(m.bodies) for m in made), found=found, adapted_rand=float(np.mean(wrong)), connect_cpu_seconds=seconds))
    return rows


def phantom_rows(net, seeds=(900, 901, 902)):
    "Membrane IoU on phantoms that chose nothing."
    rows = []
    for square in CONTRASTS:
        made = [phantom(square, seed) for seed in seeds]
        scores = [iou(segment_volume(np.asarray(m.tomogram.data), net, voxel_size_A=m.tomogram.voxel_size_A)[0], m.labels, 1) for m in made]
        rows.append(dict(cnr_squared=square, phantoms=len(seeds), membrane_iou=float(np.mean(scores)), worst=float(min(scores))))
    return rows


def seconds(work):
    "The shortest of some runs."
    return min(timeit.repeat(work, number=1, repeat=6))


def flops(net, side):
    "Floating-point operations of one pass over a square image."
    with FlopCounterMode(display=False) as counter, torch.no_grad(): net(torch.zeros(1, 1, side, side))
    return counter.get_total_flops()


def speed_row(net, side=512):
    "The net's share of the machine's own convolution peak, one thread."
    torch.set_num_threads(1)
    bf16, folded = use_bf16('auto'), fold_batchnorm(net)
    x = torch.randn(1, 64, 256, 256).contiguous(memory_format=torch.channels_last)
    layer = torch.nn.Conv2d(64, 64, 3, padding=1, bias=False).to(memory_format=torch.channels_last)

    def convolve():
        with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16, enabled=bf16): layer(x)

    peak = 2 * 9 * 64 * 64 * 256 * 256 / seconds(convolve)
    image = np.random.default_rng(0).normal(size=(1, side, side)).astype(np.float32)
    rate = flops(folded, side) / seconds(lambda: predict(folded, image, bf16))
    return dict(arithmetic='bf16' if bf16 else 'float32', peak_gflops=peak / 1e9, net_gflops=rate / 1e9, share=rate / peak)


def polnet_rows(data, net):
    "Membrane found on the PolNet volumes with and without the neighbouring slices (share of voxels), to go with accuracy.py."
    known = np.load(data / 'polnet' / 'liposomes_truth.npz')
    truth = np.isin(known['labels'], known['membrane_labels'])
    distance, rows = distance_transform_edt(~truth), []
    for snr in ('1.0', '0.3'):
        volume = read_volume(data / 'polnet' / f'liposomes_snr{snr}.mrc')
        for neighbours in (0, 1, 2):
            found = segment_volume(volume.data, net, volume.voxel_size_A, SegmentSettings(neighbours=neighbours))[0] == 1
            rows.append(dict(snr=snr, neighbours=neighbours, precision=float((distance[found] <= 1.5).mean()), recall_all=float((distance_transform_edt(~found)[truth] <= 1.5).mean())))
    return rows


def simulation_rows(n=20):
    "Images a second that one core draws and renders."
    scenes = [draw_scene(seed=seed) for seed in range(n)]
    rng = np.random.default_rng(0)
    work = {'motif images (the paper), 256 px': lambda: [simulate_image(np.random.default_rng(seed)) for seed in range(n)],
            'general scenes drawn': lambda: [draw_scene(seed=seed) for seed in range(n)],
            'general scenes rendered anew': lambda: [render_scene(layers, rng) for layers, _ in scenes]}
    return [dict(what=name, images_a_second=n/seconds(made)) for name, made in work.items()]


def main():
    args = arguments(__doc__, data=True).parse_args()
    net, tables = open_engine(workers=os.cpu_count() or 1), []     # what the command line takes here

    def table(title, rows):
        tables.append((title, rows))
        print_table(title, rows)

    if args.data.is_dir():
        groups = read_slices(args.data)
        found = answers(groups, net, SegmentSettings())
        table('real slices, default settings: skeleton F1', slice_rows(groups, f1(groups, found)))
        table('real slices: what the answer gains', ablation_rows(groups, net))
        table('real slices: other masks from the same answer', answer_rows(groups, found))
        table('real slices: where F1 is lost', loss_rows(groups, found))
        table('real slices: calibration', [calibration_row(groups, found)])
        table('PolNet liposomes: membrane voxels against all true ones (flat ones too), tolerance 1.5 voxels', polnet_rows(args.data, net))
    else: print(f'no data at {args.data}: real slices left out (--data DIR)')
    table('simulation on one core', simulation_rows())
    table('thresholds of volumes: membrane IoU of other phantoms', threshold_rows(net))
    table('thresholds of volumes: single membranes of larger phantoms', single_rows(net))
    table('phantoms: membrane IoU', phantom_rows(net))
    table('share of the convolution peak, one thread', [speed_row(load_weights())])
    finish(tables, args.json)


if __name__ == '__main__': main()
