"OME-Zarr and copick, whole and broken."
import json
import re
import shutil
import gzip
import os
import sys
import time
import warnings
import zlib

import numpy as np
import pytest
import zarr

from cryoseg.base.files import VolumeError, VolumeWarning
from cryoseg.base.formats import describe, read_meaning, read_volume
from cryoseg.base.zarr import zarr_doubt, zarr_place

from volume_files import quiet


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
    assert quiet(path, z_range=(2, 5)).shape == (3, 16, 20) and describe(path).format == f'OME-Zarr, zarr {zarr_format}'


@pytest.mark.parametrize('zarr_format', [2, 3])
def test_ome_zarr_of_odd_makes(tmp_path, image, zarr_format):
    seen = quiet(ome_zarr(tmp_path/'xyz.zarr', image.transpose(2, 1, 0).copy(), axes='xyz', shift=(1., 2., 3.), zarr_format=zarr_format))
    np.testing.assert_array_equal(seen.data, image)
    assert seen.origin_A == (1., 2., 3.)
    with pytest.warns(VolumeWarning, match='origin of .* makes no sense'): assert read_volume(ome_zarr(tmp_path/'far.zarr', image, shift=(1e300, 2., 3.), zarr_format=zarr_format)).origin_A == (0, 0, 0)
    np.testing.assert_array_equal(quiet(ome_zarr(tmp_path/'c.zarr', image[None], (1.,) + (10.,)*3, axes='czyx', zarr_format=zarr_format)).data, image)
    with pytest.raises(VolumeError, match='4 axes'): read_volume(ome_zarr(tmp_path/'cc.zarr', np.stack([image, image]), (1.,) + (10.,)*3, axes='czyx', zarr_format=zarr_format))
    with pytest.raises(VolumeError, match='no cubes'): read_volume(ome_zarr(tmp_path/'flat.zarr', image, (20., 10., 10.), zarr_format=zarr_format))
    with pytest.warns(VolumeWarning, match='10 with no unit.*--voxel-size'): assert read_volume(ome_zarr(tmp_path/'u.zarr', image, unit=None, zarr_format=zarr_format)).voxel_size_A == 10
    with pytest.warns(VolumeWarning, match='no voxel size'): read_volume(ome_zarr(tmp_path/'one.zarr', image, (1.,)*3, unit=None, zarr_format=zarr_format))
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
        assert quiet(name).voxel_size_A == describe(name).voxel_size_A == size
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


def test_scales_and_shifts_act_one_after_the_other():
    "A scale of the whole image also scales the shift of the array."
    axes = [dict(name=a, type='space', unit='nanometer') for a in 'zyx']
    level = dict(coordinateTransformations=[dict(type='scale', scale=[1., 1., 2.]), dict(type='translation', translation=[3., 2., 1.])])
    voxel, origin, nstart, disk = zarr_place(dict(axes=axes), level, 'a')
    assert (voxel, origin, nstart, disk) == ((20, 10, 10), (10, 20, 30), (0, 0, 0), (1, 2, 3))
    whole = dict(axes=axes, coordinateTransformations=[dict(type='scale', scale=[2., 2., 2.])])
    assert zarr_place(whole, level, 'a')[:2] == ((40, 20, 20), (20, 40, 60))
    assert zarr_place(dict(axes=['z', 'y', 'x']), level, 'a')[:2] == ((None,)*3, (0, 0, 0))     # no unit: nothing is said


# what other programs write

@pytest.mark.parametrize('axes, shape, scale', [('zyxc', (12, 16, 20, 1), (10., 10., 10., 1.)), ('tczyx', (1, 1, 12, 16, 20), (1., 1., 10., 10., 10.)), ('ztyx', (12, 1, 16, 20), (10., 5., 10., 10.)),
                                                ('ZYX', (12, 16, 20), (10.,)*3)])
def test_axes_in_any_order(tmp_path, image, axes, shape, scale):
    path = tmp_path/'a.zarr'
    group = zarr.open_group(str(path), mode='w', zarr_format=2)
    group.create_array('0', data=image.reshape(shape))
    types = dict(c='channel', t='time')
    group.attrs['multiscales'] = [dict(axes=[dict(name=a, type=types.get(a, 'space'), unit='angstrom') for a in axes],
                                       datasets=[dict(path='0', coordinateTransformations=[dict(type='scale', scale=scale)])])]
    seen = quiet(path)
    np.testing.assert_array_equal(seen.data, image)
    assert seen.voxel_size_A == 10


def image_of(path, levels, zarr_format=2, **text):
    "An image of given arrays: {path: array} and the rest of its `multiscales`."
    group = zarr.open_group(str(path), mode='w', zarr_format=zarr_format)
    for name, data in levels.items(): group.create_array(name, data=data)
    group.attrs.update(dict(multiscales=[text]))
    return path


def levels_of(**scales):
    "`datasets` with a scale for each."
    return [dict(path=name[1:], coordinateTransformations=[dict(type='scale', scale=[scale]*3)]) for name, scale in scales.items()]


ZYX = [dict(name=a, type='space', unit='angstrom') for a in 'zyx']


def test_the_finest_level_need_not_be_the_first(tmp_path, image):
    both = {'0': image[::2, ::2, ::2], '1': image}
    assert quiet(image_of(tmp_path/'a.zarr', both, axes=ZYX, datasets=levels_of(_0=20., _1=10.))).shape == image.shape
    early = image_of(tmp_path/'b.zarr', both, datasets=[dict(path='0'), dict(path='1')])          # 0.1: no axes, no scales
    with pytest.warns(VolumeWarning, match='no voxel size'): assert read_volume(early).shape == image.shape
    named = image_of(tmp_path/'c.zarr', {'s0': image}, axes=['z', 'y', 'x'], datasets=[dict(path='s0')])       # 0.3
    assert quiet(named, voxel_size_A=10).shape == image.shape
    five = image_of(tmp_path/'d.zarr', {'0': image[None, None]}, version='0.2', datasets=[dict(path='0')])     # always t, c, z, y, x
    np.testing.assert_array_equal(quiet(five, voxel_size_A=10).data, image)


@pytest.mark.parametrize('levels, level, voxel, said', [(dict(_0=1., _1=2.), '1', None, ''), (dict(_0=5., _1=10.), '1', 10., '10 with no unit'), (dict(_0=.5, _1=1.), '0', None, '0.5 with no unit'),
                                                        (dict(_0=13.48), '0', 13.48, '13.48 with no unit'), (dict(_0=1348.), '0', None, '1348 with no unit')])
def test_a_scale_without_a_unit(levels, level, voxel, said):
    image = dict(axes=[dict(name=a) for a in 'zyx'], datasets=levels_of(**levels))
    one = next(entry for entry in image['datasets'] if entry['path'] == level)
    assert zarr_place(image, one, 'a').voxel_A == (voxel,)*3 and zarr_doubt(image, one, 'a') == said


@pytest.mark.parametrize('step, said', [(dict(type='affine', affine=[[1]]), "a transformation of type 'affine'"), (dict(type='identity'), ''), (dict(type='sequence', transformations=[dict(type='scale', scale=[10.]*3)]), '')])
def test_transformations_of_other_kinds(step, said):
    image = dict(axes=ZYX, datasets=[dict(path='0', coordinateTransformations=[step])])
    assert zarr_doubt(image, image['datasets'][0], 'a') == said
    assert zarr_place(image, image['datasets'][0], 'a').voxel_A == ((10.,)*3 if step['type'] == 'sequence' else (None,)*3)


def test_words_of_the_unit_are_quoted(tmp_path, image):
    with pytest.warns(VolumeWarning, match="the file says 10 'furlong'"): assert not read_volume(ome_zarr(tmp_path/'a.zarr', image, unit='furlong')).voxel_size_known


def test_groups_of_images(tmp_path, image):
    "A microscope file, label images, plates: the only image is read, several are named."
    root = zarr.open_group(str(tmp_path/'a.zarr'), mode='w', zarr_format=2)
    root.attrs['bioformats2raw.layout'] = 3
    ome_zarr(tmp_path/'a.zarr'/'0', image)
    np.testing.assert_array_equal(quiet(tmp_path/'a.zarr').data, image)
    ome_zarr(tmp_path/'a.zarr'/'1', image)
    with pytest.raises(VolumeError, match='holds 2 images .0, 1.; give one of them: a.zarr/0'): read_volume(tmp_path/'a.zarr')
    assert quiet(tmp_path/'a.zarr'/'1').voxel_size_A == 10
    path = ome_zarr(tmp_path/'b.zarr', image)
    zarr.open_group(str(path/'labels'), mode='w', zarr_format=2).attrs['labels'] = ['cells']
    seven = np.where(image > 1, 7, 0).astype(np.uint32)
    ome_zarr(path/'labels'/'cells', seven, more={'image-label': {}})
    for place in (path/'labels', path/'labels'/'cells'): np.testing.assert_array_equal(quiet(place, labels=True).data, seven)
    for name in ('plate', 'well'):
        zarr.open_group(str(tmp_path/'p.zarr'), mode='w', zarr_format=2).attrs[name] = {}
        with pytest.raises(VolumeError, match=f'a {name} of'): read_volume(tmp_path/'p.zarr')


def test_a_group_under_another_suffix_and_arrays_deep_within(tmp_path, image):
    assert quiet(ome_zarr(tmp_path/'tomo', image)).voxel_size_A == 10
    path = image_of(tmp_path/'deep.zarr', {'scale0/image': image}, axes=ZYX, datasets=[dict(path='scale0/image', coordinateTransformations=[dict(type='scale', scale=[10.]*3)])])
    assert quiet(path).voxel_size_A == quiet(path/'scale0'/'image').voxel_size_A == 10


def test_named_dimensions_of_a_bare_array(tmp_path, image):
    zarr.create_array(str(tmp_path/'a.zarr'), data=image.transpose(2, 1, 0), dimension_names=('x', 'y', 'z'))
    np.testing.assert_array_equal(quiet(tmp_path/'a.zarr', voxel_size_A=10).data, image)


def test_consolidated_texts(tmp_path, image):
    path = ome_zarr(tmp_path/'a.zarr', image)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        zarr.consolidate_metadata(str(path))
    np.testing.assert_array_equal(quiet(path).data, image)


# missing chunks

def small(folder, empty_chunks, zarr_format=3, shards=None, fill=0):
    "Labels in eight chunks, of which seven are empty."
    data = np.zeros((8, 8, 8), np.uint8)
    data[:4, :4, :4] = 1
    zarr.create_array(str(folder), data=data, chunks=(2, 2, 2) if shards else (4, 4, 4), shards=shards, zarr_format=zarr_format, fill_value=fill, config=dict(write_empty_chunks=empty_chunks))
    return data


@pytest.mark.parametrize('zarr_format, shards', [(2, None), (3, None), (3, (4, 4, 4))])
def test_empty_chunks_of_labels_are_left_out(tmp_path, zarr_format, shards):
    data = small(tmp_path/'a.zarr', False, zarr_format, shards)
    with pytest.warns(VolumeWarning, match='7 of 8 chunks are missing .the first: .* and read as 0'): seen = read_volume(tmp_path/'a.zarr', labels=True, voxel_size_A=10)
    np.testing.assert_array_equal(seen.data, data)
    with pytest.raises(VolumeError, match='7 of 8 chunks are missing.*--allow-missing'): read_volume(tmp_path/'a.zarr', voxel_size_A=10)
    with pytest.warns(VolumeWarning, match='7 of 8'): assert read_volume(tmp_path/'a.zarr', voxel_size_A=10, allow_missing=True).data.sum() == 64


@pytest.mark.parametrize('zarr_format', [2, 3])
def test_half_a_copy_is_told(tmp_path, zarr_format):
    small(tmp_path/'a.zarr', True, zarr_format)
    chunk = tmp_path/'a.zarr'/('1.0.1' if zarr_format == 2 else 'c/1/0/1')
    chunk.unlink()
    for labels in (False, True):
        with pytest.raises(VolumeError, match=f'1 of 8 chunks is missing .*{chunk.name}'): read_volume(tmp_path/'a.zarr', labels=labels, voxel_size_A=10)
    shutil.rmtree(tmp_path/'a.zarr'/'c') if zarr_format == 3 else [f.unlink() for f in (tmp_path/'a.zarr').glob('*.*.*') if f.name[0] != '.']
    with pytest.raises(VolumeError, match='8 of 8 chunks are missing'): read_volume(tmp_path/'a.zarr', labels=True, voxel_size_A=10)
    with pytest.raises(VolumeError, match='8 of 8'): read_volume(tmp_path/'a.zarr', allow_missing=True, voxel_size_A=10)      # nothing at all


def test_a_fill_that_is_not_0_is_no_empty_label(tmp_path):
    small(tmp_path/'a.zarr', False, fill=3)
    (tmp_path/'a.zarr'/'c'/'1'/'1'/'1').unlink()
    with pytest.raises(VolumeError, match='1 of 8 chunks is missing'): read_volume(tmp_path/'a.zarr', labels=True, voxel_size_A=10)


# hostile stores

def bare(folder, shape, chunks, dtype='|u1', compressor=None, **more):
    "The text of an array of zarr 2 alone."
    folder.mkdir()
    (folder/'.zarray').write_text(json.dumps(dict(zarr_format=2, shape=shape, chunks=chunks, dtype=dtype, compressor=compressor, fill_value=0, filters=None, order='C') | more))
    return folder


def refused(path, words, **options):
    "The one line of a refusal, which comes at once."
    start = time.perf_counter()
    with pytest.raises(VolumeError, match=words) as error: read_volume(path, voxel_size_A=10, **options)
    assert '\n' not in str(error.value) and path.name in str(error.value) and len(str(error.value)) < 700
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize('labels', [False, True])
def test_promises_without_chunks(tmp_path, labels):
    refused(bare(tmp_path/'a.zarr', [2000]*3, [200]*3), '1000 of 1000 chunks are missing|needs .* of memory', labels=labels)
    refused(bare(tmp_path/'b.zarr', [200]*3, [1]*3), '8000000 chunks of 1 x 1 x 1 voxels', labels=labels)
    refused(bare(tmp_path/'c.zarr', [10**6]*3, [10**4]*3), 'chunks of|memory', labels=labels)
    refused(bare(tmp_path/'d.zarr', [4]*3, [2000]*3), 'a chunk of 7.45 GB for an array of 64 bytes', labels=labels)
    refused(bare(tmp_path/'e.zarr', [4]*3, [0]*3), 'cannot be read', labels=labels)
    refused(bare(tmp_path/'f.zarr', [-4]*3, [4]*3), 'f.zarr', labels=labels)


@pytest.mark.parametrize('codec, pack', [('zlib', zlib.compress), ('gzip', gzip.compress)])
def test_chunks_that_unpack_to_more_than_their_place(tmp_path, codec, pack):
    path = bare(tmp_path/'a.zarr', [4]*3, [4]*3, compressor=dict(id=codec, level=1))
    (path/'0.0.0').write_bytes(pack(bytes(2**26)))
    refused(path, 'the chunk 0.0.0 of .* unpacks to .*, its place holds 64 bytes')


@pytest.mark.parametrize('codec', ['blosc', 'zstd', 'lz4', 'bz2', 'lzma'])
def test_every_packing_is_asked_how_long_it_is(tmp_path, codec):
    import numcodecs
    packer = numcodecs.get_codec(dict(id=codec))
    good = bare(tmp_path/'good.zarr', [4]*3, [4]*3, compressor=packer.get_config())
    (good/'0.0.0').write_bytes(packer.encode(np.arange(64, dtype=np.uint8)))
    assert quiet(good, voxel_size_A=10).data.max() == 63
    bad = bare(tmp_path/'bad.zarr', [4]*3, [4]*3, compressor=packer.get_config())
    (bad/'0.0.0').write_bytes(packer.encode(np.zeros(2**24, np.uint8)))
    refused(bad, 'its place holds 64 bytes')


@pytest.mark.parametrize('more', [dict(filters=[dict(id='pickle', protocol=5)]), dict(compressor=dict(id='pickle', protocol=5)), dict(compressor=dict(id='json2')), dict(filters=[dict(id='base64')])])
def test_codecs_that_run_code_are_never_used(tmp_path, more):
    path = bare(tmp_path/'a.zarr', [4]*3, [4]*3, **more)
    (path/'0.0.0').write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path/'ran').encode() + b"'\ntR.")
    refused(path, "packed by '(pickle|json2|base64)', which is not read|pickle|json2")
    assert not (tmp_path/'ran').exists()


@pytest.mark.skipif(sys.platform == 'win32', reason='pipes and links are of Unix')
def test_pipes_and_links(tmp_path, image):
    path = ome_zarr(tmp_path/'a.zarr', image, levels=1)
    chunk = path/'0'/'0.0.0'
    chunk.rename(tmp_path/'elsewhere')
    os.mkfifo(chunk)
    refused(path, 'is a pipe')
    chunk.unlink()
    chunk.symlink_to(tmp_path/'elsewhere')
    refused(path, '0/0.0.0 is a link that leads out of the store.*--follow-links')
    np.testing.assert_array_equal(quiet(path, follow_links=True).data, image)
    chunk.unlink()
    chunk.symlink_to('0.0.1')
    assert read_volume(path, voxel_size_A=10).shape == image.shape                     # a link within the store
    chunk.unlink()
    chunk.symlink_to('0.0.0')                                                       # a circle
    refused(path, 'missing|symbolic links')
    ome_zarr(tmp_path/'b.zarr', image, levels=1)
    (path/'0').rename(tmp_path/'array')
    (path/'0').symlink_to(tmp_path/'array')
    refused(path, '0 is a link that leads out')
    (path/'0').unlink()
    (path/'0').symlink_to('..')
    refused(path, 'link that leads out')
    whole = tmp_path/'link.zarr'
    whole.symlink_to(tmp_path/'b.zarr')
    np.testing.assert_array_equal(quiet(whole).data, image)                         # the user's own link


@pytest.mark.parametrize('name', ['../secret', '/etc', '..', '', 'labels', None, 7, ['0'], '0'*5000, 'a\0b'])
def test_levels_that_lead_elsewhere(tmp_path, image, name):
    ome_zarr(tmp_path/'secret', image)
    path = ome_zarr(tmp_path/'a.zarr', image, levels=1)
    zarr.open_group(str(path/'labels'), mode='w', zarr_format=2)
    zarr.open_group(str(path), mode='a').attrs['multiscales'] = [dict(axes=ZYX, datasets=[dict(path=name, coordinateTransformations=[dict(type='scale', scale=[10.]*3)])])]
    refused(path, 'a.zarr')


@pytest.mark.parametrize('text', ['[' * 100_000, '{"a":' * 50_000, '{', '', '[]', '3', '{"multiscales": 3}', '{"multiscales": [3]}', '{"multiscales": {"a": 1}}', '{"multiscales": [{"datasets": 7}]}', '{"ome": 3}', '\ud800', '{"multiscales": [{"datasets": [[]]}]}',
                                  '{"multiscales": [{"axes": 7, "datasets": [{"path": "0"}]}]}', '{"multiscales": [{"axes": [{"name": 3}], "datasets": [{"path": "0"}]}]}', '{"multiscales": [{"coordinateTransformations": 5, "datasets": [{"path": "0"}]}]}'])
def test_texts_of_nonsense(tmp_path, image, text):
    path = ome_zarr(tmp_path/'a.zarr', image)
    (path/'.zattrs').write_bytes(text.encode('utf-8', 'surrogatepass'))
    refused(path, 'a.zarr')
    assert read_meaning(path) == {}


def test_texts_that_are_far_too_long(tmp_path, image):
    path = ome_zarr(tmp_path/'a.zarr', image)
    with open(path/'.zattrs', 'r+b') as file: file.truncate(2**33)
    refused(path, '.zattrs has 8 GB')
    assert read_meaning(path) == {}


@pytest.mark.parametrize('name, words', [('a.n5', 'it is N5'), ('a.zarr.zip', 'a zip archive'), ('a.ozx', 'zipped OME-Zarr'), ('a.h5', 'HDF5'), ('a.em', 'e2proc3d')])
def test_formats_of_others_are_named(tmp_path, name, words):
    (tmp_path/name).write_text('x')
    with pytest.raises(VolumeError, match=words): read_volume(tmp_path/name)
    (tmp_path/'folder').mkdir(exist_ok=True)
    (tmp_path/'folder'/'attributes.json').write_text('{}')
    with pytest.raises(VolumeError, match='it is N5'): read_volume(tmp_path/'folder')
