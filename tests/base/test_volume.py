"Volumes: a point stays where it is in Å, whatever is cut, binned or turned."
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoseg.base.files import VolumeError, VolumeWarning
from cryoseg.base import volume as volume_room
from cryoseg.base.volume import Volume, as_dtype, bin_volume, check_voxels, cut_slices, guess_polarity, invert_polarity, unit_in_A, voxel_edge


def test_points_there_and_back():
    volume = Volume(np.zeros((2, 3, 4)), 13.48, origin_A=(5., -6., 7.))
    points = np.random.default_rng(0).normal(size=(50, 3))
    np.testing.assert_allclose(volume.to_zyx_vox(volume.to_xyz_A(points)), points)
    np.testing.assert_allclose(volume.to_xyz_A((0, 0, 0)), (5, -6, 7))
    np.testing.assert_allclose(volume.to_xyz_A((1, 0, 0)) - volume.to_xyz_A((0, 0, 0)), (0, 0, 13.48))


def test_nstart_counts_only_without_an_origin():
    assert Volume(np.zeros((1, 1, 1)), 10., nstart=(1, 2, 3)).to_xyz_A((0, 0, 0)).tolist() == [10, 20, 30]
    assert Volume(np.zeros((1, 1, 1)), 10., origin_A=(0, 0, 4.), nstart=(1, 2, 3)).to_xyz_A((0, 0, 0)).tolist() == [0, 0, 4]


@pytest.mark.parametrize('data, size', [(np.zeros((3, 3)), 10.), (np.zeros((1, 1, 1)), 0.), (np.zeros((1, 1, 1)), np.nan), (np.zeros((1, 1, 1)), -2.)])
def test_impossible_volumes(data, size):
    with pytest.raises(VolumeError): Volume(data, size)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 5), st.integers(1, 6), st.integers(1, 4))
def test_cutting_and_binning_leave_a_point_where_it_is(start, length, n):
    data = np.zeros((12, 12, 12), np.float32)
    data[start:start + 4, 4:8, 4:8] = 1
    volume = Volume(data, 7.5, origin_A=(1., 2., 3.))
    cut = cut_slices(volume, (start, start + length))
    assert cut.shape[0] == length
    np.testing.assert_allclose(cut.to_xyz_A((0, 2, 3)), volume.to_xyz_A((start, 2, 3)))
    binned = bin_volume(volume, n)
    np.testing.assert_allclose(binned.to_xyz_A((0, 0, 0)), volume.to_xyz_A(((n - 1)/2,)*3))
    np.testing.assert_allclose(binned.data[0, 0, 0], data[:n, :n, :n].mean(), atol=1e-6)
    np.testing.assert_allclose(binned.to_xyz_A((1, 1, 1)) - binned.to_xyz_A((0, 0, 0)), 7.5*n)


def test_one_slice_is_binned_within_its_plane():
    assert bin_volume(Volume(np.ones((1, 8, 9)), 10.), 2).shape == (1, 4, 4)


@pytest.mark.parametrize('dtype', ['int8', 'uint8', 'int16', 'uint16', 'int32', 'float16', 'float32', 'float64'])
def test_inverting_twice_is_nothing(dtype):
    data = np.arange(24).reshape(2, 3, 4).astype(dtype)
    once = invert_polarity(data)
    assert once.dtype == data.dtype and (np.diff(once.ravel().astype(float)) < 0).all()
    np.testing.assert_array_equal(invert_polarity(once), data)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('dtype', ['float16', 'float32', 'float64'])
def test_nan_and_infinity_are_counted(image, bad, dtype):
    data = image.astype(dtype)
    data[3, 4, 5:8] = bad
    with pytest.warns(VolumeWarning, match='3 of 3840 voxels.*nan_to_num'): check_voxels(Volume(data, 10.))
    data[:] = bad
    with pytest.raises(VolumeError, match='all 3840 voxels are NaN or infinite'): check_voxels(Volume(data, 10.))
    check_voxels(Volume(image.astype(dtype), 10.))


def test_polarity_is_that_of_the_image_and_not_of_padding_spikes_or_noise():
    z, y, x = np.indices((5, 96, 96))
    ring = 100 + 10*np.random.default_rng(0).normal(size=z.shape) - 40*(abs(np.hypot(y - 48, x - 48) - 25) < 2)
    for value in (0, 100, 255, 1e6):
        padded = np.where((x < 12) | (y > 80), value, ring)
        spiked = ring.copy()
        spiked[:, ::20, ::20] = value
        for image in (padded, spiked, padded.astype(np.float32)):
            assert (guess_polarity(image), guess_polarity(-image)) == ('dark', 'bright')
    assert {guess_polarity(np.random.default_rng(seed).normal(size=(5, 96, 96))) for seed in range(10)} == {'unsure'}


def test_polarity_follows_inversion():
    z, y, x = np.indices((5, 64, 64))
    ring = -np.exp(-(np.hypot(y - 30, x - 30) - 18)**2/4) + np.random.default_rng(0).normal(0, 0.3, z.shape)
    assert guess_polarity(ring) == guess_polarity(1000*ring + 7) == 'dark' and guess_polarity(-ring) == 'bright' and guess_polarity(0*ring) == 'unsure'


# what a volume knows of itself

def test_whether_the_voxel_size_is_known_goes_along():
    for known in (True, False):
        volume = Volume(np.arange(64.).reshape(4, 4, 4), 1., voxel_size_known=known)
        for other in (volume.with_data(np.zeros((4, 4, 4))), cut_slices(volume, (1, 3)), bin_volume(volume, 2)): assert other.voxel_size_known is known
        assert ('not known' in repr(volume)) is not known
    assert Volume(np.zeros((1, 1, 1)), 1.).voxel_size_known and [f.name for f in fields(Volume)][-3:] == ['voxel_size_known', 'meaning', 'note']


def test_means_are_kept_by_binning_and_by_one_nothing_changes():
    data = np.random.default_rng(0).normal(size=(6, 8, 10))
    volume = Volume(data, 10., origin_A=(1., 2., 3.))
    np.testing.assert_allclose(bin_volume(volume, 2).data.mean(), data.mean(), atol=1e-6)
    same = bin_volume(volume, 1)
    np.testing.assert_allclose(same.data, data, atol=1e-6)
    assert same.voxel_size_A == 10 and same.to_xyz_A((0, 0, 0)).tolist() == [1, 2, 3]
    mirrored = bin_volume(volume.with_data(np.ascontiguousarray(data[:, ::-1])), 2)
    np.testing.assert_allclose(mirrored.data[:, ::-1], bin_volume(volume, 2).data, atol=1e-6)


def test_slices_may_have_an_open_end():
    volume = Volume(np.arange(24).reshape(4, 2, 3), 10.)
    np.testing.assert_array_equal(cut_slices(volume, (None, None)).data, volume.data)
    np.testing.assert_array_equal(cut_slices(volume, (2, None)).data, volume.data[2:])
    assert cut_slices(volume, (2, None)).data.base is not None          # a view


def test_whole_numbers_are_read_until_two_differ(monkeypatch):
    "A slab at a time: the second slab of whole numbers is not touched where the first says enough."
    monkeypatch.setattr(volume_room, 'SLAB_BYTES', 8)
    assert volume_room._slabs(np.zeros((3, 2, 4), np.int8)) == [(0, 1), (1, 2), (2, 3)]
    check_voxels(Volume(np.arange(24, dtype=np.int8).reshape(3, 2, 4), 10.))
    late = np.zeros((3, 2, 4))
    late[2, 1, 3] = 1
    check_voxels(Volume(late, 10.))
    with pytest.raises(VolumeError, match='constant'): check_voxels(Volume(0*late, 10.))


def test_looking_at_a_map_leaves_it_as_it_is(tmp_path):
    "The pages that were read are let go of; a private copy keeps what was written into it."
    np.arange(24, dtype=np.float32).tofile(tmp_path/'a')
    for mode in ('r', 'r+', 'c'):
        data = np.memmap(tmp_path/'a', np.float32, mode, shape=(2, 3, 4))
        if mode == 'c': data[0, 0, 0] = 99
        check_voxels(Volume(data, 10.))
        check_voxels(Volume(data[::-1].view('i4'), 10.))
        assert data[0, 0, 0] == (99 if mode == 'c' else 0) and data[1, 2, 3] == 23


@pytest.mark.parametrize('name, length', [('nm', 10), ('NM', 10), ('Angstrom', 1), ('Å', 1), ('\\u00b5m', 1e4), ('µm', 1e4), ('μm', 1e4), ('cm', 1e8), ('parsec', None), ('', None), (None, None),
    ('Angstroms', 1), ('angstrom', 1), ('ANGSTROM', 1), ('Ångström', 1), ('ångströms', 1), ('A', 1), ('å', 1), ('\u212b', 1), ('A\u030a', 1), ('Ã…', 1), ('A/pix', 1), ('&Aring;', 1),
    ('nanometers', 10), ('Nanometre', 10), ('nanometer', 10), ('nm/pixel', 10), ('nm per voxel', 10), ('[nm]', 10), (' nm ', 10), ('nm\0', 10), ('nano-meters', 10),
    ('microns', 1e4), ('Micron', 1e4), ('micrometers', 1e4), ('micrometre', 1e4), ('um', 1e4), ('UM', 1e4), ('\\u03bcm', 1e4), ('\\xB5m', 1e4), ('Âµm', 1e4), ('Î¼m', 1e4), ('&micro;m', 1e4),
    ('pm', .01), ('picometer', .01), ('Pm', 1e25), ('mm', 1e7), ('Mm', 1e16), ('millimeters', 1e7), ('m', 1e10), ('meter', 1e10), ('metres', 1e10), ('dm', 1e9), ('dam', 1e11), ('km', 1e13), ('fm', 1e-5),
    ('femtometer', 1e-5), ('kilometer', 1e13), ('hectometer', 1e12), ('yoctometer', 1e-14), ('pixel', None), ('pixels', None), ('px', None), ('inch', None), ('in', None), ('s', None), ('sec', None),
    ('1/nm', None), ('nm^-1', None), ('nm-1', None), ('nm⁻¹', None), ('reference frame', None), (10, None)])
def test_units(name, length):
    assert unit_in_A(name) == (length if length is None else pytest.approx(length, rel=1e-12))


@pytest.mark.parametrize('length, edge', [(np.float32(13.68), 13.68), (0, None), (-1., None), (np.nan, None), (np.inf, None), (None, None)])
def test_an_edge_is_a_length_or_not_known(length, edge):
    assert voxel_edge(length) == edge


def test_numbers_are_rounded_and_never_wrapped():
    assert as_dtype(np.array([1.6, -2.4]), 'int8', 'a').tolist() == [2, -2] and as_dtype(np.array([True]), 'int8', 'a').tolist() == [1]
    assert as_dtype(np.array([np.inf, np.nan, 6e4]), 'float16', 'a').tolist()[::2] == [np.inf, 6e4]
    same = np.arange(3, dtype=np.int16)
    assert as_dtype(same, 'int16', 'a') is same and as_dtype(np.zeros(0), 'int8', 'a').size == 0
    edge = np.float32(2**31)        # which is also what the limit of int32 becomes as a float32
    assert as_dtype(np.array([-edge]), 'int32', 'a').tolist() == [-2**31] and as_dtype(np.array([edge]), 'uint32', 'a').tolist() == [2**31]
    for data, dtype in (([128], 'int8'), ([-1], 'uint8'), ([np.nan], 'int16'), ([70000.], 'uint16'), ([edge], 'int32'), ([2.**63], 'int64'), ([2.**64], 'uint64'), ([7e4], 'float16'), ([70_000], 'float16'), ([-1e300], 'float32')):
        with pytest.raises(VolumeError, match='do not fit'): as_dtype(np.array(data), dtype, 'a')


def test_polarity_does_not_ask_which_slice_comes_first():
    z, y, x = np.indices((5, 64, 64))
    ring = -np.exp(-(np.hypot(y - 30, x - 30) - 18)**2/4) + np.random.default_rng(0).normal(0, 0.3, z.shape)
    assert guess_polarity(ring[::-1]) == guess_polarity(ring[0]) == 'dark'
