"""Losses that compare two maps pixel by pixel or window by window, for depth and for masks.

All take (answer, target, valid), each (N, 1, H, W): the prediction (float32), the target (float32,
0..1) and which pixels of the target are valid (bool). Instead of the prediction, `bce` and `focal`
take logits, whose sigmoid is the prediction. All return a scalar, 0 without a valid pixel.
"""

from functools import partial

import torch
import torch.nn.functional as F

from training.losses.ssim import ssim_map

FOCAL_ALPHA = 0.25  # weight of foreground; background has the rest
RMSE_EPS = 1e-3  # keeps the root's slope finite at a perfect answer


def bce(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy with soft targets; its minimum is the targets' entropy, not 0."""
    each = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return mean_of_valid(each, valid)


def focal(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Focal loss, Lin et al. 2017 (alpha 0.25, gamma 2): gives hard pixels more weight."""
    p, each = logits.sigmoid(), F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    right = p * target + (1 - p) * (1 - target)
    weight = FOCAL_ALPHA * target + (1 - FOCAL_ALPHA) * (1 - target)
    return mean_of_valid(weight * (each * (1 - right) ** 2), valid)


def l1(answer: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference."""
    return mean_of_valid((answer - target).abs(), valid)


def smooth_l1(answer: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean of d^2 / 2 up to |d| = 1, of |d| - 1/2 beyond: of values in 0..1 half the square."""
    return mean_of_valid(F.smooth_l1_loss(answer, target, reduction="none"), valid)


def rmse(answer: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """sqrt(mean d^2 + 1e-6) - 1e-3, one mean over the batch; 0 at a perfect answer."""
    return (mean_of_valid((answer - target) ** 2, valid) + RMSE_EPS**2).sqrt() - RMSE_EPS


def dice(answer: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """1 - soft Dice of each image, (2 sum pt + 1) / (sum p + sum t + 1); mean over the images."""
    p, t = (torch.where(valid, x, 0).flatten(1) for x in (answer, target))
    return (1 - (2 * (p * t).sum(dim=1) + 1) / (p.sum(dim=1) + t.sum(dim=1) + 1)).mean()


def dice_squared(answer: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """1 - (2 sum pt + 1) / (sum p^2 + sum t^2 + 1), the whole batch as one.

    Milletari et al. 2016, arXiv 1606.04797, sec. 3, smoothed by 1. Unlike `dice` it is 0 for an
    exact prediction of soft targets, so it is a loss for depth too. It is never below 0.
    """
    p, t = (torch.where(valid, x, 0) for x in (answer, target))
    return 1 - (2 * (p * t).sum() + 1) / ((p**2).sum() + (t**2).sum() + 1)


def ssim(
    answer: torch.Tensor, target: torch.Tensor, valid: torch.Tensor, *, window: int
) -> torch.Tensor:
    """Mean of (1 - SSIM) / 2 over the valid pixels; SSIM below 0 counts as 0, so 0..0.5."""
    similarity = ssim_map(answer, target, valid, window=window)
    return mean_of_valid((1 - similarity).clamp(0, 1) / 2, valid)


ssim3, ssim5, ssim11 = (partial(ssim, window=window) for window in (3, 5, 11))


def mean_of_valid(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean of the valid values, 0 without any."""
    # `where`, because nan * 0 is nan.
    return torch.where(valid, values, 0).sum() / valid.sum().clamp(min=1)
