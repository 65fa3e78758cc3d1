"""The command line on good and bad input: exit codes, one clear line, nothing lost."""
import csv
import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import zarr
from safetensors.numpy import save_file
from typer.testing import CliRunner

from cryoseg.run.cli import app, build_settings
from cryoseg.base.files import VolumeError
from cryoseg.base.formats import read_volume, write_volume
from cryoseg.result.tables import read_table, COLUMNS
from cryoseg.result.folder import checksum, read_record

runner = CliRunner()
COMMANDS = 'run', 'segment', 'connect', 'surface', 'simulate', 'train', 'evaluate', 'info', 'demo'


def cryoseg(*words):
    "Run a command line in this process."
    return runner.invoke(app, [str(w) for w in words])


def refused(*words, naming=()):
    "The command must end with exit code 2 and one line that names each of `naming`."
    result = cryoseg(*words)
    assert result.exit_code == 2, (words, result.exit_code, result.output, result.exception)
    line = [text for text in result.stderr.strip().splitlines() if text.startswith('cryoseg: ') and 'warning:' not in text]     # others are progress bars
    assert len(line) == 1, result.stderr
    assert 'Traceback' not in result.output + result.stderr
    for name in naming: assert str(name) in line[0], (name, line[0])
    return line[0]


@pytest.fixture(scope='module')
def phantom(tmp_path_factory):
    "A small phantom and a whole run on it."
    folder = tmp_path_factory.mktemp('cli')
    assert cryoseg('simulate', '-o', folder / 'sim', '--shape', '40,96,96', '--vesicles', 2, '--seed', 3, '-q').exit_code == 0
    result = cryoseg('run', folder / 'sim/tomogram.mrc', '-o', folder / 'out', '-q')
    assert result.exit_code == 0, result.output + result.stderr
    return folder


def write_mrc(path, data, voxel_size=10.):
    "Write a plain MRC file."
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with mrcfile.new(path, overwrite=True) as file:
            file.set_data(data)
            file.voxel_size = voxel_size
    return path


@pytest.mark.parametrize('command', COMMANDS)
def test_help(command):
    result = cryoseg(command, '--help')
    assert result.exit_code == 0 and 'Usage' in result.stdout


def test_run_writes_all_files(phantom):
    out = phantom / 'out'
    for name in ('run.toml', 'labels.mrc', 'membranes.mrc', 'membranes_closed.mrc', 'lumen.mrc', 'sigma.mrc', 'membranes.csv', 'surfaces', 'report.html'):
        assert (out / name).exists(), name
    for name, mode in (('labels', 0), ('membranes', 6), ('membranes_closed', 6), ('lumen', 6), ('sigma', 2)):
        with mrcfile.open(out / f'{name}.mrc') as file:
            assert int(file.header.mode) == mode and abs(float(file.voxel_size.x) - 10) < 1e-4
    rows = read_table(out / 'membranes.csv')
    assert rows and tuple(rows[0]) == COLUMNS
    assert {r['status'] for r in rows} <= {'closed', 'open', 'truncated', 'refused'}
    assert len(list((out / 'surfaces').glob('membrane_*.ply'))) == sum(r['status'] != 'refused' for r in rows)


def test_run_again_keeps_everything(phantom):
    before = {p: p.stat().st_mtime_ns for p in (phantom / 'out').glob('*.mrc')}
    result = cryoseg('run', phantom / 'sim/tomogram.mrc', '-o', phantom / 'out')
    assert result.exit_code == 0 and 'already done' in result.stdout
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_run_toml_is_a_config(phantom, tmp_path):
    result = cryoseg('run', phantom / 'sim/tomogram.mrc', '-o', tmp_path / 'o', '--config', phantom / 'out/run.toml', '-q')
    assert result.exit_code == 0, result.stderr
    assert read_record(tmp_path / 'o')['settings'] == read_record(phantom / 'out')['settings']
    assert (tmp_path / 'o/membranes.mrc').read_bytes()[1024:] == (phantom / 'out/membranes.mrc').read_bytes()[1024:]


def test_other_settings_are_refused_and_the_run_stays(phantom):
    before = (phantom / 'out/membranes.csv').read_bytes()
    refused('run', phantom / 'sim/tomogram.mrc', '-o', phantom / 'out', '--min-area-A2', 5e6, naming=('min_area_A2', '--overwrite'))
    assert (phantom / 'out/membranes.csv').read_bytes() == before


def test_a_killed_stage_is_done_again(phantom, tmp_path):
    shutil.copytree(phantom / 'out', tmp_path / 'o')
    record = (tmp_path / 'o/run.toml').read_text()
    (tmp_path / 'o/run.toml').write_text(record.replace('surface = true\n', '', 1))
    (tmp_path / 'o/sigma.mrc').unlink()
    result = cryoseg('run', phantom / 'sim/tomogram.mrc', '-o', tmp_path / 'o')
    assert result.exit_code == 0 and 'segment, connect: already done' in result.stdout
    assert (tmp_path / 'o/sigma.mrc').exists()


def test_segment_and_threads(phantom, tmp_path):
    for n in (1, 2): assert cryoseg('segment', phantom / 'sim/tomogram.mrc', '-o', tmp_path / str(n), '--threads', n, '--dtype', 'float32', '--z-range', '10:16', '-q').exit_code == 0
    one, two = (read_volume(tmp_path / str(n) / 'tomogram.mrc', check=False) for n in (1, 2))
    assert one.shape == (6, 96, 96) and (np.asarray(one.data) == np.asarray(two.data)).all()
    assert one.world_origin_A[2] == pytest.approx(read_volume(phantom / 'sim/tomogram.mrc').world_origin_A[2] + 100)     # ten slices of 10 Å were left out


def test_several_inputs(phantom, tmp_path):
    for name in ('a', 'b'): shutil.copy(phantom / 'sim/tomogram.mrc', tmp_path / f'{name}.mrc')
    (tmp_path / 'c.mrc').write_text('not a tomogram at all')
    result = cryoseg('segment', *sorted(tmp_path.glob('*.mrc')), '-o', tmp_path / 'out', '--z-range', '10:12', '-q')
    assert result.exit_code == 1 and 'c.mrc' in result.stderr and '1 of 3' in result.stderr
    assert sorted(p.name for p in (tmp_path / 'out').glob('*.mrc')) == ['a.mrc', 'b.mrc']


def test_equal_stems(phantom, tmp_path):
    (tmp_path / 'x').mkdir()
    shutil.copy(phantom / 'sim/tomogram.mrc', tmp_path / 'x/tomogram.mrc')
    refused('run', phantom / 'sim/tomogram.mrc', tmp_path / 'x/tomogram.mrc', '-o', tmp_path / 'o', naming=('x/tomogram.mrc', 'sim/tomogram.mrc'))


def test_surface_refuses_to_write_over_its_input(phantom):
    refused('surface', phantom / 'out/membranes_closed.mrc', '-o', phantom / 'out', naming=('membranes_closed.mrc', '-o'))


def test_edited_links_win(phantom, tmp_path):
    labels = phantom / 'out' / 'labels.mrc'
    assert cryoseg('connect', labels, '-o', tmp_path / 'a').exit_code == 0
    with open(tmp_path / 'a' / 'fragments.csv', newline='') as file: fragments = list(csv.DictReader(file))
    kept = [row['fragment_id'] for row in fragments if int(row['membrane_id'])]
    columns = (tmp_path / 'a' / 'links.csv').read_text().splitlines()[0]
    assert len(kept) >= 2 and columns.startswith('link_id,fragment_a,end_a,fragment_b,end_b,distance_A')
    edited = tmp_path / 'edited.csv'
    edited.write_text(f'fragment_a,fragment_b,taken\n{kept[0]},{kept[1]},1\n')
    assert cryoseg('connect', labels, '-o', tmp_path / 'b', '--links', edited).exit_code == 0
    ids = [len(np.unique(mrcfile.read(tmp_path / name / 'membranes.mrc'))) for name in 'ab']
    assert ids[1] == ids[0] - 1
    rows = (tmp_path / 'b' / 'links.csv').read_text()
    assert ',1,user' in rows
    edited.write_text(f'fragment_a,fragment_b,taken\n{kept[0]},999,1\n')
    refused('connect', labels, '-o', tmp_path / 'c', '--links', edited, naming=('999', 'other settings'))
    edited.write_text('a,b\n1,2\n')
    refused('connect', labels, '-o', tmp_path / 'c', '--links', edited, naming=('edited.csv, line 2', 'taken'))
    assert not (tmp_path / 'c' / 'membranes.mrc').exists()


def test_connect_membrane_values(phantom, tmp_path):
    data = np.asarray(read_volume(phantom / 'out/labels.mrc', check=False).data)
    write_mrc(tmp_path / 'other.mrc', np.where(data == 1, 7, 0).astype(np.int16))
    assert cryoseg('connect', tmp_path / 'other.mrc', '-o', tmp_path / 'o', '--membrane-values', '7', '-q').exit_code == 0
    assert (tmp_path / 'o/membranes.mrc').read_bytes()[1024:] == (phantom / 'out/membranes.mrc').read_bytes()[1024:]
    refused('connect', tmp_path / 'other.mrc', '-o', tmp_path / 'o2', '--membrane-values', 'x', naming=('x', '1,2'))


def test_evaluate_json(phantom):
    result = cryoseg('evaluate', phantom / 'out', phantom / 'sim', '--json')
    assert result.exit_code == 0, result.stderr
    scores = json.loads(result.stdout)
    assert set(scores) == {'voxel', 'instances', 'surfaces'}
    assert set(scores['voxel']) == {'membrane_iou', 'dice', 'precision', 'recall', 'surface_dice'}
    assert set(scores['instances']) == {'are', 'voi_split_bits', 'voi_merge_bits', 'pq', 'n_true', 'n_found'}
    assert cryoseg('evaluate', phantom / 'out', phantom / 'sim').exit_code == 0


def test_no_membranes_is_no_error(tmp_path):
    noise = np.random.default_rng(0).normal(size=(12, 64, 64)).astype(np.float32)
    result = cryoseg('run', write_mrc(tmp_path / 'noise.mrc', noise), '-o', tmp_path / 'o')
    assert result.exit_code == 0 and 'no membranes found' in result.stdout
    assert read_table(tmp_path / 'o/membranes.csv') == [] and (tmp_path / 'o/report.html').exists()


def test_one_slice(tmp_path):
    from PIL import Image
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(tmp_path / 'slice.png')
    assert cryoseg('segment', tmp_path / 'slice.png', '-o', tmp_path / 'o', '-q').exit_code == 0
    assert read_volume(tmp_path / 'o/slice.mrc', check=False).shape == (1, 64, 64)


def bad_files(folder):
    "Files that no tomogram is, by name."
    good = write_mrc(folder / 'good.mrc', np.random.default_rng(0).normal(size=(16, 32, 32)).astype(np.float32))
    (folder / 'truncated.mrc').write_bytes(good.read_bytes()[:20_000])
    (folder / 'text.mrc').write_text('this is a letter, not a tomogram\n' * 100)
    (folder / 'empty.mrc').write_bytes(b'')
    nan = np.zeros((8, 16, 16), np.float32) + np.arange(16, dtype=np.float32)
    nan[2, 3, 4], nan[0, 0, 0] = np.nan, np.inf
    write_mrc(folder / 'nan.mrc', nan)
    write_mrc(folder / 'constant.mrc', np.ones((8, 16, 16), np.float32))
    np.save(folder / 'four.npy', np.random.default_rng(0).normal(size=(2, 3, 8, 8)))
    np.save(folder / 'line.npy', np.arange(10.))
    np.save(folder / 'complex.npy', np.ones((4, 8, 8), complex))
    (folder / 'film.avi').write_bytes(b'RIFF')
    return [folder / name for name in ('missing.mrc', 'truncated.mrc', 'text.mrc', 'empty.mrc', 'nan.mrc', 'constant.mrc', 'four.npy', 'line.npy', 'complex.npy', 'film.avi')]


def test_bad_input_is_refused_in_one_line(tmp_path):
    for path in bad_files(tmp_path):
        for command in ('run', 'segment'):
            refused(command, path, '-o', tmp_path / 'o', naming=(path.name,))
    assert not (tmp_path / 'o').exists() or not any((tmp_path / 'o').iterdir())


def test_bad_options(phantom, tmp_path):
    tomogram = phantom / 'sim/tomogram.mrc'
    refused('run', tomogram, '-o', tmp_path / 'o', '--z-range', '9:3', naming=('9:3',))
    refused('run', tomogram, '-o', tmp_path / 'o', '--z-range', '90:99', naming=('40',))
    refused('run', tomogram, '-o', tmp_path / 'o', '--voxel-size', '-1', naming=('-1',))
    refused('run', tomogram, '-o', tmp_path / 'o', '--surface', 'magic', naming=('magic', 'star', 'normals'))
    refused('run', tomogram, '-o', tmp_path / 'o', '--fit', 'circle', naming=('circle', 'ellipse', 'gp'))
    refused('run', tomogram, '-o', tmp_path / 'o', '--dtype', 'int3', naming=('int3',))
    refused('run', tomogram, '-o', tmp_path / 'o', '--config', tmp_path / 'none.toml', naming=('none.toml',))
    (tmp_path / 'bad.toml').write_text('[settings.segment]\ntreshold = 0.5\n')
    refused('run', tomogram, '-o', tmp_path / 'o', '--config', tmp_path / 'bad.toml', naming=('treshold', 'threshold'))
    write_mrc(tmp_path / 'mask.mrc', np.ones((3, 4, 5), np.int8))
    refused('run', tomogram, '-o', tmp_path / 'o', '--mask', tmp_path / 'mask.mrc', naming=('(3, 4, 5)', 'mask.mrc'))
    (tmp_path / 'file').write_text('')
    refused('segment', tomogram, '-o', tmp_path / 'file', naming=('file',))
    refused('segment', tomogram, '-o', tmp_path / 'o', '--weights', phantom / 'out/run.toml', naming=('run.toml',))
    save_file({'weight': np.zeros(3, np.float32)}, tmp_path / 'other.safetensors')
    refused('segment', tomogram, '-o', tmp_path / 'o', '--weights', tmp_path / 'other.safetensors', naming=('other.safetensors', '--weights'))
    refused('simulate', '-o', tmp_path / 's', '--shape', '4', naming=('4', '64,160,160'))
    refused('train', tomogram, '-o', tmp_path / 'w.pt', naming=('w.pt', '.safetensors'))
    regions = tmp_path / 'regions.toml'
    refused('train', tomogram, '-o', tmp_path / 'w.safetensors', '--regions', regions, naming=('regions.toml',))
    regions.write_text('[[box]]\nlabel = "vesicle"\n')
    refused('train', tomogram, '-o', tmp_path / 'w.safetensors', '--regions', regions, naming=('box 1', 'vesicle', 'background, membrane or protein'))
    regions.write_text('[[box]]\nlabel = "membrane"\nz = [0, 9999]\n')
    refused('train', tomogram, '-o', tmp_path / 'w.safetensors', '--regions', regions, naming=('9999', 'first voxel'))
    refused('evaluate', tmp_path / 'none', phantom / 'sim', naming=('none',))
    assert cryoseg('run', tomogram).exit_code == 2 and cryoseg('fly').exit_code == 2


def test_missing_voxel_size_is_said(tmp_path):
    path = write_mrc(tmp_path / 'unknown.mrc', np.random.default_rng(0).normal(size=(6, 32, 32)).astype(np.float32), 0)
    result = cryoseg('segment', path, '-o', tmp_path / 'o')
    assert result.exit_code == 0 and '--voxel-size' in result.stderr
    result = cryoseg('segment', path, '-o', tmp_path / 'o2', '--voxel-size', 12)
    assert '--voxel-size' not in result.stderr and read_volume(tmp_path / 'o2/unknown.mrc', check=False).voxel_size_A == 12


def test_unwritable_output_leaves_old_results(phantom, tmp_path, monkeypatch):
    shutil.copytree(phantom / 'out', tmp_path / 'o')
    before = {p.name: p.read_bytes() for p in (tmp_path / 'o').iterdir() if p.is_file()}
    import cryoseg.base.files as volume
    def full(*_): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(volume.os, 'replace', full)
    refused('run', phantom / 'sim/tomogram.mrc', '-o', tmp_path / 'o', '--overwrite', naming=('No space left',))
    monkeypatch.undo()
    after = {p.name: p.read_bytes() for p in (tmp_path / 'o').iterdir() if p.is_file()}
    assert {k: after[k] for k in before if k.endswith(('.mrc', '.csv'))} == {k: before[k] for k in before if k.endswith(('.mrc', '.csv'))}


def test_the_installed_command():
    result = subprocess.run([sys.executable, '-c', 'from cryoseg.run.cli import main; main()', '--version'], capture_output=True, text=True)
    assert result.returncode == 0 and result.stdout.startswith('cryoseg ')
    assert Path(sys.executable).with_name('cryoseg').exists() or Path(sys.executable).with_name('cryoseg.exe').exists()


def test_connect_takes_probabilities_and_links_in_slices(phantom, tmp_path):
    truth = read_volume(phantom / 'sim/truth_labels.mrc', check=False)
    soft = np.where(np.asarray(truth.data) == 1, .8, .1).astype(np.float32)
    write_volume(tmp_path / 'p.mrc', truth.with_data(soft))
    result = cryoseg('connect', tmp_path / 'p.mrc', '-o', tmp_path / 'a', '--link', 'matching')
    assert result.exit_code == 0 and 'probabilities' in result.stdout and 'membrane 1' in result.stdout
    assert 'no membranes' in cryoseg('connect', tmp_path / 'p.mrc', '-o', tmp_path / 'b', '--threshold', '.9').stdout
    write_volume(tmp_path / 'q.mrc', truth.with_data(soft * 3))
    refused('connect', tmp_path / 'q.mrc', '-o', tmp_path / 'c', naming=('q.mrc', 'neither labels nor probabilities'))
    soft[0, 0, 0] = np.nan
    write_volume(tmp_path / 'n.mrc', truth.with_data(soft))
    refused('connect', tmp_path / 'n.mrc', '-o', tmp_path / 'c', naming=('n.mrc', '1 values'))
    refused('connect', tmp_path / 'p.mrc', '-o', tmp_path / 'c', '--link', 'magic', naming=('magic', 'qlearning'))


def test_connect_takes_masks_of_other_tools(phantom, tmp_path):
    truth = read_volume(phantom / 'sim/truth_labels.mrc', check=False)
    mask, size = (np.asarray(truth.data) == 1).astype(np.uint8), truth.voxel_size_A
    write_volume(tmp_path / 'm.mrc', truth.with_data(mask))
    assert cryoseg('connect', tmp_path / 'm.mrc', '-o', tmp_path / 'a').exit_code == 0
    wanted = np.asarray(read_volume(tmp_path / 'a/membranes.mrc', check=False).data)
    group = zarr.open_group(str(tmp_path / '10.000_anna_1_membrane.zarr'), mode='w', zarr_format=2)
    steps = [dict(type='scale', scale=[size] * 3)]
    group.attrs['multiscales'] = [dict(axes=[dict(name=a, type='space', unit='angstrom') for a in 'zyx'], datasets=[dict(path='0', coordinateTransformations=steps)])]
    group.create_array('0', data=mask)
    box = ' '.join(f'0 {(n - 1) * size / 10}' for n in mask.shape[::-1])
    header = (f'# AmiraMesh BINARY-LITTLE-ENDIAN 2.1\ndefine Lattice {" ".join(map(str, mask.shape[::-1]))}\nParameters {{ Materials {{ Exterior {{ Id 1 }} Lumen {{ Id 2 }} Membrane {{ Id 3 }} }}\n'
              f'Units {{ Coordinates "nm" }} BoundingBox {box} }}\nLattice {{ byte Labels }} @1\n# Data section follows\n@1\n')
    (tmp_path / 'labels.am').write_bytes(header.encode() + (2 * mask).tobytes())
    for name, value in (('10.000_anna_1_membrane.zarr', 1), ('labels.am', 2)):
        result = cryoseg('connect', tmp_path / name, '-o', tmp_path / f'o{value}')
        assert result.exit_code == 0 and f'membrane: {value}' in result.stdout, result.output
        found = read_volume(tmp_path / f'o{value}/membranes.mrc', check=False)
        assert found.voxel_size_A == pytest.approx(size) and np.array_equal(found.data, wanted)
    refused('connect', tmp_path / 'labels.am', '-o', tmp_path / 'x', '--membrane-values', 'two', naming=('two',))
    assert checksum(tmp_path / '10.000_anna_1_membrane.zarr') != checksum(tmp_path / 'labels.am')


def test_connect_one_image(tmp_path):
    far = np.hypot(*np.mgrid[-80:80, -80:80])
    image = ((abs(far - 60) < 2) & (abs(np.mgrid[-80:80, -80:80][0]) > 8)).astype(np.int8)
    with mrcfile.new(tmp_path / 'one.mrc') as file:
        file.set_data(image)
        file.voxel_size = 10.
    assert cryoseg('connect', tmp_path / 'one.mrc', '-o', tmp_path / 'o').exit_code == 0
    fragments, links = (read_table(tmp_path / f'o/{name}.csv') for name in ('fragments', 'links'))
    assert [int(r['membrane_id']) for r in fragments] == [1, 1] and sum(int(r['taken']) for r in links) == 2 and links[0]['rule'] == 'qlearning'
    assert 0 < float(fragments[0]['end1_x_A']) < 1600


def ring_image(path, gap=8):
    "An image of a dark ring of radius 60, 4 px thick, torn at two places, with noise."
    far = np.hypot(*np.mgrid[-80:80, -80:80])
    ring = (abs(far - 60) < 2) & (abs(np.mgrid[-80:80, -80:80][0]) > gap)
    return ring, write_mrc(path, (np.random.default_rng(0).normal(size=ring.shape) - 6*ring).astype(np.float32))


def test_one_image_gets_closed_curves(tmp_path):
    _, path = ring_image(tmp_path / 'one.mrc')
    result = cryoseg('run', path, '-o', tmp_path / 'o')
    assert result.exit_code == 0 and 'closed' in result.stdout and 'perimeter' in result.stdout
    section, = read_table(tmp_path / 'o/sections.csv')
    assert section['status'] == 'closed' and section['method'] == 'gp'
    assert float(section['area_A2']) == pytest.approx(np.pi*600**2, rel=.03) and 0 < float(section['area_sd_A2']) < .05*np.pi*600**2
    points = read_table(tmp_path / 'o/curves.csv')
    assert tuple(points[0]) == ('membrane_id', 'z', 'point', 'x_A', 'y_A', 'sigma_A', 'extrapolated', 'method')
    x, y, sigma = (np.array([float(p[k]) for p in points]) for k in ('x_A', 'y_A', 'sigma_A'))
    assert abs(np.hypot(x - 800, y - 800) - 600).max() < 15 and (sigma > 0).all() and '1' in {p['extrapolated'] for p in points}
    table, = read_table(tmp_path / 'o/membranes.csv')
    assert table['status'] == 'closed' and table['volume_A3'] == '' and 'Curves' in (tmp_path / 'o/report.html').read_text()
    before = (tmp_path / 'o/curves.csv').stat().st_mtime_ns
    assert 'curves, surface: already done' in cryoseg('run', path, '-o', tmp_path / 'o').stdout and (tmp_path / 'o/curves.csv').stat().st_mtime_ns == before
    refused('run', path, '-o', tmp_path / 'o', '--fit', 'ellipse', naming=('curves.fit', '--overwrite'))
    assert cryoseg('run', path, '-o', tmp_path / 'e', '--fit', 'ellipse', '-q').exit_code == 0 and read_table(tmp_path / 'e/sections.csv')[0]['method'] == 'ellipse'
    assert cryoseg('run', path, '-o', tmp_path / 'n', '--config', tmp_path / 'o/run.toml', '--fit', 'none', '-q').exit_code == 0 and not (tmp_path / 'n/curves.csv').exists()


def test_a_volume_gets_curves_where_asked(phantom, tmp_path):
    assert not (phantom / 'out/curves.csv').exists()
    few = read_volume(phantom / 'out/membranes.mrc', check=False, z_range=(16, 22))
    write_volume(tmp_path / 'few.mrc', few)
    result = cryoseg('surface', tmp_path / 'few.mrc', '-o', tmp_path / 'o', '--fit', 'gp', '--surface', 'star')
    assert result.exit_code == 0 and 'sections in curves.csv' in result.stdout, result.output + result.stderr
    sections = read_table(tmp_path / 'o/sections.csv')
    assert {int(s['z']) for s in sections} <= set(range(6)) and all(s['reason'] or s['status'] == 'closed' for s in sections)
    assert len(read_table(tmp_path / 'o/membranes.csv')) == len(np.unique(np.asarray(few.data))) - 1
    assert cryoseg('surface', tmp_path / 'few.mrc', '-o', tmp_path / 'o', '--overwrite', '-q').exit_code == 0 and not (tmp_path / 'o/curves.csv').exists()


def test_run_takes_an_ome_zarr(tmp_path, phantom):
    data = read_volume(phantom / 'sim/tomogram.mrc').data[:6]
    group = zarr.open_group(str(tmp_path / 'small.zarr'), mode='w', zarr_format=2)
    group.create_array('0', data=np.asarray(data))
    group.attrs['multiscales'] = [dict(version='0.4', axes=[dict(name=a, type='space', unit='angstrom') for a in 'zyx'],
                                       datasets=[dict(path='0', coordinateTransformations=[dict(type='scale', scale=[10., 10., 10.])])])]
    result = cryoseg('run', tmp_path / 'small.zarr', '-o', tmp_path / 'out', '-q')
    assert result.exit_code == 0, result.output + result.stderr
    assert (tmp_path / 'out/labels.mrc').exists() and read_record(tmp_path / 'out')['run']['voxel_size_A'] == 10
    (tmp_path / 'no_image').mkdir()
    refused('run', tmp_path / 'no_image', '-o', tmp_path / 'other', naming=('no_image', 'folder'))


def test_overwrite_mends_a_damaged_record(tmp_path, phantom):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/run.toml').write_text('x = [')
    image = phantom / 'sim/tomogram.mrc'
    refused('run', image, '-o', tmp_path / 'out', naming=('run.toml', '--overwrite'))
    result = cryoseg('run', image, '-o', tmp_path / 'out', '--overwrite', '--z-range', '0:6', '-q')
    assert result.exit_code == 0 and read_record(tmp_path / 'out')['done']['surface']


def test_a_zero_on_the_command_line_counts(tmp_path):
    config = tmp_path / 'old.toml'
    config.write_text('seed = 5\n[segment]\nthreshold = 0.5\n[input]\nz_start = 10\n')
    old, new = build_settings(config), build_settings(config, seed=0, threshold=0., z_range='0:50')
    assert (old.seed, old.segment.threshold, old.input.z_start) == (5, .5, 10)
    assert (new.seed, new.segment.threshold, new.input.z_start, new.input.z_stop) == (0, 0, 0, 50)
    with pytest.raises(VolumeError, match='0 to 1'): build_settings(threshold=5.)


def test_another_command_strikes_its_stages_off_the_record(tmp_path, phantom):
    out = tmp_path / 'out'
    shutil.copytree(phantom / 'out', out)
    assert cryoseg('surface', out / 'membranes.mrc', '-o', out, '--overwrite', '--fit', 'ellipse', '-q').exit_code == 0
    assert (out / 'curves.csv').exists() and set(read_record(out)['done']) == {'segment', 'connect'}
    assert cryoseg('run', phantom / 'sim/tomogram.mrc', '-o', out, '-q').exit_code == 0
    assert not (out / 'curves.csv').exists()                        # this run asked for none
    assert (out / 'membranes.csv').read_text() == (phantom / 'out/membranes.csv').read_text()
