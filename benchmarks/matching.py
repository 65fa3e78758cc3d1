"""Does `cryoseg train` help on real slices? One net is matched to the images of each group without their masks, and compared with the shipped net.

The masks only score. Half of the images of a group are those on which the threshold was chosen; all of them are shown to the training, as a user would.
"""
import warnings

import numpy as np

from cryoseg.base.metrics import skeleton_f1
from cryoseg.segment.settings import SegmentSettings
from cryoseg.segment.predict import segment_volume
from cryoseg.segment.match import train_on_tomogram
from cryoseg.segment.unet import load_weights
from _tables import arguments, finish, print_table, read_slices

STEPS = 200


def scores(net, pairs, tolerance_px=(2, 3)):
    "Mean skeleton F1 at each tolerance of the images that chose nothing."
    found = [segment_volume(image[None], net, settings=SegmentSettings())[0][0] == 1 for image, _ in pairs[2:]]
    return [float(np.mean([skeleton_f1(f, mask, t) for f, (_, mask) in zip(found, pairs[2:])])) for t in tolerance_px]


def group_row(group, pairs, net):
    "Before and after matching to the images of one group."
    matched = train_on_tomogram([image[None] for image, _ in pairs], net, steps=STEPS)
    (before2, before3), (after2, after3) = scores(net, pairs), scores(matched.net, pairs)
    return dict(group=group, kept_step=matched.steps, painted_iou_before=matched.iou_before, painted_iou_after=matched.iou_after,
                agreement_before=matched.agreement_before, agreement_after=matched.agreement_after,
                f1_2px_before=before2, f1_2px_after=after2, f1_3px_before=before3, f1_3px_after=after3)


def main():
    args, net, rows = arguments(__doc__, data=True).parse_args(), load_weights(), []
    warnings.simplefilter('ignore')                 # the voxel size of the slices is not known
    for group, pairs in read_slices(args.data).items():
        rows.append(group_row(group, pairs, net))
        print(rows[-1], flush=True)
    mean = lambda key: float(np.mean([r[key] for r in rows]))
    rows.append(dict(group='mean', **{k: None for k in list(rows[0])[1:6]}, **{k: mean(k) for k in list(rows[0])[6:]}))
    print_table('matching to the images of each group', rows)
    finish([('matching to the images of each group', rows)], args.json)


if __name__ == '__main__': main()
