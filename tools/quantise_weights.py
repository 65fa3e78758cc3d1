"""Make the eight-bit weights of a net for OpenVINO: `python tools/quantise_weights.py [WEIGHTS]`.

Writes WEIGHTS with the ending .int8.safetensors beside WEIGHTS (the weights that ship where none are named). The limits
of the eight bits are measured on simulated scenes, drawn from a seed. About half a minute on one core. Needs OpenVINO and
NNCF (`pip install nncf`), but no PyTorch.
"""
import argparse
import tempfile
from pathlib import Path

import numpy as np

from cryoseg.segment.engines import import_openvino, quantised_path, save_quantised, unet_graph
from cryoseg.segment.normalise import prepare
from cryoseg.segment.scenes import draw_scene, render_scene
from cryoseg.segment.settings import ROUGH_SCENES, SceneSettings
from cryoseg.segment.weights import default_weights, read_weights

N_SCENES = 40                   # half of them rough; more change nothing


def scenes(seed, n=N_SCENES):
    "Prepared slices (1,1,Y,X) that the net is quantised on, of both kinds in turn."
    for k in range(n):
        layers, _ = draw_scene(seed + k, (SceneSettings(), ROUGH_SCENES)[k % 2])
        yield prepare(render_scene(layers, np.random.default_rng(seed + k)))[None, None]


def quantised(weights, seed=0):
    "The graph of a net in eight bits."
    import nncf
    calibration = list(scenes(seed))
    return nncf.quantize(unet_graph(weights), nncf.Dataset(calibration), preset=nncf.QuantizationPreset.MIXED, subset_size=len(calibration),
                         fast_bias_correction=False)     # the fast one makes membranes too likely on real slices, by 0.003


def quantise(path, seed=0):
    "Write the eight-bit weights beside the float weights `path`; returns where."
    openvino, graph = import_openvino(), quantised(read_weights(path), seed)
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / 'net.xml'
        openvino.save_model(graph, xml, compress_to_fp16=False)
        parts = [np.frombuffer(p.read_bytes(), np.uint8) for p in (xml, xml.with_suffix('.bin'))]
    save_quantised(quantised_path(path), *parts, path, calibrated_on=f'{N_SCENES} simulated scenes', seed=seed)
    return quantised_path(path)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('weights', type=Path, nargs='?', default=default_weights(), help='.safetensors file (default: those that ship)')
    parser.add_argument('--seed', type=int, default=0, help='of the scenes (default 0, as shipped)')
    args = parser.parse_args(arguments)
    made = quantise(args.weights, args.seed)
    print(f'{made}: {made.stat().st_size / 1e6:.1f} MB')


if __name__ == '__main__': main()
