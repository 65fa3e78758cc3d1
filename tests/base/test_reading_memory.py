"""No reader holds a volume in memory: what counts is anonymous memory, since pages of files are the system's to take back.

The knobs of what is looked at at once are turned down, so that small files show it; half of a volume is more than any step may take.
"""
import bz2
import gzip
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from cryoseg.base import amira, arrays, chunks, limits, scratch, tiff
from cryoseg.base import mrc as mrc_room
from cryoseg.base import volume as volume_room
from cryoseg.base.files import VolumeError
from cryoseg.base.formats import read_volume

from volume_files import extra2, mrc


CHILD = '''
import gc, json, re, sys, threading, time, warnings
from pathlib import Path
from cryoseg.base import amira, arrays, chunks, mrc, scratch, tiff, volume
from cryoseg.base.formats import describe, read_volume
from cryoseg.connect import labels
warnings.simplefilter('ignore')
scratch.IN_MEMORY_BYTES = 1 << 16
scratch.slabs.__defaults__ = (1 << 17,)
scratch.by_slabs.__defaults__ = (1 << 17,)
volume.SLAB_BYTES, volume.WRAPPED_PX = 1 << 20, 1 << 17
for room, names in ((amira, ['PART']), (arrays, ['CHUNK']), (chunks, ['BLOCK_BYTES']), (mrc, ['CHUNK']), (labels, ['LOOKED_PX', 'SORTED_VOXELS']),
                    (tiff, ['READ_BYTES', 'LARGE_PAGE', 'UNPACKED_AT_ONCE'])):
    for name in names: setattr(room, name, 1 << 18)
peak, going = 0, True

def anonymous():
    return 1024*int(re.search(r'RssAnon:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])

def watch():
    global peak
    while going:
        peak = max(peak, anonymous())
        time.sleep(.0005)

def work(path, options, how):
    if how == 'describe': return describe(path)
    data = read_volume(path, **options).data
    if how: data = getattr(labels, how)(data, 'a').data
    return sum(float(image.sum()) for image in data)

threading.Thread(target=watch, daemon=True).start()
for line in sys.stdin:
    small, large, options, how = json.loads(line)
    for k, v in options.items(): options[k] = tuple(v) if isinstance(v, list) else v
    work(Path(small), options, how)
    gc.collect()
    peak = base = anonymous()
    work(Path(large), options, how)
    print(json.dumps((peak - base)/2**20), flush=True)
going = False
'''
SHAPES = (8, 25, 50), (200, 100, 100)
MOST_MB = 4.5    # the volumes have 7.6


def volume(shape, dtype):
    "Numbers that pack well, in no order."
    rng = np.random.default_rng(0)
    line = (20*rng.standard_normal(shape[-1])).round()
    return np.add.outer(10*(np.arange(shape[0]*shape[1]) % 3), line).reshape(shape).astype(dtype)


def patches(shape, dtype):
    "Labels, in patches."
    z, y, x = np.ogrid[tuple(map(slice, shape))]
    return (((x//7 + y//7 + z//7) % 5 == 0)*(1 + (y//7) % 3)).astype(dtype)


def packed(path, data, opener):
    path.write_bytes(opener.compress(mrc(path.with_name('a.mrc'), data).read_bytes(), 1))
    return path


def shifted(path, data):
    "Bytes that IMOD has stored 128 lower."
    return mrc(path, data, extra2=extra2(a152=np.int32(1146047817), a156=np.int32(1)))


def tif(path, data, **options):
    tifffile.imwrite(path, data, metadata=dict(axes='ZYX'), **dict(dict(photometric='minisblack'), **options))
    return path


def pages(path, data, **options):
    with tifffile.TiffWriter(path) as file:
        for image in data: file.write(image, photometric='minisblack', contiguous=False, metadata=None, **options)
    return path


def rgb(path, data):
    tifffile.imwrite(path, np.stack([data, data + 1, data], -1), photometric='rgb')
    return path


def chunked(path, data, **options):
    zarr.create_array(str(path), data=data, chunks=(4, 25, 50) if len(data) < 10 else (40, 50, 50), **options)
    return path


def am(path, data, kind, packing='', form='BINARY-LITTLE-ENDIAN'):
    body = data.tobytes()
    if packing == 'HxZip': body = zlib.compress(body, 1)
    if packing == 'HxByteRLE': body = b''.join(bytes((100, value)) for value in data.ravel()[::100].tolist())
    if form == 'ASCII': body = b' '.join(b'%d' % value for value in data.ravel().tolist())
    z, y, x = data.shape
    head = f'# AmiraMesh {form} 2.1\ndefine Lattice {x} {y} {z}\nLattice {{ {kind} Labels }} @1'
    head += (f'({packing},{len(body)})' if packing else '') + '\n@1\n'
    path.write_bytes(head.encode() + body)
    return path


def save(path, data, how):
    with open(path, 'wb') as file: how(file, data)
    return path


def runs(shape):
    "Labels in runs of 100."
    n = int(np.prod(shape))//100
    return ((np.arange(n) % 3 == 0).repeat(100).astype(np.uint8))


CASES = {   # name of the file: kind of numbers, how it is written, options, and what is done beside reading
    'plain.mrc': ('f4', mrc, {}, ''), 'cut.mrc': ('f4', mrc, dict(z_range=[2, 7]), ''), 'binned.mrc': ('f4', mrc, dict(bin=2), ''),
    'inverted.mrc': ('f4', mrc, dict(invert=True), ''), 'turned.mrc': ('f4', mrc, dict(beam_axis='y', invert=True, bin=2), ''),
    'cubes.mrc': ('f4', lambda p, d: mrc(p, d, voxel_size=(10, 10, 14)), dict(resample=True), ''), 'half.mrc': ('f2', lambda p, d: mrc(p, d, voxel_size=(10, 10, 14)), dict(resample=True), ''),
    'big.mrc': ('>f4', mrc, {}, ''), 'bytes.mrc': ('u1', lambda p, d: shifted(p, (d.repeat(4, 0).astype(int) - 128).astype(np.int8)), {}, ''),
    'labels.mrc': ('f4 labels', mrc, dict(labels=True), 'read_labels'), 'ids.mrc': ('f4 labels', lambda p, d: mrc(p, d*70000), dict(labels=True, bin=2), 'read_ids'),
    'beside.mrc': ('f4 labels', lambda p, d: mrc(p, d*1.0001), dict(labels=True), 'read_ids'), 'info.mrc': ('f4', mrc, {}, 'describe'),
    'a.mrc.gz': ('f4', lambda p, d: packed(p, d, gzip), {}, ''), 'a.mrc.bz2': ('f4', lambda p, d: packed(p, d*(np.arange(len(d)) < 5)[:, None, None], bz2), {}, ''),
    'plain.tif': ('f4', tif, {}, ''), 'apart.tif': ('f4', pages, {}, ''), 'tiles.tif': ('>f4', lambda p, d: tif(p, d, tile=(32, 32), byteorder='>'), {}, ''),
    'zlib.tif': ('f4', lambda p, d: tif(p, d, compression='zlib'), {}, ''), 'lzw.tif': ('u1', lambda p, d: pillow(p, d.repeat(4, 0)), {}, ''),
    'page.tif': ('f4', lambda p, d: tif(p, d, tile=(16, 32, 32), volumetric=True, compression='zlib'), {}, ''), 'white.tif': ('f4', lambda p, d: tif(p, d, photometric='miniswhite'), {}, ''),
    'colour.tif': ('u1', rgb, {}, ''), 'coloured.tif': ('u1 labels', lambda p, d: rgb(p, d.repeat(4, 0)), dict(labels=True), 'read_labels'),
    'v2.zarr': ('f4', lambda p, d: chunked(p, d, zarr_format=2), {}, ''), 'shards.zarr': ('f4', lambda p, d: chunked(p, d, shards=d.shape), {}, ''),
    'sparse.zarr': ('f4 labels', lambda p, d: chunked(p, d*(np.arange(len(d)) > len(d)//2)[:, None, None]), dict(labels=True), ''),
    'a.am': ('f4', lambda p, d: am(p, d, 'float'), {}, ''), 'zip.am': ('f4', lambda p, d: am(p, d, 'float', 'HxZip'), {}, ''), 'text.am': ('i2', lambda p, d: am(p, d[:len(d)//2], 'float', form='ASCII'), {}, ''),
    'runs.am': ('u1', lambda p, d: am(p, runs(d.repeat(6, 0).shape).reshape(-1, *d.shape[1:]), 'byte', 'HxByteRLE'), {}, ''),
    'a.npy': ('f4', lambda p, d: save(p, d, np.save), {}, ''), 'a.npz': ('f4', lambda p, d: save(p, d, np.savez), {}, ''), 'packed.npz': ('f4', lambda p, d: save(p, np.asfortranarray(d), np.savez_compressed), {}, ''),
}


def pillow(path, data):
    "Packed as tifffile alone cannot read it."
    from PIL import Image
    images = [Image.fromarray(image) for image in data]
    images[0].save(path, save_all=True, append_images=images[1:], compression='tiff_lzw')
    return path


@pytest.fixture(scope='module')
def reader():
    "A process that reads what it is told, and says how much memory it took for it."
    environment = dict(os.environ, MALLOC_MMAP_THRESHOLD_='65536', MALLOC_TRIM_THRESHOLD_='65536', OMP_NUM_THREADS='1')
    with subprocess.Popen([sys.executable, '-c', CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield process
        process.stdin.close()


@pytest.mark.skipif(not Path('/proc/self/smaps_rollup').exists(), reason='Linux says what memory no file stands behind')
@pytest.mark.parametrize('name', CASES)
def test_no_volume_is_in_memory(name, reader, tmp_path):
    dtype, write, options, how = CASES[name]
    kind, _, is_labels = dtype.partition(' ')
    files = []
    for size, shape in zip(('small', 'large'), SHAPES):
        (tmp_path/size).mkdir()
        files.append(str(write(tmp_path/size/name, (patches if is_labels else volume)(shape, kind))))
    reader.stdin.write(json.dumps([*files, options, how]) + '\n')
    reader.stdin.flush()
    taken = json.loads(reader.stdout.readline() or 'null')
    assert taken is not None and taken < MOST_MB, f'{taken} MB'


SMALL = [(1, 17, 23), (7, 33, 29), (13, 8, 40)]


def numbers(shape, kind):
    "Voxels that every kind of numbers holds."
    image = np.random.default_rng(0).normal(size=shape)*20 + 60
    return image.round().clip(0, 120).astype(kind)


def in_bytes(packing):
    return lambda path, data: am(path, data, {1: 'byte', 2: 'short', 4: 'float'}[data.dtype.itemsize], packing, 'BINARY' if data.dtype.str[0] == '>' else 'BINARY-LITTLE-ENDIAN')


WRITERS = {'a.mrc.gz': lambda p, d: packed(p, d, gzip), 'a.mrc': mrc, 'pages.tif': pages, 'tiles.tif': lambda p, d: tif(p, d, tile=(16, 32), compression='zlib', byteorder='>' if d.dtype.str[0] == '>' else '<'),
           'page.tif': lambda p, d: tif(p, d, tile=(16, 16, 32), volumetric=True, compression='lzma'), 'v2.zarr': lambda p, d: cut(p, d, zarr_format=2), 'v3.zarr': lambda p, d: cut(p, d),
           'shards.zarr': lambda p, d: cut(p, d, shards=(10, 10, 10)), 'a.am': in_bytes(''), 'zip.am': in_bytes('HxZip'), 'a.npz': lambda p, d: save(p, d, lambda f, v: np.savez_compressed(f, data=np.asfortranarray(v)))}
OPTIONS = [dict(check=False), dict(bin=2), dict(invert=True, beam_axis='x'), dict(labels=True, bin=2), dict(labels=True, z_range=(0, 1))]


def cut(path, data, **options):
    zarr.create_array(str(path), data=data, chunks=(5, 5, 5), **options)
    return path


@pytest.fixture
def little_at_once(monkeypatch):
    "All arrays in temporary files, all pieces tiny."
    monkeypatch.setattr(scratch, 'IN_MEMORY_BYTES', 0)
    monkeypatch.setattr(volume_room, 'SLAB_BYTES', 1000)
    for function in (scratch.slabs, scratch.by_slabs): monkeypatch.setattr(function, '__defaults__', (300,))
    for room, names in ((amira, ['PART']), (arrays, ['CHUNK']), (chunks, ['BLOCK_BYTES']), (mrc_room, ['CHUNK']), (tiff, ['LARGE_PAGE', 'READ_BYTES', 'UNPACKED_AT_ONCE'])):
        for name in names: monkeypatch.setattr(room, name, 101)


@pytest.mark.filterwarnings('ignore::cryoseg.base.files.VolumeWarning')
@pytest.mark.parametrize('kind', ['i1', '<i2', '>i2', '<f4', '>f4'])
@pytest.mark.parametrize('name', WRITERS)
def test_the_same_numbers_wherever_they_lie(name, kind, tmp_path, little_at_once):
    for k, shape in enumerate(SMALL):
        data = numbers(shape, kind if name[-3:] != '.am' else kind.replace('i1', 'u1'))
        path = WRITERS[name]((tmp_path/str(k)).with_suffix('.' + name.partition('.')[2]), data)
        for options in OPTIONS:
            found = read_volume(path, voxel_size_A=10., **options).data
            np.testing.assert_array_equal(found, expected(data.astype(data.dtype.newbyteorder('=')), **options))
            assert found.dtype.isnative and found.dtype == (np.float32 if options.get('bin') and not options.get('labels') else np.dtype(data.dtype.newbyteorder('=')))


def expected(data, bin=1, invert=False, beam_axis=None, labels=False, z_range=None, check=True):
    "What reading does, to an array in memory."
    if beam_axis: data = data.swapaxes(0, 2)
    if z_range: data = data[slice(*z_range)]
    if invert: return np.invert(data) if data.dtype.kind in 'iu' else -data
    if bin == 1: return data
    depth = bin if len(data) > 1 else 1
    z, y, x = len(data)//depth, data.shape[1]//bin, data.shape[2]//bin
    blocks = data[:z*depth, :y*bin, :x*bin].reshape(z, depth, y, bin, x, bin).transpose(0, 2, 4, 1, 3, 5)
    if not labels: return blocks.astype(np.float32).mean((3, 4, 5))
    return np.array([commonest(block) for block in blocks.reshape(z*y*x, -1)]).reshape(z, y, x)


def commonest(block):
    "The most frequent label; of two that are equally frequent the one that is not 0, then the smaller."
    values, counts = np.unique(block, return_counts=True)
    return min(zip(-counts, values == 0, values))[2]


@pytest.mark.long
def test_what_no_memory_holds_is_read_where_the_disk_does(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, 'IN_MEMORY_BYTES', 0)
    data = numbers((40, 60, 60), 'f4')
    files = [WRITERS[name](tmp_path/name, data) for name in WRITERS]
    monkeypatch.setattr(limits, 'free_memory', lambda: 300_000.)    # of 576 kB
    for path in files: np.testing.assert_array_equal(read_volume(path, voxel_size_A=10.).data, data)
    disk = type('Disk', (), dict(total=10**9, free=300_000))
    monkeypatch.setattr(limits.shutil, 'disk_usage', lambda folder: disk)
    for path in files:
        if path.name not in ('a.mrc', 'a.am'):
            with pytest.raises(VolumeError, match=f'{path.name}: needs temporary files of 562 kB in .*; 293 kB are free.*TMPDIR'): read_volume(path, voxel_size_A=10.)
