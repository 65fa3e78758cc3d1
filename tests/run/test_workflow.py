"""The chain: what is kept, what is done again and why, what is refused, and that hand edits last."""
import shutil
from dataclasses import replace

import cryoseg
import numpy as np
import pytest

from cryoseg.base.files import VolumeError
from cryoseg.base.formats import read_volume, write_volume
from cryoseg.base.volume import Volume
from cryoseg.phantom.phantom import simulate_phantom, write_phantom
from cryoseg.phantom.settings import PhantomSettings
from cryoseg.result.folder import STAGE_NAMES, read_record
from cryoseg.result.records import Edit, Fragment, Link, Membrane, refused_surface
from cryoseg.result.tables import read_rows, write_rows
from cryoseg.run import workflow
from cryoseg.run.settings import RunSettings, with_values
from cryoseg.run.fits import fit_surfaces
from cryoseg.run.stages import mrc_type_of_ids
from cryoseg.run.workflow import STAGES, Stage, run_labels, run_membranes, run_tomogram, store_edits
from cryoseg.segment.weights import default_weights

NAMES = [stage.name for stage in STAGES]
assert NAMES == list(STAGE_NAMES)       # the report's list
FAST = with_values(RunSettings(), {'segment.precision': 'float32'})


def set_(**values):
    "Fast settings with some changed; __ stands for the dot."
    return with_values(FAST, {name.replace('__', '.'): value for name, value in values.items()})


def again(run):
    "The stages that were done again."
    return [name for name, why in run.again.items() if why]


@pytest.fixture(scope='module')
def first(tmp_path_factory):
    "A small phantom and a whole run on it."
    folder = tmp_path_factory.mktemp('workflow')
    write_phantom(simulate_phantom(PhantomSettings(shape=(40, 96, 96), n_vesicles=2, cnr=3.), 3), folder/'sim')
    run_tomogram(folder/'sim/tomogram.mrc', folder/'out', FAST)
    return folder


@pytest.fixture
def place(first, tmp_path):
    "A copy of the run, and the tomogram that it was made from."
    shutil.copytree(first/'out', tmp_path/'out')
    return first/'sim/tomogram.mrc', tmp_path/'out'


def contents(folder):
    "Name -> bytes of the results."
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*') if p.is_file() and p.name != 'run.toml'}


def test_a_fresh_run_and_a_resumed_one_give_the_same(first, place):
    path, folder = place
    before, run = contents(folder), run_tomogram(*place, FAST)
    assert again(run) == [] and run.kept == NAMES and contents(folder) == before
    fresh = workflow.read_run(first/'out')
    assert run.table == fresh.table and all(isinstance(m, Membrane) and isinstance(m.area_A2, float) for m in run.table)
    assert run.fragments == fresh.fragments and run.links == fresh.links and (run.membranes == fresh.membranes).all()


@pytest.mark.parametrize('change, stages, words', [
    (dict(surface__method='paper'), ['surface', 'measure'], "surface.method was 'auto', is 'paper'"),
    (dict(connect__min_area_A2=5e6), NAMES[1:], 'connect.min_area_A2 was 100000.0, is 5000000.0'),
    (dict(contours__method='ellipse'), NAMES[2:], 'contours.method was None'),
    (dict(seed=5), NAMES[1:], 'seed was 0, is 5'),
    (dict(output__meshes=('ply', 'obj')), ['measure'], 'output.meshes'),
    (dict(thickness__patch_radius_A=150.), ['measure'], 'thickness.patch_radius_A was 100.0, is 150.0'),
    (dict(distances__reach_A=500.), ['measure'], 'distances.reach_A'),
    (dict(segment__threshold=.5), NAMES, 'segment.threshold was 0.355, is 0.5'),
], ids=lambda v: '')
@pytest.mark.long
def test_a_changed_setting_redoes_its_stage_and_the_later_ones(change, stages, words, place):
    path, folder = place
    before, run = contents(folder), run_tomogram(*place, set_(**change))
    assert again(run) == stages and words in run.again[stages[0]]
    kept = [name for stage in STAGES if stage.name not in stages for name in stage.files if name in before]
    assert all(contents(folder)[name] == before[name] for name in kept)
    assert again(run_tomogram(*place, set_(**change))) == []


def test_what_cannot_change_the_result_redoes_nothing(place):
    assert again(run_tomogram(*place, set_(segment__workers=1))) == []


@pytest.mark.long
def test_weights_count_by_their_contents(place, tmp_path):
    "FINDINGS A.4: a weights file replaced under the same name was not noticed."
    mine = tmp_path/'mine.safetensors'
    shutil.copy(default_weights(), mine)
    settings = set_(segment__weights=str(mine))
    run_tomogram(*place, settings)
    assert again(run_tomogram(*place, settings)) == []
    from cryoseg.segment.unet import load_weights, save_weights
    net = load_weights()
    for p in net.parameters(): p.data *= 1.0001
    save_weights(mine, net)
    run = run_tomogram(*place, settings)
    assert again(run) == NAMES and 'weights has changed' in run.again['segment']


@pytest.mark.long
def test_a_mask_counts_by_its_contents(place, tmp_path):
    volume = read_volume(place[0])
    mask = np.ones(volume.shape, np.int8)
    write_volume(tmp_path/'mask.mrc', volume.with_data(mask))
    settings = set_(input__mask=str(tmp_path/'mask.mrc'))
    run_tomogram(*place, settings)
    assert again(run_tomogram(*place, settings)) == []
    mask[:, :48] = 0
    write_volume(tmp_path/'mask.mrc', volume.with_data(mask))
    run = run_tomogram(*place, settings)
    assert again(run) == NAMES and 'mask has changed' in run.again['segment'] and not run.labels[:, :48].any()


@pytest.mark.parametrize('name, stage', [('membranes.csv', 'measure'), ('links.csv', 'connect'), ('labels.mrc', 'segment'), ('surfaces', 'measure')])
def test_a_file_that_was_cut_short_is_made_again(name, stage, place):
    "FINDINGS A.4: a membranes.csv or a mesh cut short was 'already done'."
    path, folder = place
    before, target = contents(folder), folder/name
    target = next(target.glob('*.ply')) if target.is_dir() else target
    target.write_bytes(target.read_bytes()[:-40])
    run = run_tomogram(*place, FAST)
    assert again(run)[0] == stage and f'{name} is not what was written' in run.again[stage]
    now, kept = contents(folder), name.replace('.csv', '.changed1.csv')         # a person may have cut the table
    assert {key for key in now if now[key] != before.get(key)} == ({kept} if name.endswith('.csv') else set())
    assert before.keys() <= now.keys()


def test_another_version_makes_everything_again(place, monkeypatch):
    monkeypatch.setattr(workflow, '__version__', '9.9')
    run = run_tomogram(*place, FAST)
    assert again(run) == NAMES and f'version {cryoseg.__version__}' in run.again['segment']


def test_another_input_is_refused_and_nothing_is_touched(place, tmp_path):
    path, folder = place
    data = np.asarray(read_volume(path).data).copy()
    data[0, 0, 0] += 1
    write_volume(tmp_path/'other.mrc', read_volume(path).with_data(data))
    before = contents(folder)
    with pytest.raises(VolumeError, match='another input.*--overwrite'): run_tomogram(tmp_path/'other.mrc', folder, FAST)
    assert contents(folder) == before
    shutil.copy(path, tmp_path/'same.mrc')                              # the same contents under another name are the same input
    assert again(run_tomogram(tmp_path/'same.mrc', folder, FAST)) == []


def test_later_results_never_stand_beside_earlier_ones_of_another_run(place):
    path, folder = place
    labels = read_volume(folder/'labels.mrc', check=False)
    run_labels(folder/'labels.mrc', folder, np.asarray(labels.data), labels, set_(connect__min_area_A2=5e6))
    assert not (folder/'membranes.csv').exists() and not (folder/'surfaces').exists() and (folder/'labels.mrc').exists()
    assert list(read_record(folder).stages) == ['segment', 'connect']


def test_a_stage_that_fails_leaves_the_older_results(place, monkeypatch):
    path, folder = place
    before = contents(folder)
    monkeypatch.setattr('cryoseg.surface.raster.raster_slabs', lambda *_: (_ for _ in ()).throw(OSError(28, 'No space left')))
    with pytest.raises(VolumeError, match='No space left.*nothing older was changed'): run_tomogram(*place, set_(surface__method='paper'))
    assert contents(folder) == before


def test_one_membrane_that_fails_is_refused_and_the_others_go_on(place, monkeypatch):
    "FINDINGS A.6: one LinAlgError ended the stage."
    from cryoseg.surface import fit
    real, ids = fit.fit_surface, []

    def shaky(points, shape, settings, id=0, seed=0):
        ids.append(id)
        if id == 1: raise np.linalg.LinAlgError('Singular matrix')
        return real(points, shape, settings, id=id, seed=seed)
    monkeypatch.setattr(fit, 'fit_surface', shaky)
    surfaces = fit_surfaces(np.asarray(read_volume(place[1]/'membranes.mrc', check=False).data))
    assert {s.id: s.status for s in surfaces}[1] == 'refused' and 'Singular matrix' in surfaces[0].reason
    assert all(s.status != 'refused' for s in surfaces[1:]) and len(ids) > 1


@pytest.mark.long
def test_the_seed_reaches_every_stage_that_draws(place, monkeypatch):
    "FINDINGS A.5."
    seen = {}

    def watch(name, function):
        def watched(*args, **keywords):
            seen[name] = keywords.get('seed', args[-1])
            return function(*args, **keywords)
        return watched
    from cryoseg.connect import membranes
    from cryoseg.surface import contours, fit
    for module, name in ((membranes, 'find_membranes'), (contours, 'fit_contours'), (fit, 'fit_surface')):
        monkeypatch.setattr(module, name, watch(name, getattr(module, name)))
    run_tomogram(*place, set_(seed=11, contours__method='ellipse'))
    assert seen == dict(find_membranes=11, fit_contours=11, fit_surface=11)


def sheets():
    "Two halves of a sheet with a gap between them, and a sheet apart: labels, voxel size 10 Å."
    labels = np.zeros((30, 60, 130), np.int8)
    labels[:, 20:22, 5:60] = 1
    labels[:, 20:22, 66:125] = 1
    labels[:, 45:47, 5:125] = 1
    return labels


def connect(folder, labels, links=None, settings=RunSettings()):
    "The connect stage on labels, with links changed by hand."
    folder.mkdir(exist_ok=True)
    volume = Volume(labels, 10., (1000., 2000., 3000.))
    path = folder/'mask.mrc'
    if not path.exists(): write_volume(path, volume)
    if links: store_edits(links, folder, labels, volume, settings)
    return run_labels(path, folder, labels, volume, settings)


def change(folder, target, taken=None):
    "Write a links.csv in which every link is turned round (or set to `taken`); return its path."
    links = read_rows(folder/'links.csv', Link)
    write_rows(target, [replace(link, taken=not link.taken if taken is None else taken) for link in links], Link)
    return target


def test_hand_edits_last(tmp_path):
    "FINDINGS A.3: a later run lost them and emptied links.csv."
    folder, labels = tmp_path/'out', sheets()
    plain = connect(folder, labels)
    assert len(plain.links) > 0 and [link.taken for link in plain.links].count(True) == 1
    edited = connect(folder, labels, change(folder, folder/'edited.csv'))
    assert len(edited.table) == len(plain.table) + 1 and again(edited) == ['connect'] and 'edits.csv' in edited.again['connect']
    edits = read_rows(folder/'edits.csv', Edit)
    assert [e.kind for e in edits] == ['cut'] and edits[0].z1_A > 3000
    later = connect(folder, labels)                                     # without naming the edits again
    assert again(later) == [] and later.table == edited.table and [link.rule for link in later.links if link.rule == 'user'] == ['user']
    smaller = connect(folder, labels, settings=with_values(RunSettings(), {'connect.min_area_A2': 5e4}))
    assert again(smaller) == ['connect'] and len(smaller.table) == len(edited.table)


def sized(labels, size=None):
    "Labels in a file that says nothing of its voxel size, and what a user says."
    return Volume(labels, size or 1., voxel_size_known=size is not None)


def test_another_voxel_size_makes_given_labels_and_membranes_again(tmp_path):
    "The file is the same; lengths and limits are not."
    z, y, x = np.mgrid[:40, :40, :40] - 19.5
    ids = (abs(np.sqrt(z**2 + y**2 + x**2) - 14) < 1.2)*np.uint16(3)
    path = tmp_path/'ids.npy'
    np.save(path, ids)
    for run, stage in ((run_labels, 'connect'), (run_membranes, 'contours')):
        folder = tmp_path/stage
        tables = [run(path, folder, ids, sized(ids, size), FAST) for size in (None, 10., 20.)]
        assert all('voxel size' in t.again[stage] for t in tables[1:])
        assert not again(run(path, folder, ids, sized(ids, 20.), FAST))
    areas = [[m.area_A2 for m in t.table] for t in tables]
    assert np.allclose(areas[2], np.multiply(areas[1], 4), rtol=1e-4) and np.allclose(areas[1], np.multiply(areas[0], 100), rtol=1e-4)


def test_another_meaning_of_the_values_makes_surfaces_again(tmp_path):
    ids = sheets().astype(np.uint16)
    ids[:, 45:47] *= 2
    np.save(tmp_path/'ids.npy', ids)
    each, one = (run_membranes(tmp_path/'ids.npy', tmp_path/'out', ids, sized(ids, 10.), set_(connect__labels_are=kind)) for kind in (None, 'mask'))
    assert [len(each.table), len(one.table)] == [2, 1] and 'meaning of the values' in one.again['contours']


def test_a_result_keeps_the_voxel_size_of_its_run(tmp_path):
    "Also one that nobody knows, and one of 1 Å that was said to be right."
    labels = sheets()
    np.save(tmp_path/'l.npy', labels)
    for name, size in (('none', None), ('ten', 10.)):
        folder = tmp_path/name
        run_labels(tmp_path/'l.npy', folder, labels, sized(labels, size))
        found = read_volume(folder/'membranes.mrc', check=False)
        run = run_membranes(folder/'membranes.mrc', folder, np.asarray(found.data), found, FAST)
        assert (run.record.voxel_size_known, run.record.voxel_size_A) == (size is not None, size or 1.)
        other = replace(found, voxel_size_A=12., voxel_size_known=True)
        with pytest.raises(VolumeError, match='begin again with --voxel-size'): run_membranes(folder/'membranes.mrc', folder, np.asarray(found.data), other, FAST)
    at_one = replace(run.record, voxel_size_A=1.)
    assert workflow.at_size_of(at_one, replace(found, voxel_size_A=1., voxel_size_known=False), 'x').voxel_size_known


def test_edits_in_voxels_follow_when_the_voxel_size_is_known(tmp_path):
    "And those in Å are not taken for voxels when it is forgotten again."
    labels, folder = sheets(), tmp_path/'out'
    np.save(tmp_path/'l.npy', labels)

    def go(size): return run_labels(tmp_path/'l.npy', folder, labels, sized(labels, size))
    go(None)
    links = read_rows(folder/'links.csv', Link)
    write_rows(folder/'links.csv', [replace(link, taken=not link.taken) for link in links], Link, False)
    folder.joinpath('edits.csv').unlink(missing_ok=True)
    store_edits(folder/'links.csv', folder, labels, sized(labels))
    runs = [go(size) for size in (None, 10., 25.)]
    assert [len(run.table) for run in runs] == [3, 3, 3] and all(run.record.unfit == () for run in runs)
    store_edits(folder/'links.csv', folder, labels, sized(labels, 25.))       # its places are in Å now
    with pytest.raises(VolumeError, match='give --voxel-size'): store_edits(folder/'links.csv', folder, labels, sized(labels))
    write_rows(folder/'edits.csv', read_rows(folder/'edits.csv', Edit) or [Edit('cut', *range(6))], Edit)
    with pytest.raises(VolumeError, match='give --voxel-size'): go(None)


def test_an_edit_never_meets_another_fragment_by_its_number(tmp_path):
    "A larger sheet takes number 1; the edit stays with its places."
    labels = sheets()
    folder = tmp_path/'a'
    connect(folder, labels)
    connect(folder, labels, change(folder, folder/'edited.csv'))
    more = labels.copy()
    more[:, 5:7, :] = 1
    other = tmp_path/'b'
    other.mkdir()
    shutil.copy(folder/'edits.csv', other)
    moved = connect(other, more)
    assert moved.record.unfit == () and len(moved.table) == 4 and sum(link.rule == 'user' for link in moved.links) == 1


def test_an_edit_that_no_longer_fits_is_reported(tmp_path):
    labels = sheets()
    folder = tmp_path/'a'
    connect(folder, labels)
    connect(folder, labels, change(folder, folder/'edited.csv'))
    less = labels.copy()
    less[:, 20:22, 66:125] = 0
    other = tmp_path/'b'
    other.mkdir()
    shutil.copy(folder/'edits.csv', other)
    gone = connect(other, less)
    assert len(gone.record.unfit) == 1 and 'cut' in gone.record.unfit[0] and len(gone.table) == 2


def test_a_person_can_find_what_a_row_speaks_of(tmp_path):
    run = connect(tmp_path/'out', sheets())
    ids = read_volume(tmp_path/'out/fragments.mrc', check=False)
    for f in run.fragments:
        z, y, x = np.round(ids.to_zyx_vox(f.centre_A)).astype(int)
        assert ids.data[z, y, x] == f.fragment_id and (np.asarray(ids.data) == f.fragment_id).sum() == f.n_voxels
    taken, = [link for link in run.links if link.taken]
    z, y, x = ids.to_zyx_vox((taken.x_A, taken.y_A, taken.z_A))
    assert abs(y - 20.5) < 2 and 58 < x < 67 and taken.reason and 0 <= taken.probability <= 1


def test_membranes_of_another_program(tmp_path):
    ids = sheets().astype(np.uint16)
    ids[:, 45:47] *= 40
    volume = Volume(ids, 10.)
    write_volume(tmp_path/'ids.mrc', volume)
    run = run_membranes(tmp_path/'ids.mrc', tmp_path/'out', ids, volume)
    assert [m.id for m in run.table] == [1, 40] and all(m.confidence is None for m in run.table)
    assert list(read_record(tmp_path/'out').stages) == ['contours', 'surface', 'measure'] and (tmp_path/'out/run.toml').exists()
    assert again(run_membranes(tmp_path/'ids.mrc', tmp_path/'out', ids, volume)) == []


def test_a_result_that_somebody_changed_is_not_taken_for_the_runs_own(place):
    path, folder = place
    labels = read_volume(folder/'labels.mrc', check=False)
    data = np.asarray(labels.data).copy()
    data[:5] = 0
    write_volume(folder/'labels.mrc', labels.with_data(data))
    with pytest.raises(VolumeError, match='not what the run wrote'): run_labels(folder/'labels.mrc', folder, data, labels)


def test_surfaces_alone_know_what_the_run_knows(place):
    "FINDINGS A.7: `surface` alone dropped confidence and the mask."
    path, folder = place
    before = workflow.read_run(folder).table
    volume = read_volume(folder/'membranes.mrc', check=False)
    run = run_membranes(folder/'membranes.mrc', folder, np.asarray(volume.data), volume, FAST)
    assert again(run) == [] and run.table == before and before[0].shape_score is not None
    assert again(run_tomogram(*place, FAST)) == []


def test_a_new_stage_is_one_entry(place, monkeypatch):
    def count(job, fresh): (fresh/'count.txt').write_text(str(len(np.unique(job.membranes())) - 1))
    monkeypatch.setattr(workflow, 'STAGES', (*STAGES, Stage('count', ('seed',), ('count.txt',), count)))
    path, folder = place
    job = workflow.Job(folder, path, 'tomogram', read_volume(path), FAST, read_record(folder))
    done = workflow.do_stages(job, workflow.STAGES)
    assert [name for name, why in done.items() if why] == ['count'] and int((folder/'count.txt').read_text()) == len(read_rows(folder/'membranes.csv', Membrane))


@pytest.mark.long
def test_membranes_that_are_fitted_side_by_side_have_the_same_surfaces(monkeypatch):
    from cryoseg.run import stages
    monkeypatch.setattr(stages, 'WORTH_SHARING', 0)
    z, y, x = np.mgrid[:40, :40, :120]
    ids = sum(n*(abs(np.sqrt((z - 20.)**2 + (y - 20)**2 + (x - 40*n + 20)**2) - 10 - n) < 1.2) for n in (1, 2, 3)).astype(np.uint16)
    one, two = (fit_surfaces(ids, workers=n) for n in (1, 2))
    assert [s.id for s in two] == [1, 2, 3]
    for a, b in zip(one, two):
        assert np.array_equal(a.vertices_vox, b.vertices_vox) and np.array_equal(a.sigma_vox, b.sigma_vox) and a.area_vox2 == b.area_vox2 and a.status == b.status


def test_fragments_beyond_uint16_are_kept_as_whole_real_numbers(tmp_path):
    assert [mrc_type_of_ids(n) for n in (0, 65_535, 65_536)] == [np.uint16, np.uint16, np.float32]
    write_volume(tmp_path/'f.mrc', Volume(np.array([[[0, 70_000]]], np.int32), 10.), mrc_type_of_ids(70_000))
    assert read_volume(tmp_path/'f.mrc', check=False).data.tolist() == [[[0, 70_000]]]


def test_nothing_found_is_a_whole_run(tmp_path):
    labels = np.zeros((8, 30, 30), np.int8)
    run = connect(tmp_path/'out', labels)
    assert run.table == [] and read_rows(tmp_path/'out/fragments.csv', Fragment) == []
    assert refused_surface(1, 'x').status == 'refused'


def test_labels_of_another_engine_are_kept_and_said(place, monkeypatch):
    "They differ in few voxels; what was done is not thrown away, but a person should know."
    monkeypatch.setattr('cryoseg.run.workflow.precision_of', lambda settings: 'openvino int8')
    with pytest.warns(UserWarning, match='made with torch float32 and are kept; here it would be openvino int8'):
        again = run_tomogram(*place, FAST)
    assert 'segment' in again.kept and again.record.precision == 'torch float32'
