"`cryoseg measure` and `cryoseg summary`: nothing fitted again, the tomogram found or missed with a word, many runs joined."
import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from cryoseg.base.files import VolumeError, VolumeWarning
from cryoseg.base.formats import read_volume, write_volume
from cryoseg.phantom.phantom import simulate_phantom, write_phantom
from cryoseg.phantom.settings import PhantomSettings
from cryoseg.result.folder import read_record, write_record
from cryoseg.result.meshes import fit_file, read_fit
from cryoseg.result.records import Distance, Membrane, Protein
from cryoseg.result.tables import read_rows
from cryoseg.run.cli import app
from cryoseg.run.settings import RunSettings, with_values
from cryoseg.run.summary import find_runs, read_groups, summarise
from cryoseg.run.workflow import measure_run, run_tomogram
from cryoseg.show.export import export_run

runner = CliRunner()
FAST = with_values(RunSettings(), {'segment.precision': 'float32'})
PHANTOM = PhantomSettings(shape=(56, 110, 110), voxel_size_A=10., n_vesicles=3, cnr=2.5, radius_A=(150., 230.), double=1., gap_A=0.)


def cryoseg(*words):
    "Run a command line in this process."
    return runner.invoke(app, [str(w) for w in words])


def refused(*words):
    "The one line of a command that ends with exit code 2."
    result = cryoseg(*words)
    assert result.exit_code == 2, result.output + result.stderr
    line, = [text for text in result.stderr.splitlines() if text.startswith('cryoseg: ') and 'warning:' not in text]
    return line


def table(path):
    "Rows of a CSV file as text."
    with open(path, newline='', encoding='utf-8') as file: return list(csv.DictReader(file))


@pytest.fixture(scope='module')
def first(tmp_path_factory):
    "A phantom with vesicles that touch, and a whole run on it."
    folder = tmp_path_factory.mktemp('measures')
    write_phantom(simulate_phantom(PHANTOM, 1), folder/'sim')
    run_tomogram(folder/'sim/tomogram.mrc', folder/'out', FAST)
    return folder


@pytest.fixture
def done(first, tmp_path):
    "A copy of the run; the tomogram stays where it was."
    shutil.copytree(first/'out', tmp_path/'out')
    return tmp_path/'out'


def test_a_run_measures_all(first):
    out = first/'out'
    rows, pairs, proteins = (read_rows(out/f'{name}.csv', kind) for name, kind in (('membranes', Membrane), ('distances', Distance), ('proteins', Protein)))
    assert len(rows) >= 3 and pairs and any(p.status == 'attached' for p in proteins)
    by_id = {row.id: row for row in rows}
    for pair in pairs:
        assert pair.membrane_a < pair.membrane_b and pair.distance_sd_A > 0 and {pair.membrane_a, pair.membrane_b} <= by_id.keys()
        assert by_id[pair.membrane_a].nearest_distance_A <= pair.distance_A
    assert sum(row.n_proteins or 0 for row in rows) == sum(p.status == 'attached' for p in proteins)
    for row in rows:
        if row.status != 'refused': assert row.willmore is None or row.willmore > 0
        if row.status == 'closed': assert .5 < row.sphericity <= 1 and row.sphericity_sd > 0
    assert {p.stem for p in (out/'fits').iterdir()} == {f'membrane_{row.id:04d}' for row in rows}


def test_proteins_for_relion(first, tmp_path):
    "The file of the run and that of the exporter are one, and both say what proteins.csv says."
    starfile = pytest.importorskip('starfile')
    out = first/'out'
    own = [p for p in read_rows(out/'proteins.csv', Protein) if p.status == 'attached']
    rows = starfile.read(out/'proteins.star')
    assert len(rows) == len(own) > 3 and 'proteins.star' in read_record(out).stages['measure'].wrote and read_record(out).no_star == ''
    places_A = rows[['rlnCoordinateX', 'rlnCoordinateY', 'rlnCoordinateZ']].to_numpy()*10
    np.testing.assert_allclose(places_A, [(p.x_A, p.y_A, p.z_A) for p in own], atol=.02)          # this phantom begins at 0 Å
    centred = rows[[f'rlnCenteredCoordinate{a}Angst' for a in 'XYZ']].to_numpy()
    np.testing.assert_allclose(centred, places_A - np.array(PHANTOM.shape[::-1])/2*10, atol=.02)
    normals = Rotation.from_euler('ZYZ', rows[['rlnAngleRot', 'rlnAngleTilt', 'rlnAnglePsi']].to_numpy(), degrees=True).inv().as_matrix()[:, :, 2]
    np.testing.assert_allclose(normals, [(p.normal_x, p.normal_y, p.normal_z) for p in own], atol=1e-3)
    assert list(rows.cryosegMembraneId) == [p.membrane_id for p in own] and set(rows.rlnTomoName) == {'tomogram'}
    export_run(out, ['relion'], tmp_path)
    again = starfile.read(tmp_path/'relion/proteins.star')
    assert list(again) == list(rows) and set(again.rlnTomoName) == {'tomogram'}
    np.testing.assert_allclose(again.iloc[:, 1:].to_numpy(float), rows.iloc[:, 1:].to_numpy(float), atol=.02)


@pytest.mark.parametrize('given', [dict(bin=2), dict(z_range=[4, 60]), dict(beam_axis='x')], ids=str)
def test_no_places_for_relion_where_the_tomogram_was_not_read_whole(done, given):
    record = read_record(done)
    write_record(done, replace(record, settings={**record.settings, 'input': {**record.settings['input'], **given}}))
    fast = with_values(FAST, {'thickness.measure': False})
    with pytest.warns(VolumeWarning, match=f'no proteins.star: RELION counts .*input.{next(iter(given))} = '): measure_run(done, fast)
    assert (done/'proteins.csv').exists() and not (done/'proteins.star').exists()        # nor that of before
    after = read_record(done)
    assert next(iter(given)) in after.no_star and 'proteins.star' not in after.stages['measure'].wrote
    measure_run(done, with_values(fast, {'proteins.measure': False}))
    assert read_record(done).no_star == ''


def test_another_patch_fits_nothing_again(done, first):
    before = {p: p.stat().st_mtime_ns for p in done.rglob('*') if p.is_file()}
    run = measure_run(done, with_values(FAST, {'thickness.patch_radius_A': 150., 'distances.reach_A': 800.}))
    assert list(run.again) == ['measure'] and 'patch_radius_A' in run.again['measure']
    changed = {p.name for p, was in before.items() if p.exists() and p.stat().st_mtime_ns != was}
    assert {'membranes.csv', 'distances.csv'} <= changed and not changed & {'sigma.mrc', 'fitted.csv', 'labels.mrc', 'membrane_0001.npz'}
    assert len(read_rows(done/'distances.csv', Distance)) >= len(read_rows(first/'out/distances.csv', Distance))
    assert measure_run(done, with_values(FAST, {'thickness.patch_radius_A': 150., 'distances.reach_A': 800.})).kept == ['measure']


@pytest.mark.long
def test_the_command_keeps_what_is_not_said(done):
    assert cryoseg('measure', done, '--patch-radius', 140, '-q').exit_code == 0
    assert cryoseg('measure', done, '--distance-reach', 500, '-q').exit_code == 0
    settings = read_record(done).settings
    assert settings['thickness']['patch_radius_A'] == 140 and settings['distances']['reach_A'] == 500 and settings['segment']['precision'] == 'float32'


def test_measuring_gives_what_the_run_gave(done, first):
    (done/'membranes.csv').unlink()
    measure_run(done, FAST)
    assert (done/'membranes.csv').read_bytes() == (first/'out/membranes.csv').read_bytes()
    assert (done/'surfaces/membrane_0001.ply').read_bytes() == (first/'out/surfaces/membrane_0001.ply').read_bytes()


@pytest.mark.long
def test_a_tomogram_that_is_gone_is_asked_for(done, first, tmp_path):
    record = (done/'run.toml').read_text()
    (done/'run.toml').write_text(record.replace(str(first/'sim/tomogram.mrc'), '/nowhere/t.mrc'))
    line = refused('measure', done, '--patch-radius', 130)
    assert '/nowhere/t.mrc' in line and '--tomogram' in line and 'thickness.measure=false' in line
    assert cryoseg('measure', done, '--patch-radius', 130, '--tomogram', first/'sim/tomogram.mrc', '-q').exit_code == 0
    assert any(row.thickness_A for row in read_rows(done/'membranes.csv', Membrane))
    assert cryoseg('measure', done, '--set', 'thickness.measure=false', '-q').exit_code == 0
    assert not any(row.thickness_A for row in read_rows(done/'membranes.csv', Membrane)) and read_rows(done/'distances.csv', Distance)


def test_another_tomogram_must_have_the_shape(done, first, tmp_path):
    volume = read_volume(first/'sim/tomogram.mrc')
    write_volume(tmp_path/'cut.mrc', volume.with_data(volume.data[:40]))
    assert 'has shape' in refused('measure', done, '--tomogram', tmp_path/'cut.mrc')
    brighter = volume.with_data(volume.data*3 + 7)
    write_volume(tmp_path/'other.mrc', brighter)
    run = measure_run(done, FAST, tmp_path/'other.mrc')
    assert 'tomogram has changed' in run.again['measure'] and any(row.thickness_A for row in run.table)


@pytest.mark.long
def test_labels_get_their_densities(first, tmp_path):
    shutil.copy(first/'out/labels.mrc', tmp_path/'mine.mrc')
    out = tmp_path/'o'
    assert cryoseg('connect', tmp_path/'mine.mrc', '-o', out, '-q').exit_code == 0
    assert 'no finished surfaces' in refused('measure', out)
    assert cryoseg('surface', out/'membranes.mrc', '-o', out, '-q').exit_code == 0
    rows = read_rows(out/'membranes.csv', Membrane)
    assert not any(row.thickness_A for row in rows) and not (out/'proteins.csv').exists() and all(row.n_proteins is None for row in rows)
    assert cryoseg('measure', out, '--tomogram', first/'sim/tomogram.mrc', '-q').exit_code == 0
    assert any(row.thickness_A for row in read_rows(out/'membranes.csv', Membrane))


def test_ids_of_another_program_are_not_taken_for_proteins(first, tmp_path):
    "Label 2 of instances is the second membrane: its own voxels must not hide it."
    shutil.copy(first/'out/membranes.mrc', tmp_path/'ids.mrc')
    out = tmp_path/'o'
    assert cryoseg('surface', tmp_path/'ids.mrc', '-o', out, '-q').exit_code == 0
    assert cryoseg('measure', out, '--tomogram', first/'sim/tomogram.mrc', '-q').exit_code == 0
    thick = {row.id: row.thickness_A for row in read_rows(out/'membranes.csv', Membrane)}
    before = {row.id: row.thickness_A for row in read_rows(first/'out/membranes.csv', Membrane)}
    assert {id for id, value in before.items() if value} <= {id for id, value in thick.items() if value}
    (tmp_path/'ids.mrc').unlink()
    assert 'ids.mrc' in refused('measure', out, '--tomogram', first/'sim/tomogram.mrc', '--patch-radius', 120)


def test_what_is_no_run_is_refused(tmp_path):
    assert 'run.toml' in refused('measure', tmp_path)
    with pytest.raises(VolumeError, match='no run.toml'): measure_run(tmp_path, FAST)


def test_a_damaged_fit_is_named(done):
    path = fit_file(done, 1)
    path.write_bytes(path.read_bytes()[:-100])
    assert 'no finished surfaces' in refused('measure', done, '--patch-radius', 130)
    with pytest.raises(VolumeError, match='membrane_0001.npz'): read_fit(path)


def test_surfaces_of_unknown_size_have_no_distances(first, tmp_path):
    volume = read_volume(first/'out/membranes.mrc')
    np.save(tmp_path/'ids.npy', np.asarray(volume.data))
    assert cryoseg('surface', tmp_path/'ids.npy', '-o', tmp_path/'o', '-q').exit_code == 0
    assert table(tmp_path/'o/distances.csv') == [] and table(tmp_path/'o/membranes.csv')[0]['nearest_membrane'] == ''


def test_many_runs_are_joined(first, done, tmp_path):
    batch = tmp_path/'batch'
    shutil.copytree(done, batch/'a'), shutil.copytree(done, batch/'b')
    result = cryoseg('summary', batch, first/'out', '-o', tmp_path/'s')
    assert result.exit_code == 0 and '3 tomograms' in result.stdout, result.output
    rows, tomograms = table(tmp_path/'s/membranes.csv'), table(tmp_path/'s/tomograms.csv')
    assert [t['tomogram'] for t in tomograms] == ['a', 'b', 'out'] and len(rows) == 3*len(read_rows(done/'membranes.csv', Membrane))
    assert list(rows[0])[:3] == ['tomogram', 'group', 'id'] and not (tmp_path/'s/comparison.csv').exists()
    (tmp_path/'g.csv').write_text('tomogram;mouse\na;ko\nb;wt\nout;wt\n')
    assert cryoseg('summary', batch, first/'out', '-o', tmp_path/'s', '--groups', tmp_path/'g.csv', '--by', 'mouse', '-q').exit_code == 0
    found = {(row['measure'], row['group']): row for row in table(tmp_path/'s/comparison.csv')}
    assert found['thickness_A', 'wt']['n_tomograms'] == '2' and found['thickness_A', 'ko']['test'] == 'too few tomograms'
    page = (tmp_path/'s/summary.html').read_text()
    assert 'data:image/png' in page and '>ko<' in page and 'http' not in page.replace('http://www.w3.org', '')


def test_what_cannot_be_joined_is_said(first, done, tmp_path):
    assert 'holds no run' in refused('summary', tmp_path/'nothing', '-o', tmp_path/'s')
    assert 'folder of a run' in refused('summary', done, '-o', done)
    shutil.copytree(done, tmp_path/'other/out')
    assert 'one name' in refused('summary', done, tmp_path/'other/out', '-o', tmp_path/'s')
    (tmp_path/'g.csv').write_text('tomogram,mouse\nb,wt\n')
    assert 'names no mouse for out' in refused('summary', done, '-o', tmp_path/'s', '--groups', tmp_path/'g.csv', '--by', 'mouse')
    assert 'the column rat is missing' in refused('summary', done, '-o', tmp_path/'s', '--groups', tmp_path/'g.csv', '--by', 'rat')
    (tmp_path/'g.csv').write_text('tomogram,mouse\nout,wt\nout,ko\n')
    with pytest.raises(VolumeError, match='line 3.*twice'): read_groups(tmp_path/'g.csv', 'mouse', ['out'])
    (tmp_path/'s').mkdir()
    (tmp_path/'s/membranes.csv').write_text('mine')
    assert 'move it away' in refused('summary', done, '-o', tmp_path/'s') and (tmp_path/'s/membranes.csv').read_text() == 'mine'
    (done/'membranes.csv').unlink()
    assert 'not measured yet' in refused('summary', done, '-o', tmp_path/'t')


def test_a_folder_is_named_once(done):
    assert find_runs([done, done.parent, done]) == [done.resolve()] and len(summarise([done]).runs) == 1


@pytest.mark.long
def test_the_run_reads_its_tomogram_as_it_did(done, first):
    "Inverted densities would give another thickness, which the record would not know."
    line = refused('measure', done, '--invert', '--patch-radius', 120)
    assert 'input.invert was False, is True' in line and '--tomogram' in line
    before = table(done/'membranes.csv')
    assert cryoseg('measure', done, '--invert', '--tomogram', first/'sim/tomogram.mrc', '-q').exit_code == 0
    inverted = table(done/'membranes.csv')
    assert [row['thickness_A'] for row in inverted] != [row['thickness_A'] for row in before]
    assert cryoseg('measure', done, '--tomogram', first/'sim/tomogram.mrc', '--no-invert', '-q').exit_code == 0
    assert table(done/'membranes.csv') == before


@pytest.mark.long
def test_a_tomogram_that_was_given_is_remembered(first, tmp_path):
    shutil.copy(first/'out/membranes.mrc', tmp_path/'ids.mrc')
    out = tmp_path/'o'
    assert cryoseg('surface', tmp_path/'ids.mrc', '-o', out, '-q').exit_code == 0
    assert cryoseg('measure', out, '--tomogram', first/'sim/tomogram.mrc', '-q').exit_code == 0
    thick = [row['thickness_A'] for row in table(out/'membranes.csv')]
    assert any(thick) and cryoseg('measure', out, '--distance-reach', 400, '-q').exit_code == 0
    assert [row['thickness_A'] for row in table(out/'membranes.csv')] == thick
    said = cryoseg('surface', tmp_path/'ids.mrc', '-o', out)
    assert said.exit_code == 0 and 'its thickness is left out now' in said.stderr


def test_a_voxel_size_comes_too_late(first, tmp_path):
    np.save(tmp_path/'ids.npy', np.asarray(read_volume(first/'out/membranes.mrc').data))
    assert cryoseg('surface', tmp_path/'ids.npy', '-o', tmp_path/'o', '-q').exit_code == 0
    assert 'make it anew with --voxel-size' in refused('measure', tmp_path/'o', '--voxel-size', 10)
