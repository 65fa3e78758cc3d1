"The walker and its centre lines: known shapes come out as they are, and nothing depends on where or how the image lies."
import numpy as np
import pytest
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize

from cryoseg.base.files import VolumeError
from cryoseg.connect.settings import TraceSettings
from cryoseg.connect.trace import (MOVES, FragmentLine, centre_line, curve_frame, field_of_view, local_reward, resample,
                                   signed_curvature, split_at_kinks, trace_slice, walk_mask)

Y, X = np.mgrid[:140, :150]


def ring(radius=45., wall=4., centre=(70, 72)):
    "A ring as a mask."
    return np.abs(np.hypot(Y - centre[0], X - centre[1]) - radius) < wall/2


def circle(n, radius=30., turns=1., centre=(40., 40.)):
    "Points on a circle that is walked from x towards y, the last joins the first after whole turns."
    t = 2*np.pi*turns*np.arange(n)/n
    return np.array(centre) + radius*np.column_stack([np.sin(t), np.cos(t)])


def test_field_of_view_is_cut_at_the_border():
    assert field_of_view(5, 5, 2, (20, 20)) == (3, 8, 3, 8)
    assert field_of_view(0, 19, 2, (20, 20)) == (0, 3, 17, 20)


def test_plain_reward_counts_what_is_new():
    new = np.random.default_rng(0).random((12, 12)) < .4
    for y, x in ((5, 5), (0, 0), (11, 3)):
        y0, y1, x0, x1 = field_of_view(y, x, 3, new.shape)
        assert local_reward(new, y, x, 3, (0., 0.)) == new[y0:y1, x0:x1].sum()             # no heading yet
        assert local_reward(new, y, x, 3, (0., 1.), 0.) == new[y0:y1, x0:x1].sum()         # as in the paper


def test_reward_ahead_follows_the_formula():
    h = np.array([.6, .8])
    for dy, dx in ((2, 1), (-1, 2), (0, -3), (3, 4)):
        new = np.zeros((15, 15), bool)
        new[7 + dy, 7 + dx] = True
        expected = max(0., (h @ (dy, dx))/np.hypot(dy, dx))**12
        assert local_reward(new, 7, 7, 4, (.6, .8), 12.) == pytest.approx(expected)


def test_moves_are_the_eight_neighbours():
    assert {tuple(m) for m in MOVES} == {(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)} - {(0, 0)}


@pytest.mark.parametrize('shape', [(0, 0), (1, 1), (30, 40)])
def test_nothing_gives_nothing(shape):
    assert walk_mask(np.zeros(shape)) == [] and trace_slice(np.zeros(shape)) == []


def test_a_volume_is_refused():
    for work in (walk_mask, trace_slice):
        with pytest.raises(VolumeError, match='one slice'): work(np.zeros((3, 4, 5)))


def test_walks_stay_on_the_membrane_pixel_by_pixel():
    mask = ring() | ring(25., 3., (40, 110))
    for path in walk_mask(mask):
        assert mask[tuple(path.T)].all() and len({*map(tuple, path)}) == len(path)
        assert (np.abs(np.diff(path, axis=0)).max(1) == 1).all()


def test_walks_cover_the_skeleton():
    mask = ring() | (np.abs(Y - X*.4 - 20) < 2)
    skeleton = np.argwhere(skeletonize(mask))
    distance = cKDTree(np.vstack(walk_mask(mask))).query(skeleton)[0]
    assert (distance <= 2).mean() > .98


def test_specks_are_dropped():
    mask = np.zeros((40, 40))
    mask[10:12, 10:15] = 1                              # ten pixels; the least is twelve
    assert walk_mask(mask) == []
    mask[10:13, 10:30] = 1
    assert len(walk_mask(mask)) == 1 and walk_mask(mask, TraceSettings(min_pixels=70)) == []


@pytest.mark.parametrize('wall', [3, 5, 8])
def test_a_ring_is_one_closed_line(wall):
    found, = trace_slice(ring(45., wall))
    radius = np.hypot(*(found.points - (70, 72)).T)
    assert found.closed and abs(found.length - 2*np.pi*45) < 4
    assert abs(radius.mean() - 45) < .2 and np.abs(radius - 45).max() < 1 and abs(np.median(found.width) - wall) < .7


@pytest.mark.parametrize('turn', [lambda m: np.rot90(m), lambda m: m[::-1], lambda m: m.T, lambda m: np.pad(m, 9)])
def test_nothing_depends_on_how_the_image_lies(turn):
    mask = ring() & (X > 50)
    here, there = trace_slice(mask), trace_slice(turn(mask))
    assert not any(line.closed for line in (*here, *there))
    assert sum(line.length for line in here) == pytest.approx(sum(line.length for line in there), rel=.1)       # where a walk begins may differ


def test_lines_come_longest_first_and_short_ones_not_at_all():
    mask = (np.abs(Y - 20) < 2) & (X < 60) | (np.abs(Y - 60) < 2) & (X < 120) | (np.abs(Y - 100) < 2) & (X < 20)
    lengths = [f.length for f in trace_slice(mask)]
    assert len(lengths) == 3 and lengths == sorted(lengths, reverse=True)
    assert len(trace_slice(mask, TraceSettings(min_length=40.))) == 2


def test_resample_is_even_and_keeps_the_ends():
    p = circle(40, turns=.7)
    even = resample(p)
    steps = np.linalg.norm(np.diff(even, axis=0), axis=1)
    assert np.allclose(even[[0, -1]], p[[0, -1]]) and np.abs(steps - 1).max() < .03
    assert np.allclose(resample(even), even, atol=.02)
    closed = resample(circle(400), closed=True)
    assert len(closed) == round(2*np.pi*30) and abs(np.linalg.norm(closed[0] - closed[-1]) - 1) < .03


def test_frame_of_a_circle():
    smooth, tangent, kappa = curve_frame(circle(188), closed=True)
    assert np.allclose(kappa, 1/30, rtol=.02) and np.allclose(np.linalg.norm(tangent, axis=1), 1)
    assert np.abs((tangent*(smooth - 40)).sum(1)).max() < 1e-6         # across the radius
    assert np.allclose(curve_frame(circle(188)[::-1], closed=True).curvature, -1/30, rtol=.02)    # walked backwards
    turned = curve_frame(circle(188)[:, ::-1], closed=True)            # mirrored
    assert np.allclose(turned.curvature, -kappa)


def test_frame_is_exact_for_a_parabola():
    t = np.arange(30.)
    line = np.column_stack([.02*t**2, t])
    smooth, _, kappa = curve_frame(line)
    assert np.allclose(smooth, line) and np.allclose(kappa, .04/(1 + (.04*t)**2)**1.5)    # at the ends too
    assert signed_curvature(np.array([0., 2.]), np.array([4., 0.]), 2.) == 1.


def test_two_points_are_a_straight_line():
    points, tangent, kappa = curve_frame(np.array([[0., 0.], [3., 4.]]))
    assert np.allclose(tangent, [.6, .8]) and not kappa.any() and len(points) == 2


def test_a_line_off_the_middle_is_moved_there():
    mask = (np.abs(Y - 60) <= 2).astype(np.float32)
    walked = np.column_stack([np.full(80, 61), np.arange(30, 110)])
    found = centre_line(walked, mask)
    assert isinstance(found, FragmentLine)
    assert np.abs(found.points[:, 0] - 60).max() < .3 and np.abs(found.width - 5).max() < .6


def test_kinks():
    corner = np.vstack([np.c_[np.zeros(20), np.arange(20.)], np.c_[np.arange(1, 20.), np.full(19, 19.)]])
    assert split_at_kinks(corner) == [(0, 19), (19, 39)]
    assert split_at_kinks(corner, max_bend_deg=100.) == [(0, 39)]
    assert split_at_kinks(corner[:8]) == [(0, 8)] and split_at_kinks(circle(188, turns=.9)) == [(0, 188)]
    corners = trace_slice((np.abs(Y - 30) < 2) & (X > 20) & (X < 90) | (np.abs(X - 90) < 2) & (Y > 30) & (Y < 100))
    assert len(corners) == 2 and not any(f.closed for f in corners)
