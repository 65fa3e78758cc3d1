"Curvature does not depend on where a mesh lies; what is inside and outside of a cut body adds up; the files say what was measured."
import base64
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from cryoseg.result.meshes import read_surfaces
from cryoseg.base.geometry import icosphere
from cryoseg.measure.curvature import (
    bending_stencil, directions_around, fit_jets, graph_curvature, measured, mesh_curvature, monomials,
    parametric_curvature, rim_distance, surface_curvature, tangents,
)
from cryoseg.result.records import refused_surface
from cryoseg.phantom.bodies import Body
from cryoseg.base.mesh import ball_diameter, clip_to_volume, mesh_area, mesh_volume
from cryoseg.result.meshes import read_surface_ply
from cryoseg.surface.settings import SurfaceSettings
from cryoseg.surface.fit import fit_surface
from cryoseg.base.volume import Volume
from cryoseg.result.records import Membrane
from cryoseg.result.tables import columns, read_rows, with_surface, write_rows
from cryoseg.run.measures import write_meshes

SETTINGS = SurfaceSettings(edge_vox=4.)


def egg(a=20., b=25., c=30., splits=4):
    "A mesh of an ellipsoid, its mean and its Gaussian curvature."
    u, faces = icosphere(splits)
    v, axes = u*(a, b, c), np.array([a, b, c])
    g, product = (v**2/axes**4).sum(1), np.prod(axes)
    return v, faces, ((axes**2).sum() - (v**2).sum(1))/(2*product**2*g**1.5), 1/(product**2*g**2)


def cut_ellipsoid(edge, n=6000, seed=0):
    "The surface of an ellipsoid cut at x = edge, seen all round, with the body."
    body, rng = Body(1, 'ellipsoid', (50., 50., 50.), (30., 34., 38.)), np.random.default_rng(seed)
    p, normals, weight = body.surface(20_000)
    seen = (p[:, 2] < edge - .5)
    i = rng.choice(np.flatnonzero(seen), n, p=weight[seen]/weight[seen].sum())
    return fit_surface(p[i] + normals[i]*rng.normal(0, .75, (n, 1)), (100, 100, edge), SETTINGS), body


@pytest.fixture(scope='module')
def cut():
    return cut_ellipsoid(60)


def test_curvature_of_an_ellipsoid():
    v, faces, mean, gaussian = egg()
    got = mesh_curvature(v, faces)
    assert np.abs(got[0]/mean - 1).max() < .02 and np.abs(got[1]/gaussian - 1).max() < .04


@pytest.mark.parametrize('seed', range(3))
def test_curvature_stays_when_the_mesh_moves_and_scales_with_its_size(seed):
    v, faces, _, _ = egg(splits=3)
    rng = np.random.default_rng(seed)
    turn, size = np.linalg.qr(rng.standard_normal((3, 3)))[0], rng.uniform(.1, 10)
    turn *= np.sign(np.linalg.det(turn))
    mean, gaussian = mesh_curvature(v, faces)
    moved = mesh_curvature(size*v @ turn.T + rng.normal(0, 100, 3), faces)
    np.testing.assert_allclose(moved[0], mean/size, rtol=2e-3)
    np.testing.assert_allclose(moved[1], gaussian/size**2, rtol=5e-3)
    inside_out = mesh_curvature(v, faces[:, ::-1])
    np.testing.assert_allclose(inside_out[0], -mean, rtol=2e-3)
    np.testing.assert_allclose(inside_out[1], gaussian, rtol=5e-3)


@pytest.mark.parametrize('seed', range(4))
def test_a_cut_ellipsoid_has_the_volume_of_its_segment(seed):
    rng = np.random.default_rng(seed)
    a, b, c = rng.uniform(20, 40, 3)
    body, shape = Body(1, 'ellipsoid', (50., 50., 50.), (a, b, c)), (100, 100, int(50 + rng.uniform(-.7, .7)*c))
    v, faces = body.mesh(40_000)
    inside, kept, _, volume = clip_to_volume(v, faces, np.zeros(len(v)), shape)
    h = shape[2] - .5 - 50
    assert volume == pytest.approx(np.pi*a*b*(2*c/3 + h - h**3/(3*c**2)), rel=2e-3)
    assert inside[:, 2].max() <= shape[2] - .5 + 1e-6 and mesh_area(inside, kept) < body.area_vox2


def test_inside_and_outside_are_the_whole_and_the_outside_is_less_sure(cut):
    s, body = cut
    assert s.status == 'truncated'
    v, faces = body.mesh(40_000)
    inside = clip_to_volume(v, faces, np.zeros(len(v)), (100, 100, 60))
    area = mesh_area(*inside[:2])
    for got, sd, true in ((s.area_vox2, s.area_sd_vox2, area), (s.area_outside_vox2, s.area_outside_sd_vox2, body.area_vox2 - area),
                          (s.volume_vox3, s.volume_sd_vox3, inside[3]), (s.volume_outside_vox3, s.volume_outside_sd_vox3, body.volume_vox3 - inside[3]),
                          (s.diameter_vox, s.diameter_sd_vox, ball_diameter(body.volume_vox3))):
        assert abs(got - true) < 3*sd
    assert s.diameter_vox == pytest.approx(float(ball_diameter(s.volume_vox3 + s.volume_outside_vox3)))
    assert s.area_outside_sd_vox2/s.area_outside_vox2 > s.area_sd_vox2/s.area_vox2
    assert s.volume_outside_sd_vox3/s.volume_outside_vox3 > s.volume_sd_vox3/s.volume_vox3
    assert s.vertices_vox[:, 2].max() <= 59.5 + 1e-6


def test_the_files_of_a_run_say_what_was_measured(cut, tmp_path):
    s = measured(cut[0], SETTINGS)
    volume = Volume(np.zeros((100, 100, 60), np.uint16), 5., (7., 8., 9.))
    write_meshes(tmp_path, [s], volume)
    write_rows(tmp_path/'membranes.csv', [with_surface(Membrane(1, 6000), s, volume)], Membrane)
    row, = read_rows(tmp_path/'membranes.csv', Membrane)
    measures = columns(Membrane)[columns(Membrane).index('area_outside_A2'):columns(Membrane).index('n_fragments')]
    assert all(getattr(row, name) is not None for name in measures) and len(measures) == 8
    assert row.diameter_A == pytest.approx(5*s.diameter_vox, rel=1e-4) and row.volume_outside_A3 == pytest.approx(125*s.volume_outside_vox3, rel=1e-4)
    assert row.mean_curvature_per_A == pytest.approx(s.curvature.average_per_vox/5, rel=1e-4)
    xyz_A, faces, sigma_A = read_surface_ply(tmp_path/'surfaces'/'membrane_0001.ply')
    assert np.isfinite(sigma_A).all() and len(read_surfaces(tmp_path, volume)) == 1
    root = ElementTree.parse(tmp_path/'surfaces'/'membrane_0001.vtp').getroot()
    raw = {e.get('Name'): base64.b64decode(e.text)[8:] for e in root.iter('DataArray')}
    np.testing.assert_array_equal(np.frombuffer(raw['connectivity'], '<i4').reshape(-1, 3), faces)
    np.testing.assert_allclose(np.frombuffer(raw['Points'], '<f4').reshape(-1, 3), xyz_A, rtol=1e-6)
    np.testing.assert_allclose(np.frombuffer(raw['mean_curvature_per_A'], '<f4'), s.curvature.mean_per_vox/5, rtol=1e-5)
    assert mesh_volume(xyz_A[:, ::-1], faces[:, ::-1]) == pytest.approx(mesh_volume(5*s.vertices_vox, s.faces), rel=1e-4)


def test_a_closed_body_has_nothing_outside():
    s, body = cut_ellipsoid(100)
    assert s.status == 'closed' and np.isnan([s.area_outside_vox2, s.volume_outside_sd_vox3]).all()
    assert abs(s.diameter_vox - ball_diameter(body.volume_vox3)) < 3*s.diameter_sd_vox
    row = with_surface(Membrane(1, 9), s, Volume(np.zeros((4, 4, 4), np.uint8), 5.))
    assert row.mean_curvature_per_A is None and row.area_outside_A2 is None


# formulas

def test_tangents_make_a_right_handed_frame():
    normals = np.random.default_rng(0).normal(size=(50, 3))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    frame = tangents(normals)
    np.testing.assert_allclose(np.cross(frame.first, frame.second), normals, atol=1e-12)
    np.testing.assert_allclose((frame.first*normals).sum(1), 0, atol=1e-12)


@pytest.mark.parametrize('second, mean, gaussian', [((-.1, 0, -.1), .1, .01), ((-.2, 0, 0), .1, 0), ((.1, 0, -.1), 0, -.01), ((0, .1, 0), 0, -.01)])
def test_caps_cylinders_and_saddles(second, mean, gaussian):
    got = graph_curvature(np.zeros((1, 2)), np.array([second]))
    np.testing.assert_allclose((got.mean[0], got.gaussian[0]), (mean, gaussian), atol=1e-12)
    upside_down = graph_curvature(np.zeros((1, 2)), -np.array([second]))
    np.testing.assert_allclose((upside_down.mean[0], upside_down.gaussian[0]), (-mean, gaussian), atol=1e-12)


def test_a_slanted_graph_of_a_sphere_bends_like_the_sphere():
    u, v, r = .3, -.4, 1.
    h = np.sqrt(r**2 - u**2 - v**2)
    gradient = np.array([[-u/h, -v/h]])
    second = -np.array([[(h**2 + u**2)/h**3, u*v/h**3, (h**2 + v**2)/h**3]])
    got = graph_curvature(gradient, second)
    np.testing.assert_allclose((got.mean[0], got.gaussian[0]), (1/r, 1/r**2))


def test_monomials_come_degree_by_degree():
    powers = monomials(4)
    assert len(powers) == 15 and powers[:6].tolist() == [[0, 0], [1, 0], [0, 1], [2, 0], [1, 1], [0, 2]]


def test_jets_of_a_sphere_have_no_gradient():
    u, faces = icosphere(3)
    jets = fit_jets(10*u, faces, 6.)
    np.testing.assert_allclose(jets.gradient, 0, atol=.02)                  # normals of a mesh are a little off
    np.testing.assert_allclose(jets.second, np.tile([-.1, 0, -.1], (len(u), 1)), atol=5e-3)
    assert np.isnan(fit_jets(10*u, faces, 2.).second).all()              # nobody near


def test_the_rim_of_a_half_sphere():
    u, faces = icosphere(3)
    half = faces[(u[faces][..., 0] >= -1e-9).all(1)]
    distance = rim_distance(u, half)
    assert np.isinf(rim_distance(u, faces)).all() and distance[u[:, 0].argmax()] == pytest.approx(np.sqrt(2), rel=.05)


@pytest.mark.parametrize('axes', [(30., 30., 30.), (20., 25., 40.)])
def test_differences_on_an_ellipsoid(axes):
    body = Body(1, 'ellipsoid', (0., 0., 0.), axes)
    directions = icosphere(2)[0]
    around = directions_around(directions)
    assert around.shape == (9, len(directions), 3) and np.allclose(np.linalg.norm(around, axis=2), 1)
    points = body.at(around.reshape(-1, 3))[0].reshape(around.shape)
    got = parametric_curvature(points, np.zeros(3))
    axes, v = np.array(axes), points[0]
    g, product = (v**2/axes**4).sum(1), np.prod(axes)
    np.testing.assert_allclose(got.mean, ((axes**2).sum() - (v**2).sum(1))/(2*product**2*g**1.5), rtol=1e-4)
    np.testing.assert_allclose(got.gaussian, 1/(product**2*g**2), rtol=1e-4)


def test_the_stencil_gives_second_derivatives_of_a_polynomial():
    stencil = bending_stencil(5.)
    u, v = stencil.points.T
    assert stencil.points.shape == (19, 2) and np.hypot(u, v).max() == pytest.approx(5)
    heights = 2 - u + .3*v + .05*u**2 + .02*u*v - .01*v**2 + 1e-3*u**3
    np.testing.assert_allclose(stencil.weights @ heights, (.1, .02, -.02), atol=1e-10)


def test_total_gaussian_curvature_is_four_pi():
    "Gauss and Bonnet: of any closed surface of genus 0."
    from cryoseg.base.mesh import vertex_areas
    v, faces, _, _ = egg()
    assert (mesh_curvature(v, faces).gaussian*vertex_areas(v, faces)).sum() == pytest.approx(4*np.pi, rel=5e-3)


def test_a_refused_surface_stays_as_it_is():
    refused = refused_surface(3, 'too few')
    assert measured(refused) is refused


def test_values_in_angstrom_scale(cut):
    c = surface_curvature(cut[0], SETTINGS)
    in_A, in_vox = c.in_A(5.), c.in_A(1.)
    np.testing.assert_allclose(in_A['mean_curvature_per_A'], in_vox['mean_curvature_per_A']/5)
    np.testing.assert_allclose(in_A['gaussian_curvature_sd_per_A2'], in_vox['gaussian_curvature_sd_per_A2']/25)
