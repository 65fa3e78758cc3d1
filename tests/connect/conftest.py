"A scene that several rooms are tried on."
import numpy as np
import pytest

from cryoseg.connect.membranes import find_membranes
from cryoseg.phantom.phantom import broken_shells

SHAPE = 60, 100, 170


@pytest.fixture(scope='session')
def scene():
    "A torn vesicle, a whole one, and specks; and the true ids."
    mask, truth = broken_shells(SHAPE, [((30, 50, 45), (36, 38, 34)), ((30, 50, 125), (28, 30, 32))], specks=300, seed=1, wedge=.8)[:2]
    slot = (truth == 1) & (np.abs(np.indices(SHAPE)[1] - 50) < 7)
    return mask & ~slot, truth*~slot


@pytest.fixture(scope='session')
def found(scene):
    "Its membranes; voxels of 10 Å."
    return find_membranes(scene[0], 10.)
