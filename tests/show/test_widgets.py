"""The live viewer, and what works without it."""
import subprocess
import sys

import numpy as np
import pytest

from cryoseg.show.widgets import slice_viewer
from cryoseg.base.volume import Volume

SHAPE = (24, 32, 40)

@pytest.fixture(scope='module')
def volume():
    data = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    return Volume(data, 12.5)


def test_the_viewer_follows_its_sliders(volume):
    pytest.importorskip('ipywidgets')
    viewer = slice_viewer(volume, labels=np.zeros(SHAPE, int), width_in=3)
    (axis, position, _), picture = viewer.children[0].children, viewer.children[2]
    assert position.max == 23 and bytes(picture.value).startswith(b'\x89PNG')
    before = bytes(picture.value)
    position.value = 3
    assert bytes(picture.value) != before
    axis.value = 'x'
    assert position.max == 39 and position.value == 20
    axis.value = 'z'                                               # a shorter axis: the position must come along
    assert position.max == 23 and position.value == 12


def test_without_the_extra_the_rest_works():
    "Drawing needs neither ipywidgets nor k3d; a live view names the extra that brings them."
    program = '''
import sys
sys.modules.update(ipywidgets=None, k3d=None)
import numpy as np
from cryoseg.show.scene import scene
from cryoseg.show.slices import show_slices
from cryoseg.show.widgets import slice_viewer
show_slices(np.zeros((4, 5, 6)), 2)
for call in (lambda: slice_viewer(np.zeros((4, 5, 6))), lambda: scene([])):
    try: call()
    except ImportError as error: print(error)
'''
    run = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.count('pip install "cryoseg[notebook]"') == 2


def test_it_begins_where_it_is_asked_to(volume):
    pytest.importorskip('ipywidgets')
    axis, position, _ = slice_viewer(volume, 7, 'x', width_in=3).children[0].children
    assert (axis.value, position.value, position.max) == ('x', 7, 39)


def test_its_arguments_are_those_of_show_slices(volume):
    pytest.importorskip('ipywidgets')
    with pytest.raises(ValueError, match='at must be the position'): slice_viewer(volume, np.zeros(SHAPE, int))
    with pytest.raises(ValueError, match="'x', 'y' or 'z'"): slice_viewer(volume, 3, 'w')


def test_overlays_are_seen_and_can_be_faded(volume):
    pytest.importorskip('ipywidgets')
    viewer = slice_viewer(volume, 12, membranes=volume.with_data(np.ones(SHAPE, int)), width_in=3)
    opacity, picture = viewer.children[0].children[2], viewer.children[2]
    seen = bytes(picture.value)
    opacity.value = 0
    bare = bytes(slice_viewer(volume, 12, width_in=3).children[2].value)
    assert seen != bytes(picture.value) == bare
