"Volumes: what must hold for every file that comes in or goes out."
import gzip
import os
import subprocess
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
from scipy import ndimage

from cryoseg.base.files import VolumeError, VolumeWarning
from cryoseg.base.volume import Volume
from cryoseg.base.formats import VOLUME_FORMATS, FileInfo, VolumeFormat, bin_labels, describe, file_stem, find_format, read_meaning, read_volume, write_volume
from cryoseg.base.register import import_place
from cryoseg.base.volume import RawVolume, unwrapped

from volume_files import mrc, quiet


DATA = Path(__file__).resolve().parents[3]/'shared'/'data'


needs_data = pytest.mark.skipif(not DATA.is_dir(), reason='the third-party data beside the repository (../shared/data) is not here')


def test_the_beam_axis_is_asked_for_and_turned(tmp_path):
    upright = np.random.default_rng(0).normal(size=(6, 16, 20)).astype(np.float32)
    path = mrc(tmp_path/'a.mrc', np.ascontiguousarray(upright.swapaxes(0, 1)), nystart=7)
    with pytest.warns(VolumeWarning, match='--beam-axis y'): assert read_volume(path).shape == (16, 6, 20)
    volume = quiet(path, beam_axis='y')
    np.testing.assert_array_equal(volume.data, upright)
    assert volume.axes == (1, 3, 2) and volume.nstart == (0, 0, 7)
    write_volume(tmp_path/'labels.mrc', volume.with_data((upright > 0).astype(np.int8)))
    with mrcfile.open(tmp_path/'labels.mrc') as file: assert file.data.shape == (16, 6, 20) # voxel on voxel over the input
    np.testing.assert_array_equal(quiet(tmp_path/'labels.mrc').data, upright > 0)


@pytest.mark.parametrize('name', ['a.npy', 'a.npz', 'a.tif', 'a.mrc'])
def test_a_thin_x_is_asked_for_too(tmp_path, name):
    "The order of nibabel and MATLAB."
    upright = np.random.default_rng(0).normal(size=(6, 40, 44)).astype(np.float32)
    turned = np.ascontiguousarray(upright.transpose(2, 1, 0))
    if name == 'a.mrc': mrc(tmp_path/name, turned)
    else: write_volume(tmp_path/name, Volume(turned, 10.))
    with pytest.warns(VolumeWarning, match='6 voxels along x but 44 along z; if the beam runs along x, give --beam-axis x'): assert read_volume(tmp_path/name, voxel_size_A=10).shape == (44, 40, 6)
    np.testing.assert_array_equal(quiet(tmp_path/name, voxel_size_A=10, beam_axis='x').data, upright)


@pytest.mark.parametrize('shape', [(40, 44, 3), (40, 44, 4), (5, 40, 44, 3)])
def test_arrays_in_colour_are_refused_with_a_remedy(tmp_path, shape):
    colour = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    np.save(tmp_path/'a.npy', colour), np.savez(tmp_path/'a.npz', data=colour)
    for name in ('a.npy', 'a.npz'):
        for labels in (False, True):
            with pytest.raises(VolumeError, match=f'its last axis of {shape[-1]} bytes holds colours; save it in gray'): read_volume(tmp_path/name, voxel_size_A=10, labels=labels)
    if len(shape) == 3:
        assert 'holds colours' in ' '.join(describe(tmp_path/'a.npy').warnings)
        assert quiet(tmp_path/'a.npy', voxel_size_A=10, beam_axis='x').shape == (shape[2], 44, 40) and quiet(tmp_path/'a.npy', voxel_size_A=10, beam_axis='z').shape == shape


def test_flat_volumes_and_slices_raise_no_question(tmp_path, image):
    quiet(mrc(tmp_path/'a.mrc', image[:3])), quiet(mrc(tmp_path/'b.mrc', image[:, :7])), quiet(mrc(tmp_path/'c.mrc', image[:1, :4]))


@pytest.mark.parametrize('size, word', [(0., 'no voxel size'), (1., 'exactly 1'), (0.01, 'unlikely'), (5000., 'unlikely')])
def test_doubtful_voxel_sizes_are_asked_for(tmp_path, image, size, word):
    path = mrc(tmp_path/'a.mrc', image, size)
    with pytest.warns(VolumeWarning, match=f'{word}.*--voxel-size'): volume = read_volume(path)
    assert volume.voxel_size_A == (size or 1)
    assert quiet(path, voxel_size_A=8).voxel_size_A == 8


def test_voxels_must_be_cubes(tmp_path, image):
    with pytest.raises(VolumeError, match='10 x 10 x 10.5 .*resample'): read_volume(mrc(tmp_path/'a.mrc', image, (10, 10, 10.5)))
    assert quiet(mrc(tmp_path/'b.mrc', image, (10, 10, 10.03))).voxel_size_A == pytest.approx(10.01, abs=1e-5)
    assert quiet(mrc(tmp_path/'c.mrc', image[:1], (10, 10, 1))).voxel_size_A == 10
    assert quiet(tmp_path/'a.mrc', voxel_size_A=10).voxel_size_A == 10
    for size in (0, -1, np.nan, np.inf):
        with pytest.raises(VolumeError, match='positive'): read_volume(tmp_path/'b.mrc', voxel_size_A=size)


@pytest.mark.parametrize('suffix', ['.mrc', '.tif', '.npz'])
@pytest.mark.parametrize('dtype', ['int8', 'int16', 'uint16', 'float16', 'float32'])
def test_round_trip(tmp_path, image, suffix, dtype):
    there = Volume(np.abs(20*image).astype(dtype), 13.48, origin_A=(-120.5, 40., 8.25), nstart=(4, 5, 6))
    write_volume(tmp_path/f'a{suffix}', there)
    back = quiet(tmp_path/f'a{suffix}')
    np.testing.assert_array_equal(back.data, there.data)
    assert (back.data.dtype, back.voxel_size_A, back.origin_A, back.nstart) == (there.data.dtype, 13.48, there.origin_A, there.nstart)


BAD = {'absent.mrc': (None, 'no such file'), 'empty.mrc': (b'', 'is empty'), 'text.mrc': (b'Dear all, please find\n'*99, 'not an MRC file'), 'short.mrc': (b'\0'*100, '100 bytes'),
       'zeros.mrc': (b'\0'*9999, 'not an MRC file'), 'text.tif': (b'hello '*99, 'cannot be read as .tif'), 'text.npy': (b'hello '*99, 'cannot be read as .npy'),
       'text.npz': (b'hello '*99, 'cannot be read as .npz'), 'text.png': (b'hello '*99, 'cannot be read as .png'), 'a.txt': (b'hello', 'unknown suffix'), 'text.mrc.gz': (b'hello '*99, 'cannot be read as .mrc'),
       'empty.npy': (b'', 'is empty'), 'noise.mrc': (np.random.default_rng(1).bytes(5000), 'not an MRC file')}


@pytest.mark.parametrize('name', BAD)
def test_bad_files(tmp_path, name):
    content, words = BAD[name]
    if content is not None: (tmp_path/name).write_bytes(content)
    with pytest.raises(VolumeError, match=words) as error: read_volume(tmp_path/name)
    assert '\n' not in str(error.value) and name in str(error.value)
    with pytest.raises(VolumeError): describe(tmp_path/name)


@pytest.mark.parametrize('suffix', ['.mrc', '.tif', '.npy', '.npz', '.png', '.mrc.gz'])
def test_every_truncation_is_told(tmp_path, image, suffix):
    path = tmp_path/f'a{suffix}'
    if suffix == '.mrc.gz': path.write_bytes(gzip.compress(mrc(tmp_path/'b.mrc', image).read_bytes()))
    else: write_volume(path, Volume((image[:1] > 0) if suffix == '.png' else image, 10.))
    whole = path.read_bytes()
    for part in (0.03, 0.3, 0.6):
        path.write_bytes(whole[:int(part*len(whole))])
        with pytest.raises(VolumeError): read_volume(path, voxel_size_A=10)


def test_folders(tmp_path):
    with pytest.raises(VolumeError, match='is a folder'): read_volume(tmp_path)
    (tmp_path/'a.zarr').mkdir()
    with pytest.raises(VolumeError, match='no zarr metadata'): read_volume(tmp_path/'a.zarr')


def test_labels_may_be_empty(tmp_path):
    write_volume(tmp_path/'a.mrc', Volume(np.zeros((3, 4, 5), np.int8), 10.))
    assert not read_volume(tmp_path/'a.mrc', check=False).data.any()
    with pytest.raises(VolumeError, match='constant'): read_volume(tmp_path/'a.mrc')


@pytest.mark.parametrize('options, words', [(dict(z_range=(5, 5)), 'z range'), (dict(z_range=(0, 99)), 'z range'), (dict(z_range=(50, None)), 'z range'), (dict(bin=0), 'bin'),
                                            (dict(bin=1.5), 'bin'), (dict(bin=50), 'bin'), (dict(beam_axis='w'), 'beam_axis')])
def test_bad_options(tmp_path, image, options, words):
    with pytest.raises(VolumeError, match=words): read_volume(mrc(tmp_path/'a.mrc', image), **options)


@pytest.mark.parametrize('name, data, options, words', [('a.txt', np.ones((2, 2, 2)), {}, 'unknown suffix'), ('a.png', np.ones((2, 2, 2), np.uint8), {}, 'one slice'), ('a.png', np.ones((1, 2, 2)), {}, 'whole numbers'),
                                                        ('a.mrc', np.full((2, 2, 2), 70000), {}, 'do not fit uint16'), ('a.mrc', np.full((2, 2, 2), 300), dict(dtype='int8'), 'from 300 to 300 do not fit int8'),
                                                        ('a.mrc', np.full((2, 2, 2), np.nan), dict(dtype='int8'), 'do not fit'), ('a.mrc', np.ones((2, 2, 2), complex), {}, 'no MRC mode')])
def test_what_cannot_be_written_leaves_nothing(tmp_path, name, data, options, words):
    with pytest.raises(VolumeError, match=words): write_volume(tmp_path/name, Volume(data, 10.), **options)
    assert list(tmp_path.iterdir()) == []


def test_a_volume_may_be_written_over_the_file_it_maps(tmp_path, image):
    volume = read_volume(mrc(tmp_path/'a.mrc', image))
    write_volume(tmp_path/'a.mrc', volume)
    np.testing.assert_array_equal(read_volume(tmp_path/'a.mrc').data, image)


def test_describe_says_what_is_there(tmp_path, image):
    facts = describe(mrc(tmp_path/'a.mrc', image.astype('>f4'), mapc=3, mapr=2, maps=1))
    assert facts.format == 'MRC mode 2' and facts.byte_order == 'big' and facts.axes_on_disk == 'zyx' and facts.shape_zyx == (20, 16, 12) and facts.warnings == []
    facts = describe(mrc(tmp_path/'a.mrc', np.zeros((3, 4, 5), np.int8), 0.))
    assert len(facts.warnings) == 2 and 'constant' in facts.warnings[1]
    with pytest.warns(RuntimeWarning, match='NaN'): path = mrc(tmp_path/'a.mrc', image*np.float32(np.nan))
    with np.errstate(all='raise'): assert describe(path).mean is None


@needs_data
def test_real_files():
    assert read_volume(DATA/'polnet'/'liposomes_snr1.0.mrc').shape == (100, 200, 200)
    assert quiet(DATA/'slices'/'13pf_MT.tif').voxel_size_A == 10.52
    assert quiet(DATA/'volumes'/'cristae_cryoSXT.npz').voxel_size_A == 100
    labels = quiet(DATA/'segmentations'/'vesicle_t74.npz', check=False)
    assert labels.voxel_size_A == 25.26 and labels.nstart == (17, 12, 9)
    expected = {'polnet/liposomes_snr1.0.mrc': 'dark', 'slices/13pf_MT.tif': 'bright', 'slices/HIV_VLP_TS_03_denoised.png': 'dark', 'volumes/cristae_cryoSXT.npz': 'dark'}
    assert {name: describe(DATA/name).polarity for name in expected} == expected


# the register of formats

def test_every_place_in_the_register_is_there():
    for suffix in VOLUME_FORMATS:
        entry = VOLUME_FORMATS[suffix]
        assert suffix[0] == '.' and suffix == suffix.lower() and VOLUME_FORMATS.help(suffix)
        for place in (entry.read, entry.write, entry.meaning): assert place is None or callable(import_place(place))
    assert {s for s in VOLUME_FORMATS if VOLUME_FORMATS[s].write} == {'.mrc', '.rec', '.map', '.tif', '.tiff', '.npy', '.npz', '.png'}
    assert all(VOLUME_FORMATS[s].read for s in VOLUME_FORMATS)


def test_a_new_format_is_one_line(tmp_path):
    def write(part, volume, dtype, path): part.write_text(repr(volume.data.tolist()))
    def read(path): return RawVolume(np.array(eval(path.read_text())), 'text', (8., 8., 8.))
    VOLUME_FORMATS.add('.txt', VolumeFormat(read, write, lambda path: {1: path.stem}))
    try:
        write_volume(tmp_path/'a.txt', Volume(np.arange(24).reshape(2, 3, 4), 8.))
        back = quiet(tmp_path/'a.txt')
        assert back.data.ravel().tolist() == list(range(24)) and back.voxel_size_A == 8 and read_meaning(tmp_path/'a.txt') == {1: 'a'}
        assert describe(tmp_path/'a.txt').format == 'text' and file_stem('b.txt') == 'b'
        (tmp_path/'a.txt').write_text('(((')
        with pytest.raises(VolumeError, match='cannot be read as .txt'): read_volume(tmp_path/'a.txt')
    finally: VOLUME_FORMATS.remove('.txt')
    with pytest.raises(VolumeError, match='unknown suffix'): read_volume(tmp_path/'a.txt')


def test_formats_are_found_by_suffix_whatever_packs_them(tmp_path):
    for name in ('a.mrc', 'A.MRC', 'a.mrc.gz', 'a.mrc.bz2', 'x.y.MRC.GZ'): assert find_format(Path(name)) is VOLUME_FORMATS['.mrc']
    for name in ('a', 'a.txt', 'a.gz', 'a.zarr', '.mrc'): assert find_format(Path(name)) is None      # a .zarr is a folder
    (tmp_path/'b.zarr'/'0').mkdir(parents=True)
    assert find_format(tmp_path/'b.zarr') is find_format(tmp_path/'b.zarr'/'0') is VOLUME_FORMATS['.zarr'] and find_format(tmp_path) is None
    (tmp_path/'c.zarr').write_text('a file')
    with pytest.raises(VolumeError, match="unknown suffix '.zarr'"): read_volume(tmp_path/'c.zarr')


@pytest.mark.parametrize('name, stem', [('a.mrc', 'a'), ('a.mrc.gz', 'a'), ('A.MRC.BZ2', 'A'), ('x.zarr', 'x'), ('a.b.mrc', 'a.b'), ('tomo.ome.zarr', 'tomo'), ('tomo.ome.tif', 'tomo'),
                                        ('/far/away/a.rec', 'a'), ('notes.txt', 'notes.txt'), ('a.gz', 'a.gz'), ('plain', 'plain'), ('mrc.mrc', 'mrc'), ('img.zarr/0', '0')])
def test_stems(name, stem):
    assert file_stem(name) == file_stem(Path(name)) == stem


# what is known of the voxel size

@pytest.mark.parametrize('size, known', [(0., False), (1., False), (8., True), (0.01, True)])
def test_the_voxel_size_is_known_where_the_file_says_it(tmp_path, image, size, known):
    path = mrc(tmp_path/'a.mrc', image, size)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for options in ({}, dict(bin=2), dict(z_range=(2, 6)), dict(invert=True)): assert read_volume(path, **options).voxel_size_known is known
    for given in (1, 8.): assert quiet(path, voxel_size_A=given).voxel_size_known      # who gives it knows it


@pytest.mark.parametrize('axis, order', [('x', (2, 1, 0)), ('y', (1, 0, 2)), ('z', (0, 1, 2))])
def test_turning_twice_is_nothing(tmp_path, image, axis, order):
    there = quiet(mrc(tmp_path/'a.mrc', image, origin=(1., 2., 3.), nxstart=4, nystart=5, nzstart=6), beam_axis=axis)
    np.testing.assert_array_equal(there.data, image.transpose(order))
    xyz = [2 - order[2 - k] for k in range(3)]
    assert there.origin_A == tuple((1., 2., 3.)[k] for k in xyz) and there.nstart == tuple((4, 5, 6)[k] for k in xyz)
    write_volume(tmp_path/'b.mrc', there)
    back = quiet(tmp_path/'b.mrc', beam_axis=axis)
    np.testing.assert_array_equal(back.data, image)
    assert (back.origin_A, back.nstart, back.axes) == ((1., 2., 3.), (4, 5, 6), (1, 2, 3))


def test_facts_are_a_record(tmp_path, image):
    info = describe(mrc(tmp_path/'a.mrc', image, 8.))
    assert isinstance(info, FileInfo) and list(asdict(info))[:4] == ['path', 'format', 'shape_zyx', 'dtype'] and list(asdict(info))[-2:] == ['polarity', 'warnings']
    sample = image[[round(f*11) for f in (.3, .4, .5, .6, .7)]]
    assert (info.minimum, info.maximum) == (sample.min(), sample.max()) and info.mean == pytest.approx(sample.mean(), abs=1e-6)
    assert info.size_xyz_A == (160, 128, 96)


def test_the_door_is_light():
    "Reading and describing an MRC file needs no package of another format, of the net or of the figures."
    heavy = ('torch', 'numba', 'matplotlib', 'tifffile', 'PIL', 'zarr', 'skimage', 'trimesh', 'scipy')
    code = f'import sys, cryoseg.base.formats; print([p for p in {heavy} if p in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip() == '[]'
    code = f'import sys, cryoseg.base.metrics, cryoseg.base.files, cryoseg.base.options; print([p for p in {heavy} if p in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip() == '[]'


def test_describing_needs_little(tmp_path, image):
    path = mrc(tmp_path/'a.mrc', image)
    code = 'import sys; from cryoseg.base.formats import describe; print(describe(sys.argv[1]).polarity, [p for p in ("torch", "numba", "matplotlib", "scipy.stats", "skimage") if p in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code, str(path)], capture_output=True, text=True, check=True).stdout.strip().endswith('[]')


# sizes in the wrong unit

@pytest.mark.parametrize('stored, shape, words', [
    (1.368, (8, 400, 400), 'in nm, give --voxel-size 13.68'), (2.5, (8, 500, 500), 'in nm, give --voxel-size 25'), (4., (8, 200, 200), 'in nm, give --voxel-size 40'), (.8, (8, 200, 200), 'in nm, give --voxel-size 8'),
    (1.368e-3, (8, 9, 9), 'in µm, give --voxel-size 13.68'), (1.368e-9, (8, 9, 9), 'in m, give --voxel-size 13.68'), (136.8, (8, 400, 400), 'give --voxel-size 13.68'), (1368., (8, 9, 9), 'in pm, give --voxel-size 13.68'),
    (.2, (8, 9, 9), 'unlikely')])
def test_sizes_that_mean_another_unit(tmp_path, stored, shape, words):
    path = mrc(tmp_path/'a.mrc', np.arange(np.prod(shape), dtype=np.int16).reshape(shape), stored)
    with pytest.warns(VolumeWarning, match=f'{words}.*' if 'unlikely' in words else f'unlikely.*{words} .*where it is right, --voxel-size {stored:g}'): volume = read_volume(path)
    assert volume.voxel_size_A == pytest.approx(stored, rel=1e-5) and volume.voxel_size_known
    assert quiet(path, voxel_size_A=13.68).voxel_size_A == quiet(path, voxel_size_A=13.68, labels=True).voxel_size_A == 13.68
    assert any('unlikely' in text for text in describe(path).warnings)


@pytest.mark.parametrize('stored, shape', [(13.68, (8, 9, 9)), (1.35, (2, 4096, 4)), (3.4, (4, 1024, 4)), (7.8, (8, 60, 60)), (100., (8, 211, 211)), (5., (8, 100, 100))])
def test_sizes_that_tomograms_have_are_not_doubted(tmp_path, stored, shape):
    assert quiet(mrc(tmp_path/'a.mrc', np.arange(np.prod(shape), dtype=np.float32).reshape(shape), stored)).voxel_size_known


def test_words_that_are_not_understood_are_quoted_and_not_called_absent(tmp_path, image):
    np.savez(tmp_path/'a.npz', data=image, voxel_size='10 parsec')
    with pytest.warns(VolumeWarning, match='the file says voxel_size = 10 parsec.*--voxel-size'): assert not read_volume(tmp_path/'a.npz').voxel_size_known
    assert quiet(tmp_path/'a.npz', voxel_size_A=8).voxel_size_known


# voxels that are no cubes

@pytest.mark.parametrize('axes', [(1, 2, 3), (3, 2, 1), (2, 1, 3)])
def test_voxels_are_made_cubes_on_request(tmp_path, axes):
    "A ramp along z stays one, its length stays, labels keep their values; whatever the order on disk."
    z = np.arange(6.)
    ramp = np.broadcast_to(z[:, None, None], (6, 5, 7)).astype(np.float32)
    order = [3 - axis for axis in axes[::-1]]
    header = dict(zip(('mapc', 'mapr', 'maps'), axes))
    path = mrc(tmp_path/'a.mrc', np.ascontiguousarray(ramp.transpose(order)), 10., **header, cella=(70., 50., 120.), mx=7, my=5, mz=6)
    with pytest.raises(VolumeError, match='10 x 10 x 20 .*--resample'): read_volume(path)
    with pytest.warns(VolumeWarning, match='10 x 10 x 20 .* resampled to cubes of 10'): cubes = read_volume(path, resample=True)
    assert cubes.shape == (11, 5, 7) and cubes.voxel_size_A == 10
    np.testing.assert_allclose(cubes.data[:, 2, 3], np.arange(11)/2)
    with pytest.warns(VolumeWarning): labels = read_volume(path, resample=True, labels=True, voxel_size_A=8)
    assert labels.shape == cubes.shape and labels.voxel_size_A == 8 and set(np.unique(labels.data)) == set(z)
    assert any('no cubes' in text for text in describe(path).warnings) and describe(path).voxel_size_A == 10


def test_a_range_counts_the_slices_of_the_file(tmp_path, image):
    "Slices of 20 Å, pixels of 10 Å: slices 3 to 5 of the file are five of the cubes, in their place."
    path = mrc(tmp_path/'a.mrc', image, (10, 10, 20), origin=(5, 6, 7))
    for labels in (False, True):
        with pytest.warns(VolumeWarning, match='resampled'): whole = read_volume(path, resample=True, labels=labels)
        with pytest.warns(VolumeWarning, match='resampled'): part = read_volume(path, resample=True, labels=labels, z_range=(3, 6))
        np.testing.assert_allclose(part.data[::2], whole.data[6:11:2], rtol=1e-5)
        assert part.shape == (5, 16, 20) and part.origin_A == (5, 6, 67)
    with pytest.warns(VolumeWarning): assert read_volume(path, resample=True, z_range=(10, None), bin=2).shape == (1, 8, 10)
    with pytest.raises(VolumeError, match='not within the slices 0:12'): read_volume(path, resample=True, z_range=(13, 20))


@pytest.mark.parametrize('suffix', ['.npz', '.tif', '.mrc'])
def test_places_that_cannot_be_are_none_in_any_format(tmp_path, image, suffix):
    far, long = (1e30, 0, 0), (2_000_000_000, 0, 0)
    if suffix == '.npz': np.savez(tmp_path/'a.npz', data=image, voxel_size_A=10., origin_A=far, nstart=[1e12, 0, 0])
    if suffix == '.tif': tifffile.imwrite(tmp_path/'a.tif', image, photometric='minisblack', metadata=dict(axes='ZYX', voxel_size_A=10., origin_A=far, nstart=[1e12, 0, 0]))
    if suffix == '.mrc': mrc(tmp_path/'a.mrc', image, origin=far, nxstart=long[0])
    with pytest.warns(VolumeWarning, match='an origin of .1e.30, 0.0, 0.0. Å makes no sense; 0 taken'), pytest.warns(VolumeWarning, match='a start of .* makes no sense; 0 taken'):
        volume = read_volume(tmp_path/f'a{suffix}')
    assert volume.origin_A == volume.nstart == (0, 0, 0)
    write_volume(tmp_path/'b.mrc', volume)
    for place in (dict(origin_A=(1e300, 0, 0)), dict(nstart=(10**12, 0, 0)), dict(origin_A=(np.nan, 0, 0))):
        with pytest.raises(VolumeError, match='b.* fit no header; give where it lies'): write_volume(tmp_path/f'b{suffix}', Volume(image, 10., **place))


def test_cubes_stay_what_they_are(tmp_path, image):
    np.testing.assert_array_equal(quiet(mrc(tmp_path/'a.mrc', image, 8.), resample=True).data, image)
    with pytest.warns(VolumeWarning, match='no voxel size'): read_volume(mrc(tmp_path/'b.mrc', image, 0.), resample=True)


def test_where_a_resampled_box_starts(tmp_path, image):
    path = mrc(tmp_path/'a.mrc', image, (10, 10, 20), nxstart=1, nystart=2, nzstart=3)
    with pytest.warns(VolumeWarning): np.testing.assert_allclose(read_volume(path, resample=True).world_origin_A, (10, 20, 60))


# labels with the options of their image

@pytest.mark.parametrize('options', [dict(beam_axis='y'), dict(beam_axis='x'), dict(z_range=(2, 9)), dict(bin=2), dict(bin=3, z_range=(1, 12), beam_axis='y'), dict(invert=True)])
def test_labels_lie_over_their_image(tmp_path, image, options):
    where = image > .5
    there = quiet(mrc(tmp_path/'a.mrc', where.astype(np.float32), 8.), **options)
    over = quiet(mrc(tmp_path/'b.mrc', where.astype(np.int8)*7, 8.), labels=True, **options)
    assert (over.shape, over.origin_A, over.voxel_size_A, over.axes) == (there.shape, there.origin_A, there.voxel_size_A, there.axes)
    assert set(np.unique(over.data)) == {0, 7} and over.data.dtype == np.int8
    share = 1 - there.data - 1 if options.get('invert') else there.data
    np.testing.assert_array_equal(over.data == 7, np.abs(share) >= .5)


@pytest.mark.parametrize('block, value', [([0, 0, 0, 0, 4, 4, 4, 4], 4), ([0, 0, 0, 0, 0, 4, 4, 4], 0), ([2, 2, 2, 3, 3, 3, 0, 0], 2), ([1, 1, 0, 0, 5, 6, 7, 8], 1), ([-1, -1, -1, -1, 0, 0, 0, 0], -1), ([9, 9, 9, 1, 1, 1, 1, 0], 1), ([0, 0, 1, 1, 2, 2, 3, 3], 1)])
def test_a_block_takes_its_most_frequent_label(block, value):
    for dtype in (np.int16, np.float32):
        assert bin_labels(Volume(np.array(block, dtype).reshape(2, 2, 2), 5.), 2).data.tolist() == [[[value]]]


def test_fractions_are_averaged_and_nan_is_background():
    assert bin_labels(Volume(np.linspace(0, 1, 8).reshape(2, 2, 2), 5.), 2).data.tolist() == [[[.5]]]
    assert bin_labels(Volume(np.array([np.nan]*5 + [3.]*3).reshape(2, 2, 2), 5.), 2).data.tolist() == [[[0]]]
    one = bin_labels(Volume(np.ones((1, 4, 4), np.uint8), 5.), 2)
    assert one.shape == (1, 2, 2) and one.voxel_size_A == 10
    for n in (0, 1.5, 9):
        with pytest.raises(VolumeError, match='bin'): bin_labels(Volume(np.ones((2, 4, 4), np.uint8), 5.), n)


def test_labels_may_hold_nan_and_be_constant(tmp_path, image):
    with pytest.warns(RuntimeWarning): path = mrc(tmp_path/'a.mrc', np.where(image > 0, 1, np.nan).astype(np.float32))
    assert np.isnan(quiet(path, labels=True).data).any() and quiet(mrc(tmp_path/'b.mrc', np.ones((3, 4, 5), np.int8)), labels=True).data.all()


# what info says

@pytest.mark.parametrize('data, values', [(np.repeat(np.arange(4, dtype=np.int8), 30).reshape(2, 6, 10), {0: 30, 1: 30, 2: 30, 3: 30}), (np.where(np.arange(60).reshape(3, 4, 5) < 20, 0., 7).astype(np.float32), {0: 20, 7: 40}),
                                          (np.arange(60, dtype=np.int16).reshape(3, 4, 5), None), (np.linspace(0, 1, 60).reshape(3, 4, 5).astype(np.float32), None), (np.full((3, 4, 5), -1, np.int8), {-1: 60})])
def test_values_are_listed_where_they_are_few(tmp_path, data, values):
    assert describe(mrc(tmp_path/'a.mrc', data)).values == values
    np.savez(tmp_path/'a.npz', data=data)
    assert describe(tmp_path/'a.npz').values == values


@pytest.mark.skipif(sys.platform == 'win32', reason='pipes are of Unix')
@pytest.mark.parametrize('suffix', [s for s in VOLUME_FORMATS if s != '.zarr'])
def test_a_pipe_is_no_file(tmp_path, suffix):
    os.mkfifo(tmp_path/f'a{suffix}')
    for read in (read_volume, describe):
        with pytest.raises(VolumeError, match='is a pipe'): read(tmp_path/f'a{suffix}')


@pytest.mark.parametrize('shape, seen', [((1, 2, 3, 4), (2, 3, 4)), ((2, 3, 4, 1), (2, 3, 4)), ((2, 1, 3, 4), (2, 3, 4)), ((1, 1, 3, 4), (1, 3, 4)), ((1, 1, 1, 3, 4), (1, 3, 4))])
def test_axes_of_one_are_dropped(tmp_path, shape, seen):
    np.save(tmp_path/'a.npy', np.arange(np.prod(shape)).reshape(shape))
    assert quiet(tmp_path/'a.npy', voxel_size_A=10).shape == seen


def test_palettes_are_seen_through_for_images_alone(tmp_path):
    raw = RawVolume(np.array([[[0, 1], [2, 1]]], np.uint8), 'toy', (10.,)*3, palette=np.array([5., 50., 500.]))
    VOLUME_FORMATS.add('.toy', VolumeFormat(lambda path: raw))
    try:
        (tmp_path/'a.toy').write_text('x')
        assert read_volume(tmp_path/'a.toy').data.max() == 500 and read_volume(tmp_path/'a.toy', labels=True).data.max() == 2
    finally: VOLUME_FORMATS.remove('.toy')


# numbers that were saved with the wrong sign

def tomogram(sigma=0., seed=0):
    "A dark shell in noise, perhaps smoothed, standard deviation 1."
    z, y, x = np.indices((6, 64, 64))
    noise = np.random.default_rng(seed).normal(size=z.shape) - 2*(abs(np.hypot(y - 30, x - 34) - 18) < 2)
    smooth = ndimage.gaussian_filter(noise, sigma)
    return (smooth - smooth.mean())/smooth.std()


@pytest.mark.parametrize('right, wrong, gain, offset', [('u2', 'i2', 3000, 32768), ('i2', 'u2', 3000, 0), ('i1', 'u1', 20, 0), ('u1', 'i1', 40, 128), ('i4', 'u4', 1e8, 0), ('i2', 'u2', 3000, 6000), ('>i2', '>u2', 3000, 0)])
@pytest.mark.parametrize('sigma', [0, .7, 1.5])
def test_wrapped_numbers_are_put_right_with_a_word(tmp_path, right, wrong, gain, offset, sigma):
    low, high = np.iinfo(right).min, np.iinfo(right).max
    meant = np.clip(gain*tomogram(sigma) + offset, low, high).round().astype(right)
    np.save(tmp_path/'a.npy', meant.view(wrong)), np.savez(tmp_path/'a.npz', data=meant.view(wrong))
    tifffile.imwrite(tmp_path/'a.tif', meant.view(wrong), photometric='minisblack')
    tifffile.imwrite(tmp_path/'b.tif', meant.view(wrong), photometric='minisblack', compression='zlib')
    for name in ('a.npy', 'a.npz', 'a.tif', 'b.tif'):
        with pytest.warns(VolumeWarning, match=f'wrapped round, and are read as {np.dtype(right).name}'): found = read_volume(tmp_path/name, voxel_size_A=10)
        np.testing.assert_array_equal(found.data, meant)
        np.testing.assert_array_equal(quiet(tmp_path/name, voxel_size_A=10, labels=True).data, meant.view(wrong))
    facts = describe(tmp_path/'a.npy')
    assert facts.dtype == np.dtype(right).name and 'wrapped' in facts.warnings[0]
    if wrong == 'i2':
        with pytest.warns(VolumeWarning, match='read as uint16'): np.testing.assert_array_equal(read_volume(mrc(tmp_path/'a.mrc', meant.view('i2'))).data, meant)


def test_numbers_that_are_right_are_left_alone():
    image, labels = tomogram(), np.random.default_rng(0).integers(0, 256, (6, 8, 8), np.uint8).repeat(8, 1).repeat(8, 2)
    hot = np.clip(500*image + 2000, 0, None)
    hot[np.random.default_rng(1).random(hot.shape) < .02] = 60000
    mask = ndimage.gaussian_filter(255.*(image > 1.5), .5).round()
    for right in (labels, labels.view('i1'), mask.astype('u1'), (255*(image > 1)).astype('u1'), -(image > 1).astype('i1'), hot.astype('u2'),
                  *(np.clip(gain*tomogram(sigma) + 128, 0, 255).astype('u1') for gain in (10, 40, 100, 300) for sigma in (0, 1)),
                  *(np.clip(gain*tomogram(sigma), -32767, 32767).astype('i2') for gain in (100, 3000, 30000) for sigma in (0, 1)),
                  np.clip(image*16000 + 32768, 0, 65535).astype('u2'), image):
        assert unwrapped(right, 'a.npy') is right
    tails = np.clip(3000*(tomogram() - 2.8), -32767, 32767).round().astype('i2').view('u2')
    with pytest.warns(VolumeWarning, match='seem to be wrapped round; taken as they are: where that is wrong, save it as int16'): assert unwrapped(tails, 'a.npy') is tails
