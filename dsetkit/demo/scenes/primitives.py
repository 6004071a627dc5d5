"""Boxes, cones and ellipsoids, and their exact, vectorised intersections with rays.

Points and directions are float32 (3, ...): the first axis is the coordinate, further axes are free.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

NEAR_M = 1e-3
LEFT, RIGHT, BACK, FRONT, BOTTOM, TOP = range(6)  # faces of a box: -x, +x, -y, +y, -z, +z

Point = tuple[float, float, float] | np.ndarray


class Rays(NamedTuple):
    """The lines origin + t * direction; `origin` is (3, 1, ...) if all rays share it."""

    origin: np.ndarray
    direction: np.ndarray


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the scalar products of two (3, ...) arrays."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def rotate(vectors: np.ndarray, yaw: float) -> np.ndarray:
    """Rotate vectors (3, ...) about the z axis by `yaw` [rad]."""
    if yaw == 0:
        return vectors
    cos, sin = np.float32(np.cos(yaw)), np.float32(np.sin(yaw))
    x, y, z = vectors
    return np.stack([cos * x - sin * y, sin * x + cos * y, z])


class Surface(NamedTuple):
    """Face, normal and texture coordinates at N points of a shape's surface."""

    face: np.ndarray  # int (N,), number of the face
    normal: np.ndarray  # float32 (3, N), outward unit vectors
    u: np.ndarray  # (N,) texture coordinate [m]
    v: np.ndarray  # (N,) texture coordinate [m]


class Shape(Protocol):
    """A convex solid, in the frame of its item."""

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The corners of the bounding box, lowest and highest, float32 (3,) each."""

    def intersect(self, rays: Rays) -> np.ndarray:
        """Return t of the first hit with t > NEAR_M, float32 (...); inf for no hit."""

    def surface(self, points: np.ndarray) -> Surface:
        """Return the surface at points (3, N) where `intersect` found hits."""


def _vectors(first: Point, second: Point) -> tuple[np.ndarray, np.ndarray]:
    """Convert two points to float32 (3,)."""
    return np.array(first, np.float32), np.array(second, np.float32)


def add_axes(vector: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Reshape (3,) to (3, 1, ...), so that it broadcasts against `like` (3, ...)."""
    return vector.reshape((3,) + (1,) * (like.ndim - 1))


@dataclass(frozen=True)
class Box:
    """An axis-aligned box between two corners; with `inside`, a room seen from within."""

    low: Point
    high: Point
    inside: bool = False

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return _vectors(self.low, self.high)

    def entry_and_exit(self, rays: Rays) -> tuple[np.ndarray, np.ndarray]:
        """Return t where each ray enters and leaves; a ray that misses has entry > exit."""
        low, high = (add_axes(corner, rays.direction) for corner in self.bounds)
        with np.errstate(divide="ignore", invalid="ignore"):  # +-inf for a ray parallel to a face
            inverse = 1 / rays.direction
            to_low, to_high = (low - rays.origin) * inverse, (high - rays.origin) * inverse
            enter, leave = np.minimum(to_low, to_high), np.maximum(to_low, to_high)
        # np.max over the leading axis of length 3 would be many times slower.
        return (
            np.maximum(np.maximum(enter[0], enter[1]), enter[2]),
            np.minimum(np.minimum(leave[0], leave[1]), leave[2]),
        )

    def intersect(self, rays: Rays) -> np.ndarray:
        enter, leave = self.entry_and_exit(rays)
        if self.inside:
            return leave
        return np.where((enter <= leave) & (enter > NEAR_M), enter, np.inf)

    def surface(self, points: np.ndarray) -> Surface:
        low, high = self.bounds
        middle, half = (low + high) / 2, (high - low) / 2
        offset = (points - middle[:, None]) / half[:, None]  # -1 and 1 on opposite faces
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
    """An upright truncated cone with caps; a cylinder if both radii are equal."""

    base: Point  # centre of the lower cap
    height: float
    radius_low: float
    radius_high: float

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        (x, y, z), radius = self.base, max(self.radius_low, self.radius_high)
        return _vectors((x - radius, y - radius, z), (x + radius, y + radius, z + self.height))

    @property
    def slope(self) -> float:
        """The growth of the radius per height."""
        return (self.radius_high - self.radius_low) / self.height

    def intersect(self, rays: Rays) -> np.ndarray:
        x, y, z = rays.origin - add_axes(np.array(self.base, np.float32), rays.direction)
        dx, dy, dz = rays.direction
        k = self.slope
        radius = self.radius_low + k * z
        a = dx * dx + dy * dy - k * k * dz * dz
        b = x * dx + y * dy - k * dz * radius
        root = b * b - a * (x * x + y * y - radius * radius)
        nearest = np.full(root.shape, np.inf, np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            root = np.sqrt(root)  # nan for a miss: all comparisons below are then false
            for t in ((-b - root) / a, (-b + root) / a):
                level = z + t * dz
                nearest = np.where(
                    (level >= 0) & (level <= self.height) & (t > NEAR_M) & (t < nearest), t, nearest
                )
            for cap, rim in ((0.0, self.radius_low), (self.height, self.radius_high)):
                t = (cap - z) / dz
                inside = (x + t * dx) ** 2 + (y + t * dy) ** 2 <= rim * rim
                nearest = np.where(inside & (t > NEAR_M) & (t < nearest), t, nearest)
        return nearest

    def surface(self, points: np.ndarray) -> Surface:
        x, y, z = points - np.array(self.base, np.float32)[:, None]
        across = np.hypot(x, y)
        on_top, on_bottom = z > self.height - 1e-4, z < 1e-4
        capped = (on_top & (across < self.radius_high - 1e-4)) | (
            on_bottom & (across < self.radius_low - 1e-4)
        )
        level = 1 / np.hypot(1, self.slope)  # horizontal part of the normal of the side
        side = np.stack(
            [x / across * level, y / across * level, np.full_like(x, -self.slope * level)]
        )
        cap = np.stack([np.zeros_like(x), np.zeros_like(x), np.where(on_top, 1, -1)])
        radius = max(self.radius_low, self.radius_high)
        u = np.where(capped, x, np.arctan2(y, x) * radius)
        normal = np.where(capped, cap, side).astype(np.float32)
        return Surface(capped.astype(int), normal, u, np.where(capped, y, z))


@dataclass(frozen=True)
class Ellipsoid:
    """An axis-aligned ellipsoid."""

    centre: Point
    radii: Point

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        centre, radii = _vectors(self.centre, self.radii)
        return centre - radii, centre + radii

    def intersect(self, rays: Rays) -> np.ndarray:
        centre, radii = (
            add_axes(vector, rays.direction) for vector in _vectors(self.centre, self.radii)
        )
        origin, direction = (rays.origin - centre) / radii, rays.direction / radii
        a, b = dot(direction, direction), dot(origin, direction)
        root = b * b - a * (dot(origin, origin) - 1)
        with np.errstate(invalid="ignore"):
            t = (-b - np.sqrt(root)) / a
            return np.where(t > NEAR_M, t, np.inf)  # nan, for a miss, compares false

    def surface(self, points: np.ndarray) -> Surface:
        centre, radii = (vector[:, None] for vector in _vectors(self.centre, self.radii))
        unit = (points - centre) / radii
        normal = unit / radii
        normal /= np.sqrt(dot(normal, normal))
        u = np.arctan2(unit[1], unit[0]) * self.radii[0]
        v = np.arcsin(np.clip(unit[2], -1, 1)) * self.radii[2]
        return Surface(np.zeros(u.shape, int), normal, u, v)


def box_corners(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the eight corners of the box from `low` (3,) to `high` (3,), float32 (3, 8)."""
    x, y, z = np.meshgrid(*zip(low, high, strict=True))
    return np.stack([x.ravel(), y.ravel(), z.ravel()]).astype(np.float32)
