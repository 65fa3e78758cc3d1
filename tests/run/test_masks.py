"A mask follows its volume, whatever program wrote it."
import warnings

import mrcfile
import numpy as np
import pytest

from cryoseg.base.files import VolumeError, VolumeWarning
from cryoseg.base.formats import write_volume
from cryoseg.base.volume import Volume
from cryoseg.result.folder import read_input
from cryoseg.result.settings import InputSettings
from cryoseg.run.labelling import read_mask

SHAPE = 16, 20, 24
KEPT = np.zeros(SHAPE, bool)
KEPT[4:12, :10, 6:] = True


def mrc(path, data):
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.ascontiguousarray(data))
        file.set_volume()
        file.voxel_size = 10.
    return path


@pytest.fixture
def tomogram(tmp_path):
    return mrc(tmp_path/'t.mrc', np.random.default_rng(0).normal(size=SHAPE).astype('f4'))


def follow(tomogram, mask, **options):
    settings = InputSettings(**options)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        return read_mask(mask, read_input(tomogram, settings), settings)


@pytest.mark.parametrize('labels', [KEPT.astype('i1'), -KEPT.astype('i1'), KEPT.astype('i2')*255, KEPT.astype('f4'), KEPT*np.where(np.arange(24) < 12, 3, 9).astype('i2'), (KEPT*1.e-3).astype('f4')])
def test_whatever_is_not_background_is_inside(tomogram, tmp_path, labels):
    assert np.array_equal(follow(tomogram, mrc(tmp_path/'m.mrc', labels)), KEPT)


def test_nan_is_outside(tomogram, tmp_path):
    soft = KEPT.astype('f4')
    soft[0, 0, 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')       # of mrcfile, as it writes NaN
        path = mrc(tmp_path/'m.mrc', soft)
    assert np.array_equal(follow(tomogram, path), KEPT)


def test_it_is_turned_cut_and_binned_with_its_volume(tomogram, tmp_path):
    mask = mrc(tmp_path/'m.mrc', KEPT.astype('i1'))
    assert np.array_equal(follow(tomogram, mask, beam_axis='y'), KEPT.swapaxes(0, 1))
    assert np.array_equal(follow(tomogram, mask, z_range=(2, 9)), KEPT[2:9])
    assert np.array_equal(follow(tomogram, mask, bin=2), KEPT[::2, ::2, ::2])
    assert np.array_equal(follow(tomogram, mask, beam_axis='x', z_range=(2, 20), bin=2), KEPT.transpose(2, 1, 0)[2:20:2, ::2, ::2])


def test_a_cube_is_turned_too(tmp_path):
    kept = np.zeros((12, 12, 12), 'i1')
    kept[:, :5] = 1
    image = mrc(tmp_path/'t.mrc', np.random.default_rng(0).normal(size=kept.shape).astype('f4'))
    assert np.array_equal(follow(image, mrc(tmp_path/'m.mrc', kept), beam_axis='y'), kept.swapaxes(0, 1) > 0)


def test_a_mask_of_what_is_left_fits_as_it_is(tomogram, tmp_path):
    assert np.array_equal(follow(tomogram, mrc(tmp_path/'a.mrc', KEPT[2:9].astype('i1')), z_range=(2, 9)), KEPT[2:9])
    assert np.array_equal(follow(tomogram, mrc(tmp_path/'b.mrc', KEPT[::2, ::2, ::2].astype('i1')), bin=2), KEPT[::2, ::2, ::2])


def test_it_is_resampled_with_its_volume(tmp_path):
    "Slices of 20 Å, pixels of 10 Å: twice as many slices, of the mask too."
    image, mask = np.random.default_rng(0).normal(size=SHAPE).astype('f4'), tmp_path/'m.mrc'
    for path, data in ((tmp_path/'t.mrc', image), (mask, KEPT.astype('i1'))):
        with mrcfile.open(mrc(path, data), 'r+') as file: file.voxel_size = (10., 10., 20.)
    settings = InputSettings(resample=True)
    with pytest.warns(VolumeWarning, match='resampled'): kept = read_mask(mask, read_input(tmp_path/'t.mrc', settings), settings)
    assert kept.shape == (31, 20, 24) and np.array_equal(kept[::2], KEPT)
    part = InputSettings(resample=True, z_range=(2, 9))         # slices of the file
    with pytest.warns(VolumeWarning, match='resampled'): kept = read_mask(mask, read_input(tmp_path/'t.mrc', part), part)
    assert kept.shape == (13, 20, 24) and np.array_equal(kept[::2], KEPT[2:9])


def test_a_turned_mask_is_not_asked_about_its_beam(tmp_path):
    "A flat volume with the beam along y, and a mask made for it as it is read: --beam-axis is given already."
    flat = np.random.default_rng(0).normal(size=(24, 6, 24)).astype('f4')
    kept = flat.swapaxes(0, 1) > 0
    assert np.array_equal(follow(mrc(tmp_path/'t.mrc', flat), mrc(tmp_path/'m.mrc', kept.astype('i1')), beam_axis='y'), kept)
    assert np.array_equal(follow(mrc(tmp_path/'t.mrc', flat), mrc(tmp_path/'n.mrc', (flat > 0).astype('i1')), beam_axis='y'), kept)


def test_the_word_on_a_mask_names_no_option_that_is_not_there(tomogram, tmp_path):
    with pytest.raises(VolumeError) as error: follow(tomogram, tomogram)
    assert 'is a tomogram' in str(error.value) and '--labels-are' not in str(error.value) and 'give a mask' in str(error.value)


def test_what_cannot_be_right_is_refused(tomogram, tmp_path):
    for data, words in ((KEPT*0, 'is empty'), (KEPT[:5]*1, r'has shape \(5, 20, 24\), the volume \(16, 20, 24\)'),
                        (np.random.default_rng(1).normal(size=SHAPE), 'is a tomogram')):
        path = mrc(tmp_path/'m.mrc', data.astype('f4'))
        with pytest.raises(VolumeError, match=words): follow(tomogram, path)


def test_soft_and_full_masks_get_a_word(tomogram, tmp_path):
    volume = Volume(np.asarray(read_input(tomogram).data), 10.)
    with pytest.warns(VolumeWarning, match='one half on'): read_mask(mrc(tmp_path/'s.mrc', (KEPT*.9 + .02).astype('f4')), volume)
    with pytest.warns(VolumeWarning, match='keeps every voxel'): read_mask(mrc(tmp_path/'f.mrc', np.ones(SHAPE, 'i1')), volume)


@pytest.mark.parametrize('outside, inside', [(1, 2), (-1, 1)])
def test_a_mask_without_a_0_does_not_say_what_is_wanted(tomogram, tmp_path, outside, inside):
    "The commonest value is not always what is outside: here two thirds are inside."
    labels = np.where(np.arange(24) < 16, inside, outside)*np.ones(SHAPE)
    with pytest.raises(VolumeError, match='no 0: set what is not wanted to 0'): follow(tomogram, mrc(tmp_path/'m.mrc', labels.astype('f4')))


def test_a_mask_of_another_size_or_of_nearly_nothing_is_told(tomogram, tmp_path):
    like, path = read_input(tomogram), tmp_path/'m.mrc'
    write_volume(path, Volume(KEPT.astype('i1'), 20.))
    with pytest.warns(VolumeWarning, match='20 Å a voxel, the volume 10 Å'): assert np.array_equal(read_mask(path, like), KEPT)
    few = np.zeros(SHAPE, 'i1')
    few[0, 0, :7] = 1
    with pytest.warns(VolumeWarning, match='keeps 7 of 7,680 voxels'): read_mask(mrc(path, few), like)
