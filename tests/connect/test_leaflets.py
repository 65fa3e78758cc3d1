"A clear membrane is never dropped for its kind: leaflets, stacks, coarse voxels; and two membranes stay two."
import numpy as np
import pytest

from cryoseg.connect.membranes import find_membranes
from cryoseg.connect.joins import join_leaflets
from cryoseg.connect.pieces import Scale, count_layers, describe_piece, find_middle
from cryoseg.connect.settings import ConnectSettings
from cryoseg.connect.split import run_along, split_layers


def two_shells(radius_A, apart_A, size_A, wall_A=15., touching=0., half=False, keep=1.):
    "Two concentric shells, open at the poles; they may touch within an angle, be cut in half, or have random holes."
    radius, apart, wall = radius_A/size_A, apart_A/size_A, max(wall_A/size_A, 1.2)
    n = int(2*(radius + apart/2 + wall) + 12)
    z, y, x = np.indices((n, n, n)) - n/2 + .5
    r = np.sqrt(z**2 + y**2 + x**2)
    mask = (np.abs(r - radius - apart/2) <= wall/2) | (np.abs(r - radius + apart/2) <= wall/2)
    mask |= (np.abs(r - radius) <= apart/2) & (np.abs(np.arctan2(y, x)) < touching) & (np.abs(z) < 6)
    mask &= np.abs(z) <= .9*r
    if half: mask &= x > .2*radius
    return mask & (np.random.default_rng(0).random(mask.shape) < keep)


def stack(n, gap, wall, side=60):
    "Parallel plates across x."
    mask = np.zeros((side, side, 10 + n*gap), bool)
    for k in range(n): mask[..., 5 + k*gap:5 + k*gap + wall] = True
    return mask


@pytest.mark.parametrize('size_A, apart_A, more', [
    (8., 44., {}), (8., 52., {}), (8., 65., {}), (5., 50., {}), (5., 65., {}),
    (8., 52., dict(touching=.2)), (8., 60., dict(touching=.2)), (8., 52., dict(half=True)), (8., 56., dict(keep=.85))])
def test_two_leaflets_are_one_membrane(size_A, apart_A, more):
    mask = two_shells(250., apart_A, size_A, **more)
    found = find_membranes(mask, size_A)
    assert len(found.table) == 1 and found.table[0].n_voxels > .97*mask.sum(), found.dropped


@pytest.mark.parametrize('size_A, apart_A', [(8., 100.), (8., 120.), (13., 110.), (20., 120.)])
def test_two_membranes_stay_two(size_A, apart_A):
    assert len(find_membranes(two_shells(300., apart_A, size_A, wall_A=35.), size_A).table) == 2


def test_the_joined_leaflets_say_so():
    found = find_membranes(two_shells(250., 56., 8.), 8.)
    assert 'two leaflets' in found.table[0].joined and [link.rule for link in found.links if link.taken] == ['leaflets']
    assert 3 < found.table[0].label_thickness_A/8. < 6 and found.table[0].body_fraction > .9


@pytest.mark.parametrize('gap, wall', [(3, 1), *(pytest.param(*some, marks=pytest.mark.long) for some in ((3, 2), (4, 2), (5, 3), (6, 2))), (4, 3), (6, 3)])
def test_five_close_sheets_are_told_apart(gap, wall):
    found = find_membranes(stack(5, gap, wall), 10.)
    assert len(found.table) == 5 and found.dropped == ()
    x = [np.unique(np.where(found.membranes == k)[2]) for k in range(1, 6)]
    assert sorted(int(v.min()) for v in x) == [5 + k*gap for k in range(5)] and all(np.ptp(v) == wall - 1 for v in x)


def test_sheets_that_touch_everywhere_are_kept_with_a_word():
    mask = stack(5, 4, 2)
    rng = np.random.default_rng(0)
    mask[..., 5:25] |= rng.random(mask[..., 5:25].shape) < .12         # bridges all over
    found = find_membranes(mask, 10.)
    assert len(found.table) >= 1 and sum(m.n_voxels for m in found.table) > .9*mask.sum()
    if len(found.table) == 1: assert 'sheets too close' in found.table[0].joined or 'leaflets' in found.table[0].joined


def test_two_sheets_beside_each_other_are_leaflets_and_three_are_a_stack():
    scale = Scale(ConnectSettings(), 10., (60, 60, 60))
    plane = np.indices((1, 40, 40)).reshape(3, -1).T + 10
    sheets = [describe_piece(plane + (5*k, 0, 0), scale) for k in range(3)]
    join, = join_leaflets(sheets[:2], scale)
    assert (join.a, join.b, join.taken) == (0, 1, True) and join.distance == pytest.approx(5)
    assert join_leaflets(sheets, scale) == [] and join_leaflets([sheets[0], sheets[2]], scale) == []
    onward = describe_piece(plane + (0, 42, 0), scale)
    assert join_leaflets([sheets[0], onward], scale) == [] and run_along(onward, sheets[0], 7.).fraction == 0


def test_a_torn_sheet_has_no_layers():
    scale = Scale(ConnectSettings(), 10., (60, 60, 60))
    mask = np.zeros((60, 60, 60), bool)
    mask[20:23, 5:55, 5:55] = True
    mask[:, :, 29:31] = False
    assert split_layers(describe_piece(np.argwhere(mask), scale), scale).whole


def test_the_middle_of_a_wall():
    wall = np.argwhere(np.ones((5, 30, 30))) + 4
    middle = find_middle(wall)
    assert middle.bin == 1 and np.abs(np.median(middle.voxels[:, 0]) - 6) < .1
    holes = wall[np.random.default_rng(0).random(len(wall)) < .9]
    assert np.abs(find_middle(holes).voxels[:, 0] - 6).max() <= 1.5
    pair = np.concatenate([wall, wall + (9, 0, 0)])                     # a gap of four voxels
    inner = (np.abs(find_middle(pair, 5.).voxels[:, 1:] - 18.5) < 8).all(1)
    assert np.abs(find_middle(pair, 5.).voxels[inner, 0] - 10.5).max() < 5


def sphere(radius, wall, cap=1., keep=1., seed=0):
    "A shell whose poles may be missing, with random holes."
    n = int(2*radius + wall + 8)
    z, y, x = np.indices((n, n, n)) - n/2 + .5
    r = np.sqrt(z**2 + y**2 + x**2)
    mask = (np.abs(r - radius) <= wall/2) & (np.abs(z) <= cap*r)
    return mask & (np.random.default_rng(seed).random(mask.shape) < keep)


@pytest.mark.parametrize('size_A', [13., 20., 25.])
@pytest.mark.parametrize('wall', [2., 3., 4., 5.])
@pytest.mark.parametrize('more', [{}, dict(cap=.6), dict(cap=.8, keep=.9)])
def test_small_vesicles_are_found_at_coarse_voxels(size_A, wall, more):
    "Of 15.5 nm, and of at least six voxels: their walls are thick for their curvature."
    mask = sphere(max(155./size_A, 6.2), wall, **more)
    found = find_membranes(mask, size_A)
    assert len(found.table) == 1 and found.table[0].n_voxels > .9*mask.sum(), found.dropped


def test_balls_threads_and_halos_are_still_dropped():
    grid = np.indices((50, 50, 50)) - 24.5
    r = np.sqrt((grid**2).sum(0))
    ball = r < 7
    thread = (np.hypot(grid[0], grid[1]) < 2) & (np.abs(grid[2]) < 22)
    halo = np.abs(r - 6.) < 1.5                                         # of a ribosome, 120 Å
    lump = (r < 16) & (np.random.default_rng(0).random(r.shape) < .4)
    for mask in (ball, thread, halo, lump):
        found = find_membranes(mask, 20.)
        assert found.table == () and found.dropped


def test_layers_are_counted():
    scale = Scale(ConnectSettings(), 10., (60, 60, 60))
    sheet = describe_piece(np.argwhere(np.ones((3, 40, 40))) + 5, scale)
    assert count_layers(sheet) == 1
