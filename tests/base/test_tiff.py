"TIFF stacks and pictures of many programs."
import functools
import io
import os
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cryoseg.base.files import VolumeError, VolumeWarning
from cryoseg.base.volume import Volume
from cryoseg.base.formats import read_volume, write_volume
from cryoseg.base.colours import to_gray
from cryoseg.base.tiff import as_sections, read_picture, read_tiff

from volume_files import quiet


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
        if name != 'b.png': assert quiet(tmp_path/name, voxel_size_A=10).shape == (1, 8, 9)
    with pytest.warns(VolumeWarning, match='opacity .alpha. varies from 0 to 254 and is left out'): np.testing.assert_allclose(read_volume(tmp_path/'b.png', voxel_size_A=10).data[0], to_gray(colour))
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


def test_luminance_is_scikit_images():
    colour = pytest.importorskip('skimage.color')
    image = np.random.default_rng(0).random((5, 6, 3))
    np.testing.assert_allclose(to_gray(image), colour.rgb2yuv(image)[..., 0], atol=1e-3)      # the Y of Rec. 601
    np.testing.assert_array_equal(to_gray(np.concatenate([image, image[..., :1]], -1)), to_gray(image))     # opacity counts for nothing
    np.testing.assert_array_equal(to_gray(image[..., :2]), image[..., 0])


def test_resolution_is_written_for_other_programs(tmp_path, image):
    write_volume(tmp_path/'a.tif', Volume(image, 12.5))
    with tifffile.TiffFile(tmp_path/'a.tif') as tif:
        pixels, per = tif.pages[0].tags['XResolution'].value
        assert tif.pages[0].tags['ResolutionUnit'].value == 3 and per/pixels*1e8 == pytest.approx(12.5)      # 3 = centimetre


def imagej(path, data, unit=None, pitch=(10., 10.), spacing=None, axes='ZYX', **more):
    "A stack as ImageJ writes it."
    about = dict(axes=axes, **more)
    if unit is not None: about['unit'] = unit
    if spacing is not None: about['spacing'] = spacing
    tifffile.imwrite(path, data, imagej=True, resolution=(1/pitch[0], 1/pitch[1]), metadata=about)
    return path


@pytest.mark.parametrize('unit, factor', [('microns', 1e4), ('nm', 10), ('nanometers', 10), ('Angstroms', 1), ('\\u00B5m', 1e4), ('um', 1e4), ('pm', .01), ('mm', 1e7), ('A', 1)])
def test_every_unit_of_imagej_means_the_same(tmp_path, image, unit, factor):
    pitch = 13.5/factor
    assert quiet(imagej(tmp_path/'a.tif', image, unit, (pitch, pitch), pitch)).voxel_size_A == pytest.approx(13.5, rel=1e-5)
    assert quiet(imagej(tmp_path/'a.tif', image, unit, (pitch, pitch), -pitch)).voxel_size_A == pytest.approx(13.5, rel=1e-5)      # ImageJ counts from the top


@pytest.mark.parametrize('pitch, spacing', [((1., 2.), 1.), ((2., 1.), 1.), ((1., 1.), 2.)])
def test_pixels_that_are_no_cubes_are_refused(tmp_path, image, pitch, spacing):
    with pytest.raises(VolumeError, match='no cubes'): read_volume(imagej(tmp_path/'a.tif', image, 'nm', pitch, spacing))
    assert quiet(tmp_path/'a.tif', voxel_size_A=10).voxel_size_A == 10
    names = dict(zip('XYZ', (*pitch, spacing)))
    about = {f'PhysicalSize{axis}': size for axis, size in names.items()} | {f'PhysicalSize{axis}Unit': 'nm' for axis in names}
    tifffile.imwrite(tmp_path/'a.ome.tif', image, ome=True, metadata=dict(axes='ZYX', **about))
    with pytest.raises(VolumeError, match='no cubes'): read_volume(tmp_path/'a.ome.tif')


@pytest.mark.parametrize('unit, words', [('parsec', '10 parsec'), ('pixel', '10 pixel'), ('inch', '10 inch'), ('foo', '10 foo'), (None, '10 without a unit')])
def test_an_unknown_unit_is_quoted(tmp_path, image, unit, words):
    raw = read_tiff(imagej(tmp_path/'a.tif', image, unit, spacing=10.))
    assert raw.voxel_A == (None, None, None) and raw.said == words
    with pytest.warns(VolumeWarning, match=f'no voxel size that can be understood .the file says {words}'): assert not read_volume(tmp_path/'a.tif').voxel_size_known
    tifffile.imwrite(tmp_path/'b.tif', image)
    assert read_tiff(tmp_path/'b.tif').voxel_A == (None, None, None) and read_tiff(tmp_path/'b.tif').said == ''


def test_units_of_single_axes(tmp_path, image):
    path = imagej(tmp_path/'a.tif', image, 'nm', spacing=.01, zunit='micron', pitch=(10, 10))
    assert quiet(path).voxel_size_A == 100


def test_no_pitch_along_z_is_that_along_x_with_a_word(tmp_path, image):
    with pytest.warns(VolumeWarning, match='no pitch along z in the file; 100 Å taken'): assert read_volume(imagej(tmp_path/'a.tif', image, 'nm')).voxel_size_A == 100
    assert quiet(imagej(tmp_path/'a.tif', image[0], 'nm', axes='YX')).voxel_size_A == 100      # one slice has none
    tifffile.imwrite(tmp_path/'a.ome.tif', image, ome=True, metadata=dict(axes='ZYX', PhysicalSizeX=1.5, PhysicalSizeXUnit='nm', PhysicalSizeY=1.5, PhysicalSizeYUnit='nm'))
    with pytest.warns(VolumeWarning, match='15 Å taken'): assert read_volume(tmp_path/'a.ome.tif').voxel_size_A == 15


def with_ome(path, image, text):
    "A stack with an OME text of one's own."
    tifffile.imwrite(path, image, photometric='minisblack', description=text, metadata=None)
    return path


OME = ('<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
       '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="float" SizeX="20" SizeY="16" SizeZ="12" SizeC="1" SizeT="1" {}><TiffData/></Pixels></Image></OME>')


@pytest.mark.parametrize('sizes, edge', [
    ('PhysicalSizeX="0.0015" PhysicalSizeY="0.0015" PhysicalSizeZ="0.0015"', 15), # µm, where nothing is said
    ('PhysicalSizeX="15" PhysicalSizeXUnit="Å" PhysicalSizeY="1.5" PhysicalSizeYUnit="nm" PhysicalSizeZ="0.0015" PhysicalSizeZUnit="&#181;m"', 15),
    ('PhysicalSizeX="1500" PhysicalSizeXUnit="pm" PhysicalSizeY="1500" PhysicalSizeYUnit="pm" PhysicalSizeZ="1500" PhysicalSizeZUnit="pm"', 15),
    ('PhysicalSizeX="1.5e-9" PhysicalSizeXUnit="m" PhysicalSizeY="1.5e-9" PhysicalSizeYUnit="m" PhysicalSizeZ="1.5e-9" PhysicalSizeZUnit="m"', 15)])
def test_ome_sizes(tmp_path, image, sizes, edge):
    volume = quiet(with_ome(tmp_path/'a.ome.tif', image, OME.format(sizes).encode()))
    assert volume.voxel_size_A == edge
    np.testing.assert_array_equal(volume.data, image)


@pytest.mark.parametrize('sizes, words', [('PhysicalSizeX="3" PhysicalSizeXUnit="pixel"', '3 pixel'), ('PhysicalSizeX="1,5" PhysicalSizeXUnit="nm"', '1,5 nm'),
                                          ('PhysicalSizeX="2" PhysicalSizeXUnit="reference frame"', '2 reference frame'), ('', '')])
def test_ome_sizes_that_are_none_are_quoted(tmp_path, image, sizes, words):
    raw = read_tiff(with_ome(tmp_path/'a.ome.tif', image, OME.format(sizes).encode()))
    assert raw.voxel_A[0] is None and raw.said == words


def test_resolution_tags_alone(tmp_path, image):
    "Believed where a micrograph can have them: not the 72 pixels an inch of a screen."
    for unit, per in (('CENTIMETER', 1e8/12.5), ('INCH', 2.54e8/12.5)):
        tifffile.imwrite(tmp_path/'a.tif', image, resolution=(per, per), resolutionunit=unit)
        with pytest.warns(VolumeWarning, match='resolution tags'): assert read_volume(tmp_path/'a.tif').voxel_size_A == pytest.approx(12.5, rel=1e-4)
    tifffile.imwrite(tmp_path/'a.tif', image, resolution=(72, 72), resolutionunit='INCH')
    with pytest.warns(VolumeWarning, match='no voxel size'): assert not read_volume(tmp_path/'a.tif').voxel_size_known
    tifffile.imwrite(tmp_path/'a.tif', image, resolution=(1e7, 5e6), resolutionunit='CENTIMETER')
    with pytest.warns(VolumeWarning, match='resolution tags'), pytest.raises(VolumeError, match='no cubes'): read_volume(tmp_path/'a.tif')


@pytest.mark.parametrize('tag, text', [(34680, '[Scan]\r\nPixelWidth=1.25e-09\r\nPixelHeight=1.25e-09\r\n'),
                                       (34118, '\r\n0\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 1.25 nm\r\n')])
def test_microscopes_leave_the_pixel_size_in_texts_of_their_own(tmp_path, image, tag, text):
    tifffile.imwrite(tmp_path/'a.tif', image[0], photometric='minisblack', metadata=None, extratags=[(tag, 's', 0, text, True)])
    raw = read_tiff(tmp_path/'a.tif')
    assert raw.voxel_A[:2] == (12.5, 12.5) and quiet(tmp_path/'a.tif').voxel_size_A == 12.5


def test_a_turned_image_is_told(tmp_path, image):
    tifffile.imwrite(tmp_path/'a.tif', image, photometric='minisblack', extratags=[(274, 'H', 1, 4, True)])
    with pytest.warns(VolumeWarning, match='orientation tag .4.'): np.testing.assert_array_equal(read_tiff(tmp_path/'a.tif').data, image)


# channels, times, colours, several images

@pytest.mark.parametrize('axes, words', [('ZCYX', '2 channels'), ('TZYX', '2 times'), ('TCYX', 'several volumes')])
def test_several_volumes_in_one_stack_are_named(tmp_path, image, axes, words):
    data = np.stack([image, image], axes.index('C' if 'C' in axes else 'T')) if axes != 'TCYX' else image.reshape(6, 2, 16, 20)
    with pytest.raises(VolumeError, match=f'{words}.*save one alone'): read_volume(imagej(tmp_path/'a.tif', data, 'nm', axes=axes))


def test_slices_under_another_name(tmp_path, image):
    with pytest.warns(VolumeWarning, match='12 times and no slices: taken as slices'): np.testing.assert_array_equal(read_volume(imagej(tmp_path/'a.tif', image, 'nm', spacing=10., axes='TYX')).data, image)
    with pytest.warns(VolumeWarning, match='12 channels and no slices'): np.testing.assert_array_equal(read_volume(imagej(tmp_path/'a.tif', image, 'nm', spacing=10., axes='CYX')).data, image)
    with pytest.raises(VolumeError, match='3 channels of one slice'): read_volume(imagej(tmp_path/'a.tif', image[:3], 'nm', axes='CYX'))
    np.testing.assert_array_equal(quiet(imagej(tmp_path/'a.tif', image[None, :, None], 'nm', spacing=10., axes='TZCYX')).data, image)      # one time, one channel
    with pytest.raises(VolumeError, match='axes QYQ'): as_sections(image, 'QYQ', False, 'a.tif')


@pytest.mark.parametrize('planar', ['contig', 'separate'])
@pytest.mark.parametrize('n', [1, 5])
@pytest.mark.parametrize('packed', [None, 'zlib'])
def test_colour_in_planes_is_colour(tmp_path, planar, n, packed):
    colour = np.random.default_rng(0).integers(0, 255, (n, 8, 9, 3), dtype=np.uint8)
    stored = colour if planar == 'contig' else np.moveaxis(colour, -1, 1)
    tifffile.imwrite(tmp_path/'a.tif', stored if n > 1 else stored[0], photometric='rgb', planarconfig=planar, compression=packed)
    volume = quiet(tmp_path/'a.tif', voxel_size_A=10)
    np.testing.assert_allclose(volume.data, to_gray(colour), rtol=1e-5)
    tifffile.imwrite(tmp_path/'b.tif', np.stack([stored[0][0] if planar == 'separate' else stored[0][..., 0]]*5), photometric='minisblack', planarconfig='separate' if planar == 'separate' else None)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore') # planes that are no colours are taken as slices, with a word
        assert read_tiff(tmp_path/'b.tif').data.shape == (5, 8, 9)


@pytest.mark.parametrize('n', [3, 4, 5, 12])
@pytest.mark.parametrize('planar', ['contig', 'separate'])
@pytest.mark.parametrize('packed', [None, 'zlib'])
def test_gray_samples_of_a_pixel_are_slices(tmp_path, n, planar, packed):
    "As MATLAB's Tiff writes a volume."
    image = np.random.default_rng(0).normal(size=(n, 20, 30)).astype(np.float32)
    stored = np.ascontiguousarray(np.moveaxis(image, 0, -1)) if planar == 'contig' else image
    tifffile.imwrite(tmp_path/'a.tif', stored, metadata=None, photometric='minisblack', planarconfig=planar, compression=packed)
    with pytest.warns(VolumeWarning, match=f'{n} samples and no slices: taken as slices'): np.testing.assert_array_equal(read_volume(tmp_path/'a.tif', voxel_size_A=10).data, image)
    if n > 4 and planar == 'contig':
        tifffile.imwrite(tmp_path/'b.tif', stored, metadata=None, photometric='rgb', planarconfig=planar, extrasamples=[0]*(n - 3))
        with pytest.warns(VolumeWarning, match=f'{n} samples'): np.testing.assert_array_equal(read_volume(tmp_path/'b.tif', voxel_size_A=10).data, image)


def test_the_colours_of_printers_are_refused(tmp_path):
    tifffile.imwrite(tmp_path/'a.tif', np.random.default_rng(0).integers(0, 255, (8, 9, 4), dtype=np.uint8), photometric='separated')
    with pytest.raises(VolumeError, match='4 colours of the kind SEPARATED are not understood; save it in gray'): read_tiff(tmp_path/'a.tif')


def odd_page(path, image, odd, number=5, **options):
    "A stack of which one page is another."
    with tifffile.TiffWriter(path) as tif:
        for k, page in enumerate(image): tif.write(odd if k == number else page, metadata=None, contiguous=False, photometric='minisblack', **(options if k == number else {}))
    return path


@pytest.mark.parametrize('change, words', [(lambda page: page[:9], '20 x 9 real numbers of 32 bits'), (lambda page: page[:, :9], '9 x 16 real'), (lambda page: np.pad(page, 1), '22 x 18 real'), (lambda page: page.astype('f2'), 'real numbers of 16 bits'),
                                           (lambda page: page.view('i4'), 'signed numbers of 32 bits'), (lambda page: page.view('u4'), 'unsigned numbers of 32 bits')])
def test_a_page_of_another_kind_is_named(tmp_path, image, change, words):
    path = odd_page(tmp_path/'a.tif', image, change(image[5]))
    with pytest.raises(VolumeError, match=f'page 6 holds .*{words}.*but page 1 20 x 16 real numbers of 32 bits.*; save the pages'): read_tiff(path)
    assert np.array_equal(read_tiff(odd_page(path, image, image[5])).data, image)


@pytest.mark.parametrize('number', [1, 5, 11])
def test_a_page_may_be_packed_in_its_own_way(tmp_path, image, number):
    for options in (dict(compression='zlib'), dict(compression='zlib', rowsperstrip=3), dict(compression='lzma')):
        np.testing.assert_array_equal(read_tiff(odd_page(tmp_path/'a.tif', image, image[number], number, **options)).data, image)


def test_the_largest_of_several_images(tmp_path, image):
    with tifffile.TiffWriter(tmp_path/'a.tif') as tif:
        tif.write(image[0, ::4, ::4], photometric='minisblack')
        tif.write(image, photometric='minisblack')
    with pytest.warns(VolumeWarning, match='2 images of 4 x 5, 12 x 16 x 20 voxels; number 2, the largest, taken'): np.testing.assert_array_equal(read_tiff(tmp_path/'a.tif').data, image)
    with tifffile.TiffWriter(tmp_path/'b.tif') as tif:
        for part in (image, image[:, :8], image[:, :, :15]): tif.write(part, photometric='minisblack')
    with pytest.raises(VolumeError, match='3 images of .* none clearly the largest; save the one'): read_tiff(tmp_path/'b.tif')
    with tifffile.TiffWriter(tmp_path/'c.ome.tif', ome=True) as tif:
        tif.write(image, subifds=1, metadata=dict(axes='ZYX', PhysicalSizeX=1., PhysicalSizeXUnit='nm', PhysicalSizeY=1., PhysicalSizeYUnit='nm', PhysicalSizeZ=1., PhysicalSizeZUnit='nm'))
        tif.write(image[:, ::2, ::2], subfiletype=1)
    np.testing.assert_array_equal(quiet(tmp_path/'c.ome.tif').data, image)      # a pyramid is one image


@pytest.mark.parametrize('compression', ['zlib', None])
def test_an_image_spread_over_files(tmp_path, image, compression):
    "OME names the other files; one that is missing is named as such."
    import uuid
    names, ids = [f'part{k}.ome.tif' for k in range(3)], [f'urn:uuid:{uuid.UUID(int=k)}' for k in range(3)]
    data = ''.join(f'<TiffData FirstZ="{k}" IFD="0" PlaneCount="1"><UUID FileName="{name}">{ids[k]}</UUID></TiffData>' for k, name in enumerate(names))
    for k, name in enumerate(names):
        text = OME.format('PhysicalSizeX="0.001" PhysicalSizeY="0.001" PhysicalSizeZ="0.001"').replace('SizeZ="12"', 'SizeZ="3"').replace('<TiffData/>', data).replace('<OME ', f'<OME UUID="{ids[k]}" ')
        tifffile.imwrite(tmp_path/name, image[k], photometric='minisblack', description=text.encode(), metadata=None, compression=compression)
    np.testing.assert_array_equal(quiet(tmp_path/names[0]).data, image[:3])
    (tmp_path/names[1]).unlink()
    with pytest.raises(VolumeError, match='names pages that are not in the file, nor in files beside it'): read_tiff(tmp_path/names[0])


@pytest.mark.parametrize('opened', [0, 1])
def test_an_image_in_another_file_is_read_from_there(tmp_path, image, opened):
    "OME: an unpacked page lies at the same byte of each file of a set; it must not be taken from the file that is opened."
    import uuid
    names, ids = ['a.ome.tif', 'b.ome.tif'], [f'urn:uuid:{uuid.UUID(int=k)}' for k in range(2)]
    data = f'<TiffData FirstZ="0" IFD="0" PlaneCount="1"><UUID FileName="{names[1]}">{ids[1]}</UUID></TiffData>'
    for k, name in enumerate(names):
        text = OME.format('PhysicalSizeX="0.001" PhysicalSizeY="0.001" PhysicalSizeZ="0.001"').replace('SizeZ="12"', 'SizeZ="1"').replace('<TiffData/>', data).replace('<OME ', f'<OME UUID="{ids[k]}" ')
        tifffile.imwrite(tmp_path/name, image[k], photometric='minisblack', description=text.encode(), metadata=None)
    np.testing.assert_array_equal(quiet(tmp_path/names[opened]).data, image[1:2])
    assert isinstance(read_tiff(tmp_path/names[1]).data, np.memmap)


def test_the_size_is_that_of_the_image_taken(tmp_path, image):
    with tifffile.TiffWriter(tmp_path/'a.ome.tif', ome=True) as tif:
        for part, size in ((image[:2], 50.), (image, 1.)):
            tif.write(part, metadata=dict(axes='ZYX', **{f'PhysicalSize{a}': size for a in 'XYZ'}, **{f'PhysicalSize{a}Unit': 'nm' for a in 'XYZ'}))
    with pytest.warns(VolumeWarning, match='number 2, the largest'): volume = read_volume(tmp_path/'a.ome.tif')
    np.testing.assert_array_equal(volume.data, image)
    assert volume.voxel_size_A == 10


# palettes and inverted grays: labels are the numbers, images what they show

PALETTE = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0), (10, 10, 200)], np.uint8)


def test_a_palette_gives_labels_their_numbers_and_images_their_luminance(tmp_path):
    labels = np.random.default_rng(0).integers(0, 4, (5, 8, 9), dtype=np.uint8)
    table = np.zeros((3, 256), np.uint16)
    table[:, :4] = PALETTE.T.astype(np.uint16)*257
    tifffile.imwrite(tmp_path/'a.tif', labels, photometric='palette', colormap=table)
    picture = Image.fromarray(labels[0]).convert('P')
    picture.putpalette(PALETTE.ravel().tolist())
    picture.save(tmp_path/'a.png')
    picture.save(tmp_path/'bits.png', bits=2)
    picture.save(tmp_path/'lzw.tif', compression='tiff_lzw')
    for name, stored in (('a.tif', labels), ('a.png', labels[:1]), ('bits.png', labels[:1]), ('lzw.tif', labels[:1])):
        np.testing.assert_array_equal(quiet(tmp_path/name, voxel_size_A=10, check=False).data, stored)
        np.testing.assert_allclose(quiet(tmp_path/name, voxel_size_A=10).data, to_gray(PALETTE[stored]), rtol=1e-5)


def test_a_gray_palette_is_gray(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (8, 9), dtype=np.uint8)
    Image.fromarray(image).convert('P').save(tmp_path/'a.png')
    volume = quiet(tmp_path/'a.png', voxel_size_A=10)
    assert volume.data.dtype == np.uint8
    np.testing.assert_array_equal(volume.data[0], image)


def test_false_colours_of_imagej_change_nothing(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (5, 8, 9), dtype=np.uint8)
    table = np.random.default_rng(1).integers(0, 65536, (3, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path/'a.tif', image, imagej=True, colormap=table, photometric='palette', metadata=dict(axes='ZYX'))
    np.testing.assert_array_equal(quiet(tmp_path/'a.tif', voxel_size_A=10).data, image)


@pytest.mark.parametrize('dtype', ['u1', 'u2', 'i2', 'f4'])
@pytest.mark.parametrize('packed', [None, 'zlib'])
def test_white_is_zero(tmp_path, dtype, packed):
    image = np.random.default_rng(0).integers(0, 200, (5, 8, 9)).astype(dtype)
    tifffile.imwrite(tmp_path/'a.tif', image, photometric='miniswhite', compression=packed)
    shown = quiet(tmp_path/'a.tif', voxel_size_A=10).data.astype(float)
    np.testing.assert_allclose(shown - shown.max(), image.min() - image.astype(float))
    if dtype[0] == 'u': np.testing.assert_array_equal(quiet(tmp_path/'a.tif', voxel_size_A=10, check=False).data, image)


@pytest.mark.parametrize('white_is_zero', [False, True])
@pytest.mark.parametrize('packing', ['raw', 'group4', 'tiff_lzw', 'tiff_deflate'])
def test_one_bit(tmp_path, white_is_zero, packing):
    mask = np.random.default_rng(0).random((40, 50)) > .5
    Image.fromarray(mask).save(tmp_path/'a.tif', compression=packing, tiffinfo={262: 0 if white_is_zero else 1})
    with tifffile.TiffFile(tmp_path/'a.tif') as tif: assert (int(tif.pages[0].photometric) == 0) == white_is_zero
    shown = quiet(tmp_path/'a.tif', voxel_size_A=10).data[0]
    with Image.open(tmp_path/'a.tif') as picture: np.testing.assert_array_equal(shown, np.asarray(picture))
    stored = quiet(tmp_path/'a.tif', voxel_size_A=10, check=False).data[0]
    np.testing.assert_array_equal(stored, 1 - shown if white_is_zero else shown)


@pytest.mark.parametrize('compression', ['tiff_lzw', 'tiff_deflate', 'packbits', 'tiff_adobe_deflate', 'jpeg', None])
@pytest.mark.parametrize('mode', ['L', 'RGB', 'I;16'])
def test_packings(tmp_path, compression, mode):
    if mode == 'I;16' and compression == 'jpeg': return
    planes = [np.add.outer(np.arange(24), np.arange(32)).astype(np.uint8) + k for k in range(3)]
    pages = [Image.fromarray(plane.astype(np.uint16)) if mode == 'I;16' else Image.fromarray(plane).convert(mode) for plane in planes]
    pages[0].save(tmp_path/'a.tif', save_all=True, append_images=pages[1:], compression=compression)
    data = quiet(tmp_path/'a.tif', voxel_size_A=10).data
    assert data.shape == (3, 24, 32)
    np.testing.assert_allclose(data, planes, atol=6 if compression == 'jpeg' else 0)


@pytest.mark.parametrize('options', [dict(tile=(16, 16)), dict(tile=(16, 16), compression='zlib'), dict(compression='lzma'), dict(rowsperstrip=3), dict(rowsperstrip=3, compression='zlib', predictor=True), dict(bigtiff=True), dict(bigtiff=True, byteorder='>', compression='zlib')])
@pytest.mark.parametrize('dtype', ['u1', 'u2', 'i2', 'f4', 'f2', 'f8'])
def test_layouts(tmp_path, image, options, dtype):
    if options.get('predictor') and dtype[0] == 'f': return
    data = (100 + 20*image).astype(dtype)
    tifffile.imwrite(tmp_path/'a.tif', data, photometric='minisblack', **options)
    np.testing.assert_array_equal(quiet(tmp_path/'a.tif', voxel_size_A=10).data, data)


def test_pictures_of_many_modes(tmp_path):
    gray = np.random.default_rng(0).integers(0, 255, (8, 9), dtype=np.uint8)
    for mode in ('L', 'LA', 'RGB', 'RGBA', 'P', '1', 'I;16'):
        picture = Image.fromarray(gray.astype(np.uint16)*200) if mode == 'I;16' else Image.fromarray(gray).convert(mode)
        picture.save(tmp_path/'a.png')
        expected = gray.astype(int)*200 if mode == 'I;16' else np.asarray(Image.fromarray(gray).convert('1')) if mode == '1' else gray
        np.testing.assert_array_equal(quiet(tmp_path/'a.png', voxel_size_A=10).data[0], expected)
    Image.fromarray(gray).convert('CMYK').save(tmp_path/'a.jpg', quality=95)
    assert quiet(tmp_path/'a.jpg', voxel_size_A=10).shape == (1, 8, 9)
    Image.fromarray(gray).save(tmp_path/'b.png', save_all=True, append_images=[Image.fromarray(255 - gray)])
    with pytest.warns(VolumeWarning, match='2 pictures in one file, the first taken'): np.testing.assert_array_equal(read_picture(tmp_path/'b.png').data, gray)


def test_labels_in_colour_are_ids(tmp_path):
    labels = np.random.default_rng(0).integers(0, 3, (4, 8, 9))
    colour = np.array([(0, 0, 0), (0, 255, 0), (255, 0, 0)], np.uint8)[labels]
    tifffile.imwrite(tmp_path/'a.tif', colour, photometric='rgb')
    tifffile.imwrite(tmp_path/'b.tif', colour, photometric='rgb', compression='zlib')
    Image.fromarray(colour[0]).save(tmp_path/'a.png')
    for name, expected in (('a.tif', labels), ('b.tif', labels), ('a.png', labels[:1])):
        with pytest.warns(VolumeWarning, match=r'each colour is an id, .0, 0, 0. is the background: .0, 255, 0. is 1, .255, 0, 0. is 2'): np.testing.assert_array_equal(read_volume(tmp_path/name, voxel_size_A=10, labels=True).data, expected)
        np.testing.assert_allclose(quiet(tmp_path/name, voxel_size_A=10).data, to_gray(colour)[:len(expected)], rtol=1e-5)
    tifffile.imwrite(tmp_path/'c.tif', np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8), photometric='rgb')
    with pytest.raises(VolumeError, match='in more than 256 colours: for labels, save it as gray numbers'): read_volume(tmp_path/'c.tif', voxel_size_A=10, labels=True)


def test_a_mask_in_the_opacity(tmp_path):
    mask = np.random.default_rng(0).random((20, 30)) > .5
    for value in (0, 255):
        Image.fromarray(np.dstack([np.full((20, 30, 3), value, np.uint8), 255*mask.astype(np.uint8)])).save(tmp_path/'a.png')
        with pytest.warns(VolumeWarning, match='its opacity is taken as the labels'): np.testing.assert_array_equal(read_volume(tmp_path/'a.png', voxel_size_A=10, labels=True).data[0], 255*mask)
        with pytest.warns(VolumeWarning, match='varies from 0 to 255 and is left out'), pytest.raises(VolumeError, match='constant'): read_volume(tmp_path/'a.png', voxel_size_A=10)


# hostile and broken files

@pytest.mark.parametrize('name, value', [('origin_A', 'here'), ('origin_A', [1, 2]), ('origin_A', [1, 2, 'x']), ('origin_A', [1, 2, float('nan')]), ('origin_A', 3), ('nstart', {'x': 1}),
                                         ('nstart', None), ('nstart', [[1], 2, 3]), ('voxel_size_A', 'ten'), ('voxel_size_A', -1), ('voxel_size_A', 0), ('voxel_size_A', float('inf')), ('voxel_size_A', [10]), ('voxel_size_A', True)])
def test_our_own_text_is_checked_at_once(tmp_path, image, name, value):
    tifffile.imwrite(tmp_path/'a.tif', image, photometric='minisblack', metadata={'axes': 'ZYX', 'voxel_size_A': 10., name: value})
    with pytest.raises(VolumeError, match=f'its text says {name} = '): read_tiff(tmp_path/'a.tif')


def test_truncated_files(tmp_path, image):
    for name, options in (('a.tif', {}), ('b.tif', dict(compression='zlib')), ('c.tif', dict(imagej=True)), ('d.tif', dict(tile=(16, 16), compression='zlib'))):
        tifffile.imwrite(tmp_path/name, image, **options)
        content = (tmp_path/name).read_bytes()
        for share in (.2, .5, .9):
            (tmp_path/name).write_bytes(content[:int(share*len(content))])
            with pytest.raises(VolumeError) as error: read_tiff(tmp_path/name)
            assert '\n' not in str(error.value)


def test_a_circle_of_pages(tmp_path, image):
    for name, big in (('a.tif', False), ('b.tif', True)):
        tifffile.imwrite(tmp_path/name, image, photometric='minisblack', metadata=None, bigtiff=big)
        content = bytearray((tmp_path/name).read_bytes())
        with tifffile.TiffFile(tmp_path/name) as tif: first, last = tif.pages[0].offset, tif.pages[11].offset
        n_tags = struct.unpack_from('<Q' if big else '<H', content, last)[0]
        struct.pack_into('<Q' if big else '<I', content, last + (8 + 20*n_tags if big else 2 + 12*n_tags), first)
        (tmp_path/name).write_bytes(content)
        with pytest.raises(VolumeError, match='its pages go round in a circle'): read_tiff(tmp_path/name)


def endless(path, n):
    "A TIFF of n empty pages."
    pages = b''.join(struct.pack('<HI', 0, 8 + 6*(k + 1)) for k in range(n - 1)) + struct.pack('<HI', 0, 0)
    path.write_bytes(b'II' + struct.pack('<HI', 42, 8) + pages)
    return path


def png_header(width, height, depth=8, colour=0):
    "A PNG whose header promises a size, with nothing behind."
    def chunk(kind, content): return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, 0)) + chunk(b'IDAT', zlib.compress(b'')) + chunk(b'IEND', b'')


def hostile(folder):
    "Files of promises and bombs."
    endless(folder/'pages.tif', 10**6)
    (folder/'wide.png').write_bytes(png_header(2**31 - 1, 2**31 - 1))
    (folder/'large.png').write_bytes(png_header(13_000, 13_000, colour=6))
    tifffile.imwrite(folder/'zeros.tif', np.broadcast_to(np.zeros((1, 1), np.uint8), (2**14, 2**15 + 1)), compression='zlib')
    tifffile.imwrite(folder/'small.tif', np.zeros((64, 64), np.uint8), compression='zlib')
    with tifffile.TiffFile(folder/'small.tif') as tif: tag = tif.pages[0].tags['StripOffsets'], tif.pages[0].tags['StripByteCounts']
    bomb = zlib.compress(bytes(2**26), 9)
    content = bytearray((folder/'small.tif').read_bytes())
    struct.pack_into('<I', content, tag[0].valueoffset, len(content))
    count = tag[1].valueoffset
    struct.pack_into('<H' if tag[1].dtype == 3 else '<I', content, count, min(len(bomb), 65535) if tag[1].dtype == 3 else len(bomb))
    (folder/'bomb.tif').write_bytes(bytes(content) + bomb)
    tifffile.imwrite(folder/'promise.tif', np.zeros((4, 4), np.uint8), metadata=None)
    with tifffile.TiffFile(folder/'promise.tif', mode='r+') as tif:
        for name in ('ImageWidth', 'ImageLength'): tif.pages[0].tags[name].overwrite(2**31 - 1)
    return ['pages.tif', 'wide.png', 'large.png', 'zeros.tif', 'bomb.tif', 'promise.tif']


@pytest.mark.skipif(sys.platform != 'linux', reason='peak memory is asked of Linux here')
def test_bombs_end_soon_and_small(tmp_path):
    "Each in a process of its own: one line, five seconds, a gigabyte."
    # not ru_maxrss: it begins with that of the process that started this one
    code = ('import sys, time; from pathlib import Path; from cryoseg.base.files import VolumeError; from cryoseg.base.formats import open_volume\n'
            'peak = lambda: int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))\n'
            'start = time.perf_counter()\n'
            'try: open_volume(Path(sys.argv[1])); word = "read"\n'
            'except VolumeError as error: word = str(error)\n'
            'print(time.perf_counter() - start, peak(), word)')
    for name in hostile(tmp_path):
        done = subprocess.run([sys.executable, '-c', code, str(tmp_path/name)], capture_output=True, text=True)
        seconds, kb, word = done.stdout.strip().split(' ', 2)
        assert done.returncode == 0 and word != 'read' and '\n' not in word, done
        assert float(seconds) < 5 and int(kb) < 2**20, (name, done.stdout)


@pytest.mark.skipif(sys.platform == 'win32', reason='Windows has no pipes in folders')
@pytest.mark.parametrize('name', ['a.tif', 'a.png'])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path/name)
    with pytest.raises(VolumeError, match='is a pipe'): (read_tiff if name == 'a.tif' else read_picture)(tmp_path/name)


@functools.cache
def seeds():
    "Small files of many kinds, as bytes."
    image = np.random.default_rng(0).integers(0, 200, (3, 8, 9)).astype(np.uint8)
    files = []
    for options in (dict(metadata=dict(axes='ZYX', voxel_size_A=10., origin_A=[1, 2, 3], nstart=[1, 2, 3])), dict(imagej=True, metadata=dict(axes='ZYX', unit='nm', spacing=1.)), dict(ome=True, metadata=dict(axes='ZYX')),
                    dict(compression='zlib'), dict(tile=(16, 16), compression='zlib'), dict(photometric='miniswhite'), dict(bigtiff=True), dict(byteorder='>', metadata=None)):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, image, **(dict(photometric='minisblack') | options))
        files.append(('.tif', buffer.getvalue()))
    for kind, mode in (('PNG', 'L'), ('PNG', 'P'), ('PNG', 'RGB'), ('JPEG', 'L'), ('TIFF', '1')):
        buffer = io.BytesIO()
        Image.fromarray(image[0]).convert(mode).save(buffer, kind)
        files.append(({'PNG': '.png', 'JPEG': '.jpg', 'TIFF': '.tif'}[kind], buffer.getvalue()))
    return files


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_damaged_files_end_in_a_word_or_a_volume(tmp_path, data):
    suffix, content = data.draw(st.sampled_from(seeds()))
    content = bytearray(content)
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 127, 128, 255])))
    content = content[:data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))]
    path = tmp_path/f'a{suffix}'
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try: assert (read_tiff if suffix == '.tif' else read_picture)(path).data.size > 0
        except VolumeError as error: assert '\n' not in str(error)


@pytest.mark.parametrize('unit', ['cm', 'mm', 'm'])
def test_a_size_that_cannot_be_is_quoted(tmp_path, image, unit):
    path = imagej(tmp_path/'a.tif', image, unit, (1.368, 1.368), 1.368)
    with pytest.warns(VolumeWarning, match=f'no voxel size that can be understood .the file says 1.368 {unit}.*--voxel-size'): assert not read_volume(path).voxel_size_known
    size = {f'PhysicalSize{a}': 1.368 for a in 'XYZ'} | {f'PhysicalSize{a}Unit': unit for a in 'XYZ'}
    tifffile.imwrite(tmp_path/'a.ome.tif', image, ome=True, metadata=dict(axes='ZYX', **size))
    with pytest.warns(VolumeWarning, match=f'the file says 1.368 {unit}'): assert not read_volume(tmp_path/'a.ome.tif').voxel_size_known
    np.savez(tmp_path/'a.npz', data=image, voxel_size_m=1.368)
    with pytest.warns(VolumeWarning, match='the file says 1.368e.10 x 1.368e.10 x 1.368e.10 Å a voxel'): assert not read_volume(tmp_path/'a.npz').voxel_size_known
