"""Boundary F: how well the outline of a mask lies on that of another, thin parts included.

IoU hardly sees a lost leg or a jagged edge. The boundary of a binary mask are its foreground pixels
with background among their 8 neighbours; the border of the picture is none. A boundary pixel
matches when the other mask has a boundary pixel at most `within_px` rows and columns away (2 px in
the scripts, whatever the size of the picture). Precision is the share of the prediction's boundary
pixels that match, recall that of the target's, F their harmonic mean, cf. Martin et al. 2004 (the
boundary benchmark of Berkeley) and Perazzi et al. 2016 (DAVIS).
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F


def matches(
    prediction: torch.Tensor, target: torch.Tensor, *, within_px: int
) -> dict[str, torch.Tensor]:
    """The boundary pixels of two masks, and which of them match.

    Args:
        prediction: (N, 1, H, W) bool.
        target: (N, 1, H, W) bool.
        within_px: how many rows and columns a match may be away.

    Returns:
        Four bool masks (N, 1, H, W), whose sums `boundary_f` takes.
    """
    predicted, wanted = boundary(prediction), boundary(target)
    return {
        "predicted_edge": predicted,
        "predicted_edge_found": predicted & dilate(wanted, within_px),
        "target_edge": wanted,
        "target_edge_found": wanted & dilate(predicted, within_px),
    }


def boundary_f(sums: Mapping[str, np.ndarray]) -> np.ndarray:
    """F from the numbers of pixels of `matches`, elementwise; 1 where neither has a boundary."""
    precision = share(sums["predicted_edge_found"], sums["predicted_edge"])
    recall = share(sums["target_edge_found"], sums["target_edge"])
    return 2 * precision * recall / np.maximum(precision + recall, 1e-12)


def boundary(mask: torch.Tensor) -> torch.Tensor:
    """Foreground pixels with background among their 8 neighbours inside the picture.

    Args:
        mask: (N, 1, H, W) bool.

    Returns:
        (N, 1, H, W) bool.
    """
    return mask & dilate(~mask, 1)


def dilate(mask: torch.Tensor, radius_px: int) -> torch.Tensor:
    """Grows a (N, 1, H, W) bool mask by a square of (2 radius_px + 1)^2 pixels."""
    size = 2 * radius_px + 1
    return F.max_pool2d(mask.float(), size, stride=1, padding=radius_px) > 0


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Part / whole, and 1 where both are 0."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), 1.0)
