"Folders of chunks: what is seen from names, sizes and first bytes."
import itertools
import os
import sys

import numpy as np
import pytest
import zarr

from cryoseg.base import chunks
from cryoseg.base.chunks import Grid, check_grid, is_zarr, open_store, stored_chunks
from cryoseg.base.files import VolumeError
from cryoseg.base.formats import read_volume


def test_the_files_of_a_grid_cover_it_once():
    grid = Grid((5, 7, 4), (2, 3, 4), (1, 3, 2))
    seen = np.zeros(grid.shape, int)
    for place in grid.places(): seen[grid.region(place)] += 1
    assert (seen == 1).all() and grid.sides == (3, 3, 1) and grid.n_chunks == 5*3*2 and grid.per_file == 4


@pytest.mark.parametrize('shape, chunk', [((2000,)*3, (64,)*3), ((512, 1400, 1400), (32,)*3), ((20, 20, 20), (1, 1, 1)), ((1, 5000, 5000), (1, 512, 512)), ((8, 8, 8), (256, 256, 256))])
def test_ordinary_cuts_are_read(shape, chunk, monkeypatch):
    monkeypatch.setattr(chunks, 'check_memory', lambda n_bytes, path: None)
    check_grid(Grid(shape, chunk, chunk), 1, 'a.zarr')


@pytest.mark.parametrize('shape, chunk', [((200,)*3, (1, 1, 1)), ((5000,)*3, (32,)*3), ((4, 4, 4), (5000,)*3), ((1, 10**6, 10**6), (1, 1, 10**6))])
def test_absurd_cuts_are_refused(shape, chunk, monkeypatch):
    monkeypatch.setattr(chunks, 'check_memory', lambda n_bytes, path: None)
    with pytest.raises(VolumeError, match='a.zarr: .*chunk'): check_grid(Grid(shape, chunk, chunk), 1, 'a.zarr')


def test_far_too_many_files_are_not_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, 'MAX_CHUNKS', 5)
    for k in range(8): (tmp_path/f'{k}').write_text('x')
    with pytest.raises(VolumeError, match='more than 5 files'): stored_chunks(tmp_path, 3, open_store(tmp_path))


def test_the_store_is_the_uppermost_group(tmp_path):
    group = zarr.open_group(str(tmp_path/'a.zarr'), mode='w')
    group.create_group('labels').create_array('cells', data=np.ones((2, 2, 2)))
    assert open_store(tmp_path/'a.zarr'/'labels'/'cells').root == tmp_path/'a.zarr' and is_zarr(tmp_path/'a.zarr') and not is_zarr(tmp_path)


@pytest.mark.skipif(sys.platform == 'win32', reason='links are of Unix')
def test_links_of_data_managers_are_followed_when_asked(tmp_path):
    "As git-annex and DVC make them: each chunk, and each text, is a link into another folder."
    zarr.create_array(str(tmp_path/'a.zarr'), data=np.arange(64.).reshape(4, 4, 4), chunks=(2, 4, 4))
    (tmp_path/'annex').mkdir()
    names = itertools.count()
    for file in [f for f in (tmp_path/'a.zarr').rglob('*') if f.is_file()]:
        kept = tmp_path/'annex'/str(next(names))
        file.rename(kept)
        file.symlink_to(os.path.relpath(kept, file.parent))
    with pytest.raises(VolumeError, match='leads out of the store.*--follow-links'): read_volume(tmp_path/'a.zarr', voxel_size_A=10)
    assert read_volume(tmp_path/'a.zarr', voxel_size_A=10, follow_links=True).data.sum() == 63*32


def shard(folder):
    "An array of one shard of eight chunks, and the file that holds it."
    data = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
    zarr.create_array(str(folder), data=data, chunks=(2, 2, 2), shards=(4, 4, 4))
    return folder/'c'/'0'/'0'/'0'


def test_shards_that_point_outside_or_unpack_too_far(tmp_path):
    import numcodecs
    file = shard(tmp_path/'a.zarr')
    assert read_volume(tmp_path/'a.zarr', voxel_size_A=10).data.max() == 63
    whole = file.read_bytes()
    entries = np.frombuffer(whole[-8*16 - 4:-4], '<u8').reshape(8, 2).copy()
    def write(body):
        file.write_bytes(body + entries.tobytes() + b'0000')
    entries[2] = 10**6, 5
    write(whole[:-8*16 - 4])
    with pytest.raises(VolumeError, match='index points to byte 1000005'): read_volume(tmp_path/'a.zarr', voxel_size_A=10)
    bomb = numcodecs.Zstd().encode(bytes(2**24))
    entries[2] = len(whole) - 8*16 - 4, len(bomb)
    write(whole[:-8*16 - 4] + bomb)
    with pytest.raises(VolumeError, match='one of its chunks unpacks to 16 MB'): read_volume(tmp_path/'a.zarr', voxel_size_A=10)
    file.write_bytes(b'short')
    with pytest.raises(VolumeError, match='cannot be read as zarr'): read_volume(tmp_path/'a.zarr', voxel_size_A=10)
