"""Train the net that ships, from simulated images alone: `python tools/train_general.py --output FILE [--seed 0]`.

About an hour on two cores. The same seed gives the same net but for rounding, which differs between processors and
numbers of threads. FILE is a .safetensors file; `cryoseg run --weights FILE` uses it. The shipped weights are
cryoseg/weights/general.safetensors, made with seed 0 and two threads.
"""
import argparse
from pathlib import Path

import numpy as np
import torch

from cryoseg.segment.settings import GeneralSettings
from cryoseg.segment.train import train_general
from cryoseg.segment.unet import save_weights

STEPS_A_MEAN = 25               # losses are stored as means of so many steps
STEPS_A_LINE = 100              # of progress


def mean_losses(losses):
    "The losses in the header of the weights: means of 25 steps, divided by commas."
    means = [np.mean(losses[k:k + STEPS_A_MEAN]) for k in range(0, len(losses), STEPS_A_MEAN)]
    return ','.join(f'{mean:.4f}' for mean in means)


def train_to(path, seed=0, workers=2, settings=GeneralSettings(), after_step=None):
    "Train from `seed` and write the weights to `path`."
    net, losses = train_general(settings, seed, workers, after_step)
    save_weights(path, net, trained_on='simulated scenes and slabs', seed=seed, steps=len(losses), losses=mean_losses(losses))
    return losses


def progress(step, loss):
    "Print the loss now and then."
    if (step + 1) % STEPS_A_LINE == 0: print(f'step {step + 1}: loss {loss:.4f}', flush=True)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-o', '--output', type=Path, required=True, help='.safetensors file to write')
    parser.add_argument('--seed', type=int, default=0, help='of the images, the net and the order (default 0, as shipped)')
    parser.add_argument('--workers', type=int, default=2, help='processes that simulate and threads that train (default 2)')
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.workers)
    losses = train_to(args.output, args.seed, args.workers, after_step=progress)
    print(f'{args.output}: {len(losses)} steps, mean of the last {STEPS_A_MEAN} losses {np.mean(losses[-STEPS_A_MEAN:]):.4f}')


if __name__ == '__main__': main()
