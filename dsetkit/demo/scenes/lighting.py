"""From what is seen to what a photograph shows: lamps, shadows, soft corners, exposure and noise.

Light changes slowly along a surface, paint does not: light is computed once per pixel, then spread
over the finer rays that sample the paint.
"""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from dsetkit.demo.scenes.palette import encode_srgb
from dsetkit.demo.scenes.primitives import Rays, dot
from dsetkit.demo.scenes.scene import Scene

SHADOW_GRID = 4  # neighbours aim at 4 x 4 spots of a lamp; their mean is the soft shadow
SUN_SPREAD = 0.012


class Light(Protocol):
    colour: np.ndarray  # (3,) linear RGB, with the strength in it

    def reach(self, points: np.ndarray, spot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How the light falls on points (3, N).

        `spot` (2, N) in [-1, 1] says which part of the lamp each point looks at. Returns the way
        there (3, N), along which it may be blocked, and the strength (N,) if it is not.
        """


@dataclass(frozen=True)
class Panel:
    """A rectangle `half` (2, 3) around `centre` that shines along `normal`, else to all sides."""

    colour: np.ndarray
    centre: np.ndarray
    half: np.ndarray
    normal: np.ndarray | None = None

    def reach(self, points: np.ndarray, spot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        way = self.centre[:, None] + self.half.T @ spot - points
        squared = dot(way, way)
        strength = 1 / (0.3 + squared)
        if self.normal is not None:
            strength *= np.maximum(-dot(self.normal, way), 0) / np.sqrt(squared)
        return way, strength


@dataclass(frozen=True)
class Sun:
    """Parallel light from `direction` (3,) that comes in by a window, described as a Panel."""

    colour: np.ndarray
    direction: np.ndarray
    centre: np.ndarray
    half: np.ndarray
    normal: np.ndarray

    def reach(self, points: np.ndarray, spot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        direction = self.direction[:, None] + SUN_SPREAD * np.concatenate([spot, spot[:1]])
        distance = dot(self.normal, self.centre[:, None] - points) / dot(self.normal, direction)
        way = direction * distance
        offset = points + way - self.centre[:, None]
        place = (self.half @ offset) / (self.half**2).sum(axis=1)[:, None]
        return way, (np.abs(place).max(axis=0) < 1).astype(np.float32)


def irradiance(
    scene: Scene,
    lights: list[Light],
    ambient: np.ndarray,
    *,
    points: np.ndarray,
    normal: np.ndarray,
    key: np.ndarray,
) -> np.ndarray:
    """The light that arrives at each pixel.

    Args:
        scene: what casts the shadows.
        lights: the lamps and windows.
        ambient: (3,), light from all sides.
        points: (3, H * W), what each pixel shows.
        normal: (3, H * W).
        key: int (H, W), tells surfaces apart, so that light is not smeared from one to the next.

    Returns:
        float32 (H, W, 3), linear RGB.
    """
    spot = _spots(key.shape)
    total = ambient * _openness(scene, points, normal)[:, None]
    lifted = points + 0.004 * normal
    for light in lights:
        way, strength = light.reach(lifted, spot)
        strength *= np.maximum(dot(normal, way) / np.sqrt(dot(way, way)), 0)
        lit = np.flatnonzero(strength > 1e-3)
        strength[lit] *= scene.unblocked(Rays(lifted[:, lit], way[:, lit]))
        soft = _mean_within(strength.reshape(key.shape), key)
        total += soft.reshape(-1, 1) * light.colour
    return total.reshape(*key.shape, 3).astype(np.float32)


def _spots(shape: tuple[int, int]) -> np.ndarray:
    """Which part of a lamp each pixel looks at, float32 (2, H * W): a repeating square of spots."""
    row, column = np.indices(shape).reshape(2, -1)
    spot = np.stack([3 * column + 2 * row, 3 * row + 2 * column]) % SHADOW_GRID
    return ((spot + 0.5) / SHADOW_GRID * 2 - 1).astype(np.float32)


def _mean_within(values: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Mean over each pixel's SHADOW_GRID neighbourhood, of pixels with the same key only."""
    height, width = key.shape
    total, weight = np.zeros_like(values), np.zeros_like(values)
    before = SHADOW_GRID // 2
    padding = (before, SHADOW_GRID - before - 1)
    near_values, near_key = np.pad(values, padding), np.pad(key, padding, constant_values=-1)
    for down, right in np.ndindex(SHADOW_GRID, SHADOW_GRID):
        part = np.s_[down : down + height, right : right + width]
        same = near_key[part] == key
        total += near_values[part] * same
        weight += same
    return total / weight


def _openness(scene: Scene, points: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Share of the light from all sides that gets to each point, (N,): less in corners."""
    low, high = scene.items[0].bounds
    share = np.ones(points.shape[1], np.float32)
    for axis in range(3):
        aside = 1 - np.abs(normal[axis])  # a wall does not shade itself
        for distance in (points[axis] - low[axis], high[axis] - points[axis]):
            share *= 1 - 0.3 * aside * np.exp(-distance / 0.3)
    for item in scene.items[1:]:
        if item.casts_shadow:
            share *= 1 - 0.45 * _closeness(*item.bounds, points, normal)
    return share


def _closeness(
    low: np.ndarray, high: np.ndarray, points: np.ndarray, normal: np.ndarray
) -> np.ndarray:
    """1 where a surface touches a box and faces it, falling off within 15 cm; (N,)."""
    way = np.clip(points, low[:, None], high[:, None]) - points
    middle = ((low + high) / 2)[:, None] - points
    facing = np.clip(dot(normal, middle) / np.sqrt(dot(middle, middle)) + 0.3, 0, 1)
    return facing * np.exp(-np.sqrt(dot(way, way)) / 0.15)


def spread(values: np.ndarray, key: np.ndarray, fine_key: np.ndarray) -> np.ndarray:
    """Double the size of `values` (H, W, 3) without crossing an edge.

    Each fine pixel is the mean of those of its four nearest coarse pixels that show the same
    surface (key (H, W), fine_key (2H, 2W)); of all four where none does, as on thin things.
    """
    height, width = key.shape
    values = np.dstack([values, np.ones_like(key, np.float32)])  # the ones add up to the weight
    values = np.pad(values, ((1, 1), (1, 1), (0, 0)), mode="edge")
    key = np.pad(key, 1, mode="edge")
    fine = np.empty((2 * height, 2 * width, 3), np.float32)
    for row, column in np.ndindex(2, 2):
        wanted = fine_key[row::2, column::2]
        total = np.zeros((height, width, 4), np.float32)
        for down, right in np.ndindex(2, 2):
            part = np.s_[row + down : row + down + height, column + right : column + right + width]
            share = np.where(key[part] == wanted, np.float32(1), np.float32(1e-3))
            total += values[part] * share[..., None]
        np.divide(total[..., :3], total[..., 3:], out=fine[row::2, column::2])
    return fine


def photograph(rng: np.random.Generator, radiance: np.ndarray) -> np.ndarray:
    """Develop linear light, float32 (H, W, 3), into uint8 sRGB.

    Exposure, white balance, a film's curve and saturation, vignette, noise of the sensor.
    """
    height, width = radiance.shape[:2]
    middle = np.exp(np.log(radiance.mean(axis=2) + 1e-4).mean())
    balance = np.exp(rng.normal(0, [0.05, 0.015, 0.06]))
    x = radiance * (rng.uniform(0.19, 0.3) / middle * balance).astype(np.float32)
    developed = x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)  # ACES, Narkowicz's fit
    grey = developed.mean(axis=2, keepdims=True)
    developed = grey + rng.uniform(0.7, 0.95) * (developed - grey)
    row, column = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    developed *= 1 - rng.uniform(0.03, 0.12) * (row**2 + column**2).astype(np.float32)[..., None]
    grain = rng.standard_normal((height, width, 3), dtype=np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 0.6)
    developed += rng.uniform(0.003, 0.012) * grain * np.sqrt(np.maximum(developed, 0.02))
    return encode_srgb(developed)
