"Slabs: distances are right, what lies flat is ignored, the wedge is empty, a seed is all that decides."
from dataclasses import replace

import numpy as np
import pytest

from cryoseg.phantom.imaging import missing_wedge
from cryoseg.segment.settings import SlabSettings
from cryoseg.segment.noise import IGNORE
from cryoseg.segment.slabs import add_globules, draw_slab, place_shells, shell_distance, simulate_slab, wedge_filter

SMALL = SlabSettings(shape=(32, 72, 72), n_vesicles=(2, 4), radius=(12., 20.))
BARE = replace(SMALL, n_proteins=(0, 1), n_ribosomes=(0, 1), double=0., leaflets=0.)


def whole(shell, shape):
    "Indices of the box, relative to nothing."
    return np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in shell.box], indexing='ij'))


def test_distance_and_normal_of_a_sphere_are_exact():
    centre = np.array([20., 21., 22.])
    shell = shell_distance((40, 40, 40), centre, (9., 9., 9.), np.eye(3, dtype=np.float32))
    offset = whole(shell, (40, 40, 40)) - centre[:, None, None, None]
    r = np.sqrt((offset**2).sum(0))
    far = r > 1
    np.testing.assert_allclose(shell.distance[far], r[far] - 9, atol=1e-3)
    np.testing.assert_allclose(shell.normal_z[far], np.abs(offset[0])[far]/r[far], atol=1e-3)


def test_box_is_cut_at_the_edges():
    shell = shell_distance((20, 20, 20), (0., 10., 19.), (5., 5., 5.), np.eye(3, dtype=np.float32))
    assert shell.distance.shape == tuple(s.stop - s.start for s in shell.box) and shell.box[0].start == 0 and shell.box[2].stop == 20


def test_turning_an_ellipsoid_turns_its_distance():
    swap = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], np.float32)
    one = shell_distance((60,)*3, (30., 30., 30.), (8., 11., 15.), np.eye(3, dtype=np.float32))
    two = shell_distance((60,)*3, (30., 30., 30.), (8., 11., 15.), swap)
    np.testing.assert_allclose(two.distance, one.distance.transpose(2, 1, 0), atol=1e-4)
    assert one.distance[tuple(30 - s.start for s in one.box)] < 0
    assert one.distance[30 - one.box[0].start, 30 - one.box[1].start, 45 - one.box[2].start] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize('seed', range(5))
def test_shells_keep_apart(seed):
    placed = place_shells(np.random.default_rng(seed), SMALL)
    assert placed
    for i, a in enumerate(placed):
        assert 12 <= a.radius <= 20 and (a.centre >= 0).all() and (a.centre <= SMALL.shape).all()
        for b in placed[:i]: assert np.linalg.norm(a.centre - b.centre) > a.radius + b.radius + 6


def test_globules_have_their_volume_and_leave_labels_alone():
    density, labels = np.zeros((30, 30, 30), np.float32), np.zeros((30, 30, 30), np.uint8)
    labels[:, :, :10] = 1
    add_globules(density, labels, np.array([[15., 15., 18.], [15., 15., 2.], [-50., 0., 0.]]), 5., 1., 2, np.random.default_rng(0))
    assert not density[labels == 1].any() and (labels[:, :, :10] == 1).all() and (labels[density > 0] == 2).all()
    volume = 4/3*np.pi*5**3
    assert .8**3*volume*.9 < (labels == 2).sum() < 1.2**3*volume*1.1 and .8 <= density.max() <= 1.2
    before = labels.copy()
    add_globules(density, labels, np.array([[15., 25., 25.]]), 3., 1., None, np.random.default_rng(0))
    np.testing.assert_array_equal(labels, before)


def test_what_lies_flat_is_ignored():
    for seed in range(4):
        density, labels = draw_slab(np.random.default_rng(seed), BARE)
        assert set(np.unique(labels)) <= {0, 1, IGNORE} and density.min() >= 0 and density.dtype == np.float32
        assert (labels == IGNORE).any() and (labels == 1).sum() > 2*(labels == IGNORE).sum()
        everything = draw_slab(np.random.default_rng(seed), replace(BARE, visible=1.)).labels
        np.testing.assert_array_equal(everything == 1, (labels == 1) | (labels == IGNORE))
    assert 2 in draw_slab(np.random.default_rng(0), replace(BARE, n_proteins=(20, 21))).labels


def test_cups_and_double_membranes():
    plain = draw_slab(np.random.default_rng(0), replace(BARE, n_vesicles=(1, 2)))
    cup = draw_slab(np.random.default_rng(0), replace(BARE, n_vesicles=(1, 2), open=1.))
    assert .5*(plain.labels > 0).sum() < (cup.labels > 0).sum() < (plain.labels > 0).sum()           # the lesser part is cut off
    large = replace(BARE, n_vesicles=(1, 2), radius=(28., 28.))
    one, two = (draw_slab(np.random.default_rng(0), replace(large, double=d)) for d in (0., 1.))
    assert (two.labels > 0).sum() > 1.3*(one.labels > 0).sum()


def test_the_wedge_is_that_of_the_phantom():
    shape = (24, 10, 32)
    passes = wedge_filter(shape, 60) > 0
    np.testing.assert_array_equal(passes, ~missing_wedge(shape, 60)[:, :, :17])
    assert wedge_filter(shape, 70).astype(bool).sum() > passes.sum()
    flat, lifted = wedge_filter(shape, 60), wedge_filter(shape, 60, .5)
    ratio = lifted[0, 0, 1:]/flat[0, 0, 1:]
    assert (np.diff(ratio) > 0).all() and ratio[3] == pytest.approx((4/32 + .02)**.5, rel=1e-4)     # the power of the frequency
    assert (np.diff(flat[0, 0]) <= 0).all()                                                         # fine detail is damped


def test_slices_are_standardised_and_empty_in_the_wedge():
    narrow = replace(SMALL, tilt_deg=(50., 50.))
    slices, labels = simulate_slab(narrow, 3)
    assert slices.dtype == np.float16 and slices.shape == labels.shape == SMALL.shape
    volume = slices.astype(float)
    assert volume.mean() == pytest.approx(0, abs=.01) and volume.std() == pytest.approx(1, abs=.01)
    power = np.abs(np.fft.fftn(volume))**2
    assert power[missing_wedge(SMALL.shape, 51)].sum() < 1e-4*power.sum()
    again, other = simulate_slab(narrow, 3), simulate_slab(narrow, 4)
    np.testing.assert_array_equal(again.slices, slices)
    assert (other.labels != labels).any()


def test_contrast_to_noise_is_met():
    "Membranes are dark, the more so the higher the CNR."
    means = []
    for cnr in (.5, 4.):
        slices, labels = simulate_slab(replace(BARE, cnr=(cnr, cnr)), 1)
        means.append(slices[labels == 0].mean(dtype=float) - slices[labels == 1].mean(dtype=float))
    assert 0 < means[0] < .6*means[1]
