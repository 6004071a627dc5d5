"""Losses for depth alone: of log depth, of its slopes and of surface normals.

All take (prediction, target, valid), each (N, 1, H, W): depth as a share of the dataset's largest
depth (float32), the same for the target, and which pixels of the target are valid (bool). All
return a scalar, 0 without a valid pixel.
"""

import torch
import torch.nn.functional as F

from training.losses.loss_terms import mean_of_valid

LOG_FLOOR = 0.01  # share of the largest depth: 10 cm of 10 m
SILOG_LAMBDA = 0.5
SILOG_EPS = 1e-4  # log units; keeps the root's slope finite at a perfect prediction
GRAD_SCALES = 4


def log_l1(prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of log depth: an error counts by its ratio, near or far."""
    return mean_of_valid((_log(prediction) - _log(target)).abs(), valid)


def berhu(prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Reverse Huber: L1 up to c, quadratic beyond, c = 0.2 max|d| of the batch.

    Laina et al. 2016, arXiv 1606.00373, eq. 1.
    """
    difference = torch.where(valid, prediction - target, 0).abs()
    c = 0.2 * difference.detach().amax().clamp(min=1e-6)
    quadratic = (difference**2 + c**2) / (2 * c)
    return mean_of_valid(torch.where(difference <= c, difference, quadratic), valid)


def silog(prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Scale-invariant log error: sqrt(mean d^2 - 0.5 mean(d)^2) per image, mean over the images.

    d = log prediction - log target. Lambda 0.5 and one scale per image as in Eigen et al. 2014
    (arXiv 1406.2283, eq. 4); under the root as in Depth Anything V2 (metric_depth/util/loss.py),
    which keeps it in log units. Images without a valid pixel do not count.
    """
    d = torch.where(valid, _log(prediction) - _log(target), 0)
    count = valid.sum(dim=(1, 2, 3))
    n = count.clamp(min=1)
    mean_square, mean = (d**2).sum(dim=(1, 2, 3)) / n, d.sum(dim=(1, 2, 3)) / n
    per_image = (mean_square - SILOG_LAMBDA * mean**2 + SILOG_EPS**2).sqrt() - SILOG_EPS
    return mean_of_valid(per_image, count > 0)


def cosine(prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """1 - cosine similarity of the surface normals (-dx, -dy, 1), dx and dy by 3x3 Sobel filters.

    Hu et al. 2019, arXiv 1803.08673. Depth is a share, so normals differ little and values are
    small: give this loss a large weight. It counts pixels whose 3x3 neighbourhood is valid, so
    never those at the border.
    """
    agreement = F.cosine_similarity(normals(prediction), normals(target), dim=1)
    whole = -F.max_pool2d(-valid.float(), kernel_size=3, stride=1) > 0
    return mean_of_valid((1 - agreement).unsqueeze(1), whole)


def grad(prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Multi-scale gradient matching on log depth: sharp edges, smooth planes.

    Li & Snavely 2018, arXiv 1804.00607: mean |dR/dx| + mean |dR/dy|, R = log prediction - log
    target, summed over strides 1, 2, 4, 8. Counts pairs of neighbours that are both valid.
    """
    residual = _log(prediction) - _log(target)
    total = residual.new_zeros(())
    for stride in (2**k for k in range(GRAD_SCALES)):
        r, v = residual[..., ::stride, ::stride], valid[..., ::stride, ::stride]
        across, down = r.diff(dim=-1).abs(), r.diff(dim=-2).abs()
        total = total + mean_of_valid(across, v[..., 1:] & v[..., :-1])
        total = total + mean_of_valid(down, v[..., 1:, :] & v[..., :-1, :])
    return total


def slopes(depth: torch.Tensor) -> torch.Tensor:
    """(N, 1, H, W) -> (N, 2, H-2, W-2): dx and dy by 3x3 Sobel filters, 8 times the true slope."""
    # Computed on the depth's device: a copy of constants to a GPU would wait for it.
    across = torch.arange(-1, 2, dtype=depth.dtype, device=depth.device)  # -1 0 1
    sobel_x = torch.outer(2 - across.abs(), across)  # rows -1 0 1, -2 0 2, -1 0 1
    kernels = torch.stack((sobel_x, sobel_x.T)).unsqueeze(1)  # (2, 1, 3, 3)
    return F.conv2d(depth, kernels)


def normals(depth: torch.Tensor) -> torch.Tensor:
    """(N, 1, H, W) -> (N, 3, H-2, W-2): (-dx, -dy, 1), not of length 1."""
    dx_dy = slopes(depth)
    return torch.cat((-dx_dy, torch.ones_like(dx_dy[:, :1])), dim=1)


def _log(depth: torch.Tensor) -> torch.Tensor:
    """Natural log, below LOG_FLOOR its tangent, which has a gradient at 0 and below too."""
    above = depth.clamp(min=LOG_FLOOR).log()
    return above + (depth - LOG_FLOOR).clamp(max=0) / LOG_FLOOR
