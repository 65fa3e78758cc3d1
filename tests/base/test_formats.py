"Volumes: what must hold for every file that comes in or goes out."
import errno
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image


from cryoseg.base.files import VolumeError, VolumeWarning, atomic_write
from cryoseg.base.volume import Volume, bin_volume, check_voxels, cut_slices, guess_polarity, invert_polarity
from cryoseg.base.formats import describe, read_meaning, read_volume, write_volume

DATA = Path(__file__).resolve().parents[3]/'shared'/'data'
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason='the third-party data beside the repository (../shared/data) is not here')


@pytest.fixture
def image():
    return np.random.default_rng(0).normal(size=(12, 16, 20)).astype(np.float32)


def mrc(path, data, voxel_size=10., extended=None, **fields):
    "A small MRC file in which any header field can be set."
    with mrcfile.new(path, data, overwrite=True) as file:
        if extended is not None: file.set_extended_header(np.frombuffer(extended, 'V1'))
        file.voxel_size = voxel_size
        for name, value in fields.items(): setattr(file.header, name, value)
    return path


def extra2(**values):
    "The bytes 112 to 195 of a header; keys a<byte>, values of any NumPy type."
    block = bytearray(84)
    for name, value in values.items(): block[int(name[1:]) - 112:int(name[1:]) - 112 + value.nbytes] = value.tobytes()
    return np.void(bytes(block))


def quiet(path, **options):
    "Read, any warning being an error."
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        return read_volume(path, **options)


# coordinates

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


# MRC

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


# the thin axis

def test_the_thin_axis_is_asked_for_and_turned(tmp_path):
    upright = np.random.default_rng(0).normal(size=(6, 16, 20)).astype(np.float32)
    path = mrc(tmp_path/'a.mrc', np.ascontiguousarray(upright.swapaxes(0, 1)), nystart=7)
    with pytest.warns(VolumeWarning, match='--thin-axis y'): assert read_volume(path).shape == (16, 6, 20)
    volume = quiet(path, thin_axis='y')
    np.testing.assert_array_equal(volume.data, upright)
    assert volume.axes == (1, 3, 2) and volume.nstart == (0, 0, 7)
    write_volume(tmp_path/'labels.mrc', volume.with_data((upright > 0).astype(np.int8)))
    with mrcfile.open(tmp_path/'labels.mrc') as file: assert file.data.shape == (16, 6, 20) # voxel on voxel over the input
    np.testing.assert_array_equal(quiet(tmp_path/'labels.mrc').data, upright > 0)


def test_flat_volumes_and_slices_raise_no_question(tmp_path, image):
    quiet(mrc(tmp_path/'a.mrc', image[:3])), quiet(mrc(tmp_path/'b.mrc', image[:, :7])), quiet(mrc(tmp_path/'c.mrc', image[:1, :4]))


# the voxel size

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


# other formats

@pytest.mark.parametrize('suffix', ['.mrc', '.tif', '.npz'])
@pytest.mark.parametrize('dtype', ['int8', 'int16', 'uint16', 'float16', 'float32'])
def test_round_trip(tmp_path, image, suffix, dtype):
    there = Volume(np.abs(20*image).astype(dtype), 13.48, origin_A=(-120.5, 40., 8.25), nstart=(4, 5, 6))
    write_volume(tmp_path/f'a{suffix}', there)
    back = quiet(tmp_path/f'a{suffix}')
    np.testing.assert_array_equal(back.data, there.data)
    assert (back.data.dtype, back.voxel_size_A, back.origin_A, back.nstart) == (there.data.dtype, 13.48, there.origin_A, there.nstart)


def test_npy_keeps_the_voxels(tmp_path, image):
    write_volume(tmp_path/'a.npy', Volume(image, 10.))
    volume = quiet(tmp_path/'a.npy', voxel_size_A=10)
    assert isinstance(volume.data, np.memmap)
    np.testing.assert_array_equal(volume.data, image)


def test_png_is_one_slice(tmp_path):
    for top, dtype in ((255, 'uint8'), (60000, 'uint16')):
        data = np.arange(30).reshape(1, 5, 6)*(top//30)
        write_volume(tmp_path/'a.png', Volume(data, 10.))
        volume = quiet(tmp_path/'a.png', voxel_size_A=10)
        np.testing.assert_array_equal(volume.data, data)
        assert volume.data.dtype == dtype


def test_colour_becomes_gray(tmp_path):
    colour = np.random.default_rng(0).integers(0, 255, (8, 9, 3), dtype=np.uint8)
    for name, picture in (('a.png', colour), ('b.png', np.concatenate([colour, colour[..., :1]], -1)), ('c.png', colour[..., :1].repeat(3, -1))):
        Image.fromarray(picture).save(tmp_path/name)
        assert quiet(tmp_path/name, voxel_size_A=10).shape == (1, 8, 9)
    np.testing.assert_array_equal(quiet(tmp_path/'c.png', voxel_size_A=10).data[0], colour[..., 0])
    Image.fromarray(colour).convert('P').save(tmp_path/'d.png')
    Image.fromarray(colour[..., 0] > 100).save(tmp_path/'e.png')
    Image.fromarray(colour).save(tmp_path/'f.jpg')
    tifffile.imwrite(tmp_path/'g.tif', colour)
    tifffile.imwrite(tmp_path/'h.tif', np.stack([colour]*4), photometric='rgb')
    for name, n in (('d.png', 1), ('e.png', 1), ('f.jpg', 1), ('g.tif', 1), ('h.tif', 4)): assert quiet(tmp_path/name, voxel_size_A=10).shape == (n, 8, 9)


def test_tiffs_of_other_programs(tmp_path, image):
    tifffile.imwrite(tmp_path/'imagej.tif', image, imagej=True, resolution=(1/1.052, 1/1.052), metadata=dict(spacing=1.052, unit='nm', axes='ZYX'))
    tifffile.imwrite(tmp_path/'a.ome.tif', image, ome=True, metadata=dict(axes='ZYX', PhysicalSizeX=1.5, PhysicalSizeXUnit='nm', PhysicalSizeY=1.5, PhysicalSizeYUnit='nm', PhysicalSizeZ=1.5, PhysicalSizeZUnit='nm'))
    tifffile.imwrite(tmp_path/'packed.tif', image, compression='zlib')
    tifffile.imwrite(tmp_path/'big.tif', image.astype('>f4'), byteorder='>')
    for name, size in (('imagej.tif', 10.52), ('a.ome.tif', 15.), ('packed.tif', None), ('big.tif', None)):
        volume = quiet(tmp_path/name, voxel_size_A=None if size else 10)
        np.testing.assert_array_equal(volume.data, image)
        assert volume.voxel_size_A == (size or 10) and volume.data.dtype.isnative
    pages = [Image.fromarray((100 + 20*plane).astype(np.uint8)) for plane in image]
    pages[0].save(tmp_path/'lzw.tif', save_all=True, append_images=pages[1:], compression='tiff_lzw')
    np.testing.assert_array_equal(quiet(tmp_path/'lzw.tif', voxel_size_A=10).data, (100 + 20*image).astype(np.uint8))


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


# masks of other tools

def ome_zarr(path, data, scale=(10., 10., 10.), unit='angstrom', axes='zyx', shift=None, zarr_format=2, levels=2, more=()):
    "A small OME-Zarr image: 0.4 in zarr format 2, 0.5 in format 3."
    group = zarr.open_group(str(path), mode='w', zarr_format=zarr_format)
    def about(k):
        steps = [dict(type='scale', scale=[2**k*v for v in scale])] + ([dict(type='translation', translation=list(shift))] if shift else [])
        return dict(path=str(k), coordinateTransformations=steps)
    named = [dict(name=a, type='space', **(dict(unit=unit) if unit else {})) for a in axes]
    text = dict(multiscales=[dict(axes=named, datasets=[about(k) for k in range(levels)])], **dict(more))
    group.attrs.update(text if zarr_format == 2 else dict(ome=dict(version='0.5', **text)))
    for k in range(levels): group.create_array(str(k), data=np.ascontiguousarray(data[(slice(None),)*(data.ndim - 3) + (slice(None, None, 2**k),)*3]), chunks=(4,)*data.ndim)
    return path


@pytest.mark.parametrize('zarr_format', [2, 3])
def test_ome_zarr(tmp_path, image, zarr_format):
    labels = (image > 0).astype(np.uint8)
    path = ome_zarr(tmp_path/'a.zarr', labels, (1.348,)*3, 'nanometer', shift=(3., 2., 1.), zarr_format=zarr_format)
    volume = quiet(path)
    np.testing.assert_array_equal(volume.data, labels)
    assert (volume.voxel_size_A, volume.origin_A, volume.data.dtype) == (13.48, (10., 20., 30.), np.uint8)
    coarse = quiet(path/'1')
    np.testing.assert_array_equal(coarse.data, labels[::2, ::2, ::2])
    assert coarse.voxel_size_A == 26.96
    assert quiet(path, z_range=(2, 5)).shape == (3, 16, 20) and describe(path)['format'] == f'OME-Zarr, zarr {zarr_format}'


@pytest.mark.parametrize('zarr_format', [2, 3])
def test_ome_zarr_of_odd_makes(tmp_path, image, zarr_format):
    seen = quiet(ome_zarr(tmp_path/'xyz.zarr', image.transpose(2, 1, 0).copy(), axes='xyz', shift=(1., 2., 3.), zarr_format=zarr_format))
    np.testing.assert_array_equal(seen.data, image)
    assert seen.origin_A == (1., 2., 3.)
    np.testing.assert_array_equal(quiet(ome_zarr(tmp_path/'c.zarr', image[None], (1.,) + (10.,)*3, axes='czyx', zarr_format=zarr_format)).data, image)
    with pytest.raises(VolumeError, match='4 axes'): read_volume(ome_zarr(tmp_path/'cc.zarr', np.stack([image, image]), (1.,) + (10.,)*3, axes='czyx', zarr_format=zarr_format))
    with pytest.raises(VolumeError, match='no cubes'): read_volume(ome_zarr(tmp_path/'flat.zarr', image, (20., 10., 10.), zarr_format=zarr_format))
    with pytest.warns(VolumeWarning, match='no voxel size'): read_volume(ome_zarr(tmp_path/'u.zarr', image, unit=None, zarr_format=zarr_format))
    plain = zarr.create_array(str(tmp_path/'plain.zarr'), data=image, zarr_format=zarr_format)
    np.testing.assert_array_equal(quiet(tmp_path/'plain.zarr', voxel_size_A=10).data, plain[...])
    with pytest.warns(VolumeWarning, match='no voxel size'): read_volume(tmp_path/'plain.zarr')
    big = ome_zarr(tmp_path/'big.zarr', image.astype('>f4'), zarr_format=zarr_format)
    assert quiet(big).data.dtype == np.dtype('=f4')


@pytest.mark.parametrize('zarr_format', [2, 3])
def test_bad_ome_zarr(tmp_path, image, zarr_format):
    def refused(path, words):
        with pytest.raises(VolumeError, match=words) as error: read_volume(path)
        assert '\n' not in str(error.value) and path.name in str(error.value)

    zarr.open_group(str(tmp_path/'none.zarr'), mode='w', zarr_format=zarr_format).create_array('raw', data=image)
    refused(tmp_path/'none.zarr', 'without `multiscales`.*it holds raw')
    shutil.rmtree(ome_zarr(tmp_path/'missing.zarr', image, zarr_format=zarr_format)/'0')
    refused(tmp_path/'missing.zarr', "name the array '0', but it holds 1")
    refused(ome_zarr(tmp_path/'empty.zarr', image, levels=0, zarr_format=zarr_format), 'name the array None, but it holds nothing')
    refused(ome_zarr(tmp_path/'short.zarr', image, scale=(10., 10.), zarr_format=zarr_format), 'multiscales` are damaged')
    refused(ome_zarr(tmp_path/'axes.zarr', image, axes='zyq', zarr_format=zarr_format), 'multiscales` are damaged')
    path = ome_zarr(tmp_path/'text.zarr', image, zarr_format=zarr_format)
    (path/('zarr.json' if zarr_format == 3 else '.zgroup')).write_text('{ cut')
    refused(path, 'cannot be read as zarr')
    path = ome_zarr(tmp_path/'chunk.zarr', image, zarr_format=zarr_format)
    for chunk in (path/'0').rglob('*'):
        if chunk.is_file() and not chunk.name.startswith(('.z', 'zarr')): chunk.write_bytes(b'damaged')
    refused(path, 'cannot be read as zarr')


@pytest.mark.parametrize('scale, words', [(0., 'a scale of 0.0 along x'), (-10., 'a scale of -10.0 along x'), (np.nan, 'a scale of nan along x'), (np.inf, 'a scale of inf along x'), ('10', 'TypeError')])
def test_impossible_scales_are_damage(tmp_path, image, scale, words):
    path = ome_zarr(tmp_path/'a.zarr', image, scale=(10., 10., 7.), levels=1)
    text = (path/'.zattrs').read_text()
    (path/'.zattrs').write_text(re.sub(r'\b7\.0\b', json.dumps(scale), text))
    for name in (path, path/'0'):
        with pytest.raises(VolumeError, match=f'multiscales` are damaged .*{words}'): quiet(name)
    odd = ome_zarr(tmp_path/'c.zarr', image[None], (0., 10., 10., 10.), axes='czyx', levels=1)
    assert quiet(odd).voxel_size_A == 10                      # the scale of a channel means nothing


@pytest.mark.parametrize('zarr_format', [2, 3])
def test_paths_within_the_working_folder(tmp_path, image, zarr_format, monkeypatch):
    path = ome_zarr(tmp_path/'a.zarr', image, zarr_format=zarr_format)
    for folder, name, size in ((path, '0', 10), (path, '.', 10), (path/'1', '.', 20), (path/'1', '../0', 10)):
        monkeypatch.chdir(folder)
        assert quiet(name).voxel_size_A == describe(name)['voxel_size_A'] == size
    monkeypatch.chdir(path)
    with pytest.raises(VolumeError, match='is a folder'): read_volume('..')


def test_zarr_is_an_extra(tmp_path, image, monkeypatch):
    path = ome_zarr(tmp_path/'a.zarr', image)
    monkeypatch.setitem(sys.modules, 'zarr', None)
    with pytest.raises(VolumeError, match=r"pip install 'cryoseg\[zarr\]'"): read_volume(path)


@pytest.mark.parametrize('zarr_format', [2, 3])
def test_names_of_labels_in_zarr(tmp_path, image, zarr_format):
    labels = (image > 0).astype(np.uint8)
    assert read_meaning(ome_zarr(tmp_path/'10.000_anna_7_outer-membrane.zarr', labels, zarr_format=zarr_format)) == {1: 'outer-membrane'}
    assert read_meaning(ome_zarr(tmp_path/'10.000_anna_7_all-multilabel.zarr', labels, zarr_format=zarr_format)) == {}
    more = {'image-label': dict(properties=[{'label-value': 1, 'name': 'membrane'}, {'label-value': 4, 'class': 'lumen'}, {'label-value': 5, 'area': 3}])}
    path = ome_zarr(tmp_path/'labels.zarr', labels, zarr_format=zarr_format, more=more)
    assert read_meaning(path) == {1: 'membrane', 4: 'lumen'} and read_meaning(path/'1') == read_meaning(tmp_path) == read_meaning(tmp_path/'absent.zarr') == {}
    (path/('zarr.json' if zarr_format == 3 else '.zattrs')).write_text('[1, 2]')
    assert read_meaning(path) == {}


@pytest.mark.parametrize('zarr_format', [2, 3])
def test_names_of_label_images_within_an_image(tmp_path, image, zarr_format, monkeypatch):
    "OME-Zarr puts label images into image.zarr/labels/NAME; only a .zarr folder itself may be named as copick names it."
    labels, names = (image > 0).astype(np.uint8), [{'label-value': 1, 'name': 'lumen'}, {'label-value': 3, 'name': 'membrane'}]
    path = ome_zarr(tmp_path/'img.zarr', image, zarr_format=zarr_format)
    cells = ome_zarr(path/'labels'/'cells', labels, zarr_format=zarr_format, more={'image-label': dict(properties=names)})
    assert read_meaning(cells) == {1: 'lumen', 3: 'membrane'} and read_meaning(path) == read_meaning(path/'labels') == read_meaning(cells/'0') == {}
    assert read_meaning(ome_zarr(path/'labels'/'10.000_anna_7_membrane', labels, zarr_format=zarr_format)) == {}
    monkeypatch.chdir(cells)
    assert read_meaning('.') == {1: 'lumen', 3: 'membrane'}


def runs(data):
    "HxByteRLE, both kinds of it: repeats, and stretches as they are."
    out, i = bytearray(), 0
    while i < len(data):
        n = 1
        while i + n < len(data) and n < 127 and data[i + n] == data[i]: n += 1
        if n < 3: n = min(5, len(data) - i); out += bytes([128 + n]) + data[i:i + n]
        else: out += bytes([n, data[i]])
        i += n
    return bytes(out)


def amira(path, data, head='BINARY-LITTLE-ENDIAN 2.1', packing=None, kind='byte', about='BoundingBox 10 200 20 170 30 140, Units { Coordinates "nm" }', lattice=None):
    "A small AmiraMesh file; `data` (Z,Y,X) in the dtype that is to be on disk."
    raw = data.tobytes() if 'ASCII' not in head else ' '.join(map(str, data.ravel().tolist())).encode() + b'\n'
    raw = {None: bytes, 'HxByteRLE': runs, 'HxZip': zlib.compress, 'HxOdd': bytes}[packing](raw)
    lattice = lattice or f'define Lattice {data.shape[2]} {data.shape[1]} {data.shape[0]}'
    entry = f'Lattice {{ {kind} Labels }} @1' + (f'({packing},{len(raw)})' if packing else '')
    path.write_bytes(f'# AmiraMesh {head}\n\n{lattice}\n\nParameters {{\n {about}\n CoordType "uniform"\n}}\n\n{entry}\n\n# Data section follows\n@1\n'.encode() + raw + b'\n')
    return path


@pytest.mark.parametrize('head, packing, kind, dtype', [('BINARY-LITTLE-ENDIAN 2.1', None, 'byte', 'u1'), ('3D BINARY 2.0', None, 'ushort', '>u2'), ('BINARY-LITTLE-ENDIAN 2.1', None, 'short', '<i2'),
                                                        ('3D ASCII 2.0', None, 'byte', 'u1'), ('BINARY-LITTLE-ENDIAN 2.1', 'HxByteRLE', 'byte', 'u1'), ('BINARY-LITTLE-ENDIAN 2.1', 'HxByteRLE', 'ushort', '<u2'),
                                                        ('BINARY-LITTLE-ENDIAN 3.0', 'HxZip', 'float', '<f4'), ('3D BINARY 2.0', None, 'int', '>i4')])
def test_amira(tmp_path, image, head, packing, kind, dtype):
    labels = np.where(image > 1, 2, image > 0).astype(dtype)
    volume = quiet(amira(tmp_path/'a.am', labels, head, packing, kind))
    np.testing.assert_array_equal(volume.data, labels)
    assert (volume.voxel_size_A, volume.origin_A) == (100., (100., 200., 300.)) and volume.data.dtype.isnative


def test_amira_without_a_unit_or_a_box(tmp_path, image):
    labels = (image > 0).astype(np.uint8)
    with pytest.warns(VolumeWarning, match='no unit'): assert read_volume(amira(tmp_path/'a.am', labels, about='BoundingBox 0 190 0 150 0 110')).voxel_size_A == 10
    with pytest.warns(VolumeWarning, match='no voxel size'): assert read_volume(amira(tmp_path/'a.am', labels, about='')).voxel_size_A == 1
    assert quiet(amira(tmp_path/'a.am', labels[:1], about='Units { Coordinates "um" } BoundingBox 0 0.019 0 0.015 0 0.001')).voxel_size_A == 10     # one slice: its depth says nothing
    with pytest.raises(VolumeError, match='no cubes'): read_volume(amira(tmp_path/'a.am', labels, about='BoundingBox 0 190 0 150 0 220, Units { Coordinates "nm" }'))


def test_bad_amira(tmp_path, image):
    labels = (image > 0).astype(np.uint8)
    def refused(path, words):
        with pytest.raises(VolumeError, match=words) as error: read_volume(path)
        assert '\n' not in str(error.value) and path.name in str(error.value)

    for head, packing in (('BINARY-LITTLE-ENDIAN 2.1', None), ('3D ASCII 2.0', None), ('BINARY-LITTLE-ENDIAN 2.1', 'HxByteRLE'), ('BINARY-LITTLE-ENDIAN 2.1', 'HxZip')):
        whole = amira(tmp_path/'cut.am', labels, head, packing).read_bytes()
        for keep in (.97, .5):
            start = whole.index(b'\n@1\n') + 4
            (tmp_path/'cut.am').write_bytes(whole[:start + int(keep*(len(whole) - start))])
            refused(tmp_path/'cut.am', f'truncated.*{labels.size} bytes')
    (tmp_path/'cut.am').write_bytes(whole[:start - 10])
    refused(tmp_path/'cut.am', 'truncated: no data')
    refused(amira(tmp_path/'odd.am', labels, packing='HxOdd'), 'HxOdd is unknown')
    refused(amira(tmp_path/'kind.am', labels, kind='complex'), "'complex' are unknown")
    refused(amira(tmp_path/'vector.am', labels, kind='float[3]'), 'no lattice of single numbers')
    refused(amira(tmp_path/'mesh.am', labels, lattice='define Vertices 500'), 'no lattice.*Vertices 500')
    refused(amira(tmp_path/'grid.am', labels, about='CoordType "rectilinear"'), 'not uniform')
    (tmp_path/'surface.am').write_text('# HyperSurface 0.1 ASCII\nVertices 3\n')
    refused(tmp_path/'surface.am', 'no lattice.*HyperSurface')
    (tmp_path/'text.am').write_text('Dear all,\n')
    refused(tmp_path/'text.am', 'not an AmiraMesh file')
    path = amira(tmp_path/'zip.am', labels, packing='HxZip')
    path.write_bytes(path.read_bytes().replace(b'\x78\x9c', b'\x00\x00'))
    refused(path, 'cannot be read as .am')


def test_a_long_history_of_amira(tmp_path, image):
    labels = (image > 0).astype(np.uint8)
    def about(n): return 'History "' + 'x'*n + '" BoundingBox 10 200 20 170 30 140, Units { Coordinates "nm" } Materials { Exterior { } Membrane { } }'
    path = amira(tmp_path/'a.am', labels, about=about(1_100_000))
    np.testing.assert_array_equal(quiet(path).data, labels)
    assert read_meaning(path) == {0: 'Exterior', 1: 'Membrane'}
    with pytest.raises(VolumeError, match='too long a History'): read_volume(amira(tmp_path/'b.am', labels, about=about(2**24)))


@pytest.mark.parametrize('packing', [None, 'HxByteRLE', 'HxZip'])
def test_amira_promises_are_checked_before_anything_is_read(tmp_path, image, packing):
    path = amira(tmp_path/'a.am', (image > 0).astype(np.uint8), packing=packing)
    whole = path.read_bytes()
    start = whole.index(b'\n@1\n') + 4
    many = 10**13
    changed = re.sub(rb'(HxZip|HxByteRLE),\d+', rb'\g<1>,%d' % many, whole) if packing else whole.replace(b'Lattice 20 16 12', b'Lattice 20 16 %d' % (many//320))
    path.write_bytes(changed)
    with pytest.raises(VolumeError, match=f'truncated.*{many} ?.*there are {len(whole) - start};'): read_volume(path)
    for size in ('0 0 0', '20 0 12', '-20 -16 12'):
        path.write_bytes(whole.replace(b'Lattice 20 16 12', b'Lattice ' + size.encode()))
        with pytest.raises(VolumeError, match=f'{size.replace(" ", " x ")} voxels .* is empty'): read_volume(path)


def test_materials_are_counted_from_the_exterior(tmp_path, image):
    labels = (image > 0).astype(np.uint8)
    about = 'Materials {\n Exterior {\n Id 1\n }\n Membrane {\n Color 0.8 0.1 0.1,\n Id 5\n }\n "Outer lumen" {\n Nested { Name "x" }\n Id 9 }\n }\n BoundingBox 0 190 0 150 0 110'
    assert read_meaning(amira(tmp_path/'a.am', labels, about=about)) == {0: 'Exterior', 1: 'Membrane', 2: 'Outer lumen'}
    assert read_meaning(amira(tmp_path/'a.am', labels)) == {} and read_meaning(tmp_path/'absent.am') == {}
    (tmp_path/'text.am').write_text('Dear all')
    assert read_meaning(tmp_path/'text.am') == {}


# bad input

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


def test_a_truncated_mrc_says_how_much_is_missing(tmp_path, image):
    path = mrc(tmp_path/'a.mrc', image)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(VolumeError, match=f'truncated.*{1024 + image.nbytes} bytes.*5000'): read_volume(path)


def test_folders(tmp_path):
    with pytest.raises(VolumeError, match='is a folder'): read_volume(tmp_path)
    (tmp_path/'a.zarr').mkdir()
    with pytest.raises(VolumeError, match='no zarr metadata'): read_volume(tmp_path/'a.zarr')


@pytest.mark.parametrize('mode, word', [(3, 'complex'), (4, 'complex'), (16, 'colour'), (101, '4-bit'), (7, 'unknown')])
def test_modes_that_are_no_tomogram(tmp_path, image, mode, word):
    with pytest.raises(VolumeError, match=f'mode {mode}.*{word}'): read_volume(mrc(tmp_path/'a.mrc', image, mode=mode))


@pytest.mark.parametrize('data, words', [(np.zeros(5), '1 axes'), (np.zeros((2, 3, 4, 5)), '4 axes'), (np.zeros((3, 4, 5), complex), 'complex128'), (np.zeros((0, 3, 4)), 'no voxels'),
                                         (np.full((2, 2, 2), 'a'), 'dtype'), (np.array({}), 'cannot be read'), (np.zeros((3, 4, 5)), 'constant')])
def test_arrays_that_are_no_volume(tmp_path, data, words):
    np.save(tmp_path/'a.npy', data, allow_pickle=True)
    with pytest.raises(VolumeError, match=words): read_volume(tmp_path/'a.npy', voxel_size_A=10)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('dtype', ['float16', 'float32', 'float64'])
def test_nan_and_infinity_are_counted(image, bad, dtype):
    data = image.astype(dtype)
    data[3, 4, 5:8] = bad
    with pytest.raises(VolumeError, match='3 of 3840 voxels.*nan_to_num'): check_voxels(Volume(data, 10.))
    check_voxels(Volume(image.astype(dtype), 10.))


def test_labels_may_be_empty(tmp_path):
    write_volume(tmp_path/'a.mrc', Volume(np.zeros((3, 4, 5), np.int8), 10.))
    assert not read_volume(tmp_path/'a.mrc', check=False).data.any()
    with pytest.raises(VolumeError, match='constant'): read_volume(tmp_path/'a.mrc')


@pytest.mark.parametrize('options, words', [(dict(z_range=(5, 5)), 'z range'), (dict(z_range=(0, 99)), 'z range'), (dict(z_range=(50, None)), 'z range'), (dict(bin=0), 'bin'),
                                            (dict(bin=1.5), 'bin'), (dict(bin=50), 'bin'), (dict(thin_axis='w'), 'thin_axis')])
def test_bad_options(tmp_path, image, options, words):
    with pytest.raises(VolumeError, match=words): read_volume(mrc(tmp_path/'a.mrc', image), **options)


# writing

@pytest.mark.parametrize('name, data, options, words', [('a.txt', np.ones((2, 2, 2)), {}, 'unknown suffix'), ('a.png', np.ones((2, 2, 2), np.uint8), {}, 'one slice'), ('a.png', np.ones((1, 2, 2)), {}, 'whole numbers'),
                                                        ('a.mrc', np.full((2, 2, 2), 70000), {}, 'do not fit uint16'), ('a.mrc', np.full((2, 2, 2), 300), dict(dtype='int8'), 'from 300 to 300 do not fit int8'),
                                                        ('a.mrc', np.full((2, 2, 2), np.nan), dict(dtype='int8'), 'do not fit'), ('a.mrc', np.ones((2, 2, 2), complex), {}, 'no MRC mode')])
def test_what_cannot_be_written_leaves_nothing(tmp_path, name, data, options, words):
    with pytest.raises(VolumeError, match=words): write_volume(tmp_path/name, Volume(data, 10.), **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('trouble', [ValueError('bug'), KeyboardInterrupt(), OSError(errno.ENOSPC, 'No space left on device')])
def test_the_older_file_stays_whole(tmp_path, trouble):
    (tmp_path/'a').write_text('older')
    with pytest.raises(VolumeError if isinstance(trouble, OSError) else type(trouble)):
        with atomic_write(tmp_path/'a') as part:
            part.write_text('half')
            raise trouble
    assert [p.name for p in tmp_path.iterdir()] == ['a'] and (tmp_path/'a').read_text() == 'older'


@pytest.mark.skipif(os.name != 'posix', reason='signals and limits of POSIX')
@pytest.mark.parametrize('how', ['killed', 'no space'])
def test_the_older_volume_survives_a_kill_and_a_full_disk(tmp_path, image, how):
    write_volume(tmp_path/'a.mrc', Volume(image, 10.))
    older = (tmp_path/'a.mrc').read_bytes()
    code = {'killed': 'import os, signal, sys; from cryoseg.base.files import atomic_write\n'
                      'with atomic_write(sys.argv[1]) as part: part.write_bytes(b"half"); os.kill(os.getpid(), signal.SIGKILL)',
            'no space': 'import resource, sys, numpy as np; from cryoseg.base.files import VolumeError; from cryoseg.base.volume import Volume; from cryoseg.base.formats import write_volume\n'
                        'resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))\n'
                        'try: write_volume(sys.argv[1], Volume(np.ones((50, 50, 50), np.float32), 10.))\n'
                        'except VolumeError as error: print(error)'}[how]
    out = subprocess.run([sys.executable, '-c', code, str(tmp_path/'a.mrc')], capture_output=True, text=True)
    assert (tmp_path/'a.mrc').read_bytes() == older
    if how == 'no space':
        assert 'cannot be written' in out.stdout and out.returncode == 0, out.stderr
        assert [p.name for p in tmp_path.iterdir()] == ['a.mrc']


def test_unwritable_places(tmp_path, image):
    (tmp_path/'file').write_text('')
    with pytest.raises(VolumeError, match='cannot be written.*another output folder'): write_volume(tmp_path/'file'/'a.mrc', Volume(image, 10.))
    (tmp_path/'folder.mrc').mkdir()
    with pytest.raises(VolumeError, match='is a folder'): write_volume(tmp_path/'folder.mrc', Volume(image, 10.))
    with pytest.raises(VolumeError, match='cannot be written'): write_volume(tmp_path/('n'*300 + '.mrc'), Volume(image, 10.))


@pytest.mark.skipif(os.name != 'posix', reason='links and permissions of POSIX')
def test_links_and_permissions_are_kept(tmp_path, image):
    write_volume(tmp_path/'a.mrc', Volume(image, 10.))
    (tmp_path/'a.mrc').chmod(0o640)
    (tmp_path/'link.mrc').symlink_to(tmp_path/'a.mrc')
    write_volume(tmp_path/'link.mrc', Volume(2*image, 10.))
    assert (tmp_path/'link.mrc').is_symlink() and (tmp_path/'a.mrc').stat().st_mode & 0o777 == 0o640
    np.testing.assert_array_equal(read_volume(tmp_path/'a.mrc').data, 2*image)


def test_a_volume_may_be_written_over_the_file_it_maps(tmp_path, image):
    volume = read_volume(mrc(tmp_path/'a.mrc', image))
    write_volume(tmp_path/'a.mrc', volume)
    np.testing.assert_array_equal(read_volume(tmp_path/'a.mrc').data, image)


# info

def test_describe_says_what_is_there(tmp_path, image):
    facts = describe(mrc(tmp_path/'a.mrc', image.astype('>f4'), mapc=3, mapr=2, maps=1))
    assert facts['format'] == 'MRC mode 2' and facts['byte_order'] == 'big' and facts['axes_on_disk'] == 'zyx' and facts['shape_zyx'] == (20, 16, 12) and facts['warnings'] == []
    facts = describe(mrc(tmp_path/'a.mrc', np.zeros((3, 4, 5), np.int8), 0.))
    assert len(facts['warnings']) == 2 and 'constant' in facts['warnings'][1]
    with pytest.warns(RuntimeWarning, match='NaN'): path = mrc(tmp_path/'a.mrc', image*np.float32(np.nan))
    with np.errstate(all='raise'): assert describe(path)['mean'] is None


def test_polarity_follows_inversion():
    z, y, x = np.indices((5, 64, 64))
    ring = -np.exp(-(np.hypot(y - 30, x - 30) - 18)**2/4) + np.random.default_rng(0).normal(0, 0.3, z.shape)
    assert guess_polarity(ring) == guess_polarity(1000*ring + 7) == 'dark' and guess_polarity(-ring) == 'bright' and guess_polarity(0*ring) == 'unsure'


@needs_data
def test_real_files():
    assert read_volume(DATA/'polnet'/'liposomes_snr1.0.mrc').shape == (100, 200, 200)
    assert quiet(DATA/'slices'/'13pf_MT.tif').voxel_size_A == 10.52
    assert quiet(DATA/'volumes'/'cristae_cryoSXT.npz').voxel_size_A == 100
    labels = quiet(DATA/'segmentations'/'vesicle_t74.npz', check=False)
    assert labels.voxel_size_A == 25.26 and labels.nstart == (17, 12, 9)
    expected = {'polnet/liposomes_snr1.0.mrc': 'dark', 'slices/13pf_MT.tif': 'bright', 'slices/HIV_VLP_TS_03_denoised.png': 'dark', 'volumes/cristae_cryoSXT.npz': 'dark'}
    assert {name: describe(DATA/name)['polarity'] for name in expected} == expected
