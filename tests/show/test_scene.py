"""Surfaces in space: coarse meshes, light, pictures, live scenes."""
import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from cryoseg.base.mesh import is_closed, mesh_volume, vertex_normals
from cryoseg.base.slivers import smallest_angles
from cryoseg.base.volume import Volume
from cryoseg.show.scene import (
    blocks_mesh, box_edges, camera, clip_mesh, coarsen_mesh, draw_surfaces, scene, shade, show_surfaces, sigma_limits,
    snapshot_html,
)
from show_toys import SHAPE, ball, png, refused


def test_coarse_meshes_keep_place_and_values():
    s = ball()
    vertices, faces, height = coarsen_mesh(s.vertices_vox, s.faces, 300, s.vertices_vox[:, 0])
    assert 100 < len(faces) <= 300 and faces.max() < len(vertices)
    np.testing.assert_allclose(np.linalg.norm(vertices - (12, 16, 20), axis=1), 8, atol=0.6)
    np.testing.assert_allclose(height, vertices[:, 0], atol=.6)      # a vertex keeps its value and may be shifted
    assert smallest_angles(vertices, faces).min() > 10
    assert coarsen_mesh(s.vertices_vox, s.faces, 10_000)[1] is s.faces


def test_an_open_rim_stays_straight():
    s = ball()
    vertices, faces = clip_mesh(s.vertices_vox, s.faces, 'z', -np.inf, 14)
    vertices, faces = coarsen_mesh(vertices, faces, 300)
    edges, uses = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0, return_counts=True)
    np.testing.assert_allclose(vertices[edges[uses == 1], 0], 14)


def test_light_falls_from_the_viewer():
    towards = np.array([[np.cos(0.4) * np.cos(-1.1), np.cos(0.4) * np.sin(-1.1), np.sin(0.4)]])
    color = np.array([[0.6, 0.3, 0.1]])
    front, side, inside = (shade(color, n, np.degrees(0.4), np.degrees(-1.1)) for n in (towards, np.array([[0, 0, -1.0]]), -towards))
    assert front.sum() > inside.sum() and front.sum() > side.sum() and front.max() <= 1


def test_a_picture_of_everything(volume):
    fig = Figure(figsize=(3, 3), dpi=50)
    left, right = fig.add_subplot(121, projection='3d'), fig.add_subplot(122, projection='3d')
    mask = np.zeros(SHAPE, bool); mask[3:8, 3:8, 3:8] = True
    assert draw_surfaces(left, [ball(), ball(2, (12, 6, 6), 4)], SHAPE, 10.0, clip=('z', 0, 12), points={1: np.array([[20, 16, 20]])}, proteins=mask) is None
    scale = draw_surfaces(right, [ball(sigma=2.0)], color_by='sigma', points=np.zeros((3, 3)))
    assert scale.get_clim()[0] == 0 and scale.get_clim()[1] >= 2
    assert len(png(fig)) > 2000
    np.testing.assert_allclose(left.get_xlim(), (0, 40))           # 40 voxels of 10 Å are 40 nm


def test_a_scene_is_in_nanometres_and_a_page_of_its_own(volume):
    pytest.importorskip('k3d')
    plot = scene([ball(), ball(5, (12, 6, 6), 4)], volume, proteins=np.indices(SHAPE).sum(0) < 9)
    names = [o.name for o in plot.objects]
    assert names == ['membrane 1', 'sigma 1', 'membrane 5', 'sigma 5', 'proteins', 'volume', 'middle slice']
    np.testing.assert_allclose(plot.objects[0].vertices.mean(0), np.array([20, 16, 12]) * 1.25, atol=0.1)
    np.testing.assert_allclose(plot.objects[1].attribute, 0.5 * 12.5, rtol=1e-5)
    page = snapshot_html(plot, 'a title')
    assert '<title>a title</title>' in page and 'Content-Security-Policy' in page and 500_000 < len(page) < 4_000_000


@pytest.mark.parametrize('side', [60, 1100])
def test_the_slice_of_a_scene_is_upright_and_not_large(side):
    "k3d takes the first row as the lowest y: a dark block at low y and high x stays there, in a large slice too."
    pytest.importorskip('k3d')
    data = np.random.default_rng(0).normal(size=(3, side, side)).astype(np.float32)
    data[:, :side//5, -side//4:] -= 9
    plot = scene([], Volume(data, 10.))
    texture, = [o for o in plot.objects if o.name == 'middle slice']
    picture = np.asarray(Image.open(io.BytesIO(bytes(texture.binary))).convert('L')).astype(int)
    assert max(picture.shape) == min(side, 400) and len(bytes(texture.binary)) < 200_000
    h, w = picture.shape
    assert picture[:h//6, -w//5:].mean() < 40 < 90 < picture[h//4:].mean()
    np.testing.assert_allclose(np.reshape(texture.model_matrix, (4, 4))[:2, :2], np.eye(2)*side)        # nm, at 10 Å a voxel


def test_equal_scenes_give_equal_pages():
    "k3d numbers its objects by their addresses in memory."
    plots = [scene([ball()], np.zeros(SHAPE), 10.0) for _ in range(2)]
    ids = [item.id for item in plots[0].objects]
    assert snapshot_html(plots[0]) == snapshot_html(plots[1])
    assert [item.id for item in plots[0].objects] == ids        # a live view still finds its objects


def test_empty_surfaces_draw_nothing():
    png(show_surfaces([refused()], SHAPE, 10.0, color_by='sigma'))
    assert sigma_limits([refused()]) == (0.0, 1.0)


@pytest.mark.parametrize('call', [show_surfaces, scene])
def test_another_colouring_is_refused(call):
    with pytest.raises(ValueError, match="'id' or 'sigma', got 'area'"): call([ball()], color_by='area')


def test_a_coarse_mesh_keeps_its_volume_and_its_sides():
    s = ball()
    vertices, faces = coarsen_mesh(s.vertices_vox, s.faces, 400)
    assert mesh_volume(vertices, faces) == pytest.approx(mesh_volume(s.vertices_vox, s.faces), rel=0.12)    # a sign would show
    assert len(np.unique(faces)) == len(vertices)
    assert is_closed(s.faces) and is_closed(faces)


@pytest.mark.parametrize('axis', 'zyx')
def test_clipping_keeps_what_is_between(axis):
    s, a = ball(), 'zyx'.index(axis)
    low, high = (12, 16, 20)[a] + np.array([-2.0, 3.0])
    vertices, faces = clip_mesh(s.vertices_vox, s.faces, axis, low, high)
    used = vertices[np.unique(faces)]
    assert used[:, a].min() == low and used[:, a].max() == high and 0 < len(faces) < len(s.faces)
    assert s.vertices_vox[:, a].max() > high                         # the surface itself is left alone


def test_the_viewer_and_the_light():
    viewer, light = camera(0, 0)
    np.testing.assert_allclose(viewer, [1, 0, 0], atol=1e-12)
    assert np.linalg.norm(light) == pytest.approx(1) and light @ viewer > 0 and light[2] > 0


def test_blocks_lie_where_the_mask_is():
    mask = np.linalg.norm(np.indices((20, 22, 24)) - np.array([9, 10, 11])[:, None, None, None], axis=0) < 6
    vertices, faces = blocks_mesh(mask)
    np.testing.assert_allclose(vertices.mean(0), (9, 10, 11), atol=0.3)
    assert mesh_volume(vertices, faces) == pytest.approx(mask.sum(), rel=0.2)       # positive: faces outwards
    assert len(blocks_mesh(np.zeros((4, 4, 4), bool)).faces) == 0


def test_a_box_has_twelve_edges():
    box = box_edges(np.array([1.0, 2.0, 3.0]))
    lengths = [np.linalg.norm(np.diff(box.corners[[p, q]], axis=0)) for p, q in box.edges]
    np.testing.assert_allclose(sorted(lengths), [1] * 4 + [2] * 4 + [3] * 4)


@pytest.mark.parametrize('voxel_size_A', [None, 10.0])
def test_the_scale_of_sigma_scales(voxel_size_A):
    low, high = sigma_limits([ball(sigma=2.0)], voxel_size_A)
    assert low == 0 and high == 2 * (voxel_size_A or 1)
    assert sigma_limits([ball(sigma=np.nan)]) == (0.0, 1.0)


def test_normals_point_out_of_the_scene():
    pytest.importorskip('k3d')
    mesh = scene([ball()]).objects[0]
    v = mesh.vertices.astype(float)
    assert (vertex_normals(v, mesh.indices.astype(int)) * (v - v.mean(0))).sum(1).min() > 0
