"""Statistics of single fields over many images: composites, masks, depths.

Every class has the same methods: `add` takes in an image, `merge` takes in the statistics of the
images that follow, `result` gives the numbers. Sums over pixels are sums of integers, so they are
exact. Sums over images are not: the last digit of a mean over images depends on how the images were
grouped.
"""

import math
from array import array
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import cv2
import numpy as np

from dsetkit.store import Manifest

CHANNELS = ("red", "green", "blue")
COVERED_ALPHA = 128  # pixels of at least this alpha belong to the foreground
HISTOGRAM_BINS = 16
BYTE_VALUES, DEPTH_VALUES = 1 << 8, 1 << 16
EXACT_IN_FLOAT = 1 << 24  # float32 holds every integer up to this one

MomentsResult = dict[str, dict[str, float]]  # `pooled` and `per_image` -> `mean`, `std`, ...


class FieldStats(Protocol):
    """Statistics of a field."""

    def add(self, image: np.ndarray) -> None:
        """Takes in an image as it is stored."""

    def merge(self, later: Self) -> None:
        """Takes in the statistics of the images that follow."""

    def result(self) -> dict[str, Any]:
        """The statistics as JSON values."""


class Moments:
    """Mean and (population) standard deviation of integer pixels.

    Args:
        full_scale: The pixel value that stands for 1.0.
    """

    def __init__(self, full_scale: float) -> None:
        self._full_scale = full_scale
        self._count = self._total = self._squares = 0  # Python integers: they cannot overflow
        self._means = array("d")  # of the images
        self._std_sum = 0.0

    def add(self, counts: np.ndarray) -> None:
        """Takes in an image.

        Args:
            counts: int64 (N,), how many of its pixels have the value 0, 1, 2, ...
        """
        values = np.arange(len(counts))
        count, total = int(counts.sum()), int(counts @ values)
        squares = int(counts @ values**2)
        if count == 0:
            return
        self._count += count
        self._total += total
        self._squares += squares
        mean, std = _mean_and_std(count, total, squares)
        self._means.append(mean)
        self._std_sum += std

    def merge(self, later: "Moments") -> None:
        """Takes in the moments of the images that follow."""
        self._count += later._count
        self._total += later._total
        self._squares += later._squares
        self._means += later._means
        self._std_sum += later._std_sum

    def result(self, unit: float = 1.0) -> MomentsResult | None:
        """Mean and std of all pixels, and means of the images' mean and std; None without pixels.

        The standard error is that of the images' mean, as of images that were drawn by chance from
        many more; 0 for a single image.

        Args:
            unit: What 1.0 stands for in the result.
        """
        images = len(self._means)
        if images == 0:
            return None
        scale = unit / self._full_scale
        error = float(np.std(self._means, ddof=1)) / math.sqrt(images) if images > 1 else 0.0
        mean, std = _mean_and_std(self._count, self._total, self._squares)
        return {
            "pooled": {"mean": mean * scale, "std": std * scale},
            "per_image": {
                "mean": math.fsum(self._means) / images * scale,
                "std": self._std_sum / images * scale,
                "standard_error": error * scale,
            },
        }


def _mean_and_std(count: int, total: int, squares: int) -> tuple[float, float]:
    # The difference of integers is exact.
    return total / count, math.sqrt(count * squares - total**2) / count


class CompositeStats:
    """Mean and std of each channel, in [0, 1]."""

    def __init__(self) -> None:
        self._channels = {name: Moments(255) for name in CHANNELS}

    def add(self, image: np.ndarray) -> None:
        """Takes in a composite, uint8 (H,W,3) RGB."""
        for channel, moments in enumerate(self._channels.values()):
            moments.add(_count_bytes(image, channel))

    def merge(self, later: "CompositeStats") -> None:
        """See `FieldStats.merge`."""
        for name, moments in self._channels.items():
            moments.merge(later._channels[name])

    def result(self) -> dict[str, Any]:
        """`red`, `green` and `blue`, each as `Moments.result`."""
        return {name: moments.result() for name, moments in self._channels.items()}


class FieldSize:
    """How many pictures a field has, of which size, and how many bytes they take."""

    def __init__(self) -> None:
        self._count = self._bytes = 0
        self._sizes: set[tuple[int, ...]] = set()

    def add(self, image: np.ndarray, num_bytes: int) -> None:
        """Takes in a picture and the bytes that it is stored in; 0 = composited when read."""
        self._count += 1
        self._bytes += num_bytes
        self._sizes.add(image.shape[:2])

    def merge(self, later: "FieldSize") -> None:
        """Takes in the pictures that follow."""
        self._count += later._count
        self._bytes += later._bytes
        self._sizes |= later._sizes

    def result(self) -> dict[str, Any]:
        """`count`, `size_px` (height, width; None for several sizes) and `bytes` of each."""
        (size,) = self._sizes if len(self._sizes) == 1 else (None,)
        return {
            "count": self._count,
            "size_px": list(size) if size else None,
            "bytes": self._bytes / max(1, self._count),
        }


@dataclass
class MaskStats:
    """Mean and std in [0, 1], and the share of each image that the foreground covers."""

    _alpha: Moments = field(default_factory=lambda: Moments(255))
    _coverage: list[float] = field(default_factory=list)

    def add(self, image: np.ndarray) -> None:
        """Takes in a mask, uint8 (H,W)."""
        counts = _count_bytes(image)
        self._alpha.add(counts)
        self._coverage.append(counts[COVERED_ALPHA:].sum() / image.size)

    def merge(self, later: "MaskStats") -> None:
        """See `FieldStats.merge`."""
        self._alpha.merge(later._alpha)
        self._coverage += later._coverage

    def result(self) -> dict[str, Any]:
        """`Moments.result`, and `coverage`: min, median and max over the images."""
        smallest, median, largest = np.percentile(self._coverage, (0, 50, 100)).tolist()
        coverage = {"min": smallest, "median": median, "max": largest}
        return {**(self._alpha.result() or {}), "coverage": coverage}


class DepthStats:
    """Mean, std and histogram of the valid pixels, and the share of the invalid ones.

    Args:
        manifest: The dataset's; gives the unit of depth.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._metric = manifest.depth_kind == "metric"
        self._end = manifest.max_depth_m if self._metric else 1.0  # what a share of 1 stands for
        self._full_scale = manifest.max_depth_m * 1000 if self._metric else 65535
        self._moments = Moments(self._full_scale)
        self._invalid = 0
        self._counts = np.zeros(DEPTH_VALUES, np.int64)

    def add(self, image: np.ndarray) -> None:
        """Takes in a depth as stored, uint16 (h,w), 0 = invalid."""
        counts = np.bincount(image.ravel(), minlength=1)  # up to the largest that there is
        self._invalid += int(counts[0])
        counts[0] = 0
        self._moments.add(counts)
        self._counts[: len(counts)] += counts

    def merge(self, later: "DepthStats") -> None:
        """See `FieldStats.merge`."""
        self._moments.merge(later._moments)
        self._invalid += later._invalid
        self._counts += later._counts

    def result(self) -> dict[str, Any]:
        """`share` in [0, 1], `metres` (None if relative), `invalid_share` and `histogram`."""
        depths = np.arange(DEPTH_VALUES) / self._full_scale * self._end
        counts, edges = np.histogram(depths, HISTOGRAM_BINS, (0, self._end), weights=self._counts)
        return {
            "share": self._moments.result(),
            "metres": self._moments.result(self._end) if self._metric else None,
            "invalid_share": self._invalid / (self._invalid + int(self._counts.sum())),
            "histogram": {
                "unit": "m" if self._metric else "of the range of inverse depth",
                "edges": edges.tolist(),
                "counts": counts.astype(int).tolist(),
            },
        }


def _count_bytes(image: np.ndarray, channel: int = 0) -> np.ndarray:
    """How many pixels of a channel have each value: int64 (256,).

    Args:
        image: uint8 (H,W) or (H,W,C).
        channel: Its number.
    """
    if image.shape[0] * image.shape[1] > EXACT_IN_FLOAT:
        pixels = image if image.ndim == 2 else image[..., channel]
        return np.bincount(pixels.ravel(), minlength=BYTE_VALUES)
    # A fifth of the time, but OpenCV counts in float32.
    counts = cv2.calcHist([image], [channel], None, [BYTE_VALUES], [0, BYTE_VALUES])
    return counts.ravel().astype(np.int64)
