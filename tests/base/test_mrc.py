"MRC files: headers of many programs, byte orders, axes, tilt series."
import gzip
import os
import subprocess
import sys

import mrcfile
import numpy as np
import pytest

from cryoseg.base.files import VolumeError, VolumeWarning
from cryoseg.base.volume import Volume
from cryoseg.base.formats import read_volume, write_volume
from cryoseg.base.mrc import mrc_dtype, read_mrc

from volume_files import extra2, mrc, quiet


@pytest.mark.parametrize('dtype', ['i1', '<i2', '>i2', '<f4', '>f4', '<u2', '>u2', '<f2', '>f2'])
def test_modes_and_byte_orders(tmp_path, image, dtype):
    data = np.rint(20*image) if dtype != '<f4' else image
    data = np.abs(data).astype(dtype) if 'u' in dtype else data.astype(dtype)
    volume = quiet(mrc(tmp_path/'a.mrc', data))
    np.testing.assert_array_equal(volume.data, data)
    assert volume.data.dtype.isnative and volume.voxel_size_A == 10


@pytest.mark.parametrize('flags, dtype', [(1, 'int8'), (0, 'uint8'), (4, 'uint8'), (5, 'int8')])
def test_imods_flag_says_whether_bytes_are_signed(tmp_path, flags, dtype):
    data = np.random.default_rng(0).integers(-128, 128, (4, 5, 6)).astype(np.int8)
    path = mrc(tmp_path/'a.mrc', data, extra2=extra2(a152=np.int32(1146047817), a156=np.int32(flags)))
    assert quiet(path).data.dtype == dtype
    np.testing.assert_array_equal(quiet(path).data, data.view(dtype))


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
    code = ('import resource, sys; from cryoseg.base.formats import read_volume; before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n'
            'v = read_volume(sys.argv[1], z_range=(500, 502), check=False); v.data.sum(); print(v.shape, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)')
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


@pytest.mark.parametrize('kind', ['suffix', 'ispg', 'labels', 'SerialEM', 'SerialEM big-endian', 'FEI1'])
def test_tilt_series_are_refused_by_name(tmp_path, image, kind):
    path, angles = tmp_path/'a.mrc', np.linspace(-60, 60, len(image))
    if kind == 'suffix': path = mrc(tmp_path/'a.st', image)
    elif kind == 'ispg': mrc(path, image, ispg=0, mz=1)
    elif kind == 'labels':
        with mrcfile.new(path, image) as file: file.add_label('SerialEM: Tilt axis angle = 85.3, binning = 1')
    elif kind.startswith('SerialEM'):
        rows, extra = serial_em(angles, '>' if 'big' in kind else '<')
        mrc(path, image.astype('>f4' if 'big' in kind else '<f4'), extended=rows, extra2=extra)
    else:
        from mrcfile.dtypes import get_ext_header_dtype
        rows = np.zeros(len(angles), get_ext_header_dtype(b'FEI1', '<'))
        rows['Metadata size'], rows['Alpha tilt'] = rows.dtype.itemsize, angles
        mrc(path, image, extended=rows.tobytes(), exttyp=b'FEI1')
    with pytest.raises(VolumeError, match='tilt series, not a tomogram') as error: read_volume(path)
    if kind[:3] in ('Ser', 'FEI'): assert 'from -60 to 60 degrees' in str(error.value)


def test_reconstructions_keep_the_labels_of_their_series_and_are_read(tmp_path, image):
    with mrcfile.new(tmp_path/'a.rec', image) as file:
        file.voxel_size = 10.
        file.add_label('SerialEM: Tilt axis angle = 85.3'), file.add_label('TILT: Tomographic reconstruction')
    quiet(tmp_path/'a.rec')
    rows, extra = serial_em(np.zeros(len(image)))
    quiet(mrc(tmp_path/'b.mrc', image, extended=rows, extra2=extra))


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
