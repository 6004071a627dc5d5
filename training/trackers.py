"""Where a training reports to, beside its run folder: TensorBoard, W&B, MLflow, or your own.

`--log-to` names one or more of TRACKERS, or a function of yours as MODULE:FUNCTION, which is called
with the run folder and the arguments of the training and returns a `Tracker`.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dsetkit.errors import RunError, one_line
from training import ranks

if TYPE_CHECKING:
    import numpy as np
    from torch.utils.tensorboard import SummaryWriter

PROJECT = "dsetkit"  # name of the project or experiment where a tracker has such


class Tracker(Protocol):
    """Takes the numbers and pictures of a training as they come."""

    def scalars(self, values: Mapping[str, float], *, epoch: int) -> None:
        """Takes the numbers of an epoch, by the columns of log.csv."""

    def picture(self, name: str, grid: "np.ndarray", *, step: int) -> None:
        """Takes a prediction grid, uint8 RGB (H, W, 3), of an epoch or of a step."""

    def close(self) -> None:
        """The training ends, or is cut off."""


OpenTracker = Callable[[Path, Mapping[str, Any], int], Tracker]


class TensorBoard:
    """Writes the folder `tensorboard/` of a run."""

    def __init__(self, run_dir: Path, arguments: Mapping[str, Any], first_epoch: int) -> None:
        _installed("tensorboard")
        self._folder, self._first_epoch = run_dir / "tensorboard", first_epoch

    @cached_property
    def _writer(self) -> "SummaryWriter":
        """Opened when there is something to write: its package loads for half a second."""
        from torch.utils.tensorboard import SummaryWriter

        # What a run that was cut off had written from this epoch on is hidden.
        return SummaryWriter(str(self._folder), purge_step=self._first_epoch)

    def scalars(self, values: Mapping[str, float], *, epoch: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name.replace("val_", "val/"), value, epoch)
        self._writer.flush()

    def picture(self, name: str, grid: "np.ndarray", *, step: int) -> None:
        self._writer.add_image(name, grid, step, dataformats="HWC")

    def close(self) -> None:
        if "_writer" in vars(self):
            self._writer.close()


class WandB:
    """Logs to Weights & Biases, or to its files with WANDB_MODE=offline."""

    def __init__(self, run_dir: Path, arguments: Mapping[str, Any], first_epoch: int) -> None:
        self._wandb = _installed("wandb")
        self._run = self._wandb.init(
            project=PROJECT,
            name=run_dir.name,
            dir=str(run_dir),
            config=dict(arguments),
            id=run_dir.name,
            resume="allow",
        )

    def scalars(self, values: Mapping[str, float], *, epoch: int) -> None:
        self._run.log({**values, "epoch": epoch})

    def picture(self, name: str, grid: "np.ndarray", *, step: int) -> None:
        self._run.log({name: self._wandb.Image(grid)})

    def close(self) -> None:
        self._run.finish()


class MLflow:
    """Logs to the tracking server or folder of MLFLOW_TRACKING_URI.

    From version 3 on MLflow opens a folder only if MLFLOW_ALLOW_FILE_STORE says so.
    """

    def __init__(self, run_dir: Path, arguments: Mapping[str, Any], first_epoch: int) -> None:
        self._mlflow = _installed("mlflow")
        try:
            self._mlflow.set_experiment(PROJECT)
            self._mlflow.start_run(run_name=run_dir.name)
        except Exception as error:  # of MLflow, or of what it reaches its server by
            raise RunError(
                "--log-to mlflow cannot be opened: set MLFLOW_TRACKING_URI to the address of a "
                "server or of a folder (file:///home/me/mlruns, with MLFLOW_ALLOW_FILE_STORE=true "
                f"from MLflow 3 on); it said: {one_line(error)}"
            ) from error
        self._mlflow.log_params({name: str(value)[:500] for name, value in arguments.items()})

    def scalars(self, values: Mapping[str, float], *, epoch: int) -> None:
        self._mlflow.log_metrics(dict(values), step=epoch)

    def picture(self, name: str, grid: "np.ndarray", *, step: int) -> None:
        self._mlflow.log_image(grid, f"{name.replace('/', '-')}-{step:07d}.png")

    def close(self) -> None:
        self._mlflow.end_run()


class Nothing:
    """Reports to nobody."""

    def __init__(self, run_dir: Path, arguments: Mapping[str, Any], first_epoch: int) -> None: ...

    def scalars(self, values: Mapping[str, float], *, epoch: int) -> None: ...

    def picture(self, name: str, grid: "np.ndarray", *, step: int) -> None: ...

    def close(self) -> None: ...


TRACKERS: dict[str, OpenTracker] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "mlflow": MLflow,
    "none": Nothing,
}
LOG_TO_HELP = f"{', '.join(TRACKERS)}, or MODULE:FUNCTION of your own; several may be given"


@contextmanager
def open_trackers(
    names: Sequence[str], run_dir: Path, arguments: Mapping[str, Any], *, first_epoch: int
) -> Iterator[list[Tracker]]:
    """Opens the trackers that --log-to names; on ranks but the first there are none.

    Args:
        names: As --log-to takes them.
        run_dir: The run's folder.
        arguments: Of the training.
        first_epoch: The next epoch of the run, from 1 on.

    Raises:
        RunError: One is unknown, not installed, or cannot be opened.
    """
    opened: list[Tracker] = []
    with ExitStack() as stack:
        for name in names if ranks.is_first() else ():
            try:
                tracker = find_tracker(name)(run_dir, arguments, first_epoch)
            except RunError:
                raise
            except Exception as error:  # each tracker has errors of its own
                raise RunError(f"--log-to {name} cannot be opened: {one_line(error)}") from error
            stack.callback(tracker.close)
            opened.append(tracker)
        yield opened


def find_tracker(name: str) -> OpenTracker:
    """The function that opens a tracker.

    Raises:
        RunError: There is none of that name.
    """
    module, colon, function = name.partition(":")
    if not colon:
        if name not in TRACKERS:
            raise RunError(f"--log-to {name}: expected {LOG_TO_HELP}")
        return TRACKERS[name]
    try:
        found: OpenTracker = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise RunError(f"--log-to {name} cannot be imported: {one_line(error)}") from error
    return found


def _installed(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError:
        raise RunError(
            f"--log-to {package} needs {package}, which is not installed: pip install {package}"
        ) from None
