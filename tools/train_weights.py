"""Train the net that ships, from simulated images alone: `python tools/train_weights.py -o FILE [--seed 0]`.

Three rounds: shapes, shapes in dirt, and what these leave out. Hours on two cores; so it stops and goes on: every ten minutes a
checkpoint is written beside FILE, and `--resume` goes on from it (`--minutes` stops by itself). The images of a step depend on seed,
round and step alone, so a training that was stopped ends as one that was not, but for rounding, which differs between processors and
numbers of threads. `--start WEIGHTS --first-round N` begins with ready weights. FILE is a .safetensors file, which `cryoseg run --weights FILE` uses.
"""
import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cryoseg.base.files import atomic_write
from cryoseg.segment.engines import has_bf16
from cryoseg.segment.settings import GeneralSettings
from cryoseg.segment.train import train_round
from cryoseg.segment.unet import UNet, load_weights, new_optimiser, save_weights

STEPS_A_MEAN = 25               # losses are stored as means of so many steps
STEPS_A_LINE = 100              # of progress
CHECKPOINT_S = 600              # between two checkpoints
ROUNDS = 'shapes', 'shapes in dirt', 'what these leave out'


def mean_losses(losses):
    "The losses in the header of the weights: means of 25 steps, divided by commas."
    means = [np.mean(losses[k:k + STEPS_A_MEAN]) for k in range(0, len(losses), STEPS_A_MEAN)]
    return ','.join(f'{mean:.4f}' for mean in means)


class Trainer:
    "A training that can be stopped and resumed. `losses` are those of its steps; `began_with` and `steps_before` of the weights with which it began."
    def __init__(self, path, settings=GeneralSettings(), seed=0, workers=2, minutes=None, say=print):
        self.path, self.settings, self.seed, self.workers, self.say = Path(path), settings, seed, workers, say
        self.checkpoint = self.path.with_suffix('.checkpoint')
        self.part, self.step, self.losses, self.optimiser = 0, 0, [], None
        self.began_with, self.steps_before = '', 0
        self.began = self.saved = time.monotonic()
        self.until = self.began + 60*minutes if minutes else np.inf

    def start(self, weights=None, first_round=0):
        "Begin with new weights, or with ready ones in a later round."
        torch.manual_seed(self.seed)
        self.net = load_weights(weights) if weights else UNet(self.settings.width, self.settings.depth)
        self.began_with, self.steps_before = self.net.about.get('losses', ''), int(self.net.about.get('steps', 0))
        self.part = first_round
        return self

    def resume(self):
        "Go on from the checkpoint."
        if not self.checkpoint.exists(): raise SystemExit(f'there is no {self.checkpoint} to go on from; leave --resume out to begin')
        kept = torch.load(self.checkpoint, weights_only=True)
        if kept['settings'] != repr(self.settings) or kept['seed'] != self.seed:
            raise SystemExit(f'{self.checkpoint} is of other settings or another seed; give the same, or another -o')
        self.net = UNet(**kept['architecture'])
        self.net.load_state_dict(kept['net'])
        for name in ('part', 'step', 'losses', 'began_with', 'steps_before'): setattr(self, name, kept[name])
        self.optimiser = new_optimiser(self.net, self.settings.rounds[self.part])
        self.optimiser.load_state_dict(kept['optimiser'])
        return self

    def save(self):
        "Write the checkpoint."
        kept = dict(settings=repr(self.settings), seed=self.seed, architecture=self.net.architecture, net=self.net.state_dict(), part=self.part, step=self.step,
                    losses=self.losses, began_with=self.began_with, steps_before=self.steps_before, optimiser=self.optimiser.state_dict())
        with atomic_write(self.checkpoint) as temporary: torch.save(kept, temporary)
        self.saved = time.monotonic()

    def after_step(self, step, loss):
        "Note a step; True where the time is up."
        self.step = step + 1
        self.losses.append(loss)
        if self.step % STEPS_A_LINE == 0:
            rate = (time.monotonic() - self.began)/max(self.step - self.first_step, 1)
            left = rate*(self.settings.rounds[self.part].steps - self.step)/60
            self.say(f'{ROUNDS[self.part]}, step {self.step}: loss {np.mean(self.losses[-STEPS_A_LINE:]):.4f}, {left:.0f} minutes left in this round', flush=True)
        stop = time.monotonic() > self.until
        if stop or time.monotonic() - self.saved > CHECKPOINT_S: self.save()
        return stop

    def run(self):
        "Do what is left of all rounds and write the weights; False where the time was up before."
        bf16 = has_bf16('cpu')          # elsewhere the processor would compute in it ten times more slowly
        rounds = [replace(r, bf16=r.bf16 and bf16) for r in self.settings.rounds]
        computed = replace(self.settings, **dict(zip(('train', 'polish', 'hard'), rounds)))
        while self.part < len(rounds):
            if self.optimiser is None: self.optimiser = new_optimiser(self.net, rounds[self.part])
            self.first_step, self.began = self.step, time.monotonic()
            train_round(self.net, self.part, computed, self.seed, self.workers, self.after_step, self.optimiser, self.step)
            if self.step < rounds[self.part].steps: return False
            self.part, self.step, self.optimiser = self.part + 1, 0, None
        losses = ','.join(filter(None, [self.began_with, mean_losses(self.losses)]))
        save_weights(self.path, self.net.eval(), trained_on='simulated scenes and slabs', seed=self.seed, steps=self.steps_before + len(self.losses), losses=losses)
        self.checkpoint.unlink(missing_ok=True)
        return True


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-o', '--output', type=Path, required=True, help='.safetensors file to write')
    parser.add_argument('--resume', action='store_true', help='go on from the checkpoint beside it')
    parser.add_argument('--start', type=Path, help='weights to begin with, instead of new ones')
    parser.add_argument('--first-round', type=int, default=0, choices=range(len(ROUNDS)), help='round to begin with: 0 shapes, 1 dirt, 2 what these leave out')
    parser.add_argument('--seed', type=int, default=0, help='of the images, the net and the order (default 0, as shipped)')
    parser.add_argument('--workers', type=int, default=2, help='processes that simulate and threads that train (default 2)')
    parser.add_argument('--minutes', type=float, help='stop after so many, with a checkpoint')
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.workers)
    trainer = Trainer(args.output, seed=args.seed, workers=args.workers, minutes=args.minutes)
    done = (trainer.resume() if args.resume else trainer.start(args.start, args.first_round)).run()
    print(f'{args.output}: {len(trainer.losses)} steps, mean of the last {STEPS_A_MEAN} losses {np.mean(trainer.losses[-STEPS_A_MEAN:]):.4f}' if done else
          f'stopped after {len(trainer.losses)} steps; go on with --resume')


if __name__ == '__main__': main()
