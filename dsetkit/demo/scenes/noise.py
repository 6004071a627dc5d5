"""Repeatable randomness in space: smooth fractal noise, and a number for each cell of a grid."""

from functools import cache

import cv2
import numpy as np

from dsetkit.demo.scenes.palette import make_generator

TILE = 512
HASH_SIZE = 4096


@cache
def _noise_tile() -> np.ndarray:
    """Periodic fractal noise, float32 (TILE, TILE), mean 0, standard deviation 1."""
    rng = make_generator(0, 0)
    frequency = np.fft.fftfreq(TILE) * TILE
    radius = np.hypot(frequency[:, None], frequency[None, :])
    spectrum = np.fft.fft2(rng.normal(size=(TILE, TILE))) / np.maximum(radius, 4) ** 1.3
    tile = np.fft.ifft2(spectrum).real
    return ((tile - tile.mean()) / tile.std()).astype(np.float32)


@cache
def _hash_table() -> np.ndarray:
    return make_generator(0, 1).random(HASH_SIZE, dtype=np.float32)


def noise(u: np.ndarray, v: np.ndarray, *, texel: float | tuple[float, float]) -> np.ndarray:
    """Smooth noise at (u, v), float32 (N,), about normal; `texel` is its finest grain."""
    texel_u, texel_v = texel if isinstance(texel, tuple) else (texel, texel)
    # cv2.remap wants a picture no side of which passes 32767, so the points are folded into rows.
    columns = 1024
    rows = -(-u.size // columns)
    place = np.zeros((2, rows * columns), np.float32)
    place[0, : u.size] = u.ravel() / texel_u
    place[1, : u.size] = v.ravel() / texel_v
    place = np.mod(place, TILE).reshape(2, rows, columns)
    sampled = cv2.remap(
        _noise_tile(), place[0], place[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )
    return sampled.ravel()[: u.size].reshape(u.shape)


def cell_random(column: np.ndarray, row: np.ndarray | int = 0, *, salt: int = 0) -> np.ndarray:
    """A repeatable random number in [0, 1) for each integer cell (column, row)."""
    code = column.astype(np.int64) * 1619 + np.asarray(row, np.int64) * 3571 + salt * 977
    code ^= code >> 7
    return _hash_table()[code & (HASH_SIZE - 1)]
