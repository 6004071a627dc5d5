"""train_depth.py whose ranks come to a gate before a step.

    torchrun --nproc-per-node 2 tests/helpers/gated_training.py GATE STEP ARGUMENTS

ARGUMENTS are those of train_depth.py.

Where they are, as a visitor's `place`, is their rank.
"""

import sys
from functools import partial
from pathlib import Path

import train_depth
from dsetkit.stopping import leave
from models import ModelError
from tests.helpers.gates import come_to
from training import ranks
from training.augment import AUGMENTATIONS, Augmentation
from training.cli import run_training
from training.loop import Batch


class Gated:
    """An augmentation, of which each step has one, after the gate."""

    def __init__(self, augment: Augmentation, gate: Path, step: int) -> None:
        self._augment, self._gate, self._left = augment, gate, step

    def __call__(self, batch: Batch) -> Batch:
        if not self._left:
            come_to(self._gate, ranks.place()[0])
        self._left -= 1
        return self._augment(batch)


if __name__ == "__main__":
    gate, step, *given = sys.argv[1:]
    AUGMENTATIONS["flip"] = Gated(AUGMENTATIONS["flip"], Path(gate), int(step))
    main = partial(train_depth.main, given)
    leave(run_training(main, ModelError, script=Path(__file__).name))
