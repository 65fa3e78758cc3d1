"""One marked vertex lies on the same voxel wherever it is handed over, as other people's readers see it; the programs themselves are not at hand."""
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from cryoseg.base.files import VolumeError, VolumeWarning
from cryoseg.base.formats import read_volume, write_volume
from cryoseg.base.geometry import icosphere
from cryoseg.base.volume import Volume
from cryoseg.result.folder import RunRecord, StageRecord, checksum, write_record
from cryoseg.result.meshes import surface_file, write_surface_ply
from cryoseg.result.records import Membrane, Protein, Surface
from cryoseg.result.tables import write_rows
from cryoseg.run.cli import app
from cryoseg.show.export import EXPORTS, ExportSettings, export_run, read_results
from cryoseg.show.multiscale import n_levels
from cryoseg.show.napari import SCREENS, napari_reader, new_viewer, open_run
from cryoseg.show.points import points_on, relion_angles
from notebooks import ROOT

SHAPE, SIZE_A, ORIGIN_A = (48, 70, 90), 8., (1000., -240., 77.)
DIRECTIONS, FACES = icosphere(4)
CENTRE, RADIUS = np.array([22., 30., 50.]), 15.
MARK = CENTRE + RADIUS*np.array([0., 0., 1.])           # z,y,x of the vertex at the right: voxel (22, 30, 65)
NORMAL = np.array([0., 0., 1.])


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    "A run with a ball, a marked voxel, and a protein on the mark, in a header with an origin."
    place = tmp_path_factory.mktemp('export')
    folder = place/'run'
    (folder/'surfaces').mkdir(parents=True)
    image = np.zeros(SHAPE, np.float32)
    image[22, 30, 65] = 5.
    tomogram = Volume(image, SIZE_A, ORIGIN_A)
    write_volume(place/'my tomo.mrc', tomogram)
    ids = (image > 0).astype(np.uint16)*3
    write_volume(folder/'membranes.mrc', tomogram.with_data(ids))
    write_volume(folder/'labels.mrc', tomogram.with_data((ids > 0).astype(np.int8)))
    turn = Rotation.align_vectors([[0, 0, 1]], [DIRECTIONS[np.argmax(DIRECTIONS[:, 2])]])[0]
    vertices = CENTRE + RADIUS*turn.apply(DIRECTIONS)
    surface = Surface(3, vertices, FACES, np.linspace(.2, 3, len(vertices)), 'closed')
    write_surface_ply(surface_file(folder, 3), surface, tomogram)
    write_rows(folder/'membranes.csv', [Membrane(3, 900, 'closed')], Membrane)
    x, y, z = tomogram.to_xyz_A(MARK)
    write_rows(folder/'proteins.csv', [Protein(1, 'attached', '', x, y, z, 4., 300, 90., 3, 'outside', 80., 5., normal_x=1., normal_y=0., normal_z=0., normal_sd_deg=2.5),
                                       Protein(2, 'free', 'far away', x, y, z)], Protein)
    path = place/'my tomo.mrc'
    write_record(folder, RunRecord('tomogram', str(path), checksum(path), '0', SIZE_A, SHAPE, stages={'measure': StageRecord('k', '0', {}, {}, {})},
                                   settings=dict(input={})))
    export_run(folder, list(EXPORTS), place/'out')
    return place


def nearest(points, mark):
    "How far the nearest of some points is from a mark."
    return float(np.linalg.norm(np.asarray(points, float) - mark, axis=1).min())


XYZ_A = MARK[::-1]*SIZE_A + ORIGIN_A                    # where the mark is in Å, by the header


@pytest.mark.parametrize('suffix', ['stl', 'obj'])
def test_plain_meshes(run, suffix):
    mesh = trimesh.load(run/f'out/{suffix}/membrane_0003.{suffix}')
    assert nearest(mesh.vertices, XYZ_A) < .01 and mesh.volume > 0


def test_relion(run):
    starfile = pytest.importorskip('starfile')
    rows = starfile.read(run/'out/relion/proteins.star')
    assert len(rows) == 1 and rows.rlnTomoName[0] == 'my_tomo' and rows.cryosegMembraneId[0] == 3
    voxel = rows[['rlnCoordinateZ', 'rlnCoordinateY', 'rlnCoordinateX']].to_numpy()[0]
    np.testing.assert_allclose(voxel, MARK, atol=1e-3)
    centred = rows[[f'rlnCenteredCoordinate{a}Angst' for a in 'XYZ']].to_numpy()[0]
    np.testing.assert_allclose(centred, (MARK[::-1] - np.array(SHAPE[::-1])/2)*SIZE_A, atol=1e-3)
    angles = rows[['rlnAngleRot', 'rlnAngleTilt', 'rlnAnglePsi']].to_numpy()
    np.testing.assert_allclose(Rotation.from_euler('ZYZ', angles, degrees=True).inv().as_matrix()[0][:, 2], NORMAL[::-1], atol=1e-4)
    assert rows.cryosegSigmaAngst[0] == 5 and rows.rlnAngleTiltPrior[0] == rows.rlnAngleTilt[0] and rows.cryosegAngleSigmaDeg[0] == 2.5


def test_points_on_membranes(run):
    rows = pytest.importorskip('starfile').read(run/'out/relion/membranes.star')
    places = rows[['rlnCoordinateZ', 'rlnCoordinateY', 'rlnCoordinateX']].to_numpy()
    np.testing.assert_allclose(np.linalg.norm(places - CENTRE, axis=1), RADIUS, rtol=1e-3)
    angles = rows[['rlnAngleRot', 'rlnAngleTilt', 'rlnAnglePsi']].to_numpy()
    out = Rotation.from_euler('ZYZ', angles, degrees=True).inv().as_matrix()[:, :, 2]
    assert ((out*((places - CENTRE)/RADIUS)[:, ::-1]).sum(1) > .999).all() and (rows.cryosegSigmaAngst > 0).all()
    gaps = np.linalg.norm(places[:, None] - places, axis=2)*SIZE_A
    np.fill_diagonal(gaps, np.inf)
    assert 80 < np.median(gaps.min(1)) < 120


def test_angles_of_every_direction():
    matrices = Rotation.from_euler('ZYZ', np.column_stack(relion_angles(DIRECTIONS)), degrees=True).inv().as_matrix()
    np.testing.assert_allclose(matrices[:, :, 2], DIRECTIONS[:, ::-1], atol=1e-12)


def test_imod(run):
    imodmodel = pytest.importorskip('imodmodel')
    points = imodmodel.read(run/'out/imod/membranes.mod')
    at = points[['z', 'y', 'x']].to_numpy() - [0, .5, .5]              # the middle of the first pixel is 0.5, of the first slice 0
    assert nearest(at, MARK) < .3
    for z, own in points.groupby('z'):
        across = np.sqrt(max(RADIUS**2 - (z - CENTRE[0])**2, 0))
        assert np.abs(np.hypot(own.y - .5 - CENTRE[1], own.x - .5 - CENTRE[2]) - across).max() < .6
    assert set(points.object_id) == {0}
    assert points.groupby('z').contour_id.nunique().max() == 1 and points.groupby('z').size().loc[22] > 30     # one closed line a slice


def test_chimerax(run):
    folder = run/'out/chimerax'
    opened = [line.split('"')[1] for line in (folder/'view.cxc').read_text().splitlines() if line.startswith('open')]
    assert [p for p in opened if not (folder/p).exists()] == [] and opened[0].endswith('my tomo.mrc')
    mesh = trimesh.load(folder/opened[1], process=False)
    assert nearest(mesh.vertices, XYZ_A) < .01
    colors = mesh.visual.vertex_colors[:, :3].astype(int)
    assert colors[0].tolist() == [68, 1, 84] and colors[-1, 0] > 200           # sigma of 1.6 and of 24 Å: both ends of viridis


class Viewer:
    "Stands in for napari.Viewer: notes what it is given."
    def __init__(self, **about): self.about, self.layers, self.dims = about, {}, SimpleNamespace(ndisplay=2)

    def note(self, kind, data, name, **look): self.layers[name] = kind, data, look

    def __getattr__(self, method):
        if method not in ('add_image', 'add_labels', 'add_surface', 'add_points'): raise AttributeError(method)
        return lambda data, **look: self.note(method.removeprefix('add_'), data, **look)


def in_A(layer, data=None):
    "Where the points of a layer, or some data of it, lie in Å, z, y, x."
    _, own, look = layer
    return np.asarray(own if data is None else data)*look['scale'] + look['translate']


def test_napari(run):
    "The layers of the script, without napari, are those of the command."
    space, viewer = {}, Viewer()
    exec(compile((run/'out/napari/view.py').read_text().replace("Path(__file__)", f"Path({str(run/'out/napari/view.py')!r})"), 'view.py', 'exec'), space)
    for data, keywords, kind in space['layers'](): getattr(viewer, f'add_{kind}')(data, **keywords)
    direct = open_run(run/'run', Viewer())
    assert list(viewer.layers) == list(direct.layers) == ['my_tomo', 'labels', 'membranes', 'membrane_0003', 'proteins']
    for layers in (viewer.layers, direct.layers):
        assert {look['units'][0] for _, _, look in layers.values()} == {'angstrom'}
        for name, value in (('my_tomo', 5), ('labels', 1), ('membranes', 3)):
            np.testing.assert_allclose(in_A(layers[name], np.argwhere(np.asarray(layers[name][1]) == value)), [XYZ_A[::-1]], atol=1e-3)
        kind, (vertices, faces, sigma), look = layers['membrane_0003']
        assert nearest(in_A(layers['membrane_0003'], vertices), XYZ_A[::-1]) < .01 and nearest(in_A(layers['proteins']), XYZ_A[::-1]) < .1
        assert sigma.max() == pytest.approx(24, rel=1e-3) and kind == 'surface' and look['contrast_limits'] == [2, 20]
        assert trimesh.Trimesh(in_A(layers['membrane_0003'], vertices)[:, ::-1], faces).volume > 0       # outwards where x comes first
        assert layers['proteins'][2]['features']['side'] == ['outside'] and layers['proteins'][2]['size'] == 60/SIZE_A
    np.testing.assert_allclose(viewer.layers['membrane_0003'][1][0], direct.layers['membrane_0003'][1][0], atol=1e-3)
    assert viewer.layers['my_tomo'][2] == direct.layers['my_tomo'][2]


def test_the_command_opens_napari(run, monkeypatch, tmp_path):
    "With a package of that name which notes what it is asked."
    opened = []
    package = SimpleNamespace(Viewer=lambda **about: opened.append(Viewer(**about)) or opened[0], run=lambda: opened.append('waited'))
    monkeypatch.setitem(sys.modules, 'napari', package)
    for name in SCREENS: monkeypatch.delenv(name, raising=False)
    if sys.platform.startswith('linux'):                          # Qt would end the program
        result = CliRunner().invoke(app, ['napari', str(run/'run')])
        assert result.exit_code == 2 and 'DISPLAY' in result.stderr and not opened, result.output
    monkeypatch.setenv('DISPLAY', ':0')
    result = CliRunner().invoke(app, ['napari', str(run/'run')])
    assert result.exit_code == 0 and opened[1] == 'waited' and opened[0].about == dict(title='my_tomo') and opened[0].dims.ndisplay == 3, result.output
    assert list(opened[0].layers)[0] == 'my_tomo'
    result = CliRunner().invoke(app, ['napari', str(tmp_path)])
    assert result.exit_code == 2 and 'no run.toml' in result.stderr


def test_without_napari_it_names_the_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, 'napari', None)
    result = CliRunner().invoke(app, ['napari', str(run/'run')])
    assert result.exit_code == 2 and 'pip install "cryoseg[napari]"' in result.stderr and len(result.stderr.splitlines()) == 1

    def no_qt(**about): raise ImportError('No Qt bindings could be found\nand much more')
    monkeypatch.setitem(sys.modules, 'napari', SimpleNamespace(Viewer=no_qt))
    monkeypatch.setenv('DISPLAY', ':0')
    with pytest.raises(VolumeError, match='no Qt .*could be found.: pip install'): new_viewer('t')


def test_napari_reads_the_record_of_a_run(run):
    read = napari_reader([str(run/'run/run.toml')])
    names = [look['name'] for _, look, _ in read(str(run/'run/run.toml'))]
    assert names == list(open_run(run/'run', Viewer()).layers)
    assert napari_reader(str(run/'run')) is None and napari_reader(str(run/'run/membranes.csv')) is None
    manifest = (ROOT/'cryoseg/napari.yaml').read_text()
    module, name = re.search(r'python_name: (\S+):(\S+)', manifest).groups()
    assert getattr(import_module(module), name) is napari_reader


def test_napari_says_that_the_tomogram_is_gone(run, tmp_path):
    folder = changed_record(run, tmp_path, input='gone.mrc')
    with pytest.warns(VolumeWarning, match='gone.mrc is not there'): viewer = open_run(folder, Viewer())
    assert list(viewer.layers)[0] == 'labels'


def test_napari_grays_of_an_inverted_tomogram(run, tmp_path):
    "The command shows it as the run has read it, the script opens the file itself."
    path = tmp_path/'g.mrc'
    write_volume(path, Volume(np.random.default_rng(0).gamma(2, size=SHAPE).astype(np.float32), SIZE_A))
    folder = changed_record(run, tmp_path/'b', input=str(path), checksum=checksum(path), settings=dict(input=dict(invert=True)))
    export_run(folder, ['napari'], tmp_path/'o')
    itself = json.loads((tmp_path/'o/napari/layers.json').read_text())['layers'][0]['keywords']['contrast_limits']
    _, data, look = open_run(folder, Viewer()).layers['g']
    assert 0 <= itself[0] < 1 < itself[1] and data.max() <= 0
    np.testing.assert_allclose(look['contrast_limits'], [-itself[1], -itself[0]], rtol=1e-3)


@pytest.mark.parametrize('version', ['0.4', '0.5'])
def test_ome_zarr(run, tmp_path, version):
    pytest.importorskip('ome_zarr', reason='ome-zarr is not installed: it does not resolve beside the pinned fsspec')
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader
    export_run(run/'run', ['omezarr'], tmp_path, ExportSettings(zarr_version=version))
    nodes = {str(node.zarr).split()[0]: node for node in Reader(parse_url(tmp_path/'omezarr/my_tomo.zarr'))()}
    ids, = [node for name, node in nodes.items() if name.endswith('labels/membranes')]
    image = nodes[next(name for name in nodes if name.endswith('my_tomo.zarr'))]
    for node, value in ((ids, 3), (image, 5)):
        assert len(node.data) == n_levels(SHAPE)
        voxel, = np.argwhere(np.asarray(node.data[0]) == value)
        steps = {k: v for step in node.metadata['coordinateTransformations'][0] for k, v in step.items() if k in ('scale', 'translation')}
        np.testing.assert_allclose(voxel*steps['scale'] + steps['translation'], XYZ_A[::-1], atol=1e-3)
        assert [axis['unit'] for axis in node.metadata['axes']] == ['angstrom']*3
    back = read_volume(tmp_path/'omezarr/my_tomo.zarr')
    np.testing.assert_allclose(back.to_xyz_A(voxel), XYZ_A, atol=1e-3)


def test_coarser_copies(run, tmp_path):
    import zarr
    from cryoseg.show.multiscale import write_ome_zarr
    rng = np.random.default_rng(0)
    data = rng.normal(size=(65, 129, 130)).astype(np.float32)
    write_ome_zarr(tmp_path/'t.zarr', Volume(data, 5.), dict(ids=Volume((data > 1).astype(np.uint16)*9, 5.)), '0.5')
    root = zarr.open_group(str(tmp_path/'t.zarr'), mode='r')
    np.testing.assert_allclose(root['1'][0, 0, 0], data[:2, :2, :2].mean(), rtol=1e-5)
    assert set(np.unique(root['labels/ids/1'][:])) == {0, 9} and root['1'].shape == (33, 65, 65)
    steps = root.attrs['ome']['multiscales'][0]['datasets'][1]['coordinateTransformations']
    assert steps[0]['scale'] == [10]*3 and steps[1]['translation'] == [2.5]*3    # the middle of eight voxels
    steps = root['labels/ids'].attrs['ome']['multiscales'][0]['datasets'][1]['coordinateTransformations']
    assert steps[1]['translation'] == [0]*3                                      # the first of eight, which was taken


def test_whole_numbers_are_rounded(tmp_path):
    import zarr
    from cryoseg.show.multiscale import write_ome_zarr
    data = np.random.default_rng(0).integers(0, 255, (128, 128, 128)).astype(np.uint8)
    write_ome_zarr(tmp_path/'t.zarr', Volume(data, 5.), {}, '0.4')
    assert abs(zarr.open_group(str(tmp_path/'t.zarr'), mode='r')['1'][:].mean() - data.mean()) < .02


def test_copick_layout(run):
    "What copick's own reader asks for; its own environment reads it where COPICK_PYTHON names one."
    root = run/'out/copick'
    about = json.loads((root/'copick.json').read_text())
    assert about['overlay_root'] == f'local://{root.resolve()}' and [o['name'] for o in about['pickable_objects']] == ['membrane', 'protein']
    here = root/'ExperimentRuns/my_tomo'
    mesh = trimesh.load(here/'Meshes/cryoseg_3_membrane.glb', force='mesh')
    assert nearest(mesh.vertices, MARK[::-1]*SIZE_A) < .01
    pick, = json.loads((here/'Picks/cryoseg_1_protein.json').read_text())['points']
    np.testing.assert_allclose([pick['location'][a] for a in 'xyz'], MARK[::-1]*SIZE_A, atol=1e-2)
    np.testing.assert_allclose(np.array(pick['transformation_'])[:3, 2], NORMAL[::-1], atol=1e-9)


COPICK = '''
import sys, copick, numpy as np, zarr
root = copick.from_file(sys.argv[1])
run, = root.runs
segmentation, = run.segmentations
data = zarr.open(segmentation.zarr(), mode='r')['0'][:]
print(np.argwhere(data == 1).tolist()[0])
mesh, = run.meshes
vertices = np.asarray(next(iter(mesh.mesh.geometry.values())).vertices)
print(vertices[vertices[:, 0].argmax()].tolist())
picks, = run.picks
print([picks.points[0].location.x, picks.points[0].location.y, picks.points[0].location.z])
tomogram, = run.voxel_spacings[0].tomograms
print(np.argwhere(zarr.open(tomogram.zarr(), mode='r')['0'][:] == 5).tolist()[0], run.voxel_spacings[0].voxel_size)
'''


@pytest.mark.skipif('COPICK_PYTHON' not in os.environ, reason='COPICK_PYTHON names no Python with copick, which wants zarr 2')
def test_copick_itself(run):
    said = subprocess.run([os.environ['COPICK_PYTHON'], '-c', COPICK, run/'out/copick/copick.json'], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    voxel, vertex, pick, tomogram = said.stdout.splitlines()
    assert json.loads(voxel) == [22, 30, 65] and tomogram == '[22, 30, 65] 8.0'
    np.testing.assert_allclose(json.loads(vertex), MARK[::-1]*SIZE_A, atol=.01)
    np.testing.assert_allclose(json.loads(pick), MARK[::-1]*SIZE_A, atol=.01)


def test_the_command(run, tmp_path):
    result = CliRunner().invoke(app, ['export', str(run/'run'), '--to', 'stl, relion', '-o', str(tmp_path/'o')])
    assert result.exit_code == 0 and sorted(p.name for p in (tmp_path/'o').iterdir()) == ['relion', 'stl'], result.output
    for words, said in ((['--to', 'blender'], 'take relion'), (['--to', ','], 'names nothing'), (['--to', 'relion', '--spacing', '-3'], '-3'),
                        (['--to', 'omezarr', '--zarr-version', '0.3'], '0.3')):
        result = CliRunner().invoke(app, ['export', str(run/'run'), *words, '-o', str(tmp_path/'p')])
        assert result.exit_code == 2 and said in result.stderr, result.output


def test_what_cannot_be_handed_over(run, tmp_path):
    with pytest.raises(VolumeError, match='no run.toml'): read_results(tmp_path)
    results = read_results(run/'run')
    write_record(tmp_path, replace(results.record, voxel_size_known=False))
    with pytest.raises(VolumeError, match='no voxel size'): read_results(tmp_path)
    write_record(tmp_path, replace(results.record, stages={}))
    with pytest.raises(VolumeError, match='no finished surfaces'): read_results(tmp_path)


def test_without_the_tomogram_the_rest_is_there(run, tmp_path):
    import shutil
    shutil.copytree(run/'run', tmp_path/'run')
    text = (tmp_path/'run/run.toml').read_text()
    (tmp_path/'run/run.toml').write_text(text.replace('my tomo.mrc', 'gone.mrc'))
    export_run(tmp_path/'run', ['omezarr', 'chimerax', 'napari', 'copick'], tmp_path/'o')
    assert (tmp_path/'o/omezarr/gone.zarr/labels/membranes').exists() and 'volume #1' not in (tmp_path/'o/chimerax/view.cxc').read_text()


def test_few_points_on_small_membranes():
    small = Surface(1, CENTRE + 3*DIRECTIONS, FACES, np.ones(len(DIRECTIONS)), 'closed')
    assert len(points_on(small, 1., 1e4).places) == 1
    assert len(points_on(small, 8., 1.).places) == len(DIRECTIONS)


def changed_record(run, tmp_path, **changes):
    "A copy of the run whose record says something else."
    import shutil
    shutil.copytree(run/'run', tmp_path/'run')
    write_record(tmp_path/'run', replace(read_results(run/'run').record, **changes))
    return tmp_path/'run'


@pytest.mark.parametrize('given', [dict(z_range=[4, 40]), dict(bin=2), dict(beam_axis='x')])
def test_programs_that_count_from_the_whole_refuse_a_part(run, tmp_path, given):
    folder = changed_record(run, tmp_path, settings=dict(input=given))
    for name in ('relion', 'imod'):
        with pytest.raises(VolumeError, match=f'{next(iter(given))}.*run it without'): export_run(folder, [name], tmp_path/'o')
    assert not (tmp_path/'o/relion').exists()
    export_run(folder, ['stl', 'chimerax', 'napari'], tmp_path/'o')
    files = {layer['kind']: layer.get('file', '') for layer in json.loads((tmp_path/'o/napari/layers.json').read_text())['layers']}
    assert files['labels'] == 'membranes.mrc'                    # a copy in plain order
    if given == dict(beam_axis='x'): assert 'image' not in files and 'my tomo' not in (tmp_path/'o/chimerax/view.cxc').read_text()


def test_labels_are_no_tomogram(run, tmp_path):
    folder = changed_record(run, tmp_path, kind='membranes')
    export_run(folder, ['chimerax', 'napari'], tmp_path/'o')
    assert 'my tomo' not in (tmp_path/'o/chimerax/view.cxc').read_text() and 'my tomo' not in (tmp_path/'o/napari/layers.json').read_text()


def test_another_voxel_size_is_not_laid_over(run, tmp_path):
    "The header says 8 Å, the run was told 7: ChimeraX would draw the tomogram larger than its membranes."
    folder = changed_record(run, tmp_path, voxel_size_A=7.)
    export_run(folder, ['chimerax'], tmp_path/'o')
    assert 'my tomo' not in (tmp_path/'o/chimerax/view.cxc').read_text()


def test_what_an_earlier_export_left_goes(run, tmp_path):
    export_run(run/'run', ['stl'], tmp_path)
    (tmp_path/'stl/membrane_0009.stl').write_text('older')
    (tmp_path/'mine.txt').write_text('mine')
    export_run(run/'run', ['stl'], tmp_path)
    assert [p.name for p in (tmp_path/'stl').iterdir()] == ['membrane_0003.stl'] and (tmp_path/'mine.txt').exists()


@pytest.mark.parametrize('name', ['a/../../b', 'Zelle_ä', 'a\tb', '..', ' '])
def test_names_are_no_paths(run, tmp_path, name):
    export_run(run/'run', ['copick', 'relion'], tmp_path/'o', ExportSettings(tomogram=name))
    made = [p.name for p in (tmp_path/'o/copick/ExperimentRuns').iterdir()]
    assert len(made) == 1 and made[0].isascii() and '/' not in made[0] and sorted(p.name for p in tmp_path.iterdir()) == ['o']
    rows = [line for line in (tmp_path/'o/relion/proteins.star').read_text().splitlines() if line.startswith(made[0])]
    assert len(rows) == 1 and len(rows[0].split()) == 15
