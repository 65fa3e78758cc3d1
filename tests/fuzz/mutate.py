"Ways to damage a file: blindly, byte by byte, and knowing what stands where (fields of a header, tables, cells, chunks)."
import bz2
import gzip
import io
import json
import lzma
import math
import re
import struct
import tomllib
import zipfile
import zlib

import tomli_w

NUMBERS = 0, 1, -1, 2, 3, 7, 127, 128, 255, 256, 32767, -32768, 65535, 65536, 2**31 - 1, -2**31, 2**32 - 1, 2**62, 2**63 - 1, -2**63, 10**30
REALS = 0., -0., -1., .5, 1e-40, 1e-10, 1e10, 1e38, 1e300, math.nan, math.inf, -math.inf
TEXTS = '', ' ', 'x', 'nan', '../../x', '/etc/passwd', 'C:\\x', 'a\0b', 'é²😀', '\n', '-1', '1e999', '٣', 'x'*5000, '[', '{', '"', 'None', 'true', '$(x)', '%s%n', '<b>'
WORDS = (b'0', b'-1', b'1e999', b'nan', b'99999999999999999999', b'', b'x', b'1.5', b'65536', b'4294967296', b'1,5', b'True', b'\xff\xfe', b'9'*5000)


def number_field(rng, data, limit=None):
    "A field of a header set to an extreme."
    size, kind = rng.choice([(1, 'b'), (2, 'h'), (2, 'H'), (4, 'i'), (4, 'I'), (4, 'f'), (8, 'q'), (8, 'd')])
    end = min(len(data), limit or len(data)) - size
    if end <= 0: return data
    at = rng.randrange(end + 1)
    at -= at % size if rng.random() < .8 else 0
    low, high = (0, 256**size - 1) if kind.isupper() else (-256**size//2, 256**size//2 - 1)
    value = rng.choice(REALS) if kind in 'fd' else rng.choice([n for n in NUMBERS if low <= n <= high])
    try: field = struct.pack(rng.choice('<>') + kind, value)
    except OverflowError: return data
    return data[:at] + field + data[at + size:]


def flip(rng, data):
    "Some bits."
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5, 30]) if data else 0): data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def cut(rng, data):
    "The end is missing."
    return data[:rng.randrange(len(data) + 1)]


def insert(rng, data):
    "Bytes where none were."
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice([bytes(rng.randrange(1, 300)), rng.randbytes(rng.randrange(1, 300)), b'\xff'*rng.randrange(1, 9)]) + data[at:]


def delete(rng, data):
    "Bytes are missing."
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.randrange(1, 300):]


def repeat(rng, data):
    "A stretch stands twice."
    at, n = rng.randrange(len(data) + 1), rng.randrange(1, 3000)
    return data[:at] + data[at:at + n] + data[at:]


def append(rng, data):
    "Something behind the end."
    return data + rng.choice([bytes(100_000), rng.randbytes(1000), data])


def word(rng, data):
    "A number or word of a text."
    found = list(re.finditer(rb'[-+]?[\d.]+|[A-Za-z_]{2,}', data[:4000]))
    if not found: return data
    hit = rng.choice(found)
    return data[:hit.start()] + rng.choice(WORDS) + data[hit.end():]


BLIND = flip, flip, cut, insert, delete, repeat, append, number_field, number_field, word


def blind(rng, data):
    "One of the ways that know nothing."
    return rng.choice(BLIND)(rng, data)


def leaf(rng, depth=0):
    "Any value that a tree may hold."
    kind = rng.randrange(6)
    if kind == 0: return rng.choice(NUMBERS)
    if kind == 1: return rng.choice(REALS)
    if kind == 2: return rng.choice(TEXTS)
    if kind == 3: return rng.random() < .5
    if depth > 3: return []
    return [leaf(rng, depth + 1) for _ in range(rng.randrange(4))] if kind == 4 else {rng.choice('abxyz01'): leaf(rng, depth + 1) for _ in range(rng.randrange(3))}


def places(tree):
    "(holder, key) of everything in a tree."
    stack = [tree]
    while stack:
        here = stack.pop()
        for key in list(here) if isinstance(here, dict) else range(len(here)):
            yield here, key
            if isinstance(here[key], dict | list): stack.append(here[key])


def tree_edit(rng, tree):
    "One place of a tree changed: another value, gone, renamed, deep, doubled."
    found = list(places(tree))
    if not found: return {'x': leaf(rng)}
    here, key = rng.choice(found)
    way = rng.randrange(8)
    if way == 0 and isinstance(here, dict): del here[key]
    elif way == 1 and isinstance(here, dict): here[rng.choice(['x', key + '_', key.upper(), ''])] = here.pop(key)
    elif way == 2: here[key] = [here[key]]
    elif way == 3 and isinstance(here, list): here.append(here[key])
    elif way == 4:
        deep = []
        for _ in range(rng.choice([20, 90])): deep = [deep] if rng.random() < .5 else {'a': deep}
        here[key] = deep
    elif way in (5, 6) and isinstance(here[key], int | float) and not isinstance(here[key], bool):
        here[key] = rng.choice([-here[key], here[key] * 10**9, here[key] + .5, str(here[key]), here[key] + 1, 0])
    else: here[key] = leaf(rng)
    return tree


def toml(rng, data):
    "The tree of a TOML file."
    try: return tomli_w.dumps(tree_edit(rng, tomllib.loads(data.decode()))).encode()
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError): return blind(rng, data)      # not TOML any more


def as_json(rng, data):
    "The tree of a JSON file."
    try: return json.dumps(tree_edit(rng, json.loads(data))).encode('utf-8', 'surrogatepass')
    except (ValueError, TypeError, AttributeError, RecursionError): return blind(rng, data)


def deep_text(rng, data):
    "Brackets, or names of many parts, that cost a reader its stack or its time."
    n = rng.choice([50, 5000, 9000])
    return rng.choice([b'x = ' + b'['*n, b'[' + b'a.'*n + b'b]\n', b'x = ' + b'{a='*n, b'x = ' + b'9'*n, data + b'\n[[box]]'*n, data + b'# ' + b'.'*n, data + b'"'*n])


def table(rng, data):
    "Cells of a CSV table."
    text = data.decode('utf-8', 'replace')
    rows = [row.split(',') for row in text.split('\n')]
    y = rng.randrange(len(rows))
    x = rng.randrange(len(rows[y]))
    way = rng.randrange(9)
    if way < 3: rows[y][x] = rng.choice([*TEXTS, *map(str, NUMBERS), *map(str, REALS), '1,5', '"1,5"', '"1,234"', '1_0', 'TRUE', 'WAHR', '"', '1.0', '1E+00', '12. Mai', '#DIV/0!', 'y'*200_000])
    elif way == 3: rows[y].pop(x)
    elif way == 4: rows[y].insert(x, rng.choice(['', 'x', rows[0][0]]))
    elif way == 5: rows.insert(y, rng.choice([[], [''], ['']*30, rows[0], rows[-1]]))
    elif way == 6: rows.pop(y)
    elif way == 7: rows[0][rng.randrange(len(rows[0]))] = rng.choice(['', 'x', rows[0][0], rows[0][0].upper(), ' ' + rows[0][-1]])
    else:
        text = rng.choice([text.replace(',', '\t'), 'sep=;\n' + text, text.replace('\n', '\r\n'), text.replace('\n', '\r'), '\ufeff' + text])
        return text.encode(rng.choice(['utf-8', 'utf-16', 'utf-16-le', 'utf-16-be', 'cp1252', 'utf-32', 'ascii']), 'replace')
    return '\n'.join(map(','.join, rows)).encode('utf-8', 'replace')


def mrc(rng, data):
    "The header's fields, or where a program looks for others (IMOD at 152, SerialEM and FEI behind the header)."
    if rng.random() < .2 or len(data) < 1024: return number_field(rng, data, 1400)
    at, kind = rng.choice([*((4*k, 'i') for k in range(10)), *((40 + 4*k, 'f') for k in range(6)), *((64 + 4*k, 'i') for k in range(3)), *((76 + 4*k, 'f') for k in range(3)), (88, 'i'), (92, 'i'),
                           (104, 'i'), (108, 'i'), (128, 'h'), (130, 'h'), (152, 'i'), (156, 'i'), (160, 'h'), (196, 'f'), (200, 'f'), (204, 'f'), (208, 'i'), (212, 'i'), (220, 'i')])
    order = '<' if data[212:213] == b'D' else '>'
    size = struct.calcsize(kind)
    values = REALS if kind == 'f' else [n for n in NUMBERS if -256**size//2 <= n < 256**size//2]
    try: field = struct.pack(order + kind, rng.choice([*values, *(range(20) if kind != 'f' else (1.368, 13.68, 0.1))]))
    except OverflowError: return data
    if at == 104: field = rng.choice([field, b'FEI1', b'FEI2', b'SERI', b'AGAR', b'MRCO', b'CCP4'])
    return data[:at] + field + data[at + size:]


def tiff(rng, data):
    "The entries of the first directories, or a field anywhere."
    if len(data) < 16 or rng.random() < .3: return number_field(rng, data)
    order = '<' if data[:2] == b'II' else '>'
    at = struct.unpack(order + 'I', data[4:8])[0]
    for _ in range(rng.randrange(3)):                # which directory
        if at + 2 > len(data): return number_field(rng, data)
        n = struct.unpack(order + 'H', data[at:at + 2])[0]
        after = data[at + 2 + 12*n:at + 6 + 12*n]
        if len(after) < 4 or not any(after): break
        at = struct.unpack(order + 'I', after)[0]
    if at + 2 > len(data): return number_field(rng, data)
    n = struct.unpack(order + 'H', data[at:at + 2])[0]
    entry = at + 2 + 12*rng.randrange(max(n, 1))
    where, kind = rng.choice([(0, 'H'), (2, 'H'), (4, 'I'), (8, 'I'), (8, 'H')])
    high = 256**(2 if kind == 'H' else 4) - 1
    field = struct.pack(order + kind, rng.choice([v for v in NUMBERS if 0 <= v <= high]))
    return data[:entry + where] + field + data[entry + where + len(field):]


def png(rng, data):
    "A chunk's contents, with a checksum that fits."
    at, chunks = 8, []
    while at + 12 <= len(data):
        n = int.from_bytes(data[at:at + 4], 'big')
        chunks.append((data[at + 4:at + 8], data[at + 8:at + 8 + n]))
        at += 12 + n
    if not chunks: return blind(rng, data)
    k = rng.randrange(len(chunks)) if rng.random() < .6 else 0
    way = rng.randrange(4)
    name, body = chunks[k]
    if way == 0: chunks.insert(k, (rng.choice([b'zTXt', b'iCCP', b'tRNS', b'PLTE', b'acTL', b'IDAT']), rng.choice([b'a\0\0' + zlib.compress(bytes(10**6)), body, rng.randbytes(40)])))
    elif way == 1: chunks.pop(k)
    elif way == 2 and name == b'IDAT': chunks[k] = name, zlib.compress(bytes(rng.choice([0, 10, 10**7])))
    else: chunks[k] = name, blind(rng, body)
    return data[:8] + b''.join(len(b).to_bytes(4, 'big') + n + b + zlib.crc32(n + b).to_bytes(4, 'big') for n, b in chunks)


def npy(rng, data):
    "The words of the header, its length kept true."
    if len(data) < 10: return blind(rng, data)
    n = int.from_bytes(data[8:10], 'little')
    head = data[10:10 + n]
    way = rng.randrange(4)
    if way == 0: head = word(rng, head)
    elif way == 1:
        shape = rng.choice([b'(99999999, 99999, 9)', b'(-1, 9, 11)', b'()', b'(5,)', b'(5, 9, 11, 1)', b'(0, 0, 0)', b'(10**9,)', b'((5, 9), 11)', b'(True, 9, 55)'])
        head = re.sub(rb'\(\d[^)]*\)', lambda hit: shape, head)
    elif way == 2:
        kind = rng.choice([b"'|O'", b"'<c16'", b"'<M8[s]'", b"'V8'", b"'<U5'", b"[('a', '<f4')]", b"'<f2'", b"'>i8'", b"'|b1'", b"'|S3'", b"3", b"'(2,)f4'"])
        head = re.sub(rb"'descr': '[^']*'", lambda hit: b"'descr': " + kind, head)
    else: head = blind(rng, head)
    return data[:8] + (len(head) & 0xffff).to_bytes(2, 'little') + head + data[10 + n:]


def npz(rng, data):
    "The members of an archive: their headers, their number, their names."
    try: members = {name: zipfile.ZipFile(io.BytesIO(data)).read(name) for name in zipfile.ZipFile(io.BytesIO(data)).namelist()}
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, RuntimeError, KeyError, OSError, MemoryError, lzma.LZMAError):
        return blind(rng, data)     # one that a damaged dictionary of LZMA makes too large is no file to go on with
    if not members: return blind(rng, data)
    name = rng.choice(sorted(members))
    way = rng.randrange(5)
    if way == 0: members[rng.choice(['b.npy', '../x.npy', 'voxel_size_A.npy', 'meaning.npy', 'x.txt', 'data', 'origin_A.npy', 'é.npy'])] = members[name]
    elif way == 1: members.pop(name)
    else: members[name] = npy(rng, members[name]) if way < 4 else blind(rng, members[name])
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])) as archive:
        for name, body in members.items(): archive.writestr(name, body)
    return out.getvalue()


def safetensors(rng, data):
    "The header's tree, or a tensor's numbers."
    n = int.from_bytes(data[:8], 'little')
    if len(data) < 9 + n or rng.random() < .2: return data[:8 + n] + blind(rng, data[8 + n:])
    head = data[8:8 + n]
    way = rng.randrange(3)
    if way == 0: head = as_json(rng, head)
    elif way == 1: return data[:8 + n] + number_field(rng, data[8 + n:])
    else:
        try: tree = json.loads(head)
        except ValueError: return blind(rng, data)
        key = rng.choice(['width', 'depth', 'classes', 'format', 'x'])
        if isinstance(tree.get('__metadata__'), dict): tree['__metadata__'][key] = rng.choice([*TEXTS, *map(str, NUMBERS), '2', '1', 3])
        head = json.dumps(tree).encode('utf-8', 'surrogatepass')
    return len(head).to_bytes(8, 'little') + head + data[8 + n:]


def packed(unpack, pack, inner):
    "Damage what is inside of a compressed file."
    def mutate(rng, data):
        try: return pack(inner(rng, unpack(data)))
        except (OSError, EOFError, ValueError, zlib.error): return blind(rng, data)
    return mutate


KNOWING = {
    'mrc': [mrc], 'mrc_gz': [packed(gzip.decompress, lambda data: gzip.compress(data, mtime=0), mrc), append], 'mrc_bz2': [packed(bz2.decompress, bz2.compress, mrc), append],
    'tiff': [tiff], 'tiff_zlib': [tiff], 'tiff_imagej': [tiff, word], 'tiff_ome': [tiff, word], 'png': [png], 'jpeg': [number_field], 'npy': [npy], 'npz': [npz], 'amira': [word, number_field],
    'weights': [safetensors], 'regions': [toml, toml, deep_text], 'config': [toml, toml, deep_text], 'record': [toml, toml, toml, deep_text],
    'links': [table], 'fragments': [table], 'edits': [table], 'membranes': [table],
}


TEXT_FILES = 'regions', 'config', 'record', 'links', 'fragments', 'edits', 'membranes'


def folder(rng, files):
    "One file of a folder: damaged, gone, renamed, or one more."
    name = rng.choice(sorted(files))
    text = name.rpartition('/')[2].startswith(('.z', 'zarr.json'))
    way = rng.randrange(12)
    if way == 0: files.pop(name)
    elif way == 1: files[rng.choice(['x', name + '.x', name.rpartition('/')[0] + '/c/9/9/9', '0/0.0.0/x', 'zarr.json', '.zarray', '.zattrs', '.zgroup'])] = files.pop(name)
    elif way == 2: files[rng.choice(['zarr.json', '.zarray', '.zattrs', '.zgroup', '0/.zattrs', 'labels/x/zarr.json'])] = files[name]
    else: files[name] = as_json(rng, files[name]) if text and way < 10 else blind(rng, files[name])
    return files


def mutated(rng, reader, files):
    "A damaged copy of a seed, one to four steps away from it."
    files = dict(files)
    for _ in range(rng.choice([1, 1, 1, 2, 2, 3, 4])):
        if '' not in files: files = folder(rng, files) if files else files
        else: files[''] = (rng.choice(KNOWING[reader]) if rng.random() < (.85 if reader in TEXT_FILES else .6) else blind_one)(rng, files[''])
    return files


def blind_one(rng, data): return blind(rng, data) if data else rng.randbytes(20)
