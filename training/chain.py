"""Training on one dataset after another (`--data A B C --chain`), as reference system 003 did.

Each dataset gets a run of its own below the output folder, set-1, set-2, ...; the best weights of
one open the next. A chain that was cut off goes on with --resume like any run.
"""

import argparse
import copy
import csv
from collections.abc import Iterator
from pathlib import Path

from training.checkpoint import STATE_FILE
from training.errors import RunError
from training.run_dir import LOG_FILE, write_arguments

CHAIN_LR = ("restart", "continue")


def links(args: argparse.Namespace, *, script: str) -> Iterator[argparse.Namespace]:
    """The runs that a training's arguments ask for: one, or with --chain one for each dataset.

    Args:
        args: as parsed; `args.data` is a list.
        script: name of the training script, for args.json of the chain.

    Yields:
        The arguments of each run, `data` one path; each is made when the run before has ended.

    Raises:
        RunError: several datasets without --chain.
    """
    if not args.chain:
        if len(args.data) > 1:
            raise RunError(
                f"--data names {len(args.data)} datasets: expected one, or --chain to train on one "
                "after another"
            )
        yield _with(args, data=args.data[0])
        return
    if not args.resume:
        write_arguments(args.output, vars(args), script=script)
    before: Path | None = None
    for number, data in enumerate(args.data, start=1):
        output = args.output / f"set-{number}"
        resume = args.resume and (output / STATE_FILE).exists()
        link = _with(args, data=data, output=output, resume=resume, chain=False)
        if before is not None:
            link.init_from, link.pretrained = str(before / "best.safetensors"), None
            if args.chain_lr == "continue":
                link.lr, link.warmup_steps = _last_lr(before), 0
        yield link
        before = output


def _with(args: argparse.Namespace, **changes: object) -> argparse.Namespace:
    changed = copy.copy(args)
    vars(changed).update(changes)
    return changed


def _last_lr(run_dir: Path) -> float:
    """The learning rate a run ended with."""
    with (run_dir / LOG_FILE).open(newline="") as file:
        return float(list(csv.DictReader(file))[-1]["lr"])
