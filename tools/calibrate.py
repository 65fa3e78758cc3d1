"""Fit the slope and offset of SegmentSettings.calibration: `python tools/calibrate.py [DATA]`.

Uses the two lower-numbered of the real slices of each group; the others stay for scoring. Prints both numbers, and
the threshold that goes with a raw probability of 0.5. The defaults go half the way (notebook 04h says why).
"""
import sys
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from cryoseg.segment.predict import MIN_PROBABILITY
from cryoseg.segment.settings import SegmentSettings
from cryoseg.segment.unet import load_weights

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'benchmarks'))
from _tables import DATA, read_slices  # noqa: E402  (after the path)
from network import answers, judged_pixels  # noqa: E402

AS_NET = SegmentSettings(calibration=(1., 0.))      # the net's own probabilities
FITTED = slice(2)                                   # of the slices of each group
JUDGED_FROM = .5                                    # see `judged_pixels`


def mean_surprise(line, x, member):
    "Cross entropy of the calibrated probabilities: `line` = slope and offset for the logits `x`."
    slope, offset = line
    sign = np.where(member, -1, 1)
    return np.logaddexp(0, sign * (slope * x + offset)).mean()


def fit_line(probability, member):
    "The slope and offset of the logit with which the probabilities surprise least (Platt 1999)."
    x = logit(np.clip(probability.astype(float), MIN_PROBABILITY, 1 - MIN_PROBABILITY))
    return minimize(mean_surprise, (1., 0.), (x, member)).x


def main():
    groups = read_slices(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA)
    found = answers(groups, load_weights(), AS_NET)
    slope, offset = fit_line(*judged_pixels(groups, found, FITTED, JUDGED_FROM))
    print(f'calibration = ({slope:.3f}, {offset:.3f}); a raw 0.5 becomes {expit(offset):.3f}')


if __name__ == '__main__': main()
