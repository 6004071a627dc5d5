"""Batch norm over the global batch when several processes train one network (`--sync-bn`).

Ioffe & Szegedy 2015, arXiv 1502.03167. The variance of equally large parts together is the mean of
their variances plus the variance of their means.
"""

import torch
from torch import nn

from training import exchange, ranks


def sync_batch_norm(net: nn.Module, device: torch.device) -> nn.Module:
    """Makes batch norm use the batches of all ranks; a single process keeps its network.

    On a GPU this is torch's SyncBatchNorm, which does not run on the CPU. There it is a subclass of
    BatchNorm2d. Weights, statistics and state dict stay those of BatchNorm2d.

    Args:
        net: its batch norms are all BatchNorm2d; it changes in place.
        device: where it trains.
    """
    if ranks.world() == 1:
        return net
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(net)
    for module in net.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncBatchNorm2d  # the same state, another forward
    return net


class SyncBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d over the batches of all ranks, which are equally large."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        rank, world = ranks.place()
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        own_var, own_mean = torch.var_mean(precise, dim=(0, 2, 3), correction=0)  # (C,)
        moments = own_mean.new_zeros(world, 2, self.num_features)
        moments[rank] = torch.stack((own_mean, own_var))
        means, variances = exchange.sum_over_ranks(moments).unbind(dim=1)  # (world, C)
        mean, var = means.mean(dim=0), variances.mean(dim=0) + means.var(dim=0, correction=0)
        stats = (self.running_mean, self.running_var, self.num_batches_tracked, self.momentum)
        running_mean, running_var, num_batches, momentum = stats
        # Networks here keep statistics, with a fixed momentum: the defaults of BatchNorm2d.
        assert running_mean is not None and running_var is not None
        assert num_batches is not None and momentum is not None
        with torch.no_grad():
            count = world * x.numel() // self.num_features
            num_batches += 1  # in place
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(var * (count / (count - 1)), momentum)  # unbiased
        scale = self.weight * torch.rsqrt(var + self.eps)
        shift = self.bias - mean * scale
        return (x * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)).to(x.dtype)
