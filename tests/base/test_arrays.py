"NumPy arrays and archives."
import tracemalloc
import zipfile

import numpy as np
import pytest

from cryoseg.base import limits
from cryoseg.base.files import VolumeError, VolumeWarning
from cryoseg.base.volume import Volume
from cryoseg.base.formats import read_meaning, read_volume, write_volume
from cryoseg.base.arrays import read_npz, which_array

from volume_files import quiet


def test_npy_keeps_the_voxels(tmp_path, image):
    write_volume(tmp_path/'a.npy', Volume(image, 10.))
    volume = quiet(tmp_path/'a.npy', voxel_size_A=10)
    assert isinstance(volume.data, np.memmap)
    np.testing.assert_array_equal(volume.data, image)


def test_archives_of_others(tmp_path, image):
    np.savez(tmp_path/'a.npz', whatever=image, voxel_size=14.08, meaning='1 membrane', origin_zyx=np.array([3, 2, 1]))
    volume = quiet(tmp_path/'a.npz')
    assert (volume.voxel_size_A, volume.nstart) == (14.08, (1, 2, 3))
    np.savez(tmp_path/'b.npz', other=image, labels=image > 0, voxel_size_A=10.)
    assert quiet(tmp_path/'b.npz').data.dtype == np.uint8
    np.savez(tmp_path/'c.npz', one=image, two=image)
    with pytest.raises(VolumeError, match='which array.*one, two'): read_volume(tmp_path/'c.npz')
    np.savez(tmp_path/'d.npz', flat=image[0], voxel_size_A=10.)
    assert quiet(tmp_path/'d.npz').shape == (1, 16, 20)


@pytest.mark.parametrize('data, words', [(np.zeros(5), '1 axes'), (np.zeros((2, 3, 4, 5)), '4 axes'), (np.zeros((3, 4, 5), complex), 'complex128'), (np.zeros((0, 3, 4)), 'no voxels'),
                                         (np.full((2, 2, 2), 'a'), 'dtype'), (np.array({}), 'cannot be read'), (np.zeros((3, 4, 5)), 'constant')])
def test_arrays_that_are_no_volume(tmp_path, data, words):
    np.save(tmp_path/'a.npy', data, allow_pickle=True)
    with pytest.raises(VolumeError, match=words): read_volume(tmp_path/'a.npy', voxel_size_A=10)


@pytest.mark.parametrize('meaning, names', [('1 membrane,2/3 lumen?', {1: 'membrane', 2: 'lumen?', 3: 'lumen?'}), (np.array([b'1=membrane', b'2: lumen']), {1: 'membrane', 2: 'lumen'}),
                                            ('membranes', {}), ('', {}), (None, {})])
def test_what_labels_mean(tmp_path, image, meaning, names):
    np.savez(tmp_path/'a.npz', labels=image > 0, **({} if meaning is None else dict(meaning=meaning)))
    assert read_meaning(tmp_path/'a.npz') == names
    (tmp_path/'a.npz').write_bytes(b'no archive')
    assert read_meaning(tmp_path/'a.npz') == {}


def test_the_volume_is_found_by_its_axes_then_by_its_name(tmp_path):
    cube, plane = np.zeros((2, 2, 2)), np.zeros((2, 2))
    assert which_array(dict(a=plane, b=cube), 'x') == 'b' and which_array(dict(a=plane, n=np.zeros(3)), 'x') == 'a'
    assert which_array(dict(other=cube, mask=cube, volume=cube), 'x') == 'volume'
    for arrays in (dict(a=cube, b=cube), dict(n=np.zeros(3)), {}):
        with pytest.raises(VolumeError, match='which array'): which_array(arrays, 'x')


def test_a_silent_archive_has_no_voxel_size(tmp_path, image):
    for more in ({}, dict(voxel_size=0.)):
        np.savez(tmp_path/'a.npz', data=image, **more)
        assert read_npz(tmp_path/'a.npz').voxel_A == (None, None, None)


@pytest.mark.parametrize('name, value, voxel_A', [
    ('voxel_size_A', 13.48, (13.48,)*3), ('voxel_size', np.float32(13.48), (13.48,)*3), ('apix', 13.48, (13.48,)*3), ('pixel_size', [13.48], (13.48,)*3), ('PixelSize', 13.48, (13.48,)*3),
    ('voxel_size_nm', 1.348, (13.48,)*3), ('pixelsize_nm', 1.348, (13.48,)*3), ('voxel_size_um', 1.348e-3, (13.48,)*3), ('voxel_spacing', 13.48, (13.48,)*3), ('spacing', [13.48]*3, (13.48,)*3),
    ('voxel_size', [20., 10., 10.], (10., 10., 20.)), ('spacing', [20., 10., 12.], (12., 10., 20.)), ('voxel_size_xyz', [10., 12., 20.], (10., 12., 20.)), ('voxel_size_zyx_nm', [2., 1., 1.], (10., 10., 20.)),
    ('voxel_size_nm_xyz', [1., 1., 2.], (10., 10., 20.)), ('voxel_size', 0., (None,)*3), ('scale', 10., (None,)*3)])
def test_names_of_voxel_sizes(tmp_path, image, name, value, voxel_A):
    np.savez(tmp_path/'a.npz', data=image, **{name: value})
    raw = read_npz(tmp_path/'a.npz')
    assert (raw.voxel_A, raw.said) == (voxel_A, '')


@pytest.mark.parametrize('name, value, said', [('voxel_size', '13.48 A', 'voxel_size = 13.48 A'), ('voxel_size_furlong', 2., 'voxel_size_furlong = 2.0'), ('voxel_size', np.nan, 'voxel_size = nan'),
                                               ('apix', -13., 'apix = -13.0'), ('pixel_size', [1., 2.], 'pixel_size = [1. 2.]'), ('voxel_size', True, 'voxel_size = True')])
def test_words_about_voxels_that_are_not_understood_are_quoted(tmp_path, image, name, value, said):
    np.savez(tmp_path/'a.npz', data=image, **{name: value})
    raw = read_npz(tmp_path/'a.npz')
    assert (raw.voxel_A, raw.said) == ((None,)*3, said)


@pytest.mark.parametrize('more, words', [(dict(origin_A='here'), 'origin_A = here'), (dict(origin_A=np.zeros(2)), 'three numbers'), (dict(nstart=[np.nan]*3), 'nstart = .nan'),
                                         (dict(origin=[1, 2, np.inf]), 'origin ='), (dict(origin_zyx=5.5), 'three numbers|origin_zyx')])
def test_places_that_make_no_sense_are_refused_at_once(tmp_path, image, more, words):
    np.savez(tmp_path/'a.npz', data=image, voxel_size=10., **more)
    with pytest.raises(VolumeError, match=words): read_npz(tmp_path/'a.npz')


@pytest.mark.parametrize('dtype', ['<f2', '>f4', '>i4', '?', '<u8', '>i2', 'f8'])
@pytest.mark.parametrize('order', ['C', 'F'])
def test_every_order_and_type_keeps_its_values(tmp_path, image, dtype, order):
    data = np.array(np.maximum(9*image, 0), dtype, order=order)
    np.save(tmp_path/'a.npy', data)
    np.savez_compressed(tmp_path/'a.npz', data=data)
    for name in ('a.npy', 'a.npz'):
        seen = quiet(tmp_path/name, voxel_size_A=10.)
        np.testing.assert_array_equal(seen.data, data)
        assert seen.data.dtype.isnative


def test_labels_go_first_where_labels_are_wanted(tmp_path, image):
    np.savez(tmp_path/'a.npz', tomogram=image, Mask=image > 0, voxel_size=10.)
    with pytest.warns(VolumeWarning, match='several volumes; tomogram is read, Mask is not'): assert read_npz(tmp_path/'a.npz').data.dtype == np.float32
    with pytest.warns(VolumeWarning, match='several volumes; Mask is read, tomogram is not'): assert read_npz(tmp_path/'a.npz', labels=True).data.dtype == bool


def member(archive, name, shape, content=b'', descr='|u1'):
    "An array whose header promises `shape`."
    with archive.open(name + '.npy', 'w', force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, dict(descr=descr, fortran_order=False, shape=shape))
        file.write(content)


def test_what_hides_beside_the_volume_is_not_unpacked(tmp_path, image):
    "An array of 64 MB of zeros, and one that only promises: neither costs memory."
    with zipfile.ZipFile(tmp_path/'a.npz', 'w', zipfile.ZIP_DEFLATED) as archive:
        member(archive, 'hidden', (2**26,), bytes(2**26))
        member(archive, 'bait', (10**12,))
        with archive.open('labels.npy', 'w') as file: np.save(file, image)
    tracemalloc.start()
    np.testing.assert_array_equal(read_npz(tmp_path/'a.npz').data, image)
    read_meaning(tmp_path/'a.npz')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


@pytest.mark.parametrize('shape, words', [((1000, 1000, 1000), 'truncated.*promises 1000000000 bytes, there are 5'), ((10**6, 10**6, 10**6), 'truncated'), ((-1, 5, 1), 'cannot be')])
def test_archives_that_promise_more_than_they_hold(tmp_path, shape, words):
    with zipfile.ZipFile(tmp_path/'a.npz', 'w') as archive: member(archive, 'labels', shape, b'12345')
    with pytest.raises(VolumeError, match=words): read_npz(tmp_path/'a.npz')


def test_gigabytes_of_nothing_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, 'FREELY_UNPACKED', 2**20)
    np.savez_compressed(tmp_path/'a.npz', labels=np.zeros((128, 128, 128), np.uint8))
    with pytest.raises(VolumeError, match='unpack to 2 MB'): read_npz(tmp_path/'a.npz')


def test_an_array_that_is_damaged_inside_is_told(tmp_path, image):
    np.savez(tmp_path/'a.npz', data=image)
    whole = bytearray((tmp_path/'a.npz').read_bytes())
    whole[len(whole)//2] ^= 255
    (tmp_path/'a.npz').write_bytes(whole)
    with pytest.raises(VolumeError, match='Bad CRC'): read_volume(tmp_path/'a.npz')


@pytest.mark.parametrize('data, words', [(np.zeros(3, 'f4,i4').reshape(3, 1, 1), 'dtype'), (np.zeros((2, 3, 4), complex), 'complex128'), (np.array([[['x', 'y']]]), 'dtype'),
                                         (np.zeros((2, 3, 4), 'M8[s]'), 'dtype'), (np.array([[[None]]]), 'Python objects')])
def test_arrays_of_other_things_are_refused(tmp_path, data, words):
    np.save(tmp_path/'a.npy', data, allow_pickle=True)
    np.savez(tmp_path/'a.npz', data=data)
    for name in ('a.npy', 'a.npz'):
        with pytest.raises(VolumeError, match=words): read_volume(tmp_path/name, voxel_size_A=10)


@pytest.mark.parametrize('header', [b'{' * 5000, b"{'descr': '<f8', 'fortran_order': False, 'shape': (%s), }" % (b'9' * 5000), b"{'descr': '<f8'}", b'\xff\xfe', b"{'descr': [], 'fortran_order': 1, 'shape': 7}"])
def test_headers_of_nonsense(tmp_path, header):
    (tmp_path/'a.npy').write_bytes(b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little') + header)
    with pytest.raises(VolumeError, match='a.npy') as error: read_volume(tmp_path/'a.npy', voxel_size_A=10)
    assert '\n' not in str(error.value) and len(str(error.value)) < 500


def test_an_archive_of_far_too_many_arrays_is_not_even_listed(tmp_path):
    with zipfile.ZipFile(tmp_path/'a.npz', 'w') as archive:
        for k in range(20_000): archive.writestr(f'{k}.npy', b'')
    with pytest.raises(VolumeError, match='far too many arrays'): read_volume(tmp_path/'a.npz')
    with zipfile.ZipFile(tmp_path/'b.npz', 'w') as archive:
        for k in range(1500): archive.writestr(f'{k}.npy', b'')
    with pytest.raises(VolumeError, match='holds 1500 arrays'): read_volume(tmp_path/'b.npz')
