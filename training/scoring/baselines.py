"""Baselines that a trained network has to beat: answers that need no network."""

from collections.abc import Sequence

import torch


class MeanDepthMap:
    """The mean depth at each pixel over a training set."""

    def __init__(self) -> None:
        self._sum = self._count = torch.zeros((), dtype=torch.float64)

    def update(self, target: torch.Tensor) -> None:
        """Adds a batch (N, 1, H, W) of depth in [0, 1], 0 = invalid, on the CPU."""
        self._sum = self._sum + target.sum(dim=0, dtype=torch.float64)
        self._count = self._count + (target > 0).sum(dim=0)

    def compute(self) -> torch.Tensor:
        """(1, 1, H, W) float32: mean of the valid depths; where there is none, that of all."""
        everywhere = self._sum.sum() / self._count.sum().clamp(min=1)
        here = self._sum / self._count.clamp(min=1)
        return torch.where(self._count > 0, here, everywhere).float()[None]


class BestThreshold:
    """The threshold whose masks, values > threshold, have the best IoU, mean over images."""

    def __init__(self, thresholds: Sequence[float]) -> None:
        self._iou_sums = dict.fromkeys(thresholds, 0.0)

    def update(self, values: torch.Tensor, target: torch.Tensor) -> None:
        """Adds a batch of values and binary target masks (bool), both (N, 1, H, W)."""
        for threshold in self._iou_sums:
            mask = values > threshold
            both = (mask & target).sum(dim=(1, 2, 3))
            either = (mask | target).sum(dim=(1, 2, 3))
            iou = torch.where(either > 0, both / either.clamp(min=1), 1)
            self._iou_sums[threshold] += float(iou.sum())

    def compute(self) -> float:
        """The best of the thresholds; the smallest of several as good."""
        return max(self._iou_sums, key=self._iou_sums.__getitem__)


def own_mean(target: torch.Tensor) -> torch.Tensor:
    """Each image's own mean valid depth, everywhere: an oracle, for it has seen the target.

    Args:
        target: (N, 1, H, W) depth in [0, 1], 0 = invalid.

    Returns:
        (N, 1, H, W).
    """
    count = (target > 0).sum(dim=(1, 2, 3), keepdim=True)
    return (target.sum(dim=(1, 2, 3), keepdim=True) / count.clamp(min=1)).expand_as(target)


def difference(composite: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """The largest absolute difference of the three channels.

    Args:
        composite: (N, 3, H, W) float RGB in [0, 1].
        background: the same scene without the foreground.

    Returns:
        (N, 1, H, W) in [0, 1].
    """
    return (composite - background).abs().amax(dim=1, keepdim=True)
