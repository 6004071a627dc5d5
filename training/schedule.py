"""How fast the weights move: the optimizer and its learning rate, a pure function of the step."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "step", "plateau")
COSINE_FLOOR = 0.01  # the last step's share of the base learning rate


def make_optimizer(
    net: nn.Module, name: str, *, lr: float, weight_decay: float, momentum: float
) -> torch.optim.Optimizer:
    """Builds an optimizer; biases and norm layers are not decayed.

    Args:
        net: its parameters that ask for a gradient are trained.
        name: one of OPTIMIZERS.
        lr: base learning rate.
        weight_decay: pull of the weights towards 0 (decoupled with adamw).
        momentum: for sgd only.
    """
    weights = [p for p in net.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in weights if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=True)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[name]
    return kind(groups, lr=lr, fused=True)


def make_schedule(
    name: str, *, total_steps: int, warmup_steps: int, gamma_steps: int, gamma: float
) -> Callable[[int], float]:
    """Builds the share of the base learning rate as a function of the step, 0..1.

    Args:
        name: one of SCHEDULES; "plateau" stays at 1 here, see `Plateau`.
        total_steps: steps of the whole run, over all image sizes.
        warmup_steps: steps of linear rise before it.
        gamma_steps: "step" only: steps between two reductions.
        gamma: "step" only: factor of each reduction.
    """

    def share(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        if name == "cosine":
            done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
            return COSINE_FLOOR + (1 - COSINE_FLOOR) * (1 + math.cos(math.pi * done)) / 2
        if name == "step":
            return gamma ** (step // gamma_steps)
        return 1.0

    return share


@dataclass
class Plateau:
    """Factor on the learning rate that falls when the score stops falling.

    Attributes:
        patience: epochs without a new best before each reduction.
        gamma: factor of each reduction.
    """

    patience: int
    gamma: float
    factor: float = 1.0
    best: float = math.inf
    waited: int = 0

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
