"""Showing a network composites at the height it knows: depth is told by apparent size."""

import numpy as np
import torch
from torch.nn.functional import interpolate


def fitted_size(height: int, width: int, *, to_height: int, stride: int) -> tuple[int, int]:
    """`to_height`, and the width that keeps the shape as nearly as the stride lets [px]."""
    columns = max(1, round(width / height * to_height / stride))
    return to_height, columns * stride


def as_batch(
    composites: np.ndarray, *, size: tuple[int, int] | None = None, device: str | torch.device
) -> torch.Tensor:
    """Composites as a network takes them.

    Args:
        composites: uint8 (N, H, W, 3) RGB; may be read-only or a reversed view.
        size: Height and width to resize to [px]; None leaves them as they are.
        device: Where the batch goes.

    Returns:
        float32 (N, 3, h, w) RGB in 0..1.
    """
    pixels = torch.from_numpy(np.array(composites))  # torch knows no read-only, reversed arrays
    batch = pixels.to(device).permute(0, 3, 1, 2).float() / 255  # (N, 3, H, W)
    if size is None or size == tuple(batch.shape[2:]):
        return batch
    return interpolate(batch, size=size, mode="bilinear", antialias=True)
