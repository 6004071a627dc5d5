"""Aligns predictions with the scale of their targets before they are scored, image by image.

Alignment uses the target. Aligned scores therefore measure the shape of a depth map and not its
metres: never compare them with unaligned scores.

none         as predicted: how metric networks are reported
median       times median(target) / median(prediction) over the valid pixels, as self-supervised
             networks are reported (Zhou et al. 2017, arXiv 1704.07813, section 4.1;
             `evaluate_depth` of monodepth2)
scale-shift  the scale and shift of least squares over the valid pixels, as networks of unknown
             scale and shift are reported (Ranftl et al. 2020, arXiv 1907.01341, sections 5 and 6).
             Relative networks predict inverse depth and are aligned to the target's inverse depth;
             metric ones to its depth.
"""

import torch

from dsetkit.errors import RunError

# The scale of a prediction as flat as this [variance as a share of the squared mean] would be that
# of its rounding errors.
_FLAT = 1e-12


def align(
    prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor, *, how: str
) -> torch.Tensor:
    """A prediction at the scale of its target.

    Args:
        prediction: (N, 1, H, W) float.
        target: the same shape, in the unit of the result.
        valid: the same shape, bool: the pixels that the alignment uses.
        how: a name in `protocols.ALIGNMENTS`.

    Returns:
        (N, 1, H, W) float; images without a valid pixel stay as they are.
    """
    if how == "median":
        return align_median(prediction, target, valid)
    if how == "scale-shift":
        return align_scale_and_shift(prediction, target, valid)
    return prediction


def align_median(
    prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    """`prediction` times median(target) / median(prediction); arguments as in `align`.

    The median of an even count is the mean of the two in the middle, as in numpy. A prediction
    whose median is not above 0 has no such scale and stays as it is.
    """
    scales = []
    for p, t, v in zip(prediction, target, valid, strict=True):
        middle = _median(p[v]) if v.any() else 0.0
        scales.append(_median(t[v]) / middle if middle > 0 else 1.0)
    return prediction * prediction.new_tensor(scales).view(-1, 1, 1, 1)


def align_scale_and_shift(
    prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    """Scale * prediction + shift with the least squared error; arguments as in `align`.

    A flat prediction becomes the target's mean.
    """
    p, t = (torch.where(valid, x, 0).double() for x in (prediction, target))
    count = valid.sum(dim=(1, 2, 3), keepdim=True)
    p_mean, t_mean = (x.sum(dim=(1, 2, 3), keepdim=True) / count.clamp(min=1) for x in (p, t))
    p_rest, t_rest = (torch.where(valid, x, 0) for x in (p - p_mean, t - t_mean))
    variance = (p_rest**2).sum(dim=(1, 2, 3), keepdim=True)
    covariance = (p_rest * t_rest).sum(dim=(1, 2, 3), keepdim=True)
    is_flat = variance <= _FLAT * count * p_mean**2
    scale = torch.where(is_flat, 0, covariance / torch.where(is_flat, 1, variance))
    aligned = scale * (prediction - p_mean) + t_mean
    return torch.where(count > 0, aligned, prediction).to(prediction.dtype)


def check_comparable(prediction_kind: str, target_kind: str, *, how: str, where: str) -> None:
    """Makes sure that a network's predictions can be compared with a dataset's depth.

    Args:
        prediction_kind: "metric" or "relative", of the network.
        target_kind: the same of the dataset.
        how: a name in `protocols.ALIGNMENTS`.
        where: the dataset, for the message.

    Raises:
        RunError: metric predictions and relative targets, or relative predictions and metric
            targets without the alignment that converts them to metres.
    """
    if prediction_kind == target_kind:
        return
    problem = f"{where} holds {target_kind} depth, the network predicts {prediction_kind} depth: "
    if target_kind == "metric" and how == "median":
        raise RunError(problem + "its shift is unknown too, so give --align scale-shift")
    if target_kind == "metric" and how == "none":
        raise RunError(problem + "give --align scale-shift, or a dataset of that kind")
    if target_kind != "metric":
        raise RunError(problem + "score it on a dataset of that kind")


def _median(values: torch.Tensor) -> float:
    ordered = values.sort().values
    return float((ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2)
