"Membranes beside each other that touch: two bodies, one in the other, and stacks of sheets."
import sys

import numpy as np
import pytest

from cryoseg.base.metrics import adapted_rand_error
from cryoseg.connect.concentric import find_concentric, keep_whole
from cryoseg.connect.membranes import find_membranes
from cryoseg.connect.stack import find_stack, may_be_layered
from cryoseg.phantom.phantom import broken_shells
from notebooks import ROOT

sys.path.insert(0, str(ROOT/'benchmarks'))
from _sets import bumpy_distance, double_membrane, stacked_sheets  # noqa: E402  (after the path)

GAP = 3.5               # least, voxels: 70 Å at 20 Å a voxel


def shell(distance, thickness=2.2): return np.argwhere(np.abs(distance) < thickness/2)


LONG = pytest.mark.long


@pytest.mark.parametrize('seed', [200, pytest.param(201, marks=LONG), pytest.param(202, marks=LONG)])
def test_a_double_membrane_is_two_ids(seed):
    mask, truth = double_membrane(seed)
    found = find_membranes(mask, 20.)
    assert len(found.table) == 2 and adapted_rand_error(found.membranes, truth) < .02
    assert 'one in the other' in str(found.table)


@pytest.mark.parametrize('seed', [1, pytest.param(6, marks=LONG), pytest.param(13, marks=LONG)])
def test_a_stack_is_as_many_ids_as_sheets(seed):
    mask, truth = stacked_sheets(seed)
    found = find_membranes(mask, 20.)
    assert len(found.table) == truth.max() and adapted_rand_error(np.where(truth > 0, found.membranes, 0), truth) < .02


def test_it_does_not_matter_how_the_volume_lies():
    mask, truth = double_membrane(204)
    voxels = np.argwhere(mask)
    whole = find_concentric(voxels, voxels.mean(0), mask.shape, GAP)
    for axes in ((0, 2, 1), (0, 1, 2)):
        turned = voxels[:, axes] + (0, 30, 7)
        part = find_concentric(turned, turned.mean(0), (999,)*3, GAP)
        assert (part == whole).mean() > .99


@pytest.mark.parametrize('seed', range(4))
def test_a_single_body_stays_whole(seed):
    rng = np.random.default_rng(seed)
    voxels = shell(bumpy_distance(rng, 90, rng.uniform(20, 36)))
    voxels = voxels[rng.random(len(voxels)) < .8]
    assert find_concentric(voxels, voxels.mean(0), (90,)*3, GAP) is None and find_stack(voxels, GAP) is None


def test_leaflets_are_one_membrane():
    distance = bumpy_distance(np.random.default_rng(0), 90, 32)
    voxels = np.concatenate([shell(distance, 1.2), shell(distance + 4, 1.2)])
    assert find_concentric(voxels, voxels.mean(0), (90,)*3, 5.) is None
    assert find_concentric(voxels, voxels.mean(0), (90,)*3, GAP) is not None


def test_a_cup_whose_rim_joins_its_sheets_is_one():
    "As a phagophore: it is open, and its two sheets are one membrane."
    distance = bumpy_distance(np.random.default_rng(1), 100, 34)
    x = np.indices(distance.shape)[2]
    cup = ((np.abs(distance) < 1.1) | (np.abs(distance + 6) < 1.1)) & (x < 38)
    cup |= (distance <= 1) & (distance >= -7) & (np.abs(x - 38) < 1.5)
    voxels = np.argwhere(cup)
    assert find_concentric(voxels, voxels.mean(0), cup.shape, GAP) is None


def test_two_vesicles_that_touch_are_no_shells():
    mask, _, *_ = broken_shells((60, 90, 150), [((30, 45, 45), (28, 30, 32)), ((30, 45, 105), (28, 30, 32))], specks=0, seed=1, wedge=.8)
    voxels = np.argwhere(mask)
    assert find_concentric(voxels, voxels.mean(0), mask.shape, GAP) is None and find_stack(voxels, GAP) is None


def test_one_sheet_is_no_stack_whatever_its_bends():
    for seed in range(4):
        _, truth = stacked_sheets(seed)
        single = np.argwhere(truth == 1)
        assert not may_be_layered(single) and find_stack(single, GAP, known=True) is None


def test_what_hangs_together_stays_together():
    "A patch that was given to the wrong sheet goes back; a fragment that only touches another sheet does not."
    y, z = (n.ravel() for n in np.indices((60, 30)))
    one, other = np.stack([z, y, 0*z], 1), np.stack([z, y, 6 + 0*z], 1)
    rung = np.array([[15, 30, x] for x in range(1, 6)])
    voxels = np.concatenate([one, other, rung])
    right = np.repeat([0, 1, 0], [len(one), len(other), len(rung)])
    wrong = right.copy()
    wrong[len(one):len(one) + 200] = 0
    assert (keep_whole(wrong, voxels)[:len(one) + len(other)] == right[:len(one) + len(other)]).all()
