"""Predicts masks, cut-outs and depths of pictures with networks that you trained.

    python predict.py --checkpoint runs/mask/best.safetensors --composite PICTURES --output DIR
    python predict.py --checkpoint MASK DEPTH --composite A... --background B... --output DIR
    python predict.py --model mask.onnx --composite film.mp4 --output DIR         # without torch

The same as `python -m dsetkit predict`; from Python, `dsetkit.Predictor`.
"""

import dsetkit.openmp  # noqa: F401  (before torch)

from dsetkit.stopping import SCRIPT_NAMES, end_while_loading, leave

if __name__ in SCRIPT_NAMES:
    end_while_loading(__name__)

import sys
from collections.abc import Sequence

from dsetkit.cli import main as dsetkit_main
from dsetkit.console import run

SCRIPT = "predict.py"


def main(argv: Sequence[str] | None = None) -> None:
    dsetkit_main(["predict", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    leave(run(main, name=SCRIPT))
