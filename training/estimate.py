"""How long a training will take, estimated from its first steps."""

import logging
import time
from collections.abc import Sequence

import torch

from dsetkit.console import format_duration
from training.run_dir import Stage

WARM_UP_STEPS, TIMED_STEPS = 2, 5  # the first steps are slow: caches are cold, code compiles

logger = logging.getLogger(__name__)


class TimeEstimate:
    """Logs once, after a few steps, how long the whole training will take.

    The time of a step at another size is taken as proportional to its pixels.

    Args:
        stages: All stages of the training.
        steps_per_epoch: Steps of every epoch.
        device: Where the network trains.
    """

    def __init__(
        self, stages: Sequence[Stage], *, steps_per_epoch: int, device: torch.device
    ) -> None:
        self._stages, self._steps_per_epoch = stages, steps_per_epoch
        self._device = device
        self._stage: Stage | None = None
        self._steps = 0
        self._last_at = 0.0
        self._step_seconds: list[float] = []

    def after_step(self, step: int, stage: Stage) -> None:
        """Takes note of a step.

        Args:
            step: Number of steps of the run so far.
            stage: The stage that the step belongs to.
        """
        if len(self._step_seconds) == TIMED_STEPS:
            return
        if stage is not self._stage:  # steps of different sizes do not compare
            self._stage, self._steps = stage, 0
            self._step_seconds.clear()
        self._steps += 1
        now = self._now()
        starts_epoch = (step - 1) % self._steps_per_epoch == 0  # a validation came before it
        if self._steps > WARM_UP_STEPS and not starts_epoch:
            self._step_seconds.append(now - self._last_at)
        self._last_at = now
        if len(self._step_seconds) == TIMED_STEPS:
            step_s = sum(self._step_seconds) / TIMED_STEPS
            logger.info(
                "%.3g s a step at %s: about %s for the whole training, %s left (validation aside)",
                step_s,
                stage.size_name,
                format_duration(step_s * self._equal_steps(stage)),
                format_duration(step_s * self._equal_steps(stage, after=step)),
            )

    def _equal_steps(self, stage: Stage, *, after: int = 0) -> float:
        """Steps of the run beyond number `after`, counted in steps of the size of `stage`."""
        total = 0.0
        for other in self._stages:
            first, end = (epoch * self._steps_per_epoch for epoch in (other.first, other.end))
            total += max(0, end - max(first, after)) * _pixels(other) / _pixels(stage)
        return total

    def _now(self) -> float:
        """The time when the device has finished its work so far [s]."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.monotonic()


def _pixels(stage: Stage) -> int:
    height, width = stage.size
    return height * width
