"""Choices of numbers that several packages make alike."""

import numpy as np


def evenly_spread(total: int, at_most: int) -> list[int]:
    """Ascending indices below `total`, from the first to the last: `at_most`, or all if fewer."""
    indices = np.linspace(0, total - 1, min(total, at_most)).round().astype(int)
    return np.unique(indices).tolist()
