"""Smooth solids as signed distance fields, and the parts of which figures consist.

Lengths have no fixed unit: a picture is scaled to fit the figure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

Paint = Callable[[np.ndarray], np.ndarray]  # points (3, N) in the part's frame -> linear RGB (N, 3)


class SoftShape(Protocol):
    """A signed distance field in the shape's own frame; it is centred on the origin."""

    def half_extent(self, axes: np.ndarray) -> np.ndarray:
        """Return half the shape's extent along each row of `axes` (3, 3), unit vectors: (3,)."""

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return the approximate distance to the surface, negative inside.

        The coordinates and the result are float32 arrays of the same shape.
        """


@dataclass(frozen=True)
class SoftEllipsoid:
    """An ellipsoid."""

    half: tuple[float, float, float]  # half-axes

    def half_extent(self, axes: np.ndarray) -> np.ndarray:
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
class Capsule:
    """A tapered rod along z with round ends."""

    length: float  # between the centres of the ends
    low: float  # radius of the end at -z
    high: float  # radius of the end at +z

    def half_extent(self, axes: np.ndarray) -> np.ndarray:
        return np.abs(axes[:, 2]) * self.length / 2 + max(self.low, self.high)

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        share = np.clip(z / self.length + 0.5, 0, 1)
        beyond = z - (share - 0.5) * self.length
        return np.sqrt(x * x + y * y + beyond * beyond) - (
            self.low + (self.high - self.low) * share
        )


@dataclass(frozen=True)
class RoundedBox:
    """A box with rounded edges."""

    half: tuple[float, float, float]
    radius: float  # of the edges

    def half_extent(self, axes: np.ndarray) -> np.ndarray:
        return np.abs(axes) @ (np.array(self.half) - self.radius) + self.radius

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        x, y, z = (np.abs(c) - (h - self.radius) for c, h in zip((x, y, z), self.half, strict=True))
        inside = np.minimum(np.maximum(np.maximum(x, y), z), 0)
        x, y, z = np.maximum(x, 0), np.maximum(y, 0), np.maximum(z, 0)
        return np.sqrt(x * x + y * y + z * z) + inside - self.radius


@dataclass(frozen=True)
class Torus:
    """A torus around z."""

    radius: float  # of the circle in the middle of the tube
    thick: float  # radius of the tube

    def half_extent(self, axes: np.ndarray) -> np.ndarray:
        return self.radius * np.sqrt(np.maximum(1 - axes[:, 2] ** 2, 0)) + self.thick

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        across = np.sqrt(x * x + y * y) - self.radius
        return np.sqrt(across * across + z * z) - self.thick


@dataclass(frozen=True)
class Lathe:
    """A solid of revolution around z; a smooth curve connects its radii."""

    height: float
    radii: tuple[float, ...]  # at equal steps of z

    @cached_property
    def _curve(self) -> np.ndarray:
        """The radius at 129 equal steps of z."""
        knots = np.arange(len(self.radii))
        fine = np.linspace(0, len(self.radii) - 1, 129)
        steps = np.interp(fine, knots, self.radii)
        kernel = np.hanning(2 * (128 // len(self.radii)) + 1)
        padded = np.pad(steps, kernel.size // 2, mode="reflect", reflect_type="odd")
        return np.convolve(padded, kernel / kernel.sum(), mode="valid").astype(np.float32)

    @cached_property
    def _shrink(self) -> np.float32:
        """The factor by which the distance is shorter on a sloping side than horizontally."""
        slope = np.abs(np.diff(self._curve)).max() * 128 / self.height
        return np.float32(1 / np.hypot(1, min(slope, 2)))

    def half_extent(self, axes: np.ndarray) -> np.ndarray:
        across = np.sqrt(np.maximum(1 - axes[:, 2] ** 2, 0))
        return self._curve.max() * across + np.abs(axes[:, 2]) * self.height / 2

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        position = np.clip(z * (128 / self.height) + 64, 0, 127.99)
        floor = np.floor(position)
        step = floor.astype(np.int32)
        low = self._curve[step]
        radius = low + (self._curve[step + 1] - low) * (position - floor)
        side = (np.sqrt(x * x + y * y) - radius) * self._shrink
        return np.maximum(side, np.abs(z) - self.height / 2)


@dataclass(frozen=True)
class Part:
    """A shape with its pose in the figure and its appearance."""

    shape: SoftShape
    paint: np.ndarray | Paint  # linear RGB
    centre: np.ndarray
    axes: np.ndarray  # (3, 3), the part's own axes as columns
    blend: float = 0.0  # width of the smooth transition to the parts before it
    cut: bool = False  # subtract it from the parts before it, instead of adding it
    gloss: float = 0.2  # strength of the highlight, 0..1
    opacity: float = 1.0  # 0..1
    glow: float = 0.0  # share of emitted light, 0..1
    fur: float = 0.0  # length of the hair

    def colours(self, points: np.ndarray) -> np.ndarray:
        """Return linear RGB (N, 3) or (1, 3) at points (3, N) in the part's frame."""
        return self.paint(points) if callable(self.paint) else self.paint[None, :]
