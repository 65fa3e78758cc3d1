"What a file of labels means: the values decide, what a file or a user says wins, and an image is refused."
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cryoseg.base.files import VolumeError
from cryoseg.connect.labels import (CLASSES, INSTANCES, MASK, PROBABILITY, check_image, count_values, membrane_values_of,
                                    needs_new_numbers, read_ids, read_labels)
from cryoseg.connect.settings import ConnectSettings
from cryoseg.result.records import NewNumber

SHAPE = 24, 30, 56
Z, Y, X = np.mgrid[:SHAPE[0], :SHAPE[1], :SHAPE[2]]
FIRST = abs(np.sqrt((Z - 12.)**2 + (Y - 14)**2 + (X - 14)**2) - 9) < 1.2
SECOND = abs(np.sqrt((Z - 12.)**2 + (Y - 15)**2 + (X - 40)**2) - 10) < 1.2
BOTH = FIRST | SECOND
SOFT = gaussian_filter(2.*BOTH, .8).clip(0, 1)
NOISE = np.random.default_rng(0).normal(size=SHAPE)


def read(labels, **changes):
    return read_labels(labels, 'given.mrc', ConnectSettings(**changes))


@pytest.mark.parametrize('value, dtype', [(1, 'u1'), (7, 'u1'), (255, 'u1'), (255, 'i2'), (-1, 'i1'), (127, 'i1'), (65535, 'u2'), (-32768, 'i2'),
                                          (70_000, 'i4'), (2**40, 'i8'), (1, 'f4'), (255, 'f4'), (.004, 'f4'), (1, 'bool'), (1, 'f2'), (1, '>i2'), (7, '>f4')])
def test_one_value_is_the_mask_whatever_it_is(value, dtype):
    reading = read((BOTH*np.asarray(value)).astype(dtype))
    assert reading.kind == MASK and np.array_equal(reading.data, BOTH) and reading.data.dtype == bool
    assert (str(value) in reading.said) == (value not in (1, .004))


@pytest.mark.parametrize('labels', [FIRST*1 + SECOND*2, FIRST*-1 + SECOND*2, FIRST*70_000 + SECOND*5, (FIRST*1 + SECOND*2.).astype('f4'),
                                    FIRST*300 + SECOND*40_000, FIRST*np.int64(2)**40 + SECOND*1, (FIRST*255 + SECOND*254).astype('u1')])
def test_several_whole_numbers_are_instances(labels):
    reading = read(labels)
    assert reading.kind == INSTANCES and 'instances' in reading.said and '--membrane-values' in reading.said
    assert np.array_equal(reading.data, labels)


def test_many_instances_are_no_image():
    ids = np.zeros((12, 90, 90), int)
    for k, (y, x) in enumerate(np.ndindex(15, 15), 1): ids[2:10, 6*y:6*y + 4, 6*x:6*x + 4] = k
    assert read(ids).kind == INSTANCES and read(ids.astype('u1')).kind == INSTANCES


@pytest.mark.parametrize('labels, kept', [(1 + BOTH*1, BOTH), (BOTH*1 - 128, BOTH), (np.where(BOTH, 0, 255).astype('u1'), ~BOTH)])
def test_without_a_zero_the_commonest_value_is_background(labels, kept):
    reading = read(labels)
    assert reading.kind == MASK and np.array_equal(reading.data, kept)


@pytest.mark.parametrize('top, dtype', [(1, 'f4'), (1, 'f2'), (255, 'u1'), (255, 'f4'), (65535, 'u2')])
def test_probabilities_count_from_one_half_on(top, dtype):
    labels = (SOFT*top).astype(dtype)
    reading = read(labels)
    assert reading.kind == PROBABILITY and np.array_equal(reading.data, labels >= .5*top) and '--mask-threshold' in reading.said
    assert read(labels, mask_threshold=.9).data.sum() < reading.data.sum()


IMAGES = dict(noise=NOISE, scaled=((NOISE - NOISE.min())/np.ptp(NOISE)), bytes=(40*NOISE + 128).clip(0, 255).astype('u1'), whole=(1000*NOISE).astype('i2'),
              clipped=(NOISE/6 + .5).clip(0, 1), signed=(30*NOISE).astype('i1'), padded=np.where(X < 36, 0, (40*NOISE + 128).clip(0, 255).astype('u1')), logits=8*SOFT - 4)


@pytest.mark.parametrize('name', IMAGES)
def test_an_image_is_no_mask(name):
    for how in (read, lambda image: read_ids(image, 'given.mrc')):
        with pytest.raises(VolumeError, match='given.mrc: is a tomogram or another image.*cryoseg segment') as error: how(IMAGES[name])
        assert '\n' not in str(error.value)
    assert read(IMAGES[name] > 0).kind == MASK


def test_what_a_user_says_wins():
    classes = FIRST*1 + SECOND*3
    assert np.array_equal(read(classes, membrane_values=(3,)).data, SECOND) and '1 (2,522 voxels)' in read(classes, membrane_values=(3,)).said
    assert np.array_equal(read(classes, labels_are='mask').data, BOTH) and np.array_equal(read(classes, labels_are='classes').data, FIRST)
    assert read(BOTH*255, labels_are='instances').kind == INSTANCES
    assert np.array_equal(read(BOTH*.2, labels_are='probability', mask_threshold=.1).data, BOTH)
    with pytest.raises(VolumeError, match='no voxel is 7; it holds 3'): read(classes, membrane_values=(7,))
    with pytest.raises(VolumeError, match='no voxel is 1'): read(classes*2, labels_are='classes')
    with pytest.raises(VolumeError, match='fractions'): read(SOFT, labels_are='instances')
    with pytest.raises(VolumeError, match='no probabilities'): read(BOTH*-1, labels_are='probability')


def test_what_the_file_says_comes_next():
    classes = FIRST*1 + SECOND*2
    reading = read_labels(classes, 'x.am', meaning={0: 'Exterior', 1: 'Lumen', 2: 'Membrane'})
    assert reading.kind == CLASSES and np.array_equal(reading.data, SECOND) and 'left out: 1' in reading.said
    assert read_labels(classes, 'x.am', ConnectSettings(labels_are='instances'), {1: 'membrane'}).kind == INSTANCES


def test_nan_is_background_and_said():
    labels = BOTH*np.float32(1)
    labels[0, 0, :5] = np.nan
    labels[0, 1, 0] = np.inf
    reading = read(labels)
    assert np.array_equal(reading.data, BOTH) and '6 voxels are no numbers' in reading.said


def test_where_nan_is_background_no_value_is():
    labels = np.where(Y < 15, np.nan, 1. + (X > 40))
    reading = read(labels)
    assert reading.kind == INSTANCES and np.array_equal(reading.data, np.nan_to_num(labels)) and 'is the background' not in reading.said
    assert np.array_equal(read(labels, labels_are='mask').data, np.isfinite(labels))


@pytest.mark.parametrize('name, membrane', [
    ('outer membrane', True), ('cytoplasmic membrane', True), ('granule membrane', True), ('lattice', True), ('Slice 3', True), ('outer', True), ('OuterMembrane', True), ('membranes', True),
    ('Lipid bilayer of the cytoplasm', True), ('inner_leaflet', True), ('membrane protein', False), ('lipoproteins', False), ('ice', False), ('Ribosomes', False), ('carbonFilm', False),
    ('non-membrane', False), ('cytoplasm_2', False), ('F-actin', False), ('MICROTUBULE', False)])
def test_names_are_read_as_words(name, membrane):
    assert membrane_values_of({1: name, 2: 'a membrane'}) == ((1, 2) if membrane else (2,))


def test_what_is_left_out_is_told_by_its_name():
    classes = FIRST*1 + SECOND*2
    assert 'left out: 2 gold beads (2,990 voxels)' in read_labels(classes, 'x.am', meaning={1: 'membrane', 2: ' gold\nbeads '}).said
    assert 'left out: 2 rim (2,990 voxels)' in read_labels(classes, 'x.am', ConnectSettings(membrane_values=(1,)), {2: 'rim'}).said


def test_classes_are_whole_numbers_that_occur():
    for changes in (dict(membrane_values=(1,)), dict(labels_are='classes'), dict(labels_are='instances')):
        with pytest.raises(VolumeError, match='holds fractions, so no (classes|ids); say --labels-are'): read(SOFT, **changes)
    with pytest.raises(VolumeError, match='fractions, so no ids'): read_ids(SOFT, 'a', ConnectSettings(labels_are='instances'))
    with pytest.raises(VolumeError, match='no voxel is 0'): read(FIRST*1 + 1, membrane_values=(0,))
    assert 'no voxel is 1' in read(BOTH*0, labels_are='classes').said


def test_fill_values_are_no_ids():
    with pytest.raises(VolumeError, match='image, neither labels'): read(FIRST*1. + SECOND*3.4e38)
    with pytest.raises(VolumeError, match='numbers beyond 2.53, so no ids'): read(FIRST*-1. + SECOND*2.**63, labels_are='instances')
    many = np.arange(3*90*1000).reshape(3, 90, 1000)
    with pytest.raises(VolumeError, match='more than 200,000 values, so no ids'): read(many, labels_are='instances')


@pytest.mark.parametrize('first, second, dtype', [(2**60, 2**60 + 1, 'i8'), (2**63 + 1, 3, 'u8'), (2**64 - 1, 2**64 - 2, 'u8'), (-5, 2**40, 'i8'), (-2**63, 1, 'i8')])
def test_large_ids_are_exact(first, second, dtype):
    labels = np.where(FIRST, np.array(first, dtype), np.where(SECOND, np.array(second, dtype), np.array(0, dtype)))
    reading = read(labels)
    assert reading.data.dtype.kind in 'iu' and np.array_equal(reading.data == first, FIRST) and np.array_equal(reading.data == second, SECOND & ~FIRST)
    if abs(first) < 2**63: assert np.array_equal(read(labels, membrane_values=(first,)).data, FIRST)
    assert np.array_equal(read_ids(labels, 'a').data > 0, BOTH)


def test_an_empty_volume_is_an_empty_mask():
    assert not read(BOTH*0).data.any()
    with pytest.raises(VolumeError, match='no voxel is labelled'): read_ids(BOTH*0, 'a')


def test_ids_that_do_not_fit_are_numbered_anew():
    for labels, table in ((FIRST*70_000 + SECOND*5, [(5, 1), (70_000, 2)]), (FIRST*-1 + SECOND*2, [(-1, 1), (2, 2)]), (FIRST*300 + SECOND*40_000, [(300, 1), (40_000, 2)])):
        reading = read_ids(labels, 'a')
        assert reading.renumbered == tuple(NewNumber(*row) for row in table) and 'renumbered.csv' in reading.said
        for old, new in table: assert np.array_equal(reading.data == new, labels == old)
    few = read_ids(FIRST*1 + SECOND*7, 'a')
    assert few.renumbered == () and set(np.unique(few.data)) == {0, 1, 7}
    assert [needs_new_numbers(ids) for ids in ((1, 2), (200,), (3000,), range(1, 3000), (0, -1), ())] == [False, False, True, False, True, False]


def test_classes_and_probabilities_are_no_single_membranes():
    with pytest.raises(VolumeError, match='probabilities, no single membranes.*cryoseg connect'): read_ids(SOFT, 'p.mrc')
    with pytest.raises(VolumeError, match='classes, no single'): read_ids(FIRST*1 + SECOND*2, 'p.mrc', meaning={1: 'membrane', 2: 'protein'})
    assert np.unique(read_ids(BOTH*1, 'p.mrc', meaning={1: 'membrane'}).data).tolist() == [0, 1]      # one membrane, by its name
    assert np.unique(read_ids(BOTH*.3, 'p.mrc').data).tolist() == [0, 1]


def test_values_are_counted_in_every_dtype():
    for dtype in ('i1', 'u1', 'i2', '>i2', 'u2', 'i4', 'i8', 'f2', 'f4', '>f8'):
        values = count_values((FIRST*3 + SECOND*5).astype(dtype))
        assert values.counts == {3: FIRST.sum(), 5: SECOND.sum()} and (values.low, values.high) == (3, 5) and values.n_zero == (~BOTH).sum()


def test_labels_are_no_image():
    for name in ('noise', 'bytes', 'whole', 'clipped'): check_image(IMAGES[name], 'a.mrc')
    for labels in (BOTH*1, BOTH*255, FIRST*1 + SECOND*2, BOTH*.5):
        with pytest.raises(VolumeError, match='no image.*cryoseg connect a.mrc'): check_image(labels, 'a.mrc')


@pytest.mark.parametrize('labels', [FIRST*1 + SECOND*2, BOTH*1, FIRST*300 + SECOND*5])
def test_labels_a_little_beside_whole_numbers_are_labels(labels):
    "Interpolated by e2proc3d, stored as halves, through a Fourier transform and back."
    off = np.random.default_rng(3).uniform(-4e-4, 4e-4, SHAPE)
    for beside in (labels + off, (labels + off*1e-3).astype('f4'), labels*(1 - 1e-6)):
        assert read(beside).kind == read(labels).kind and np.array_equal(read(beside).data, read(labels).data)
        assert np.array_equal(read_ids(beside, 'a').data, read_ids(labels, 'a').data)


@pytest.mark.parametrize('image', [NOISE*1e-5, NOISE*1e-5 + 3*(X == 5)*(Y == 5)*(Z < 2), NOISE + .01, NOISE*1e-4 + .4])
def test_an_image_of_small_numbers_is_not_rounded(image):
    with pytest.raises(VolumeError, match='tomogram|image'): read(image)


@pytest.mark.parametrize('scale, shift', [(1.08, -.04), (1.05, 0), (1, -.05), (.9, -.02)])
def test_a_probability_may_overshoot(scale, shift):
    "Splines go a little below 0 and above 1."
    reading = read(scale*SOFT + shift)
    assert reading.kind == PROBABILITY and reading.data[FIRST].mean() > .95


def test_ids_and_labels_from_one_are_no_image():
    "Own fragments, own closed membranes, Ilastik's labels: each value in patches, most voxels of one value."
    thirds = FIRST*1 + SECOND*2 + ((Z - 12)**2 + (Y - 14)**2 + (X - 14)**2 < 9)*3
    for labels in (thirds, thirds + 1, thirds.astype('f4')*100):
        with pytest.raises(VolumeError, match='no image.*cryoseg connect a.mrc'): check_image(labels, 'a.mrc')


def test_an_image_in_much_padding_is_an_image():
    inside = (Y > 8) & (Y < 20) & (X > 15) & (X < 40)
    for padding in (0, 7, 128): check_image(np.where(inside, (128 + 30*NOISE).round(), padding).clip(0, 255).astype('u1'), 'a.mrc')


@pytest.mark.parametrize('labels', [FIRST*1 + SECOND*2, FIRST*7 + SECOND*300, FIRST*-1 + SECOND*2, 1 + FIRST*1 + SECOND*2])
def test_forgotten_ids_are_one_mask(labels):
    "All of them, not those of value 1 alone."
    reading = read(labels, relink=True)
    assert reading.kind == MASK and np.array_equal(reading.data, BOTH) and '--relink' in reading.said


def test_values_by_name():
    assert membrane_values_of({}) == () and membrane_values_of({2: 'Lumen', 1: 'Membrane', 0: 'x'}) == (1,)
    with pytest.raises(VolumeError, match='--membrane-values'): membrane_values_of({1: 'lumen'})
