"""Baselines that a trained network has to beat: predictions without a network."""

from collections.abc import Sequence

import torch

from training.loop import Batch, Batches, evaluate, prepare_batch
from training.scoring.stress import stressed

DIFFERENCES = [level / 255 for level in range(2, 130, 4)]  # thresholds that are tried


class MeanDepthMap:
    """The mean depth at each pixel over a training set."""

    def __init__(self) -> None:
        self._sum = self._count = torch.zeros((), dtype=torch.float64)

    def update(self, target: torch.Tensor) -> None:
        """Adds a batch (N, 1, H, W) of depth in [0, 1], 0 = invalid, on the CPU."""
        self._sum = self._sum + target.sum(dim=0, dtype=torch.float64)
        self._count = self._count + (target > 0).sum(dim=0)

    def compute(self) -> torch.Tensor:
        """(1, 1, H, W) float32: mean valid depth of each pixel, or of all pixels if it has none."""
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
        """The best threshold; the smallest one if several are equally good."""
        return max(self._iou_sums, key=self._iou_sums.__getitem__)


def mean_depth_map(batches: Batches) -> torch.Tensor:
    """(1, 1, H, W) mean depth of the batches of a train split, see `MeanDepthMap`."""
    mean_map = MeanDepthMap()
    evaluate(
        batches,
        lambda batch: mean_map.update(batch["depth"]),
        total=len(batches),
        label="mean map of the train split",
    )
    return mean_map.compute()


def best_differences(
    batches: Batches, *, target_threshold: float, backgrounds: Sequence[str], register: bool = False
) -> dict[str, float]:
    """The thresholds of `difference` whose masks are best on the batches of a train split.

    Args:
        batches: as stored, with composite, background and mask.
        target_threshold: soft target from which a pixel is foreground.
        backgrounds: keys of STRESSES, each with a threshold of its own.
        register: whether backgrounds are registered with their composites first.

    Returns:
        Background -> threshold; nothing if there are no batches.
    """
    if not len(batches):
        return {}
    best = {name: BestThreshold(DIFFERENCES) for name in backgrounds}

    def update(batch: Batch) -> None:
        batch = prepare_batch(batch, torch.device("cpu"))
        for name, threshold in best.items():
            changed = stressed(batch, name, register=register)
            values = difference(changed["composite"], changed["background"])
            threshold.update(values, batch["mask"] >= target_threshold)

    evaluate(batches, update, total=len(batches), label="baseline on the train split")
    return {name: threshold.compute() for name, threshold in best.items()}


def describe_difference(limit: float | None, dataset: str, *, at_most: int) -> str:
    """What the baseline `difference` does, for people.

    Args:
        limit: its threshold, 0..1; None when there are no samples to tune it on.
        dataset: what it was tuned on.
        at_most: number of samples that it may be tuned on.
    """
    if limit is None:
        return f"n/a: {dataset} has no train samples with their backgrounds; give --train-data"
    return (
        f"foreground where max_c |composite - background| > {limit:.3f}; best IoU on up to "
        f"{at_most} train samples of {dataset}"
    )


def own_mean(target: torch.Tensor) -> torch.Tensor:
    """Each image's own mean valid depth at every pixel: an oracle, because it uses the target.

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
