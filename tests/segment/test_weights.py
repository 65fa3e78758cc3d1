"Weights without PyTorch: which tensors a net has, and that what is read is what PyTorch reads."
import subprocess
import sys

import numpy as np
import pytest

from cryoseg.segment.unet import UNet, load_weights, save_weights
from cryoseg.segment.weights import Architecture, default_weights, read_weights, tensor_shapes


@pytest.mark.parametrize('width, depth', [(1, 1), (3, 2), (16, 4), (5, 3)])
def test_the_shapes_are_those_of_the_net(width, depth):
    wanted = {name: tuple(tensor.shape) for name, tensor in UNet(width, depth).state_dict().items()}
    assert tensor_shapes(Architecture(width, depth, 3)) == wanted


def test_arrays_are_the_tensors(tmp_path):
    save_weights(tmp_path / 'a.safetensors', UNet(3, 2), seed=5)
    for path in (default_weights(), tmp_path / 'a.safetensors'):
        arrays, net = read_weights(path), load_weights(path)
        assert arrays.about == net.about and arrays.tensors.keys() == net.state_dict().keys()
        for name, tensor in net.state_dict().items(): np.testing.assert_array_equal(arrays.tensors[name], tensor.numpy())
        assert {v.dtype for v in arrays.tensors.values()} == {np.dtype('f4'), np.dtype('i8')}


def test_reading_needs_no_pytorch():
    code = 'import sys; from cryoseg.segment.weights import read_weights; read_weights(); assert "torch" not in sys.modules'
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0
