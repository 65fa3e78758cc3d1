"Triangle meshes, held to trimesh, scipy and closed forms."
import numpy as np
import pytest
import trimesh
from scipy.spatial import ConvexHull

from cryoseg.base.geometry import Ellipsoid, icosphere
from cryoseg.base.mesh import (area_and_volume, ball_diameter, clip_to_volume, drop_unused_vertices, face_edges, face_normals, inside_mesh, is_closed,
                               largest_parts, mesh_area, mesh_volume, split_mesh, vertex_areas, vertex_normals)

BODY = Ellipsoid(np.array([9.3, 10.1, 11.7]), np.array([[1/7, 0, 0], [.01, 1/6, 0], [0, .02, 1/8]]))


@pytest.fixture
def body():
    v, f = icosphere(3)
    return BODY.at(v), f


def test_area_and_volume_are_those_of_trimesh_and_of_the_hull(body):
    theirs, hull = trimesh.Trimesh(*body, process=False), ConvexHull(body[0])
    assert mesh_area(*body) == pytest.approx(theirs.area, rel=1e-12) == pytest.approx(hull.area)
    assert mesh_volume(*body) == pytest.approx(theirs.volume, rel=1e-12) == pytest.approx(hull.volume)
    np.testing.assert_allclose(face_normals(*body)/2/theirs.area_faces[:, None], theirs.face_normals, atol=1e-9)


def test_scaling_moving_turning_and_turning_inside_out(body):
    v, f = body
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    q *= np.linalg.det(q)
    assert mesh_area(3*v @ q + 50, f) == pytest.approx(9*mesh_area(v, f)) and mesh_volume(3*v @ q + 50, f) == pytest.approx(27*mesh_volume(v, f))
    assert mesh_volume(v, f[:, ::-1]) == pytest.approx(-mesh_volume(v, f)) and mesh_area(v, f[:, ::-1]) == pytest.approx(mesh_area(v, f))
    assert ball_diameter(mesh_volume(2*v, f)) == pytest.approx(2*ball_diameter(mesh_volume(v, f))) and ball_diameter(4/3*np.pi*5**3) == pytest.approx(10)
    np.testing.assert_allclose(face_normals(v, f).sum(0), 0, atol=1e-9)


def test_vertices_share_areas_and_normals(body):
    v, f = body
    areas = np.zeros(len(v))
    np.add.at(areas, f.ravel(), np.repeat(np.linalg.norm(face_normals(v, f), axis=1)/6, 3))
    np.testing.assert_allclose(vertex_areas(v, f), areas)
    assert vertex_areas(v, f).sum() == pytest.approx(mesh_area(v, f))
    normals = vertex_normals(v, f)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    assert (normals*BODY.normals(v)).sum(1).min() > .99
    lonely = vertex_normals(np.vstack([v, [[0, 0, 0]]]), f)
    assert (lonely[-1] == 0).all() and (lonely[:-1] == normals).all()


def test_closed_is_what_trimesh_calls_watertight(body):
    v, f = body
    for faces in (f, f[1:], np.vstack([f, f[:1]])): assert is_closed(faces) == trimesh.Trimesh(v, faces, process=False).is_watertight
    assert is_closed(f) and not is_closed(f[1:]) and not is_closed(f[:0])
    assert len(face_edges(f)) == 3*len(f) and len(np.unique(np.sort(face_edges(f), axis=1), axis=0)) == 3*len(f)//2


def test_small_parts_are_found_and_their_vertices_dropped(body):
    v, f = body
    small = icosphere(0)
    both, faces = np.vstack([v, small.vertices + 90]), np.vstack([f, small.faces + len(v)])
    keep = largest_parts(both, faces)
    assert keep[:len(f)].all() and not keep[len(f):].any() and largest_parts(both, faces, 0.).all()
    vertices, faces, carried = drop_unused_vertices(both, faces[~keep], np.arange(len(both)))
    np.testing.assert_array_equal(vertices, small.vertices + 90)
    np.testing.assert_array_equal(faces, small.faces)
    np.testing.assert_array_equal(carried, np.arange(12) + len(v))


def test_splitting_keeps_area_volume_and_what_is_carried(body):
    v, f = body
    height = v[:, 1] - 10.3
    mesh = split_mesh(v, f, height, v[:, 2])
    assert is_closed(mesh.faces) and len(mesh.vertices) > len(v)
    assert mesh_area(mesh.vertices, mesh.faces) == pytest.approx(mesh_area(v, f)) and mesh_volume(mesh.vertices, mesh.faces) == pytest.approx(mesh_volume(v, f))
    np.testing.assert_allclose(mesh.vertices[:, 1] - 10.3, mesh.level, atol=1e-9)
    np.testing.assert_allclose(mesh.vertices[:, 2], mesh.carried)
    signs = np.sign(np.where(np.abs(mesh.level) < 1e-9, 0, mesh.level))[mesh.faces]
    assert not ((signs > 0).any(1) & (signs < 0).any(1)).any()
    untouched = split_mesh(v, f, np.ones(len(v)), v[:, 2])
    assert (untouched.vertices == v).all() and (untouched.faces == f).all()


@pytest.mark.parametrize('axis', [0, 1, 2])
@pytest.mark.parametrize('far', [False, True])
def test_clipping_leaves_the_cap_of_a_ball(axis, far):
    "Of a ball of radius R cut off at the height h: area 2 pi R h, volume pi h^2 (3R - h)/3."
    v, f = icosphere(4)
    radius, height, shape = 9., 5., np.array([40, 40, 40])
    centre = np.full(3, 20.)
    centre[axis] = 40 - .5 + radius - height if far else -.5 - radius + height
    v = radius*v + centre
    vertices, faces, sigma, volume = clip_to_volume(v, f, v[:, 1], tuple(shape))
    assert mesh_area(vertices, faces) == pytest.approx(2*np.pi*radius*height, rel=.01) and volume == pytest.approx(np.pi*height**2*(3*radius - height)/3, rel=.01)
    assert (vertices > -.5 - 1e-9).all() and (vertices < shape - .5 + 1e-9).all() and not is_closed(faces) and len(np.unique(faces)) == len(vertices)
    np.testing.assert_allclose(sigma, vertices[:, 1], atol=1e-9)


def test_clipping_knows_all_and_nothing(body):
    v, f = body
    inside = clip_to_volume(v, f, v[:, 0], (40, 40, 40))
    assert inside.volume == pytest.approx(mesh_volume(v, f)) and len(inside.faces) == len(f) and is_closed(inside.faces)
    outside = clip_to_volume(v + 100, f, v[:, 0], (40, 40, 40))
    assert len(outside.faces) == 0 and outside.volume == pytest.approx(0, abs=1e-6)
    corner = clip_to_volume(v, f, v[:, 0], (14, 30, 13))
    assert corner.volume == pytest.approx(inside_mesh(v, f, (14, 30, 13)).sum(), rel=.02)


def test_voxels_inside_are_those_of_the_hull(body):
    v, f = body
    shape = (20, 21, 22)
    inside = inside_mesh(v, f, shape)
    centres = np.argwhere(np.ones(shape, bool))
    hull = (ConvexHull(v).equations @ np.column_stack([centres, np.ones(len(centres))]).T).max(0) < 0
    np.testing.assert_array_equal(inside.ravel(), hull)
    moved = inside_mesh(v + [2, 3, 1], f, (24, 25, 26))
    np.testing.assert_array_equal(moved[2:22, 3:24, 1:23], inside)
    np.testing.assert_array_equal(inside_mesh(v, f[:, ::-1], shape), inside)
    assert not inside_mesh(v + 100, f, shape).any() and inside_mesh(v - [5, 0, 0], f, shape).sum() < inside.sum()


@pytest.mark.parametrize('shape', [(60, 60, 60), (20, 60, 60), (12, 9, 14), (12, 60, 9), (3, 4, 60), (60, 2, 60)])
def test_samples_are_measured_as_meshes_that_are_cut(body, shape):
    v, f = body
    samples = np.stack([v, v - [9, 0, 0], v - [4, 8, 11], 1.5*v - 8])
    for found, whole, sample in zip(area_and_volume(samples, f, shape), area_and_volume(samples, f), samples):
        cut = clip_to_volume(sample, f, np.zeros(len(sample)), shape)
        assert found == pytest.approx([mesh_area(cut.vertices, cut.faces), cut.volume], rel=1e-10, abs=1e-9)
        assert whole == pytest.approx([mesh_area(sample, f), mesh_volume(sample, f)], rel=1e-12)
    assert area_and_volume(v + 100, f, shape) == pytest.approx([0, 0], abs=1e-9)
