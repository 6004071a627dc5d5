"""The learning rate as a pure function of the step."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from dsetkit.errors import RunError

SCHEDULES = ("cosine", "step", "plateau", "onecycle")
COSINE_FLOOR = 0.01  # the last step's share of the base learning rate
# one cycle: the first step's share, the last one's, and how much of the run the rise takes
ONECYCLE_START, ONECYCLE_FLOOR, ONECYCLE_RISE = 1 / 25, 1 / 25 / 1e4, 0.3


def make_schedule(
    name: str, *, total_steps: int, warmup_steps: int, gamma_steps: int, gamma: float
) -> Callable[[int], float]:
    """Builds the share of the base learning rate as a function of the step, 0..1.

    Args:
        name: one of SCHEDULES; "plateau" stays at 1 here, see `Plateau`.
        total_steps: steps of the whole run, over all image sizes.
        warmup_steps: steps of linear rise at the start; not for "onecycle".
        gamma_steps: "step" only: steps between two reductions.
        gamma: "step" only: factor of each reduction.

    Raises:
        RunError: warm-up steps for "onecycle".
    """
    if name == "onecycle":
        if warmup_steps:
            raise RunError(
                f"--warmup-steps {warmup_steps} with --sched onecycle, which rises by itself over "
                f"the first {ONECYCLE_RISE:.0%} of the run: leave it at 0"
            )
        return partial(_one_cycle, total_steps=total_steps)

    def share(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        if name == "cosine":
            done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
            return _cosine_between(1, COSINE_FLOOR, done)
        if name == "step":
            return gamma ** (step // gamma_steps)
        return 1.0

    return share


def _one_cycle(step: int, *, total_steps: int) -> float:
    """Rises to 1 and falls to almost 0, both along half a cosine.

    Smith & Topin 2017, arXiv 1708.07120, with the numbers of `torch.optim.lr_scheduler.OneCycleLR`;
    the momentum stays as it is.
    """
    last = total_steps - 1
    top = max(0.0, ONECYCLE_RISE * total_steps - 1)
    if step < top:
        return _cosine_between(ONECYCLE_START, 1, step / top)
    return _cosine_between(1, ONECYCLE_FLOOR, min(1, (step - top) / max(1, last - top)))


def _cosine_between(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


@dataclass
class Plateau:
    """A factor on the learning rate that is reduced when the score no longer improves.

    A smaller score is better, as everywhere in training. Give a score that should rise as
    1 - score.

    Attributes:
        patience: epochs without a new best before each reduction.
        gamma: factor of each reduction.
    """

    patience: int
    gamma: float
    factor: float = 1.0
    best: float = math.inf
    waited: int = 0

    def forget_best(self) -> None:
        """A new image size begins: scores do not compare with those before."""
        self.best, self.waited = math.inf, 0

    def update(self, score: float) -> None:
        """Takes the score of one epoch; smaller is better."""
        if score < self.best:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.factor, self.waited = self.factor * self.gamma, 0

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
