"""Losses for depth and mask networks, by name and weight: "l1", "silog+l1", "l1:0.5+cosine:0.1".

Every depth loss counts valid pixels only, is 0 (with a graph) where there is none, and computes in
float32, also under autocast. Depth is a share of the dataset's largest depth, 0..1, so weights
carry over between datasets.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from training.errors import RunError

DepthLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
MaskLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

LOG_FLOOR = 0.01  # share of the largest depth: 10 cm of 10 m
SILOG_LAMBDA = 0.5
SILOG_EPS = 1e-4  # log units; keeps the root's slope finite at a perfect prediction
GRAD_SCALES = 4


def depth_loss(spec: str) -> DepthLoss:
    """Builds a depth loss from its name.

    Args:
        spec: terms joined by "+", each `name` or `name:weight`: "silog+l1", "l1:0.5+cosine:0.1".

    Returns:
        A function of (prediction, target, valid), each (N, 1, H, W): depth as a share of the
        largest depth (float), the same for the target, and which pixels of the target may be
        trusted (bool). It returns a scalar.

    Raises:
        RunError: an unknown name (the known are listed), or a weight that is no positive number.
    """
    terms = _parse(spec, DEPTH_LOSSES, kind="depth")

    def loss(prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        with torch.autocast(prediction.device.type, enabled=False):
            prediction, target = prediction.float(), target.float()
            return sum(
                weight * DEPTH_LOSSES[name](prediction, target, valid)
                for name, weight in terms.items()
            )

    return loss


def mask_loss(spec: str) -> MaskLoss:
    """Builds a mask loss from its name, with the grammar of `depth_loss`.

    Returns:
        A function of (logits, target), each (N, 1, H, W) float, the target soft in [0, 1]. It
        returns a scalar.

    Raises:
        RunError: an unknown name (the known are listed), or a weight that is no positive number.
    """
    terms = _parse(spec, MASK_LOSSES, kind="mask")

    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            logits, target = logits.float(), target.float()
            return sum(weight * MASK_LOSSES[name](logits, target) for name, weight in terms.items())

    return loss


# ---------------------------------------------------------------- depth


def l1(prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference."""
    return _mean((prediction - target).abs(), valid)


def log_l1(prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of log depth: near and far errors count by their ratio."""
    return _mean((_log(prediction) - _log(target)).abs(), valid)


def berhu(prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Reverse Huber: L1 up to c, quadratic beyond, c = 0.2 max|d| of the batch.

    Laina et al. 2016, arXiv 1606.00373, eq. 1.
    """
    difference = torch.where(valid, prediction - target, 0).abs()
    c = 0.2 * difference.detach().amax().clamp(min=1e-6)
    return _mean(torch.where(difference <= c, difference, (difference**2 + c**2) / (2 * c)), valid)


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
    return _mean(per_image, count > 0)


def cosine(prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """1 - cosine similarity of the surface normals (-dx, -dy, 1), dx and dy by 3x3 Sobel filters.

    Hu et al. 2019, arXiv 1803.08673. Depth being a share, normals lean little and values are small:
    weigh it up. Counts pixels whose 3x3 neighbourhood is valid, so never the outermost ring.
    """
    agreement = F.cosine_similarity(_normals(prediction), _normals(target), dim=1)
    whole = -F.max_pool2d(-valid.float(), kernel_size=3, stride=1) > 0
    return _mean((1 - agreement).unsqueeze(1), whole)


def grad(prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Multi-scale gradient matching on log depth: sharp edges, smooth planes.

    Li & Snavely 2018, arXiv 1804.00607: mean |dR/dx| + mean |dR/dy|, R = log prediction - log
    target, summed over strides 1, 2, 4, 8. Counts pairs of neighbours that are both valid.
    """
    residual = _log(prediction) - _log(target)
    total = residual.new_zeros(())
    for stride in (2**k for k in range(GRAD_SCALES)):
        r, v = residual[..., ::stride, ::stride], valid[..., ::stride, ::stride]
        total = total + _mean((r[..., 1:] - r[..., :-1]).abs(), v[..., 1:] & v[..., :-1])
        total = total + _mean(
            (r[..., 1:, :] - r[..., :-1, :]).abs(), v[..., 1:, :] & v[..., :-1, :]
        )
    return total


DEPTH_LOSSES: dict[str, DepthLoss] = {
    "l1": l1, "log_l1": log_l1, "berhu": berhu, "silog": silog, "cosine": cosine, "grad": grad,
}  # fmt: skip


# ---------------------------------------------------------------- mask


def bce(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy with soft targets."""
    return F.binary_cross_entropy_with_logits(logits, target)


def focal(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Focal loss, Lin et al. 2017 (alpha 0.25, gamma 2): dwells on the pixels that are hard."""
    return sigmoid_focal_loss(logits, target, reduction="mean")


def dice(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 - soft Dice of each image, (2 sum pt + 1) / (sum p + sum t + 1); mean over the images."""
    p, t = torch.sigmoid(logits).flatten(1), target.flatten(1)
    return (1 - (2 * (p * t).sum(dim=1) + 1) / (p.sum(dim=1) + t.sum(dim=1) + 1)).mean()


def mask_l1(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of probability and soft target."""
    return F.l1_loss(torch.sigmoid(logits), target)


MASK_LOSSES: dict[str, MaskLoss] = {"bce": bce, "dice": dice, "focal": focal, "l1": mask_l1}


# ---------------------------------------------------------------- parts


def _parse(spec: str, known: dict[str, Callable], *, kind: str) -> dict[str, float]:
    """ "l1:0.5+cosine" -> {"l1": 0.5, "cosine": 1.0}."""
    terms: dict[str, float] = {}
    for term in spec.split("+"):
        name, _, weight = (part.strip() for part in term.partition(":"))
        if name not in known:
            raise RunError(
                f"unknown {kind} loss {name!r} in {spec!r}; known: {', '.join(known)}; "
                "join them like 'A+B:0.5'"
            )
        if name in terms:
            raise RunError(
                f"{kind} loss {name!r} stands twice in {spec!r}; give it once, with its weight"
            )
        terms[name] = _weight(weight or "1", spec)
    return terms


def _weight(text: str, spec: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = float("nan")
    if not 0 < weight < float("inf"):
        raise RunError(
            f"weight {text!r} in loss {spec!r} is not a positive number; write for example 'l1:0.5'"
        )
    return weight


def _mean(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean of the valid values, 0 without any. `where`: a product would keep an invalid nan."""
    return torch.where(valid, values, 0).sum() / valid.sum().clamp(min=1)


def _log(depth: torch.Tensor) -> torch.Tensor:
    """Natural log, continued below LOG_FLOOR by its tangent: the gradient lives at 0 and below."""
    above = depth.clamp(min=LOG_FLOOR).log()
    return above + (depth - LOG_FLOOR).clamp(max=0) / LOG_FLOOR


def _normals(depth: torch.Tensor) -> torch.Tensor:
    """(N, 1, H, W) -> (N, 3, H-2, W-2), not normalised."""
    sobel_x = depth.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    kernels = torch.stack((-sobel_x, -sobel_x.T)).unsqueeze(1)  # (2, 1, 3, 3)
    slopes = F.conv2d(depth, kernels)  # (N, 2, H-2, W-2)
    return torch.cat((slopes, torch.ones_like(slopes[:, :1])), dim=1)
