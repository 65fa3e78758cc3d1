"""Fit the slope and offset of SegmentSettings.calibration on the lower-numbered half of the real slices:
python tools/calibrate.py [DATA]. Prints them, and the threshold that goes with a raw probability of 0.5."""
import sys
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from cryoseg.segment.settings import SegmentSettings
from cryoseg.segment.unet import load_weights

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'benchmarks'))
from _tables import DATA, read_slices
from network import answers, judged_pixels


def main():
    groups = read_slices(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA)
    p, y = judged_pixels(groups, answers(groups, load_weights(), SegmentSettings(calibration=(1, 0))), slice(2), .5)
    p = np.clip(p.astype(float), 1e-3, 1 - 1e-3)
    x = np.log(p / (1 - p))
    loss = lambda theta: np.logaddexp(0, np.where(y, -1, 1) * (theta[0] * x + theta[1])).mean()
    slope, offset = minimize(loss, (1., 0.)).x
    print(f'calibration = ({slope:.3f}, {offset:.3f}); a raw 0.5 becomes {1 / (1 + np.exp(-offset)):.3f}')


if __name__ == '__main__': main()
