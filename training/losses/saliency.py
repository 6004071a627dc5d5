"""A loss for masks without true masks or depth: what does a depth network look at?

Hu, Zhang & Okatani 2019, "Visualization of Convolutional Neural Networks for Monocular Depth
Estimation", arXiv 1904.03380: the sparsest mask through which a depth network still predicts what
it predicts for the whole picture. Such a mask keeps edges and vanishing points. It does not segment
the foreground: no term of this loss asks for that.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from training.losses.depth_losses import normals, slopes

SPARSITY_WEIGHT = 5.0
LOG_OFFSET = 0.5  # a term is ln 0.5 where both depths agree


def saliency_loss(
    depth_net: Callable[[torch.Tensor], torch.Tensor],
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Builds the objective around a depth network.

    With d the depth of the whole picture and o that of the masked one: mean ln(|o - d| + 0.5), the
    same of their slopes in x and in y, mean |1 - cos| of their surface normals, 5 mean(mask). The
    least possible value is 3 ln 0.5, about -2.08.

    Args:
        depth_net: (N, 3, H, W) RGB in [0, 1] -> (N, 1, h, w) depth. A module is frozen and put into
            evaluation mode for good; gradients pass through it to the mask.

    Returns:
        A function of (mask_probability, composite), (N, 1, H, W) and (N, 3, H, W) in [0, 1]. It
        returns a scalar.
    """
    if isinstance(depth_net, nn.Module):
        depth_net.eval().requires_grad_(False)

    def loss(mask_probability: torch.Tensor, composite: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            whole = depth_net(composite).float()
        masked = depth_net(composite * mask_probability).float()
        with torch.autocast(masked.device.type, enabled=False):
            dx, dy = (slopes(masked) - slopes(whole)).unbind(dim=1)
            close = sum(_log_distance(difference) for difference in (masked - whole, dx, dy))
            agreement = F.cosine_similarity(normals(masked), normals(whole), dim=1)
            sparse = SPARSITY_WEIGHT * mask_probability.float().mean()
            return close + (1 - agreement).abs().mean() + sparse

    return loss


def _log_distance(difference: torch.Tensor) -> torch.Tensor:
    return (difference.abs() + LOG_OFFSET).log().mean()
