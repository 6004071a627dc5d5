"""The command line of the training scripts: shared flags, resumed values, exit status."""

import argparse
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dsetkit.console import run
from dsetkit.errors import RunError
from training import ranks
from training.augment import AUGMENT_HELP
from training.chain import CHAIN_LR
from training.run_dir import read_arguments
from training.schedule import OPTIMIZERS, SCHEDULES

# Arguments that may differ when a run continues: they change where files are and how fast it runs,
# not the result. (--accumulate fits a batch into memory; it changes results as little as the number
# of ranks does.)
FREE_ON_RESUME = (
    *("data", "output", "resume", "workers", "cache", "device", "checkpoint_every"),
    "accumulate",
)
CONTINUE = "stopped; --resume with the same --output continues from the last saved state"
LOG_FORMAT = "%(asctime)s %(message)s"  # where there is no terminal
SHOWN = "(default: %(default)s)"


def run_training(main: Callable[[], None], *user_errors: type[Exception], script: str) -> int:
    """Runs the `main` of a training script on every rank; returns its exit status.

    Args:
        main: the script; it parses its own arguments.
        user_errors: exceptions that the user can mend, besides DsetkitError.
        script: name of the script, the start of every error line.
    """

    def run_rank() -> None:
        ranks.join()
        if not ranks.is_first():
            logging.getLogger().setLevel(logging.WARNING)
        main()
        ranks.leave()

    return run(
        run_rank,
        *user_errors,
        name=script,
        on_interrupt=CONTINUE,
        seconds_to_stop=None,  # a step may take longer
        log_format=LOG_FORMAT,
        print_line=ranks.print_once,
        explain=ranks.explain_lost_peer,
    )


def parse_run(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None = None
) -> argparse.Namespace:
    """Parses the arguments of a training; --resume takes missing ones from the run.

    Raises:
        RunError: --data or --output is missing, --resume with an argument that changes the run, or
            a batch that does not fall into equal parts.
    """
    args = parser.parse_args(argv)
    if args.output is None:
        raise RunError("--output is missing: expected the folder of the run")
    if args.resume:
        saved = read_arguments(args.output, script=parser.prog)
        parser.set_defaults(**saved)
        args = parser.parse_args(argv)
        for name, before in saved.items():
            now = getattr(args, name)
            if name not in FREE_ON_RESUME and now != before:
                flag = "--" + name.replace("_", "-")
                raise RunError(
                    f"{flag} {_shown(now)} does not continue {args.output}, which was started with "
                    f"{flag} {_shown(before)}: leave {flag} out, or start a new run with another "
                    "--output"
                )
    if args.data is None:
        raise RunError("--data is missing: expected the dataset's directory")
    if isinstance(args.data, str):  # the one dataset that args.json names
        args.data = [args.data]
    ranks.check_batch_size(args.batch_size, accumulate=args.accumulate)
    return args


def _shown(value: object) -> str:
    if isinstance(value, list):
        return " ".join("x".join(map(str, v)) if isinstance(v, list) else str(v) for v in value)
    return str(value)


# ---- the flags that all training scripts share -------------------------------------------------


# fmt: off
def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that do not depend on the task."""
    add = parser.add_argument_group("run").add_argument
    add("--data", nargs="+", metavar="DATASET",
        help="directory made by `python -m dsetkit generate`, or its address (s3://...); several, "
        "or a pattern, are read as one, or with --chain one after another")
    add("--chain", action="store_true",
        help="train on one dataset after another, each from the best weights of the one before")
    add("--chain-lr", choices=CHAIN_LR, default="restart",
        help=f"learning rate of each next dataset: --lr again, or what the last ended with {SHOWN}")
    add("--output", metavar="RUN", type=Path, help="run folder; made when it is not there")
    add("--resume", action="store_true", help="continue the run in --output; needs nothing else")
    add("--arch-options", nargs="+", type=arch_option, default=[], metavar="NAME=VALUE",
        help="options of --arch, as full_size=true (default: its own)")
    add("--init-from", metavar="CHECKPOINT", help="start a new run from these .safetensors weights")
    add("--pretrained", metavar="FILE", help="encoder weights, from a file on this machine")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help=SHOWN)
    add("--seed", type=int, default=0, metavar="N", help=f"of weights, order, augmentation {SHOWN}")
    add("--checkpoint-every", type=float, default=5, metavar="MINUTES",
        help=f"time between two saves within an epoch [min]; 0 = after every step {SHOWN}")
    add("--picture-every", type=positive_int, metavar="STEPS",
        help="draw predictions this often within an epoch too (default: at its end alone)")

    add = parser.add_argument_group("data").add_argument
    add("--inputs", nargs="+", choices=("composite", "background"), default=["composite"],
        help="pictures the network sees, in this order (default: composite)")
    add("--img-sizes", nargs="+", type=image_size, default=[[32, 32], [64, 64]], metavar="SIZE",
        help="N or HxW [px], one stage of training for each (default: 32 64)")
    add("--epochs", nargs="+", type=positive_int, default=[10], metavar="N",
        help="of each stage, or one number for all (default: 10)")
    add("--batch-size", type=positive_int, default=32, metavar="N",
        help=f"samples per step, of all processes together {SHOWN}")
    add("--shuffle-block", type=positive_int, metavar="N",
        help="shuffle blocks of N neighbouring samples and within windows of 16 blocks, so that a "
        "dataset larger than the memory is read nearly in order (default: one whole shuffle)")
    add("--workers", type=int, default=0, metavar="N",
        help=f"processes that load samples; 0 = threads of this one {SHOWN}")
    add("--cache", type=Path, metavar="DIR",
        help="keep every sample decoded and resized in a file there, made at the first use "
        "(by all cores: `dsetkit cache`), and read it at the speed of memory: about 24 kB a sample "
        "at 64 px (default: no cache)")
    add("--limit-samples", type=positive_int, metavar="N",
        help="use N samples, spread over each split, for a quick look (default: all)")
    add("--augment", default="flip", metavar="SPEC",
        help=f"{AUGMENT_HELP} {SHOWN}")

    add = parser.add_argument_group("optimisation").add_argument
    add("--opt", choices=OPTIMIZERS, default="adamw", help=SHOWN)
    add("--lr", type=float, default=5e-4, metavar="RATE", help=f"base learning rate {SHOWN}")
    add("--weight-decay", type=float, default=1e-2, metavar="W",
        help=f"on all weights but biases and norms {SHOWN}")
    add("--momentum", type=float, default=0.9, metavar="M",
        help=f"of --opt sgd and rmsprop {SHOWN}")
    add("--sched", choices=SCHEDULES, default="cosine", help=f"of the learning rate {SHOWN}")
    add("--warmup-steps", type=int, default=0, metavar="N",
        help=f"steps of rising learning rate at the start, not with --sched onecycle {SHOWN}")
    add("--step-epochs", type=positive_int, default=10, metavar="N",
        help=f"epochs between two reductions of --sched step {SHOWN}")
    add("--step-gamma", type=float, default=0.1, metavar="G",
        help=f"factor of each reduction, --sched step and plateau {SHOWN}")
    add("--plateau-patience", type=int, default=3, metavar="N",
        help=f"validations without a new best before --sched plateau reduces {SHOWN}")
    add("--clip-grad", type=float, metavar="NORM", help="largest gradient norm (default: any)")
    add("--clip-grad-value", type=float, metavar="V",
        help="largest size of each gradient value (default: any)")
    add("--ema", type=float, default=0.0, metavar="DECAY",
        help=f"validate and save an average of the weights, 0.999 say; 0 = off {SHOWN}")
    add("--val-every", type=positive_int, default=1, metavar="N",
        help=f"epochs per validation {SHOWN}")
    add("--patience", type=positive_int, metavar="N",
        help="end a stage after N validations without a new best (default: never)")

    add = parser.add_argument_group("speed").add_argument
    add("--amp", choices=("auto", "bf16", "none"), default="auto",
        help=f"mixed precision; auto = bf16 on CUDA, none on CPU {SHOWN}")
    add("--channels-last", action=argparse.BooleanOptionalAction, default=True,
        help=f"memory format of the convolutions {SHOWN}")
    add("--compile", action="store_true", help="compile the network: slow start, faster steps")
    add("--accumulate", type=positive_int, default=1, metavar="N",
        help="take each batch in N parts, one after another, in 1/N of the memory; the numbers of "
        "the whole batch but for batch norm, which sees the parts, and for parts that differ in "
        f"valid pixels {SHOWN}")
    add("--sync-bn", action="store_true",
        help="with torchrun: batch norm over the whole batch, not over each process's share")
# fmt: on


def arch_option(text: str) -> list[Any]:
    """Reads "full_size=true" as ["full_size", True]: a name and a JSON value, or plain text."""
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals):
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=VALUE, as full_size=true")
    try:
        return [name, json.loads(value)]
    except ValueError:
        return [name, value]


def image_size(text: str) -> list[int]:
    """Reads "64" as [64, 64], "48x64" as [48, 64]: (height, width) [px]."""
    sides = [positive_int(side) for side in text.split("x")]
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"{text!r}: expected N or HxW")
    return sides * 2 if len(sides) == 1 else sides


def positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number above 0")
    return int(text)
