"""Renders a room: its picture and its exact depth.

Depth and light are computed at the pixel centres, paint at four rays per pixel.
"""

import cv2
import numpy as np

from dsetkit.demo.scenes.floorplan import Room, plan_room
from dsetkit.demo.scenes.lighting import irradiance, photograph, spread
from dsetkit.demo.scenes.palette import make_generator
from dsetkit.demo.scenes.primitives import dot
from dsetkit.demo.scenes.scene import Hits, Patch

GLOW = 2.5  # radiance of a lamp or a sky whose texture is white


def draw_room(
    index: int, *, seed: int = 0, size: tuple[int, int] = (240, 320)
) -> tuple[np.ndarray, np.ndarray]:
    """Draw room number `index`.

    Args:
        index: which room; any integer >= 0.
        seed: selects another series of rooms.
        size: (height, width) in pixels.

    Returns:
        The image, uint8 (H, W, 3) RGB, and the depth, float32 (H, W): the exact distance along the
        optical axis at the pixel centres [m], above 0 and at most 10.
    """
    rng = make_generator(seed, index)
    room = plan_room(rng)
    hits = room.scene.trace(room.camera, *size)
    return photograph(rng, _radiance(room, hits)), hits.depth


def _radiance(room: Room, hits: Hits) -> np.ndarray:
    """Compute the linear light of the picture, float32 (H, W, 3)."""
    height, width = hits.depth.shape
    points, normal, key = _surfaces(room, hits)
    light = irradiance(room.scene, room.lights, room.ambient, points=points, normal=normal, key=key)
    fine_hits = room.scene.trace(room.camera, 2 * height, 2 * width)
    albedo, glow, fine_key = _paint(room, fine_hits)
    light = spread(light, key, fine_key)
    radiance = albedo * (light * (1 - glow) + GLOW * glow)
    return cv2.resize(radiance, (width, height), interpolation=cv2.INTER_AREA)


def _key(patch: Patch) -> np.ndarray:
    """Number the surfaces of a scene: int (N,), different for each flat or round surface."""
    return patch.solid * 8 + patch.surface.face


def _surfaces(room: Room, hits: Hits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points and normals, float32 (3, H * W), and the key per pixel, int32 (H, W)."""
    points = np.empty((3, hits.depth.size), np.float32)
    normal = np.empty_like(points)
    key = np.empty(hits.depth.size, np.int32)
    for patch in room.scene.patches(room.camera, hits):
        points[:, patch.pixels] = patch.points
        normal[:, patch.pixels] = patch.surface.normal
        key[patch.pixels] = _key(patch)
    return points, normal, key.reshape(hits.depth.shape)


def _paint(room: Room, hits: Hits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return albedo, float32 (H, W, 3), glow (H, W, 1) and the key per ray, int32 (H, W)."""
    height, width = hits.depth.shape
    albedo = np.empty((hits.depth.size, 3), np.float32)
    glow = np.empty(hits.depth.size, np.float32)
    key = np.empty(hits.depth.size, np.int32)
    for patch in room.scene.patches(room.camera, hits):
        face, normal, u, v = patch.surface
        from_camera = patch.points - room.camera.position[:, None]
        distance = np.sqrt(dot(from_camera, from_camera))
        facing = np.abs(dot(normal, from_camera)) / distance
        footprint = distance / room.camera.focal_px(height, width) / np.maximum(facing, 0.05)
        solid = room.scene.solids[patch.solid][1]
        for number in np.unique(face):
            texture, on_face = solid.faces.get(number, solid.texture), face == number
            albedo[patch.pixels[on_face]] = texture(u[on_face], v[on_face], footprint[on_face])
        glow[patch.pixels] = solid.glow
        key[patch.pixels] = _key(patch)
    return (
        albedo.reshape(height, width, 3),
        glow.reshape(height, width, 1),
        key.reshape(height, width),
    )
