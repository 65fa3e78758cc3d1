"Small files for the tests of this folder."
import warnings

import mrcfile
import numpy as np

from cryoseg.base.formats import read_volume


def mrc(path, data, voxel_size=10., extended=None, **fields):
    "A small MRC file in which any header field can be set."
    with mrcfile.new(path, data, overwrite=True) as file:
        if extended is not None: file.set_extended_header(np.frombuffer(extended, 'V1'))
        file.voxel_size = voxel_size
        for name, value in fields.items(): setattr(file.header, name, value)
    return path


def extra2(**values):
    "The bytes 112 to 195 of a header; keys a<byte>, values of any NumPy type."
    block = bytearray(84)
    for name, value in values.items(): block[int(name[1:]) - 112:int(name[1:]) - 112 + value.nbytes] = value.tobytes()
    return np.void(bytes(block))


def quiet(path, **options):
    "Read, any warning being an error."
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        return read_volume(path, **options)
