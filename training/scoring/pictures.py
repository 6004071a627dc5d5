"""Predictions beside their targets: uint8 RGB pictures for TensorBoard, --grid and the demo.

Depth is drawn in viridis with near bright and far dark, errors in inferno from black (none) up,
invalid pixels in grey. Each scale has its bar, with its unit.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from dsetkit.colours import DEPTH_COLOURS, colour_depth, colour_shares
from dsetkit.picture_grid import picture_grid
from training.loop import Batch

ERROR_COLOURS = cv2.COLORMAP_INFERNO
INVALID_COLOUR = (128, 128, 128)
TITLES = ("target", "prediction", "error")


def pictures_of(batch: Batch, inputs: Sequence[str]) -> dict[str, torch.Tensor]:
    """The pictures of a batch that a network sees, in its order, under their names."""
    return {name: batch[name] for name in inputs}


def depth_grid(
    pictures: Mapping[str, torch.Tensor],
    targets: torch.Tensor,
    predictions: torch.Tensor,
    *,
    max_depth_m: float,
    depth_kind: str = "metric",
) -> np.ndarray:
    """What a network saw, then target, prediction and error of depth, one row per sample.

    Args:
        pictures: title -> (N, 3, H, W) uint8 RGB, any size.
        targets: (N, 1, H, W) float in [0, 1], 0 = invalid.
        predictions: (N, 1, h, w) float; brought to the targets' size bilinearly.
        max_depth_m: what a depth of 1 means [m], for the bars.
        depth_kind: "metric", or "relative": inverse depth, larger is nearer, drawn without metres.

    Returns:
        (height, width, 3) uint8 RGB. Colours span the middle 98 % of the valid targets; errors the
        lower 98 %.
    """
    scale = _DepthScale.spanning(_maps(targets), max_depth_m=max_depth_m, depth_kind=depth_kind)
    depths = _maps(targets) * scale.factor
    predicted = _resize_maps(_maps(predictions), depths.shape[1:]) * scale.factor
    errors = np.where(depths > 0, np.abs(predicted - depths), np.nan)
    worst = float(np.nanpercentile(errors, 98)) if np.isfinite(errors).any() else 1.0

    rows = []
    for photos, target, prediction, error in zip(
        _photos(pictures), depths, predicted, errors, strict=True
    ):
        tiles = [
            *photos,
            scale.colour(target),
            scale.colour_prediction(prediction),
            colour_error(error, worst),
        ]
        rmse = math.sqrt(np.mean(error[np.isfinite(error)] ** 2)) if np.isfinite(error).any() else 0
        rows.append((tiles, f"RMSE {rmse:.3g} {scale.unit}"))
    error_bar = {"lo": 0.0, "hi": worst, "unit": scale.unit, "colours": ERROR_COLOURS}
    bars = (*[None] * len(pictures), scale.bar, scale.bar, error_bar)
    return picture_grid(rows, (*pictures, *TITLES), bars=bars)


def mask_grid(
    pictures: Mapping[str, torch.Tensor], targets: torch.Tensor, probabilities: torch.Tensor
) -> np.ndarray:
    """What a network saw, then target, prediction and error of masks, one row per sample.

    Args:
        pictures: title -> (N, 3, H, W) uint8 RGB, any size.
        targets: (N, 1, H, W) float in [0, 1].
        probabilities: (N, 1, H, W) float in [0, 1], after the sigmoid.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    rows = []
    for photos, target, probability in zip(
        _photos(pictures), _maps(targets), _maps(probabilities), strict=True
    ):
        error = np.abs(probability - target)
        tiles = [*photos, _grey(target), _grey(probability), colour_error(error, 1.0)]
        rows.append((tiles, f"RMSE {math.sqrt(np.mean(error**2)):.3g}"))
    error_bar = {"lo": 0.0, "hi": 1.0, "unit": "", "colours": ERROR_COLOURS}
    bars = (*[None] * (len(pictures) + 2), error_bar)
    return picture_grid(rows, (*pictures, *TITLES), bars=bars)


def joint_grid(
    pictures: Mapping[str, torch.Tensor],
    batch: Batch,
    answers: Batch,
    *,
    max_depth_m: float,
    depth_kind: str = "metric",
) -> np.ndarray:
    """What a network saw, then target and prediction of each map, a row each, samples in columns.

    Args:
        pictures: title -> (N, 3, H, W) uint8 RGB, any size.
        batch: "mask" (N, 1, H, W) uint8, "depth" (N, 1, H, W) float in [0, 1], 0 = invalid.
        answers: "mask" and "depth", (N, 1, H, W) float, meant as 0..1.
        max_depth_m: what a depth of 1 means [m], for the bar.
        depth_kind: "metric", or "relative": inverse depth, larger is nearer, drawn without metres.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    scale = _DepthScale.spanning(
        _maps(batch["depth"]), max_depth_m=max_depth_m, depth_kind=depth_kind
    )
    depths = scale.factor * _maps(batch["depth"])
    predictions = scale.factor * _maps(answers["depth"])
    rows = [
        *((_of_title(images), title) for title, images in pictures.items()),
        ([_grey(mask) for mask in _maps(batch["mask"]) / 255], "mask, target"),
        ([_grey(mask) for mask in _maps(answers["mask"])], "mask, prediction"),
        ([scale.colour(depth) for depth in depths], "depth, target"),
        ([scale.colour_prediction(depth) for depth in predictions], "depth, prediction"),
    ]
    count = len(depths)
    return picture_grid(rows, ("",) * count, bars=(scale.bar, *(None,) * (count - 1)))


@dataclass(frozen=True)
class _DepthScale:
    """The colours of a grid's depths: the middle 98 % of its valid targets span them.

    Attributes:
        factor: what shares of the largest depth are multiplied by, for `unit`.
        lo, hi: ends of the span [unit].
    """

    factor: float
    unit: str
    lo: float
    hi: float
    metric: bool

    @classmethod
    def spanning(cls, targets: np.ndarray, *, max_depth_m: float, depth_kind: str) -> "_DepthScale":
        """Of targets (N, H, W) in [0, 1], 0 = invalid."""
        metric = depth_kind == "metric"
        factor, unit = (max_depth_m, "m") if metric else (1.0, "of range")
        targets = targets * factor
        seen = targets[targets > 0] if (targets > 0).any() else np.array([0.0, factor])
        lo, hi = (float(value) for value in np.percentile(seen, (1, 99)))
        return cls(factor, unit, lo, hi, metric)

    @property
    def bar(self) -> dict:
        """Arguments of `colour_bar`."""
        ends = {"lo": self.lo, "hi": self.hi, "unit": self.unit}
        return ends | {"colours": DEPTH_COLOURS, "flipped": self.metric}

    def colour(self, depth: np.ndarray) -> np.ndarray:
        """Depth (H, W) in `unit` as (H, W, 3) uint8 RGB."""
        return colour_depth(
            depth, self.lo, self.hi, near_is_low=self.metric, invalid=INVALID_COLOUR
        )

    def colour_prediction(self, depth: np.ndarray) -> np.ndarray:
        """The same for a prediction, which has no invalid pixels: its zeros are not drawn grey."""
        return self.colour(np.maximum(depth, 1e-6))


def colour_error(error: np.ndarray, hi: float) -> np.ndarray:
    """Error (H, W) float as (H, W, 3) uint8 RGB, 0 black, `hi` and above brightest, nan grey."""
    colours = colour_shares(np.nan_to_num(error / max(hi, 1e-9)), ERROR_COLOURS)
    colours[~np.isfinite(error)] = INVALID_COLOUR
    return colours


def _grey(share: np.ndarray) -> np.ndarray:
    """(H, W) float in [0, 1] -> (H, W, 3) uint8."""
    return np.repeat(np.round(np.clip(share, 0, 1) * 255).astype(np.uint8)[..., np.newaxis], 3, 2)


def _photos(pictures: Mapping[str, torch.Tensor]) -> Iterator[tuple[np.ndarray, ...]]:
    """The pictures of each sample, (H, W, 3) uint8."""
    return zip(*map(_of_title, pictures.values()), strict=True)


def _of_title(images: torch.Tensor) -> list[np.ndarray]:
    """(N, 3, H, W) uint8 tensor -> N arrays (H, W, 3)."""
    return list(np.ascontiguousarray(images.cpu().numpy().transpose(0, 2, 3, 1)))


def _maps(maps: torch.Tensor) -> np.ndarray:
    """(N, 1, H, W) tensor -> (N, H, W) float32 array."""
    return maps.detach().float().cpu().numpy()[:, 0]


def _resize_maps(maps: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    height, width = size
    return np.stack([cv2.resize(m, (width, height), interpolation=cv2.INTER_LINEAR) for m in maps])
