"""Training on one dataset after another (`--data A B C --chain`), as reference system 003 did.

Each dataset has its own run below the output folder, set-1, set-2, ... Each run after the first
starts from the best weights of the one before. --resume continues a chain like any run.
"""

import argparse
import copy
import math
from collections.abc import Iterator
from pathlib import Path

from dsetkit.errors import RunError
from training import ranks
from training.run_files import has_state, read_log, write_arguments

CHAIN_LR = ("restart", "continue")


def links(args: argparse.Namespace, *, script: str) -> Iterator[argparse.Namespace]:
    """The runs of a training: one, or with --chain one for each dataset.

    Args:
        args: as parsed; `args.data` is a list.
        script: name of the training script, for args.json of the chain.

    Yields:
        The arguments of each run, once the run before has ended: `data` is one dataset, or,
        without --chain, a list of several that are read as one.
    """
    if not args.chain:
        yield _with(args, data=args.data[0] if len(args.data) == 1 else args.data)
        return
    if not args.resume:
        write_arguments(args.output, vars(args), script=script)
    before: Path | None = None
    for number, data in enumerate(args.data, start=1):
        output = args.output / f"set-{number}"
        resume = args.resume and has_state(output)
        link = _with(args, data=data, output=output, resume=resume, chain=False)
        if before is not None:
            link.init_from, link.pretrained = str(before / "best.safetensors"), None
            if args.chain_lr == "continue":
                link.lr, link.warmup_steps = _last_lr(before), 0
        yield link
        ranks.barrier()  # until rank 0 has written its weights
        before = output


def _with(args: argparse.Namespace, **changes: object) -> argparse.Namespace:
    changed = copy.copy(args)
    vars(changed).update(changes)
    return changed


def _last_lr(run_dir: Path) -> float:
    """The learning rate a run ended with.

    Raises:
        RunError: Its log.csv does not tell.
    """
    last = next(reversed(read_log(run_dir)), {})
    try:
        rate = float(last.get("lr") or "nan")
    except (ValueError, TypeError):
        rate = math.nan
    if not 0 <= rate < math.inf:
        raise RunError(f"{run_dir}/log.csv has no lr in its last line: expected a learning rate")
    return rate
