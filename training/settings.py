"""The settings of a training: the values of the flags that all training scripts share."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """The settings of a training. Field names are the names of the flags, see training/cli.py.

    Attributes:
        script: Name of the training script, for args.json.
        arguments: All arguments of the script, for args.json.
    """

    script: str
    arguments: Mapping[str, Any]

    # the run
    output: Path
    resume: bool
    seed: int
    checkpoint_every: float  # [min]
    picture_every: int | None  # [steps]
    log_to: Sequence[str]

    # data
    inputs: Sequence[str]
    img_sizes: Sequence[Sequence[int]]  # (height, width) of each stage [px]
    epochs: Sequence[int]
    batch_size: int
    shuffle_block: int | None
    workers: int
    limit_samples: int | None
    augment: str

    # optimisation
    opt: str
    lr: float
    weight_decay: float
    momentum: float
    sched: str
    warmup_steps: int
    step_epochs: int
    step_gamma: float
    plateau_patience: int
    clip_grad: float | None
    clip_grad_value: float | None
    ema: float
    val_every: int  # [epochs]
    patience: int | None  # [validations]

    # speed
    amp: str
    channels_last: bool
    compile: bool
    accumulate: int
    sync_bn: bool


def fit_settings(args: argparse.Namespace, *, script: str) -> FitSettings:
    """Takes the settings from parsed arguments.

    Args:
        args: As `cli.parse_run` and `chain.links` give them.
        script: Name of the training script.
    """
    given = vars(args)
    names = {field.name for field in fields(FitSettings)} - {"script", "arguments"}
    return FitSettings(script=script, arguments=given, **{name: given[name] for name in names})
