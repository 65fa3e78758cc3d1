"NumPy arrays and archives."
import numpy as np
import pytest

from cryoseg.base.files import VolumeError
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
