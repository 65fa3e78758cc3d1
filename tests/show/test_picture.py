"A slice drawn quickly, and marks where they belong; what the browser's half promises."
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from cryoseg.show.picture import Box, Dot, Line, N_COLORS, click_picture, picture_png, slice_picture, zoom_for
from cryoseg.show.slices import instance_colors


@given(st.integers(1, 5000))
def test_slices_are_wide_enough_and_not_too_wide(columns):
    zoom = zoom_for(columns)
    assert zoom >= 1 and (zoom == 1 or 280 <= zoom*columns <= 1000)


@given(st.integers(2, 30), st.integers(2, 30), st.integers(1, 4), st.data())
def test_every_pixel_lies_where_it_is_told(rows, columns, zoom, data):
    y, x = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    image = np.zeros((rows, columns))
    image[y, x] = 1
    picture = slice_picture(image, (0, 1), zoom=zoom)
    assert picture.shape == (zoom*rows, zoom*columns, 3) and picture.dtype == np.uint8
    bright = np.argwhere(picture[..., 0] == 255)
    assert len(bright) == zoom**2 and (bright//zoom == (rows - 1 - y, x)).all()     # y points up


def test_ids_have_their_colours_and_nothing_hides_the_rest():
    ids = np.array([[0, 1, 2, N_COLORS, N_COLORS + 1]])
    picture = slice_picture(np.full((1, 5), .5), (0, 1), ids, 1., zoom=1)[0]
    assert picture[0].tolist() == [127]*3 and picture[1].tolist() == picture[4].tolist()
    for k in (1, 2, 3): assert picture[k] == pytest.approx(255*instance_colors(ids[0, k])[0], abs=1)
    assert (slice_picture(np.full((1, 5), .5), (0, 1), ids, 0., zoom=1) == 127).all()


def test_marks_lie_at_their_pixels():
    image = np.zeros((40, 60))
    red, green, blue = (1., 0., 0.), (0., 1., 0.), (0., 0., 1.)
    square = np.array([(10, 10), (10, 30), (30, 30), (30, 10)])
    marks = (Line(square, red, True), Dot(20, 45, green), Box((2, 50), (8, 58), blue))
    picture = slice_picture(image, (0, 1), marks=marks, zoom=10)
    at = [picture[int((39.5 - y)*10), int((x + .5)*10)].tolist() for y, x in ((10, 20), (20, 10), (20, 45))]
    assert at == [[255, 0, 0], [255, 0, 0], [0, 255, 0]]
    assert picture[(40 - 2)*10 - 1, 540].tolist() == [0, 0, 255]            # the lower side of the box, at pixel 1.5
    open_ = slice_picture(image, (0, 1), marks=(Line(square, red),), zoom=10)
    assert open_[int((39.5 - 20)*10), int(10.5*10)].tolist() == [0, 0, 0]
    assert not slice_picture(image, (0, 1), marks=(Line(square[:1], red), Line(square[:0], red)), zoom=2).any()


def test_strange_values_are_drawn():
    image = np.array([[np.nan, np.inf, -np.inf, 0.]])
    assert slice_picture(image, (0, 1), zoom=1)[0, :, 0].tolist() == [0, 255, 0, 0]
    assert slice_picture(np.ones((2, 2)), (1, 1), zoom=1).shape == (2, 2, 3)


def test_a_png_holds_the_picture():
    picture = np.random.default_rng(0).integers(0, 256, (12, 17, 3), dtype=np.uint8)
    assert np.array_equal(np.round(imread(io.BytesIO(picture_png(picture)))[..., :3]*255).astype(int), picture)


def test_what_the_browser_is_given():
    picture = click_picture(('y', 'PageUp'), 'y joins')
    state = picture.get_state()
    assert state['heeded'] == ['y', 'PageUp'] and state['hint'] == 'y joins'
    picture.show(np.zeros((4, 6, 3), np.uint8), (2, 3), 'a slice')
    assert picture.pixels == (2, 3) and picture.alt == 'a slice' and picture.png.startswith(b'\x89PNG')
    for word in ('role', 'aria-label', 'tabIndex', 'focus-visible', 'ArrowLeft', 'Enter'): assert word in state['_esm']
