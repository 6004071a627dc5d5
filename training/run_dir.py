"""What surrounds a training: its folder, stages, device, logs.

| file of a run folder | holds |
|---|---|
| `args.json` | script, arguments, dataset fingerprint |
| `log.csv` | one row per epoch |
| `best.safetensors`, `last.safetensors` | weights: best of the last stage begun, newest |
| `state.pt` | what `--resume` continues from |
| `epoch-NNN.png` | prediction grid at the epoch's end |
| `step-NNNNNNN.png` | the same every `--picture-every` steps |
| `tensorboard/` | scalars and prediction grids |
"""

import csv
import io
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from dsetkit.errors import RunError
from training import ranks
from training.checkpoint import STATE_FILE, Stateful, load_state, write_whole

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

ARGUMENTS_FILE = "args.json"
LOG_FILE = "log.csv"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """A part of the training at one image size: epochs `first` <= epoch < `end`, from 0.

    Attributes:
        number: 1, 2, ...
        size: (height, width) of the samples [px].
    """

    number: int
    size: tuple[int, int]
    first: int
    end: int


def make_stages(
    sizes: Sequence[Sequence[int]], epochs: Sequence[int], *, stride: int
) -> list[Stage]:
    """Lays the stages one after another.

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
    run_dir: Path, arguments: Mapping[str, Any], *, script: str, fingerprint: str
) -> None:
    """Makes the folder of a new run and writes args.json.

    Raises:
        RunError: the folder holds a run already; nothing is overwritten.
    """
    if (run_dir / STATE_FILE).exists():
        raise RunError(
            f"{run_dir} holds a run already: continue it with --resume, or choose another --output"
        )
    write_arguments(run_dir, arguments, script=script, fingerprint=fingerprint)


def write_arguments(
    run_dir: Path, arguments: Mapping[str, Any], *, script: str, fingerprint: str = ""
) -> None:
    """Writes args.json; makes the folder when it is not there."""
    run_dir.mkdir(parents=True, exist_ok=True)
    content = {"script": script, "dataset_fingerprint": fingerprint, "arguments": dict(arguments)}
    text = json.dumps(content, indent=2, default=str) + "\n"
    write_whole(run_dir / ARGUMENTS_FILE, lambda file: file.write(text.encode()))


def read_arguments(run_dir: Path, *, script: str) -> dict[str, Any]:
    """The arguments a run was started with, or a chain of runs.

    Raises:
        RunError: no run to continue there, or one of another script.
    """
    is_chain = (run_dir / ARGUMENTS_FILE).exists() and any(run_dir.glob(f"set-*/{STATE_FILE}"))
    if not is_chain and not (run_dir / STATE_FILE).exists():
        raise RunError(
            f"nothing to resume: {run_dir} has no {STATE_FILE}; expected the folder of a run that "
            "was cut off after its first save; start it without --resume"
        )
    content = _read_run(run_dir)
    if content["script"] != script:
        raise RunError(f"{run_dir} is a run of {content['script']}: resume it with that script")
    return content["arguments"]


def check_same_dataset(run_dir: Path, fingerprint: str) -> None:
    """Raises RunError unless the run was started on the dataset with this fingerprint."""
    before = _read_run(run_dir)["dataset_fingerprint"]
    if fingerprint != before:
        raise RunError(
            f"--data is another dataset (fingerprint {fingerprint}) than the one {run_dir} was "
            f"started with ({before}): give that one, or start a new run with another --output"
        )


def continue_run(
    run_dir: Path, parts: Mapping[str, Stateful], progress: dict[str, Any], fingerprint: str
) -> None:
    """Puts what a run saved back into `parts` and `progress`.

    Raises:
        RunError: it was started on another dataset, or its state cannot be read.
    """
    check_same_dataset(run_dir, fingerprint)
    progress.update(load_state(run_dir / STATE_FILE, parts))
    logger.info("continuing after %d epochs, %d batches", progress["epoch"], progress["batch"])


def check_task(arch: str, task: str, *, wanted: str) -> None:
    """Raises RunError when a network is for another task than the script."""
    if task != wanted:
        raise RunError(f"--arch {arch} is a {task} network: train it with train_{task}.py")


def _read_run(run_dir: Path) -> dict[str, Any]:
    path = run_dir / ARGUMENTS_FILE
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read ({error}): expected the arguments of a run; "
            "start a new one with another --output"
        ) from error


# ---- device and logs ---------------------------------------------------------------------------


def mixed_precision(name: str, device: torch.device) -> torch.autocast:
    """A context for the forward pass: "bf16", "none", or "auto" (bf16 on CUDA, none on CPU)."""
    enabled = name == "bf16" or (name == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def write_log(run_dir: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes log.csv anew: one line per row, columns in the order in which they first appear."""
    text = io.StringIO(newline="")
    columns = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_whole(run_dir / LOG_FILE, lambda file: file.write(text.getvalue().encode()))


def log_row(row: Mapping[str, Any], scores: Sequence[str], *, is_best: bool) -> None:
    """Logs an epoch in one line: its loss, those of `scores` that it has, and its speed."""
    told = [f"{name} {row[name]:.4f}" for name in ("train_loss", *scores) if name in row]
    speed = f"{row['samples_per_s']:.0f} samples/s, {row['data_wait_share']:.0%} waiting for data"
    told += [speed, "best so far"] if is_best else [speed]
    logger.info("epoch %d at %s  %s", row["epoch"], row["img_size"], "  ".join(told))


def record_epoch(
    run_dir: Path, board: "SummaryWriter", rows: Sequence[Mapping[str, Any]], grid: np.ndarray
) -> None:
    """Writes down the epoch that just ended, the last of `rows`: log.csv, picture, TensorBoard.

    Args:
        run_dir: the run's folder.
        board: its TensorBoard writer.
        rows: one dict per finished epoch, numbers and texts.
        grid: prediction grid, uint8 RGB (H, W, 3).
    """
    epoch = rows[-1]["epoch"]
    write_log(run_dir, rows)
    _record_picture(run_dir / f"epoch-{epoch:03d}.png", grid)
    board.add_image("predictions", grid, epoch, dataformats="HWC")
    for name, value in rows[-1].items():
        if isinstance(value, float):
            board.add_scalar(name.replace("val_", "val/"), value, epoch)
    board.flush()


def step_pictures(
    run_dir: Path, board: "SummaryWriter", draw: Callable[[], np.ndarray], *, every: int | None
) -> Callable[[int], None]:
    """A function of the step that draws and records a prediction grid each `every` steps.

    Args:
        run_dir: the run's folder.
        board: its TensorBoard writer.
        draw: gives the grid, uint8 RGB (H, W, 3).
        every: steps between two pictures; None = never.
    """

    def on_step(step: int) -> None:
        if every and step % every == 0 and ranks.is_first():
            grid = draw()
            _record_picture(run_dir / f"step-{step:07d}.png", grid)
            board.add_image("predictions/steps", grid, step, dataformats="HWC")

    return on_step


def _record_picture(path: Path, grid: np.ndarray) -> None:
    _, png = cv2.imencode(".png", grid[..., ::-1])  # RGB -> BGR
    write_whole(path, lambda file: file.write(png.tobytes()))


def open_tensorboard(
    run_dir: Path, *, epoch: int
) -> "AbstractContextManager[SummaryWriter | None]":
    """A TensorBoard writer (rank 0's); what a cut-off run wrote from `epoch` on is hidden."""
    if not ranks.is_first():
        return nullcontext()
    from torch.utils.tensorboard import SummaryWriter  # takes seconds: not for --help

    return SummaryWriter(str(run_dir / "tensorboard"), purge_step=epoch)
