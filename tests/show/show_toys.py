"""Toy bodies, volumes and pictures that the tests of this wing share."""
import io

import numpy as np

from cryoseg.base.geometry import icosphere
from cryoseg.base.volume import Volume
from cryoseg.result.records import Surface

SHAPE = (24, 32, 40)
DIRECTIONS, FACES = icosphere(3)


def ball(id=1, centre=(12, 16, 20), radius=8.0, sigma=0.5):
    "A sphere as a fitted surface."
    return Surface(id, np.add(centre, radius * DIRECTIONS), FACES, np.full(len(DIRECTIONS), sigma), 'closed')


def refused():
    "A membrane without a surface."
    return Surface(4, np.zeros((0, 3)), np.zeros((0, 3), int), np.zeros(0), 'refused', 'too few voxels')


def noise_volume():
    "A volume of nothing but noise, 12.5 Å a voxel."
    return Volume(np.random.default_rng(0).normal(size=SHAPE).astype(np.float32), 12.5)


def png(fig):
    "A figure as the bytes of a file."
    with io.BytesIO() as file:
        fig.savefig(file, format='png')
        return file.getvalue()
