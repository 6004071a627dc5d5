"""Averages the weights of several trainings from one start into one network, which is as fast.

    python train_depth.py --init-from runs/depth/best.safetensors --seed 1 --output runs/depth-1 ...
    python train_depth.py --init-from runs/depth/best.safetensors --seed 2 --output runs/depth-2 ...
    python -m tools.average_models runs/depth-1/last.safetensors runs/depth-2/last.safetensors \\
        --output runs/depth-mean.safetensors

The trainings may differ in seed, augmentation, loss and data, not in the network, in what it sees
or in the unit of its depth. Networks that began from different weights have no meaningful mean:
score the result before you use it.
"""

from dsetkit.stopping import SCRIPT_NAMES, end_while_loading, leave

if __name__ in SCRIPT_NAMES:
    end_while_loading(__name__)

from collections.abc import Sequence
from pathlib import Path

from dsetkit.arguments import Parser
from dsetkit.console import run
from models import ModelError, average_models, save_model

SCRIPT = "average_models"


def build_parser() -> Parser:
    parser = Parser(prog=SCRIPT, description="Average the weights of trainings from one start.")
    add = parser.add_argument
    add("weights", type=Path, nargs="+", metavar="FILE", help="best or last.safetensors of a run")
    add("--output", type=Path, required=True, metavar="FILE", help="weights file to write")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    net, metadata = average_models(args.weights)
    save_model(args.output, net, metadata)
    print(f"{args.output}: {net.arch}, mean of {len(args.weights)} files")


if __name__ == "__main__":
    leave(run(main, ModelError, name=SCRIPT))
