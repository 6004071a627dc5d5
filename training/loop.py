"""One epoch of training, one of evaluation, and one step: plain functions that take callables."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from dsetkit.console import ProgressReport, progress_bar
from dsetkit.errors import RunError
from training import exchange, ranks
from training.interrupts import CtrlC

Batch = dict[str, torch.Tensor]

TIME_COLUMNS = ("samples_per_s", "data_wait_share")  # of log.csv: they differ from run to run
READ_LOSS_EVERY_S = 1.0  # reading a loss makes the CPU wait for the GPU
SECONDS_BETWEEN_LINES = 30.0  # of progress, where there is no terminal


class Batches(Protocol):
    """Batches whose number is known, as a DataLoader has them."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


@dataclass
class Progress:
    """Where a run stands, and what its current epoch has summed up so far.

    Attributes:
        epoch: epochs finished, over all stages.
        batch: batches finished in the current epoch.
        loss_sum: sum of the loss over the epoch's samples.
        samples: samples of the epoch so far.
        timed_samples: those of them that this process trained on.
        seconds: time that this process has spent in the epoch [s].
        wait_seconds: share of `seconds` spent waiting for data [s].
        best: best score of the current stage; smaller is better.
        stale: validations since then.
        rows: one dict per finished epoch, the rows of log.csv.
    """

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    samples: int = 0
    timed_samples: int = 0
    seconds: float = 0.0
    wait_seconds: float = 0.0
    best: float = math.inf
    stale: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def loss(self) -> float:
        """Mean loss per sample of the epoch so far."""
        return self.loss_sum / max(1, self.samples)

    @property
    def samples_per_s(self) -> float:
        return self.timed_samples / max(1e-9, self.seconds)

    @property
    def data_wait_share(self) -> float:
        """Share of the epoch's time spent waiting for data, 0..1."""
        return self.wait_seconds / max(1e-9, self.seconds)

    def take_score(self, score: float) -> bool:
        """Takes the score of a validation; True when it is the best of the stage so far."""
        improved = score < self.best
        self.best, self.stale = (score, 0) if improved else (self.best, self.stale + 1)
        return improved

    def forget_best(self) -> None:
        """A new image size begins: scores do not compare with those before."""
        self.best, self.stale = math.inf, 0

    def is_stale(self, patience: int | None) -> bool:
        """Whether the stage has gone `patience` validations without a new best; None = never."""
        return patience is not None and self.stale >= patience

    def end_row(
        self, *, stage: int, img_size: str, lr: float, metrics: Mapping[str, float]
    ) -> dict[str, Any]:
        """Sums the epoch up as a row of log.csv, and keeps it.

        Args:
            stage: number of the stage.
            img_size: "HxW" [px].
            lr: learning rate of the last step.
            metrics: scores of the validation, empty when there was none.
        """
        row = {
            "stage": stage,
            "epoch": self.epoch + 1,
            "img_size": img_size,
            "train_loss": self.loss,
            **{f"val_{name}": value for name, value in metrics.items()},
            "lr": lr,
            "samples_per_s": self.samples_per_s,
            "data_wait_share": self.data_wait_share,
        }
        self.rows.append(row)
        return row

    def next_epoch(self, epoch: int) -> None:
        """Moves to the start of an epoch; its sums begin at 0."""
        self.epoch, self.batch, self.loss_sum, self.samples = epoch, 0, 0.0, 0
        self.timed_samples, self.seconds, self.wait_seconds = 0, 0.0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """What the next step depends on, and the rows: all but times, equal for equal runs."""
        rows = [{k: v for k, v in row.items() if k not in TIME_COLUMNS} for row in self.rows]
        return {**{name: getattr(self, name) for name in SAVED}, "rows": rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes what `state_dict` gave.

        Raises:
            ValueError: It is something else.
        """
        if state.keys() != {*SAVED, "rows"}:
            raise ValueError(f"entries {list(state)[:9]}, expected {[*SAVED, 'rows']}")
        for name, kind in SAVED.items():
            value = state[name]
            if type(value) is not kind or value != value or (isinstance(value, int) and value < 0):
                raise ValueError(f"{name} {value!r:.40}, expected a number")
        rows = state["rows"]
        if not isinstance(rows, list) or not all(map(_is_row, rows)):
            raise ValueError("rows, expected a list of rows of log.csv")
        vars(self).update(state, rows=[dict(row) for row in rows])


SAVED = {  # attributes of Progress in its state -> type
    "epoch": int,
    "batch": int,
    "loss_sum": float,
    "samples": int,
    "best": float,
    "stale": int,
}


def _is_row(row: object) -> bool:
    """Whether this is a row of log.csv: numbers and texts by name."""
    return (
        isinstance(row, dict)
        and all(type(key) is str and type(value) in (int, float, str) for key, value in row.items())
        and isinstance(row.get("epoch"), int)
    )


# ---- one epoch ---------------------------------------------------------------------------------


def train_epoch(
    batches: Iterable[Batch],
    train_step: Callable[[Batch, int], torch.Tensor],
    progress: Progress,
    *,
    steps_per_epoch: int,
    label: str,
    save: Callable[[], None],
    save_every_s: float,
    ctrl_c: CtrlC | None = None,
    on_step: Callable[[int], None] = lambda step: None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Trains on what is left of the current epoch and updates `progress`.

    When Ctrl-C ends it between two steps, `progress` is that of the last step.

    Args:
        batches: this rank's share of the epoch's batches, from number `progress.batch` on.
        train_step: (batch, step) -> detached scalar loss of all ranks; updates the weights.
        progress: where the run stands; read and written.
        steps_per_epoch: batches of a whole epoch.
        label: what the progress bar says.
        save: writes the state to resume from.
        save_every_s: time between two saves within the epoch [s].
        ctrl_c: delays Ctrl-C while a step runs (default: Ctrl-C is not delayed).
        on_step: called after each step with the number of steps of the run so far.
        clock: tells the time [s].

    Raises:
        RunError: the loss is not finite.
    """
    ctrl_c = ctrl_c or CtrlC()
    first_step = progress.epoch * steps_per_epoch
    unread: list[tuple[torch.Tensor, int]] = []  # losses still on the device, with batch sizes
    saved_at = read_at = clock()

    def read_losses() -> None:
        nonlocal read_at
        with ctrl_c.delayed():
            losses = torch.stack([loss for loss, _ in unread]).tolist()
            for back, (loss, (_, size)) in enumerate(zip(losses, unread, strict=True)):
                if not math.isfinite(loss):
                    raise _loss_error(loss, first_step + progress.batch - len(unread) + back)
                progress.loss_sum += loss * size
                progress.samples += size
                progress.timed_samples += size
            unread.clear()
            progress.seconds += clock() - read_at
            read_at = clock()

    with _progress_lines(label) as report:
        try:
            for batch, waited_s in _timed(batches, clock):
                with ctrl_c.delayed():
                    loss = train_step(batch, first_step + progress.batch)
                    unread.append((loss, ranks.world() * len(next(iter(batch.values())))))
                    progress.batch += 1
                    progress.wait_seconds += waited_s
                on_step(first_step + progress.batch)
                is_last = progress.batch == steps_per_epoch
                save_due = clock() - saved_at >= save_every_s and not is_last
                if is_last or save_due or clock() - read_at >= READ_LOSS_EVERY_S:
                    read_losses()
                speed = f"{progress.samples_per_s:.1f} samples/s"
                report(progress.batch, steps_per_epoch, f"loss {progress.loss:.4f}  {speed}")
                if save_due:
                    save()
                    saved_at = read_at = clock()
        except KeyboardInterrupt:
            if ctrl_c.state_is_whole and unread:
                read_losses()
            raise


def evaluate(
    batches: Iterable[Batch], update: Callable[[Batch], None], *, total: int, label: str
) -> None:
    """Calls `update` with every batch, without gradients.

    Args:
        batches: dicts of tensors as the loader gives them.
        update: predicts and updates its metrics.
        total: number of batches.
        label: what the progress bar says.
    """
    with torch.inference_mode():
        for batch in with_progress(batches, total=total, label=label):
            update(batch)


def with_progress(batches: Iterable[Batch], *, total: int, label: str) -> Iterator[Batch]:
    """The batches, with a progress bar that advances when each has been used.

    Args:
        batches: `total` batches.
        total: their number.
        label: what the progress bar says.
    """
    with _progress_lines(label) as report:
        for done, batch in enumerate(batches, start=1):
            yield batch
            report(done, total)


def _progress_lines(label: str) -> AbstractContextManager[ProgressReport]:
    """A progress bar of rank 0 that leaves nothing on the screen."""
    return progress_bar(
        label, shown=ranks.is_first(), stays=False, seconds_between_lines=SECONDS_BETWEEN_LINES
    )


def _timed(batches: Iterable[Batch], clock: Callable[[], float]) -> Iterator[tuple[Batch, float]]:
    """Each batch with the time spent waiting for it [s]."""
    iterator = iter(batches)
    while True:
        asked_at = clock()
        batch = next(iterator, None)
        if batch is None:
            return
        yield batch, clock() - asked_at


def _loss_error(loss: float, step: int) -> RunError:
    return RunError(
        f"the loss is {loss} at step {step}: expected a finite number; try a lower --lr, "
        "--clip-grad 1, --warmup-steps 200 or --amp none (the last saved state is intact)"
    )


# ---- one step ----------------------------------------------------------------------------------


def seed_step(seed: int, step: int) -> None:
    """Makes the random numbers of a step a function of (seed, step).

    A resumed run then draws the same numbers, on any device, without a saved generator state.
    """
    torch.manual_seed((seed * 1_000_003 + step) % 2**64)  # the CPU generator takes the low 32 bits


def prepare_batch(batch: Batch, device: torch.device) -> Batch:
    """Moves a batch to the device as floats.

    Args:
        batch: fields (N, C, H, W): uint8 0..255 (pictures, masks) or float32 (depth).
        device: where to.

    Returns:
        The same fields as float32: uint8 ones divided by 255, depth as it was.
    """
    moved = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
    return {
        name: value.float() / 255 if value.dtype == torch.uint8 else value
        for name, value in moved.items()
    }


def make_clip(*, norm: float | None, value: float | None) -> Callable[[nn.Module], None]:
    """A function that bounds a network's gradients.

    Args:
        norm: largest norm of all gradients together; None = any.
        value: largest size of each gradient value; None = any.
    """

    def clip(net: nn.Module) -> None:
        if value is not None:
            nn.utils.clip_grad_value_(net.parameters(), value)
        if norm is not None:
            nn.utils.clip_grad_norm_(net.parameters(), norm)

    return clip


def update_weights(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[Batch], torch.Tensor],
    batch: Batch,
    *,
    lr: float,
    clip: Callable[[nn.Module], None],
    parts: int = 1,
) -> torch.Tensor:
    """One optimizer step down the loss of a batch.

    `parts` splits the batch into parts that run one after another, for a network that does not fit
    into the memory with the whole batch. The gradient of a part is weighted by its share of the
    samples. The result is that of the whole batch if the loss is a mean over samples with equally
    many valid pixels. Otherwise a valid pixel counts a little more in a part that has fewer of
    them, and terms that look at all samples at once (`rmse`, `berhu`, `dice_squared`) see one part
    only. So does batch norm.

    Args:
        net: the network that `loss_of` calls, as `exchange.parallel` returned it.
        optimizer: of its parameters.
        loss_of: a batch, or part of one -> scalar loss over all ranks, with its graph.
        batch: this rank's share of the global batch.
        lr: learning rate of the step.
        clip: bounds the gradients of the network it is given.
        parts: number of parts; part k takes every sample whose number is k modulo `parts`.

    Returns:
        The loss of the global batch, detached.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    exchange.draw_apart()  # what the network draws; augmentation is over
    count = len(next(iter(batch.values())))
    parts = min(parts, count)
    total = torch.zeros(())
    for number in range(parts):
        part = {name: values[number::parts] for name, values in batch.items()}
        share = len(next(iter(part.values()))) / count
        with exchange.averaging(net, now=number == parts - 1):
            loss = loss_of(part)
            # Each rank has the gradient of its own rows alone: their mean times `world` is the sum.
            (loss * (share * ranks.world())).backward()
        total = total + share * loss.detach()
    clip(net)
    optimizer.step()
    return total
