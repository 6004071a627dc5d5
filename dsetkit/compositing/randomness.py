"""Random numbers that are a pure function of (seed, stream, index).

So sample i never depends on which worker makes it, on its neighbours, or on how many samples are
asked for. The mixing function is SplitMix64's finaliser (Steele, Lea & Flood 2014, "Fast splittable
pseudorandom number generators"), applied to seed, stream and index in turn.
"""

from enum import IntEnum

import numpy as np
import numpy.typing as npt


class Stream(IntEnum):
    """One stream for each kind of choice. Datasets depend on the numbers: never change one."""

    SCALE = 0
    PLACE_X = 1
    PLACE_Y = 2
    HOLD_OUT = 3
    SELECT = 4
    FOREGROUND = 5
    FLIP = 6
    NEARNESS = 7


def uniform(seed: int, stream: npt.ArrayLike, index: npt.ArrayLike) -> np.ndarray:
    """Uniform float64 in [0, 1); streams and indices broadcast.

    Args:
        seed: The dataset's seed, 0 to 2**64 - 1.
        stream: One `Stream`, or an array of them.
        index: One index, or an array of them.
    """
    state = _mix(np.asarray(seed, np.uint64))
    state = _mix(state ^ np.asarray(stream, np.uint64))
    state = _mix(state ^ np.asarray(index, np.uint64))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(value: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        value = value + np.uint64(0x9E3779B97F4A7C15)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
