"""Colours in linear RGB, and the random generator of a picture."""

import numpy as np


def make_generator(seed: int, index: int) -> np.random.Generator:
    """Create the random generator of picture number `index`.

    A picture takes all its random numbers from it, so (seed, index) determines the picture.
    """
    return np.random.Generator(np.random.Philox(key=(seed << 64) | index))


def colour(hex_code: str) -> np.ndarray:
    """Convert sRGB `"#rrggbb"` to linear RGB, float32 (3,) in [0, 1]."""
    srgb = np.array([int(hex_code[i : i + 2], 16) for i in (1, 3, 5)], np.float32) / 255
    return srgb**2.2


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """Convert linear RGB, float (..., 3), to uint8 sRGB, with a plain gamma of 2.2."""
    return (np.clip(linear, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)


def mix(a: np.ndarray, b: np.ndarray | np.floating, share: float | np.ndarray) -> np.ndarray:
    """Interpolate from `a` (share 0) to `b` (share 1)."""
    return a + (b - a) * share


def vary(rng: np.random.Generator, base: np.ndarray, amount: float = 0.15) -> np.ndarray:
    """Return a colour like `base`: brightness varies by about `amount`, hue by a quarter of it."""
    gain = np.exp(rng.normal(0, amount) + rng.normal(0, amount / 4, 3))
    return np.clip(base * gain, 0.01, 0.95).astype(np.float32)
