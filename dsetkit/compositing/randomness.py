"""Random numbers that are a pure function of (seed, stream, index).

A sample therefore does not depend on the worker that makes it, on other samples, or on the number
of samples. The mixing function is the finaliser of SplitMix64 (Steele, Lea & Flood 2014, "Fast
splittable pseudorandom number generators"). It is applied to seed, stream and index in turn.
"""

from enum import IntEnum

import numpy as np
import numpy.typing as npt


class Stream(IntEnum):
    """One stream for each kind of choice. Never change a number, because datasets depend on it."""

    SCALE = 0
    PLACE_X = 1
    PLACE_Y = 2
    HOLD_OUT = 3
    SELECT = 4
    FOREGROUND = 5
    FLIP = 6
    NEARNESS = 7
    OBJECTS = 8
    NOISE = 9
    SHADOW = 10


STREAMS_OF_AN_OBJECT = 256  # the k-th further object of a sample has the streams plus k times this


def uniform(seed: int, stream: npt.ArrayLike, index: npt.ArrayLike) -> np.ndarray:
    """Uniform random numbers in [0, 1).

    Args:
        seed: The dataset's seed, 0 to 2**64 - 1.
        stream: One `Stream`, or an array of streams.
        index: One index, or an array of indices.

    Returns:
        float64 of the shape to which `stream` and `index` broadcast.
    """
    return (bits(seed, stream, index) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def bits(seed: int, stream: npt.ArrayLike, index: npt.ArrayLike) -> np.ndarray:
    """64 random bits each: uint64 of the shape to which `stream` and `index` broadcast.

    Args:
        seed: As of `uniform`.
        stream: As of `uniform`.
        index: As of `uniform`.
    """
    state = _mix(np.asarray(seed, np.uint64))
    state = _mix(state ^ np.asarray(stream, np.uint64))
    return _mix(state ^ np.asarray(index, np.uint64))


def _mix(value: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # the arithmetic is modulo 2**64
        value = value + np.uint64(0x9E3779B97F4A7C15)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
