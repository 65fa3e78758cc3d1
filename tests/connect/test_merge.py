"Region merging: two algorithms, brute force, scipy, scikit-image and cc3d agree; predicates hold on known sheets."
import cc3d
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import label
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist
from skimage.measure import label as skimage_label

from cryoseg.base.files import VolumeError
from cryoseg.connect.merge import (grow_forest, half_neighbours, merge_breadth_first, merge_by_plane,
                                   merge_by_statistics, merge_union_find, region_distance)


def noise(seed, shape=(7, 9, 8), fraction=.12):
    "Random voxels."
    return np.random.default_rng(seed).random(shape) < fraction


def test_distance_of_regions():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 3)), rng.normal(size=(40, 3)) + 3
    assert region_distance(a, b) == pytest.approx(cdist(a, b).min()) == region_distance(b, a)
    assert region_distance(a, a) == 0 and region_distance(2*a, 2*b) == pytest.approx(2*region_distance(a, b))


@pytest.mark.parametrize('epsilon, n', [(0, 0), (1, 3), (2**.5, 9), (3**.5, 13), (3, 61)])
def test_half_of_the_neighbours(epsilon, n):
    half = half_neighbours(epsilon)
    assert len(half) == n
    both = {tuple(v) for v in half} | {tuple(-v) for v in half}
    reach = range(-3, 4)
    near = {(z, y, x) for z in reach for y in reach for x in reach if 0 < z*z + y*y + x*x <= epsilon**2 + 1e-9}
    assert both == near


@given(seed=st.integers(0, 10_000), epsilon=st.sampled_from([.5, 1., 1.5, 1.8, 2.5, 4.]))
def test_both_algorithms_are_the_graph_by_brute_force(seed, epsilon):
    for mask in (noise(seed), noise(seed, (12, 14))):
        regions = merge_union_find(mask, epsilon)
        assert np.array_equal(regions, merge_breadth_first(mask, epsilon)) and regions.dtype == np.int32
        points = np.argwhere(mask)
        if not len(points): continue
        n, brute = connected_components(cdist(points, points) <= epsilon + 1e-9, directed=False)
        assert regions.max() == n and np.array_equal(regions[mask], brute + 1)


def test_libraries_agree():
    mask = noise(1, (20, 30, 25), .2)
    assert np.array_equal(merge_union_find(mask, 3**.5), label(mask, np.ones((3, 3, 3)))[0])
    assert np.array_equal(merge_union_find(mask, 1.), label(mask)[0])
    assert np.array_equal(merge_union_find(mask[0], 2**.5), skimage_label(mask[0], connectivity=2))
    other = cc3d.connected_components(mask, connectivity=18)
    ours = merge_union_find(mask, 2**.5)
    assert len(np.unique(np.stack([ours[mask], other[mask]]), axis=1).T) == ours.max() == other.max()


@pytest.mark.long
@pytest.mark.parametrize('merge', [merge_union_find, merge_breadth_first])
def test_limits(merge):
    for shape in ((0, 0), (4, 5), (3, 4, 5), (1, 1, 6)):
        empty = merge(np.zeros(shape), 2.)
        assert empty.shape == shape and not empty.any()
        assert (merge(np.ones(shape), 2.) == 1).all()
    mask = noise(2)
    assert merge(mask, 0.).max() == np.count_nonzero(mask)             # every voxel by itself
    assert merge(mask, 100.).max() == 1
    for wrong, message in ((np.zeros(5), '2 or 3 dimensions'), (np.zeros((1, 2, 3, 4)), '2 or 3 dimensions')):
        with pytest.raises(VolumeError, match=message): merge(wrong)
    for epsilon in (-1., float('inf'), float('nan')):
        with pytest.raises(VolumeError, match='not negative'): merge(mask, epsilon)


def test_the_same_from_every_side():
    mask = noise(3, (9, 10, 11))
    regions = merge_union_find(mask, 1.8)
    for turned, back in ((mask[::-1, :, ::-1], lambda a: a[::-1, :, ::-1]), (mask.transpose(2, 0, 1), lambda a: a.transpose(1, 2, 0))):
        again = back(merge_union_find(turned, 1.8))
        assert len(np.unique(np.stack([again[mask], regions[mask]]), axis=1).T) == regions.max() == again.max()


def test_a_larger_distance_only_merges():
    mask = noise(4)
    near, far = merge_union_find(mask, 1.)[mask], merge_union_find(mask, 2.5)[mask]
    assert len({(a, b) for a, b in zip(near, far)}) == near.max() > far.max()      # each near region lies in one far one


def test_trees_lead_to_one_root_a_region():
    mask = noise(5)
    labels, voxels, parent = grow_forest(mask, 1.8)
    at = np.arange(len(voxels))
    assert (np.linalg.norm(voxels - voxels[parent], axis=1) <= 1.8).all()
    for _ in range(len(voxels)): at = parent[at]
    region = labels[tuple(voxels.T)]
    roots = np.flatnonzero(parent == np.arange(len(parent)))
    assert np.array_equal(region[at], region) and len(roots) == labels.max() and set(at) == set(roots)


def sheet(z, n=50):
    "A sheet three voxels thick at heights z(x)."
    y, x = np.indices((n, n)).reshape(2, -1)
    return np.unique(np.vstack([np.column_stack([np.round(z(x)) + d, y, x]) for d in (-1, 0, 1)]).astype(int), axis=0)


def test_planes_divide_a_fold_and_not_a_bend():
    fold, bend = sheet(lambda x: 30 + np.abs(x - 25)), sheet(lambda x: 30 + 10*np.sin(x/15))
    large = [(np.bincount(merge_by_plane(cloud, 3.)) > 400).sum() for cloud in (fold, bend)]
    assert large == [2, 1]
    regions = merge_by_plane(bend, 3.)
    assert np.bincount(regions).argmax() == 0                          # the largest is 0
    assert np.array_equal(np.bincount(merge_by_plane(bend[::-1], 3.))[:1], np.bincount(regions)[:1])


def test_what_is_too_small_for_a_plane_stays_apart():
    few = merge_by_plane(np.argwhere(np.ones((1, 2, 3))), 3.)              # two cubes, six voxels: no plane
    assert np.bincount(few).tolist() == [4, 2]
    assert not merge_by_plane(np.argwhere(np.ones((1, 6, 6))), 3.).any()   # enough: one region
    two = np.vstack([sheet(lambda x: 10 + 0*x, 20), sheet(lambda x: 30 + 0*x, 20)])
    found = merge_by_plane(two, 3.)
    assert not set(found[:len(two)//2]) & set(found[len(two)//2:])       # parallel, far apart: no region has voxels of both


def test_statistics_merge_what_is_alike():
    chain = np.arange(3), np.arange(1, 4)
    assert merge_by_statistics(np.array([0., .1, 9., 9.1]), *chain, 10., 64.).tolist() == [0, 0, 1, 1]
    assert merge_by_statistics(np.zeros((5, 1)), np.arange(4), np.arange(1, 5), 1.).max() == 0
    assert merge_by_statistics(np.array([0., 9.]), np.zeros(0, int), np.zeros(0, int), 10.).tolist() == [0, 1]


def test_a_looser_bound_merges_more():
    rng = np.random.default_rng(0)
    values = np.r_[rng.normal(0, 1, 40), rng.normal(6, 1, 40)]
    i, j = np.arange(79), np.arange(1, 80)
    regions = [merge_by_statistics(values, i, j, 10., looseness).max() + 1 for looseness in (.5, 8., 1e6)]
    assert regions == sorted(regions) and regions[0] == 1 and regions[-1] > 20
    doubled = merge_by_statistics(np.column_stack([values, 0*values]), i, j, 10., 8.)
    assert np.array_equal(doubled, merge_by_statistics(values, i, j, 10., 8.))     # a constant column says nothing
