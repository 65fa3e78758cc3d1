"TIFF stacks and pictures of many programs."
import numpy as np
import pytest
import tifffile
from PIL import Image

from cryoseg.base.volume import Volume
from cryoseg.base.formats import write_volume
from cryoseg.base.tiff import read_tiff, to_gray

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


def test_an_unknown_unit_is_silence(tmp_path, image):
    tifffile.imwrite(tmp_path/'a.tif', image, imagej=True, resolution=(2, 2), metadata=dict(spacing=.5, unit='parsec', axes='ZYX'))
    assert read_tiff(tmp_path/'a.tif').voxel_A == (None, None, None)
    tifffile.imwrite(tmp_path/'a.tif', image)
    assert read_tiff(tmp_path/'a.tif').voxel_A == (None, None, None)
