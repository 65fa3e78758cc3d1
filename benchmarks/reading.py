"""Memory and time to read one volume from each kind of file, and with each option that changes its voxels.

Each file is read in a process of its own, which then goes through all slices once. What counts is anonymous memory (RssAnon of Linux,
sampled a hundred times a second) above that of the process after its imports: pages of files that are mapped are the system's to take back.
"""
import gzip
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mrcfile
import numpy as np

from _memory import anonymous_bytes
from _tables import arguments, finish, print_table

MODES = {'read': 'read_volume and all slices', 'info': 'cryoseg info', 'labels': 'read_volume and read_labels', 'walls': 'read_volume and thin_walls'}


def noise(n_voxels, dtype, rng):
    "A volume whose slices repeat, so that it is made fast; packed it is about half as large."
    side = int((n_voxels/.2)**(1/3)) // 8 * 8
    shape = max(8, side//5), side, side
    block = (20*rng.standard_normal((4, *shape[1:]), np.float32) + (np.indices(shape[1:]).sum(0) // 40 % 50)).round().clip(-128, 127)
    return np.tile(block.astype(dtype), (-(-shape[0]//4), 1, 1))[:shape[0]]


def mask(n_voxels, rng):
    "Walls, 24 voxels thick."
    shape = noise(n_voxels, np.int8, rng).shape
    z, y, x = np.ogrid[tuple(slice(n) for n in shape)]
    made = np.zeros(shape, np.uint8)
    for k in range(shape[0]): made[k] = np.abs((np.sqrt((y - shape[1]/2)**2 + (x - shape[2]/2)**2 + (k - shape[0]/2)**2)[0] % 120) - 60) < 12
    return made


def write_mrc(path, data, flag=None, big=False):
    data = data.astype(data.dtype.newbyteorder('>')) if big else data
    with mrcfile.new(path, data, overwrite=True) as file:
        file.voxel_size = 10.
        if flag is not None:
            extra = bytearray(file.header.extra2.tobytes())
            extra[40:48] = np.array([1146047817, flag], 'i4').tobytes()
            file.header.extra2 = np.void(bytes(extra))
    return path


def write_gz(path, data, opener=None, **options):
    plain = write_mrc(path.with_suffix(''), data)
    with (opener or gzip.open)(path, 'wb', **options) as out: out.write(plain.read_bytes())
    return path


def write_tif(path, data, **options):
    import tifffile
    tifffile.imwrite(path, data, photometric='minisblack', metadata=dict(axes='ZYX'), **options)
    return path


def write_pages(path, data):
    "Pages that do not lie one behind the other."
    import tifffile
    with tifffile.TiffWriter(path) as file:
        for k, image in enumerate(data): file.write(image, photometric='minisblack', contiguous=False, description='x'*(k % 3 + 1), metadata=None)
    return path


def write_zarr(path, data, image=False, **options):
    import zarr
    options = dict(chunks=(64, 128, 128), **options)
    if not image:
        zarr.create_array(str(path), data=data, **options)
        return path
    group = zarr.open_group(str(path), mode='w')
    group.create_array('0', data=data, **options)
    axes = [dict(name=name, type='space', unit='angstrom') for name in 'zyx']
    group.attrs['ome'] = dict(version='0.5', multiscales=[dict(axes=axes, datasets=[dict(path='0', coordinateTransformations=[dict(type='scale', scale=[10., 10., 10.])])])])
    return path


AMIRA = '# AmiraMesh {form} 2.1\n\ndefine Lattice {x} {y} {z}\n\nParameters {{ CoordType "uniform" BoundingBox 0 {x} 0 {y} 0 {z} }}\n\nLattice {{ {kind} Labels }} @1{packing}\n\n# Data section follows\n@1\n'


def write_amira(path, data, packing='', form='BINARY-LITTLE-ENDIAN', kind='byte'):
    import zlib
    body = data.tobytes()
    if packing == 'HxZip': body = zlib.compress(body, 1)
    if packing == 'HxByteRLE': body = runs(data.ravel())
    if form == 'ASCII': body = ' '.join(map(str, data.ravel().tolist())).encode()
    z, y, x = data.shape
    head = AMIRA.format(form=form, x=x, y=y, z=z, kind=kind, packing=f'({packing},{len(body)})' if packing else '')
    path.write_bytes(head.encode() + body)
    return path


def runs(flat):
    "HxByteRLE of runs alone."
    ends = np.append(np.flatnonzero(np.diff(flat)) + 1, flat.size)
    starts = np.append(0, ends[:-1])
    out = bytearray()
    for start, end, value in zip(starts.tolist(), ends.tolist(), flat[starts].tolist()):
        n = end - start
        out += bytes((127, value))*(n//127) + (bytes((n % 127, value)) if n % 127 else b'')
    return bytes(out)


def write_numpy(path, data, save):
    with open(path, 'wb') as file: save(file, data)
    return path


def kinds():
    "(name, kind of numbers, function (folder, data) -> path, options of read_volume, what is done)."
    import bz2
    plain = lambda f, d: write_mrc(f/'a.mrc', d)    # noqa: E731
    labels = lambda f, d: write_mrc(f/'a.mrc', d.astype(np.int8))   # noqa: E731
    return [
        ('mrc', 'f4', plain, {}, 'read'), ('mrc', 'f4', plain, {}, 'info'), ('mrc --z-range', 'f4', plain, dict(z_range=(5, 25)), 'read'),
        ('mrc --bin 2', 'f4', plain, dict(bin=2), 'read'), ('mrc --invert', 'f4', plain, dict(invert=True), 'read'),
        ('mrc --beam-axis y --invert', 'f4', plain, dict(beam_axis='y', invert=True), 'read'),
        ('mrc --resample', 'f4', lambda f, d: oblong(f/'a.mrc', d), dict(resample=True), 'read'),
        ('mrc big-endian', 'f4', lambda f, d: write_mrc(f/'a.mrc', d, big=True), {}, 'read'),
        ('mrc bytes stored 128 lower', 'i1', lambda f, d: write_mrc(f/'a.mrc', d, flag=1), {}, 'read'), ('mrc, labels', 'mask', labels, dict(labels=True), 'labels'),
        ('mrc, labels --bin 2', 'mask', labels, dict(labels=True, bin=2), 'labels'), ('mrc, labels float32', 'mask', lambda f, d: write_mrc(f/'a.mrc', d.astype(np.float32)*300), dict(labels=True), 'labels'),
        ('mrc, thick walls', 'mask', labels, dict(labels=True), 'walls'),
        ('mrc.gz', 'i1', lambda f, d: write_gz(f/'a.mrc.gz', d, compresslevel=1), {}, 'read'), ('mrc.gz', 'i1', lambda f, d: write_gz(f/'a.mrc.gz', d, compresslevel=1), {}, 'info'),
        ('mrc.bz2', 'mask', lambda f, d: write_gz(f/'a.mrc.bz2', d.astype(np.int8), bz2.open, compresslevel=1), {}, 'read'),
        ('tif', 'f4', lambda f, d: write_tif(f/'a.tif', d), {}, 'read'), ('tif, pages apart', 'f4', lambda f, d: write_pages(f/'a.tif', d), {}, 'read'),
        ('tif, tiles', 'f4', lambda f, d: write_tif(f/'a.tif', d, tile=(128, 128)), {}, 'read'),
        ('tif, zlib strips', 'i1', lambda f, d: write_tif(f/'a.tif', d, compression='zlib', compressionargs=dict(level=1)), {}, 'read'), ('tif, zlib strips', 'i1', lambda f, d: write_tif(f/'a.tif', d, compression='zlib', compressionargs=dict(level=1)), {}, 'info'),
        ('tif, zlib tiles', 'i1', lambda f, d: write_tif(f/'a.tif', d, tile=(128, 128), compression='zlib', compressionargs=dict(level=1)), {}, 'read'),
        ('tif, zlib, one page', 'i1', lambda f, d: write_tif(f/'a.tif', d, tile=(16, 128, 128), volumetric=True, compression='zlib', compressionargs=dict(level=1)), {}, 'read'),
        ('zarr 2', 'i1', lambda f, d: write_zarr(f/'a.zarr', d, zarr_format=2), {}, 'read'), ('zarr 3, shards', 'i1', lambda f, d: write_zarr(f/'a.zarr', d, shards=(128, 256, 256)), {}, 'read'),
        ('ome-zarr', 'f4', lambda f, d: write_zarr(f/'a.zarr', d, image=True), {}, 'read'), ('ome-zarr', 'f4', lambda f, d: write_zarr(f/'a.zarr', d, image=True), {}, 'info'),
        ('am', 'f4', lambda f, d: write_amira(f/'a.am', d, kind='float'), {}, 'read'), ('am, HxByteRLE', 'mask', lambda f, d: write_amira(f/'a.am', d, 'HxByteRLE'), dict(labels=True), 'labels'),
        ('am, HxZip', 'mask', lambda f, d: write_amira(f/'a.am', d, 'HxZip'), dict(labels=True), 'labels'), ('am, text', 'mask', lambda f, d: write_amira(f/'a.am', d[:len(d)//8], form='ASCII'), dict(labels=True), 'labels'),
        ('npy', 'f4', lambda f, d: write_numpy(f/'a.npy', d, np.save), {}, 'read'), ('npz', 'mask', lambda f, d: write_numpy(f/'a.npz', d, np.savez_compressed), {}, 'read'), ('npz, not packed', 'f4', lambda f, d: write_numpy(f/'a.npz', d, np.savez), {}, 'read'),
    ]


def oblong(path, data):
    "Voxels that are no cubes."
    with mrcfile.new(path, data, overwrite=True) as file: file.voxel_size = (10., 10., 14.)
    return path


def child(path, options, mode):
    "Read, in a process of its own; the memory after the imports and the CPU seconds of the reading go to the standard output."
    import warnings

    import scipy.ndimage    # noqa: F401
    import tifffile         # noqa: F401
    import zarr             # noqa: F401

    from cryoseg.base.formats import describe, read_volume
    from cryoseg.connect.labels import read_labels
    from cryoseg.connect.membranes import thin_walls
    warnings.simplefilter('ignore')
    print(json.dumps(anonymous_bytes('self')), flush=True)
    before = time.process_time()
    if mode == 'info': describe(path)
    else:
        volume = read_volume(path, voxel_size_A=None if options.get('resample') else 10., **options)
        data = volume.data
        if mode in ('labels', 'walls'): data = read_labels(data, str(path)).data
        if mode == 'walls': data = thin_walls(data).mask
        for image in data: np.add.reduce(image, axis=None)
    print(json.dumps([time.process_time() - before, resource.getrusage(resource.RUSAGE_SELF).ru_minflt]))


def watched(path, options, mode):
    "Read a file in a process of its own: its peak of memory above the imports, CPU seconds."
    process = subprocess.Popen([sys.executable, __file__, '--child', str(path), json.dumps(options), mode], stdout=subprocess.PIPE, text=True)
    base = json.loads(process.stdout.readline())
    peak = base
    while process.poll() is None:
        peak = max(peak, anonymous_bytes(process.pid))
        time.sleep(.01)
    text = process.stdout.read()
    if process.returncode: raise SystemExit(f'{path.name} ({mode}) ended with exit code {process.returncode}')
    return (peak - base)/2**20, json.loads(text)[0]


def main():
    if '--child' in sys.argv:
        path, options, mode = sys.argv[sys.argv.index('--child') + 1:]
        child(Path(path), {k: tuple(v) if k == 'z_range' else v for k, v in json.loads(options).items()}, mode)
        return
    parser = arguments(__doc__)
    parser.add_argument('--voxels', type=float, default=2e8, help='about so many')
    parser.add_argument('--only', default='', help='a regular expression: kinds whose name fits')
    parser.add_argument('--folder', default='/var/tmp', help='for the files, a few times as many bytes as voxels')
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    sources, rows = {}, []
    for name, dtype, write, options, mode in kinds():
        if not re.search(args.only, name): continue
        if dtype not in sources: sources = {dtype: mask(args.voxels, rng) if dtype == 'mask' else noise(args.voxels, dtype, rng)}
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            path = write(Path(folder), sources[dtype])
            MB, seconds = watched(path, options, mode)
        rows.append(dict(file=name, numbers=dtype.replace('mask', 'u1'), done=MODES[mode], volume_MB=sources[dtype].nbytes/2**20, peak_anonymous_MB=MB, cpu_seconds=seconds))
        print(rows[-1], flush=True)
    tables = [(f'reading {args.voxels:.0e} voxels: memory that no file stands behind, above the imports', rows)]
    print_table(*tables[0])
    finish(tables, args.json)


if __name__ == '__main__': main()
