"OME-Zarr and copick, whole and broken."
import json
import re
import shutil
import sys

import numpy as np
import pytest
import zarr

from cryoseg.base.files import VolumeError, VolumeWarning
from cryoseg.base.formats import describe, read_meaning, read_volume
from cryoseg.base.zarr import zarr_place

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
