"""Structural similarity of two maps, shared by the losses and the scores."""

import torch


def ssim_map(
    prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor, *, window: int
) -> torch.Tensor:
    """SSIM around each pixel: Gaussian window (sigma 1.5), range 1, mirrored at the border.

    Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity",
    eq. 13. Invalid pixels are 0 in both maps before the window is laid, so a window that reaches
    them finds them equal. On maps with a side below (window + 1) / 2 the window is the largest that
    can be mirrored.

    Args:
        prediction: (N, 1, H, W) float32, about 0..1.
        target: the same, 0..1.
        valid: (N, 1, H, W) bool, which pixels may be compared.
        window: side of the window, odd [px].

    Returns:
        (N, 1, H, W) in -1..1, 1 = alike; also at invalid pixels, where it means little.
    """
    from kornia.metrics import ssim  # here, for kornia takes most of a second to import

    prediction, target = (torch.where(valid, x, 0) for x in (prediction, target))
    window = min(window, 2 * min(target.shape[-2:]) - 1)
    return ssim(prediction, target, window, eps=0.0)  # exactly 1 for equal maps, also black ones
