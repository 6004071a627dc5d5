"""The folder of a training: how it begins and continues, its log, its pictures; and its stages.

The files of the folder are listed in training/run_files.py.
"""

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dsetkit.errors import RunError
from training import ranks
from training.checkpoint import Stateful, forget_state, has_trained, load_state
from training.loop import TIME_COLUMNS, Progress
from training.run_files import (
    BEST_FILE,
    LAST_FILE,
    LOG_FILE,
    STATE_FILE,
    check_same_dataset,
    has_state,
    read_log,
    write_arguments,
    write_file,
)
from training.trackers import Tracker

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """A part of the training at one image size.

    Attributes:
        number: 1, 2, ...
        size: (height, width) of the samples [px].
        first: its first epoch, counted over all stages from 0.
        end: the epoch after its last one.
    """

    number: int
    size: tuple[int, int]
    first: int
    end: int

    @property
    def size_name(self) -> str:
        """The size as "HxW"."""
        return "x".join(map(str, self.size))


def make_stages(
    sizes: Sequence[Sequence[int]], epochs: Sequence[int], *, stride: int
) -> list[Stage]:
    """Lists the stages of a training, one after another.

    Args:
        sizes: (height, width) of each stage [px].
        epochs: of each stage, or one number for all.
        stride: sides must be multiples of it.

    Raises:
        RunError: counts that do not match, or a size that does not fit the network.
    """
    if len(epochs) not in (1, len(sizes)):
        raise RunError(
            f"--epochs gives {len(epochs)} numbers for {len(sizes)} --img-sizes: expected 1 or "
            f"{len(sizes)}"
        )
    stages, first = [], 0
    for number, (height, width) in enumerate(sizes, start=1):
        fitting = [-(-side // stride) * stride for side in (height, width)]
        if fitting != [height, width]:
            raise RunError(
                f"--img-sizes {height}x{width} does not fit the network: expected multiples of "
                f"{stride}, the next is {fitting[0]}x{fitting[1]}"
            )
        end = first + epochs[(number - 1) % len(epochs)]
        stages.append(Stage(number, (height, width), first, end))
        first = end
    return stages


# ---- the folder --------------------------------------------------------------------------------


def start_run(
    run_dir: Path,
    arguments: Mapping[str, Any],
    *,
    script: str,
    fingerprint: str,
    precision: Mapping[str, str],
) -> None:
    """Makes the folder of a new run and writes args.json; arguments as of `write_arguments`.

    A run that ended before its first step is replaced: there is nothing to lose.

    Raises:
        RunError: The folder holds a run already; nothing is overwritten.
    """
    if has_state(run_dir) and has_trained(run_dir / STATE_FILE):
        raise RunError(
            f"{run_dir} holds a run already: continue it with --resume, or choose another --output"
        )
    ranks.barrier()  # until every rank has looked, rank 0 must not write
    forget_state(run_dir)
    write_arguments(run_dir, arguments, script=script, fingerprint=fingerprint, precision=precision)


def continue_run(
    run_dir: Path, parts: Mapping[str, Stateful], progress: Progress, fingerprint: str
) -> None:
    """Restores the saved state of a run into `parts` and `progress`.

    Raises:
        RunError: it was started on another dataset, or its state cannot be read.
    """
    check_same_dataset(run_dir, fingerprint)
    path = run_dir / STATE_FILE
    try:
        progress.load_state_dict(load_state(path, parts))
    except ValueError as error:
        raise RunError(f"{path} is no training state: its progress has {error}") from error
    _restore_times(run_dir, progress.rows)
    logger.info("continuing after %d epochs, %d batches", progress.epoch, progress.batch)


def _restore_times(run_dir: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Gives rows the times that log.csv has of them; the state has none."""
    if not rows:
        return
    try:
        logged = {line.get("epoch"): line for line in read_log(run_dir)}
    except RunError as error:
        logger.warning("%s; it is written anew, without the times of the epochs so far", error)
        return
    for row in rows:
        line = logged.get(str(row["epoch"]), {})
        row.update({name: line[name] for name in TIME_COLUMNS if line.get(name)})


def check_has_best(run_dir: Path) -> None:
    """Raises RunError when a run that has ended holds no best weights."""
    if ranks.is_first() and not (run_dir / BEST_FILE).exists():
        raise RunError(
            f"{run_dir} has no {BEST_FILE}: no validation gave a finite score; see {LOG_FILE}; "
            f"{LAST_FILE} holds the newest weights"
        )


# ---- logs and pictures -------------------------------------------------------------------------


def write_log(run_dir: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes log.csv anew: one line per row, columns in the order in which they first appear."""
    text = io.StringIO(newline="")
    columns = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_file(run_dir / LOG_FILE, text.getvalue().encode())


def log_row(
    row: Mapping[str, Any], scores: Sequence[str], *, seconds: float, is_best: bool
) -> None:
    """Logs an epoch in one line: loss, scores, duration and speed.

    Args:
        row: the epoch's row of log.csv.
        scores: the columns to show; those that the row lacks are left out.
        seconds: duration of the epoch, validation included [s].
        is_best: whether its score is the best of the stage so far.
    """
    parts = [f"{name} {row[name]:.4f}" for name in ("train_loss", *scores) if name in row]
    speed = f"{row['samples_per_s']:.0f} samples/s, {row['data_wait_share']:.0%} waiting for data"
    parts += [f"{seconds:.1f} s", speed, *(["best so far"] if is_best else [])]
    logger.info("epoch %d at %s  %s", row["epoch"], row["img_size"], "  ".join(parts))


def record_epoch(
    run_dir: Path,
    trackers: Sequence[Tracker],
    rows: Sequence[Mapping[str, Any]],
    grid: np.ndarray,
) -> None:
    """Records the epoch that just ended, the last of `rows`: log.csv, picture, trackers.

    Args:
        run_dir: the run's folder.
        trackers: where the training reports to.
        rows: one dict per finished epoch, numbers and texts.
        grid: prediction grid, uint8 RGB (H, W, 3).
    """
    epoch = rows[-1]["epoch"]
    write_log(run_dir, rows)
    _record_picture(run_dir / f"epoch-{epoch:03d}.png", grid)
    values = {name: value for name, value in rows[-1].items() if isinstance(value, float)}
    for tracker in trackers:
        tracker.picture("predictions", grid, step=epoch)
        tracker.scalars(values, epoch=epoch)


def record_step(run_dir: Path, trackers: Sequence[Tracker], step: int, grid: np.ndarray) -> None:
    """Records a prediction grid within an epoch.

    Args:
        run_dir: the run's folder.
        trackers: where the training reports to.
        step: number of steps of the run so far.
        grid: prediction grid, uint8 RGB (H, W, 3).
    """
    _record_picture(run_dir / f"step-{step:07d}.png", grid)
    for tracker in trackers:
        tracker.picture("predictions/steps", grid, step=step)


def _record_picture(path: Path, grid: np.ndarray) -> None:
    _, png = cv2.imencode(".png", grid[..., ::-1])  # RGB -> BGR
    write_file(path, png.tobytes())
