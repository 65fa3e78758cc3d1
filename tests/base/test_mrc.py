"MRC files: headers of many programs, byte orders, axes, tilt series."
import bz2
import gzip
import os
import subprocess
import sys
import warnings

import mrcfile
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryoseg.base.files import VolumeError, VolumeWarning
from cryoseg.base.volume import Volume
from cryoseg.base.formats import read_volume, write_volume
from cryoseg.base import mrc as mrc_room
from cryoseg.base.mrc import likeness, mrc_dtype, read_mrc, read_start, tilt_angles

from volume_files import extra2, mrc, quiet


@pytest.mark.parametrize('dtype', ['i1', '<i2', '>i2', '<f4', '>f4', '<u2', '>u2', '<f2', '>f2'])
def test_modes_and_byte_orders(tmp_path, image, dtype):
    data = np.rint(20*image) if dtype != '<f4' else image
    data = np.abs(data).astype(dtype) if 'u' in dtype else data.astype(dtype)
    volume = quiet(mrc(tmp_path/'a.mrc', data))
    np.testing.assert_array_equal(volume.data, data)
    assert volume.data.dtype.isnative and volume.voxel_size_A == 10


def imod(flags, order='<'):
    "The stamp and the flags of IMOD, where they stand in a header."
    return extra2(a152=np.array(1146047817, order + 'i4'), a156=np.array(flags, order + 'i4'))


@pytest.mark.parametrize('flags', [0, 1, 4, 5])
def test_imods_flag_says_how_bytes_are_stored(tmp_path, flags):
    "Unsigned, or 128 lower than they are: an image is right either way, but not its labels."
    data = np.random.default_rng(0).integers(-128, 128, (4, 5, 6)).astype(np.int8)
    path = mrc(tmp_path/'a.mrc', data, extra2=imod(flags), dmin=0, dmax=0)
    assert quiet(path).data.dtype == np.uint8
    np.testing.assert_array_equal(quiet(path).data, data.astype(int) + 128 if flags & 1 else data.view(np.uint8))


@pytest.mark.parametrize('values', [(0, 1), (0, 255), (0, 1, 2), (0, 7), (0, 1, 128, 200, 255), (1, 2)])
@pytest.mark.parametrize('order', '<>')
def test_labels_of_imod_come_back_as_they_were(tmp_path, values, order):
    labels = np.random.default_rng(0).choice(values, (6, 8, 9), p=[.6] + [.4/(len(values) - 1)]*(len(values) - 1))
    path = mrc(tmp_path/'a.mrc', (labels - 128).astype(np.int8), extra2=imod(1, order))
    if order == '>':
        with mrcfile.open(path) as file: header = file.header.copy()
        header = header.astype(header.dtype.newbyteorder('>'))
        header['machst'], header['extra2'] = [0x11, 0x11, 0, 0], imod(1, '>')
        path.write_bytes(header.tobytes() + (labels - 128).astype(np.int8).tobytes())
    np.testing.assert_array_equal(quiet(path, check=False).data, labels)
    (tmp_path/'a.mrc.gz').write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(quiet(tmp_path/'a.mrc.gz', check=False).data, labels)


@pytest.mark.parametrize('values', [(0, 1), (0, 1, 2), (0, -1), (0, 100, -100)])
def test_a_copied_flag_is_not_believed_against_the_voxels(tmp_path, values):
    "A program that copies IMOD's header and writes plain labels behind it; -1 is 255 in a signed byte."
    labels = np.random.default_rng(0).choice(values, (6, 8, 9), p=[.6] + [.4/(len(values) - 1)]*(len(values) - 1))
    path = mrc(tmp_path/'a.mrc', labels.astype(np.int8), extra2=imod(1))
    with pytest.warns(VolumeWarning, match='taken as they are'): back = read_volume(path, check=False).data
    np.testing.assert_array_equal(back, labels)


def test_signed_images_under_a_copied_flag_of_unsigned_ones(tmp_path):
    smooth = np.cumsum(np.random.default_rng(0).integers(-3, 4, (4, 20, 60)), -1).astype(np.int8)
    path = mrc(tmp_path/'a.mrc', smooth, extra2=imod(0))
    with pytest.warns(VolumeWarning, match='read as signed'): np.testing.assert_array_equal(read_volume(path).data, smooth)


def test_unsigned_images_without_flag_and_without_maximum(tmp_path):
    smooth = 128 + np.cumsum(np.random.default_rng(0).integers(-3, 4, (4, 20, 60)), -1)
    path = mrc(tmp_path/'a.mrc', smooth.astype(np.uint8).view(np.int8), dmin=0, dmax=-1)
    with pytest.warns(VolumeWarning, match='unsigned'): np.testing.assert_array_equal(read_volume(path).data, smooth)
    with pytest.warns(VolumeWarning, match='unsigned'): read_volume(mrc(tmp_path/'c.mrc', smooth.astype(np.uint8).view(np.int8), dmin=0, dmax=1))
    np.testing.assert_array_equal(quiet(mrc(tmp_path/'d.mrc', (smooth - 128).astype(np.int8), dmin=np.nan, dmax=np.nan)).data, smooth - 128)
    labels = np.random.default_rng(0).choice([0, -1], (4, 20, 60)).astype(np.int8)
    np.testing.assert_array_equal(quiet(mrc(tmp_path/'b.mrc', labels, dmin=0, dmax=-1), check=False).data, labels)


def test_large_images_stay_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr(mrc_room, 'MAX_SHIFTED', 10)
    data = np.random.default_rng(0).normal(0, 20, (4, 20, 30)).clip(-128, 127).astype(np.int8)
    assert isinstance(quiet(mrc(tmp_path/'a.mrc', data, extra2=imod(1))).data, np.memmap)
    labels = np.random.default_rng(0).choice([-128, -127], data.shape).astype(np.int8)
    assert set(np.unique(quiet(mrc(tmp_path/'b.mrc', labels, extra2=imod(1)), check=False).data)) == {0, 1}


def test_packed_half_bytes_are_refused(tmp_path):
    with pytest.raises(VolumeError, match='4-bit'): read_volume(mrc(tmp_path/'a.mrc', np.zeros((2, 3, 4), np.int8), extra2=imod(16)))


def test_unsigned_bytes_of_older_programs_are_seen_by_their_maximum(tmp_path):
    path = mrc(tmp_path/'a.mrc', np.arange(-60, 60, dtype=np.int8).reshape(4, 5, 6), dmin=3., dmax=200.)
    with pytest.warns(VolumeWarning, match='unsigned'): assert read_volume(path).data.dtype == np.uint8


@pytest.mark.parametrize('axes', [(1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1)])
def test_every_order_of_axes_is_read_and_restored(tmp_path, image, axes):
    there = Volume(image, 13.48, origin_A=(1.5, 2.5, -3.5), nstart=(4, 5, 6), axes=axes)
    write_volume(tmp_path/'a.mrc', there)
    back = quiet(tmp_path/'a.mrc')
    np.testing.assert_array_equal(back.data, image)
    assert (back.voxel_size_A, back.origin_A, back.nstart, back.axes) == (13.48, (1.5, 2.5, -3.5), (4, 5, 6), axes)
    with mrcfile.open(tmp_path/'a.mrc') as file:
        sizes = dict(zip((1, 2, 3), image.shape[::-1])) # of x,y,z
        assert file.data.shape == tuple(sizes[a] for a in axes[::-1])
        assert [int(file.header[m]) for m in ('mx', 'my', 'mz')] == list(image.shape[::-1])
        np.testing.assert_allclose(file.voxel_size.item(), 13.48, rtol=1e-6)
        starts = dict(zip((1, 2, 3), (4, 5, 6)))
        assert [int(file.header[n]) for n in ('nxstart', 'nystart', 'nzstart')] == [starts[a] for a in axes]
    write_volume(tmp_path/'b.mrc', back)
    assert (tmp_path/'a.mrc').read_bytes() == (tmp_path/'b.mrc').read_bytes()


def test_what_is_written_is_valid_for_mrcfile(tmp_path, image):
    write_volume(tmp_path/'a.mrc', Volume((image > 0).astype(np.uint8), 10.), dtype='int8')
    with open(os.devnull, 'w') as nowhere: assert mrcfile.validate(str(tmp_path/'a.mrc'), print_file=nowhere)
    with mrcfile.open(tmp_path/'a.mrc') as file: assert int(file.header.mode) == 0 and file.is_volume()


def test_a_map_is_not_read_before_it_is_used(tmp_path, image):
    volume = quiet(mrc(tmp_path/'a.mrc', image), z_range=(2, 5), check=False)
    assert isinstance(volume.data, np.memmap) and volume.shape == (3, 16, 20)
    np.testing.assert_array_equal(volume.data, image[2:5])
    assert volume.to_xyz_A((0, 0, 0)).tolist() == [0, 0, 20]


@pytest.mark.skipif(sys.platform != 'linux', reason='sparse files and peak memory are asked of Linux here')
def test_two_slices_of_forty_gigabytes(tmp_path):
    "Read in a process whose address space for data is limited to far less than the file."
    with mrcfile.new_mmap(tmp_path/'a.mrc', (2, 2500, 4000), 2) as file: file.voxel_size = 10.
    with open(tmp_path/'a.mrc', 'r+b') as file:
        header = np.frombuffer(file.read(1024), mrcfile.dtypes.HEADER_DTYPE).copy()
        header['nz'] = header['mz'] = 1000
        header['cella']['z'] = 10000
        file.seek(0), file.write(header.tobytes()), file.truncate(1024 + 4*4000*2500*1000)
    # not ru_maxrss: it begins with that of the process that started this one, and would not grow
    code = ('peak = lambda: int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))\n'
            'import sys; from cryoseg.base.formats import read_volume; before = peak()\n'
            'v = read_volume(sys.argv[1], z_range=(500, 502), check=False); v.data.sum(); print(v.shape, peak() - before)')
    out = subprocess.run([sys.executable, '-c', code, str(tmp_path/'a.mrc')], capture_output=True, text=True, check=True).stdout
    assert out.startswith('(2, 2500, 4000)') and int(out.split()[-1]) < 400_000 # kB


def test_packed_files(tmp_path, image):
    (tmp_path/'a.mrc.gz').write_bytes(gzip.compress(mrc(tmp_path/'a.mrc', image).read_bytes()))
    np.testing.assert_array_equal(quiet(tmp_path/'a.mrc.gz').data, image)


def test_small_sins_are_warnings(tmp_path, image):
    path = mrc(tmp_path/'a.mrc', image, map=b'    ', machst=[0, 0, 0, 0])
    with pytest.warns(VolumeWarning, match='Map ID'), pytest.warns(VolumeWarning, match='machine stamp'): np.testing.assert_array_equal(read_volume(path).data, image)
    with pytest.warns(VolumeWarning, match='axis order'): read_volume(mrc(tmp_path/'a.mrc', image, mapc=7))
    quiet(mrc(tmp_path/'a.mrc', image, mapc=0, mapr=0, maps=0))
    with open(mrc(tmp_path/'a.mrc', image), 'ab') as file: file.write(b'more')
    with pytest.warns(VolumeWarning, match='larger than expected'): read_volume(tmp_path/'a.mrc')


def serial_em(angles, order='<'):
    "An extended header as SerialEM writes it: tilt angle and stage position for each section."
    rows = np.zeros((len(angles), 3), order + 'i2')
    rows[:, 0] = np.rint(np.asarray(angles)*100)
    return rows.tobytes(), extra2(a128=np.array(6, order + 'i2'), a130=np.array(1 | 4, order + 'i2'))


def with_angles(path, image, angles, kind='SERI', **fields):
    "A file whose extended header holds tilt angles, as SerialEM, FEI or Agard's programs write them."
    if kind in ('SERI', 'big'):
        order = '>' if kind == 'big' else '<'
        rows, extra = serial_em(angles, order)
        return mrc(path, image.astype(order + 'f4'), extended=rows, extra2=extra, **fields)
    if kind == 'AGAR':
        rows = np.zeros((1024, 32), '<f4')
        rows[:len(angles), 0] = angles
        return mrc(path, image, extended=rows.tobytes(), extra2=extra2(a128=np.array([0, 32], '<i2')), **fields)
    from mrcfile.dtypes import get_ext_header_dtype
    rows = np.zeros(len(angles), get_ext_header_dtype(kind.encode(), '<'))
    rows['Metadata size'], rows['Alpha tilt'] = rows.dtype.itemsize, angles
    return mrc(path, image, extended=rows.tobytes(), exttyp=kind.encode(), **fields)


@pytest.mark.parametrize('kind', ['SERI', 'big', 'AGAR', 'FEI1', 'FEI2'])
@pytest.mark.parametrize('angles', [np.linspace(-60, 60, 12), np.linspace(-55, 0, 12), [0, 3, -3, 6, -6, 9, -9, 12, -12, 15, -15, 18]])
def test_tilt_angles_are_found_and_the_series_refused(tmp_path, image, kind, angles):
    path = with_angles(tmp_path/'a.mrc', image, angles, kind)
    np.testing.assert_allclose(tilt_angles(read_start(path)), angles, atol=.01)
    with pytest.raises(VolumeError, match='tilt series, not a tomogram.*12 tilt angles from.*rename it to .rec') as error: read_volume(path)
    assert str(error.value).count('\n') == 0
    path.rename(tmp_path/'a.rec')      # the remedy that is named
    np.testing.assert_array_equal(quiet(tmp_path/'a.rec').data, image)


@pytest.mark.parametrize('name', ['a.st', 'a.mrcs', 'a.ali', 'a.preali', 'a.ST', 'a.st.gz'])
def test_the_suffix_of_a_stack_is_sure(tmp_path, image, name):
    path = mrc(tmp_path/'a.mrc', image)
    (tmp_path/name).write_bytes(gzip.compress(path.read_bytes()) if 'gz' in name else path.read_bytes())
    with pytest.raises(VolumeError, match='a stack of images.*suffix is .*rename it to .rec'): read_volume(tmp_path/name)


def test_a_header_that_says_stack(tmp_path, image):
    path = mrc(tmp_path/'a.mrc', image, ispg=0, mz=1)
    with pytest.raises(VolumeError, match='ispg 0, mz 1'): read_volume(path, voxel_size_A=10)
    smooth = image.cumsum(0).cumsum(1).cumsum(2)
    with pytest.warns(VolumeWarning, match='could be a tilt series.*ispg 0'), pytest.warns(VolumeWarning, match='cubes'): read_mrc(mrc(tmp_path/'b.mrc', smooth, ispg=0, mz=1))
    quiet(mrc(tmp_path/'c.mrc', image, ispg=0, mz=len(image)))      # as IMOD writes its volumes
    with mrcfile.open(path, 'r+') as file: file.set_volume()
    quiet(path, voxel_size_A=10)


SERIES = 'SerialEM: Tilt axis angle = 85.3, binning = 1  spot = 5'


@pytest.mark.parametrize('more', ['denoised volume', 'TILT: Tomographic reconstruction', 'trimvol: Trimmed', 'IsoNet corrected', 'cryoCARE', 'clip: rotx', 'nad_eed_3d: anisotropic diffusion'])
@pytest.mark.parametrize('ispg', [0, 1])
def test_a_label_of_a_reconstruction_settles_it(tmp_path, image, more, ispg):
    with mrcfile.open(mrc(tmp_path/'a.mrc', image, ispg=ispg), 'r+') as file: file.add_label(SERIES), file.add_label(more)
    quiet(tmp_path/'a.mrc')


def test_labels_of_the_series_alone_leave_a_doubt(tmp_path, image):
    "That of a volume is read with a word; pictures, each with noise of its own that the detector smears, are refused."
    with mrcfile.open(mrc(tmp_path/'a.mrc', image), 'r+') as file: file.add_label(SERIES)
    with pytest.warns(VolumeWarning, match='could be a tilt series.*inherited.*rename it to .rec'): read_volume(tmp_path/'a.mrc')
    smeared = np.random.default_rng(0).normal(size=(12, 40, 41)).astype(np.float32)
    smeared = smeared[..., 1:] + smeared[..., :-1]
    assert likeness(smeared) < .1 and likeness(np.zeros((3, 4, 5))) is None
    with mrcfile.open(mrc(tmp_path/'b.mrc', smeared), 'r+') as file: file.add_label(SERIES)
    with pytest.raises(VolumeError, match='not alike'): read_volume(tmp_path/'b.mrc')


@pytest.mark.parametrize('kind', ['SERI', 'AGAR', 'FEI1'])
@pytest.mark.parametrize('n', [5, 41])
def test_angles_of_other_number_than_sections_are_inherited(tmp_path, image, kind, n):
    path = with_angles(tmp_path/'a.mrc', image, np.linspace(-60, 60, n), kind)
    with pytest.warns(VolumeWarning, match=f'could be a tilt series.*{n} tilt angles'): np.testing.assert_array_equal(read_volume(path).data, image)
    with mrcfile.open(path, 'r+') as file: file.add_label('Reconstruction by WBP')
    quiet(path)


def test_equal_angles_say_nothing(tmp_path, image):
    quiet(with_angles(tmp_path/'b.mrc', image, np.zeros(len(image))))
    quiet(with_angles(tmp_path/'b.mrc', image, np.full(len(image), 3.)))


def test_a_truncated_mrc_says_how_much_is_missing(tmp_path, image):
    path = mrc(tmp_path/'a.mrc', image)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(VolumeError, match=f'truncated.*{1024 + image.nbytes} bytes.*5000'): read_volume(path)


@pytest.mark.parametrize('mode, word', [(3, 'complex'), (4, 'complex'), (16, 'colour'), (101, '4-bit'), (7, 'unknown')])
def test_modes_that_are_no_tomogram(tmp_path, image, mode, word):
    with pytest.raises(VolumeError, match=f'mode {mode}.*{word}'): read_volume(mrc(tmp_path/'a.mrc', image, mode=mode))


# the reader and the writer on their own

def test_what_the_header_does_not_say_is_none(tmp_path, image):
    raw = read_mrc(mrc(tmp_path/'a.mrc', image, 0.))
    assert raw.voxel_A == (None, None, None) and raw.kind == 'MRC mode 2' and raw.axes == (1, 2, 3)
    assert read_mrc(mrc(tmp_path/'a.mrc', image, (10, 12, 14), nxstart=3)).voxel_A == (10, 12, 14)
    assert read_mrc(tmp_path/'a.mrc').nstart == (3, 0, 0)


@pytest.mark.parametrize('dtype, stored', [('bool', 'int8'), ('int8', 'int8'), ('uint8', 'uint16'), ('int32', 'int16'), ('uint64', 'int16'), ('float64', 'float32'), ('float16', 'float16')])
def test_every_kind_of_numbers_has_a_mode(tmp_path, dtype, stored):
    data = np.array([[[0, 1, 1]]]).astype(dtype)
    assert mrc_dtype(data, 'a') == stored
    write_volume(tmp_path/'a.mrc', Volume(data, 10.))
    with mrcfile.open(tmp_path/'a.mrc') as file: assert file.data.dtype == stored and (file.data == data).all()
    assert mrc_dtype(np.array([2**15]), 'a') == 'uint16'


def test_one_section_is_no_stack(tmp_path, image):
    "Whatever its suffix or its labels say."
    assert quiet(mrc(tmp_path/'a.st', image[:1], ispg=0)).shape == (1, 16, 20)


# headers of other programs

@pytest.mark.parametrize('fields, size', [
    (dict(mx=0, my=0, mz=0), 10), # nobody filled in the intervals
    (dict(mz=1), 10), # a stack that became a volume: the cell grew, the intervals did not
    (dict(mx=40, my=32, mz=24), 5), # cut out of a larger box: the cell is that of the box
    (dict(mx=-20), 10)])
def test_intervals(tmp_path, image, fields, size):
    cella = np.array((200., 160., 120.), 'f4')
    path = mrc(tmp_path/'a.mrc', image, **fields)
    with mrcfile.open(path, 'r+') as file: file.header.cella = tuple(cella)
    if size == 5: assert quiet(path).voxel_size_A == 5
    else:
        with pytest.warns(VolumeWarning, match='makes no cubes.*cubes of 10 Å'): assert read_volume(path).voxel_size_A == size


@pytest.mark.parametrize('cella, words', [((0, 0, 0), ''), ((np.nan,)*3, 'nan'), ((-200, -160, -120), '-200 x -160 x -120 Å'), ((np.inf, 1, 1), 'inf')])
def test_a_cell_that_is_none_is_quoted(tmp_path, image, cella, words):
    path = mrc(tmp_path/'a.mrc', image)
    with mrcfile.open(path, 'r+') as file: file.header.cella = cella
    raw = read_mrc(path)
    assert raw.voxel_A[0] is None and words in raw.said and (words == '') == (raw.said == '')


def test_places_that_cannot_be(tmp_path, image):
    with pytest.warns(VolumeWarning, match='origin'): assert read_volume(mrc(tmp_path/'a.mrc', image, origin=(np.nan, 0, 0))).origin_A == (0, 0, 0)
    with pytest.warns(VolumeWarning, match='origin'): read_volume(mrc(tmp_path/'a.mrc', image, origin=(1e30, 0, 0)))
    with pytest.warns(VolumeWarning, match='start'): assert read_volume(mrc(tmp_path/'a.mrc', image, nxstart=-2**31)).nstart == (0, 0, 0)
    with pytest.warns(VolumeWarning, match='cell angles'): read_volume(mrc(tmp_path/'a.mrc', image, cellb=(90, 90, 120)))
    volume = quiet(mrc(tmp_path/'a.mrc', image, nxstart=-10, origin=(-100, 0, 0), dmin=np.nan, dmax=-np.inf, rms=np.nan, nlabl=-7))
    assert volume.nstart == (-10, 0, 0) and volume.origin_A == (-100, 0, 0)


@pytest.mark.parametrize('dtype', ['i1', 'i2', 'f4'])
@pytest.mark.parametrize('stamp', [[0, 0, 0, 0], [0x44, 0x44, 0, 0], [0x11, 0x11, 0, 0]])
def test_byte_order_without_a_true_stamp(tmp_path, image, dtype, stamp):
    "The sizes say it, whatever the machine stamp does."
    for order in '<>':
        path = mrc(tmp_path/'a.mrc', (20*image).astype(order + dtype))
        with mrcfile.open(path) as file: header = file.header.astype(file.header.dtype.newbyteorder(order))
        header['machst'] = stamp
        path.write_bytes(header.tobytes() + (20*image).astype(order + dtype).tobytes())
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            volume = read_volume(path)
        np.testing.assert_array_equal(volume.data, (20*image).astype(dtype))
        assert volume.voxel_size_A == 10


@pytest.mark.parametrize('kind', [b'SERI', b'AGAR', b'CCP4', b'MRCO', b'HDF5', b'FEI1', b'FEI2', b'xyz\0', b''])
@pytest.mark.parametrize('n', [0, 7, 80, 3000])
def test_every_extended_header_is_passed_over(tmp_path, image, kind, n):
    path = mrc(tmp_path/'a.mrc', image, extended=np.random.default_rng(n).bytes(n), exttyp=kind)
    np.testing.assert_array_equal(read_mrc(path).data, image)
    (tmp_path/'a.mrc.bz2').write_bytes(bz2.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_mrc(tmp_path/'a.mrc.bz2').data, image)


def test_an_extended_header_that_is_not_there(tmp_path, image):
    for n in (80, 2**30, -5):
        path = mrc(tmp_path/'a.mrc', image, nsymbt=n)
        with pytest.warns(VolumeWarning, match='not there'): np.testing.assert_array_equal(read_volume(path).data, image)


def test_several_volumes_in_one_file(tmp_path, image):
    with pytest.raises(VolumeError, match='a stack of 3 volumes'): read_volume(mrc(tmp_path/'a.mrc', image, ispg=401, mz=4))
    assert quiet(mrc(tmp_path/'a.mrc', image, ispg=401, mz=12)).shape == image.shape


# hostile and broken files

def header_only(path, **fields):
    "A header of promises with nothing behind it."
    header = np.zeros((), mrcfile.dtypes.HEADER_DTYPE)
    header['mode'], header['map'], header['machst'] = 2, b'MAP ', [0x44, 0x44, 0, 0]
    for name, value in fields.items(): header[name] = value
    path.write_bytes(header.tobytes())
    return path


@pytest.mark.parametrize('opener', [None, gzip, bz2])
def test_promises_are_compared_with_what_is_there(tmp_path, opener):
    path = header_only(tmp_path/'a.mrc', nx=2**19, ny=2**19, nz=2**19)
    if opener:
        packed = tmp_path/('a.mrc.gz' if opener is gzip else 'a.mrc.bz2')
        packed.write_bytes(opener.compress(path.read_bytes()))
        with pytest.raises(VolumeError, match='unpack to 5.24e.05 TB'): read_mrc(packed)
        packed.write_bytes(opener.compress(header_only(path, nx=100, ny=100, nz=100).read_bytes() + bytes(1000)))
        with pytest.raises(VolumeError, match='truncated.*4001024 bytes.*2024'): read_mrc(packed)
        packed.write_bytes(packed.read_bytes()[:-6])
        with pytest.raises(VolumeError, match='truncated'): read_mrc(packed)
        packed.write_bytes(b'no archive at all')
        with pytest.raises(VolumeError, match='cannot be unpacked'): read_mrc(packed)
    else:
        with pytest.raises(VolumeError, match='truncated'): read_mrc(path)
    for fields in (dict(nx=-1, ny=5, nz=5), dict(nx=0, ny=0, nz=0), dict(nx=2**31 - 1, ny=1, nz=1)):
        with pytest.raises(VolumeError, match='not an MRC file'): read_mrc(header_only(tmp_path/'b.mrc', **fields))


def test_part_of_a_slice_is_missing(tmp_path, image):
    path = mrc(tmp_path/'a.mrc', image)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(VolumeError, match='truncated'): read_mrc(path)


def test_bombs_are_not_unpacked(tmp_path):
    "Gigabytes of zeros: refused by what the header promises; what follows the promise is not touched."
    with gzip.open(tmp_path/'a.mrc.gz', 'wb', compresslevel=1) as file:
        file.write(header_only(tmp_path/'h.mrc', nx=1000, ny=1000, nz=1000, mode=0).read_bytes() + bytes(2**20))
    with pytest.raises(VolumeError, match='nearly all of one value'): read_mrc(tmp_path/'a.mrc.gz')
    data = np.random.default_rng(0).normal(size=(4, 5, 6)).astype('f4')
    with gzip.open(tmp_path/'b.mrc.gz', 'wb', compresslevel=1) as file:
        file.write(header_only(tmp_path/'h.mrc', nx=6, ny=5, nz=4).read_bytes() + data.tobytes())
        for _ in range(64): file.write(bytes(2**20))
    with pytest.warns(VolumeWarning, match='larger than expected'): np.testing.assert_array_equal(read_mrc(tmp_path/'b.mrc.gz').data, data)


@pytest.mark.skipif(sys.platform == 'win32', reason='Windows has no pipes in folders')
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path/'a.mrc')
    with pytest.raises(VolumeError, match='is a pipe'): read_mrc(tmp_path/'a.mrc')


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_headers_end_in_a_word_or_a_volume(tmp_path, data):
    image = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    angles = np.linspace(-60, 60, 3)
    content = bytearray(with_angles(tmp_path/'a.mrc', image, angles, data.draw(st.sampled_from(['SERI', 'FEI1', 'AGAR']))).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        place = 4*data.draw(st.integers(0, 60))
        content[place:place + 4] = data.draw(st.one_of(st.binary(min_size=4, max_size=4), st.sampled_from([bytes(4), b'\xff'*4, b'\0\0\xc0\x7f', b'\1\0\0\0', b'\2\0\0\0'])))
    content = content[:data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))]
    path = tmp_path/data.draw(st.sampled_from(['b.mrc', 'b.rec', 'b.mrc.gz']))
    path.write_bytes(gzip.compress(bytes(content)) if path.suffix == '.gz' else bytes(content))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try: assert read_mrc(path).data.ndim == 3
        except VolumeError as error: assert '\n' not in str(error)


@pytest.mark.parametrize('shape', [(12, 40, 44), (40, 40, 40), (1, 40, 44), (8, 200, 200)])
@pytest.mark.parametrize('size', [13.68, 1.368, 100.])
def test_a_cell_that_is_a_voxel(tmp_path, shape, size):
    "Programs that write the voxel size where the cell belongs: no question of cubes, but of --voxel-size."
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    path = mrc(tmp_path/'a.mrc', image, cella=np.array((size,)*3, 'f4').view([('x', 'f4'), ('y', 'f4'), ('z', 'f4')])[0])
    with pytest.warns(VolumeWarning, match=f'looks like the size of one, then give --voxel-size {size:g}'): assert not read_volume(path).voxel_size_known
    assert quiet(path, voxel_size_A=size).voxel_size_A == size
    assert quiet(mrc(tmp_path/'b.mrc', image, 13.68)).voxel_size_A == 13.68


def test_small_boxes_keep_their_size(tmp_path, image):
    assert quiet(mrc(tmp_path/'a.mrc', image[:8, :8, :8], 10.)).voxel_size_A == 10
    with pytest.raises(VolumeError, match='no cubes'): read_volume(mrc(tmp_path/'a.mrc', image, (10, 10, 20)))
