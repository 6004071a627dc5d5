"""Scores of depth maps and masks, from sums per image, which allow both kinds of averages.

`*_per_image` is the mean over images of each image's score, as BTS, AdaBins and their followers
print it. `*_pooled` takes all pixels of all images as one, as DenseDepth and Laina et al. do. For
images with equally many valid pixels the RMSE per image is never above the pooled one.
"""

import math
from itertools import chain, zip_longest
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F

from training import exchange, ranks
from training.losses.ssim import ssim_map
from training.scoring.alignment import align
from training.scoring.boundaries import boundary_f, matches, share
from training.scoring.protocols import MIN_DEPTH_M, crop_window

SSIM_WINDOW_PX = 11
DRAWS = 1000  # of images, for an interval
_DELTAS = {"delta_1": 1.25, "delta_2": 1.25**2, "delta_3": 1.25**3}


def resize_to(prediction: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Resizes (N, 1, h, w) bilinearly to the height and width of `like`, if they differ."""
    if prediction.shape[-2:] == like.shape[-2:]:
        return prediction
    return F.interpolate(prediction, size=like.shape[-2:], mode="bilinear", align_corners=False)


class _PerImageScores:
    """Named float64 sums, one row per image, on the device that computed them."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._rows: list[torch.Tensor] = []

    def _add(self, sums: dict[str, torch.Tensor]) -> None:
        self._names = tuple(sums)
        self._rows.append(torch.stack([value.double() for value in sums.values()], dim=1))

    def merge_ranks(self) -> Self:
        """Adds the rows of the other ranks, each image once, in the order of a single process."""
        if ranks.world() > 1:
            every = exchange.gather_objects((self._names, [rows.cpu() for rows in self._rows]))
            self._names = max((names for names, _ in every), key=len)  # a rank may have no image
            batches = zip_longest(*(rows for _, rows in every))
            self._rows = [rows for rows in chain.from_iterable(batches) if rows is not None]
        return self

    def _scores(self, sums: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Scores from sums, elementwise: the same for one image's sums and for those of a split."""
        raise NotImplementedError

    def compute(self, images: np.ndarray | None = None) -> dict[str, float]:
        """The scores of all images so far, or of those that the bool mask or index `images` picks.

        Returns:
            "<score>_per_image" and "<score>_pooled" of every score of the class, and how many
            "images" and "pixels" counted. Images without a valid pixel do not count; when none is
            left the scores are nan.
        """
        table = self._counted(images)
        sums = dict(zip(self._names, table.T, strict=True))
        with np.errstate(invalid="ignore"):  # 0 / 0 = nan when no image is left
            each = self._scores(sums)
            pooled = self._scores({name: values.sum() for name, values in sums.items()})
            result = {
                f"{name}_per_image": float(values.sum() / np.float64(len(values)))
                for name, values in each.items()
            }
        result |= {f"{name}_pooled": float(value) for name, value in pooled.items()}
        return result | {"images": len(table), "pixels": int(sums["pixels"].sum())}

    def intervals(self, images: np.ndarray | None = None) -> dict[str, tuple[float, float]]:
        """How far chance in the choice of images reaches: the scores of images drawn anew.

        The images are drawn DRAWS times from themselves with replacement. An interval lies between
        the 2.5th and the 97.5th percentile of the scores of these draws. It says nothing about
        another training, or about images of another kind.

        Args:
            images: as of `compute`.

        Returns:
            Name of a score as of `compute` -> (low, high). Nothing if no image counts.

        Source: B. Efron, Bootstrap Methods: Another Look at the Jackknife, Ann. Statist. 7, 1979.
        """
        table = self._counted(images)
        if not len(table):
            return {}
        with np.errstate(invalid="ignore"):
            each = self._scores(dict(zip(self._names, table.T, strict=True)))
            of_images = np.stack([*each.values()], axis=1)
            rng = np.random.default_rng(0)
            count, means, sums = len(table), [], []
            for _ in range(DRAWS):
                times = np.bincount(rng.integers(0, count, count), minlength=count).astype(float)
                means.append(times @ of_images / count)
                sums.append(times @ table)
            pooled = self._scores(dict(zip(self._names, np.array(sums).T, strict=True)))
        found = {f"{name}_per_image": of for name, of in zip(each, np.array(means).T, strict=True)}
        found |= {f"{name}_pooled": of for name, of in pooled.items()}
        ends = {name: np.quantile(of, (0.025, 0.975)).tolist() for name, of in found.items()}
        return {name: (low, high) for name, (low, high) in ends.items()}

    def _counted(self, images: np.ndarray | None) -> np.ndarray:
        """The sums of the images that count, float64 (images, names)."""
        table = torch.cat(self._rows).cpu().numpy()
        table = table if images is None else table[images]
        return table[table[:, self._names.index("pixels")] > 0]


class DepthMetrics(_PerImageScores):
    """Depth scores on the valid pixels.

    "rmse" and "mae" in the unit of the target, 0..1; "ssim", the structural similarity around each
    valid pixel (window 11 px, range 1), a mean over images pooled too. For metric depth also
    "rmse_m" and "mae_m" [m], "abs_rel", "log10", "delta_1" .. "delta_3" (share of pixels within a
    factor of 1.25, 1.25^2, 1.25^3) and "silog" (100 sqrt(mean d^2 - mean(d)^2), d = ln prediction -
    ln target).

    A pixel is valid when min_depth_m < target < valid_to_m, both ends open (BTS, AdaBins); in
    relative depth when target > 0. Predictions are aligned on the valid pixels inside the crop,
    then clipped to [min_depth_m, valid_to_m]; those for relative targets to [0, 1].

    Args:
        max_depth_m: what a depth of 1 means [m]; without meaning for relative depth.
        depth_kind: "metric" or "relative"; relative depth has neither metres nor ratios.
        min_depth_m: lower end of the valid range and of the clip [m].
        valid_to_m: upper end of the valid range and of the clip [m] (default: max_depth_m).
        crop: a name in `protocols.CROPS`; pixels outside do not count.
        align: a name in `protocols.ALIGNMENTS`.
        prediction_kind: kind of the predictions (default: depth_kind). Relative ones can be
            compared with metric depth by align="scale-shift".

    Raises:
        ValueError: kinds that differ, without the alignment that converts relative depth to metres.
    """

    def __init__(
        self,
        max_depth_m: float,
        *,
        depth_kind: str = "metric",
        min_depth_m: float = MIN_DEPTH_M,
        valid_to_m: float | None = None,
        crop: str = "none",
        align: str = "none",
        prediction_kind: str | None = None,
    ) -> None:
        super().__init__()
        self.max_depth_m = max_depth_m
        self.depth_kind = depth_kind
        self.min_depth_m = min_depth_m
        self.valid_to_m = max_depth_m if valid_to_m is None else valid_to_m
        self.crop = crop
        self.align = align
        self.prediction_kind = prediction_kind or depth_kind
        kinds = (self.prediction_kind, depth_kind)
        if kinds[0] != kinds[1] and (kinds, align) != (("relative", "metric"), "scale-shift"):
            raise ValueError(f"{kinds[0]} predictions of {depth_kind} depth with align={align!r}")

    @torch.no_grad()
    def update(
        self, prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor | None = None
    ) -> None:
        """Adds a batch.

        Args:
            prediction: (N, 1, h, w) float, depth as a share of max_depth_m, or relative inverse
                depth; brought to the target's size bilinearly where it differs.
            target: (N, 1, H, W) float32 in [0, 1], 0 = invalid.
            valid: (N, 1, H, W) bool, pixels that may count, if they are in the valid range too.
        """
        prediction, target = resize_to(prediction.float(), target), target.float()
        valid = target > 0 if valid is None else valid & (target > 0)
        rows, columns = crop_window(self.crop, *target.shape[-2:])
        prediction, target, valid = (x[..., rows, columns] for x in (prediction, target, valid))
        if self.depth_kind == "relative":
            prediction = align(prediction, target, valid, how=self.align).clamp(0, 1)
            sums = _difference_sums(prediction, target, valid)
            self._add(sums | _ssim_sums(prediction, target, valid))
            return
        target_m = target * self.max_depth_m
        valid = valid & (target_m > self.min_depth_m) & (target_m < self.valid_to_m)
        prediction_m = self._in_metres(prediction, target_m, valid)
        prediction = prediction_m / self.max_depth_m
        self._add(
            _difference_sums(prediction, target, valid)
            | _ssim_sums(prediction, target, valid)
            | _ratio_sums(prediction_m, target_m, valid)
        )

    def _in_metres(
        self, prediction: torch.Tensor, target_m: torch.Tensor, valid: torch.Tensor
    ) -> torch.Tensor:
        """Predictions aligned and clipped [m]."""
        nearest, farthest = self.min_depth_m, self.valid_to_m
        if self.prediction_kind == "metric":
            depth_m = align(prediction * self.max_depth_m, target_m, valid, how=self.align)
            return depth_m.clamp(nearest, farthest)
        target_inverse = 1 / torch.where(valid, target_m, 1)
        inverse = align(prediction, target_inverse, valid, how=self.align)  # [1/m]
        return 1 / inverse.clamp(1 / farthest, 1 / nearest)

    def _scores(self, sums: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        n = sums["pixels"]
        rmse, mae = np.sqrt(sums["square"] / n), sums["absolute"] / n
        ssim = sums["ssim"] / sums["images"]
        if self.depth_kind == "relative":
            return {"rmse": rmse, "mae": mae, "ssim": ssim}
        variance = sums["log_square"] / n - (sums["log"] / n) ** 2
        return {
            "rmse": rmse,
            "rmse_m": rmse * self.max_depth_m,
            "mae": mae,
            "mae_m": mae * self.max_depth_m,
            "ssim": ssim,
            **{name: sums[name] / n for name in ("abs_rel", "log10", *_DELTAS)},
            "silog": 100 * np.sqrt(np.maximum(variance, 0)),
        }


class MaskMetrics(_PerImageScores):
    """Mask scores.

    On the soft values, 0..1: "rmse", "mae" and "dice_soft", 2 sum pt / (sum p + sum t), which is
    below 1 even for an exact prediction of soft targets. On the binary masks (>= threshold): "iou",
    "dice" and "boundary_f", see training/scoring/boundaries.py. Two empty masks score 1.

    Args:
        threshold: probability and soft target from which a pixel is foreground.
        boundary_px: how far apart matching boundary pixels may lie, in rows and in columns.
    """

    def __init__(self, *, threshold: float = 0.5, boundary_px: int = 2) -> None:
        super().__init__()
        self.threshold = threshold
        self.boundary_px = boundary_px

    @torch.no_grad()
    def update(self, probability: torch.Tensor, target: torch.Tensor) -> None:
        """Adds a batch: probabilities (after the sigmoid) and targets, (N, 1, H, W) in [0, 1]."""
        probability, target = probability.float(), target.float()
        everywhere = torch.ones_like(target, dtype=torch.bool)
        p, t = probability >= self.threshold, target >= self.threshold
        self._add(
            _difference_sums(probability, target, everywhere)
            | {
                "product": _sum(probability * target),
                "total": _sum(probability) + _sum(target),
                "both": _sum(p & t),
                "either": _sum(p | t),
            }
            | {name: _sum(x) for name, x in matches(p, t, within_px=self.boundary_px).items()}
        )

    def _scores(self, sums: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        n, both, either = sums["pixels"], sums["both"], sums["either"]
        return {
            "rmse": np.sqrt(sums["square"] / n),
            "mae": sums["absolute"] / n,
            "dice_soft": share(2 * sums["product"], sums["total"]),
            "iou": share(both, either),
            "dice": share(2 * both, both + either),
            "boundary_f": boundary_f(sums),
        }


def _sum(values: torch.Tensor) -> torch.Tensor:
    """(N, ...) -> (N,) float64."""
    return values.flatten(1).sum(dim=1, dtype=torch.float64)


def _difference_sums(
    prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor
) -> dict[str, torch.Tensor]:
    difference = torch.where(valid, prediction - target, 0)
    return {
        "pixels": _sum(valid),
        "absolute": _sum(difference.abs()),
        "square": _sum(difference**2),
    }


def _ssim_sums(
    prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor
) -> dict[str, torch.Tensor]:
    """SSIM has no sum over pixels that would pool, so each image's mean is summed over images."""
    similarity = torch.where(valid, ssim_map(prediction, target, valid, window=SSIM_WINDOW_PX), 0)
    count = _sum(valid)
    return {"ssim": _sum(similarity) / count.clamp(min=1), "images": torch.ones_like(count)}


def _ratio_sums(
    prediction_m: torch.Tensor, target_m: torch.Tensor, valid: torch.Tensor
) -> dict[str, torch.Tensor]:
    prediction_m, target_m = (torch.where(valid, x, 1) for x in (prediction_m, target_m))
    ratio = prediction_m / target_m
    log = ratio.log()
    return {
        "abs_rel": _sum((ratio - 1).abs()),
        "log10": _sum(log.abs()) / math.log(10),
        "log": _sum(log),
        "log_square": _sum(log**2),
        **{name: _sum(valid & (log.abs() < math.log(limit))) for name, limit in _DELTAS.items()},
    }
