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

from cryoseg.run.cli import app, main
from cryoseg.run.options import build_settings
from cryoseg.base.files import VolumeError
from cryoseg.base.formats import read_volume, write_volume
from cryoseg.result.folder import checksum, read_record
from cryoseg.result.records import Membrane
from cryoseg.result.tables import columns
from cryoseg.run.settings import OLD_OPTIONS

runner = CliRunner()


def read_table(path):
    "Rows of a CSV file as other programs see them: text."
    with open(path, newline='', encoding='utf-8') as file: return list(csv.DictReader(file))


COMMANDS = 'run', 'segment', 'connect', 'surface', 'measure', 'export', 'napari', 'summary', 'simulate', 'train', 'evaluate', 'info', 'demo', 'settings'


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
    for name in ('run.toml', 'labels.mrc', 'membranes.mrc', 'membranes_closed.mrc', 'lumen.mrc', 'sigma.mrc', 'membranes.csv', 'surfaces', 'report.html',
                 'fragments.mrc', 'fragments.csv', 'links.csv', 'connected.csv'):
        assert (out / name).exists(), name
    for name, mode in (('labels', 0), ('membranes', 6), ('membranes_closed', 6), ('lumen', 6), ('sigma', 2)):
        with mrcfile.open(out / f'{name}.mrc') as file:
            assert int(file.header.mode) == mode and abs(float(file.voxel_size.x) - 10) < 1e-4
    rows = read_table(out / 'membranes.csv')
    assert rows and tuple(rows[0]) == columns(Membrane)
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
    assert read_record(tmp_path / 'o').settings == read_record(phantom / 'out').settings
    assert (tmp_path / 'o/membranes.mrc').read_bytes()[1024:] == (phantom / 'out/membranes.mrc').read_bytes()[1024:]


def test_another_setting_redoes_its_stage_and_says_so(phantom, tmp_path):
    shutil.copytree(phantom / 'out', tmp_path / 'o')
    result = cryoseg('run', phantom / 'sim/tomogram.mrc', '-o', tmp_path / 'o', '--min-area-A2', 5e6)
    assert result.exit_code == 0 and 'segment: already done, kept' in result.stdout
    assert 'connect: done again, connect.min_area_A2 was 100000.0, is 5000000.0' in result.stdout and 'No membranes: ' in result.stdout


def test_a_folder_of_another_version_gets_one_line(phantom, tmp_path):
    (tmp_path / 'o').mkdir()
    (tmp_path / 'o/run.toml').write_text('[run]\nversion = "0.1.0"\n[done]\nsegment = true\n')
    refused('run', phantom / 'sim/tomogram.mrc', '-o', tmp_path / 'o', naming=('run.toml', '0.1.0', '--overwrite'))


@pytest.mark.parametrize('old', OLD_OPTIONS)
def test_old_options_are_answered_with_the_new_ones(old, capsys):
    with pytest.raises(SystemExit) as stop: main(['run', 'a.mrc', '-o', 'o', f'{old}=1'])
    assert stop.value.code == 2 and f'{old} is now called {OLD_OPTIONS[old]}' in capsys.readouterr().err
    assert OLD_OPTIONS[old] in cryoseg('run', '--help').stdout


def test_what_a_config_says_can_be_switched_off(tmp_path):
    "FINDINGS A.10."
    config = tmp_path / 'a.toml'
    config.write_text('[input]\ninvert = true\n[segment]\ndevice = "cuda"\n')
    assert build_settings({}, config).input.invert and build_settings({}, config).segment.device == 'cuda'
    off = build_settings({'input.invert': False, 'segment.device': 'cpu'}, config)
    assert not off.input.invert and off.segment.device == 'cpu'
    assert '--no-invert' in cryoseg('run', '--help').stdout


def test_any_setting_is_reached_by_set(phantom, tmp_path):
    result = cryoseg('surface', phantom / 'out/membranes.mrc', '-o', tmp_path / 'o', '--set', 'surface.edge_vox=4', '-q')
    assert result.exit_code == 0 and read_record(tmp_path / 'o').settings['surface']['edge_vox'] == 4
    refused('surface', phantom / 'out/membranes.mrc', '-o', tmp_path / 'p', '--set', 'surface.edge', naming=('NAME=VALUE',))
    refused('surface', phantom / 'out/membranes.mrc', '-o', tmp_path / 'p', '--set', 'surface.edges=4', naming=('edges', 'edge_vox'))


def test_settings_are_listed(tmp_path):
    everything = cryoseg('settings').stdout
    assert 'segment.threshold = 0.355' in everything and '(--threshold)' in everything and 'connect.trace.focus' in everything
    surface = cryoseg('settings', 'surface').stdout
    assert 'surface.edge_vox = 2 voxels' in surface and 'segment.' not in surface
    (tmp_path / 'a.toml').write_text('[surface]\nedge_vox = 5\n')
    assert 'surface.edge_vox = 5 voxels' in cryoseg('settings', 'surface', '--config', tmp_path / 'a.toml').stdout
    refused('settings', 'colour', naming=('colour', 'surface'))


def test_one_that_runs_out_of_memory_does_not_end_a_batch(phantom, tmp_path, monkeypatch):
    "FINDINGS A.14: CUDA out of memory is a RuntimeError."
    for name in ('a', 'b'): shutil.copy(phantom / 'sim/tomogram.mrc', tmp_path / f'{name}.mrc')
    from cryoseg.segment import predict
    real, calls = predict.label_slices, []

    def shaky(*args, **keywords):
        calls.append(1)
        if len(calls) == 1: raise RuntimeError('CUDA out of memory. Tried to allocate 2.00 GiB')
        return real(*args, **keywords)
    monkeypatch.setattr(predict, 'label_slices', shaky)
    result = cryoseg('segment', tmp_path / 'a.mrc', tmp_path / 'b.mrc', '-o', tmp_path / 'o', '--z-range', '10:12', '-q')
    assert result.exit_code == 1 and 'CUDA out of memory' in result.stderr and (tmp_path / 'o/b.mrc').exists()


def test_ctrl_c_is_130(phantom, tmp_path, monkeypatch):
    from cryoseg.segment import predict
    def stop(*_, **__): raise KeyboardInterrupt
    monkeypatch.setattr(predict, 'label_slices', stop)
    result = cryoseg('run', phantom / 'sim/tomogram.mrc', '-o', tmp_path / 'o', '-q')
    assert result.exit_code == 130 and 'interrupted' in result.stderr


def test_compressed_names_keep_one_suffix(phantom, tmp_path):
    "FINDINGS A.15: a.mrc.gz became a.mrc.mrc."
    import gzip
    (tmp_path / 'a.mrc.gz').write_bytes(gzip.compress((phantom / 'sim/tomogram.mrc').read_bytes()))
    assert cryoseg('segment', tmp_path / 'a.mrc.gz', '-o', tmp_path / 'o', '--z-range', '10:12', '-q').exit_code == 0
    assert [p.name for p in (tmp_path / 'o').iterdir()] == ['a.mrc']


def test_a_voxel_size_of_one_can_be_certain(tmp_path):
    "FINDINGS A.9: --voxel-size 1 counted as unknown."
    path = write_mrc(tmp_path / 'one.mrc', np.random.default_rng(0).normal(size=(4, 32, 32)).astype(np.float32), 1.)
    assert '--voxel-size' in cryoseg('segment', path, '-o', tmp_path / 'a').stderr
    assert '--voxel-size' not in cryoseg('segment', path, '-o', tmp_path / 'b', '--voxel-size', 1).stderr


def test_connect_alone_leaves_a_record_and_a_report(phantom, tmp_path):
    assert cryoseg('connect', phantom / 'out/labels.mrc', '-o', tmp_path / 'o', '-q').exit_code == 0
    record = read_record(tmp_path / 'o')
    assert record.kind == 'labels' and list(record.stages) == ['connect'] and (tmp_path / 'o/report.html').exists()
    again = cryoseg('connect', phantom / 'out/labels.mrc', '-o', tmp_path / 'o')
    assert 'connect: already done, kept' in again.stdout
    other = write_mrc(tmp_path / 'other.mrc', np.zeros((8, 30, 30), np.int8))
    refused('connect', other, '-o', tmp_path / 'o', naming=('another input', '--overwrite'))


def test_toy_surface_method_kernel_and_format_work_from_the_command_line(phantom, tmp_path):
    "What somebody adds is there for the options at once."
    from cryoseg.result.meshes import MESH_FORMATS, placed
    from cryoseg.result.records import Curvature, Surface
    from cryoseg.surface.gp import Kernel
    from cryoseg.surface.settings import KERNELS, SURFACE_METHODS
    from cryoseg.base.geometry import icosphere

    class Ball:
        def __init__(self, radius): self.radius = radius
        def curvature(self, vertices, faces, settings, seed):
            each = np.full(len(vertices), 1/self.radius)
            return Curvature(each, each/10, each**2, each**2/10, 1/self.radius, .1/self.radius)

    def fit_ball(points, shape, settings, id=0, seed=0):
        centre, (u, faces) = points.mean(0), icosphere(3)
        radius = np.linalg.norm(points - centre, axis=1).mean()
        return Surface(id, centre + radius*u, faces, np.ones(len(u)), 'closed', 'a ball', 'ball', 4*np.pi*radius**2,
                       n_points=len(points), model=Ball(radius))

    def write_xyz(path, surface, volume, values=None): np.savetxt(path, placed(surface, volume).vertices_A)
    class Rational(Kernel):
        "A rational quadratic kernel."
        def value(self, r): return 1/(1 + (r/self.scale)**2)
        def first(self, r): return -2/self.scale**2/(1 + (r/self.scale)**2)**2
        def second(self, r): return (6*(r/self.scale)**2 - 2)/self.scale**2/(1 + (r/self.scale)**2)**3

    SURFACE_METHODS.add('ball', fit_ball, 'a ball')
    KERNELS.add('rational', Rational, 'long arms')
    MESH_FORMATS.add('xyz', write_xyz, 'points')
    try:
        result = cryoseg('surface', phantom / 'out/membranes.mrc', '-o', tmp_path / 'o', '--surface-method', 'ball', '--meshes', 'xyz', '-q')
        assert result.exit_code == 0, result.stderr
        rows = read_table(tmp_path / 'o/membranes.csv')
        assert all(r['method'] == 'ball' and r['reason'] == 'a ball' for r in rows)
        for r in rows:                                              # the method's own curvature, not that of its mesh
            area, curvature, sd = (float(r[k]) for k in ('area_A2', 'mean_curvature_per_A', 'mean_curvature_sd_per_A'))
            assert np.isclose(curvature, np.sqrt(4*np.pi/area), rtol=1e-3) and np.isclose(sd, curvature/10, rtol=1e-3)
        assert len(list((tmp_path / 'o/surfaces').glob('*.xyz'))) == len(read_table(tmp_path / 'o/membranes.csv'))
        result = cryoseg('surface', phantom / 'out/membranes.mrc', '-o', tmp_path / 'k', '--surface-method', 'paper', '--kernel', 'rational', '-q')
        assert result.exit_code == 0, result.stderr
        assert {r['method'] for r in read_table(tmp_path / 'k/membranes.csv') if r['status'] != 'refused'} <= {'paper'}
    finally:
        SURFACE_METHODS.remove('ball')
        MESH_FORMATS.remove('xyz')
        KERNELS.remove('rational')


def test_segment_and_threads(phantom, tmp_path):
    for n in (1, 2): assert cryoseg('segment', phantom / 'sim/tomogram.mrc', '-o', tmp_path / str(n), '--workers', n, '--precision', 'float32', '--z-range', '10:16', '-q').exit_code == 0
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


@pytest.mark.long
def test_edited_links_win_and_last(phantom, tmp_path):
    "FINDINGS A.3: in the run's own folder, and a later `run` keeps them."
    out = tmp_path / 'out'
    shutil.copytree(phantom / 'out', out)
    fragments = read_table(out / 'fragments.csv')
    kept = [row['fragment_id'] for row in fragments if int(row['membrane_id'])]
    head = (out / 'links.csv').read_text().splitlines()[0]
    assert len(kept) >= 2 and head.startswith('link_id,fragment_a,end_a,fragment_b,end_b,x_A,y_A,z_A,distance_A') and head.endswith('rule,reason')
    edited = out / 'edited.csv'
    edited.write_text(f'link_id,fragment_a,end_a,fragment_b,end_b,taken\n1,{kept[0]},,{kept[1]},,1\n')
    before = len(read_table(out / 'membranes.csv'))
    result = cryoseg('connect', out / 'labels.mrc', '-o', out, '--links', edited)
    assert result.exit_code == 0 and '1 decisions made by hand' in result.stdout, result.stderr
    edits, = read_table(out / 'edits.csv')
    assert edits['kind'] == 'join' and (edits['fragment_a'], edits['fragment_b']) == (kept[0], kept[1])
    result = cryoseg('run', phantom / 'sim/tomogram.mrc', '-o', out)
    assert result.exit_code == 0 and 'segment, connect: already done, kept' in result.stdout
    assert len(read_table(out / 'membranes.csv')) == before - 1 and any(r['rule'] == 'user' and r['taken'] == '1' for r in read_table(out / 'links.csv'))
    edited.write_text(f'link_id,fragment_a,end_a,fragment_b,end_b,taken\n1,{kept[0]},,999,,1\n')
    refused('connect', phantom / 'out/labels.mrc', '-o', tmp_path / 'c', '--links', edited, naming=('999',))
    edited.write_text('a,b\n1,2\n')
    refused('connect', phantom / 'out/labels.mrc', '-o', tmp_path / 'c', '--links', edited, naming=('edited.csv, line 1', 'link_id'))
    assert not (tmp_path / 'c' / 'membranes.mrc').exists()


def test_connect_membrane_values(phantom, tmp_path):
    data = np.asarray(read_volume(phantom / 'out/labels.mrc', check=False).data)
    write_mrc(tmp_path / 'other.mrc', np.where(data == 1, 7, 0).astype(np.int16))
    assert cryoseg('connect', tmp_path / 'other.mrc', '-o', tmp_path / 'o', '--membrane-values', '7', '-q').exit_code == 0
    assert (tmp_path / 'o/membranes.mrc').read_bytes()[1024:] == (phantom / 'out/membranes.mrc').read_bytes()[1024:]
    refused('connect', tmp_path / 'other.mrc', '-o', tmp_path / 'o2', '--membrane-values', 'x', naming=('x', '--membrane-values'))


def test_evaluate_json(phantom):
    result = cryoseg('evaluate', phantom / 'out', phantom / 'sim', '--json')
    assert result.exit_code == 0, result.stderr
    scores = json.loads(result.stdout)
    assert set(scores) == {'voxel', 'instances', 'surfaces'}
    assert set(scores['voxel']) > {'membrane_iou', 'dice', 'precision', 'recall', 'surface_dice', 'near_recall'}
    assert set(scores['instances']) == {'are', 'voi_split_bits', 'voi_merge_bits', 'pq', 'n_true', 'n_found'}
    assert cryoseg('evaluate', phantom / 'out', phantom / 'sim').exit_code == 0


def test_no_membranes_is_no_error(tmp_path):
    noise = np.random.default_rng(0).normal(size=(12, 64, 64)).astype(np.float32)
    result = cryoseg('run', write_mrc(tmp_path / 'noise.mrc', noise), '-o', tmp_path / 'o')
    assert result.exit_code == 0 and 'No membranes: ' in result.stdout
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
    write_mrc(folder / 'nan.mrc', np.full((8, 16, 16), np.nan, np.float32))
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
    refused('run', tomogram, '-o', tmp_path / 'o', '--surface-method', 'magic', naming=('magic', 'star', 'normals'))
    refused('run', tomogram, '-o', tmp_path / 'o', '--contours', 'circle', naming=('circle', 'ellipse', 'gp'))
    refused('run', tomogram, '-o', tmp_path / 'o', '--precision', 'int3', naming=('int3',))
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
    refused('simulate', '-o', tmp_path / 's', '--shape', '4', naming=('4', 'shape'))
    refused('train', tomogram, '-o', tmp_path / 'w.pt', naming=('w.pt', '.safetensors'))
    regions = tmp_path / 'regions.toml'
    refused('train', tomogram, '-o', tmp_path / 'w.safetensors', '--regions', regions, naming=('regions.toml',))
    regions.write_text('[[box]]\nlabel = "vesicle"\n')
    refused('train', tomogram, '-o', tmp_path / 'w.safetensors', '--regions', regions, naming=('box 1', 'vesicle', 'background, membrane, protein'))
    regions.write_text('[[box]]\nlabel = "membrane"\nz = [0, 9999]\n')
    refused('train', tomogram, '-o', tmp_path / 'w.safetensors', '--regions', regions, naming=('9999', 'first voxel'))
    refused('evaluate', tmp_path / 'none', phantom / 'sim', naming=('none',))
    assert cryoseg('run', tomogram).exit_code == 2 and cryoseg('fly').exit_code == 2


@pytest.mark.parametrize('command', ['apply', 'view', 'export', 'napari', 'summary', 'info', 'doctor'])
def test_a_command_without_settings_refuses_them(command, tmp_path, capsys):
    "They were taken and then left aside, without a word."
    for option in (['--set', 'surface.edge_vox=3'], ['--config', 'my.toml']):
        with pytest.raises(SystemExit) as error: main([command, str(tmp_path), *option])
        assert error.value.code == 2 and 'No such option' in capsys.readouterr().err


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
    assert result.exit_code == 0 and 'probabilities' in result.stdout and 'results in' in result.stdout
    assert 'No membranes: nothing is labelled' in cryoseg('connect', tmp_path / 'p.mrc', '-o', tmp_path / 'b', '--mask-threshold', '.9').stdout
    write_volume(tmp_path / 'q.mrc', truth.with_data(soft * 3))
    refused('connect', tmp_path / 'q.mrc', '-o', tmp_path / 'c', naming=('q.mrc', 'neither labels nor probabilities'))
    soft[0, 0, 0] = np.nan
    write_volume(tmp_path / 'n.mrc', truth.with_data(soft))
    assert '1 voxels are no numbers' in cryoseg('connect', tmp_path / 'n.mrc', '-o', tmp_path / 'n').stdout
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
        assert result.exit_code == 0 and f'membrane is {value}' in result.stdout, result.output
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
    assert 'contours, surface, measure: already done' in cryoseg('run', path, '-o', tmp_path / 'o').stdout and (tmp_path / 'o/curves.csv').stat().st_mtime_ns == before
    assert cryoseg('run', path, '-o', tmp_path / 'e', '--contours', 'ellipse', '-q').exit_code == 0 and read_table(tmp_path / 'e/sections.csv')[0]['method'] == 'ellipse'
    assert cryoseg('run', path, '-o', tmp_path / 'n', '--config', tmp_path / 'o/run.toml', '--contours', 'none', '-q').exit_code == 0 and not (tmp_path / 'n/curves.csv').exists()


def test_a_volume_gets_curves_where_asked(phantom, tmp_path):
    assert not (phantom / 'out/curves.csv').exists()
    few = read_volume(phantom / 'out/membranes.mrc', check=False, z_range=(16, 22))
    write_volume(tmp_path / 'few.mrc', few)
    result = cryoseg('surface', tmp_path / 'few.mrc', '-o', tmp_path / 'o', '--contours', 'gp', '--surface-method', 'star')
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
    assert (tmp_path / 'out/labels.mrc').exists() and read_record(tmp_path / 'out').voxel_size_A == 10
    (tmp_path / 'no_image').mkdir()
    refused('run', tmp_path / 'no_image', '-o', tmp_path / 'other', naming=('no_image', 'folder'))


def test_overwrite_mends_a_damaged_record(tmp_path, phantom):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/run.toml').write_text('x = [')
    image = phantom / 'sim/tomogram.mrc'
    refused('run', image, '-o', tmp_path / 'out', naming=('run.toml', '--overwrite'))
    result = cryoseg('run', image, '-o', tmp_path / 'out', '--overwrite', '--z-range', '0:6', '-q')
    assert result.exit_code == 0 and 'surface' in read_record(tmp_path / 'out').stages


def test_a_zero_on_the_command_line_counts(tmp_path):
    config = tmp_path / 'old.toml'
    config.write_text('seed = 5\n[connect]\nmin_sheet_fraction = 0.4\n[input]\nz_range = [10, 60]\n')
    old = build_settings({}, config)
    new = build_settings({'seed': 0, 'connect.min_sheet_fraction': 0., 'input.z_range': (0, 50)}, config)
    assert (old.seed, old.connect.min_sheet_fraction, old.input.z_range) == (5, .4, (10, 60))
    assert (new.seed, new.connect.min_sheet_fraction, new.input.z_range) == (0, 0, (0, 50))
    for value in (5., 0.):
        with pytest.raises(VolumeError, match=f'threshold = {value:g}'): build_settings({'segment.threshold': value})


@pytest.mark.long
def test_another_command_goes_on_with_the_run(tmp_path, phantom):
    out = tmp_path / 'out'
    shutil.copytree(phantom / 'out', out)
    assert cryoseg('surface', out / 'membranes.mrc', '-o', out, '--contours', 'ellipse', '-q').exit_code == 0
    assert (out / 'curves.csv').exists() and set(read_record(out).stages) == {'segment', 'connect', 'contours', 'surface', 'measure'}
    result = cryoseg('run', phantom / 'sim/tomogram.mrc', '-o', out)
    assert 'segment, connect: already done' in result.stdout and not (out / 'curves.csv').exists()


def test_evaluate_takes_what_is_said_of_both_files(tmp_path):
    "Values of membrane and kinds of labels for the result and for the truth; how files were taken is said, and never into JSON."
    ids = np.zeros((6, 20, 20), np.int8)
    ids[:, 3:5], ids[:, 10:12] = 1, 2
    np.save(tmp_path / 'r.npy', ids)
    np.save(tmp_path / 't.npy', np.uint8(255)*(ids == 2))
    both = tmp_path / 'r.npy', tmp_path / 't.npy'
    result = cryoseg('evaluate', *both, '--membrane-values', 2)
    assert 'membrane iou 1.000' in result.stdout and 'membrane is 2' in result.stdout and 'what is 255 is membrane' in result.stdout
    turned = cryoseg('evaluate', *both[::-1], '--truth-membrane-values', 2, '--json')
    assert json.loads(turned.stdout)['voxel']['membrane_iou'] == 1
    each = cryoseg('evaluate', *both, '--labels-are', 'instances', '--truth-labels-are', 'instances', '--json')
    assert json.loads(each.stdout)['instances']['n_found'] == 2 and 'only 0, 1, 2' not in each.stderr
    refused('evaluate', *both, '--labels-are', 'numbers', naming=('numbers', 'instances'))


def test_ids_of_pieces_are_told_of_relink(tmp_path):
    "Supervoxels: each is too small, all together are a membrane."
    z, y, x = np.mgrid[:40, :60, :60]
    shell = abs(np.sqrt((z - 20)**2 + (y - 30)**2 + (x - 30)**2) - 17) < 1.5
    np.save(tmp_path / 's.npy', shell*(z//8*100 + y//8*10 + x//8 + 1).astype(np.int32))
    words = cryoseg('connect', tmp_path / 's.npy', '-o', tmp_path / 'a', '--voxel-size', 10).stdout
    assert 'No membranes' in words and '--relink' in words
    again = cryoseg('connect', tmp_path / 's.npy', '-o', tmp_path / 'a', '--voxel-size', 10, '--relink')
    assert 'connect.relink' in again.stdout and len(read_table(tmp_path / 'a/connected.csv')) == 1
