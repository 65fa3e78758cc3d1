"""Slices: colours, contrast, scale, sections of surfaces."""
import subprocess
import sys

import numpy as np
import pytest
import trimesh
from matplotlib.figure import Figure

from cryoseg.show.slices import (
    MEMBRANE_COLOR, PROTEIN_COLOR, band_section, contrast_limits, instance_colors, mesh_section, overlay_rgba,
    polygons_path, round_length, scale_bar, show_orthogonal, show_slice, show_slices, slab_limits, slice_places,
    take_slice, text_color,
)
from show_toys import FACES, SHAPE, ball, png, refused


def area(polygon):
    r, c = polygon.T
    return np.sum(c * np.roll(r, -1) - r * np.roll(c, -1)) / 2


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
    png(show_slices(volume, [3], surfaces=[refused()]))


@pytest.mark.parametrize('call, said', [
    (lambda v: show_slice(v, 24), 'z = 24 is outside the volume: 0 to 23'),
    (lambda v: show_slice(v, 3, axis='w'), "'x', 'y' or 'z', got 'w'"),
    (lambda v: show_slice(v, 3, labels=np.zeros((3, 3, 3), int)), 'overlay has shape (3, 3, 3), the volume (24, 32, 40)'),
    (lambda v: show_slice(v.data, unit='nm'), 'pass voxel_size_A in Å'),
    (lambda v: show_slice(np.zeros(4)), 'got shape (4,)'),
    (lambda v: show_slices(v, []), 'no slice to show'),
    (lambda v: contrast_limits(np.full(3, np.inf)), 'no finite value'),
])
def test_bad_calls_say_what_is_wrong(volume, call, said):
    with pytest.raises(ValueError) as error: call(volume)
    assert said in str(error.value) and '\n' not in str(error.value)


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


# what is new with the rooms

def test_labels_have_the_colours_of_their_classes():
    rgba = overlay_rgba(np.array([[1, 2]]))
    np.testing.assert_array_equal(rgba[0, :, :3], [MEMBRANE_COLOR, PROTEIN_COLOR])


def test_dark_text_is_lightened_and_light_text_kept():
    wine = instance_colors([7])[0]
    assert (text_color(wine) > wine).all()
    np.testing.assert_array_equal(text_color(np.array([1.0, 1.0, 0.5])), [1.0, 1.0, 0.5])


@pytest.mark.parametrize('axis', 'zyx')
def test_a_section_is_that_of_trimesh(axis):
    s, a = ball(), 'zyx'.index(axis)
    normal = np.eye(3)[a]
    theirs = trimesh.Trimesh(s.vertices_vox, s.faces, process=False).section(normal, 14.3 * normal)
    ours = mesh_section(s.vertices_vox, s.faces, 14.3, axis)
    assert np.linalg.norm(ours[:, 1] - ours[:, 0], axis=1).sum() == pytest.approx(theirs.length)


def test_a_path_covers_what_its_polygons_cover():
    square = np.array([[0, 0], [0, 2], [2, 2], [2, 0]], float)
    path = polygons_path([square, square + (0, 2)], scale=2.0)
    assert path.contains_point((7, 1)) and not path.contains_point((1, 7))      # x is the column


@pytest.mark.parametrize('at, places', [(1, [5]), (3, [2, 5, 8]), ([0, 9], [0, 9]), (np.array([4]), [4])])
def test_places_of_slices(at, places):
    assert slice_places(at, 11) == places


def test_labels_are_no_places(volume):
    with pytest.raises(ValueError, match='give labels as labels='): show_slices(volume, np.zeros(SHAPE, int))


def test_a_volume_may_be_the_overlay(volume):
    labels = np.zeros(SHAPE, np.int8)
    labels[10:14, 10:20, 10:20] = 1
    for name in ('labels', 'membranes'):
        plain, wrapped = (png(show_slice(volume, 12, **{name: x}).figure) for x in (labels, volume.with_data(labels)))
        assert plain == wrapped != png(show_slice(volume, 12).figure)


def test_a_unit_that_is_none_is_refused(volume):
    with pytest.raises(ValueError, match="'nm' or 'vox'"): show_slice(volume, unit='A')


def test_importing_brings_no_matplotlib():
    program = 'import sys, cryoseg.show.slices, cryoseg.show.scene, cryoseg.show.widgets; assert not {"matplotlib", "k3d", "ipywidgets"} & set(sys.modules)'
    run = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-500:]
