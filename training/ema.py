"""The exponential moving average of a network's weights while it trains."""

from copy import deepcopy

import torch
from torch import nn


class AveragedWeights(nn.Module):
    """The running average of a network, at `.module`; call `update_parameters` after each step.

    The decay rises as (1 + n) / (10 + n) over the first updates, so that the random first weights
    do not stay in the average of a short run. Batch-norm statistics are averaged too.

    State dict and result are those of torch's `AveragedModel`. But that class reads its counter
    from the device in every update, so the CPU waits for the GPU. Here it stays on the CPU.

    Args:
        net: the network that trains, on its device; the average starts as a copy of it.
        decay: share of the old average kept at each step, 0..1.
    """

    n_averaged: torch.Tensor

    def __init__(self, net: nn.Module, decay: float) -> None:
        super().__init__()
        self.module = deepcopy(net)
        self.decay = decay
        self.register_buffer("n_averaged", torch.tensor(0))

    @torch.no_grad()
    def update_parameters(self, net: nn.Module) -> None:
        """Adds the weights after a step to the average; the first ones replace it."""
        updates = int(self.n_averaged)
        kept = min(self.decay, (1 + updates) / (10 + updates)) if updates else 0.0
        pairs = list(zip(_tensors(self.module), _tensors(net), strict=True))
        averages, currents = zip(*(p for p in pairs if p[0].is_floating_point()), strict=True)
        torch._foreach_lerp_(averages, currents, 1 - kept)
        for average, current in pairs:
            if not average.is_floating_point():
                average.copy_(current)  # batch norm's counter
        self.n_averaged += 1


def _tensors(net: nn.Module) -> list[torch.Tensor]:
    return [*net.parameters(), *net.buffers()]
