"""Make the eight-bit weights of a net for OpenVINO: `python tools/quantise_weights.py [WEIGHTS]`.

Writes WEIGHTS with the ending .int8.safetensors beside WEIGHTS (the weights that ship where none are named). The limits
of the eight bits are measured on simulated slices, drawn from a seed. About a minute on one core. Needs OpenVINO and
NNCF (`pip install nncf`), but no PyTorch.
"""
import argparse
import tempfile
from pathlib import Path

import numpy as np

from cryoseg.segment.engines import import_openvino, quantised_path, save_quantised, unet_graph
from cryoseg.segment.normalise import prepare
from cryoseg.segment.scenes import draw_scene, render_scene
from cryoseg.segment.settings import ROUGH_SCENES, SceneSettings, SlabSettings
from cryoseg.segment.slabs import simulate_slab
from cryoseg.segment.weights import default_weights, read_weights

N_SCENES = 40                   # drawn images, half of them rough, and
N_SLABS = 6                     # simulated volumes: with both, labels agree with those of the float weights best
SLAB_STEP = 8                   # every so many slices of a volume
SLAB_RIM = 4                    # without its outermost slices


def slices(seed):
    "Prepared slices (1,1,Y,X) that the net is quantised on."
    yield from scenes(seed)
    for k in range(N_SLABS):
        slab = simulate_slab(SlabSettings(), seed + k).slices
        yield from (prepare(np.asarray(image, np.float32))[None, None] for image in slab[SLAB_RIM:-SLAB_RIM:SLAB_STEP])


def scenes(seed):
    "Prepared drawn images, of both kinds in turn."
    for k in range(N_SCENES):
        layers, _ = draw_scene((SceneSettings(), ROUGH_SCENES)[k % 2], seed + k)
        yield prepare(render_scene(layers, np.random.default_rng(seed + k)))[None, None]


def quantised(weights, seed=0):
    "The graph of a net in eight bits."
    import nncf
    calibration = list(slices(seed))
    return nncf.quantize(unet_graph(weights), nncf.Dataset(calibration), preset=nncf.QuantizationPreset.MIXED, subset_size=len(calibration),
                         fast_bias_correction=False)     # the fast one makes membranes too likely on real slices, by 0.003


def quantise(path, seed=0):
    "Write the eight-bit weights beside the float weights `path`; returns where."
    openvino, graph = import_openvino(), quantised(read_weights(path), seed)
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / 'net.xml'
        openvino.save_model(graph, xml, compress_to_fp16=False)
        parts = [np.frombuffer(p.read_bytes(), np.uint8) for p in (xml, xml.with_suffix('.bin'))]
    save_quantised(quantised_path(path), *parts, path, calibrated_on=f'{N_SCENES} simulated scenes and slices of {N_SLABS} simulated slabs', seed=seed)
    return quantised_path(path)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('weights', type=Path, nargs='?', default=default_weights(), help='.safetensors file (default: those that ship)')
    parser.add_argument('--seed', type=int, default=0, help='of the scenes (default 0, as shipped)')
    args = parser.parse_args(arguments)
    made = quantise(args.weights, args.seed)
    print(f'{made}: {made.stat().st_size / 1e6:.1f} MB')


if __name__ == '__main__': main()
