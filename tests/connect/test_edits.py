"Decisions made by hand: by place, one after the other, and what they do not touch keeps its id."
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from cryoseg.base.files import VolumeError
from cryoseg.connect.edits import Draft, Places, centre_voxel, correct, decide, edits_from_links, fragment_at, groups_of, joined_pairs, nearer_along
from cryoseg.connect.edits import number_voxels, place_A
from cryoseg.connect.membranes import find_membranes
from cryoseg.connect.settings import ConnectSettings
from cryoseg.result.records import Edit, Link

SIZE_A = 10.


def on(one, id, k):
    "A place on a membrane, x, y, z in Å: its k-th voxel."
    z, y, x = np.argwhere(one.membranes == id)[k]
    return SIZE_A*x, SIZE_A*y, SIZE_A*z


def partition(one): return {m.id: frozenset(map(tuple, np.argwhere(one.membranes == m.id))) for m in one.table}


# places

def test_the_centre_is_one_of_the_voxels():
    ring = np.argwhere(np.abs(np.hypot(*np.mgrid[-30:31, -30:31]) - 20)[None] < 1.5)
    assert (centre_voxel(ring) == ring).all(1).any()
    assert centre_voxel(np.array([(0, 0, 0), (1, 1, 1), (2, 2, 2)])).tolist() == [1, 1, 1]


IDS = number_voxels([np.array([(2, 5, x) for x in range(5, 15)]), np.array([(2, 5, x) for x in range(20, 30)])], (5, 11, 40))


def draft(ids=IDS, n=2, links=()): return Draft(ids, n, list(links), Places(10.))


@pytest.mark.parametrize('place_A, number', [((100, 50, 20), 1), ((100, 78, 20), 1), ((100, 82, 20), None), ((250, 50, 45), 2), ((164, 50, 20), 1), ((171, 50, 20), 2), ((20, 50, 20), 1),
                                             ((-500, 50, 20), None), ((5000, 5000, 5000), None), ((171, 50, 1e9), None)])
def test_the_fragment_at_a_place(place_A, number):
    assert fragment_at(place_A, IDS, 10., 3.) == number


def test_an_edit_needs_two_fragments():
    edits = [Edit('join', 100, 50, 20, 250, 50, 20), Edit('cut', 100, 50, 20, 120, 50, 20, fragment_a=3, fragment_b=8), Edit('cut', 100, 50, 20, 0, 0, 900),
             Edit('melt', 100, 50, 20, 250, 50, 20), Edit('cut', 100, 50, 20), Edit('drop', 0, 0, 900), Edit('split', 100, 50, 20, 110, 50, 20)]
    done = correct(edits, draft())
    assert joined_pairs(done.links) == {frozenset((1, 2)): True} and len(done.unfit) == 6
    assert 'fragments 3 and 8 then' in done.unfit[0] and 'both places are on fragment 1' in done.unfit[0]
    assert 'second place' in done.unfit[1] and 'not known; take join, cut, split, drop, keep, rename, anchor, region' in done.unfit[2] and 'nowhere' in done.unfit[3]
    assert done.unfit[4].startswith('drop at (0, 0, 900) Å was not applied: no fragment lies within 30 Å') and 'fewer than 12 voxels' in done.unfit[5]


@pytest.mark.filterwarnings('error')
def test_numbers_beyond_all_bounds_are_nowhere():
    done = correct([Edit('drop', 1e300, -1e300, 20.), Edit('cut', 100, 50, 20, 1e19, 50, 20)], draft())
    assert len(done.unfit) == 2 and all(len(said) < 200 for said in done.unfit)


def test_lengths_are_voxels_where_no_size_is_known():
    done = correct([Edit('cut', 10, 5, 2, 0, 0, 90)], Draft(IDS, 2, [], Places(None)))
    assert 'within 3 voxels' in done.unfit[0] and 'Å' not in done.unfit[0]


# joins and cuts

def test_the_last_edit_counts():
    edits = [Edit(kind, 100, 50, 20, 250, 50, 20) for kind in ('join', 'cut')]
    done = correct(edits, draft())
    assert joined_pairs(done.links) == {frozenset((1, 2)): False} and len(done.groups()) == 2 and not done.unfit


LINKS = [Link(1, 1, 1, 2, 2, probability=.4), Link(2, 1, 2, 2, 1, probability=.6), Link(3, 2, 1, 3, 1, probability=.7, taken=True), Link(4, 2, 2, 3, 2, probability=.2, taken=True)]


def test_a_cut_refuses_all_links_and_a_join_takes_the_likeliest():
    links = decide(LINKS, {frozenset((1, 2)): True, frozenset((2, 3)): False}, IDS, 10.)
    assert [link.taken for link in links] == [False, True, False, False]
    assert [link.rule for link in links] == ['', 'user', 'user', 'user'] and links[1].probability == .6
    assert (links[1].reason, links[2].reason) == ('joined by hand', 'cut by hand')


def test_agreeing_changes_nothing():
    assert decide(LINKS, {frozenset((1, 2)): False, frozenset((2, 3)): True}, IDS, 10.) == LINKS


def test_a_new_link_joins_what_was_no_candidate():
    link, = decide([], {frozenset((1, 2)): True}, IDS, 10.)
    assert link.taken and link.probability == 1 and link.distance_A == 60 and (link.x_A, link.y_A, link.z_A) == (170, 50, 20)


@given(st.integers(0, 12), st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12), st.booleans()), max_size=20))
def test_groups_hold_every_fragment_once(n, pairs):
    links = [Link(k, min(a, n), None, min(b, n), None, taken=taken) for k, (a, b, taken) in enumerate(pairs) if n]
    groups = groups_of(n, links)
    assert sorted(int(k) for group in groups for k in group) == list(range(1, n + 1))
    home = {int(k): i for i, group in enumerate(groups) for k in group}
    assert all(home[link.fragment_a] == home[link.fragment_b] for link in links if link.taken)


def test_tables_become_edits(found):
    link = next(link for link in found.links if link.taken)
    changed = [replace(k, taken=False) if k == link else k for k in found.links]
    edit, = edits_from_links(changed, found.links, found.fragments)
    assert edit.kind == 'cut' and {edit.fragment_a, edit.fragment_b} == link.pair
    assert edits_from_links(found.links, found.links, found.fragments) == ()
    undo, = edits_from_links(found.links, changed, found.fragments)
    assert undo.kind == 'join'
    assert joined_pairs(LINKS) == {frozenset((1, 2)): False, frozenset((2, 3)): True}


@pytest.mark.parametrize('pair, text', [((1, 99), '1 and 99'), ((0, 1), '0 and 1'), ((1, 1), 'itself')])
def test_numbers_that_are_not_there(found, pair, text):
    with pytest.raises(VolumeError, match=text): edits_from_links([Link(1, pair[0], None, pair[1], None)], [], found.fragments)


def test_an_edit_outlives_new_numbers(scene, found):
    "Made on one volume, it is applied to the same vesicle where another, larger one has taken its numbers."
    cut = next(link for link in found.links if link.taken)
    edits = edits_from_links([replace(cut, taken=False)], [cut], found.fragments)
    alone = find_membranes(scene[0], SIZE_A, edits=edits)
    assert len(alone.table) == 3 and alone.unfit == () and max(m.confidence or 0 for m in alone.table) == 0
    mask = np.pad(scene[0], ((0, 0), (0, 90), (0, 0)))
    distance = np.linalg.norm(np.indices(mask.shape) - np.reshape((30, 142, 85), (3, 1, 1, 1)), axis=0)
    mask |= np.abs(distance - 42) <= 1.5                    # a body of its own, larger than all others
    plain, edited = (find_membranes(mask, SIZE_A, edits=e) for e in ((), edits))
    by_hand = [link for link in edited.links if link.rule == 'user']
    assert len(edited.table) == len(plain.table) + 1 and edited.unfit == () and len(by_hand) == 1
    assert by_hand[0].pair != cut.pair                      # other numbers, the same place
    assert by_hand[0].y_A == pytest.approx(cut.y_A, abs=20)


def test_an_edit_that_fits_nothing_is_said(scene, found):
    cut = next(link for link in found.links if link.taken)
    edits = edits_from_links([replace(cut, taken=False)], [cut], found.fragments)
    mask = scene[0].copy()
    mask[:, :, :85] = False                                 # that vesicle is gone
    other = find_membranes(mask, SIZE_A, edits=edits)
    assert len(other.unfit) == 1 and f'{min(cut.pair)} and {max(cut.pair)} then' in other.unfit[0]
    assert not any(link.rule == 'user' for link in other.links)


def test_a_cut_that_parts_nothing_says_so():
    "Fragments 1 and 2 are held together by 3."
    ids = number_voxels([np.array([(0, y, x) for x in range(9)]) for y in (2, 8, 14)], (1, 20, 20))
    links = [Link(k, a, None, b, None, 40., 10.*y, 0., probability=.9, taken=True) for k, (a, b, y) in enumerate(((1, 2, 5), (2, 3, 11), (1, 3, 8)), 1)]
    cut = Edit('cut', 40, 20, 0, 40, 80, 0)
    done = correct([cut], draft(ids, 3, links))
    assert len(done.groups()) == 1 and len(done.unfit) == 1 and 'a split parts them' in done.unfit[0]
    parted = correct([replace(cut, kind='split')], draft(ids, 3, links))
    assert len(parted.groups()) == 2 and not parted.unfit and sum(link.taken for link in parted.links) == 1


# splits

@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_parts_are_nearer_to_their_own_place(seed):
    "On a straight bar the way along it is the straight one."
    rng = np.random.default_rng(seed)
    bar = np.array([(0, 0, x) for x in range(rng.integers(5, 60))])
    a, b = rng.choice(len(bar), 2, replace=False)
    far = nearer_along(rng.permutation(bar), bar[a], bar[b])
    x = np.arange(len(bar))
    assert far.sum() in (np.sum(np.abs(x - b) < np.abs(x - a)), np.sum(np.abs(x - b) <= np.abs(x - a)))


def test_a_gap_within_a_fragment_is_no_hindrance():
    dashes = np.array([(0, 0, x) for x in range(60) if x % 10 < 7])
    far = nearer_along(dashes, (0, 0, 0), (0, 0, 59))
    assert dashes[far, 2].min() > dashes[~far, 2].max()


def test_a_split_gives_up_the_least_probable_links():
    chain = number_voxels([np.array([(0, 10, x) for x in range(16*k, 16*k + 15)]) for k in range(4)], (1, 20, 64))
    links = [Link(k, k, None, k + 1, None, 160.*k, 100., 0., probability=p, taken=True) for k, p in ((1, .9), (2, .6), (3, .95))]
    done = correct([Edit('split', 50, 100, 0, 600, 100, 0)], draft(chain, 4, links))
    assert [g.tolist() for g in done.groups()] == [[1, 2], [3, 4]] and done.links[1].rule == 'user'
    apart = correct([Edit('split', 50, 100, 0, 600, 100, 0)]*2, draft(chain, 4, links))
    assert apart.links == done.links                        # what is apart needs no second cut


def test_halves_get_the_links_that_are_near_them():
    ids = number_voxels([np.array([(0, y, x) for y in (10, 11) for x in range(60)]), np.array([(0, 16, x) for x in range(20)]), np.array([(0, 16, x) for x in range(40, 60)])], (1, 20, 60))
    links = [Link(1, 1, None, 2, None, 100., 130., 0., probability=.9, taken=True), Link(2, 3, None, 1, None, 500., 130., 0., probability=.9, taken=True)]
    done = correct([Edit('split', 20, 100, 0, 580, 100, 0)], draft(ids, 3, links))
    assert [g.tolist() for g in done.groups()] == [[1, 2], [3, 4]] and done.parents == [1] and not done.unfit
    assert np.array_equal(ids[0, 10], np.ones(60)) and set(done.fragment_ids[0, 10]) == {1, 4}      # the first volume is as it was


def test_what_one_piece_held_is_two_membranes(scene, found):
    "The whole vesicle is one fragment; nobody but a person can want it in two."
    other = next(m.id for m in found.table if m.n_fragments == 1)
    edited = find_membranes(scene[0], SIZE_A, edits=[Edit('split', *on(found, other, 0), *on(found, other, -1))])
    assert edited.unfit == () and len(edited.table) == 3 and len(edited.fragments) == len(found.fragments) + 1
    before, after = partition(found), partition(edited)
    assert after[3] | after[4] == before[other] and not after[3] & after[4] and other not in after
    assert {m.id: m.n_voxels for m in edited.table} == {id: len(p) for id, p in after.items()}
    assert 'divided by hand' in edited.table[-1].joined
    assert [f.fragment_id for f in edited.fragments] == list(range(1, len(edited.fragments) + 1))


def test_a_ring_and_a_line_are_divided():
    y, x = np.mgrid[-100:100, -100:100]
    ring = (np.abs(np.hypot(y, x) - 60) < 2)[None]
    one = find_membranes(ring, SIZE_A, edits=[Edit('split', 1600, 1000, 0, 400, 1000, 0)])
    assert one.unfit == () and len(one.table) == 2 and (one.membranes > 0).sum() > .99*ring.sum()
    assert abs(one.table[0].n_voxels - one.table[1].n_voxels) < 20
    bar = np.zeros((1, 60, 300), bool)
    bar[:, 28:31, 10:290] = True
    edits = [Edit('split', 200, 290, 0, 1000, 290, 0), Edit('split', 1500, 290, 0, 2700, 290, 0)]
    three = find_membranes(bar, SIZE_A, edits=edits)
    assert three.unfit == () and len(three.table) == 3
    cuts = sorted(np.flatnonzero(three.membranes[0, 29] == m.id).min() for m in three.table)
    assert cuts[1] == pytest.approx(60, abs=3) and cuts[2] == pytest.approx(210, abs=3)


# whole groups

def test_drop_and_keep(scene, found):
    place = on(found, 1, 0)
    edited = find_membranes(scene[0], SIZE_A, edits=[Edit('drop', *place)])
    assert [m.id for m in edited.table] == [2] and any(d.reason == 'dropped by hand' for d in edited.dropped)
    assert np.array_equal(edited.membranes == 2, found.membranes == 2)
    back = find_membranes(scene[0], SIZE_A, edits=[Edit('drop', *place), Edit('keep', *place)])
    assert partition(back) == partition(found)
    strict = ConnectSettings(min_area_A2=800_000.)
    none = find_membranes(scene[0], SIZE_A, strict)
    kept = find_membranes(scene[0], SIZE_A, strict, edits=[Edit('keep', *on(found, 2, 0))])
    assert len(kept.table) == len(none.table) + 1 and kept.table[-1].id == len(none.table) + 1
    assert partition(kept)[kept.table[-1].id] == partition(found)[2]


# ids

def test_ids_stay(scene, found):
    "After any decisions, a membrane with the voxels that it had without them has its id, and no other membrane has that id."
    rng = np.random.default_rng(3)
    before = partition(found)
    for n in range(6):
        edits = []
        for kind in rng.choice(['join', 'cut', 'split', 'drop'], n):
            a, b = (on(found, *pick) for pick in zip(rng.choice([1, 2], 2), rng.integers(0, 5000, 2)))
            edits.append(Edit(kind, *a) if kind == 'drop' else Edit(kind, *a, *b))
        edited = find_membranes(scene[0], SIZE_A, edits=edits)
        after = partition(edited)
        assert [m.id for m in edited.table] == sorted(after) and len(after) == len(edited.table)
        for id, voxels in after.items():
            assert (id in before) == (voxels in before.values())
            if id in before: assert before[id] == voxels
        assert all(m.n_voxels == len(after[m.id]) for m in edited.table)


@pytest.mark.long
def test_later_decisions_take_later_ids(scene, found):
    first = Edit('split', *on(found, 1, 0), *on(found, 1, -1))
    second = Edit('split', *on(found, 2, 0), *on(found, 2, -1))
    one, both = (find_membranes(scene[0], SIZE_A, edits=e) for e in ([first], [first, second]))
    shared = partition(one).keys() & partition(both).keys()
    assert max(partition(one)) in shared and all(partition(one)[id] == partition(both)[id] for id in shared)
    assert min(set(partition(both)) - shared) > max(partition(one))


def test_edits_of_other_stages_change_nothing(scene, found):
    edits = [Edit('rename', *on(found, 1, 0), value='outer'), Edit('anchor', 0, 0, 0, *on(found, 1, 0), value='on'), Edit('region', 0, 0, 0, 9, 9, 0, value='background')]
    same = find_membranes(scene[0], SIZE_A, edits=edits)
    assert same.table == found.table and same.unfit == () and np.array_equal(same.membranes, found.membranes)


def test_thick_walls_keep_their_ids():
    grid = np.indices((60, 100, 170))
    far = [np.linalg.norm(grid - np.reshape(c, (3, 1, 1, 1)), axis=0) for c in ((30, 42, 40), (30, 55, 122))]
    mask = (np.abs(far[0] - 26) <= 6) | (np.abs(far[1] - 28) <= 6)
    plain = find_membranes(mask, SIZE_A)
    assert len(plain.table) == 2
    edited = find_membranes(mask, SIZE_A, edits=[Edit('split', *on(plain, 2, 0), *on(plain, 2, -1))])
    assert edited.unfit == () and [m.id for m in edited.table] == [1, 3, 4]
    assert np.array_equal(edited.membranes == 1, plain.membranes == 1)
    assert all(m.n_voxels == (edited.membranes == m.id).sum() for m in edited.table)


def touching_thick_shells(seed):
    "Three thick shells in a row, some torn by a slot; and their ids."
    rng, grid, ids = np.random.default_rng(seed), np.indices((40, 70, 120)), np.zeros((40, 70, 120), np.uint16)
    for k in range(3):
        centre, radius = (20 + rng.uniform(-3, 3), rng.uniform(18, 52), 20 + 40*k + rng.uniform(-3, 3)), rng.uniform(11, 17)
        wall = np.abs(np.linalg.norm(grid - np.reshape(centre, (3, 1, 1, 1)), axis=0) - radius) <= 5
        if rng.random() < .6: wall &= np.abs(grid[1] - centre[1] - rng.uniform(-5, 5)) > 3.5
        ids[wall & (ids == 0)] = 7*k + 3
    return ids


SMALL = ConnectSettings(min_area_A2=20_000., min_fragment_A2=5_000.)


@pytest.mark.long
@pytest.mark.parametrize('seed, instances', [(4, False), (8, False), (5, True)])
def test_a_click_on_a_thick_wall_means_what_is_seen_there(seed, instances):
    "Also where walls touch: what is dropped is the fragment of that voxel, and no other membrane gains or loses a voxel."
    ids = touching_thick_shells(seed)
    plain = find_membranes(ids if instances else ids > 0, SIZE_A, SMALL, instances=instances)
    before = partition(plain)
    centres = [tuple(int(round(c/SIZE_A)) for c in f.centre_A[::-1]) for f in plain.fragments if f.n_voxels]
    assert [plain.fragment_ids[at] for at in centres] == [f.fragment_id for f in plain.fragments if f.n_voxels]
    for id in sorted(before)[-1:]:
        own, others = np.argwhere(plain.membranes == id), np.argwhere((plain.fragment_ids > 0) & (plain.membranes != id))
        near = own[cKDTree(others).query(own)[0].argmin()].tolist() if len(others) else own[0].tolist()
        edit = Edit('drop', *(SIZE_A*k for k in near[::-1]))
        edited = find_membranes(ids if instances else ids > 0, SIZE_A, SMALL, edits=[edit], instances=instances)
        assert partition(edited) == {key: v for key, v in before.items() if key != id}


@pytest.mark.long
def test_halves_of_a_thick_wall_are_its_whole():
    ids = touching_thick_shells(8)
    plain = find_membranes(ids > 0, SIZE_A, SMALL)
    edited = find_membranes(ids > 0, SIZE_A, SMALL, edits=[Edit('split', *on(plain, 1, 0), *on(plain, 1, -1))])
    assert np.array_equal(edited.membranes > 0, plain.membranes > 0) and edited.unfit == ()
    assert {f.fragment_id: f.n_voxels for f in edited.fragments} == {f.fragment_id: (edited.fragment_ids == f.fragment_id).sum() for f in edited.fragments}


def test_a_split_gives_up_what_a_person_has_joined_last():
    chain = number_voxels([np.array([(0, 10, x) for x in range(16*k, 16*k + 15)]) for k in range(3)], (1, 20, 64))
    links = [Link(k, k, None, k + 1, None, 160.*k, 100., 0., probability=p, taken=taken) for k, p, taken in ((1, .3, False), (2, .8, True))]
    done = correct([Edit('join', 50, 100, 0, 220, 100, 0), Edit('split', 50, 100, 0, 400, 100, 0)], draft(chain, 3, links))
    assert [g.tolist() for g in done.groups()] == [[1, 2], [3]]


def test_what_was_dropped_stays_dropped_where_it_is_cut(scene, found):
    "The part at the place of a decision keeps it, whatever is divided off, and what is joined to something else loses it."
    pair = next((r.fragment_a, r.fragment_b) for r in found.links if r.taken)
    first, second = (place_A(centre_voxel(np.argwhere(found.fragment_ids == n)), SIZE_A) for n in pair)
    wanted = found.fragments[pair[0] - 1].membrane_id
    other = next(m.id for m in found.table if m.id != wanted)
    for kind, kept in (('drop', False), ('keep', True)):
        edits = [Edit(kind, *first), Edit('cut', *first, *second), Edit('split', *first, *second)]
        done = find_membranes(scene[0], SIZE_A, edits=edits)
        a, b = (done.fragments[n - 1].membrane_id for n in pair)
        assert bool(a) == kept and a != b
    lone = place_A(centre_voxel(np.argwhere(found.membranes == other)), SIZE_A)
    joined = find_membranes(scene[0], SIZE_A, edits=[Edit('drop', *first), Edit('join', *first, *lone)])
    assert len(joined.table) == 1 and not [d for d in joined.dropped if d.reason == 'dropped by hand']
