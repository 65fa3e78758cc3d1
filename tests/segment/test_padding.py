"Padding: what is found, what is not, and what the net sees in its place."
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cryoseg.base.files import VolumeError, VolumeWarning
from cryoseg.segment import padding as room
from cryoseg.segment.padding import (Padding, constant_regions, filled, find_padding, inner_box, nearest_valid, step_tolerance,
                                     valid_box, warn_of_padding)


def noise(*shape, seed=0): return (100 + 10*np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def shapes(side=96):
    "Valid parts (Y,X) of a slice."
    y, x = np.indices((side, side))
    edge = np.minimum.reduce([y, x, side - 1 - y, side - 1 - x])
    return {'rim 1': edge >= 1, 'rim 2': edge >= 2, 'rim 20': edge >= 20, 'corners': abs(y - 48) + abs(x - 48) < 66,
            'strip': x < 70, 'band': (x < 30) | (x > 50), 'circle': np.hypot(y - 48, x - 48) < 46, 'block': (abs(y - 50) > 18) | (abs(x - 40) > 18)}


@pytest.mark.parametrize('value', [0, 100, 255, -1, 1e6])
@pytest.mark.parametrize('name', list(shapes()))
def test_every_shape_and_value_is_found(name, value):
    valid = shapes()[name]
    data = np.where(valid, noise(4, 96, 96), np.float32(value))
    padding = find_padding(data)
    mask = padding.mask
    assert (mask[:, ~valid].mean() > .97) and mask[:, valid].mean() < 1e-3
    assert padding.values[0] == value and padding.fraction == pytest.approx(mask.mean())


@pytest.mark.parametrize('dtype', ['uint8', 'int8', 'int16', 'uint16', 'float16', 'float32', 'float64', '>i2'])
def test_every_kind_of_number(dtype):
    valid = shapes()['rim 20']
    data = np.where(valid, noise(3, 96, 96).round().clip(1, 127), 0).astype(dtype)
    assert (find_padding(data).mask == ~valid).mean() > .999


def test_nan_and_infinity_are_left_out_where_they_are():
    data = noise(5, 40, 40)
    data[:, :, :7], data[2, 20, 20] = np.nan, -np.inf
    mask = find_padding(data).mask
    np.testing.assert_array_equal(mask, ~np.isfinite(data))
    assert 'NaN or infinite' in str(find_padding(data))


def test_whole_slices_at_the_ends_and_in_the_middle():
    data = noise(9, 32, 32)
    data[[0, 4, 5, 8]] = [[[0]], [[3]], [[np.nan]], [[-1]]]
    padding = find_padding(data)
    assert padding.mask.all((1, 2)).tolist() == [True, False, False, False, True, True, False, False, True]
    assert padding.fraction == pytest.approx(4/9) and padding.valid(1) is None and not padding.valid(4).any()


def test_interpolated_padding_is_constant_but_for_rounding():
    valid = shapes()['rim 20']
    data = np.where(valid, noise(2, 96, 96), 100).astype(np.float32)
    data[:, ~valid] *= 1 + 1e-7*np.random.default_rng(1).normal(size=(2, (~valid).sum())).astype(np.float32)
    assert (find_padding(data).mask == ~valid).mean() > .999
    turned = ndimage.rotate(noise(2, 96, 96), 12, (1, 2), reshape=False, order=1, cval=37.3)
    reached = ndimage.rotate(np.ones((96, 96)), 12, reshape=False, order=1) > 0
    assert (find_padding(turned).mask == ~reached).mean() > .98


@pytest.mark.parametrize('levels', [4, 8, 16, 250])
@pytest.mark.parametrize('blur', [0, 1, 2])
def test_few_grey_levels_are_no_padding(levels, blur):
    image = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(3, 128, 128)), (0, blur, blur))
    coarse = np.rint(levels*(image - image.min())/np.ptp(image)).astype(np.uint8)
    assert find_padding(coarse).fraction < .01


def test_saturated_things_are_no_padding():
    y, x = np.indices((96, 96))
    data = noise(3, 96, 96)
    data[:, np.hypot(y - 40, x - 40) < 9] = 255                             # a bead
    data[:, abs(np.hypot(y - 60, x - 95) - 30) < 3] = 0                     # a membrane that reaches the border
    assert find_padding(data).mask is None


def test_mirrored_and_repeated_borders_are_image():
    for mode, most in (('reflect', 0), ('edge', 4*13*13)):                  # repeated rows and columns meet in the corners
        data = np.stack([np.pad(s, 12, mode=mode) for s in noise(2, 64, 64)])
        assert find_padding(data).fraction*data[0].size <= most


def test_drawings_without_noise_are_images():
    y, x = np.indices((96, 96))
    ring = abs(np.hypot(y - 48, x - 48) - 30) < 2
    for data in (ring, 1. - ring, np.where(ring, 50, 200).astype(np.uint8)): assert find_padding(data[None]*1).mask is None


@pytest.mark.parametrize('data', [np.full((3, 8, 8), 5.), np.zeros((1, 1, 1)), np.full((2, 5, 5), np.nan), np.arange(4.)[:, None, None]*np.ones((4, 9, 9))])
def test_volumes_of_one_value_are_refused(data):
    with pytest.raises(VolumeError, match='no voxel holds an image'): find_padding(data)


def test_an_empty_array_is_refused():
    with pytest.raises(VolumeError, match='no voxels'): find_padding(np.zeros((0, 4, 4)))


@settings(max_examples=40, deadline=None)
@given(st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)), st.integers(0, 99))
def test_tiny_noise_is_image(shape, seed):
    data = noise(*shape, seed=seed)
    if data.size > shape[0] and all(np.ptp(s) > 0 for s in data): assert find_padding(data).mask is None


@settings(max_examples=20, deadline=None)
@given(st.floats(-6, 12), st.floats(-3, 3))
def test_the_unit_does_not_matter(log_gain, offset):
    valid = shapes()['corners']
    data = np.where(valid, noise(2, 96, 96).astype(float), 0.)
    np.testing.assert_array_equal(find_padding((data + offset)*10.**log_gain).mask, find_padding(data).mask)


def test_the_warning_is_one_line_and_only_where_something_is_left_out(recwarn):
    warn_of_padding(Padding(0.))
    assert not recwarn.list
    data = noise(2, 96, 96)
    data[:, :12] = 0
    with pytest.warns(VolumeWarning, match=r'^a.mrc: 12 % of the voxels are constant \(0\): left out'): warn_of_padding(find_padding(data), 'a.mrc')


# filling

@pytest.mark.parametrize('name', list(shapes()))
def test_what_is_filled_looks_like_the_rest_and_the_rest_stays(name):
    valid = shapes()[name]
    image = np.where(valid, np.random.default_rng(0).normal(size=valid.shape), 50).astype(np.float32)
    out = filled(image, valid)
    np.testing.assert_array_equal(out[valid], image[valid])
    assert abs(out[~valid].mean()) < .3 and .7 < out[~valid].std() < 1.3
    np.testing.assert_array_equal(out, filled(image, valid))
    assert filled(image, None) is image


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 999))
def test_boxes(height, width, seed):
    valid = np.random.default_rng(seed).random((height, width)) < .6
    valid[seed % height, seed % width] = True
    outside = np.ones_like(valid)
    outside[valid_box(valid)] = False
    assert not (valid & outside).any() and valid[inner_box(valid)].all()


@settings(max_examples=40, deadline=None)
@given(st.integers(5, 70), st.integers(5, 70), st.floats(.5, 8), st.integers(0, 999))
def test_a_region_is_as_solid_in_its_box_as_in_its_slice(height, width, blur, seed):
    marked = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), blur) > 0
    n, labels, stats, _ = cv2.connectedComponentsWithStats(marked.astype(np.uint8))
    for k in range(1, n):
        core = cv2.erode((labels == k).astype(np.uint8), room.CORE)
        assert room._is_solid(labels, k, stats[k][:4]) == (core.sum() >= room.MIN_CORE*stats[k][4])


def test_the_sample_of_a_large_volume_is_small():
    data = np.broadcast_to(noise(1, 600, 2048), (40, 600, 2048))
    sample, nine = room._some_slices(data), np.asarray(data[:9], float)
    assert sample.shape[0] == room.LOOKED_AT and sample.size <= room.LOOKED_PX
    assert room.step_tolerance(sample) == pytest.approx(room.step_tolerance(nine), rel=.01)
    assert room._centre(sample) == pytest.approx(room._centre(nine), rel=1e-3)
    assert [len(room._some_slices(noise(n, 5, 6))) for n in (1, 4, 9, 17)] == [1, 4, 9, 9]


def test_the_tolerance_follows_the_noise_and_ends_where_it_is_rounding():
    sample = noise(1, 64, 64).astype(float)
    assert step_tolerance(3*sample) == pytest.approx(3*step_tolerance(sample), rel=.01)
    assert step_tolerance(np.zeros((1, 4, 4))) == 0 and step_tolerance(np.full((1, 4, 4), np.nan)) == 0
    assert not constant_regions(sample[0].astype(np.float32), step_tolerance(sample)).any()


@pytest.mark.parametrize('constant', [0., 300.])
def test_the_soft_rim_of_a_turned_volume_is_left_out(constant):
    weight = ndimage.rotate(np.pad(np.ones((80, 80)), 10), 12, reshape=False, order=1)
    image = 100 + 10*np.random.default_rng(0).standard_normal((4, 100, 100))
    turned = (weight*image + (1 - weight)*constant).astype(np.float32)
    kept = ~find_padding(turned).mask
    assert not (kept & (weight < .9)).any() and (kept & (weight == 1)).sum() > .9*4*(weight == 1).sum()


def test_a_sharp_edge_costs_no_pixel():
    image = 100 + 10*np.random.default_rng(0).standard_normal((4, 100, 100)).astype(np.float32)
    valid = np.zeros((100, 100), bool)
    valid[9:, :80] = True
    np.testing.assert_array_equal(find_padding(np.where(valid, image, 0)).mask, np.broadcast_to(~valid, image.shape))


# regions that are nearly constant

def fills(kind, shape, seed=9):
    "What programs write that is not quite constant, for an image of mean 100 and standard deviation 10."
    rng, x = np.random.default_rng(seed), np.arange(shape[-1])
    return {'2 %': 50 + .2*rng.normal(size=shape), '10 %': 50 + rng.normal(size=shape), 'mean': 100 + .2*rng.normal(size=shape), 'grey level': 60 + rng.integers(0, 2, shape),
            'gradient': np.broadcast_to(60 + .4*x, shape)}[kind]


@pytest.mark.parametrize('kind', ['2 %', '10 %', 'mean', 'grey level', 'gradient'])
@pytest.mark.parametrize('name', ['rim 20', 'corners', 'strip', 'circle'])
def test_what_is_nearly_constant_is_left_out(name, kind):
    valid, image = shapes()[name], noise(4, 96, 96)
    data = np.where(valid, image.round() if kind == 'grey level' else image, fills(kind, image.shape)).astype(np.float32)
    padding = find_padding(data)
    assert padding.mask[:, ~valid].mean() > .95 and padding.mask[:, valid].mean() < .05
    if kind == '2 %': assert str(padding).endswith('of the voxels are nearly constant (about 50), far smoother than the rest')


def test_a_ramp_and_whole_slices_and_a_smooth_image():
    ramp = np.pad(noise(3, 72, 72), ((0, 0), (12, 12), (12, 12)), 'linear_ramp', end_values=0)
    inner = shapes()['rim 20'][8:-8, 8:-8]
    assert find_padding(ramp).mask[:, np.pad(~np.ones((72, 72), bool), 12, constant_values=True)].mean() > .99 and not find_padding(ramp).mask[:, 8:-8, 8:-8][:, inner].any()
    data = noise(6, 64, 64)
    data[[0, 5]] = fills('2 %', (2, 64, 64))
    assert find_padding(data).mask.all((1, 2)).tolist() == [True, False, False, False, False, True]
    smooth = ndimage.gaussian_filter(noise(4, 96, 96), (0, 1, 1))
    smooth = 100 + 10*(smooth - 100)/smooth.std()
    mask = find_padding(np.where(shapes()['rim 20'], smooth, fills('2 %', smooth.shape)).astype(np.float32)).mask
    assert mask[:, ~shapes()['rim 20']].all() and mask[:, shapes()['rim 20']].mean() < .05


@pytest.mark.parametrize('blur', [0, 1, 2])
@pytest.mark.parametrize('seed', [0, 1])
def test_smooth_images_vacuum_and_flat_lumens_are_image(blur, seed):
    y, x = np.indices((160, 160))
    image = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(4, 160, 160)), (0, blur, blur))
    image /= image.std()
    membrane = abs(np.hypot(y - 20, x - 20) - 50) < 3
    lumen = np.where(np.hypot(y - 20, x - 20) < 50, .1, 1)
    for data in (image, image*np.where(x < 60, .2, 1), image*np.where(x < 60, .3, 1), image*lumen - 3*membrane, image + 1e6*(np.random.default_rng(2).random(image.shape) < 1e-3), image*np.array([.2, 1, 1, .3])[:, None, None]):
        assert find_padding(data.astype(np.float32)).mask is None


def test_a_drawing_with_hardly_any_noise_is_an_image():
    y, x = np.indices((96, 96))
    d = np.hypot(y - 48, x - 48)
    for drawing in (abs(d - 30) < 2, d < 30, np.exp(-(d - 30)**2/8)):
        assert find_padding((100 - 20*drawing + 1e-3*np.random.default_rng(0).normal(size=(3, 96, 96))).astype(np.float32)).mask is None


# filling

def gaps(kind, shape, rng):
    "Which pixels are valid: single ones missing, boxes, blobs, or a rim."
    valid = np.ones(shape, bool)
    if kind == 'specks': valid = rng.random(shape) > rng.uniform(.001, .4)
    if kind == 'boxes':
        for y, x in rng.integers(0, shape, (4, 2)): valid[y:y + rng.integers(1, 7), x:x + rng.integers(1, 7)] = False
    if kind == 'blobs': valid = ndimage.gaussian_filter(rng.normal(size=shape), 2) > -.15
    if kind == 'rim': valid[:rng.integers(1, shape[0])] = False
    valid[-1, -1] = True
    return valid


@pytest.mark.parametrize('kind', ['specks', 'boxes', 'blobs', 'rim'])
@pytest.mark.parametrize('seed', range(6))
def test_the_nearest_pixels_of_gaps_are_those_of_the_whole_slice(kind, seed):
    "Gap by gap gives what the distance transform of the whole slice gives, ties included."
    rng = np.random.default_rng(seed)
    valid = gaps(kind, rng.integers(4, 60, 2), rng)
    distance, places = ndimage.distance_transform_edt(~valid, return_indices=True)
    near = nearest_valid(valid)
    np.testing.assert_array_equal(near.distance, distance[~valid])
    np.testing.assert_array_equal(np.stack(near.places), places[:, ~valid])


def test_what_is_valid_stays_and_the_noise_is_always_the_same():
    rng = np.random.default_rng(0)
    image, valid = rng.normal(size=(50, 40)).astype(np.float32), gaps('boxes', (50, 40), rng)
    one = filled(image, valid)
    np.testing.assert_array_equal(one[valid], image[valid])
    np.testing.assert_array_equal(one, filled(np.where(valid, image, 9).astype(np.float32), valid))
    assert filled(image, None) is image and one.dtype == np.float32


def test_workers_find_the_same_padding():
    data = np.random.default_rng(0).normal(size=(7, 60, 50)).astype(np.float32)
    data[:, :9], data[3, 40:], data[5, 20:24, 20:24] = 0, np.nan, 7
    one, three = find_padding(data), find_padding(data, workers=3)
    assert one.values == three.values and one.fraction == three.fraction and one.bits.tobytes() == three.bits.tobytes()
