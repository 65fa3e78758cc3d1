"Measures: their limits, and libraries that compute the same."
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, directed_hausdorff
from scipy.stats import norm
from skimage import metrics as skimage_metrics

from cryoseg.base.metrics import (adapted_rand_error, class_scores, coverage, dice, directed_distances, expected_calibration_error, hd95, iou,
                                  panoptic_quality, precision_recall, skeleton_f1, surface_dice, surface_distances, voi)

sklearn_metrics = pytest.importorskip('sklearn.metrics')
seeds = st.integers(0, 10**6)


def masks(seed, n=60):
    rng = np.random.default_rng(seed)
    return rng.random(n) < .4, rng.random(n) < .4


@settings(max_examples=20)
@given(seeds)
def test_masks_score_as_in_scikit_learn(seed):
    p, t = masks(seed)
    assert iou(p, t, True) == pytest.approx(sklearn_metrics.jaccard_score(t, p)) and dice(p, t) == pytest.approx(sklearn_metrics.f1_score(t, p))
    precision, recall = precision_recall(p, t)
    assert precision == pytest.approx(sklearn_metrics.precision_score(t, p)) and recall == pytest.approx(sklearn_metrics.recall_score(t, p))
    assert dice(p, t) == pytest.approx(2*iou(p, t, True)/(1 + iou(p, t, True)))
    assert iou(p, t, True) == iou(t, p, True) and precision_recall(t, p) == (recall, precision)


@settings(max_examples=20)
@given(seeds)
def test_classes_score_as_in_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    p, t = rng.integers(0, 3, (2, 80))
    scores = class_scores(p, t)
    assert scores.accuracy == pytest.approx(sklearn_metrics.accuracy_score(t, p))
    np.testing.assert_allclose(scores.iou, sklearn_metrics.jaccard_score(t, p, average=None, labels=[0, 1, 2]))
    assert scores.total_iou == pytest.approx(np.mean(scores.iou))


def test_empty_masks():
    empty, full = np.zeros((8, 8), int), np.ones((8, 8), int)
    for measure in (iou, dice, skeleton_f1, surface_dice, panoptic_quality): assert measure(empty, empty) == 1
    for measure in (iou, dice, skeleton_f1, surface_dice, panoptic_quality): assert measure(empty, full) == measure(full, empty) == 0
    assert precision_recall(empty, full) == (1, 0) and precision_recall(full, empty) == (0, 1)
    assert adapted_rand_error(empty, empty) == 0 and adapted_rand_error(full, empty) == 1 and voi(full, empty) == (0, 0)


@pytest.mark.parametrize('measure', [iou, dice, precision_recall, class_scores, skeleton_f1, surface_dice, adapted_rand_error, voi, panoptic_quality])
def test_shapes_must_agree(measure):
    with pytest.raises(ValueError, match=r'predicted \(3,\) and true \(4,\)'): measure(np.ones(3), np.ones(4))


def ring(radius=20, width=1.5, shift=0):
    y, x = np.mgrid[:64, :64] - 31.5
    return np.abs(np.hypot(y, x - shift) - radius) < width


def test_skeletons_forgive_thickness_and_small_distances():
    truth = ring()
    assert skeleton_f1(truth, truth) == surface_dice(truth, truth) == 1
    assert surface_dice(ring(width=3), truth) > .97 and iou(ring(width=3), truth) < .6
    assert skeleton_f1(ring(shift=2), truth, 3.) == 1 > skeleton_f1(ring(shift=2), truth, 1.) > skeleton_f1(ring(shift=2), truth, 0.)
    half = truth & (np.arange(64) < 32)
    assert skeleton_f1(half, truth) == pytest.approx(2/3, abs=.05) and surface_dice(half, truth) == pytest.approx(2/3, abs=.05)
    assert skeleton_f1(half, truth) == pytest.approx(skeleton_f1(truth, half))
    unknown = np.where(np.arange(64) < 32, 2, 1)*truth
    assert surface_dice(truth & (unknown == 1), unknown, ignore=2) == 1 and surface_dice(truth & (unknown == 1), unknown) < 1


def labellings(seed):
    rng = np.random.default_rng(seed)
    t = np.repeat(rng.integers(0, 5, 20), rng.integers(1, 15, 20))
    return np.where(rng.random(len(t)) < .15, rng.integers(0, 6, len(t)), t), t


@settings(max_examples=20)
@given(seeds)
def test_names_of_instances_do_not_matter(seed):
    p, t = labellings(seed)
    names = np.array([0, 9, 4, 17, 2, 33])
    for measure in (adapted_rand_error, panoptic_quality): assert measure(names[p], t) == pytest.approx(measure(p, t))
    np.testing.assert_allclose(voi(names[p], t), voi(p, t))
    if (t > 0).any(): assert adapted_rand_error(t, t) == pytest.approx(0) and panoptic_quality(names[t], t) == 1 and voi(names[t], t) == pytest.approx((0, 0))


@settings(max_examples=20)
@given(seeds)
def test_instances_score_as_in_scikit_image(seed):
    p, t = labellings(seed)
    if not (t > 0).any(): return
    assert adapted_rand_error(p, t) == pytest.approx(skimage_metrics.adapted_rand_error(t, p)[0])
    split, merge = voi(p, t)
    on = t > 0
    _, joint = np.unique(np.stack([p[on], t[on]]), axis=1, return_counts=True)
    entropy = lambda n: -(n/n.sum()*np.log2(n/n.sum())).sum()
    h = {name: entropy(np.unique(x[on], return_counts=True)[1]) for name, x in (('p', p), ('t', t))}
    assert split == pytest.approx(entropy(joint) - h['t'], abs=1e-9) and merge == pytest.approx(entropy(joint) - h['p'], abs=1e-9)


@settings(max_examples=20)
@given(seeds)
def test_panoptic_quality_by_its_definition(seed):
    p, t = labellings(seed)
    ids = [[k for k in np.unique(x) if k] for x in (p, t)]
    ious = [iou(p == a, t == b, True) for a in ids[0] for b in ids[1]]
    matched = [v for v in ious if v > .5]
    n = len(ids[0]) + len(ids[1])
    assert panoptic_quality(p, t) == pytest.approx(sum(matched)/(n/2) if n else 1)


def test_a_merge_and_a_split_are_told_apart():
    two = np.repeat([1, 2], 50)
    assert voi(np.ones(100, int), two) == pytest.approx((0, 1)) and voi(np.repeat([1, 4, 2], [25, 25, 50]), two) == pytest.approx((.5, 0))


# surfaces

@settings(max_examples=20)
@given(seeds)
def test_distances_are_those_of_scipy(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(30, 3)), rng.normal(size=(40, 3)) + 1
    there, back = directed_distances(a, b)
    every = cdist(a, b)
    np.testing.assert_allclose(there, every.min(1))
    np.testing.assert_allclose(back, every.min(0))
    found = surface_distances(a, b)
    assert found.hausdorff == pytest.approx(max(directed_hausdorff(a, b)[0], directed_hausdorff(b, a)[0]))
    assert found.assd == pytest.approx((there.mean() + back.mean())/2) and found.hd95 == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert surface_distances(b, a) == pytest.approx(found) and surface_distances(7*a + 3, 7*b + 3) == pytest.approx([7*v for v in found])
    assert found.hd95 <= found.hausdorff and surface_distances(a, a) == (0, 0, 0)


def test_hd95_is_the_worse_direction():
    assert hd95(np.zeros(1000), np.full(10, 7.)) == hd95(np.full(10, 7.), np.zeros(1000)) == 7
    assert hd95(np.r_[np.zeros(99), 50.], np.zeros(5)) == 0               # the farthest five percent do not count
    assert hd95([], [1., 1.]) == hd95([1., 1.], []) == 1 and np.isnan(hd95([], []))
    half = np.linspace(0, 1, 500)[:, None]*[1, 0, 0]
    assert surface_distances(half[:250], half).hd95 == pytest.approx(.45, abs=.01)      # half a surface is not near the whole one


# error bars and probabilities

@pytest.mark.parametrize('level', [.5, .68, .95, .99])
def test_honest_error_bars_are_honest(level):
    error = np.random.default_rng(0).normal(0, 2, 40_000)
    assert coverage(error, 2., level) == pytest.approx(level, abs=.01) and coverage(error, 1., level) < level - .01
    assert coverage(error, 2., level) == (np.abs(error) <= 2*norm.ppf(.5 + level/2)).mean()
    assert coverage(0*error, 0., level) == 1


@pytest.mark.parametrize('adaptive', [True, False])
def test_calibration(adaptive):
    rng = np.random.default_rng(0)
    p = rng.random(40_000)
    truth = rng.random(40_000) < p
    assert expected_calibration_error(p, truth, adaptive=adaptive) < .015 < .1 < expected_calibration_error(p**.4, truth, adaptive=adaptive)
    assert expected_calibration_error(truth.astype(float), truth, adaptive=adaptive) == 0
    assert expected_calibration_error(1. - truth, truth, adaptive=adaptive) > (.9 if adaptive else .999)    # a bin of equal count may hold both
    assert expected_calibration_error(np.full(10, .3), np.r_[np.ones(3), np.zeros(7)], bins=1, adaptive=adaptive) == pytest.approx(0)


def test_bins_of_equal_width_by_their_definition():
    p, t = np.array([.05, .1, .1, .95, 1.]), np.array([0, 1, 0, 1, 0])
    assert expected_calibration_error(p, t, bins=10, adaptive=False) == pytest.approx((.05 + 2*.4 + 2*.475)/5)
