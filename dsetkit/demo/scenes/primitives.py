"""Boxes, cones and ellipsoids, and where rays meet them: exact, vectorised, in closed form.

Points and directions are float32 (3, ...): one row per coordinate, any shape behind.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

NEAR_M = 1e-3
LEFT, RIGHT, BACK, FRONT, BOTTOM, TOP = range(6)  # faces of a box: -x, +x, -y, +y, -z, +z


class Rays(NamedTuple):
    """origin + t * direction; `origin` may be (3, 1, ...) where all rays share it."""

    origin: np.ndarray
    direction: np.ndarray


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Scalar products of two (3, ...) arrays."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def turned(vectors: np.ndarray, yaw: float) -> np.ndarray:
    """Vectors (3, ...) turned by `yaw` [rad] about the upright axis."""
    if yaw == 0:
        return vectors
    cos, sin = np.float32(np.cos(yaw)), np.float32(np.sin(yaw))
    x, y, z = vectors
    return np.stack([cos * x - sin * y, sin * x + cos * y, z])


class Surface(NamedTuple):
    """What a shape is like at points of its surface."""

    face: np.ndarray  # number of the face, int (N,)
    normal: np.ndarray  # outward, float32 (3, N)
    u: np.ndarray  # texture coordinates (N,) [m]
    v: np.ndarray


class Shape(Protocol):
    """A convex solid in the frame of its item."""

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner, float32 (3,) each."""

    def intersect(self, rays: Rays) -> np.ndarray:
        """t of the first hit beyond NEAR_M, float32 (...); inf where there is none."""

    def surface(self, points: np.ndarray) -> Surface:
        """At points (3, N) that `intersect` found."""


def _corners(*values: tuple[float, float, float]) -> tuple[np.ndarray, ...]:
    return tuple(np.array(value, np.float32) for value in values)


def tall(vector: np.ndarray, like: np.ndarray) -> np.ndarray:
    """(3,) -> (3, 1, ...) so that it broadcasts against `like` (3, ...)."""
    return vector.reshape((3,) + (1,) * (like.ndim - 1))


@dataclass(frozen=True)
class Box:
    """From corner `low` to corner `high`. With `inside`, seen from within: a room."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    inside: bool = False

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return _corners(self.low, self.high)

    def crossing(self, rays: Rays) -> tuple[np.ndarray, np.ndarray]:
        """t of entering and of leaving; entering > leaving where the ray misses."""
        low, high = (tall(corner, rays.direction) for corner in self.bounds)
        with np.errstate(divide="ignore", invalid="ignore"):  # parallel to a face: +-inf, as wanted
            inverse = 1 / rays.direction
            to_low, to_high = (low - rays.origin) * inverse, (high - rays.origin) * inverse
            enter, leave = np.minimum(to_low, to_high), np.maximum(to_low, to_high)
        # Row by row: a reduction over a leading axis of 3 is many times slower.
        return (
            np.maximum(np.maximum(enter[0], enter[1]), enter[2]),
            np.minimum(np.minimum(leave[0], leave[1]), leave[2]),
        )

    def intersect(self, rays: Rays) -> np.ndarray:
        enter, leave = self.crossing(rays)
        if self.inside:
            return leave
        return np.where((enter <= leave) & (enter > NEAR_M), enter, np.inf)

    def surface(self, points: np.ndarray) -> Surface:
        low, high = self.bounds
        middle, half = (low + high) / 2, (high - low) / 2
        offset = (points - middle[:, None]) / half[:, None]  # -1..1 between the faces
        axis = np.abs(offset).argmax(axis=0)
        positive = np.take_along_axis(offset, axis[None], axis=0)[0] > 0
        outward = np.where(positive != self.inside, 1, -1)
        normal = np.zeros_like(points)
        np.put_along_axis(normal, axis[None], outward[None].astype(np.float32), axis=0)
        u = np.where(axis == 0, points[1] - low[1], points[0] - low[0])
        v = np.where(axis == 2, points[1] - low[1], points[2] - low[2])
        return Surface(2 * axis + positive, normal, u, v)


@dataclass(frozen=True)
class Cone:
    """Upright, from `radius_low` at `base` to `radius_high` at the top; if equal, a cylinder."""

    base: tuple[float, float, float]
    height: float
    radius_low: float
    radius_high: float

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        (x, y, z), radius = self.base, max(self.radius_low, self.radius_high)
        return _corners((x - radius, y - radius, z), (x + radius, y + radius, z + self.height))

    @property
    def slope(self) -> float:
        return (self.radius_high - self.radius_low) / self.height

    def intersect(self, rays: Rays) -> np.ndarray:
        x, y, z = rays.origin - tall(np.float32(self.base), rays.direction)
        dx, dy, dz = rays.direction
        k = self.slope
        radius = self.radius_low + k * z
        a = dx * dx + dy * dy - k * k * dz * dz
        b = x * dx + y * dy - k * dz * radius
        root = b * b - a * (x * x + y * y - radius * radius)
        nearest = np.full(root.shape, np.inf, np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            root = np.sqrt(root)  # nan where the ray misses; every comparison below is then false
            for t in ((-b - root) / a, (-b + root) / a):
                at = z + t * dz
                nearest = np.where(
                    (at >= 0) & (at <= self.height) & (t > NEAR_M) & (t < nearest), t, nearest
                )
            for level, rim in ((0.0, self.radius_low), (self.height, self.radius_high)):
                t = (level - z) / dz
                inside = (x + t * dx) ** 2 + (y + t * dy) ** 2 <= rim * rim
                nearest = np.where(inside & (t > NEAR_M) & (t < nearest), t, nearest)
        return nearest

    def surface(self, points: np.ndarray) -> Surface:
        x, y, z = points - np.float32(self.base)[:, None]
        across = np.hypot(x, y)
        on_top, on_bottom = z > self.height - 1e-4, z < 1e-4
        capped = (on_top & (across < self.radius_high - 1e-4)) | (
            on_bottom & (across < self.radius_low - 1e-4)
        )
        lean = 1 / np.hypot(1, self.slope)
        side = np.stack([x / across * lean, y / across * lean, np.full_like(x, -self.slope * lean)])
        cap = np.stack([np.zeros_like(x), np.zeros_like(x), np.where(on_top, 1, -1)])
        radius = max(self.radius_low, self.radius_high)
        u = np.where(capped, x, np.arctan2(y, x) * radius)
        normal = np.where(capped, cap, side).astype(np.float32)
        return Surface(capped.astype(int), normal, u, np.where(capped, y, z))


@dataclass(frozen=True)
class Ellipsoid:
    """Around `centre`, with three radii along the axes."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        centre, radii = _corners(self.centre, self.radii)
        return centre - radii, centre + radii

    def intersect(self, rays: Rays) -> np.ndarray:
        centre, radii = (
            tall(np.float32(value), rays.direction) for value in (self.centre, self.radii)
        )
        origin, direction = (rays.origin - centre) / radii, rays.direction / radii
        a, b = dot(direction, direction), dot(origin, direction)
        root = b * b - a * (dot(origin, origin) - 1)
        with np.errstate(invalid="ignore"):
            t = (-b - np.sqrt(root)) / a
            return np.where(t > NEAR_M, t, np.inf)  # nan, a miss, compares false

    def surface(self, points: np.ndarray) -> Surface:
        radii = np.float32(self.radii)[:, None]
        unit = (points - np.float32(self.centre)[:, None]) / radii
        normal = unit / radii
        normal /= np.sqrt(dot(normal, normal))
        u = np.arctan2(unit[1], unit[0]) * self.radii[0]
        v = np.arcsin(np.clip(unit[2], -1, 1)) * self.radii[2]
        return Surface(np.zeros(u.shape, int), normal, u, v)


def box_corners(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The eight corners, float32 (3, 8)."""
    x, y, z = np.meshgrid(*zip(low, high, strict=True))
    return np.stack([x.ravel(), y.ravel(), z.ravel()]).astype(np.float32)
