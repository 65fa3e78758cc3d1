"""Fit the slope and offset of SegmentSettings.calibration on the lower-numbered half of the real slices:
python tools/calibrate.py [DATA]. Prints them, and the threshold that goes with a raw probability of 0.5."""
import sys
import warnings
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.optimize import minimize
from skimage.io import imread

from cryoseg.segment import SegmentSettings, segment_volume
from cryoseg.unet import load_weights


def main():
    data = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / 'shared' / 'data')
    net, logits, truths, groups = load_weights(), [], [], {}
    warnings.simplefilter('ignore')                 # the voxel size of the slices is not known
    for path in sorted((data / 'slices_masked').glob('*_image.png')): groups.setdefault(path.name[0], []).append(path)
    for paths in groups.values():
        for path in paths[:2]:
            mask = imread(path.with_name(path.name.replace('_image', '_mask'))) > 127
            p = segment_volume(imread(path).astype(np.float32)[None], net, SegmentSettings(calibration=(1, 0)))[1][0].astype(float)
            near = (p > .05) | (distance_transform_edt(~(mask | (p > .5))) <= 10)
            p = np.clip(p[near], 1e-3, 1 - 1e-3)
            logits.append(np.log(p / (1 - p)))
            truths.append(mask[near])
    x, y = np.concatenate(logits), np.concatenate(truths)
    loss = lambda theta: np.logaddexp(0, np.where(y, -1, 1) * (theta[0] * x + theta[1])).mean()
    slope, offset = minimize(loss, (1., 0.)).x
    print(f'calibration = ({slope:.3f}, {offset:.3f}); a raw 0.5 becomes {1 / (1 + np.exp(-offset)):.3f}')


if __name__ == '__main__': main()
