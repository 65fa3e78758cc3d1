"""Does `cryoseg train` help on real slices? `python benchmarks/matching.py --data DIR`

One net is matched to the images of each group without their masks, and compared with the shipped net. What is measured in the images is
shown beside what the same net measures in the scenes that were painted to match. The masks only score. Half of the images of a group are
those on which the threshold was chosen; all of them are shown to the training, as a user would.
"""
import warnings

import numpy as np

from cryoseg.base.files import VolumeError
from cryoseg.base.metrics import skeleton_f1
from cryoseg.segment.engines import TorchEngine
from cryoseg.segment.match import choose_slices, measure_appearance, paint_scenes, train_on_tomogram
from cryoseg.segment.predict import net_scale, segment_volume
from cryoseg.segment.settings import SegmentSettings
from cryoseg.segment.unet import load_weights
from _tables import arguments, finish, print_table, read_slices

STEPS = 200
PAINTED = 8     # scenes of each image, to measure again
HALF_POWER = .5


def scores(net, pairs, tolerances_px=(2, 3)):
    "Mean skeleton F1 at each tolerance, of the images on which settings were chosen and of the others."
    found = [segment_volume(image[None], net, settings=SegmentSettings())[0][0] == 1 for image, _ in pairs]
    each = np.array([[skeleton_f1(f, mask, t) for t in tolerances_px] for f, (_, mask) in zip(found, pairs)])
    return [float(v) for half in (each[:2], each[2:]) for v in half.mean(0)]


def grain_px(spectrum):
    "The wavelength that halves the power of noise, pixels."
    n = len(spectrum)
    radius = np.hypot(*np.meshgrid(*[np.fft.fftfreq(n)] * 2)).ravel()
    order = np.argsort(radius)
    power = np.cumsum(spectrum.ravel()[order]) / spectrum.sum()
    return float(1 / radius[order][np.searchsorted(power, HALF_POWER)])


def numbers_of(look):
    "An appearance in one line."
    fainter, _, darker = look.strengths
    return dict(cnr=look.intensities.cnr, protein=look.intensities.protein.mean, thickness_px=look.thickness_px, grain_px=grain_px(look.spectrum),
                unevenness=look.variation, strength_10=float(fainter), strength_90=float(darker))


def look_rows(group, pairs, net):
    "What was measured in the images of a group, and in scenes painted to match each of them; means over the images."
    measured, painted = [], []
    for seed, (image, _) in enumerate(pairs):
        scale = net_scale(image[None], TorchEngine(net, 'auto', fold=False))
        look = measure_appearance(choose_slices(image[None], None, scale, 1).images, net)
        measured.append(numbers_of(look))
        try: painted.append(numbers_of(measure_appearance(np.stack(paint_scenes(look, PAINTED, seed).images), net)))
        except VolumeError: pass        # the net finds too little in them
    mean = lambda looks: {k: float(np.mean([look[k] for look in looks])) if looks else None for k in measured[0]}
    return [dict(group=group, of='measured', **mean(measured)), dict(group=group, of='painted', **mean(painted))]


def group_row(group, pairs, net):
    "Before and after matching to the images of one group."
    matched = train_on_tomogram([image[None] for image, _ in pairs], net, steps=STEPS)
    before, after = scores(net, pairs), scores(matched.net, pairs)
    names = 'f1_2px_chosen_on', 'f1_3px_chosen_on', 'f1_2px_other', 'f1_3px_other'
    told = {}
    for name, old, new in zip(names, before, after): told |= {f"{name}_before": old, f"{name}_after": new}
    return dict(group=group, kept_step=matched.steps, painted_iou_before=matched.iou_before, painted_iou_after=matched.iou_after,
                agreement_before=matched.agreement_before, agreement_after=matched.agreement_after, **told)


def main():
    args, net = arguments(__doc__, data=True).parse_args(), load_weights()
    warnings.simplefilter('ignore')                 # the voxel size of the slices is not known
    groups = read_slices(args.data)
    looks = [row for group, pairs in groups.items() for row in look_rows(group, pairs, net)]
    print_table('what is measured and what is painted', looks)
    rows = []
    for group, pairs in groups.items():
        rows.append(group_row(group, pairs, net))
        print(rows[-1], flush=True)
    mean = lambda key: float(np.mean([r[key] for r in rows]))
    scored = [k for k in rows[0] if k.startswith('f1')]
    rows.append(dict.fromkeys(rows[0]) | dict(group='mean') | {k: mean(k) for k in scored})
    print_table('matching to the images of each group', rows)
    finish([('what is measured and what is painted', looks), ('matching to the images of each group', rows)], args.json)


if __name__ == '__main__': main()
