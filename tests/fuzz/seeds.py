"Small whole files of every kind that the program reads; none of them is constant. A seed is {name: bytes}, a folder has several names."
import gzip
import io
import bz2
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

SHAPE = 5, 9, 11
CONFIG = b'''seed = 4
[input]
voxel_size_A = 10.0
z_range = [1, 4]
beam_axis = "z"
[segment]
threshold = 0.4
calibration = [0.5, -0.6]
flips = 4
[connect]
membrane_values = [1, 2]
link = "greedy"
[connect.links]
rate = [0.7, 0.05]
[surface]
method = "paper"
[output]
meshes = ["ply", "obj"]
'''
REGIONS = b'''[[box]]
label = "membrane"
z = [0, 3]
y = [1, 8]
[[box]]
label = "background"
x = [2, 9]
'''


def noise(dtype='f4', shape=SHAPE):
    "Voxels that are not constant."
    data = np.random.default_rng(0).normal(100, 20, shape)
    return data.clip(0, 255).astype(dtype)


def labels():
    "Labels that are not constant."
    return (noise() > 110).astype(np.uint8) + (noise() > 130)


def file_of(write, name):
    "The bytes of what `write(path)` writes."
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/name
        write(path)
        return path.read_bytes()


def folder_of(write):
    "{name: bytes} of the folder that `write(path)` writes."
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/'case'
        write(path)
        return {p.relative_to(path).as_posix(): p.read_bytes() for p in sorted(path.rglob('*')) if p.is_file()}


def mrcs():
    import mrcfile
    for data, size, extended in ((noise(), 10., None), (noise('i1'), 13.7, None), (noise('u2'), 0., b'\x01\x00'*64), (noise('i2', (1, 9, 11)), 4.2, None)):
        def write(path, data=data, size=size, extended=extended):
            with mrcfile.new(path, data) as file:
                file.voxel_size = size
                if extended: file.set_extended_header(np.frombuffer(extended, 'V1'))
        yield file_of(write, 'a.mrc')
    yield file_of(lambda path: mrcfile.write(path, noise('>f4').astype('>f4'), voxel_size=8.), 'a.mrc')


def tiffs(**how):
    import tifffile
    for data in (noise('u1'), noise('f4'), noise('u2', (9, 11))):
        yield file_of(lambda path, data=data: tifffile.imwrite(path, data, **how), 'a.tif')


def zlib_tiffs():
    yield from tiffs(compression='zlib')
    yield from tiffs(compression='zlib', rowsperstrip=3)
    yield from tiffs(compression='zlib', tile=(16, 16), bigtiff=True, byteorder='>')


def imagej_tiffs():
    import tifffile
    for unit, dtype in (('nm', 'u1'), ('micron', 'f4'), ('Angstrom', 'u2')):
        yield file_of(lambda path: tifffile.imwrite(path, noise(dtype), imagej=True, resolution=(1., 1.), metadata=dict(unit=unit, spacing=1., axes='ZYX')), 'a.tif')


def ome_tiffs():
    import tifffile
    about = dict(axes='ZYX', PhysicalSizeX=1., PhysicalSizeXUnit='nm', PhysicalSizeY=1., PhysicalSizeYUnit='nm', PhysicalSizeZ=1., PhysicalSizeZUnit='nm')
    yield file_of(lambda path: tifffile.imwrite(path, noise('u1'), ome=True, metadata=about), 'a.ome.tif')
    yield file_of(lambda path: tifffile.imwrite(path, noise('u1', (2, 3, 9, 11)), ome=True, metadata=dict(axes='CZYX')), 'a.ome.tif')


def pictures(kind, modes):
    from PIL import Image
    for mode in modes:
        image = Image.fromarray(noise('u1', (9, 11)) if mode != 'I;16' else noise('u2', (9, 11)))
        out = io.BytesIO()
        (image if mode == 'I;16' else image.convert(mode)).save(out, kind)
        yield out.getvalue()


def npys():
    for data in (noise(), labels(), noise('>i2').astype('>i2'), np.asfortranarray(noise('f8'))):
        out = io.BytesIO()
        np.save(out, data)
        yield out.getvalue()


def npzs():
    for save, more in ((np.savez, {}), (np.savez_compressed, dict(voxel_size_A=np.float64(10), origin_A=np.zeros(3))), (np.savez, dict(meaning=np.array('{"1": "membrane"}')))):
        out = io.BytesIO()
        save(out, data=labels(), **more)
        yield out.getvalue()


def zarrs(version):
    import zarr
    from zarr.codecs import BloscCodec, GzipCodec
    def write(path, packed=None):
        group = zarr.open_group(str(path), mode='w', zarr_format=version)
        image = dict(axes=[dict(name=a, type='space', unit='nanometer') for a in 'zyx'],
                     datasets=[dict(path='0', coordinateTransformations=[dict(type='scale', scale=[1., 1., 1.])])])
        text = dict(multiscales=[dict(image, version='0.4')]) if version == 2 else dict(ome=dict(version='0.5', multiscales=[image]))
        group.attrs.update(text)
        group.create_array('0', data=noise('u1'), chunks=(3, 6, 6), **(dict(compressors=packed) if packed else {}))
    yield folder_of(write)
    if version == 3:
        yield folder_of(lambda path: write(path, [GzipCodec()]))
        yield folder_of(lambda path: write(path, [BloscCodec()]))
    yield folder_of(lambda path: zarr.create_array(str(path), data=labels(), chunks=(5, 9, 11), zarr_format=version))


def run_lengths(data):
    "Bytes as HxByteRLE packs them, all as they are."
    return b''.join(bytes([128 + len(data[i:i + 100])]) + data[i:i + 100] for i in range(0, len(data), 100))


def amiras():
    about = 'BoundingBox 0 10 0 8 0 4, Units { Coordinates "nm" }, Materials { Exterior {} Membrane {} }'
    for head, packing, dtype, kind in (('BINARY-LITTLE-ENDIAN 2.1', '', 'u1', 'byte'), ('BINARY-LITTLE-ENDIAN 2.1', 'HxByteRLE', 'u1', 'byte'),
                                       ('BINARY-LITTLE-ENDIAN 2.1', 'HxZip', 'u1', 'byte'), ('3D ASCII 2.0', '', 'u1', 'byte'), ('3D BINARY 2.0', '', '>f4', 'float')):
        data = labels().astype(dtype)
        raw = data.tobytes() if 'ASCII' not in head else ' '.join(map(str, data.ravel())).encode()
        raw = {'': bytes, 'HxByteRLE': run_lengths, 'HxZip': zlib.compress}[packing](raw)
        entry = f'Lattice {{ {kind} Labels }} @1' + (f'({packing},{len(raw)})' if packing else '')
        yield (f'# AmiraMesh {head}\n\ndefine Lattice 11 9 5\n\nParameters {{\n {about}\n CoordType "uniform"\n}}\n\n{entry}\n\n'
               '# Data section follows\n@1\n').encode() + raw + b'\n'


def weights():
    import torch
    from cryoseg.segment.unet import UNet, save_weights
    torch.manual_seed(0)
    yield file_of(lambda path: save_weights(path, UNet(2, 1).eval(), seed=7), 'a.safetensors')


def records():
    from cryoseg.result.folder import RunRecord, StageRecord, record_path, write_record
    from cryoseg.result.records import Dropped
    stage = StageRecord('k', '1.0', {'connect': {'min_area_A2': 1e5}, 'seed': 0}, {'edits.csv': 'sha256:1'}, {'membranes.mrc': 'sha256:2'})
    record = RunRecord('tomogram', 'a.png', 'sha256:1', '1.0', 10., SHAPE, 3, 'bf16', {'input': {'bin': 2, 'z_range': [1, 3]}, 'seed': 3}, {'connect': stage},
                       (Dropped(12, 1, 'a speck, of dirt'),), ('an edit that does not fit',))
    with tempfile.TemporaryDirectory() as folder:
        for one in (record, replace(record, kind='labels', stages={})):
            write_record(folder, one)
            yield record_path(folder).read_bytes()


def tables(kind, *rows):
    from cryoseg.result.tables import write_rows
    yield file_of(lambda path: write_rows(path, rows, kind), 'a.csv')
    yield file_of(lambda path: write_rows(path, rows, kind), 'a.csv').replace(b',', b';').replace(b'.', b',')


def link_tables():
    from cryoseg.result.records import Link
    yield from tables(Link, Link(1, 2, 1, 3, 2, 10.5, -20.25, None, 120.5, taken=True, rule='merge', reason='near, flat'), Link(2, 3, None, 4, None, cost=1.))


def fragment_tables():
    from cryoseg.result.records import Fragment
    yield from tables(Fragment, Fragment(1, 3, 20, 1, 1.5, 2.5, 3.5), Fragment(2, None, 50, 0))


def edit_tables():
    from cryoseg.result.records import Edit
    yield from tables(Edit, Edit('join', 1.5, 2., 3., 4., 5., 6.), Edit('cut', 1., 2., 3.))


def membrane_tables():
    from cryoseg.result.records import Membrane
    yield from tables(Membrane, Membrane(1, 5000, 'closed', '', 1., 2., 3., 1e5, 1e3), Membrane(2, 300, 'open', 'a hole'))


SEEDS = {
    'mrc': mrcs, 'mrc_gz': lambda: (gzip.compress(data, mtime=0) for data in mrcs()), 'mrc_bz2': lambda: map(bz2.compress, mrcs()),
    'tiff': tiffs, 'tiff_zlib': zlib_tiffs, 'tiff_imagej': imagej_tiffs, 'tiff_ome': ome_tiffs,
    'png': lambda: pictures('PNG', ('L', 'RGB', 'P', '1', 'LA', 'I;16')), 'jpeg': lambda: pictures('JPEG', ('L', 'RGB')),
    'npy': npys, 'npz': npzs, 'zarr2': lambda: zarrs(2), 'zarr3': lambda: zarrs(3), 'amira': amiras,
    'weights': weights, 'regions': lambda: [REGIONS], 'config': lambda: [CONFIG], 'record': records,
    'links': link_tables, 'fragments': fragment_tables, 'edits': edit_tables, 'membranes': membrane_tables,
}


def seeds_of(reader):
    "The seeds of a reader: {name of a file in the case's folder: bytes}; '' where the case is one file."
    return [data if isinstance(data, dict) else {'': data} for data in SEEDS[reader]()]
