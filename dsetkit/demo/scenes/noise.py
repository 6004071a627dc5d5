"""Deterministic noise for textures: fractal noise over a plane, and random numbers per cell."""

from functools import cache

import cv2
import numpy as np

from dsetkit.demo.scenes.palette import make_generator

TILE = 512
HASH_SIZE = 4096


@cache
def _noise_tile() -> np.ndarray:
    """Return periodic fractal noise, float32 (TILE, TILE), mean 0, standard deviation 1."""
    rng = make_generator(0, 0)
    frequency = np.fft.fftfreq(TILE) * TILE
    radius = np.hypot(frequency[:, None], frequency[None, :])
    spectrum = np.fft.fft2(rng.normal(size=(TILE, TILE))) / np.maximum(radius, 4) ** 1.3
    tile = np.fft.ifft2(spectrum).real
    return ((tile - tile.mean()) / tile.std()).astype(np.float32)


@cache
def _hash_table() -> np.ndarray:
    """Return random numbers in [0, 1), float32 (HASH_SIZE,)."""
    return make_generator(0, 1).random(HASH_SIZE, dtype=np.float32)


def noise(u: np.ndarray, v: np.ndarray, *, texel: float | tuple[float, float]) -> np.ndarray:
    """Sample smooth noise.

    Args:
        u: coordinates of the points, of any shape.
        v: coordinates of the points, of the same shape.
        texel: size of the finest detail along u and v, in the unit of the coordinates.

    Returns:
        float32, of the shape of `u`; about normally distributed, mean 0, standard deviation 1.
    """
    texel_u, texel_v = texel if isinstance(texel, tuple) else (texel, texel)
    # cv2.remap takes at most 32767 pixels per side, so the points are arranged in several rows.
    columns = 1024
    rows = -(-u.size // columns)
    position = np.zeros((2, rows * columns), np.float32)
    position[0, : u.size] = u.ravel() / texel_u
    position[1, : u.size] = v.ravel() / texel_v
    map_u, map_v = np.mod(position, TILE).reshape(2, rows, columns)
    sampled = cv2.remap(_noise_tile(), map_u, map_v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return sampled.ravel()[: u.size].reshape(u.shape)


def cell_random(column: np.ndarray, row: np.ndarray | int = 0, *, salt: int = 0) -> np.ndarray:
    """Return a random number in [0, 1) for each cell; the same cell always has the same number.

    Args:
        column: whole numbers, of any shape.
        row: whole numbers that broadcast against `column`.
        salt: selects another series of random numbers.
    """
    code = column.astype(np.int64) * 1619 + np.asarray(row, np.int64) * 3571 + salt * 977
    code ^= code >> 7
    return _hash_table()[code & (HASH_SIZE - 1)]
