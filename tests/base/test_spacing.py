"Neighbours on a grid and far picks: the same answers as the tree and the textbook, ties included."
import numpy as np
import pytest
from scipy.spatial import cKDTree

from cryoseg.base import spacing
from cryoseg.base.geometry import prune_sparse
from cryoseg.base.spacing import GRID_REACH, grid_neighbour_distance, neighbour_spacing, pick_farthest


def voxels(n=3000, side=30, dim=3, seed=0):
    "Different voxels in no order, some far from all others."
    rng = np.random.default_rng(seed)
    some = np.vstack([rng.integers(0, side, (n, dim)), rng.integers(-9*side, 9*side, (20, dim))])
    return rng.permutation(np.unique(some, axis=0)).astype(float)


@pytest.mark.parametrize('dim', [2, 3])
@pytest.mark.parametrize('k', [1, 8])
def test_the_grid_knows_the_distances_of_the_tree(dim, k):
    points = voxels(300 if dim == 2 else 3000, dim=dim)
    by_tree = cKDTree(points).query(points, k=k + 1)[0][:, -1]
    assert np.array_equal(grid_neighbour_distance(points, k), np.where(by_tree <= GRID_REACH, by_tree, np.inf))


def test_slices_at_a_time_do_not_matter(monkeypatch):
    points = voxels()
    whole = grid_neighbour_distance(points, 3)
    monkeypatch.setattr(spacing, 'GRID_VOXELS', 1)
    assert np.array_equal(grid_neighbour_distance(points, 3), whole)


@pytest.mark.parametrize('points', [voxels()[:500] + .5, np.vstack([voxels(), voxels()[:1]]), np.array([[0., 0, 0], [1e300, 0, 0]])])
def test_what_is_no_grid_is_left_to_the_tree(points):
    assert grid_neighbour_distance(points, 1) is None


def test_far_voxels_are_measured_by_the_tree():
    points = 5*voxels()
    assert np.array_equal(neighbour_spacing(points, 2), cKDTree(points).query(points, k=3)[0][:, -1])
    assert np.isfinite(neighbour_spacing(points, 2)).all()


@pytest.mark.parametrize('points', [voxels(), voxels() + .25, 3*voxels(), voxels(400, dim=2)])
def test_pruning_is_that_of_the_tree(points):
    to_kth = cKDTree(points).query(points, k=9)[0][:, -1]
    assert np.array_equal(prune_sparse(points), to_kth <= 2.5*np.median(to_kth))


@pytest.mark.parametrize('points', [voxels(), voxels(300, dim=2), np.random.default_rng(1).normal(size=(777, 3)), np.zeros((70, 3))])
def test_picks_are_those_of_the_textbook(points):
    n = min(len(points), 200)
    chosen, distance = [5], ((points - points[5])**2).sum(1)
    while len(chosen) < n:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, ((points - points[chosen[-1]])**2).sum(1))
    assert pick_farthest(points, n, 5).tolist() == chosen
