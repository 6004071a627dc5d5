"""Odd scores that student projects on composites, masks and depth have published.

Five projects that trained on composites of cut-outs over photographs printed numbers that do not
mean what their names say. These functions compute the same numbers for your predictions, so that a
published number can be compared with a sound one of training/scoring/metrics.py. Do not choose a
network by them.

All take (prediction, target), each (N, 1, H, W) float in [0, 1], and return a float.
"""

from collections.abc import Callable

import torch

from training.losses.loss_terms import ssim
from training.scoring.metrics import resize_to

LOSS_BATCH = 48  # samples per batch of the project that printed `loss_per_sample`
SOFT_DICE_SMOOTH = 1e-4


def iou_of_thresholded_depth(prediction: torch.Tensor, target: torch.Tensor) -> float:
    """IoU of the pixels above 0.5, all of a batch as one: printed for masks and for depth.

    What is wrong with it: half of the largest depth is no border in a scene, so the score does not
    measure depth. Maps that are far off score 1 when both are above 0.5, and a constant error of a
    hundredth can lead to 0. One batch is taken for the whole set, and a batch without any pixel
    above 0.5 gives nan (0 / 0).
    """
    p, t = prediction > 0.5, target > 0.5
    return float((p & t).sum() / (p | t).sum())


def loss_per_sample(prediction: torch.Tensor, target: torch.Tensor) -> float:
    """Sum of the batches' mean losses over the number of samples; SSIM loss, batches of 48.

    What is wrong with it: each batch's loss is a mean already, so the number is 48 times too small,
    and a larger batch alone makes it smaller. Times 48 it is the loss (1 - SSIM) / 2 with a window
    of 3 px, 0.5 at most: a printed 0.0011 was 0.053. (The project added those of mask and depth.)
    """
    batches = zip(prediction.split(LOSS_BATCH), target.split(LOSS_BATCH), strict=True)
    total = sum(ssim(p, t, torch.ones_like(t, dtype=torch.bool), window=3) for p, t in batches)
    return float(total / len(target))


def soft_dice_over_255(prediction: torch.Tensor, target: torch.Tensor) -> float:
    """Soft Dice of each sample against its target divided by 255 once more, mean over samples.

    What is wrong with it: the targets were in 0..1 already, so they became 0..1/255. Even an exact
    prediction scores about 0.008, and 0.5 at every pixel scores about 0.004 for a mean target of
    0.5. "Dice of 0.00" said nothing about the network. Besides, soft Dice is below 1 even for an
    exact prediction of soft targets.
    """
    p, t = prediction.flatten(1), target.flatten(1) / 255
    both, total = (p * t).sum(dim=1), p.sum(dim=1) + t.sum(dim=1)
    return float(((2 * both + SOFT_DICE_SMOOTH) / (total + SOFT_DICE_SMOOTH)).mean())


def score_published(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, float]:
    """All of PUBLISHED over a whole split.

    Args:
        pairs: (prediction, target) of each batch, (N, 1, H, W); predictions are brought to the
            targets' size bilinearly.
    """
    predictions = torch.cat([resize_to(prediction, target) for prediction, target in pairs])
    targets = torch.cat([target for _, target in pairs])
    return {name: score(predictions, targets) for name, score in PUBLISHED.items()}


PUBLISHED: dict[str, Callable[[torch.Tensor, torch.Tensor], float]] = {
    "iou_of_thresholded_depth": iou_of_thresholded_depth,
    "loss_per_sample": loss_per_sample,
    "soft_dice_over_255": soft_dice_over_255,
}
