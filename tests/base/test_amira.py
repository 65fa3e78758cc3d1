"Amira label fields, whole and broken."
import re
import time
import tracemalloc
import zlib

import numpy as np
import pytest

from cryoseg.base import amira as amira_room
from cryoseg.base import limits
from cryoseg.base.files import VolumeError, VolumeWarning
from cryoseg.base.amira import read_amira, unpack_runs
from cryoseg.base.formats import read_meaning, read_volume

from volume_files import quiet


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


@pytest.mark.parametrize('seed', range(5))
def test_runs_there_and_back(seed):
    rng = np.random.default_rng(seed)
    data = np.repeat(rng.integers(0, 4, 60, dtype=np.uint8), rng.integers(1, 300, 60)).tobytes()
    assert b''.join(unpack_runs(runs(data), len(data))) == data
    for n in (0, 1, len(data)//2): assert b''.join(unpack_runs(runs(data), n)) == data[:n]
    assert b''.join(unpack_runs(runs(data), 10*len(data))) == data          # never more than is there


# what a header promises

@pytest.mark.parametrize('head, packing, kind', [('BINARY-LITTLE-ENDIAN 2.1', 'HxByteRLE', 'byte'), ('BINARY-LITTLE-ENDIAN 2.1', 'HxZip', 'byte'), ('3D ASCII 2.0', None, 'byte'), ('BINARY-LITTLE-ENDIAN 2.1', None, 'double')])
def test_more_than_the_bytes_can_give_is_refused_before_anything_is_unpacked(tmp_path, image, head, packing, kind, monkeypatch):
    labels = (image > 0).astype('f8' if kind == 'double' else 'u1')
    path = amira(tmp_path/'a.am', labels, head, packing, kind, lattice='define Lattice 2000 2000 1000')
    for name in ('unpack_runs', '_text_numbers'): monkeypatch.setattr(amira_room, name, None)
    with pytest.raises(VolumeError, match='truncated: its header promises'): read_volume(path)


def test_gigabytes_of_nothing_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, 'FREELY_UNPACKED', 2**20)
    with pytest.raises(VolumeError, match='unpack to 2 MB'): read_volume(amira(tmp_path/'a.am', np.zeros((128, 128, 128), np.uint8), packing='HxZip'))


def test_a_zip_is_unpacked_no_further_than_the_lattice(tmp_path, image):
    labels = (image > 0).astype(np.uint8)
    path = amira(tmp_path/'a.am', labels, packing='HxZip')
    more = zlib.compress(labels.tobytes() + bytes(2**26))
    whole = path.read_bytes()
    start = whole.index(b'\n@1\n') + 4
    path.write_bytes(re.sub(rb'HxZip,\d+', b'HxZip,%d' % len(more), whole[:start]) + more)
    tracemalloc.start()
    np.testing.assert_array_equal(quiet(path).data, labels)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


@pytest.mark.parametrize('values, words', [('0 1 300 0', 'from 0 to 300 do not fit uint8'), ('0 1 -1 0', 'do not fit uint8'), ('0 1 nan 0', 'do not fit'), ('0 1 x 0', 'truncated|cannot be read'), ('0 1', 'truncated')])
def test_numbers_as_text_that_do_not_fit(tmp_path, values, words):
    path = tmp_path/'a.am'
    path.write_text(f'# AmiraMesh 3D ASCII 2.0\ndefine Lattice 4 1 1\nLattice {{ byte Labels }} @1\n@1\n{values}\n')
    with pytest.raises(VolumeError, match=words) as error: read_volume(path)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('text', ['Lattice { byte Labels }' + ' '*500_000, 'define Lattice' + ' 1'*200_000, 'Materials {' + '{'*500_000, 'BoundingBox ' + '1e'*200_000, 'Lattice { ' + 'a'*500_000, '"'*300_000,
                                  'define Lattice ' + '9'*10_000 + ' 1 1', 'BoundingBox 1 2 3 4 5 e', 'CoordType ' + '"'*100_000, '\r'*500_000])
def test_headers_that_make_patterns_search_for_ever(tmp_path, text):
    path = tmp_path/'a.am'
    path.write_text(f'# AmiraMesh BINARY-LITTLE-ENDIAN 2.1\n{text}\ndefine Lattice 2 2 2\nLattice {{ byte Labels }} @1\n@1\n' + 'x'*9)
    start = time.perf_counter()
    for read in (read_volume, read_meaning):
        try: read(path)
        except VolumeError as error: assert '\n' not in str(error) and len(str(error)) < 900
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize('unit, voxel_A, said', [('nm', 100., ''), ('µm', 1e5, ''), ('Å', 10., ''), ('furlong', None, "10 'furlong'"), ('', None, "10 ''")])
def test_units_of_amira(tmp_path, image, unit, voxel_A, said):
    labels = (image > 0).astype(np.uint8)
    for encoding in ('utf-8', 'latin-1'):
        path = amira(tmp_path/'a.am', labels, about='BoundingBox 0 190 0 150 0 110, Units { Coordinates "UNIT" }')
        path.write_bytes(path.read_bytes().replace(b'UNIT', unit.encode(encoding)))
        raw = read_amira(path)
        assert (raw.voxel_A, raw.said) == ((voxel_A,)*3, said)
