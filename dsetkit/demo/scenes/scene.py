"""Items placed in the world, the camera, and what each ray meets first.

World axes are x, y along the floor and z up [m]. Camera rays have a forward component of exactly 1,
so the ray parameter t at which a shape is met *is* the depth along the optical axis.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from dsetkit.demo.scenes.primitives import Box, Rays, Shape, Surface, box_corners, tall, turned
from dsetkit.demo.scenes.textures import Texture

NEAR_CLIP_M = 0.05


@dataclass(frozen=True)
class Solid:
    """A shape and its paint; `faces` overrides single faces, `glow` 0..1 is its own light."""

    shape: Shape
    texture: Texture
    faces: dict[int, Texture] = field(default_factory=dict)
    glow: float = 0.0


@dataclass(frozen=True)
class Item:
    """Solids that belong together, built around an origin, turned by `yaw` [rad] and placed [m]."""

    solids: tuple[Solid, ...]
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    yaw: float = 0.0
    casts_shadow: bool = True

    def placed(self, x: float, y: float, z: float = 0.0, *, yaw: float = 0.0) -> "Item":
        return replace(self, position=(x, y, z), yaw=yaw)

    @cached_property
    def local_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        lows, highs = zip(*(solid.shape.bounds for solid in self.solids), strict=True)
        return np.min(lows, axis=0), np.max(highs, axis=0)

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner in the world."""
        corners = self.to_world(box_corners(*self.local_bounds))
        return corners.min(axis=1), corners.max(axis=1)

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Points (3, N) of the item's frame in the world's."""
        return self.turn(points) + np.float32(self.position)[:, None]

    def turn(self, directions: np.ndarray) -> np.ndarray:
        """Directions (3, N) of the item's frame in the world's."""
        return turned(directions, self.yaw)

    def to_local(self, rays: Rays) -> Rays:
        origin = rays.origin - tall(np.float32(self.position), rays.origin)
        return Rays(turned(origin, -self.yaw), turned(rays.direction, -self.yaw))


@dataclass(frozen=True)
class Camera:
    """A pinhole at `position` (3,); the rows of `axes` (3, 3) point right, down and forward."""

    position: np.ndarray
    axes: np.ndarray
    fov_deg: float  # across the longer side of the image

    @classmethod
    def looking(cls, position: np.ndarray, *, yaw: float, pitch: float, fov_deg: float) -> "Camera":
        """`yaw` 0 looks along +y and turns towards -x; `pitch` > 0 looks down [rad]."""
        right = np.array([np.cos(yaw), np.sin(yaw), 0])
        ahead = np.array([-np.sin(yaw), np.cos(yaw), 0])
        down = np.array([0, 0, -1])
        forward = np.cos(pitch) * ahead + np.sin(pitch) * down
        below = np.cos(pitch) * down - np.sin(pitch) * ahead
        return cls(
            np.asarray(position, np.float32),
            np.stack([right, below, forward]).astype(np.float32),
            fov_deg,
        )

    def focal_px(self, height: int, width: int) -> float:
        return max(height, width) / 2 / np.tan(np.radians(self.fov_deg) / 2)

    def rays(self, height: int, width: int) -> Rays:
        """Through the pixel centres: origin (3, 1, 1), directions (3, height, width)."""
        focal_px = self.focal_px(height, width)
        right = ((np.arange(width) + 0.5 - width / 2) / focal_px).astype(np.float32)
        down = ((np.arange(height) + 0.5 - height / 2) / focal_px).astype(np.float32)
        axes = self.axes[:, :, None, None]
        return Rays(
            self.position[:, None, None], axes[0] * right + axes[1] * down[:, None] + axes[2]
        )

    def window(self, corners: np.ndarray, height: int, width: int) -> tuple[slice, slice]:
        """The rows and columns that a box with these world corners (3, 8) can touch."""
        right, down, forward = self.axes @ (corners - self.position[:, None])
        if forward.max() < NEAR_CLIP_M:
            return slice(0, 0), slice(0, 0)
        if forward.min() < NEAR_CLIP_M:  # reaches behind the camera, where outlines have no bounds
            return slice(0, height), slice(0, width)
        focal_px = self.focal_px(height, width)
        column, row = focal_px * right / forward + width / 2, focal_px * down / forward + height / 2
        return _span(row, height), _span(column, width)


def _span(position: np.ndarray, limit: int) -> slice:
    low, high = np.clip([np.floor(position.min()), np.ceil(position.max())], 0, limit).astype(int)
    return slice(low, high)


class Hits(NamedTuple):
    """What the rays of an image meet first."""

    depth: np.ndarray  # float32 (H, W) [m]
    solid: np.ndarray  # int16 (H, W), index into Scene.solids


class Patch(NamedTuple):
    """The pixels that show one solid."""

    solid: int
    pixels: np.ndarray  # flat indices (N,)
    points: np.ndarray  # in the world, (3, N)
    surface: Surface  # with normals in the world


@dataclass(frozen=True)
class Scene:
    """Items, the first of which is the room around all others."""

    items: tuple[Item, ...]

    @cached_property
    def solids(self) -> list[tuple[Item, Solid]]:
        return [(item, solid) for item in self.items for solid in item.solids]

    def trace(self, camera: Camera, height: int, width: int) -> Hits:
        """First hit of every pixel-centre ray; each solid is tried only within its outline."""
        rays = camera.rays(height, width)
        depth = np.full((height, width), np.inf, np.float32)
        nearest = np.zeros((height, width), np.int16)
        for index, (item, solid) in enumerate(self.solids):
            window = camera.window(item.to_world(box_corners(*solid.shape.bounds)), height, width)
            local = item.to_local(Rays(rays.origin, rays.direction[:, *window]))
            t = solid.shape.intersect(local)
            closer = t < depth[window]
            np.copyto(depth[window], t, where=closer)
            np.copyto(nearest[window], index, where=closer)
        return Hits(depth, nearest)

    def patches(self, camera: Camera, hits: Hits) -> Iterator[Patch]:
        """The visible part of each solid in turn."""
        rays = camera.rays(*hits.depth.shape)
        direction, depth = rays.direction.reshape(3, -1), hits.depth.ravel()
        order = np.argsort(hits.solid, axis=None, kind="stable")
        edges = np.searchsorted(hits.solid.ravel()[order], np.arange(len(self.solids) + 1))
        for index, (item, solid) in enumerate(self.solids):
            pixels = order[edges[index] : edges[index + 1]]
            if pixels.size == 0:
                continue
            way = direction[:, pixels] * depth[pixels]
            origin, way = item.to_local(Rays(rays.origin.reshape(3, 1), way))
            local = origin + way
            surface = solid.shape.surface(local)
            surface = surface._replace(normal=item.turn(surface.normal))
            yield Patch(index, pixels, item.to_world(local), surface)

    def unblocked(self, segments: Rays) -> np.ndarray:
        """Whether nothing lies on origin + t * direction for 0 < t < 1: bool (N,)."""
        free = np.ones(segments.direction.shape[1], bool)
        for item in self.items:
            if not item.casts_shadow:
                continue
            enter, leave = Box(*item.bounds).crossing(segments)
            near = np.flatnonzero((enter <= leave) & (leave > 0) & (enter < 1) & free)
            local = item.to_local(Rays(*(vector[:, near] for vector in segments)))
            for solid in item.solids:
                free[near] &= solid.shape.intersect(local) >= 1
        return free
