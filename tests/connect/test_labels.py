"What a file of labels means: the values decide, what a file or a user says wins, and an image is refused."
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cryoseg.base.files import VolumeError, VolumeWarning
from cryoseg.connect.labels import (CLASSES, INSTANCES, LOOKED_AT, LOOKED_PX, MASK, PROBABILITY, check_image, count_values, membrane_values_of,
                                    needs_new_numbers, read_ids, read_labels, some_slices)
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


@pytest.mark.parametrize('labels', [FIRST*1 + SECOND*2, FIRST*-3 + SECOND*2, FIRST*70_000 + SECOND*5, (FIRST*1 + SECOND*2.).astype('f4'),
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
    says = any(part in name.lower() for part in ('membran', 'bilayer', 'leaflet'))
    others = {2: 'a membrane'} if says else {2: 'rim'}
    assert membrane_values_of({1: name, **others}) == ((1, 2) if membrane else (2,))


@pytest.mark.parametrize('other', ['void', 'noise', 'matrix', 'DNA', 'unknown', 'unlabelled', 'vesicle interior', 'ATP synthase', 'virus', 'Hintergrund', 'lattice', 'no membranes',
                                   'nonmembrane', 'membraneless organelle', 'everything without membrane', 'keine Membran', 'Membranprotein', ''])
def test_beside_a_membrane_other_names_are_none(other):
    for name in ('membrane', 'Zellmembran', 'lipid bilayer', 'inner_leaflet'): assert membrane_values_of({1: name, 2: other}) == (1,)
    assert membrane_values_of({1: 'plasma membrane', 2: other, 5: 'OuterMembrane'}) == (1, 5)
    said = read_labels(FIRST*1 + SECOND*2, 'x.am', meaning={1: 'cell membrane', 2: other}).said
    assert 'membrane is 1 cell membrane (' in said and f'left out: 2 {other}'.strip() in said


def test_names_that_are_taken_for_want_of_better_ones_are_told():
    assert 'membrane is 1 inner, 2 outer (' in read_labels(FIRST*1 + SECOND*2, 'x.am', meaning={1: 'inner', 2: 'outer', 3: 'void'}).said
    with pytest.raises(VolumeError, match='no label is a membrane by its name .*void'): membrane_values_of({1: 'void', 2: 'Hintergrund', 3: 'unlabelled'})


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
    for labels, table in ((FIRST*70_000 + SECOND*5, [(5, 1), (70_000, 2)]), (FIRST*-3 + SECOND*2, [(-3, 1), (2, 2)]), (FIRST*300 + SECOND*40_000, [(300, 1), (40_000, 2)])):
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


@pytest.mark.parametrize('labels', [FIRST*1 + SECOND*2, FIRST*7 + SECOND*300, FIRST*-3 + SECOND*2, 1 + FIRST*1 + SECOND*2])
def test_forgotten_ids_are_one_mask(labels):
    "All of them, not those of value 1 alone."
    reading = read(labels, relink=True)
    assert reading.kind == MASK and np.array_equal(reading.data, BOTH) and '--relink' in reading.said


FAR = np.minimum(abs(np.sqrt((Z - 12.)**2 + (Y - 14)**2 + (X - 14)**2) - 9), abs(np.sqrt((Z - 12.)**2 + (Y - 15)**2 + (X - 40)**2) - 10))     # from the middle of a wall


@pytest.mark.parametrize('half', [1, 2, 4])
@pytest.mark.parametrize('levels', [255, 8, 4])
@pytest.mark.parametrize('top, dtype', [(255, 'u1'), (255, 'f4'), (65535, 'u2'), (100, 'u1'), (127, 'i1'), (1000, 'u2')])
def test_a_mask_with_soft_edges_is_a_probability(half, levels, top, dtype):
    "Drawn or scaled with antialiasing: most voxels are 0 or the top."
    mask = ((half - FAR + .5).clip(0, 1)*levels).round()/levels
    for labels, kept in ((mask*top, mask), ((1 - mask)*top, 1 - mask)):
        reading = read(labels.round().astype(dtype))
        assert reading.kind == PROBABILITY and np.array_equal(reading.data, labels.round() >= .5*top)


@pytest.mark.parametrize('top', [255, 127, 100, 1000])
@pytest.mark.parametrize('half', [.6, 1.5, 3])
def test_crowded_ids_up_to_the_same_tops_are_ids(top, half):
    "Walls of one voxel and more that touch and cross."
    rng, ids = np.random.default_rng(0), np.zeros((24, 130, 130), 'u2')
    for k in np.linspace(1, top, 100).round():
        centre, radius = rng.uniform((0, 0, 0), ids.shape), rng.uniform(5, 12)
        ids[abs(np.linalg.norm(np.indices(ids.shape) - centre.reshape(3, 1, 1, 1), axis=0) - radius) < half] = k
    reading = read(ids)
    assert reading.kind == INSTANCES and np.array_equal(reading.data, ids)


@pytest.mark.parametrize('top', [100, 127, 1000, 10_000, 32_767])
def test_probabilities_on_other_scales(top):
    for labels in (SOFT*top, (SOFT*top).round(), (SOFT*top).round().astype('i4')):
        reading = read(labels)
        assert reading.kind == PROBABILITY and f'from 0.5 of {top} on' in reading.said and np.array_equal(reading.data, labels >= .5*top)
    weak = (SOFT*top*.8).round()
    with pytest.raises(VolumeError, match='image.*bring probabilities to the scale from 0 to 1'): read(weak)
    assert np.array_equal(read(weak, labels_are='probability').data, weak >= .5*top)


@pytest.mark.parametrize('labels', [np.where(BOTH, 0, 7), np.where(BOTH, 0, -1), 1 - SOFT, 255*(1 - SOFT).round(2)])
def test_more_than_half_is_worth_a_word(labels):
    with pytest.warns(VolumeWarning, match=r'more than half of the volume \(8.\..%\) is labelled: is it inverted'): read(labels)
    read_labels(labels, 'region.mrc', region=True)


@pytest.mark.parametrize('labels, changes', [(np.ones(SHAPE), {}), (np.full(SHAPE, 255, 'u1'), dict(labels_are='mask')), (np.full(SHAPE, .7), {}), (np.full(SHAPE, -1), {}),
                                             (BOTH + 1, dict(labels_are='classes', membrane_values=(1, 2))), (.6 + .4*SOFT, dict(labels_are='probability'))])
def test_a_mask_of_everything_is_none(labels, changes):
    with pytest.raises(VolumeError, match='every voxel (is|would be).*is it the right file') as error: read(labels, **changes)
    assert '\n' not in str(error.value) and read_labels(labels, 'a', ConnectSettings(**changes), region=True).data.all()
    if not changes:
        with pytest.raises(VolumeError, match='every voxel is'): read_ids(labels, 'a')


def test_minus_one_beside_others_is_ignored():
    "MemBrain-seg, nnU-Net: nobody has judged it."
    ring = np.where(FAR < 4, -1, 0)
    reading = read(np.where(BOTH, 1, ring).astype('i1'))
    assert reading.kind == MASK and np.array_equal(reading.data, BOTH) and '-1 (' in reading.said and '"ignore"' in reading.said
    ids = read(np.where(FIRST, 1, np.where(SECOND, 2, ring)))
    assert ids.kind == INSTANCES and np.array_equal(ids.data, FIRST*1 + (SECOND & ~FIRST)*2) and '"ignore"' in ids.said
    assert np.array_equal(read_ids(np.where(BOTH, 3, ring), 'a').data != 0, BOTH)
    for outside in (np.where(BOTH, 1, -1), np.where(~BOTH, -1, 1)): assert np.array_equal(read(outside).data, BOTH)
    assert np.array_equal(read(ring, ).data, FAR < 4) and 'ignore' not in read(ring).said                # it is all there is
    assert np.array_equal(read(np.where(BOTH, 1, ring), membrane_values=(-1,)).data, (FAR < 4) & ~BOTH)


@pytest.mark.parametrize('labels, value', [(FIRST*1 + SECOND*2, 1), (FIRST*2 + SECOND*1, 2), (FIRST*-5 + SECOND*2, 2), (FIRST*-5 + SECOND*2 + (FAR > 9)*7, 2)])
def test_the_value_offered_is_positive_and_not_the_commonest(labels, value):
    assert read(labels).said.endswith(f'--membrane-values {value}')


@pytest.mark.parametrize('labels, changes, words', [(BOTH*3, dict(mask_threshold=.9), '--mask-threshold has no effect: it is taken as a mask'),
                                                    (BOTH*1, dict(relink=True), '--relink has no effect: it is taken as a mask'),
                                                    (FIRST*1 + SECOND*2, dict(mask_threshold=.9), '--mask-threshold has no effect: it is taken as ids'),
                                                    (SOFT, dict(relink=True), '--relink has no effect: it is taken as probabilities'),
                                                    (FIRST*1 + SECOND*2, dict(labels_are='classes', relink=True, mask_threshold=.1), '--mask-threshold and --relink have no effect'),
                                                    (FIRST*1 + SECOND*2, dict(labels_are='instances', membrane_values=(1,)), '--labels-are instances has no effect')])
def test_what_has_no_effect_is_said(labels, changes, words):
    assert words in read(labels, **changes).said


@pytest.mark.parametrize('labels, changes', [(SOFT, dict(mask_threshold=.9)), (BOTH*3, dict(mask_threshold=.5)), (FIRST*1 + SECOND*2, dict(relink=True)), (FIRST*1 + SECOND*2, dict(membrane_values=(1,)))])
def test_what_has_an_effect_is_not(labels, changes):
    assert 'no effect' not in read(labels, **changes).said


@pytest.mark.parametrize('top, words', [(1, 'the highest is 0.44: give a lower --mask-threshold'), (255, 'the highest is 0.6 of 255')])
def test_probabilities_below_the_threshold_say_how_high_they_are(top, words):
    soft = np.pad(SOFT, 15)
    said = read(soft*.44 if top == 1 else soft*.6*255, mask_threshold=.5 if top == 1 else .8)
    assert not said.data.any() and words in said.said


def test_a_threshold_of_0_would_label_everything():
    with pytest.raises(VolumeError, match='mask_threshold'): ConnectSettings(mask_threshold=0.)


def test_a_single_large_id_is_a_mask():
    "neuroglancer, CAVE."
    reading = read(np.where(BOTH, np.uint64(2**63 + 5), np.uint64(0)))
    assert reading.kind == MASK and np.array_equal(reading.data, BOTH) and '9223372036854775813' in reading.said
    assert np.array_equal(read_ids(np.where(BOTH, np.uint64(2**63 + 5), np.uint64(0)), 'a').data, BOTH)


@pytest.mark.parametrize('shape', [(3, 5, 7), (40, 64, 64), (1, 9000, 9000), (20, 4096, 4096), (2, 50, 300_000)])
def test_slices_to_look_at_are_limited_by_pixels(shape):
    rows = np.broadcast_to(np.arange(shape[1], dtype='f4')[None, :, None], shape)          # no memory
    looked = some_slices(rows)
    assert looked.size <= max(LOOKED_PX, 2*LOOKED_AT*shape[2]) and (np.diff(looked, axis=1) == 1).all()          # neighbours are neighbours
    assert looked.min() == 0 and looked.max() == shape[1] - 1 and (np.size(looked) == rows.size or looked.shape[0] == LOOKED_AT)


def test_values_by_name():
    assert membrane_values_of({}) == () and membrane_values_of({2: 'Lumen', 1: 'Membrane', 0: 'x'}) == (1,)
    with pytest.raises(VolumeError, match='--membrane-values'): membrane_values_of({1: 'lumen'})
