"Meshes without slivers: angles, areas, rims and topology over random bodies and cuts; and that a mesh stays a surface."
import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from cryoseg.base.geometry import icosphere, spherical_harmonics
from cryoseg.base.mesh import (clip_to_volume, drop_unused_vertices, face_edges, face_normals, is_closed, mesh_area, mesh_volume, split_mesh,
                               vertex_normals)
from cryoseg.base.slivers import coarser_mesh, half_edge_twins, on_sides, smallest_angles, without_slivers

KINDS = {'one side': 1, 'an edge of the volume': 2, 'a corner': 3}


def random_body(rng):
    "A bumpy ellipsoid of random proportions."
    directions, faces = icosphere(4)
    heights = np.zeros(36)
    for degree in range(2, 6): heights[degree**2:(degree + 1)**2] = rng.normal(0, .12/degree, 2*degree + 1)
    radius = (1 + spherical_harmonics(directions, 5) @ heights).clip(.5)
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    return (directions*radius[:, None]*rng.uniform(12, 30, 3)) @ turn, faces


def random_cut(rng, n_sides):
    "What the volume leaves of a random body that so many of its sides cut, each low or high, and the shape of the volume."
    vertices, faces = random_body(rng)
    size, shift, shape = np.ptp(vertices, axis=0), np.full(3, 2.), np.zeros(3)
    shape = np.ceil(size) + 5
    for axis in rng.permutation(3)[:n_sides]:
        part = rng.uniform(.25, .8)*size[axis]
        if rng.random() < .5: shift[axis] = part - size[axis] - .5
        else: shape[axis] = np.ceil(part) + 2
    shape = tuple(shape.astype(int))
    return clip_to_volume(vertices - vertices.min(0) + shift, faces, np.zeros(len(vertices)), shape), shape


def edge_counts(faces):
    edges, counts = np.unique(np.sort(face_edges(faces), axis=1), axis=0, return_counts=True)
    return edges, counts


def euler(faces):
    return len(np.unique(faces)) - len(edge_counts(faces)[0]) + len(faces)


def crossings(vertices, faces):
    "How many sides of faces go through other faces that share no vertex with theirs."
    middle = vertices[faces].mean(1)
    reach = np.linalg.norm(vertices[faces] - middle[:, None], axis=2).max()
    i, j = cKDTree(middle).query_pairs(2*reach, output_type='ndarray').T
    apart = ~(faces[i][:, :, None] == faces[j][:, None]).any((1, 2))
    found = 0
    for one, other in ((i[apart], j[apart]), (j[apart], i[apart])):
        a, b, c = (vertices[faces[other][:, k]] for k in range(3))
        normal = np.cross(b - a, c - a)
        for k in range(3):
            p, q = vertices[faces[one][:, k]], vertices[faces[one][:, (k + 1) % 3]]
            over, under = ((p - a)*normal).sum(1), ((q - a)*normal).sum(1)
            through = over*under < 0
            x = p + np.where(through, over/np.where(through, over - under, 1), 0)[:, None]*(q - p)
            inside = [(np.cross(e - s, x - s)*normal).sum(1) > 0 for s, e in ((a, b), (b, c), (c, a))]
            found += (through & np.all(inside, axis=0)).sum()
    return int(found)


def assert_still_a_surface(before, after):
    "No edge has three faces, neighbours run round the same way, and there are as many parts and holes."
    assert edge_counts(after.faces)[1].max() <= 2 and len(np.unique(after.faces)) == len(after.vertices)
    directed = face_edges(after.faces)
    assert len(np.unique(directed, axis=0)) == len(directed)
    assert euler(after.faces) == euler(before.faces) and crossings(after.vertices, after.faces) == 0
    assert trimesh.Trimesh(after.vertices, after.faces, process=False).is_winding_consistent


@pytest.mark.parametrize('kind', KINDS)
def test_cut_bodies_have_no_slivers(kind):
    rng = np.random.default_rng(KINDS[kind])
    for _ in range(12):
        cut, shape = random_cut(rng, KINDS[kind])
        even = without_slivers(cut.vertices, cut.faces, shape)
        assert smallest_angles(cut.vertices, cut.faces).min() < 10 < smallest_angles(even.vertices, even.faces).min()
        assert mesh_area(even.vertices, even.faces) == pytest.approx(mesh_area(cut.vertices, cut.faces), rel=1e-3)
        edges, counts = edge_counts(even.faces)
        rim = even.vertices[np.unique(edges[counts == 1])]
        assert np.minimum(np.abs(rim + .5), np.abs(rim - np.array(shape) + .5)).min(1).max() < 1e-9       # in a side of the volume
        assert (even.vertices >= -.5 - 1e-9).all() and (even.vertices <= np.array(shape) - .5 + 1e-9).all()


def test_cut_bodies_stay_surfaces_and_their_lids_close_the_same_volume():
    rng = np.random.default_rng(7)
    for n_sides in (1, 2, 3):
        cut, shape = random_cut(rng, n_sides)
        even = without_slivers(cut.vertices, cut.faces, shape)
        assert_still_a_surface(cut, even)
        # the rim encloses the same area in its sides: so does the field (z, y, x)/3 through what is left
        flux = [(face_normals(m.vertices, m.faces)*m.vertices[m.faces].mean(1)).sum()/6 for m in (cut, even)]
        assert flux[1] == pytest.approx(flux[0], rel=1e-3)


def test_far_from_the_rim_nothing_changes():
    cut, shape = random_cut(np.random.default_rng(1), 1)
    even = without_slivers(cut.vertices, cut.faces, shape)
    same = (even.vertices == cut.vertices[even.source]).all(1)
    np.testing.assert_array_equal(same, ~even.moved)
    edges, counts = edge_counts(cut.faces)
    far = cKDTree(cut.vertices[np.unique(edges[counts == 1])]).query(cut.vertices)[0]
    longest = np.linalg.norm(cut.vertices[cut.faces[:, 0]] - cut.vertices[cut.faces[:, 1]], axis=1).max()
    away = np.flatnonzero(far > 4*longest)
    assert np.isin(away, even.source[~even.moved]).all() and len(away) > 100
    shift = np.linalg.norm(even.vertices - cut.vertices[even.source], axis=1)
    assert 0 < shift.max() < longest


def test_an_even_mesh_is_left_alone_and_the_same_mesh_becomes_the_same():
    directions, faces = icosphere(3)
    even = without_slivers(directions, faces)
    assert even.vertices is directions and even.faces is faces and not even.moved.any() and (even.source == np.arange(642)).all()
    nothing = without_slivers(np.zeros((0, 3)), np.zeros((0, 3), int))
    assert not len(nothing.faces) and not len(nothing.vertices)
    cut, shape = random_cut(np.random.default_rng(2), 2)
    given = cut.vertices.copy()
    one, two = (without_slivers(cut.vertices, cut.faces, shape) for _ in range(2))
    assert one.vertices.tobytes() == two.vertices.tobytes() and one.faces.tobytes() == two.faces.tobytes()
    np.testing.assert_array_equal(cut.vertices, given)


@pytest.mark.parametrize('axes', [(15, 15, 60), (12, 40, 80), (10, 50, 50)])
def test_long_and_flat_bodies(axes):
    directions, faces = icosphere(4)
    body = directions*np.array(axes)
    even = without_slivers(body, faces)
    assert is_closed(even.faces) and smallest_angles(even.vertices, even.faces).min() > 15
    assert mesh_area(even.vertices, even.faces) == pytest.approx(mesh_area(body, faces), rel=1e-3)
    assert mesh_volume(even.vertices, even.faces) == pytest.approx(mesh_volume(body, faces), rel=1.5e-3)     # 0.10 % of the flattest


def smooth_field(rng, size=34):
    "A function with a few bumps, as large as its distance from a middle surface far from it."
    z, y, x = np.indices((size,)*3) - (size - 1)/2
    waves = [np.cos((z*a + y*b + x*c)/5 + phase) for a, b, c, phase in rng.standard_normal((4, 4))]
    return np.sqrt(z**2 + y**2 + x**2) - size/3.2 + .8*sum(waves)


def test_marching_cubes_closed_and_open():
    rng = np.random.default_rng(3)
    for _ in range(4):
        vertices, faces, _, _ = marching_cubes(smooth_field(rng), 0., gradient_direction='descent')
        vertices, faces = 2*vertices.astype(float), faces.astype(int)
        even = without_slivers(vertices, faces)
        assert is_closed(even.faces) and smallest_angles(vertices, faces).min() < 5 < 10 < smallest_angles(even.vertices, even.faces).min()
        assert mesh_area(even.vertices, even.faces) == pytest.approx(mesh_area(vertices, faces), rel=1e-3)
        assert mesh_volume(even.vertices, even.faces) == pytest.approx(mesh_volume(vertices, faces), rel=1e-3)
        level = vertices[:, 1] - 40 + 3*np.sin(vertices[:, 2]/6)                # a bay of the rim
        v, f, level, _ = split_mesh(vertices, faces, level, level)
        piece = drop_unused_vertices(v, f[~(level[f] > 0).any(1)], level)
        bowl = without_slivers(piece.vertices, piece.faces)
        assert_still_a_surface(piece, bowl)
        assert smallest_angles(bowl.vertices, bowl.faces).min() > 10
        assert mesh_area(bowl.vertices, bowl.faces) == pytest.approx(mesh_area(piece.vertices, piece.faces), rel=1e-3)


def test_shifted_vertices_stay_near_the_surface():
    "Of second order: a hundredth of the radius where the edges have a tenth of it."
    directions, faces = icosphere(4)
    cut = clip_to_volume(20*directions + 12.3, faces, np.zeros(len(directions)), (36, 40, 24))
    even = without_slivers(cut.vertices, cut.faces, (36, 40, 24))
    radius = np.linalg.norm(even.vertices - 12.3, axis=1)
    assert even.moved.any() and np.abs(radius - 20).max() < .01*20
    assert (vertex_normals(even.vertices, even.faces)*(even.vertices - 12.3)/20).sum(1).min() > .95


def test_an_hourglass_becomes_two_fans():
    "Two sheets that touch in one vertex do not pull at each other there."
    rng = np.random.default_rng(0)
    disc = np.array([[0, k % 6 + 1, k] for k in range(1, 7)])
    turns = np.arange(6)*np.pi/3
    flat = np.vstack([np.zeros((1, 3)), np.column_stack([0*turns, np.sin(turns), np.cos(turns)])])
    flat[0, 2] += .95                                                   # slivers on one side
    beside = flat[1:] + [0, 0, 2*flat[1, 2]]
    vertices = np.vstack([flat, beside, [[0, 0, 2.]]])
    other = np.where(disc > 0, disc + 6, 13)
    faces = np.vstack([disc, other])
    faces[faces == 10] = 1                                              # the far corner of one is the near corner of the other
    even = without_slivers(vertices + 1e-3*rng.standard_normal(vertices.shape), faces)
    assert edge_counts(even.faces)[1].max() == 2 and len(np.unique(even.source)) <= len(even.source)
    twins = half_edge_twins(even.faces)
    assert (twins[twins[twins >= 0]] == np.flatnonzero(twins >= 0)).all()


def test_smallest_angles_are_those_of_trimesh():
    v, f = random_body(np.random.default_rng(4))
    theirs = np.degrees(trimesh.Trimesh(v, f, process=False).face_angles.min(1))
    np.testing.assert_allclose(smallest_angles(v, f), theirs, atol=1e-6)
    assert smallest_angles(np.zeros((3, 3)), np.array([[0, 1, 2]])).tolist() == [0]


def test_sides_of_a_volume():
    places = np.array([[-.5, 3, 3], [3, 9.5, -.5], [3, 3, 3], [9.5, 9.5, 19.5]])
    assert on_sides(places, (10, 10, 20)).sum(1).tolist() == [1, 2, 0, 3] and not on_sides(places, None).any()


@pytest.mark.parametrize('part', [.7, .25])
def test_a_coarser_mesh_is_a_smaller_one_of_the_same_surface(part):
    cut, shape = random_cut(np.random.default_rng(5), 2)
    most = int(part*len(cut.faces))
    coarse = coarser_mesh(cut.vertices, cut.faces, most)
    assert most/3 < len(coarse.faces) <= most and smallest_angles(coarse.vertices, coarse.faces).min() > 10
    assert edge_counts(coarse.faces)[1].max() == 2 and euler(coarse.faces) == euler(cut.faces) and crossings(coarse.vertices, coarse.faces) == 0
    assert mesh_area(coarse.vertices, coarse.faces) == pytest.approx(mesh_area(cut.vertices, cut.faces), rel=.03)
    edges, counts = edge_counts(coarse.faces)
    off = np.minimum(np.abs(coarse.vertices + .5), np.abs(coarse.vertices - np.array(shape) + .5)).min(1)[np.unique(edges[counts == 1])]
    assert np.median(off) < 1e-9                                        # its rim is straight; at an edge of the volume it is rounded
    assert coarser_mesh(cut.vertices, cut.faces, len(cut.faces)).vertices is cut.vertices
