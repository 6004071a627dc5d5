"""Colours as linear light, and the generator that all drawing draws from."""

import numpy as np


def make_generator(seed: int, index: int) -> np.random.Generator:
    """The one source of randomness of a picture: the same (seed, index), the same numbers."""
    return np.random.Generator(np.random.Philox(key=(seed << 64) | index))


def colour(hex_code: str) -> np.ndarray:
    """`"#rrggbb"` (sRGB) -> float32 (3,) linear RGB in [0, 1]."""
    srgb = np.array([int(hex_code[i : i + 2], 16) for i in (1, 3, 5)], np.float32) / 255
    return srgb**2.2


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light, float (..., 3) -> uint8 sRGB (plain 2.2 gamma)."""
    return (np.clip(linear, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)


def mix(a: np.ndarray, b: np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """Between `a` (share 0) and `b` (share 1)."""
    return a + (b - a) * share


def vary(rng: np.random.Generator, base: np.ndarray, amount: float = 0.15) -> np.ndarray:
    """A colour close to `base`: brightness and, less, hue moved by about `amount`."""
    gain = np.exp(rng.normal(0, amount) + rng.normal(0, amount / 4, 3))
    return np.clip(base * gain, 0.01, 0.95).astype(np.float32)
