"Colours: luminance of images, ids of labels."
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoseg.base.files import VolumeWarning
from cryoseg.base.colours import MAX_COLOURS, to_gray, without_colour

COLOURS = np.array([(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 10, 77)], np.uint8)


def ids(picture):
    "Labels of a picture, whatever is said."
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return without_colour(picture, 'a.png', labels=True)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 6), st.integers(0, 99), st.sampled_from([np.uint8, np.uint16]))
def test_every_colour_has_a_number_of_its_own(n, seed, dtype):
    drawn = np.random.default_rng(seed).integers(0, n, (3, 7, 8))
    found = ids(COLOURS.astype(dtype)[drawn]*dtype(257 if dtype == np.uint16 else 1))
    pairs = set(zip(drawn.ravel().tolist(), found.data.ravel().tolist()))
    assert len(pairs) == len(set(drawn.ravel().tolist())) == len({second for _, second in pairs})
    if n > 2: np.testing.assert_allclose(found.palette[found.data], to_gray(COLOURS.astype(dtype)[drawn]*dtype(257 if dtype == np.uint16 else 1)), rtol=1e-5)


@pytest.mark.parametrize('ground, share', [(0, .9), (0, .5), (1, .9)])
def test_black_or_white_is_the_background(ground, share):
    drawn = np.where(np.random.default_rng(0).random((40, 40)) < share, ground, np.random.default_rng(1).integers(2, 5, (40, 40)))
    np.testing.assert_array_equal(ids(COLOURS[drawn]).data == 0, drawn == ground)
    with pytest.warns(VolumeWarning, match='without a background'): assert without_colour(COLOURS[drawn.clip(2)], 'a.png', True).data.min() == 1


def test_gray_in_colour_keeps_its_numbers():
    gray = np.random.default_rng(0).integers(0, 9, (5, 6), dtype=np.uint8)
    for picture in (gray[..., None].repeat(3, -1), np.dstack([gray]*3 + [np.full_like(gray, 255)]), np.dstack([gray, np.full_like(gray, 9)])):
        np.testing.assert_array_equal(without_colour(picture, 'a.png', True).data, gray)
        np.testing.assert_array_equal(without_colour(picture, 'a.png').data, gray)


def test_too_many_colours_are_no_labels():
    many = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    found = without_colour(many, 'a.png', True)
    assert f'more than {MAX_COLOURS} colours' in found.no_labels
    np.testing.assert_array_equal(found.data, to_gray(many))
    assert without_colour(many/255, 'a.png', True).no_labels


def test_what_is_transparent_is_background():
    drawn = np.random.default_rng(0).integers(2, 4, (20, 20))
    seen = np.random.default_rng(1).random((20, 20)) < .4
    picture = np.dstack([COLOURS[drawn], 255*seen.astype(np.uint8)])
    with pytest.warns(VolumeWarning, match='wholly transparent is taken as background'): found = without_colour(picture, 'a.png', True)
    np.testing.assert_array_equal(found.data > 0, seen)
    with pytest.warns(VolumeWarning, match='varies from 0 to 255 and is left out'): np.testing.assert_allclose(without_colour(picture, 'a.png').data, to_gray(COLOURS[drawn]))
