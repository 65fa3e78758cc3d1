"""A result against a truth: what a file's values mean, and what moves, merges and splits do to the scores."""
import json
import warnings
from dataclasses import asdict

import numpy as np
import pytest
import trimesh
import zarr

from cryoseg.base.files import VolumeError, VolumeWarning
from cryoseg.base.formats import write_volume
from cryoseg.base.geometry import icosphere
from cryoseg.base.volume import Volume
from cryoseg.connect.settings import ConnectSettings
from cryoseg.measure import evaluate as evaluate_room
from cryoseg.measure.evaluate import (
    Errors, Evaluation, SurfaceScores, _hd95_A, distance_to_mesh, enclosed_volume, evaluate, format_evaluation, guess_labels,
    inside, nearest_body, read_labelling, score_instances, score_surface, score_voxels, vertex_weights,
)
from cryoseg.phantom.bodies import Body
from cryoseg.result.records import Surface

SHAPE = (5, 20, 24)
BODY = Body(1, 'ellipsoid', (40., 40., 40.), (20., 20., 20.))
KEYS = {'voxel': ['membrane_iou', 'dice', 'precision', 'recall', 'surface_dice', 'near_precision', 'near_recall', 'thickness_vox', 'true_thickness_vox'],
        'instances': ['are', 'voi_split_bits', 'voi_merge_bits', 'pq', 'n_true', 'n_found']}


def two(dtype=np.uint8):
    "Two membranes, numbered."
    ids = np.zeros(SHAPE, dtype)
    ids[:, 3:5, 2:20], ids[:, 12:14, 2:20] = 1, 2
    return ids


def write(path, data):
    "A label file of this program (MRC) or of another one (NPY)."
    if path.suffix == '.npy': np.save(path, data)
    else: write_volume(path, Volume(data, 10.))
    return path


def sphere(radius, id=1, sigma=1., centre=40.):
    "A sphere as a fitted surface."
    u, faces = icosphere(4)
    return Surface(id, centre + radius*u, faces, np.full(len(u), sigma), 'closed', area_vox2=4*np.pi*radius**2, volume_vox3=4/3*np.pi*radius**3)


def quiet(*arguments, **keywords):
    "An evaluation that must not warn of its labels (that a NumPy file has no voxel size does not matter)."
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='.*holds only 0, 1, 2')
        return evaluate(*arguments, **keywords)


# what values mean

def test_a_lost_membrane_is_seen_in_foreign_files(tmp_path):
    "The second of two is lost: ids within 0, 1, 2 are not classes."
    truth, result = write(tmp_path/'t.npy', two()), write(tmp_path/'r.npy', np.where(two() == 1, 1, 0).astype(np.uint8))
    with pytest.warns(VolumeWarning, match='ids of single membranes') as said: scores = evaluate(result, truth)
    said = [str(w.message) for w in said if 'holds only 0, 1, 2' in str(w.message)]
    assert len(said) == 2 and '\n' not in ''.join(said)
    assert (scores.instances.n_found, scores.instances.n_true) == (1, 2)
    assert scores.voxel.membrane_iou == pytest.approx(.5) and scores.instances.pq < .8


def test_what_was_said_is_taken(tmp_path):
    path = write(tmp_path/'x.npy', two())
    classes = quiet(path, path, labels_are='classes', truth_labels_are='instances')
    assert classes.voxel.membrane_iou == pytest.approx(.5) and classes.instances.n_found is None
    masks = quiet(path, path, labels_are='mask', truth_labels_are='mask')
    assert masks.voxel.membrane_iou == 1 and masks.instances.n_true is None
    assert quiet(path, path, 'instances', 'instances').instances.pq == 1


@pytest.mark.parametrize('name, dtype, kind', [('labels.mrc', np.int8, 'classes'), ('renamed.mrc', np.int8, 'classes'), ('renamed.mrc', np.uint16, 'instances'),
                                               ('membranes.mrc', np.uint16, 'instances'), ('membranes_2.npy', np.uint8, 'instances'), ('foreign.npy', np.uint8, None)])
def test_the_file_is_asked_first(tmp_path, name, dtype, kind):
    path = write(tmp_path/name, two(dtype))
    assert guess_labels(path, two(dtype)) == kind


def test_values_beyond_two_are_ids(tmp_path):
    path = write(tmp_path/'x.npy', 3*two())
    assert quiet(path, path).instances.n_found == 2


def test_masks_say_nothing_of_instances_and_need_no_warning(tmp_path):
    path = write(tmp_path/'x.npy', (two() > 0).astype(np.uint8))
    scores = quiet(path, path)
    assert scores.voxel.dice == 1 and scores.instances.are is None


RAMP = np.linspace(.9, .98, SHAPE[-1])       # a probability that is nearly sure


@pytest.mark.parametrize('make', [lambda m: m*np.uint8(255), lambda m: -m.astype(np.int8), lambda m: m + np.uint8(1), lambda m: m*RAMP, lambda m: 1.06*m*RAMP - .03,
                                  lambda m: m*np.float32(.9998), lambda m: m.astype(np.uint16)*65535])
def test_masks_of_other_programs_score_as_what_they_are(tmp_path, make):
    "Any value, counted from 1, a probability, one that was resampled, halves: beside ids of three membranes, without a word on ids."
    ids = np.zeros(SHAPE, np.uint8)
    ids[:, 3:5, 2:20], ids[:, 12:14, 2:20], ids[:, 17:19, 2:20] = 3, 4, 5
    truth, result = write(tmp_path/'t.npy', ids), write(tmp_path/'r.npy', make(ids > 0))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        scores = evaluate(result, truth)
    assert scores.voxel.membrane_iou == 1 and (scores.instances.n_found, scores.instances.n_true, scores.instances.are) == (None, 3, None)


@pytest.mark.parametrize('make', [lambda m: m*np.uint8(255), lambda m: m*np.uint8(7), lambda m: -m.astype(np.int8), lambda m: m*RAMP, lambda m: m*np.uint8(1)])
@pytest.mark.parametrize('swap', [False, True])
def test_ids_1_and_2_beside_a_mask_are_ids(tmp_path, make, swap):
    "As `connect` takes them."
    files = {'t.npy': two(), 'r.npy': make(two() > 0)}
    paths = [write(tmp_path/name, data) for name, data in files.items()]
    with pytest.warns(VolumeWarning, match='taken for ids'): scores = evaluate(*(paths if swap else paths[::-1]))
    assert scores.voxel.membrane_iou == 1 and 2 in (scores.instances.n_found, scores.instances.n_true) and '-' not in format_evaluation(scores).splitlines()[1]


@pytest.mark.parametrize('truth, words', [(two()*3, 'found 0 of 2: nothing to compare'), ((two() > 0)*np.uint8(255), '0 in the result; not told apart in the truth'),
                                          (two()*0, 'found 0 of 0: nothing to compare')])
def test_an_empty_result_is_said_in_words(tmp_path, truth, words):
    told = []
    scores = evaluate(write(tmp_path/'r.npy', two()*0), write(tmp_path/'t.npy', truth), tell=told.append)
    assert words in format_evaluation(scores) and scores.instances.n_found == 0 and any('r.npy: no voxel is membrane' in line for line in told)


def test_negative_ids_are_counted(tmp_path):
    path = write(tmp_path/'x.npy', two(np.int16)*7 - 14*(two() > 0))             # -7 and 0: one is left
    other = write(tmp_path/'y.npy', two(np.int16)*-9)
    assert evaluate(other, other).instances.n_found == 2 and read_labelling(path).membrane.sum() == (two() == 1).sum()


def test_the_values_that_are_membrane_can_be_named(tmp_path):
    both = write(tmp_path/'x.npy', two()), write(tmp_path/'t.npy', (two() == 2).astype(np.uint8))
    told = []
    scores = quiet(*both, settings=ConnectSettings(membrane_values=(2,)), tell=told.append)
    assert scores.voxel.membrane_iou == 1 and 'membrane is 2' in told[0]


def test_a_zarr_is_a_label_file(tmp_path):
    "It is a folder, and yet no run."
    path = tmp_path/'labels.zarr'
    zarr.save_array(str(path), (two() > 0).astype(np.uint8))
    assert quiet(path, path).voxel.membrane_iou == 1


def test_nothing_found_is_not_perfect():
    "Without a membrane there is no error of splitting and merging, and none is shown."
    scores = score_instances(np.zeros(SHAPE, int), two())
    assert (scores.n_found, scores.n_true, scores.pq, scores.are, scores.voi_merge_bits) == (0, 2, 0, None, None)


def test_our_classes_beside_a_foreign_file_with_a_two(tmp_path):
    labels, foreign = write(tmp_path/'labels.mrc', two(np.int8)), write(tmp_path/'x.npy', two())
    with pytest.warns(VolumeWarning, match='classes'): scores = evaluate(foreign, labels)
    assert scores.voxel.membrane_iou == 1


def test_a_run_folder_names_its_files(tmp_path):
    write(tmp_path/'labels.mrc', np.minimum(two(np.int8), 1))
    write(tmp_path/'membranes.mrc', two(np.uint16))
    scores = quiet(tmp_path, tmp_path)
    assert scores.voxel.membrane_iou == 1 and (scores.instances.n_found, scores.instances.pq) == (2, 1)


@pytest.mark.parametrize('make, said', [
    (lambda p: evaluate(write(p/'a.npy', np.eye(4, 5, dtype='u1')[None]), write(p/'b.npy', np.eye(4, 6, dtype='u1')[None])), 'must show the same volume'),
    (lambda p: read_labelling(p), 'holds neither truth.toml nor labels.mrc'),
    (lambda p: read_labelling(p/'a.npy', 'numbers'), "must be one of auto, mask, classes, instances, probability, got 'numbers'"),
    (lambda p: read_labelling(write(p/'a.npy', np.random.default_rng(0).normal(size=(3, 4, 5)))), 'another image'),
])
def test_what_does_not_fit_is_refused(tmp_path, make, said):
    with pytest.raises(VolumeError) as error: make(tmp_path)
    assert said in str(error.value) and '\n' not in str(error.value)


# voxels and instances

def test_keys_of_the_json(tmp_path):
    path = write(tmp_path/'x.npy', 3*two())
    told = []
    scores = evaluate(path, path, progress=lambda done, total: told.append((done, total)))
    data = json.loads(json.dumps(asdict(scores)))
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert list(data) == ['voxel', 'instances', 'surfaces'] and data['surfaces'] == []
    for name, keys in KEYS.items(): assert list(data[name]) == keys
    assert list(asdict(SurfaceScores(1))) == ['id', 'true_id', 'assd_A', 'assd_visible_A', 'hd95_A', 'coverage68', 'coverage95', 'mean_sigma_A', 'area_error', 'volume_error']


def test_exchanging_both_sides_exchanges_precision_and_recall():
    a, b = two() > 0, np.roll(two() > 0, 1, axis=1)
    forth, back = score_voxels(a, b), score_voxels(b, a)
    assert (forth.precision, forth.recall) == (back.recall, back.precision) and forth.dice == back.dice
    assert 0 < forth.membrane_iou < 1


def test_merging_and_splitting_cost_their_own_bits():
    true, merged = two(np.int64), (two() > 0).astype(np.int64)
    merging, splitting = score_instances(merged, true), score_instances(true, merged)
    assert merging.voi_merge_bits == pytest.approx(1) and merging.voi_split_bits == pytest.approx(0)
    assert splitting.voi_split_bits == pytest.approx(1) and splitting.voi_merge_bits == pytest.approx(0)
    permuted = score_instances(np.array([0, 7, 3])[true], true)
    assert (permuted.are, permuted.pq, permuted.n_found) == (0, 1, 2)


# surfaces

@pytest.mark.parametrize('off', [-2., -.5, .5, 3.])
def test_a_sphere_that_is_too_large_is_off_by_that(off):
    scores = score_surface(sphere(20 + off), BODY, (81, 81, 81), 10.)
    for value in (scores.assd_A, scores.assd_visible_A, scores.hd95_A): assert value == pytest.approx(10*abs(off), abs=.8)
    assert scores.area_error == pytest.approx((1 + off/20)**2 - 1, rel=1e-6)
    assert scores.volume_error == pytest.approx((1 + off/20)**3 - 1, abs=.01)


@pytest.mark.parametrize('sigma, inside68, inside95', [(.5, 0, 0), (.7, 0, 1), (2., 1, 1)])
def test_bands_are_counted(sigma, inside68, inside95):
    scores = score_surface(sphere(21, sigma=sigma), BODY, (81, 81, 81), 10.)
    assert (scores.coverage68, scores.coverage95, scores.mean_sigma_A) == (inside68, inside95, pytest.approx(10*sigma))


def test_lengths_scale_with_the_voxel():
    a, b = (score_surface(sphere(21), BODY, (81, 81, 81), size) for size in (1., 7.))
    assert b.assd_A == pytest.approx(7*a.assd_A) and b.area_error == a.area_error


def test_the_95_percent_distance_is_the_larger_one_sided_one():
    near, far = (Errors(x, np.ones(100), np.ones(100, bool)) for x in (np.linspace(0, 1, 100), np.linspace(0, 4, 100)))
    assert _hd95_A(near, far, 10.) == _hd95_A(far, near, 10.) == pytest.approx(38)


def test_distances_are_those_of_trimesh():
    s = sphere(20)
    points = np.random.default_rng(0).uniform(15, 65, (300, 3))
    _, theirs, _ = trimesh.proximity.closest_point_naive(trimesh.Trimesh(s.vertices_vox, s.faces, process=False), points[:60])
    np.testing.assert_allclose(distance_to_mesh(points, s)[:60], theirs, atol=.15)


def test_the_nearest_body_is_found_and_a_far_one_refused():
    other = Body(2, 'ellipsoid', (40., 40., 100.), (20., 20., 20.))
    assert nearest_body(sphere(20.5), [other, BODY]).body is BODY
    assert nearest_body(sphere(20.5), [other]).body is None and nearest_body(sphere(20.), []) == (None, np.inf)


def test_weights_are_fractions_of_the_area():
    weights = vertex_weights(sphere(20))
    assert weights.sum() == pytest.approx(1) and weights.min() > 0


def test_the_volume_reaches_half_a_voxel_beyond():
    assert inside(np.array([[-.5, 0, 0], [-.6, 0, 0], [9.5, 3, 3], [9.6, 3, 3]]), (10, 4, 4)).tolist() == [True, False, True, False]


@pytest.mark.parametrize('depth, fraction', [(81, 1.), (41, .5)])
def test_what_a_volume_cuts_off_is_not_enclosed(depth, fraction):
    whole = 4/3*np.pi*20**3
    assert enclosed_volume(BODY, (depth, 81, 81)) == pytest.approx(fraction*whole, rel=.04)


def test_the_text_says_it_all():
    rows = (SurfaceScores(1, 2, 3.21, None, 9.0, .7, .951, 4.0, .0123, None), SurfaceScores(12, mean_sigma_A=5.))
    text = format_evaluation(Evaluation(score_voxels(two() > 0, two() > 0), score_instances(None, two()), rows))
    lines = text.splitlines()
    assert 'within 2 voxels: 100% of what was found' in lines.pop(1)
    assert len(lines) == 5 and '2 in the truth; not told apart in the result' in lines[1] and lines[3].split() == ['1', '2', '3.2', '-', '9.0', '70%', '95%', '4.0', '+1.2%', '-']
    assert len({len(line) for line in lines[2:]}) == 1                       # columns line up


@pytest.mark.parametrize('t', [1, 3, 5, 7, 11])
def test_how_thick_walls_are(t):
    mask = np.zeros((40, 30, 30), bool)
    mask[15:15 + t] = True
    assert evaluate_room.wall_thickness(mask) == pytest.approx(t, abs=1e-6)
    assert evaluate_room.wall_thickness(mask & False) is None


def test_a_thick_truth_is_explained():
    "A found wall of three voxels in the middle of a true one of nine overlaps by a third, and is right."
    true, found = np.zeros((2, 40, 30, 30), bool)
    true[15:24] = found[18:21] = True
    scores = evaluate_room.score_voxels(found, true)
    assert scores.membrane_iou == pytest.approx(1/3) and scores.near_precision == 1 and scores.near_recall == pytest.approx(7/9)
    near, thick = evaluate_room.voxels_in_words(scores)
    assert '100%' in near and '3.0 voxels thick, true ones 9.0' in thick and '0.33 at most' in thick
    same = evaluate_room.score_voxels(true, true)
    assert len(evaluate_room.voxels_in_words(same)) == 1
    assert evaluate_room.voxels_in_words(evaluate_room.score_voxels(found & False, true)) == []
