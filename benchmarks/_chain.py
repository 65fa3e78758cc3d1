"""What the command does with a phantom, up to its surfaces, and which true body each surface shows."""
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cryoseg.base.formats import read_volume
from cryoseg.connect.membranes import find_membranes
from cryoseg.connect.settings import ConnectSettings
from cryoseg.run.labelling import write_labels
from cryoseg.run.settings import RunSettings
from cryoseg.run.fits import Densities, fit_surfaces
from cryoseg.segment.settings import SegmentSettings
from cryoseg.surface.settings import SurfaceSettings, errors_at


class Chain(NamedTuple):
    "What a run knows before it measures."
    labels:np.ndarray # (Z,Y,X)
    membranes:np.ndarray # (Z,Y,X) ids
    surfaces:list # of Surface


def label_chain(tomogram):
    "Label a tomogram and tell its membranes apart, on one core."
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/'labels.mrc'
        write_labels(path, tomogram, RunSettings(segment=SegmentSettings(workers=1)))
        labels = np.array(read_volume(path).data)
    return labels, find_membranes(labels, tomogram.voxel_size_A).membranes


def fit_chain(tomogram, labels, membranes, settings=SurfaceSettings()):
    "Fit the surfaces of membranes as a run does."
    size = tomogram.voxel_size_A
    settings = replace(errors_at(size, settings), bilayer_vox=ConnectSettings().bilayer_A/size)
    return fit_surfaces(membranes, settings, densities=Densities(tomogram.data, size, labels))


def run_chain(phantom):
    "Label a phantom, tell its membranes apart, and fit their surfaces, on one core."
    labels, membranes = label_chain(phantom.tomogram)
    return Chain(labels, membranes, fit_chain(phantom.tomogram, labels, membranes))


def nearest_body(phantom, surface):
    "The body nearest to a surface, and the mean distance, Å, of the surface from it."
    some = surface.vertices_vox[::max(1, len(surface.vertices_vox)//300)]
    away = [np.abs(body.signed_distance(some)).mean() for body in phantom.bodies]
    nearest = int(np.argmin(away))
    return phantom.bodies[nearest], away[nearest]*phantom.settings.voxel_size_A
