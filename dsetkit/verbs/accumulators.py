"""What samples add up to: mean and std, mask coverage, where the depths lie, labels against masks.

Every class takes in one image at a time (`add`), takes in what another took in after it (`merge`),
and says the numbers (`result`). Sums over pixels are of integers, so they are exact; sums over
images are not, so the last digit of a mean over images depends on what was merged with what.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from dsetkit.labels import LabelQuality
from dsetkit.store import Manifest

CHANNELS = ("red", "green", "blue")
COVERED_ALPHA = 128  # a pixel belongs to the foreground from here on
HISTOGRAM_BINS = 16
BYTE_VALUES, DEPTH_VALUES = 1 << 8, 1 << 16


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

    def merge(self, later: "Moments") -> None:
        """Takes in what another took in of the images that follow."""
        self._count += later._count
        self._total += later._total
        self._squares += later._squares
        self._images += later._images
        self._mean_sum += later._mean_sum
        self._std_sum += later._std_sum

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

    def merge(self, later: "CompositeStats") -> None:
        """As `Moments.merge`."""
        for name, moments in self._channels.items():
            moments.merge(later._channels[name])

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

    def merge(self, later: "MaskStats") -> None:
        """As `Moments.merge`."""
        self._alpha.merge(later._alpha)
        self._coverage += later._coverage

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

    def merge(self, later: "DepthStats") -> None:
        """As `Moments.merge`."""
        self._moments.merge(later._moments)
        self._invalid += later._invalid
        self._counts += later._counts

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


class DatasetStats:
    """All that is measured of the samples of a dataset.

    Args:
        manifest: The dataset's; says which fields there are.
    """

    def __init__(self, manifest: Manifest) -> None:
        makers = {
            "composite": CompositeStats,
            "mask": MaskStats,
            "depth": lambda: DepthStats(manifest),
        }
        self._fields = {name: make() for name, make in makers.items() if name in manifest.fields}
        self._labels: LabelQuality | None = None
        if {"mask", "depth"} <= self._fields.keys():
            self._labels = LabelQuality(manifest.depth_kind)

    def add(self, images: dict[str, np.ndarray]) -> None:
        """Takes in a sample, as `Dataset.stored_images` gives it."""
        for name, stats in self._fields.items():
            stats.add(images[name])
        if self._labels:
            self._labels.add(images["mask"], images["depth"])

    def merge(self, later: "DatasetStats") -> None:
        """As `Moments.merge`."""
        for name, stats in self._fields.items():
            stats.merge(later._fields[name])
        if self._labels:
            self._labels.merge(later._labels)

    def result(self) -> dict:
        """An entry for each field, and `labels` where there are masks and depths."""
        measured = {name: stats.result() for name, stats in self._fields.items()}
        return measured | ({"labels": self._labels.result()} if self._labels else {})
