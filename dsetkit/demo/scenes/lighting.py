"""Lighting and exposure: lamps, shadows, ambient occlusion, and the camera's tone curve and noise.

Light changes slowly along a surface, but paint does not. So light is computed once per pixel, and
`spread` distributes it over the finer rays that sample the paint.
"""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from dsetkit.demo.scenes.palette import encode_srgb
from dsetkit.demo.scenes.primitives import Rays, dot
from dsetkit.demo.scenes.scene import Scene

# Neighbouring pixels test 4 x 4 different points of a lamp; the mean of the tests is a soft shadow.
SHADOW_GRID = 4
SUN_SPREAD = 0.012  # greatest offset of the sun's direction, for soft shadows


class Light(Protocol):
    """A source of light."""

    @property
    def colour(self) -> np.ndarray:
        """Linear RGB (3,), multiplied by the strength."""

    def sample(self, points: np.ndarray, lamp_uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the light that points of the scene receive if nothing is in between.

        Args:
            points: (3, N), in the world.
            lamp_uv: (2, N) in [-1, 1], which point of the lamp each point of the scene looks at.

        Returns:
            The vectors (3, N) from the points to the lamp, and the strength (N,).
        """


@dataclass(frozen=True)
class Panel:
    """A luminous rectangle."""

    colour: np.ndarray
    centre: np.ndarray  # (3,)
    half: np.ndarray  # (2, 3), vectors from the centre to the middles of two adjacent sides
    normal: np.ndarray | None = None  # (3,), direction it shines in; None for all directions

    def sample(self, points: np.ndarray, lamp_uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        to_lamp = self.centre[:, None] + self.half.T @ lamp_uv - points
        squared = dot(to_lamp, to_lamp)
        strength = 1 / (0.3 + squared)
        if self.normal is not None:
            strength *= np.maximum(-dot(self.normal, to_lamp), 0) / np.sqrt(squared)
        return to_lamp, strength


@dataclass(frozen=True)
class Sun:
    """Parallel light that enters through a window."""

    colour: np.ndarray
    direction: np.ndarray  # (3,), towards the sun
    centre: np.ndarray  # centre, half and normal describe the window as they do a Panel
    half: np.ndarray
    normal: np.ndarray

    def sample(self, points: np.ndarray, lamp_uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        direction = self.direction[:, None] + SUN_SPREAD * np.concatenate([lamp_uv, lamp_uv[:1]])
        distance = dot(self.normal, self.centre[:, None] - points) / dot(self.normal, direction)
        to_window = direction * distance
        offset = points + to_window - self.centre[:, None]
        position = (self.half @ offset) / (self.half**2).sum(axis=1)[:, None]
        return to_window, (np.abs(position).max(axis=0) < 1).astype(np.float32)


def irradiance(
    scene: Scene,
    lights: list[Light],
    ambient: np.ndarray,
    *,
    points: np.ndarray,
    normal: np.ndarray,
    key: np.ndarray,
) -> np.ndarray:
    """Compute the light that arrives at the surface in each pixel.

    Args:
        scene: the items that cast shadows.
        lights: the lamps and windows.
        ambient: (3,) linear RGB, light from all directions.
        points: (3, H * W), the points that the pixels show.
        normal: (3, H * W), the unit normals of the surface at these points.
        key: int (H, W), the number of the surface in each pixel. Shadows are averaged within a
            surface only, so that light does not leak from one to another.

    Returns:
        float32 (H, W, 3), linear RGB.
    """
    height, width = key.shape
    lamp_uv = _lamp_grid(height, width)
    total = ambient * _openness(scene, points, normal)[:, None]
    lifted = points + 0.004 * normal  # else a surface would shade itself
    for light in lights:
        to_lamp, strength = light.sample(lifted, lamp_uv)
        strength *= np.maximum(dot(normal, to_lamp) / np.sqrt(dot(to_lamp, to_lamp)), 0)
        lit = np.flatnonzero(strength > 1e-3)
        strength[lit] *= scene.unblocked(Rays(lifted[:, lit], to_lamp[:, lit]))
        soft = _mean_within(strength.reshape(key.shape), key)
        total += soft.reshape(-1, 1) * light.colour
    return total.reshape(height, width, 3).astype(np.float32)


def _lamp_grid(height: int, width: int) -> np.ndarray:
    """Choose the point of a lamp that each pixel tests: float32 (2, H * W) in [-1, 1].

    The choice repeats every SHADOW_GRID pixels in both directions.
    """
    row, column = np.indices((height, width)).reshape(2, -1)
    cell = np.stack([3 * column + 2 * row, 3 * row + 2 * column]) % SHADOW_GRID
    return ((cell + 0.5) / SHADOW_GRID * 2 - 1).astype(np.float32)


def _mean_within(values: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Average over SHADOW_GRID x SHADOW_GRID neighbours that have the same key as the pixel."""
    height, width = key.shape
    total, weight = np.zeros_like(values), np.zeros_like(values)
    before = SHADOW_GRID // 2
    padding = (before, SHADOW_GRID - before - 1)
    padded_values, padded_key = np.pad(values, padding), np.pad(key, padding, constant_values=-1)
    for down, right in np.ndindex(SHADOW_GRID, SHADOW_GRID):
        part = np.s_[down : down + height, right : right + width]
        same = padded_key[part] == key
        total += padded_values[part] * same
        weight += same
    return total / weight


def _openness(scene: Scene, points: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Return the share of ambient light that arrives at each point (N,): less in corners."""
    low, high = scene.items[0].bounds
    share = np.ones(points.shape[1], np.float32)
    for axis in range(3):
        sideways = 1 - np.abs(normal[axis])  # 0 on the wall itself, which does not shade itself
        for distance in (points[axis] - low[axis], high[axis] - points[axis]):
            share *= 1 - 0.3 * sideways * np.exp(-distance / 0.3)
    for item in scene.items[1:]:
        if item.casts_shadow:
            share *= 1 - 0.45 * _closeness(*item.bounds, points, normal)
    return share


def _closeness(
    low: np.ndarray, high: np.ndarray, points: np.ndarray, normal: np.ndarray
) -> np.ndarray:
    """Return 1 where a surface touches a box and faces it, less within about 15 cm; (N,)."""
    to_box = np.clip(points, low[:, None], high[:, None]) - points
    to_centre = ((low + high) / 2)[:, None] - points
    facing = np.clip(dot(normal, to_centre) / np.sqrt(dot(to_centre, to_centre)) + 0.3, 0, 1)
    return facing * np.exp(-np.sqrt(dot(to_box, to_box)) / 0.15)


def spread(values: np.ndarray, key: np.ndarray, fine_key: np.ndarray) -> np.ndarray:
    """Double the size of an image without blending different surfaces.

    Each fine pixel is the mean of those of its four nearest coarse pixels that show the same
    surface. If none of the four does, as on thin objects, it is the mean of all four.

    Args:
        values: (H, W, 3).
        key: int (H, W), the number of the surface in each coarse pixel.
        fine_key: int (2 * H, 2 * W), the number of the surface in each fine pixel.

    Returns:
        float32 (2 * H, 2 * W, 3).
    """
    height, width = key.shape
    values = np.dstack([values, np.ones_like(key, np.float32)])  # the sum of the ones is the weight
    values = np.pad(values, ((1, 1), (1, 1), (0, 0)), mode="edge")
    key = np.pad(key, 1, mode="edge")
    fine = np.empty((2 * height, 2 * width, 3), np.float32)
    for row, column in np.ndindex(2, 2):
        surface = fine_key[row::2, column::2]
        total = np.zeros((height, width, 4), np.float32)
        for down, right in np.ndindex(2, 2):
            part = np.s_[row + down : row + down + height, column + right : column + right + width]
            share = np.where(key[part] == surface, np.float32(1), np.float32(1e-3))
            total += values[part] * share[..., None]
        np.divide(total[..., :3], total[..., 3:], out=fine[row::2, column::2])
    return fine


def photograph(rng: np.random.Generator, radiance: np.ndarray) -> np.ndarray:
    """Convert linear light to a picture, with the random properties of a camera.

    These are exposure, white balance, tone curve, saturation, vignette and sensor noise.

    Args:
        rng: draws the properties.
        radiance: float32 (H, W, 3), linear RGB.

    Returns:
        uint8 (H, W, 3), sRGB.
    """
    height, width = radiance.shape[:2]
    mean_luminance = np.exp(np.log(radiance.mean(axis=2) + 1e-4).mean())
    balance = np.exp(rng.normal(0, [0.05, 0.015, 0.06]))
    x = radiance * (rng.uniform(0.19, 0.3) / mean_luminance * balance).astype(np.float32)
    developed = x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)  # ACES, Narkowicz's fit
    grey = developed.mean(axis=2, keepdims=True)
    developed = grey + rng.uniform(0.7, 0.95) * (developed - grey)
    row, column = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    developed *= 1 - rng.uniform(0.03, 0.12) * (row**2 + column**2).astype(np.float32)[..., None]
    noise = rng.standard_normal((height, width, 3), dtype=np.float32)
    grain = cv2.GaussianBlur(noise, (0, 0), 0.6)
    developed += rng.uniform(0.003, 0.012) * grain * np.sqrt(np.maximum(developed, 0.02))
    return encode_srgb(developed)
