"""Exponential moving average of a network's weights, kept beside it while it trains."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


def average_weights(net: nn.Module, decay: float) -> AveragedModel:
    """Builds the running average of `net`: call `update_parameters(net)` after each step.

    The decay warms up as (1 + n) / (10 + n) over the first updates, so that short runs are not
    held back by their random start. Batch-norm statistics are averaged too.

    Args:
        net: the network that trains; the average starts as a copy of it, at `.module`.
        decay: share of the old average kept at each step, 0..1.
    """

    @torch.no_grad()
    def lerp(averages: list[torch.Tensor], currents: list[torch.Tensor], updates: int) -> None:
        kept = min(decay, (1 + int(updates)) / (10 + int(updates)))
        for average, current in zip(averages, currents, strict=True):
            if average.is_floating_point():
                average.lerp_(current, 1 - kept)
            else:
                average.copy_(current)  # batch norm's counter

    return AveragedModel(net, multi_avg_fn=lerp, use_buffers=True)
