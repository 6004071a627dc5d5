"""Soft shapes as distance fields, and the parts of which figures are built.

Units are free: a picture is fitted to what is drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

Paint = Callable[[np.ndarray], np.ndarray]  # points (3, N) in the part's frame -> linear RGB (N, 3)


class SoftShape(Protocol):
    """A distance field, symmetric around the origin of its own frame."""

    def reach(self, axes: np.ndarray) -> np.ndarray:
        """Half of the shape's extent along each row of `axes` (3, 3), unit vectors: (3,)."""

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """About the distance to the surface, negative inside; float32 arrays of one shape."""


@dataclass(frozen=True)
class Egg:
    """An ellipsoid."""

    half: tuple[float, float, float]

    def reach(self, axes: np.ndarray) -> np.ndarray:
        return np.linalg.norm(axes * self.half, axis=1)

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        a, b, c = self.half
        if a == b == c:
            return np.sqrt(x * x + y * y + z * z) - a
        x, y, z = x * (1 / a), y * (1 / b), z * (1 / c)
        length = np.sqrt(x * x + y * y + z * z)
        x, y, z = x * (1 / a), y * (1 / b), z * (1 / c)
        slope = np.sqrt(x * x + y * y + z * z)
        return length * (length - 1) / np.maximum(slope, 1e-6)


@dataclass(frozen=True)
class Limb:
    """Along z: a rod of `length` with round ends of radius `low` and `high`."""

    length: float
    low: float
    high: float

    def reach(self, axes: np.ndarray) -> np.ndarray:
        return np.abs(axes[:, 2]) * self.length / 2 + max(self.low, self.high)

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        share = np.clip(z / self.length + 0.5, 0, 1)
        beyond = z - (share - 0.5) * self.length
        return np.sqrt(x * x + y * y + beyond * beyond) - (
            self.low + (self.high - self.low) * share
        )


@dataclass(frozen=True)
class Slab:
    """A box with edges rounded by `radius`."""

    half: tuple[float, float, float]
    radius: float

    def reach(self, axes: np.ndarray) -> np.ndarray:
        return np.abs(axes) @ (np.array(self.half) - self.radius) + self.radius

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        x, y, z = (np.abs(c) - (h - self.radius) for c, h in zip((x, y, z), self.half, strict=True))
        inside = np.minimum(np.maximum(np.maximum(x, y), z), 0)
        x, y, z = np.maximum(x, 0), np.maximum(y, 0), np.maximum(z, 0)
        return np.sqrt(x * x + y * y + z * z) + inside - self.radius


@dataclass(frozen=True)
class Ring:
    """A torus around z."""

    radius: float
    thick: float

    def reach(self, axes: np.ndarray) -> np.ndarray:
        return self.radius * np.sqrt(np.maximum(1 - axes[:, 2] ** 2, 0)) + self.thick

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        across = np.sqrt(x * x + y * y) - self.radius
        return np.sqrt(across * across + z * z) - self.thick


@dataclass(frozen=True)
class Turned:
    """From the lathe: radii at equal steps of z, joined by a smooth curve, `height` over all."""

    height: float
    radii: tuple[float, ...]

    @cached_property
    def _curve(self) -> np.ndarray:
        knots = np.arange(len(self.radii))
        fine = np.linspace(0, len(self.radii) - 1, 129)
        steps = np.interp(fine, knots, self.radii)
        kernel = np.hanning(2 * (128 // len(self.radii)) + 1)
        padded = np.pad(steps, kernel.size // 2, mode="reflect", reflect_type="odd")
        return np.convolve(padded, kernel / kernel.sum(), mode="valid").astype(np.float32)

    @cached_property
    def _shrink(self) -> np.float32:
        slope = np.abs(np.diff(self._curve)).max() * 128 / self.height
        return np.float32(1 / np.hypot(1, min(slope, 2)))

    def reach(self, axes: np.ndarray) -> np.ndarray:
        across = np.sqrt(np.maximum(1 - axes[:, 2] ** 2, 0))
        return self._curve.max() * across + np.abs(axes[:, 2]) * self.height / 2

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        place = np.clip(z * (128 / self.height) + 64, 0, 127.99)
        floor = np.floor(place)
        step = floor.astype(np.int32)
        low = self._curve[step]
        radius = low + (self._curve[step + 1] - low) * (place - floor)
        side = (np.sqrt(x * x + y * y) - radius) * self._shrink
        return np.maximum(side, np.abs(z) - self.height / 2)


@dataclass(frozen=True)
class Part:
    """A shape in its place, and its looks."""

    shape: SoftShape
    paint: np.ndarray | Paint  # linear RGB
    centre: np.ndarray
    axes: np.ndarray  # (3, 3), the part's own axes as columns
    blend: float = 0.0  # how far it melts into the parts before it
    cut: bool = False  # taken away from the parts before it instead
    gloss: float = 0.2  # strength of the highlight, 0..1
    opacity: float = 1.0  # how much it hides, 0..1
    glow: float = 0.0  # share of its own light, 0..1
    fur: float = 0.0  # length of its hair

    def colours(self, points: np.ndarray) -> np.ndarray:
        """Of points (3, N) in the part's frame: (N, 3) or (1, 3)."""
        return self.paint(points) if callable(self.paint) else self.paint[None, :]
