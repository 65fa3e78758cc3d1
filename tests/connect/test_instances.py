"Ids of other tools: each a membrane of its own, whatever its number; volumes without a voxel size; and why nothing was found."
import numpy as np
import pytest

from cryoseg.base.files import VolumeError
from cryoseg.connect.instances import number_ids
from cryoseg.connect.membranes import find_membranes
from cryoseg.connect.reasons import no_membrane_reason, worth_a_word
from cryoseg.connect.settings import ConnectSettings
from cryoseg.result.records import Edit

SHAPE = (60, 80, 150)


def shell(centre, radius, wall=3.):
    r = np.linalg.norm(np.indices(SHAPE) - np.reshape(centre, (3, 1, 1, 1)), axis=0)
    return np.abs(r - radius) <= wall/2


LEFT, RIGHT = shell((30, 40, 38), 24), shell((30, 40, 100), 28)


@pytest.mark.parametrize('a, b, dtype', [(1, 2, np.uint8), (7, 40_000, np.uint16), (-5, 70_000, np.int32), (-1, 10**12, np.int64),
                                         (3, 2**63 + 5, np.uint64)])
def test_ids_may_be_any_numbers(a, b, dtype):
    labels = np.zeros(SHAPE, dtype)
    labels[LEFT], labels[RIGHT] = a, b
    found = find_membranes(labels, 10., instances=True)
    assert [m.given_id for m in found.table] == [b, a]                 # the right one is larger
    assert [m.n_voxels for m in found.table] == [RIGHT.sum(), LEFT.sum()] and found.membranes.dtype == np.uint16
    assert np.array_equal(found.membranes == 1, labels == b)


def test_numbers_are_the_ids_in_their_order():
    labels = np.array([[[0, 10**15, -3, -3, 7]]])
    numbered = number_ids(labels)
    assert numbered.labels.tolist() == [[[0, 3, 1, 1, 2]]] and numbered.ids.tolist() == [-3, 7, 10**15]
    assert number_ids(0*labels).ids.size == 0
    with pytest.raises(VolumeError, match='integers'): number_ids(labels.astype(float))


def test_touching_ids_stay_apart_and_fragments_of_one_stay_together():
    labels = np.zeros(SHAPE, int)
    labels[shell((30, 40, 40), 24)], labels[shell((30, 40, 88), 24)] = 5, 9     # they touch
    labels[:, :, 36:44] = 0                                                     # and one is torn in two
    found = find_membranes(labels, 10., instances=True)
    assert sorted(m.given_id for m in found.table) == [5, 9]
    for m in found.table: assert np.array_equal(found.membranes == m.id, labels == m.given_id)


def test_what_the_shapes_would_not_join_the_id_joins():
    labels = np.zeros(SHAPE, int)
    labels[10:13, 4:40, 4:40] = 4
    labels[20:56, 60:63, 100:140] = 4
    found = find_membranes(labels, 10., instances=True)
    assert len(found.table) == 1 and found.table[0].n_fragments == 2 and found.table[0].confidence is None
    assert [link.rule for link in found.links if link.taken] == ['given'] and 'one id' in found.table[0].joined
    assert len(find_membranes(labels == 4, 10.).table) == 2


def test_two_closed_bodies_of_one_id_are_two():
    found = find_membranes(8*(LEFT | RIGHT).astype(np.uint8), 10., instances=True)
    assert [m.given_id for m in found.table] == [8, 8]


def test_a_dropped_id_is_named():
    labels = np.zeros(SHAPE, int)
    labels[LEFT] = 1
    labels[10:13, 5:25, 120:135] = 321                                 # too small
    labels[50:52, 70:72, 70:72] = 654                                  # a speck
    found = find_membranes(labels, 10., instances=True)
    assert [m.given_id for m in found.table] == [1] and sorted(d.given_ids for d in found.dropped) == [(321,), (654,)]
    assert all(str(d.given_ids[0]) in d.reason for d in found.dropped)


def test_an_edit_may_join_two_ids():
    labels = np.zeros(SHAPE, int)
    labels[LEFT], labels[RIGHT] = 5, 9
    edit = Edit('join', 620., 400., 300., 720., 400., 300.)
    found = find_membranes(labels, 10., edits=[edit], instances=True)
    assert len(found.table) == 1 and found.unfit == () and found.table[0].given_id == 9


def test_thick_walls_of_ids_that_touch_stay_apart():
    labels = np.zeros(SHAPE, int)
    near = [np.linalg.norm(np.indices(SHAPE) - np.reshape(c, (3, 1, 1, 1)), axis=0) for c in ((30, 40, 38), (30, 40, 97))]
    labels[np.abs(near[0] - 24) < 6], labels[np.abs(near[1] - 26) < 6] = 77, 3
    found = find_membranes(labels, 10., instances=True)
    assert sorted(m.given_id for m in found.table) == [3, 77]
    for m in found.table: assert (labels[found.membranes == m.id] == m.given_id).all() and m.n_voxels > .95*(labels == m.given_id).sum()


def test_ids_in_a_single_slice():
    y, x = np.mgrid[:100, :220]
    labels = np.zeros((1, 100, 220), np.int32)
    for centre, value in ((50, -4), (160, 90_000)):
        labels[0][(np.abs(np.hypot(y - 50, x - centre) - 35) < 1.6) & (np.abs(y - 50) > 12)] = value
    found = find_membranes(labels, 10., instances=True)
    assert sorted(m.given_id for m in found.table) == [-4, 90_000] and all(m.n_fragments == 2 for m in found.table)
    for m in found.table: assert (labels[found.membranes == m.id] == m.given_id).all()


def test_many_ids():
    labels = np.zeros((40, 200, 200), np.int64)
    numbers = np.random.default_rng(0).permutation(10**9 + np.arange(100))
    for k, number in enumerate(numbers): labels[8:11, 2 + 20*(k//10):20 + 20*(k//10), 2 + 20*(k % 10):20 + 20*(k % 10)] = number
    found = find_membranes(labels, 20., instances=True)
    assert sorted(m.given_id for m in found.table) == sorted(numbers.tolist())


# no voxel size

def test_without_a_voxel_size_nothing_is_said_in_angstrom():
    small = np.zeros(SHAPE, bool)
    small[10:13, 5:15, 120:130] = True
    found = find_membranes(LEFT | RIGHT | small, None)
    words = ' '.join([d.reason + d.value + d.limit + d.advice for d in found.dropped] + [m.joined for m in found.table] + [k.reason for k in found.links])
    assert len(found.table) == 2 and found.dropped and 'Å ' not in words.replace('judged in Å', '') and 'nm' not in words and 'voxel' in words
    known = find_membranes(LEFT | RIGHT | small, 10.)
    assert np.array_equal(known.membranes, found.membranes)
    for one, other in zip(known.fragments, found.fragments): assert one.centre_A == pytest.approx([10*v for v in other.centre_A])
    assert known.table[0].label_thickness_A == pytest.approx(10*found.table[0].label_thickness_A)


def test_small_rings_of_a_picture_are_kept():
    y, x = np.mgrid[:120, :160]
    picture = (np.abs(np.hypot(y - 40, x - 40) - 8) < 1.6) | (np.abs(np.hypot(y - 60, x - 100) - 30) < 1.6)
    picture |= (np.abs(y - 110) < 2) & (x > 20) & (x < 34)             # a dash of 14 pixels
    found = find_membranes(picture[None], None)
    assert len(found.table) == 2 and [d.size for d in found.dropped if d.size] == [12.] and '30.0 voxels' in found.dropped[0].reason


def test_edits_without_a_voxel_size_are_in_voxels():
    edit = Edit('join', 62., 40., 30., 72., 40., 30.)
    found = find_membranes(LEFT | RIGHT, None, edits=[edit, Edit('join', 0., 0., 0., 1., 1., 1.)])
    assert len(found.table) == 1 and len(found.unfit) == 1 and 'voxels' in found.unfit[0] and 'Å' not in found.unfit[0]


# why nothing

@pytest.mark.parametrize('make, words', [
    (lambda m: 0*m, ('nothing is labelled', '--threshold')),
    (lambda m: 3*LEFT.astype(np.uint8), ('no voxel has the value 1', '3 (', '--membrane-values')),
    (lambda m: m + np.random.default_rng(0).random(SHAPE) > .99, ('specks', 'min_fragment_A2')),
    (lambda m: (m + 1).astype(np.uint8), ('100.00%', 'more than half of the volume')),
    (lambda m: m + (np.indices(SHAPE).sum(0) == 90), ('1', )),
])
def test_no_membranes_always_says_why(make, words):
    labels = make(np.zeros(SHAPE, np.uint8))
    found = find_membranes(labels, 10.)
    if found.table: assert no_membrane_reason(found, labels) == ''
    else:
        told = no_membrane_reason(found, labels)
        assert told.startswith('No membranes') and 'What to try' in told and all(w in told for w in words), told


def test_what_is_as_large_as_a_membrane_is_worth_a_word():
    blob = np.linalg.norm(np.indices(SHAPE) - np.reshape((30, 40, 120), (3, 1, 1, 1)), axis=0) < 12
    found = find_membranes(LEFT | blob, 10., ConnectSettings())
    said = worth_a_word(found)
    assert len(found.table) == 1 and (len(said) == 1) == (blob.sum() >= LEFT.sum())
    lumps = find_membranes(shell((30, 40, 40), 16) | (np.linalg.norm(np.indices(SHAPE) - np.reshape((30, 40, 110), (3, 1, 1, 1)), axis=0) < 14), 10.)
    d, = worth_a_word(lumps)
    assert d.option and d.setting and d.value and d.limit and d.advice and d.value in d.reason and d.limit in d.reason
