"""Which vesicles are found at which voxel size: `python benchmarks/voxel_sizes.py`.

Ten phantoms at each of 5, 8, 13 and 20 Å a voxel, of the same box in Å. Counted are the membranes whose body has at least the volume
of a ball of 150 Å radius and of 6 voxels radius, and at least half of whose wall lies inside the volume, once with the true labels and once with those
of the net. Found means that one membrane of the result holds at least half of what is labelled of the body, and that most of it lies there.
"""
import warnings

import numpy as np

from cryoseg.base.geometry import fibonacci_sphere
from cryoseg.connect.membranes import find_membranes
from cryoseg.phantom.phantom import simulate_phantom
from cryoseg.phantom.settings import PhantomSettings
from cryoseg.segment.predict import segment_volume
from cryoseg.segment.settings import SegmentSettings
from cryoseg.segment.unet import load_weights
from _tables import arguments, finish, print_table

SEEDS = range(10)
BOX_A = 800., 1600., 1600.          # z,y,x of every phantom
SIZES_A = 5., 8., 13., 20.
MIN_RADIUS_A, MIN_RADIUS_VOX = 150., 6.
MIN_INSIDE = .5                     # of the wall
SETTINGS = SegmentSettings(workers=1)


def phantom(size_A, seed):
    "A phantom of the common box at a voxel size."
    shape = tuple(int(round(length/size_A)) for length in BOX_A)
    return simulate_phantom(PhantomSettings(shape=shape, n_vesicles=4, voxel_size_A=size_A, cnr=2.), seed)


def is_counted(body, size_A, shape):
    "Whether a true membrane is large enough, and enough of it inside."
    directions = fibonacci_sphere(400)
    radius_vox = np.mean(body.radius(directions)**3)**(1/3)         # of the ball of the same volume
    points = body.at(directions).points
    inside = ((points >= 0) & (points <= np.array(shape) - 1)).all(1).mean()
    return radius_vox >= max(MIN_RADIUS_A/size_A, MIN_RADIUS_VOX) and inside >= MIN_INSIDE


def is_found(true, labelled, membranes):
    "Whether one membrane of a result is this body's."
    of_body = membranes[true & labelled]
    ids, counts = np.unique(of_body[of_body > 0], return_counts=True)
    if not len(ids): return False
    best = ids[counts.argmax()]
    return counts.max() >= .5*(true & labelled).sum() and (true & (membranes == best)).sum() >= .5*(labelled & (membranes == best)).sum()


def found_of(made, size_A, mask):
    "How many of the counted membranes of a phantom are found in a mask, and those that are not, in words."
    membranes = find_membranes(mask, size_A).membranes
    counted = [body for body in made.bodies if is_counted(body, size_A, mask.shape)]
    found = [is_found(made.membranes == body.id, mask, membranes) for body in counted]
    return int(sum(found)), len(found), [f'{body.role} {body.kind} {body.id}' for body, good in zip(counted, found) if not good]


def row(size_A, net):
    "One row: all phantoms of a voxel size."
    totals = dict(truth=[0, 0], net=[0, 0])
    missed = []
    for seed in SEEDS:
        made = phantom(size_A, seed)
        masks = dict(truth=made.labels == 1, net=segment_volume(np.asarray(made.tomogram.data), net, size_A, SETTINGS).labels == 1)
        for name, mask in masks.items():
            found, of, lost = found_of(made, size_A, mask)
            totals[name] = [totals[name][0] + found, totals[name][1] + of]
            missed += [f'{name} {seed}: {what}' for what in lost]
    print(f'{size_A:g} Å missed: {"; ".join(missed) or "none"}', flush=True)
    return {'Å a voxel': size_A, 'membranes': totals['truth'][1], 'found in true labels': totals['truth'][0], 'found by the net': totals['net'][0]}


def main():
    args = arguments(__doc__).parse_args()
    warnings.simplefilter('ignore')
    net = load_weights()
    rows = [row(size_A, net) for size_A in SIZES_A]
    table = 'Membranes of at least 150 Å and 6 voxels radius that are found, of ten phantoms at each voxel size', rows
    print_table(*table)
    finish([table], args.json)


if __name__ == '__main__': main()
