"""The picture of a room and its depth: paint per finer ray, light and depth per pixel centre."""

import cv2
import numpy as np

from dsetkit.demo.scenes.floorplan import Room, plan_room
from dsetkit.demo.scenes.lighting import irradiance, photograph, spread
from dsetkit.demo.scenes.palette import make_generator
from dsetkit.demo.scenes.primitives import dot
from dsetkit.demo.scenes.scene import Hits, Patch

GLOW = 2.5  # radiance of a lamp or a sky of albedo 1


def draw_room(
    index: int, *, seed: int = 0, size: tuple[int, int] = (240, 320)
) -> tuple[np.ndarray, np.ndarray]:
    """Draw room number `index`.

    Args:
        index: which room; any integer from 0 up.
        seed: another seed, another series of rooms.
        size: (height, width) in pixels.

    Returns:
        image, uint8 (H, W, 3) RGB, and depth, float32 (H, W): metres along the optical axis at
        the pixel centres, exact, above 0 and at most 10.
    """
    rng = make_generator(seed, index)
    room = plan_room(rng)
    hits = room.scene.trace(room.camera, *size)
    return photograph(rng, _radiance(room, hits)), hits.depth


def _radiance(room: Room, hits: Hits) -> np.ndarray:
    """Linear light of the picture, float32 (H, W, 3)."""
    height, width = hits.depth.shape
    points, normal, key = _surfaces(room, hits)
    light = irradiance(room.scene, room.lights, room.ambient, points=points, normal=normal, key=key)
    fine_hits = room.scene.trace(room.camera, 2 * height, 2 * width)
    albedo, glow, fine_key = _paint(room, fine_hits)
    light = spread(light, key, fine_key)
    radiance = albedo * (light * (1 - glow) + GLOW * glow)
    return cv2.resize(radiance, (width, height), interpolation=cv2.INTER_AREA)


def _key(patch: Patch) -> np.ndarray:
    """A number that tells every flat or round surface of a scene from the others."""
    return patch.solid * 8 + patch.surface.face


def _surfaces(room: Room, hits: Hits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points and normals, float32 (3, H * W), and the key of each pixel, int32 (H, W)."""
    points = np.empty((3, hits.depth.size), np.float32)
    normal = np.empty_like(points)
    key = np.empty(hits.depth.size, np.int32)
    for patch in room.scene.patches(room.camera, hits):
        points[:, patch.pixels] = patch.points
        normal[:, patch.pixels] = patch.surface.normal
        key[patch.pixels] = _key(patch)
    return points, normal, key.reshape(hits.depth.shape)


def _paint(room: Room, hits: Hits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Albedo float32 (H, W, 3), glow (H, W, 1) and the key of each ray, int32 (H, W)."""
    shape = hits.depth.shape
    albedo = np.empty((hits.depth.size, 3), np.float32)
    glow = np.empty(hits.depth.size, np.float32)
    key = np.empty(hits.depth.size, np.int32)
    for patch in room.scene.patches(room.camera, hits):
        face, normal, u, v = patch.surface
        way = patch.points - room.camera.position[:, None]
        distance = np.sqrt(dot(way, way))
        facing = np.abs(dot(normal, way)) / distance
        footprint = distance / room.camera.focal_px(*shape) / np.maximum(facing, 0.05)
        solid = room.scene.solids[patch.solid][1]
        for number in np.unique(face):
            texture, here = solid.faces.get(number, solid.texture), face == number
            albedo[patch.pixels[here]] = texture(u[here], v[here], footprint[here])
        glow[patch.pixels] = solid.glow
        key[patch.pixels] = _key(patch)
    return albedo.reshape(*shape, 3), glow.reshape(*shape, 1), key.reshape(shape)
