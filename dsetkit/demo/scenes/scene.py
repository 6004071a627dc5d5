"""The scene: items placed in the world, the camera, and ray casting.

The world axes are x and y along the floor and z up [m]. The forward component of every camera ray
is exactly 1. So the ray parameter t of a hit *is* its depth along the optical axis.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from dsetkit.demo.scenes.primitives import Box, Rays, Shape, Surface, add_axes, box_corners, rotate
from dsetkit.demo.scenes.textures import Texture

NEAR_CLIP_M = 0.05


@dataclass(frozen=True)
class Solid:
    """A shape and its texture."""

    shape: Shape
    texture: Texture
    faces: dict[int, Texture] = field(default_factory=dict)  # other textures of single faces
    glow: float = 0.0  # share of emitted light, 0..1


@dataclass(frozen=True)
class Item:
    """Solids with a common frame, and the pose of that frame in the world."""

    solids: tuple[Solid, ...]
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)  # [m]
    yaw: float = 0.0  # [rad]
    casts_shadow: bool = True

    def placed(self, x: float, y: float, z: float = 0.0, *, yaw: float = 0.0) -> "Item":
        """Return a copy at position (x, y, z) [m], rotated by `yaw` [rad]."""
        return replace(self, position=(x, y, z), yaw=yaw)

    @cached_property
    def local_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The corners of the bounding box in the item's frame, lowest and highest, (3,) each."""
        lows, highs = zip(*(solid.shape.bounds for solid in self.solids), strict=True)
        return np.min(lows, axis=0), np.max(highs, axis=0)

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The corners of the bounding box in the world, lowest and highest, (3,) each."""
        corners = self.to_world(box_corners(*self.local_bounds))
        return corners.min(axis=1), corners.max(axis=1)

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Convert points (3, N) from the item's frame to the world's."""
        return self.rotate_to_world(points) + self._origin[:, None]

    def rotate_to_world(self, directions: np.ndarray) -> np.ndarray:
        """Convert directions (3, N) from the item's frame to the world's."""
        return rotate(directions, self.yaw)

    def to_local(self, rays: Rays) -> Rays:
        """Convert rays from the world's frame to the item's."""
        origin = rays.origin - add_axes(self._origin, rays.origin)
        return Rays(rotate(origin, -self.yaw), rotate(rays.direction, -self.yaw))

    @property
    def _origin(self) -> np.ndarray:
        return np.array(self.position, np.float32)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera."""

    position: np.ndarray  # float32 (3,) [m]
    axes: np.ndarray  # float32 (3, 3), rows point right, down and forward
    fov_deg: float  # field of view along the longer side of the image

    @classmethod
    def looking(cls, position: np.ndarray, *, yaw: float, pitch: float, fov_deg: float) -> "Camera":
        """Create a camera from its position and angles.

        Args:
            position: (3,) [m].
            yaw: 0 looks along +y, a positive angle turns towards -x [rad].
            pitch: a positive angle looks down [rad].
            fov_deg: field of view along the longer side of the image.
        """
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
        """Return the focal length [px] for an image of this size."""
        return max(height, width) / 2 / np.tan(np.radians(self.fov_deg) / 2)

    def rays(self, height: int, width: int) -> Rays:
        """Return the rays through the pixel centres: origin (3, 1, 1), direction (3, H, W)."""
        focal_px = self.focal_px(height, width)
        right = ((np.arange(width) + 0.5 - width / 2) / focal_px).astype(np.float32)
        down = ((np.arange(height) + 0.5 - height / 2) / focal_px).astype(np.float32)
        axes = self.axes[:, :, None, None]
        return Rays(
            self.position[:, None, None], axes[0] * right + axes[1] * down[:, None] + axes[2]
        )

    def box_region(self, corners: np.ndarray, height: int, width: int) -> tuple[slice, slice]:
        """Return the rows and columns that can show a box with these world corners (3, 8)."""
        right, down, forward = self.axes @ (corners - self.position[:, None])
        if forward.max() < NEAR_CLIP_M:
            return slice(0, 0), slice(0, 0)
        if forward.min() < NEAR_CLIP_M:  # partly behind the camera: the projection has no bounds
            return slice(0, height), slice(0, width)
        focal_px = self.focal_px(height, width)
        column, row = focal_px * right / forward + width / 2, focal_px * down / forward + height / 2
        return _span(row, height), _span(column, width)


def _span(position: np.ndarray, limit: int) -> slice:
    """Return the pixels between the lowest and the highest position, clipped to 0..limit."""
    low, high = np.clip([np.floor(position.min()), np.ceil(position.max())], 0, limit).astype(int)
    return slice(low, high)


class Hits(NamedTuple):
    """The first hit of the ray through each pixel."""

    depth: np.ndarray  # float32 (H, W) [m]
    solid: np.ndarray  # int16 (H, W), index into Scene.solids


class Patch(NamedTuple):
    """The N pixels that show one solid."""

    solid: int  # index into Scene.solids
    pixels: np.ndarray  # (N,), flat indices into the image
    points: np.ndarray  # (3, N), in the world
    surface: Surface  # its normals are in the world's frame


@dataclass(frozen=True)
class Scene:
    """Items; the first one is the room that encloses the others."""

    items: tuple[Item, ...]

    @cached_property
    def solids(self) -> list[tuple[Item, Solid]]:
        """Every solid, with the item it belongs to."""
        return [(item, solid) for item in self.items for solid in item.solids]

    def trace(self, camera: Camera, height: int, width: int) -> Hits:
        """Find the first hit of the ray through each pixel centre.

        A solid is intersected only with the rays in its `Camera.box_region`, to save time.
        """
        rays = camera.rays(height, width)
        depth = np.full((height, width), np.inf, np.float32)
        nearest = np.zeros((height, width), np.int16)
        for index, (item, solid) in enumerate(self.solids):
            region = camera.box_region(
                item.to_world(box_corners(*solid.shape.bounds)), height, width
            )
            local = item.to_local(Rays(rays.origin, rays.direction[:, *region]))
            t = solid.shape.intersect(local)
            closer = t < depth[region]
            np.copyto(depth[region], t, where=closer)
            np.copyto(nearest[region], index, where=closer)
        return Hits(depth, nearest)

    def patches(self, camera: Camera, hits: Hits) -> Iterator[Patch]:
        """Yield the visible part of each solid, in the order of `solids`."""
        rays = camera.rays(*hits.depth.shape)
        direction, depth = rays.direction.reshape(3, -1), hits.depth.ravel()
        order = np.argsort(hits.solid, axis=None, kind="stable")
        edges = np.searchsorted(hits.solid.ravel()[order], np.arange(len(self.solids) + 1))
        for index, (item, solid) in enumerate(self.solids):
            pixels = order[edges[index] : edges[index + 1]]
            if pixels.size == 0:
                continue
            from_camera = direction[:, pixels] * depth[pixels]
            local = item.to_local(Rays(rays.origin.reshape(3, 1), from_camera))
            points = local.origin + local.direction
            surface = solid.shape.surface(points)
            surface = surface._replace(normal=item.rotate_to_world(surface.normal))
            yield Patch(index, pixels, item.to_world(points), surface)

    def unblocked(self, segments: Rays) -> np.ndarray:
        """Test that no item blocks origin + t * direction for 0 < t < 1: bool (N,)."""
        free = np.ones(segments.direction.shape[1], bool)
        for item in self.items:
            if not item.casts_shadow:
                continue
            enter, leave = Box(*item.bounds).entry_and_exit(segments)
            candidates = np.flatnonzero((enter <= leave) & (leave > 0) & (enter < 1) & free)
            local = item.to_local(Rays(*(vector[:, candidates] for vector in segments)))
            for solid in item.solids:
                free[candidates] &= solid.shape.intersect(local) >= 1
        return free
