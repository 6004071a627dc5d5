"""stats: mean and std of each field, mask coverage, where the depths lie, and how well they know
the pasted foreground (see `label_quality`); one exact pass.

The reference systems report two different things as "mean and std", so both are given: `pooled`
takes all pixels of all images as one heap; `per_image` is the mean of each image's mean and std.
Sums over pixels are of integers, so they are exact.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dsetkit.dataset import Dataset
from dsetkit.label_quality import SAME_DEPTH_RATIO, THRESHOLDS, LabelQuality
from dsetkit.manifest import Manifest
from dsetkit.sample_table import indices_of

CHANNELS = ("red", "green", "blue")
COVERED_ALPHA = 128  # a pixel belongs to the foreground from here on
HISTOGRAM_BINS = 16
BYTE_VALUES, DEPTH_VALUES = 1 << 8, 1 << 16
BAR_WIDTH = 40


class Moments:
    """Mean and standard deviation (of the population) of integer pixels.

    Args:
        full_scale: The pixel value that stands for 1.0.
    """

    def __init__(self, full_scale: float) -> None:
        self._full_scale = full_scale
        self._count = self._total = self._squares = 0  # Python integers: they cannot overflow
        self._images = 0
        self._mean_sum = self._std_sum = 0.0

    def add(self, counts: np.ndarray) -> None:
        """Takes in one image: how many of its pixels have the value 0, 1, 2, ...: int64 (N,)."""
        values = np.arange(len(counts))
        count, total = int(counts.sum()), int(counts @ values)
        squares = int(counts @ values**2)
        if count == 0:
            return
        self._count += count
        self._total += total
        self._squares += squares
        self._images += 1
        mean, std = _mean_and_std(count, total, squares)
        self._mean_sum += mean
        self._std_sum += std

    def result(self, unit: float = 1.0) -> dict[str, dict[str, float]] | None:
        """Both kinds, times `unit`; None without any pixel."""
        if self._images == 0:
            return None
        scale = unit / self._full_scale
        mean, std = _mean_and_std(self._count, self._total, self._squares)
        return {
            "pooled": {"mean": mean * scale, "std": std * scale},
            "per_image": {
                "mean": self._mean_sum / self._images * scale,
                "std": self._std_sum / self._images * scale,
            },
        }


def _mean_and_std(count: int, total: int, squares: int) -> tuple[float, float]:
    # The difference is taken between integers: nothing cancels.
    return total / count, math.sqrt(count * squares - total**2) / count


# ---- one class for each field ------------------------------------------------------------------


class CompositeStats:
    """Mean and std of each channel, in [0, 1]."""

    def __init__(self) -> None:
        self._channels = {name: Moments(255) for name in CHANNELS}

    def add(self, image: np.ndarray) -> None:
        """Takes in a composite, uint8 (H,W,3) RGB."""
        for channel, moments in enumerate(self._channels.values()):
            moments.add(_count_values(image[..., channel], BYTE_VALUES))

    def result(self) -> dict:
        """`red`, `green`, `blue`."""
        return {name: moments.result() for name, moments in self._channels.items()}


@dataclass
class MaskStats:
    """Mean and std in [0, 1], and the share of pixels that the foreground covers."""

    _alpha: Moments = field(default_factory=lambda: Moments(255))
    _coverage: list[float] = field(default_factory=list)

    def add(self, image: np.ndarray) -> None:
        """Takes in a mask, uint8 (H,W)."""
        counts = _count_values(image, BYTE_VALUES)
        self._alpha.add(counts)
        self._coverage.append(counts[COVERED_ALPHA:].sum() / image.size)

    def result(self) -> dict:
        """The moments and `coverage`: min, median and max over the images."""
        smallest, median, largest = np.percentile(self._coverage, (0, 50, 100)).tolist()
        coverage = {"min": smallest, "median": median, "max": largest}
        return self._alpha.result() | {"coverage": coverage}


class DepthStats:
    """Mean, std and histogram of the valid pixels, and the share of the others."""

    def __init__(self, manifest: Manifest) -> None:
        self._max_depth_m = manifest.max_depth_m if manifest.depth_kind == "metric" else None
        self._full_scale = 65535 if self._max_depth_m is None else self._max_depth_m * 1000
        self._moments = Moments(self._full_scale)
        self._invalid = 0
        self._counts = np.zeros(DEPTH_VALUES, np.int64)

    def add(self, image: np.ndarray) -> None:
        """Takes in a depth as stored, uint16 (h,w), 0 = invalid."""
        counts = _count_values(image, DEPTH_VALUES)
        self._invalid += int(counts[0])
        counts[0] = 0
        self._moments.add(counts)
        self._counts += counts

    def result(self) -> dict:
        """`share` in [0, 1], `metres` (None if relative), `invalid_share` and `histogram`."""
        metric = self._max_depth_m is not None
        end = self._max_depth_m if metric else 1.0
        depths = np.arange(DEPTH_VALUES) / self._full_scale * end
        counts, edges = np.histogram(depths, HISTOGRAM_BINS, (0, end), weights=self._counts)
        return {
            "share": self._moments.result(),
            "metres": self._moments.result(end) if metric else None,
            "invalid_share": self._invalid / (self._invalid + int(self._counts.sum())),
            "histogram": {
                "unit": "m" if metric else "of the range of inverse depth",
                "edges": edges.tolist(),
                "counts": counts.astype(int).tolist(),
            },
        }


def _count_values(image: np.ndarray, num_values: int) -> np.ndarray:
    return np.bincount(image.ravel(), minlength=num_values)


def measure(
    path: Path,
    *,
    split: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict:
    """Statistics of a dataset's stored images.

    Args:
        path: The dataset's directory.
        split: `train`, `val`, `test`, or None for all samples.
        progress: Called with (samples done, samples in all).

    Returns:
        JSON values: `dataset`, `split`, `samples`, one entry for each stored field, and `labels`
        (see `LabelQuality.result`) where there are masks and depths.

    Raises:
        DatasetError: As `Dataset`, an empty split, or a damaged sample.
    """
    dataset = Dataset(path)
    indices = indices_of(dataset, split)
    makers = {
        "composite": CompositeStats,
        "mask": MaskStats,
        "depth": lambda: DepthStats(dataset.manifest),
    }
    of_field = {name: make() for name, make in makers.items() if name in dataset.manifest.fields}
    quality = None
    if {"mask", "depth"} <= of_field.keys():
        quality = LabelQuality(dataset.manifest.depth_kind)
    for done, index in enumerate(indices, start=1):
        record = dataset.record(index)
        images = dataset.stored_images(record)
        for name, stats in of_field.items():
            stats.add(images[name])
        if quality:
            quality.add(images["mask"], images["depth"])
        progress(done, len(indices))
    measured = {"dataset": str(path), "split": split or "all", "samples": len(indices)}
    measured |= {name: stats.result() for name, stats in of_field.items()}
    return measured | ({"labels": quality.result()} if quality else {})


# ---- as text -----------------------------------------------------------------------------------


def as_lines(measured: dict) -> Iterator[str]:
    """What `measure` gives, for people."""
    yield f"{measured['dataset']}: {measured['samples']:,} samples, split: {measured['split']}"
    yield ""
    yield f"{'':<26}{'over all pixels':<22}mean over images"
    yield f"{'':<26}{'mean':<10}{'std':<12}{'mean':<10}std"
    for name in CHANNELS:
        yield _moments_line(f"composite, {name}", measured["composite"][name])
    if "mask" in measured:
        yield _moments_line("mask", measured["mask"])
    if "depth" in measured:
        yield from _depth_moments(measured["depth"])
    if "mask" in measured:
        coverage = measured["mask"]["coverage"]
        shares = ", ".join(f"{name} {share:.2%}" for name, share in coverage.items())
        yield f"\nforeground (alpha >= {COVERED_ALPHA}) covers, of an image: {shares}"
    if "labels" in measured:
        yield from _label_lines(measured["labels"])
    if "depth" in measured:
        yield from _histogram_lines(measured["depth"])


def _moments_line(label: str, moments: dict) -> str:
    pooled, per_image = moments["pooled"], moments["per_image"]
    values = (pooled["mean"], pooled["std"], per_image["mean"], per_image["std"])
    return f"{label:<26}" + "{:<10.5f}{:<12.5f}{:<10.5f}{:.5f}".format(*values)


def _depth_moments(depth: dict) -> Iterator[str]:
    if depth["share"] is not None:
        yield _moments_line("depth, target in 0..1", depth["share"])
    if depth["metres"] is not None:
        yield _moments_line("depth [m]", depth["metres"])


def _label_lines(labels: dict) -> Iterator[str]:
    if labels["boundary_recall"] is not None:
        recall, own_size = labels["boundary_recall"], labels["own_size_boundary_recall"]
        yield (
            f"\ndepth edges at the mask's, of {labels['boundary_images']:,} images: SI boundary "
            f"recall {recall:.2%} at the mask's size,"
            + (f" {own_size:.2%} at the depth's," if own_size is not None else "")
            + f" depth ratios {THRESHOLDS[0]:g} to {THRESHOLDS[-1]:g}"
        )
    if labels["same_depth_share"] is not None:
        yield (
            f"foreground in front of the background {labels['in_front_share']:.1%}, "
            f"at the background's depth {labels['same_depth_share']:.1%} "
            f"(within {SAME_DEPTH_RATIO - 1:.0%}), behind it {labels['behind_share']:.1%} "
            f"of {labels['placed_images']:,} images"
        )


def _histogram_lines(depth: dict) -> Iterator[str]:
    edges, counts = depth["histogram"]["edges"], depth["histogram"]["counts"]
    total, highest = max(1, sum(counts)), max(1, *counts)
    yield f"\ninvalid depth: {depth['invalid_share']:.2%} of the pixels; the others:"
    yield f"{'from':>8} {'to':>6}  {depth['histogram']['unit']}"
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        bar = "#" * round(BAR_WIDTH * count / highest)
        yield f"{low:8.2f} {high:6.2f}  {count / total:6.1%}  {bar}"
