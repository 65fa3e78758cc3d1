"""Mesh files: in the right place, the right way out, readable by others, and open to a new format."""
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from cryoseg.base.files import VolumeError
from cryoseg.base.geometry import icosphere
from cryoseg.base.volume import Volume
from cryoseg.result.meshes import MESH_FORMATS, placed, read_fit, read_surface_ply, write_fit, write_mesh, write_scene_glb
from cryoseg.result.records import Curvature, Spread, Surface, refused_surface
from cryoseg.result.settings import OutputSettings

VOLUME = Volume(np.zeros((4, 5, 6)), 8., (100., 200., 300.))
DIRECTIONS, FACES = icosphere(3)
AXES = np.array([4., 6., 9.])       # z, y, x: unequal, so that a mix-up shows
BODY = Surface(1, 20 + AXES*DIRECTIONS, FACES, np.linspace(.1, .9, len(DIRECTIONS)), 'closed')


def test_the_place_is_that_of_the_header():
    vertices_A, faces, sigma_A = placed(BODY, VOLUME)
    np.testing.assert_allclose((vertices_A.max(0) + vertices_A.min(0))/2, [100 + 160, 200 + 160, 300 + 160], atol=1)
    np.testing.assert_allclose(np.ptp(vertices_A, axis=0), 2*8*AXES[::-1], rtol=.02)
    assert (sigma_A == 8*BODY.sigma_vox).all()


@pytest.mark.parametrize('suffix', ['ply', 'obj', 'stl'])
def test_another_reader_finds_a_body_that_looks_outwards(suffix, tmp_path):
    write_mesh(tmp_path/f'm.{suffix}', BODY, VOLUME)
    mesh = trimesh.load(tmp_path/f'm.{suffix}')
    assert mesh.is_watertight and mesh.volume == pytest.approx(4/3*np.pi*AXES.prod()*8**3, rel=.02)       # negative if it looked inwards


def test_a_scene_has_a_node_for_each(tmp_path):
    write_scene_glb(tmp_path/'s.glb', [BODY, Surface(7, BODY.vertices_vox + 30, FACES, BODY.sigma_vox, 'closed')], VOLUME)
    scene = trimesh.load(tmp_path/'s.glb')
    assert set(scene.geometry) == {'membrane_0001', 'membrane_0007'}


def test_ply_comes_back_with_sigma_and_further_values(tmp_path):
    write_mesh(tmp_path/'m.ply', BODY, VOLUME, {'mean_curvature_per_A': BODY.sigma_vox})
    back = read_surface_ply(tmp_path/'m.ply')
    np.testing.assert_allclose(back.vertices_A, placed(BODY, VOLUME).vertices_A, rtol=1e-6)
    np.testing.assert_allclose(back.sigma_A, 8*BODY.sigma_vox, rtol=1e-6)
    assert b'property float mean_curvature_per_A' in (tmp_path/'m.ply').read_bytes()


def test_what_is_no_mesh_is_refused(tmp_path):
    (tmp_path/'m.ply').write_bytes(b'no mesh')
    with pytest.raises(VolumeError, match='m.ply'): read_surface_ply(tmp_path/'m.ply')
    with pytest.raises(VolumeError, match='blend'): write_mesh(tmp_path/'m.blend', BODY, VOLUME)


def test_a_new_format_is_one_function_and_one_line(tmp_path):
    "A cloud of points as text, as a stranger would add it."
    def write_xyz(path, surface, volume, values=None):
        np.savetxt(path, placed(surface, volume).vertices_A, fmt='%.2f')
    MESH_FORMATS.add('xyz', write_xyz, 'points as text')
    try:
        assert OutputSettings(meshes=('xyz',)).meshes == ('ply', 'xyz')
        write_mesh(tmp_path/'m.xyz', BODY, VOLUME)
        np.testing.assert_allclose(np.loadtxt(tmp_path/'m.xyz'), placed(BODY, VOLUME).vertices_A, atol=.006)
    finally: MESH_FORMATS.remove('xyz')


def test_a_fit_comes_back(tmp_path):
    rng = np.random.default_rng(0)
    curvature = Curvature(*rng.normal(size=(4, len(DIRECTIONS))), .1, .01, 12.6, .2)
    body = replace(BODY, spread=Spread(BODY.vertices_vox[::9], DIRECTIONS[::9], rng.normal(size=(40, len(DIRECTIONS[::9])))), curvature=curvature,
                   reason='Å "quoted"; and more', sphericity=.97)
    write_fit(tmp_path/'f.npz', body)
    back = read_fit(tmp_path/'f.npz')
    assert (back.id, back.status, back.reason, back.sphericity, back.curvature.willmore) == (1, 'closed', body.reason, .97, 12.6)
    assert (back.faces == FACES).all() and back.model is None and back.thickness is None and np.isnan(back.volume_vox3)
    np.testing.assert_allclose(back.vertices_vox, body.vertices_vox, rtol=1e-6)
    np.testing.assert_allclose(back.spread.moves_vox, body.spread.moves_vox, rtol=1e-3)
    np.testing.assert_allclose(back.curvature.gaussian_per_vox2, curvature.gaussian_per_vox2, rtol=1e-6)
    first = (tmp_path/'f.npz').read_bytes()
    write_fit(tmp_path/'f.npz', body)
    assert (tmp_path/'f.npz').read_bytes() == first             # no date in it


def test_a_refused_surface_has_a_fit_too(tmp_path):
    write_fit(tmp_path/'f.npz', refused_surface(4, 'too few', 12))
    back = read_fit(tmp_path/'f.npz')
    assert (back.id, back.status, back.n_points, len(back.vertices_vox)) == (4, 'refused', 12, 0) and back.vertices_vox.shape == (0, 3)


@pytest.mark.parametrize('make', [lambda path: path.write_bytes(b'no zip'), lambda path: path.write_bytes(path.read_bytes()[:900]),
                                  lambda path: np.savez(path, id=1, magic=2), lambda path: np.savez(path, id=1),
                                  lambda path: np.savez(path, **np.load(path), **{'thickness.mean_vox': 1}), lambda path: np.savez(path, **np.load(path), **{'strange.part': 1}),
                                  lambda path: np.savez(path, id=np.array([{}], object), status='closed')])
def test_what_is_no_fit_is_refused(make, tmp_path):
    write_fit(tmp_path/'f.npz', BODY)
    make(tmp_path/'f.npz')
    with pytest.raises(VolumeError, match='f.npz.*make the run anew'): read_fit(tmp_path/'f.npz')
