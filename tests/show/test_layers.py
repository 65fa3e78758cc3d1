"""Layers of a slice: pictures and lines come back where they were, y upwards."""
import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from cryoseg.base.geometry import icosphere
from cryoseg.result.records import Contour, Surface
from cryoseg.show.layers import (
    MAX_PIXELS, band_uri, bar_svg, contour_svg, css_color, curves_svg, figure_uri, gray_uri, number_size, overlay_uri,
    to_page,
)
from cryoseg.show.slices import instance_colors, new_figure

DIRECTIONS, FACES = icosphere(3)
BALL = Surface(3, np.array([12, 20, 30]) + 10 * DIRECTIONS, FACES, np.full(len(DIRECTIONS), 1.0), 'closed')
T = np.linspace(0, 2 * np.pi, 80, endpoint=False)
RING = np.column_stack([20 + 10 * np.sin(T), 30 + 10 * np.cos(T)])


def pixels(uri, mode='RGBA'):
    "The picture in a data URI."
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(',')[2]))).convert(mode))


def numbers(path):
    "The points (n,2) of a path."
    return np.array(re.findall(r'-?[\d.]+', path), float).reshape(-1, 2)


def test_gray_is_upright_and_keeps_its_scale():
    image = np.linspace(0, 10, 32)[:, None] * np.ones(40)
    got = pixels(gray_uri(image, (0, 10)), 'L').astype(float)
    np.testing.assert_allclose(got[::-1], 25.5 * image, atol=4)          # the last row of the picture is row 0


def test_large_images_are_reduced_and_nan_is_gray():
    assert pixels(gray_uri(np.zeros((100, 2000)), (0, 1)), 'L').shape == (36, MAX_PIXELS)
    assert abs(int(pixels(gray_uri(np.full((8, 8), np.nan), (0, 1)), 'L').mean()) - 127) < 3


def test_overlays_have_the_colour_of_their_id_and_nothing_elsewhere():
    labels = np.zeros((10, 12), int)
    labels[1, 2], labels[8, 9] = 4, 5
    got = pixels(overlay_uri(labels, instances=True))
    assert (got[..., 3] > 0).sum() == 2
    np.testing.assert_allclose(got[8, 2, :3] / 255, instance_colors([4])[0], atol=0.02)
    np.testing.assert_allclose(got[1, 9, :3] / 255, instance_colors([5])[0], atol=0.02)


@pytest.mark.parametrize('level, exact', [(12, np.pi * (12**2 - 8**2)), (30, 0)])
def test_the_band_has_its_area(level, exact):
    got = pixels(band_uri([BALL], (40, 60), level, 'z'))[..., 3] > 0
    assert got.shape == (120, 180) and got.sum() / 9 == pytest.approx(exact, rel=0.15)   # pixels on the edge count whole


def test_pages_go_down_where_rows_go_up():
    np.testing.assert_array_equal(to_page(np.array([[0, 0], [9, 5]]), 10), [[0.5, 9.5], [5.5, 0.5]])


def test_a_contour_is_a_circle_with_its_number():
    svg = contour_svg([BALL], (40, 60), 12)
    points = numbers(re.search(r' d="([^"]+)"', svg).group(1))
    np.testing.assert_allclose(np.linalg.norm(points - (30.5, 19.5), axis=1), 10, atol=0.2)
    assert svg.count('>3</text>') == 1 and css_color(instance_colors([3])[0]) in svg
    assert float(re.search(r' y="([-\d.]+)"', svg).group(1)) < 10            # above the circle
    assert contour_svg([BALL], (40, 60), 30) == ''


def test_numbers_shrink_in_a_crowd_but_not_away():
    sizes = [number_size((100, 200), n) for n in (1, 6, 24, 1000)]
    assert sizes == pytest.approx([9, 9, 4.5, 4.4])


@pytest.mark.parametrize('status, n', [('closed', 80), ('truncated', 80), ('open', 79)])
def test_a_curve_closes_where_it_is_closed(status, n):
    contour = Contour(2, 0, status, points=RING, sigma=np.full(80, 0.5), extrapolated=np.zeros(80, bool))
    svg = curves_svg([contour], (40, 60))
    assert svg.count('class="contour"') == 1 and 'dasharray' not in svg
    assert re.search(r'class="contour" d="([^"]+)"', svg).group(1).count('L') == n


def test_what_is_extrapolated_is_dotted_and_the_band_is_two_sigma():
    contour = Contour(2, 0, 'closed', points=RING, sigma=np.full(80, 0.5), extrapolated=T < 1)
    svg = curves_svg([contour], (40, 60))
    paths = re.findall(r'class="contour" d="([^"]+)"( stroke="#\w+" stroke-dasharray)?', svg)
    assert [bool(dots) for _, dots in paths] == [False, True] and sum(p.count('L') for p, _ in paths) == 80
    radius = np.linalg.norm(numbers(re.search(r'class="band" d="([^"]+)"', svg).group(1)) - (30.5, 19.5), axis=1)
    np.testing.assert_allclose((radius.min(), radius.max()), (9, 11), atol=0.15)
    assert curves_svg([Contour(1, 0, 'refused')], (40, 60)) == ''


@pytest.mark.parametrize('voxel_size_A', [2.0, 10.0, 13.68])
def test_the_bar_is_as_long_as_it_says(voxel_size_A):
    svg = bar_svg((300, 400), voxel_size_A)
    nm = float(re.search(r'>([\d.]+) nm<', svg).group(1))
    assert float(re.search(r'width="([\d.]+)"', svg).group(1)) == pytest.approx(10 * nm / voxel_size_A, abs=0.1)


def test_figures_lose_their_margin():
    fig = new_figure(figsize=(4, 4), dpi=50)
    fig.add_axes((0.45, 0.45, 0.1, 0.1)).set(xticks=[], yticks=[])
    picture = pixels(figure_uri(fig))
    assert max(picture.shape) < 60 and (picture[..., 3] > 0).any()
