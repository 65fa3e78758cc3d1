"From labels to membranes: every voxel accounted for, decisions by hand by place, thick walls, one slice."
import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from cryoseg.base.files import VolumeError, VolumeWarning
from cryoseg.base.metrics import adapted_rand_error
from cryoseg.base.scratch import slabs
from cryoseg.connect.joins import Join
from cryoseg.connect.edits import edits_from_links
from cryoseg.connect.membranes import confidence_of, connect_labels, fill_walls
from cryoseg.connect.membranes import find_membranes, is_thick, link_of_join
from cryoseg.connect.membranes import membrane_mask, shape_score, thin_walls
from cryoseg.connect.reasons import why_no_membrane
from cryoseg.connect.pieces import Scale, describe_piece
from cryoseg.connect.settings import ConnectSettings
from cryoseg.result.records import Edit, Link

SHAPE = 60, 100, 170
SIZE_A = 10.


def shell(radius, centre, thickness=3):
    distance = np.linalg.norm(np.indices(SHAPE) - np.reshape(centre, (3, 1, 1, 1)), axis=0)
    return np.abs(distance - radius) <= thickness/2


# labels

def test_masks_and_labels_are_one():
    labels = np.random.default_rng(0).integers(0, 4, (3, 4, 5))
    settings = ConnectSettings(membrane_values=(1, 3))
    assert np.array_equal(membrane_mask(labels, settings), np.isin(labels, (1, 3)))
    assert np.array_equal(membrane_mask(labels.astype(np.uint8) == 2, settings), labels == 2)


@pytest.mark.parametrize('labels', [np.zeros((3, 3), bool), np.zeros((3, 3, 3)), np.zeros((3, 3, 3), complex)])
def test_bad_labels_are_refused(labels):
    with pytest.raises(VolumeError, match='labels have|is no volume'): find_membranes(labels, SIZE_A)


# the whole

def test_the_torn_vesicle_is_one(scene, found):
    assert len(found.table) == 2 and adapted_rand_error(found.membranes, scene[1]) < .02
    whole, torn = sorted(found.table, key=lambda m: m.n_fragments)
    assert (whole.n_fragments, whole.joined, whole.confidence) == (1, '', None)
    taken = [link for link in found.links if link.taken]
    assert torn.n_fragments == len(taken) + 1 and torn.confidence == pytest.approx(np.prod([link.probability for link in taken]))
    assert all(link.reason in torn.joined for link in taken)


def test_every_voxel_is_accounted_for(scene, found):
    assert scene[0].sum() == sum(f.n_voxels for f in found.fragments) + sum(d.n_voxels for d in found.dropped if 'specks' in d.reason)
    ids = found.fragment_ids
    assert np.bincount(ids.ravel())[1:].tolist() == [f.n_voxels for f in found.fragments]
    assert np.bincount(found.membranes.ravel())[1:].tolist() == [m.n_voxels for m in found.table]
    member = np.array([0] + [f.membrane_id for f in found.fragments])
    assert np.array_equal(member[ids], found.membranes) and not (found.membranes > 0)[~scene[0]].any()
    assert (found.membranes.dtype, ids.dtype) == (np.uint16, np.int32)


def test_centres_lie_on_their_fragments(found):
    for f in found.fragments:
        z, y, x = np.round(np.array(f.centre_A[::-1])/SIZE_A).astype(int)
        assert found.fragment_ids[z, y, x] == f.fragment_id


def test_the_largest_comes_first(found):
    sizes = [m.n_voxels for m in found.table]
    assert sizes == sorted(sizes, reverse=True) and [m.id for m in found.table] == [1, 2]
    dropped = [d.n_voxels for d in found.dropped]
    assert dropped == sorted(dropped, reverse=True)


def test_records_hold_what_files_can_hold(found):
    for record in (*found.table, *found.links, *found.fragments, *found.dropped):
        assert all(type(v) in (int, float, str, bool, tuple, type(None)) for v in vars(record).values()), record
    assert all(0 < link.probability < 1 and link.reason and link.z_A is not None for link in found.links)


def test_the_middle_of_a_join_is_in_the_gap(found):
    link = next(link for link in found.links if link.taken)
    assert 430 <= link.y_A <= 570 and np.linalg.norm((link.x_A - 450, link.z_A - 300)) < 400


def test_voxels_may_be_of_any_size(scene, found):
    "Twice the voxel with settings of twice the length: the same membranes."
    lengths = {k: 2*getattr(ConnectSettings(), k) for k in ('epsilon_A', 'min_radius_A', 'tolerance_A', 'bilayer_A', 'max_gap_A')}
    areas = {k: 4*getattr(ConnectSettings(), k) for k in ('min_area_A2', 'min_fragment_A2')}
    again = find_membranes(scene[0], 2*SIZE_A, ConnectSettings(**lengths, **areas))
    assert adapted_rand_error(again.membranes, found.membranes) < .01 and len(again.table) == 2


def test_one_call_is_the_same(scene, found):
    again = connect_labels(scene[0].astype(np.uint8), SIZE_A)
    assert np.array_equal(again.membranes, found.membranes) and again.links == found.links and again.table == found.table


def test_the_seed_reaches_the_pieces(scene, found):
    other = find_membranes(scene[0], SIZE_A, seed=5)
    assert other.table != found.table and adapted_rand_error(other.membranes, found.membranes) < .01


@pytest.mark.parametrize('labels', [np.zeros((4, 5, 6), np.uint8), np.zeros((1, 5, 6), bool)])
def test_nothing_is_nothing(labels):
    nothing = find_membranes(labels, SIZE_A)
    assert nothing.membranes.shape == labels.shape and nothing.membranes.max() == 0
    assert (nothing.table, nothing.links, nothing.fragments, nothing.dropped, nothing.unfit) == ((), (), (), (), ())


def test_blocks_and_dust_are_dropped():
    block = np.zeros((40, 40, 40), bool)
    block[5:35, 5:35, 5:35] = True
    assert connect_labels(block, SIZE_A).table == ()
    dust = np.random.default_rng(0).random((60, 60, 60)) < .01
    assert connect_labels(dust, SIZE_A).dropped[0].n_voxels == dust.sum()


def test_why_a_small_body_is_none():
    scale = Scale(ConnectSettings(min_area_A2=0), SIZE_A, SHAPE)
    small, large = (describe_piece(np.argwhere(shell(r, (30, 50, 85))), scale) for r in (12, 25))
    assert 'closed body of radius 12' in why_no_membrane(small, scale).reason and why_no_membrane(large, scale) is None
    assert 'area' in why_no_membrane(large, Scale(ConnectSettings(min_area_A2=1e7), SIZE_A, SHAPE)).reason
    assert shape_score(large, 0., scale) > shape_score(large, 1., scale) == shape_score(large, 0., scale)/2


def test_confidence_is_a_product():
    a, b = (Link(n, 1, None, 2, None, probability=p, taken=True) for n, p in ((1, .9), (2, .5)))
    assert confidence_of([a, b]) == pytest.approx(.45) and confidence_of([a, replace(b, taken=False)]) == .9
    assert confidence_of([]) is None and confidence_of([replace(a, rule='user')]) is None


# links

def test_links_are_in_angstrom():
    join = Join(0, 4, .5, 3., 'x', 'patch', angles=(10., 20.), curvature_difference=.2, middle=(1, 2, 3))
    link = link_of_join(7, join, 5.)
    assert (link.link_id, link.fragment_a, link.fragment_b, link.distance_A, link.curvature_difference_per_A) == (7, 1, 5, 15., .04)
    assert (link.x_A, link.y_A, link.z_A) == (15., 10., 5.) and link.reason == 'x'


# thick walls

def test_walls_are_filled_from_the_nearest_middle(monkeypatch):
    rng = np.random.default_rng(0)
    mask = rng.random((12, 20, 20)) < .8
    ids = np.where(rng.random(mask.shape) < .02, rng.integers(1, 9, mask.shape), 0)*mask
    distance, nearest = distance_transform_edt(ids == 0, return_indices=True)
    filled = fill_walls(ids, mask, 4.)
    assert np.array_equal(filled > 0, mask & (distance < 4)) and np.array_equal(filled[ids > 0], ids[ids > 0])
    values = ids[tuple(nearest)][filled > 0]
    assert (values == filled[filled > 0]).mean() > .6       # the rest are ties
    assert np.array_equal(fill_walls(0*ids, mask, 4.), 0*ids)
    monkeypatch.setattr('cryoseg.connect.membranes.slabs', lambda shape: slabs(shape, 800))
    assert np.array_equal(fill_walls(ids, mask, 4.), filled)        # ties too are the same in slabs of two slices


def test_a_thick_wall_is_thinned_to_its_middle():
    wall = np.zeros((30, 40, 40), bool)
    wall[8:21] = True
    middle = thin_walls(wall)
    layers = np.flatnonzero(middle.mask[:, 20, 20])
    assert middle.half == 6 and layers.mean() == 14 and len(layers) < 8
    assert is_thick(wall) and not is_thick(middle.mask) and not is_thick(wall[:, :3, :3])


@pytest.fixture(scope='module')
def thick_mask(): return shell(26, (30, 42, 40), 12) | shell(28, (30, 55, 122), 12)


def test_thick_walls_are_told_apart_and_filled(thick_mask):
    thick = find_membranes(thick_mask, SIZE_A)
    assert len(thick.table) == 2 and (thick.membranes > 0).sum() > .99*thick_mask.sum()
    assert [m.n_voxels for m in thick.table] == np.bincount(thick.membranes.ravel())[1:].tolist()
    assert all(m.label_thickness_A == pytest.approx(120, abs=25) for m in thick.table)
    member = np.array([0] + [f.membrane_id for f in thick.fragments])
    assert np.array_equal(member[thick.fragment_ids], thick.membranes)
    assert np.bincount(thick.fragment_ids.ravel())[1:].tolist() == [f.n_voxels for f in thick.fragments]


def test_an_edit_may_lie_on_the_face_of_a_thick_wall(thick_mask):
    edit = Edit('join', 400 + 320, 420, 300, 1220 - 340, 550, 300)         # the faces that look at each other
    thick = find_membranes(thick_mask, SIZE_A, edits=[edit])
    assert thick.unfit == () and len(thick.table) == 1 and 'by hand' in thick.table[0].joined


# one slice

@pytest.fixture(scope='module')
def ring():
    y, x = np.mgrid[-100:100, -100:100]
    return ((np.abs(np.hypot(y, x) - 60) < 2) & (np.abs(y) >= 12))[None]


def test_a_ring_with_two_gaps(ring):
    one = find_membranes(ring, SIZE_A)
    assert len(one.table) == 1 and one.table[0].n_fragments == 2 and [link.taken for link in one.links].count(True) == 2
    assert one.table[0].confidence == pytest.approx(np.prod([link.probability for link in one.links if link.taken]))
    assert all(f.z == 0 and f.centre_z_A == 0 for f in one.fragments) and all(link.z_A == 0 for link in one.links)
    assert all(abs(link.y_A - 1000) < 50 for link in one.links if link.taken)      # the gaps are at y = 100
    assert one.fragment_ids.shape == ring.shape and one.table[0].shape_score is None


def test_a_slice_is_cut_and_joined_by_place(ring):
    one = find_membranes(ring, SIZE_A)
    changed = [replace(link, taken=False) for link in one.links]
    edits = edits_from_links(changed, one.links, one.fragments)
    assert len(edits) == 1 and len(find_membranes(ring, SIZE_A, edits=edits).table) == 2
    bars = np.zeros((1, 300, 300), bool)
    bars[:, 20:23, 10:60] = bars[:, 280:283, 240:290] = True
    by_hand = find_membranes(bars, SIZE_A, edits=[Edit('join', 300, 210, 0, 2600, 2810, 0)])
    assert len(by_hand.table) == 1 and [(link.rule, link.taken) for link in by_hand.links] == [('user', True)]


def test_short_lines_are_dropped():
    bar = np.zeros((1, 60, 60), bool)
    bar[:, 20:23, 10:40] = True
    short = find_membranes(bar, SIZE_A)
    assert short.table == () and 'length' in short.dropped[0].reason and short.dropped[0].n_voxels == short.fragments[0].n_voxels


# what is left out

def everything(found, mask):
    "Whether membranes and what was dropped are all that is labelled, and each dropped fragment is said once."
    kept = sum(m.n_voxels for m in found.table) + sum(d.n_voxels for d in found.dropped)
    numbers = sorted(n for d in found.dropped for n in d.fragments)
    free = [f.fragment_id for f in found.fragments if f.membrane_id == 0]
    return kept == np.count_nonzero(mask) and numbers == free


def test_nothing_that_is_labelled_gets_lost(scene, found, thick_mask, ring):
    assert everything(found, scene[0])
    block = np.zeros(SHAPE, bool)
    block[4:12, 84:92, 4:12] = block[50, 90, 160] = True
    for mask in (thick_mask, thick_mask | block):
        thick = find_membranes(mask, SIZE_A)
        assert everything(thick, mask)
    assert sum(d.n_voxels for d in thick.dropped) >= block.sum()            # whole, not their middles
    rng = np.random.default_rng(0)
    dirty = ring | (rng.random(ring.shape) < .002)
    assert everything(find_membranes(ring, SIZE_A), ring) and everything(find_membranes(dirty, SIZE_A), dirty)


def test_settings_in_A_are_not_ignored_in_silence_where_the_size_is_unknown():
    with pytest.warns(VolumeWarning, match='min_area_A2, min_radius_A cannot be used.*--voxel-size'):
        find_membranes(np.zeros((4, 8, 8), bool), None, ConnectSettings(min_area_A2=5., min_radius_A=9.))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        find_membranes(np.zeros((4, 8, 8), bool), None)
        find_membranes(np.zeros((4, 8, 8), bool), 10., ConnectSettings(min_area_A2=5.))


def test_progress_goes_up_to_the_end_and_changes_nothing():
    z, y, x = np.ogrid[-20:20, -24:24, -24:24]
    mask = abs(np.sqrt(z**2 + y**2 + x**2) - 15) < 1.2
    thick = abs(np.sqrt(z**2 + y**2 + x**2) - 14) < 5
    for labels in (mask, thick):
        told = []
        found, plain = find_membranes(labels, 10., progress=lambda done, total: told.append((done, total))), find_membranes(labels, 10.)
        steps = [done for done, _ in told]
        assert steps[0] == 0 and steps == sorted(steps) and 90 < steps[-1] < 100 and {total for _, total in told} == {100}
        assert (found.membranes == plain.membranes).all() and found.table == plain.table
