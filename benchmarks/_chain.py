"""What the command does with a phantom, up to its surfaces, and which true body each surface shows."""
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cryoseg.base.formats import read_volume
from cryoseg.connect.membranes import find_membranes
from cryoseg.connect.settings import ConnectSettings
from cryoseg.run.labelling import write_labels
from cryoseg.run.settings import RunSettings
from cryoseg.run.stages import fit_surfaces
from cryoseg.segment.settings import SegmentSettings
from cryoseg.surface.settings import SurfaceSettings


class Chain(NamedTuple):
    "What a run knows before it measures."
    labels:np.ndarray # (Z,Y,X)
    membranes:np.ndarray # (Z,Y,X) ids
    surfaces:list # of Surface


def run_chain(phantom):
    "Label a phantom, tell its membranes apart, and fit their surfaces, on one core."
    size = phantom.settings.voxel_size_A
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/'labels.mrc'
        write_labels(path, phantom.tomogram, RunSettings(segment=SegmentSettings(workers=1)))
        labels = np.array(read_volume(path).data)
    membranes = find_membranes(labels, size).membranes
    return Chain(labels, membranes, fit_surfaces(membranes, SurfaceSettings(bilayer_vox=ConnectSettings().bilayer_A/size)))


def nearest_body(phantom, surface):
    "The body nearest to a surface, and the mean distance, Å, of the surface from it."
    some = surface.vertices_vox[::max(1, len(surface.vertices_vox)//300)]
    away = [np.abs(body.signed_distance(some)).mean() for body in phantom.bodies]
    nearest = int(np.argmin(away))
    return phantom.bodies[nearest], away[nearest]*phantom.settings.voxel_size_A
