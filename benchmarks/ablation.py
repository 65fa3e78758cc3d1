"""What each ingredient of the training material is worth: `python benchmarks/ablation.py --data DIR`.

The net that ships takes an hour to train, so small nets (from scratch, 400 steps) are trained with one thing left out or put in;
a second net on all of the material shows what chance alone does.
The threshold is the best one on the two lower-numbered images of each group of real slices; the table shows the other images. Masks only score.
"""
import time
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from cryoseg.segment.settings import SegmentSettings
from cryoseg.segment.predict import segment_volume
from cryoseg.segment.settings import ROUGH_SCENES, SceneSettings
from cryoseg.segment.motifs import simulate_image
from cryoseg.segment.scenes import LAYERS, add_densities, draw_scene, in_parallel, membrane_contrast, render_scene
from cryoseg.segment.settings import GeneralSettings, TrainSettings
from cryoseg.segment.normalise import prepare
from cryoseg.segment.unet import UNet, fit_net, to_batch
from cryoseg.segment.train import GeneralSet, draw_crop
from cryoseg.base.formats import read_volume
from network import answers, f1
from _tables import arguments, finish, print_table, read_slices

SMALL = GeneralSettings(n_scenes=400, n_slabs=24, crop=128, width=12, depth=4, train=TrainSettings(steps=400, batch=8, rate=2e-3, schedule='cosine', dice=.5, bf16=True))
THRESHOLDS = .2, .3, .4, .5, .6, .7
AS_NET = SegmentSettings(calibration=(1, 0))        # each net's own probabilities
POLNET_SLICES = slice(0, None, 4)


def white_noise(layers, rng, cnr=(.45, 5.)):
    "The densities with white noise alone: no grain, no texture, no grey-scale changes."
    layers = layers.astype(np.float32)
    image = add_densities(layers, rng)
    return image + rng.standard_normal(image.shape, dtype=np.float32) * membrane_contrast(image, layers[0]) / np.exp(rng.uniform(*np.log(cnr)))


def without(names, scene):
    "A drawn scene whose layers of these names are empty."
    layers, labels = scene
    layers = layers.copy()
    for name in names: layers[LAYERS.index(name)] = float(name == 'grain')
    return layers, labels


class Motifs:
    "The paper's own images (section 4.1) in place of scenes and slabs."
    def __init__(self, settings, seed, workers):
        self.crop, self.pairs = settings.crop, in_parallel(motif, range(seed, seed + settings.n_scenes), workers)

    def draw(self, rng):
        image, labels = draw_crop(*self.pairs[rng.integers(len(self.pairs))], self.crop, rng)
        return prepare(image), labels


def motif(seed): return simulate_image(np.random.default_rng(seed))


def material(settings, seed, workers, scenes=None, render=None, empty=(), motifs=False):
    "The training material of one row."
    if motifs: return Motifs(settings, seed, workers)
    data = GeneralSet(settings, seed, workers)
    if scenes: data.scenes = in_parallel(partial(draw_scene, scenes), range(seed, seed + settings.n_scenes), workers)
    if render: data.render = render
    if empty: data.scenes = [without(empty, scene) for scene in data.scenes]
    return data


ROWS = {
    'all of it': (SMALL, {}),
    'all of it, another seed': (SMALL, dict(seed=1)),
    'the paper\'s motifs alone': (SMALL, dict(motifs=True)),
    'no slices of 3-D scenes with a wedge': (replace(SMALL, slab_fraction=0.), {}),
    'only slices of 3-D scenes with a wedge': (replace(SMALL, slab_fraction=1.), {}),
    'no distractors (blobs, filaments, gold)': (SMALL, dict(empty=('blob', 'filament', 'gold'))),
    'no crowded cytoplasm (fill, grain)': (SMALL, dict(empty=('fill', 'grain'))),
    'no faint stretches': (SMALL, dict(scenes=SceneSettings(gaps=0.))),
    'white noise, no grey-scale changes': (SMALL, dict(render=white_noise)),
    'no mirrored or smeared borders': (replace(SMALL, border_fraction=0.), {}),
    'with dirt (caps, ice, carbon, tubes, CTF, streaks)': (SMALL, dict(scenes=ROUGH_SCENES, render=partial(render_scene, ctf=.3, streaks=.2))),
    'cross entropy alone, no Dice': (replace(SMALL, train=replace(SMALL.train, dice=0.)), {}),
}


def train(settings, workers, seed=0, **changes):
    "A small net and its CPU seconds."
    torch.manual_seed(seed)
    started, rng, net = time.process_time(), np.random.default_rng(seed), UNet(settings.width, settings.depth)
    data = material(settings, 5000 + 10 ** 6 * seed, workers, **changes)
    fit_net(net, lambda step: to_batch(*zip(*[data.draw(rng) for _ in range(settings.train.batch)])), settings.train)
    return net, time.process_time() - started


def slice_scores(groups, net):
    "Skeleton F1 at 2 and 3 px, means over groups of the images that chose nothing, at the threshold that is best on the others."
    found = answers(groups, net, AS_NET)
    scores = {t: f1(groups, found, t) for t in THRESHOLDS}
    best = max(THRESHOLDS, key=lambda t: scores[t][:, :2, 0].mean())
    return best, *scores[best][:, 2:, :2].mean((0, 1)).tolist()



def polnet_f1(data, net, threshold):
    "Harmonic mean of precision and recall of membrane voxels (tolerance 1.5 voxels) on some slices of the noisier PolNet volume."
    known = np.load(data / 'polnet' / 'liposomes_truth.npz')
    truth = np.isin(known['labels'], known['membrane_labels'])[POLNET_SLICES]
    volume = read_volume(data / 'polnet' / 'liposomes_snr0.3.mrc')
    found = segment_volume(np.ascontiguousarray(volume.data[POLNET_SLICES]), net, volume.voxel_size_A, replace(AS_NET, neighbours=0, threshold=threshold))[0] == 1
    if not found.any(): return 0.
    near = lambda a, b: np.mean([(distance_transform_edt(~q)[p] <= 1.5).sum() if q.any() else 0 for p, q in zip(a, b)])
    precision, recall = near(found, truth)/found.sum()*len(found), near(truth, found)/truth.sum()*len(truth)
    return float(2*precision*recall/(precision + recall)) if precision + recall else 0.


def row(name, groups, data, workers):
    "Train one net and score it."
    settings, changes = ROWS[name]
    net, seconds = train(settings, workers, **changes)
    threshold, f1_2px, f1_3px = slice_scores(groups, net)
    return dict(material=name, f1_2px=f1_2px, f1_3px=f1_3px, polnet_f1=polnet_f1(data, net, threshold), cpu_s=seconds)


def main():
    parser = arguments(__doc__, data=True)
    parser.add_argument('--workers', type=int, default=1)
    parser.add_argument('--only', default='', help='rows whose name holds this')
    args = parser.parse_args()
    torch.set_num_threads(args.workers)
    groups, rows = read_slices(args.data), []
    for name in ROWS:
        if args.only not in name: continue
        rows.append(row(name, groups, args.data, args.workers))
        print(rows[-1], flush=True)
    title = 'small nets trained on less: real slices (images that chose nothing) and PolNet'
    print_table(title, rows)
    finish([(title, rows)], args.json)


if __name__ == '__main__': main()
