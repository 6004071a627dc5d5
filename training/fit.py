"""The training loop of all training scripts: stages, schedule, validation, checkpoints, resume.

A script brings a network and a `Task`, the functions that only it can know; `fit` does the rest.
"""

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np
import torch
from torch import nn

from training import exchange, loop, precision, ranks, run_dir
from training.augment import make_augment
from training.checkpoint import Stateful, save_state
from training.data import (
    DataSource,
    Loader,
    Samples,
    check_enough_samples,
    open_loader,
    some_samples,
)
from training.estimate import TimeEstimate
from training.interrupts import CtrlC
from training.loop import Batch
from training.network import Forward, prepare_network
from training.optimizer import make_optimizer
from training.precision import Precision
from training.preflight import check_batch_memory, check_batch_norm
from training.run_dir import Stage
from training.run_files import STATE_FILE, read_precision
from training.schedule import Plateau, make_schedule
from training.settings import FitSettings
from training.trackers import Tracker, open_trackers

Outputs = TypeVar("Outputs")

logger = logging.getLogger(__name__)


class SaveModel(Protocol):
    """Writes a weights file, as `models.save_model` does."""

    def __call__(self, path: Path, net: nn.Module, metadata: Mapping[str, object]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Task(Generic[Outputs]):
    """What a training script knows of its network: its loss, its scores and its pictures.

    Batches have float32 fields (N, C, H, W) in 0..1 on the device, see `loop.prepare_batch`.

    Attributes:
        predict: (forward, batch) -> outputs; `forward` takes pictures (N, C, H, W).
        loss_of: (outputs, batch), of this rank's samples -> scalar loss of all ranks' samples.
        validate: pairs of (outputs, batch), of this rank's samples -> scores of all by name.
        score_of: scores -> the number whose smallest value is the best.
        logged_scores: names of the scores that an epoch's log line shows.
        draw: (outputs, the batch as stored: colours and masks uint8 on the CPU) -> prediction
            grid, uint8 RGB (H, W, 3).
        num_pictures: samples of a prediction grid.
        metadata: JSON values for the weights files.
        check_samples: (samples, name of the split) raises RunError if they are useless.
    """

    predict: Callable[[Forward, Batch], Outputs]
    loss_of: Callable[[Outputs, Batch], torch.Tensor]
    validate: Callable[[Iterable[tuple[Outputs, Batch]]], dict[str, float]]
    score_of: Callable[[Mapping[str, float]], float]
    logged_scores: Sequence[str]
    draw: Callable[[Outputs, Batch], np.ndarray]
    num_pictures: int
    metadata: Mapping[str, Any]
    check_samples: Callable[[Samples, str], None] = lambda samples, split: None


def fit(
    settings: FitSettings,
    net: nn.Module,
    task: Task[Any],
    source: DataSource,
    *,
    device: torch.device,
    save_model: SaveModel,
) -> None:
    """Trains a network into a run folder, or continues a run.

    Args:
        settings: the values of the shared flags.
        net: the network with its first weights; it changes in place.
        task: the functions that depend on what the network predicts.
        source: where the samples are.
        device: where to train.
        save_model: writes best.safetensors and last.safetensors.

    Raises:
        RunError: settings that do not fit the data or the network, a folder that holds another
            run, or a loss that is not finite.
        DsetkitError: the disk is full.
    """
    training = _Training(settings, net, task, source, device=device, save_model=save_model)
    training.log_start()
    training.start_or_continue()
    with CtrlC() as ctrl_c:
        try:
            training.run(ctrl_c)
        except KeyboardInterrupt:
            if ctrl_c.state_is_whole:
                training.save()
            raise
    training.log_end()


class _Training(Generic[Outputs]):
    """A training in progress; arguments as in `fit`."""

    def __init__(
        self,
        settings: FitSettings,
        net: nn.Module,
        task: Task[Outputs],
        source: DataSource,
        *,
        device: torch.device,
        save_model: SaveModel,
    ) -> None:
        self.settings, self.task, self.source = settings, task, source
        self.device, self.save_model = device, save_model
        self.network = prepare_network(
            net,
            device,
            channels_last=settings.channels_last,
            compile_it=settings.compile,
            ema=settings.ema,
            sync_bn=settings.sync_bn,
        )
        stride = cast(int, net.stride)
        self.stages = run_dir.make_stages(settings.img_sizes, settings.epochs, stride=stride)
        self._check_memory()
        self.train_loader, self.val_loader = self._open_loaders(self.stages[0])
        count, batch_size = len(self.train_loader.dataset), settings.batch_size
        check_enough_samples(count, batch_size=batch_size, name=source.name)
        task.check_samples(self.train_loader.dataset, "train")
        task.check_samples(self.val_loader.dataset, "val")
        check_batch_norm(
            self.network.trained,
            self.stages,
            channels=3 * len(settings.inputs),
            samples=count,
            batch_size=batch_size,
            accumulate=settings.accumulate,
            sync_bn=settings.sync_bn,
        )
        self.steps_per_epoch = len(self.train_loader)
        depth_is_metric = source.manifest.depth_kind == "metric"
        self.augment = make_augment(settings.augment, depth_is_metric=depth_is_metric)
        self.make_optimizer = partial(
            make_optimizer,
            name=settings.opt,
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            momentum=settings.momentum,
        )
        self.optimizer = self.make_optimizer(self.network.trained)
        self.lr_share = make_schedule(
            settings.sched,
            total_steps=self.steps_per_epoch * self.stages[-1].end,
            warmup_steps=settings.warmup_steps,
            gamma_steps=self.steps_per_epoch * settings.step_epochs,
            gamma=settings.step_gamma,
        )
        self.clip = loop.make_clip(norm=settings.clip_grad, value=settings.clip_grad_value)
        self.precision = self._choose_precision()
        self.network = self.network.in_precision(self.precision.name, device)
        self.plateau = Plateau(patience=settings.plateau_patience, gamma=settings.step_gamma)
        self.progress = loop.Progress()
        self.estimate = TimeEstimate(
            self.stages, steps_per_epoch=self.steps_per_epoch, device=device
        )

    def _choose_precision(self) -> Precision:
        """What this training computes in; see training/precision.py."""
        settings = self.settings
        is_new = not settings.resume
        return precision.choose(
            settings.amp,
            self.device,
            recorded=None if is_new else read_precision(settings.output, self.device.type),
            steps=self.steps_per_epoch * self.stages[-1].end,
            trial=self._trial if is_new and not settings.compile else None,
        )

    def _trial(self) -> Callable[[str], None]:
        """A step that changes nothing, in the precision that it is given."""
        count = max(1, self.settings.batch_size // ranks.world())
        stored = some_samples(self.train_loader.dataset, count)
        return precision.throw_away_step(
            self.network,
            loop.prepare_batch(stored, self.device),
            self.device,
            make_optimizer=self.make_optimizer,
            loss_of=self._loss_of,
            clip=self.clip,
            parts=self.settings.accumulate,
        )

    def _check_memory(self) -> None:
        """Raises RunError when a batch of the largest pictures does not fit into the memory."""
        settings = self.settings
        largest = max(self.stages, key=lambda stage: stage.size[0] * stage.size[1])
        check_batch_memory(
            largest.size,
            self.device,
            samples=max(1, settings.batch_size // ranks.world()),
            channels=3 * len(settings.inputs),
            flags=f"--img-sizes {largest.size_name} with --batch-size {settings.batch_size}",
        )

    def _open_loaders(self, stage: Stage) -> tuple[Loader, Loader]:
        """The train and the validation batches of a stage."""
        settings = self.settings
        train, val = (
            open_loader(
                self.source,
                split,
                stage.size,
                batch_size=settings.batch_size,
                workers=settings.workers,
                seed=settings.seed,
                shuffle_block=settings.shuffle_block,
                limit_samples=settings.limit_samples,
                device=self.device,
            )
            for split in ("train", "val")
        )
        return train, val

    # ---- start, state --------------------------------------------------------------------------

    def log_start(self) -> None:
        """Logs in one line what trains on what."""
        net, settings = self.network.trained, self.settings
        logger.info(
            "%s with %s parameters, %s on %s; epochs: %s px; samples: %s train, %s val",
            settings.arguments.get("arch", type(net).__name__),
            f"{sum(p.numel() for p in net.parameters()):,}",
            self.precision,
            self.device,
            ", ".join(f"{stage.end - stage.first} at {stage.size_name}" for stage in self.stages),
            f"{len(self.train_loader.dataset):,}",
            f"{len(self.val_loader.dataset):,}",
        )
        if len(self.val_loader) == 0:
            logger.info("no val samples: best.safetensors will be the newest weights")

    def log_end(self) -> None:
        """Logs which weights to use.

        Raises:
            RunError: No validation gave a finite score, so that there are no best weights.
        """
        run_dir.check_has_best(self.settings.output)
        logger.info(
            "all %d epochs are done: %s",
            self.stages[-1].end,
            self.settings.output / "best.safetensors",
        )

    def start_or_continue(self) -> None:
        """Makes the folder of a new run and saves its first state, or restores the last one."""
        settings, fingerprint = self.settings, self.source.manifest.fingerprint
        if settings.resume:
            run_dir.continue_run(settings.output, self._parts(), self.progress, fingerprint)
            return
        run_dir.start_run(
            settings.output,
            settings.arguments,
            script=settings.script,
            fingerprint=fingerprint,
            precision={self.device.type: self.precision.name},
        )
        self.save()

    def save(self) -> None:
        """Writes the state that --resume continues from."""
        path = self.settings.output / STATE_FILE
        save_state(path, self._parts(), self.progress.state_dict())

    def _parts(self) -> dict[str, Stateful]:
        parts: dict[str, Stateful] = {
            "network": self.network.trained,
            "optimizer": self.optimizer,
            "plateau": self.plateau,
        }
        return parts | ({"average": self.network.average} if self.network.average else {})

    # ---- epochs --------------------------------------------------------------------------------

    def run(self, ctrl_c: CtrlC) -> None:
        """Trains what is left of all stages."""
        settings, first_epoch = self.settings, self.progress.epoch + 1
        with open_trackers(
            settings.log_to, settings.output, settings.arguments, first_epoch=first_epoch
        ) as trackers:
            for stage in self.stages:
                if self.progress.epoch >= stage.end:
                    continue
                if stage is not self.stages[0]:
                    self.train_loader, self.val_loader = self._open_loaders(stage)
                while self.progress.epoch < stage.end:
                    self._run_epoch(stage, ctrl_c, trackers)

    def _run_epoch(self, stage: Stage, ctrl_c: CtrlC, trackers: list[Tracker]) -> None:
        progress, settings = self.progress, self.settings
        epoch = progress.epoch
        if epoch == stage.first and progress.batch == 0:  # scores of different sizes do not compare
            progress.forget_best()
            self.plateau.forget_best()

        def on_step(step: int) -> None:
            self.estimate.after_step(step, stage)
            is_due = settings.picture_every and step % settings.picture_every == 0
            if is_due and ranks.is_first():
                run_dir.record_step(settings.output, trackers, step, self._draw())

        self.train_loader.set_position(epoch, progress.batch)
        self.network.trained.train()
        loop.train_epoch(
            self.train_loader,
            self._train_step,
            progress,
            steps_per_epoch=self.steps_per_epoch,
            label=f"epoch {epoch + 1}/{self.stages[-1].end}, {stage.size_name}",
            save=self.save,
            save_every_s=settings.checkpoint_every * 60,
            ctrl_c=ctrl_c,
            on_step=on_step,
        )
        validation_started_at = time.monotonic()
        is_due = (epoch + 1) % settings.val_every == 0 or epoch + 1 == stage.end
        metrics = self._validate() if is_due and len(self.val_loader) else {}
        seconds = progress.seconds + time.monotonic() - validation_started_at
        with ctrl_c.delayed():
            self._end_epoch(stage, metrics, trackers, seconds=seconds)

    def _end_epoch(
        self,
        stage: Stage,
        metrics: dict[str, float],
        trackers: list[Tracker],
        *,
        seconds: float,
    ) -> None:
        """Records the epoch, saves weights and state, and moves on to the next one."""
        progress, settings = self.progress, self.settings
        is_best = len(self.val_loader) == 0
        if metrics:
            score = self.task.score_of(metrics)
            if not math.isfinite(score):
                logger.warning("the validation score of epoch %d is %s", progress.epoch + 1, score)
            is_best = progress.take_score(score)
            if settings.sched == "plateau":
                self.plateau.update(score)
        row = progress.end_row(
            stage=stage.number,
            img_size=stage.size_name,
            lr=self.optimizer.param_groups[0]["lr"],
            metrics=metrics,
        )
        shown = [f"val_{name}" for name in self.task.logged_scores]
        run_dir.log_row(row, shown, seconds=seconds, is_best=is_best)
        if ranks.is_first():
            self._save_weights(stage, metrics, is_best=is_best)
            run_dir.record_epoch(settings.output, trackers, progress.rows, self._draw())
        ends_stage = progress.is_stale(settings.patience)
        progress.next_epoch(stage.end if ends_stage else progress.epoch + 1)
        self.save()

    def _save_weights(self, stage: Stage, metrics: dict[str, float], *, is_best: bool) -> None:
        """Writes last.safetensors, and best.safetensors if these weights are the best so far."""
        epochs = self.progress.epoch + 1
        metadata = {
            "inputs": self.settings.inputs,
            "img_size": stage.size,
            **self.task.metadata,
            "dataset_fingerprint": self.source.manifest.fingerprint,
            "epoch": epochs,
            "step": epochs * self.steps_per_epoch,
            "metrics": metrics,
        }
        for name in ("last", "best") if is_best else ("last",):
            path = self.settings.output / f"{name}.safetensors"
            self.save_model(path, self.network.evaluated, metadata)

    # ---- what happens to a batch ---------------------------------------------------------------

    def _train_step(self, batch: Batch, step: int) -> torch.Tensor:
        """Updates the weights; returns the detached loss of all ranks."""
        settings = self.settings
        loop.seed_step(settings.seed, step)
        batch = self.augment(loop.prepare_batch(batch, self.device))
        loss = loop.update_weights(
            self.network.forward.module,
            self.optimizer,
            partial(self._loss_of, self.network.forward),
            batch,
            lr=settings.lr * self.lr_share(step) * self.plateau.factor,
            clip=self.clip,
            parts=settings.accumulate,
        )
        if self.network.average:
            self.network.average.update_parameters(self.network.trained)
        return loss

    def _loss_of(self, forward: Forward, batch: Batch) -> torch.Tensor:
        return self.task.loss_of(self.task.predict(forward, batch), batch)

    def _validate(self) -> dict[str, float]:
        """The scores of the evaluated network on the validation samples."""
        self.network.evaluated.eval()
        exchange.share_buffers(self.network.evaluated)
        with torch.inference_mode():
            return self.task.validate(self._predictions())

    def _predictions(self) -> Iterator[tuple[Outputs, Batch]]:
        """The outputs of the evaluated network for each validation batch of this rank."""
        loader = self.val_loader
        for stored in loop.with_progress(loader, total=len(loader), label="validation"):
            batch = loop.prepare_batch(stored, self.device)
            yield self.task.predict(self.network.evaluate, batch), batch

    @torch.inference_mode()
    def _draw(self) -> np.ndarray:
        """A prediction grid of validation samples, or of train samples if there are none."""
        loader = self.val_loader if len(self.val_loader) else self.train_loader
        stored = some_samples(loader.dataset, self.task.num_pictures)
        self.network.evaluated.eval()
        outputs = self.task.predict(self.network.evaluate, loop.prepare_batch(stored, self.device))
        self.network.trained.train()
        return self.task.draw(outputs, stored)
