"""Drawing: colours, slices, sections of surfaces, three-dimensional pictures, live views."""
import io
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from cryoseg.base.geometry import icosphere
from cryoseg.result.records import Surface
from cryoseg.show.slices import (
    band_section, contrast_limits, instance_colors, mesh_section, overlay_rgba, round_length, scale_bar,
    show_orthogonal, show_slice, show_slices, slab_limits, take_slice,
)
from cryoseg.show.scene import (
    clip_mesh, coarsen_mesh, draw_surfaces, scene, shade, show_surfaces, sigma_limits, snapshot_html,
)
from cryoseg.show.widgets import slice_viewer
from cryoseg.base.volume import Volume

SHAPE = (24, 32, 40)
DIRECTIONS, FACES = icosphere(3)


def ball(id=1, centre=(12, 16, 20), radius=8.0, sigma=0.5):
    "A sphere as a fitted surface."
    return Surface(id, np.add(centre, radius * DIRECTIONS), FACES, np.full(len(DIRECTIONS), sigma), 'closed')


@pytest.fixture(scope='module')
def volume():
    data = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    return Volume(data, 12.5)


def png(fig):
    with io.BytesIO() as file:
        fig.savefig(file, format='png')
        return file.getvalue()


def area(polygon):
    r, c = polygon.T
    return np.sum(c * np.roll(r, -1) - r * np.roll(c, -1)) / 2


# colours and contrast

def test_the_colour_of_an_id_is_its_own():
    every = instance_colors(np.arange(1, 400))
    for id in (1, 7, 8, 22, 399): np.testing.assert_array_equal(instance_colors([id])[0], every[id - 1])
    assert every.min() >= 0 and every.max() <= 1
    assert len(np.unique(every[:21].round(6), axis=0)) == 21


def test_limits_do_not_care_for_outliers_or_scale():
    x = np.random.default_rng(1).normal(size=20_000)
    lo, hi = contrast_limits(x)
    spoiled = x.copy(); spoiled[:20] = 1e6; spoiled[20:40] = np.nan
    np.testing.assert_allclose(contrast_limits(spoiled), (lo, hi), rtol=0.15)
    np.testing.assert_allclose(contrast_limits(-3 * x), (-3 * hi, -3 * lo), rtol=1e-3)
    assert contrast_limits(np.full(5, 2, np.uint8)) == (1.5, 2.5)


def test_limits_of_averaged_slices_are_narrower(volume):
    one, five = (np.ptp(slab_limits(volume.data, 'z', n)) for n in (1, 5))
    assert 1.6 < one / five < 2.9                                   # noise falls with the square root of five


def test_overlay_is_clear_where_there_is_nothing():
    labels = np.array([[0, 1], [2, 65_535]], np.uint16)
    rgba = overlay_rgba(labels, instances=True, alpha=0.3)
    np.testing.assert_array_equal(rgba[..., 3], [[0, 0.3], [0.3, 0.3]])
    np.testing.assert_array_equal(rgba[1, 1, :3], instance_colors(65_535)[0])


# slices

@pytest.mark.parametrize('axis, shape', [('z', (32, 40)), ('y', (24, 40)), ('x', (32, 24))])
def test_slices_line_up_with_the_xy_view(volume, axis, shape):
    assert take_slice(volume.data, 3, axis).shape == shape
    assert take_slice(volume.data, 0, axis, thickness=5).shape == shape


def test_a_slice_of_x_has_y_upwards(volume):
    np.testing.assert_array_equal(take_slice(volume.data, 7, 'x'), volume.data[:, :, 7].T)


def test_axes_are_in_nanometres_or_voxels(volume):
    ax = show_slice(volume, 8)
    assert ax.get_xlabel() == 'x (nm)' and ax.get_title() == 'z = 10 nm'
    np.testing.assert_allclose(ax.get_xlim(), (-0.625, 49.375))     # voxel centres at whole numbers, 1.25 nm apart
    ax = show_slice(volume.data, 8, axis='y')
    assert ax.get_ylabel() == 'z (vox)' and ax.get_ylim() == (-0.5, 23.5)


def test_an_image_is_a_volume_of_one_slice():
    assert show_slice(np.zeros((5, 6))).get_title() == 'z = 0 vox'


def test_the_bar_is_round_and_fits():
    for length in (0.003, 0.9, 7.4, 512, 99_999):
        r = round_length(length)
        assert length / 2.5001 <= r <= length and f'{r:e}'[0] in '125'
    ax = Figure().subplots(); ax.set(xlim=(0, 160), ylim=(0, 100))
    assert scale_bar(ax) == 20


def test_figures_can_be_saved(volume):
    labels = np.zeros(SHAPE, np.int8); labels[10:14, 10:20, 10:20] = 1; labels[12, 5, 5] = 2
    png(show_slices(volume, [3, 12], labels=labels, surfaces=[ball(), ball(300, (12, 4, 4))], columns=1))
    png(show_orthogonal(volume, membranes=labels.astype(np.uint16), surfaces=[ball()], unit='vox'))
    png(show_slices(volume, 2, axis='x', surfaces=[]))


def test_empty_surfaces_draw_nothing(volume):
    refused = Surface(4, np.zeros((0, 3)), np.zeros((0, 3), int), np.zeros(0), 'refused', 'too few voxels')
    png(show_slices(volume, [3], surfaces=[refused]))
    png(show_surfaces([refused], SHAPE, 10.0, color_by='sigma'))
    assert sigma_limits([refused]) == (0.0, 1.0)


@pytest.mark.parametrize('call, said', [
    (lambda v: show_slice(v, 24), 'z = 24 is outside the volume: 0 to 23'),
    (lambda v: show_slice(v, 3, axis='w'), "'x', 'y' or 'z', got 'w'"),
    (lambda v: show_slice(v, 3, labels=np.zeros((3, 3, 3), int)), 'overlay has shape (3, 3, 3), the volume (24, 32, 40)'),
    (lambda v: show_slice(v.data, unit='nm'), 'pass voxel_size_A in Å'),
    (lambda v: show_slice(np.zeros(4)), 'got shape (4,)'),
    (lambda v: show_slices(v, []), 'no slice to show'),
    (lambda v: contrast_limits(np.full(3, np.inf)), 'no finite value'),
    (lambda v: show_surfaces([ball()], color_by='area'), "'id' or 'sigma', got 'area'"),
    (lambda v: scene([ball()], color_by='area'), "'id' or 'sigma', got 'area'"),
])
def test_bad_calls_say_what_is_wrong(volume, call, said):
    with pytest.raises(ValueError) as error: call(volume)
    assert said in str(error.value) and '\n' not in str(error.value)


# sections of surfaces

@pytest.mark.parametrize('axis', 'zyx')
@pytest.mark.parametrize('height', [0.0, 3.0, -6.5])
def test_a_plane_cuts_a_sphere_in_a_circle(axis, height):
    s, centre = ball(), np.array([12, 16, 20])
    a, planes = 'zyx'.index(axis), {'z': (1, 2), 'y': (0, 2), 'x': (1, 0)}
    lines = mesh_section(s.vertices_vox, s.faces, centre[a] + height, axis)
    r = np.sqrt(64 - height**2)
    np.testing.assert_allclose(np.linalg.norm(lines - centre[list(planes[axis])], axis=-1), r, atol=0.12)
    assert np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1).sum() == pytest.approx(2 * np.pi * r, rel=0.02)


def test_a_plane_that_misses_cuts_nothing():
    assert mesh_section(ball().vertices_vox, FACES, 20.5).shape == (0, 2, 2)


def test_a_corner_in_the_plane_is_no_trouble():
    s = ball(centre=(0, 0, 0))
    lines = mesh_section(s.vertices_vox, s.faces, s.vertices_vox[3, 0])
    assert np.isfinite(lines).all() and len(lines)


@pytest.mark.parametrize('height, exact', [(0.2, 9.5**2 - 6.5**2), (5.0, 9.5**2 - 6.5**2), (8.5, 9.5**2 - 8.5**2), (10.0, 0)])
def test_the_band_has_the_area_of_the_shell(height, exact):
    s = ball()
    tiles = band_section(s.vertices_vox, s.faces, np.full(len(s.vertices_vox), 1.5), 12 + height)
    assert sum(map(area, tiles)) == pytest.approx(np.pi * exact, rel=0.04)
    assert all(area(t) > -1e-9 for t in tiles)                      # one sense of rotation: the union is drawn without seams


def test_unknown_sigma_has_no_band():
    s = ball()
    assert sum(map(area, band_section(s.vertices_vox, s.faces, np.full(len(s.vertices_vox), np.nan), 12.0))) == pytest.approx(0, abs=1e-6)


# surfaces in space

def test_coarse_meshes_keep_place_and_values():
    s = ball()
    vertices, faces, height = coarsen_mesh(s.vertices_vox, s.faces, 300, s.vertices_vox[:, 0])
    assert 100 < len(faces) <= 300 and faces.max() < len(vertices)
    np.testing.assert_allclose(np.linalg.norm(vertices - (12, 16, 20), axis=1), 8, atol=0.6)
    np.testing.assert_allclose(height, vertices[:, 0])
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


# live views

def test_the_viewer_follows_its_sliders(volume):
    pytest.importorskip('ipywidgets')
    viewer = slice_viewer(volume, labels=np.zeros(SHAPE, int), width_in=3)
    (axis, position, _), picture = viewer.children[0].children, viewer.children[2]
    assert position.max == 23 and bytes(picture.value).startswith(b'\x89PNG')
    before = bytes(picture.value)
    position.value = 3
    assert bytes(picture.value) != before
    axis.value = 'x'
    assert position.max == 39 and position.value == 20
    axis.value = 'z'                                               # a shorter axis: the position must come along
    assert position.max == 23 and position.value == 12


def test_a_scene_is_in_nanometres_and_a_page_of_its_own(volume):
    pytest.importorskip('k3d')
    plot = scene([ball(), ball(5, (12, 6, 6), 4)], volume, proteins=np.indices(SHAPE).sum(0) < 9)
    names = [o.name for o in plot.objects]
    assert names == ['membrane 1', 'sigma 1', 'membrane 5', 'sigma 5', 'proteins', 'volume', 'middle slice']
    np.testing.assert_allclose(plot.objects[0].vertices.mean(0), np.array([20, 16, 12]) * 1.25, atol=0.1)
    np.testing.assert_allclose(plot.objects[1].attribute, 0.5 * 12.5, rtol=1e-5)
    page = snapshot_html(plot, 'a title')
    assert '<title>a title</title>' in page and 'Content-Security-Policy' in page and 500_000 < len(page) < 4_000_000


def test_without_the_extra_the_rest_works():
    "Drawing needs neither ipywidgets nor k3d; a live view names the extra that brings them."
    program = '''
import sys
sys.modules.update(ipywidgets=None, k3d=None)
import numpy as np
from cryoseg.show.scene import scene
from cryoseg.show.slices import show_slices
from cryoseg.show.widgets import slice_viewer
show_slices(np.zeros((4, 5, 6)), 2)
for call in (lambda: slice_viewer(np.zeros((4, 5, 6))), lambda: scene([])):
    try: call()
    except ImportError as error: print(error)
'''
    run = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.count('pip install "cryoseg[notebook]"') == 2
