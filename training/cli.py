"""The command line of the training scripts: shared flags, resumed values, exit status."""

import argparse
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dsetkit.arguments import (
    BATCH,
    COUNT,
    DECAY,
    GAMMA,
    MINUTES,
    MOMENTUM,
    PATIENCE,
    POSITIVE,
    RATE,
    SEED,
    STEPS,
    WORKERS,
    Parser,
    image_size,
    shown,
)
from dsetkit.console import run
from dsetkit.errors import DsetkitError, RunError
from training import ranks
from training.augment import AUGMENT_HELP, augmentations_of, default_augment
from training.chain import CHAIN_LR
from training.optimizer import OPTIMIZERS
from training.presets import PRESET_HELP, PRESETS, REFERENCE, defaults_of
from training.run_files import ARGUMENTS_FILE, read_arguments
from training.schedule import SCHEDULES
from training.trackers import LOG_TO_HELP, find_tracker

# Arguments that may differ when a run continues: they change where files are and how fast it runs,
# not the result. (--accumulate fits a batch into memory; it changes results as little as the number
# of ranks does.)
FREE_ON_RESUME = (
    *("data", "output", "resume", "workers", "cache", "device", "checkpoint_every"),
    *("accumulate", "log_to"),
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


def parse_run(parser: Parser, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the arguments of a training; --resume takes missing ones from the run.

    Raises:
        RunError: --data or --output is missing, --resume with an argument that changes the run, a
            batch that does not fall into equal parts, or an unknown augmentation or tracker.
    """
    args = parser.parse_args(argv)
    if not args.resume:
        parser.set_defaults(**defaults_of(args.preset, script=parser.prog))
        args = parser.parse_args(argv)
    if args.output is None:
        raise RunError("--output is missing: expected the folder of the run")
    if args.resume:
        saved = vars(_saved_arguments(parser, args.output))
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
    ranks.check_batch_size(args.batch_size, accumulate=args.accumulate)
    args.augment = args.augment or default_augment(args.inputs)
    augmentations_of(args.augment)
    for name in args.log_to:
        find_tracker(name)
    return args


def _saved_arguments(parser: Parser, run_dir: Path) -> argparse.Namespace:
    """The arguments that a run was started with, parsed and checked like those of a command line.

    Raises:
        RunError: Its args.json holds others.
    """
    saved = read_arguments(run_dir, script=parser.prog)
    path = run_dir / ARGUMENTS_FILE
    words = list[str]()
    for action in parser._actions:  # argparse has no public list of them
        first, *others = _words(action, saved.pop(action.dest, None)) or [""]
        if not _is_text(first) or not all(_is_text(word) and word[:1] != "-" for word in others):
            raise RunError(f"{path}: {action.dest} cannot be words of a command line")
        words += [first, *others] if first else []
    if saved:
        raise RunError(f"{path}: {parser.prog} has no argument {shown(min(saved))}")
    try:
        return parser.parse_file(words, path)
    except DsetkitError as error:
        raise RunError(f"{error}; start a new run with another --output") from error


def _words(action: argparse.Action, value: object) -> list[str]:
    """A value of args.json as words of a command line: none for one that was not given."""
    flag = action.option_strings[0]
    if value is None or value is False or value == []:
        is_pair = isinstance(action, argparse.BooleanOptionalAction) and value is False
        return [action.option_strings[1]] if is_pair else []
    if action.nargs == 0:
        return [flag] if value is True else [f"{flag}={value}"]  # the second one is refused
    if not isinstance(value, list) or action.nargs is None:
        return [f"{flag}={value}"]
    return [flag, *map(_word, value)]


def _is_text(word: str) -> bool:
    """Whether a word could come from a command line."""
    try:
        return b"\0" not in os.fsencode(word)
    except UnicodeEncodeError:
        return False


def _word(value: object) -> str:
    """An entry of a list of args.json: a size is a list of two numbers, an option of two others."""
    if not isinstance(value, list):
        return str(value)
    if len(value) == 2 and isinstance(value[0], str):
        return f"{value[0]}={json.dumps(value[1])}"
    return "x".join(map(str, value))


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
    add("--preset", choices=PRESETS, default=REFERENCE, help=f"{PRESET_HELP} {SHOWN}")
    add("--arch-options", nargs="+", type=arch_option, default=[], metavar="NAME=VALUE",
        help="options of --arch, as full_size=true (default: its own)")
    add("--init-from", metavar="CHECKPOINT", help="start a new run from these .safetensors weights")
    add("--pretrained", metavar="FILE", help="encoder weights, from a file on this machine")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help=SHOWN)
    add("--seed", type=SEED, default=0, metavar="N",
        help=f"of weights, order, augmentation {SHOWN}")
    add("--checkpoint-every", type=MINUTES, default=5, metavar="MINUTES",
        help=f"time between two saves within an epoch [min]; 0 = after every step {SHOWN}")
    add("--picture-every", type=COUNT, metavar="STEPS",
        help="draw predictions this often within an epoch too (default: at its end alone)")
    add("--log-to", nargs="+", default=["tensorboard"], metavar="TRACKER",
        help=f"{LOG_TO_HELP} (default: tensorboard)")

    add = parser.add_argument_group("data").add_argument
    add("--inputs", nargs="+", choices=("composite", "background"), default=["composite"],
        help="pictures the network sees, in this order (default: composite)")
    add("--img-sizes", nargs="+", type=image_size, default=[[32, 32], [64, 64]], metavar="SIZE",
        help="N or HxW [px], one stage of training for each (default: 32 64)")
    add("--epochs", nargs="+", type=COUNT, default=[10], metavar="N",
        help="of each stage, or one number for all (default: 10)")
    add("--batch-size", type=BATCH, default=32, metavar="N",
        help=f"samples per step, of all processes together {SHOWN}")
    add("--shuffle-block", type=COUNT, metavar="N",
        help="shuffle blocks of N neighbouring samples and within windows of 16 blocks, so that a "
        "dataset larger than the memory is read nearly in order (default: one whole shuffle)")
    add("--workers", type=WORKERS, default=0, metavar="N",
        help=f"processes that load samples; 0 = threads of this one {SHOWN}")
    add("--cache", type=Path, metavar="DIR",
        help="keep every sample decoded and resized in a file there, made at the first use "
        "(by all cores: `dsetkit cache`), and read it at the speed of memory: about 24 kB a sample "
        "at 64 px (default: no cache)")
    add("--limit-samples", type=COUNT, metavar="N",
        help="use N samples, spread over each split, for a quick look (default: all)")
    add("--augment", metavar="SPEC",
        help=f"{AUGMENT_HELP} (default: flip; flip+camera if the network sees the background)")

    add = parser.add_argument_group("optimisation").add_argument
    add("--opt", choices=OPTIMIZERS, default="adamw", help=SHOWN)
    add("--lr", type=RATE, default=5e-4, metavar="RATE", help=f"base learning rate {SHOWN}")
    add("--weight-decay", type=RATE, default=1e-2, metavar="W",
        help=f"on all weights but biases and norms {SHOWN}")
    add("--momentum", type=MOMENTUM, default=0.9, metavar="M",
        help=f"of --opt sgd and rmsprop {SHOWN}")
    add("--sched", choices=SCHEDULES, default="cosine", help=f"of the learning rate {SHOWN}")
    add("--warmup-steps", type=STEPS, default=0, metavar="N",
        help=f"steps of rising learning rate at the start, not with --sched onecycle {SHOWN}")
    add("--step-epochs", type=COUNT, default=10, metavar="N",
        help=f"epochs between two reductions of --sched step {SHOWN}")
    add("--step-gamma", type=GAMMA, default=0.1, metavar="G",
        help=f"factor of each reduction, --sched step and plateau {SHOWN}")
    add("--plateau-patience", type=PATIENCE, default=3, metavar="N",
        help=f"validations without a new best before --sched plateau reduces {SHOWN}")
    add("--clip-grad", type=POSITIVE, metavar="NORM", help="largest gradient norm (default: any)")
    add("--clip-grad-value", type=POSITIVE, metavar="V",
        help="largest size of each gradient value (default: any)")
    add("--ema", type=DECAY, default=0.0, metavar="DECAY",
        help=f"validate and save an average of the weights, 0.999 say; 0 = off {SHOWN}")
    add("--val-every", type=COUNT, default=1, metavar="N",
        help=f"epochs per validation {SHOWN}")
    add("--patience", type=COUNT, metavar="N",
        help="end a stage after N validations without a new best (default: never)")

    add = parser.add_argument_group("speed").add_argument
    add("--amp", choices=("auto", "bf16", "none"), default="auto",
        help="mixed precision; auto = bf16 on CUDA, and on a CPU with bf16 instructions if a few "
        f"timed steps say that it is faster, else none {SHOWN}")
    add("--channels-last", action=argparse.BooleanOptionalAction, default=True,
        help="memory format of the convolutions: most networks train faster with it (default: on)")
    add("--compile", action="store_true", help="compile the network: slow start, faster steps")
    add("--accumulate", type=BATCH, default=1, metavar="N",
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
        raise argparse.ArgumentTypeError(
            f"expected NAME=VALUE, as full_size=true, got {shown(text)}"
        )
    try:
        return [name, json.loads(value)]
    except (ValueError, RecursionError):
        return [name, value]
