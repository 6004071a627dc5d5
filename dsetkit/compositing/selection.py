"""Which samples of the full set are made, and which split cell each of them is in.

A test background and a test foreground are never seen in training. Test samples stand in four
cells (background seen or not x foreground seen or not); the seen-seen cell holds placements that
are kept out of training. What mixes train and val assets is `val`.
"""

from collections.abc import Sequence

import numpy as np

from dsetkit.compositing.randomness import Stream, uniform
from dsetkit.compositing.recipe import FullSet
from dsetkit.store import (
    TEST,
    TEST_BACKGROUND,
    TEST_BOTH,
    TEST_FOREGROUND,
    TEST_SEEN,
    TRAIN,
    VAL,
)

HELD_OUT_SHARE = 0.04  # of the placements of train assets

# Shares of a chosen number of samples: small datasets can be judged too.
CELL_SHARES = {
    TRAIN: 0.80,
    VAL: 0.05,
    TEST_SEEN: 0.0375,
    TEST_BACKGROUND: 0.0375,
    TEST_FOREGROUND: 0.0375,
    TEST_BOTH: 0.0375,
}


def split_cells(
    full_set: FullSet, background_splits: list[str], foreground_splits: list[str]
) -> np.ndarray:
    """The split cell of every sample of the full set: uint8 (len(full_set),)."""
    index = np.arange(len(full_set))
    backgrounds, foregrounds = full_set.assets_of(index)
    return cells_of(
        index,
        np.array(background_splits)[backgrounds],
        np.array(foreground_splits)[foregrounds],
        seed=full_set.seed,
    )


def cells_of(
    index: np.ndarray, background_split: np.ndarray, foreground_split: np.ndarray, *, seed: int
) -> np.ndarray:
    """The split cell of any samples, from the splits of their assets.

    Args:
        index: int (N,), numbers in the full set.
        background_split: str (N,): `train`, `val` or `test`.
        foreground_split: str (N,).
        seed: Key of which placements of train assets are held out.

    Returns:
        uint8 (N,).
    """
    seen_background = background_split == "train"
    seen_foreground = foreground_split == "train"
    held_out = uniform(seed, Stream.HOLD_OUT, index) < HELD_OUT_SHARE

    cells = np.full(len(index), VAL, np.uint8)
    both_seen = seen_background & seen_foreground
    cells[both_seen] = np.where(held_out[both_seen], TEST_SEEN, TRAIN)
    test = (background_split == "test") | (foreground_split == "test")
    cells[test & seen_foreground] = TEST_BACKGROUND
    cells[test & seen_background] = TEST_FOREGROUND
    cells[test & ~seen_background & ~seen_foreground] = TEST_BOTH
    return cells


def cells_by_sample(count: int, *, shares: Sequence[float], seed: int) -> np.ndarray:
    """Cells by chance, whatever the assets are: uint8 (count,).

    Args:
        count: Samples.
        shares: Of train, val and test; they add up to 1.
        seed: Key of the choice.
    """
    order = np.argsort(uniform(seed, Stream.HOLD_OUT, np.arange(count)))
    first_test, first_train = round(shares[2] * count), round((shares[2] + shares[1]) * count)
    cells = np.full(count, TRAIN, np.uint8)
    cells[order[:first_train]] = VAL
    cells[order[:first_test]] = TEST
    return cells


def select(cells: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """An even, seeded choice of `count` samples, ascending: about 80 % train, 5 % val, 15 % test.

    Args:
        cells: uint8 split cell of every sample of the full set.
        count: At most len(cells); equal to it gives the whole set.
        seed: Key of the choice.

    Returns:
        int64 (count,): indices into the full set.
    """
    if count == len(cells):
        return np.arange(count)
    pools = {cell: np.flatnonzero(cells == cell) for cell in CELL_SHARES}
    quotas = _quotas({cell: len(pool) for cell, pool in pools.items()}, count)
    chosen = [_spread(pools[cell], quota, seed=seed) for cell, quota in quotas.items()]
    return np.sort(np.concatenate(chosen))


def _quotas(pool_sizes: dict[int, int], count: int) -> dict[int, int]:
    """How many samples of each cell; what a small pool cannot give goes to the largest ones."""
    quotas = {cell: min(round(CELL_SHARES[cell] * count), pool_sizes[cell]) for cell in pool_sizes}
    missing = count - sum(quotas.values())
    for cell in sorted(pool_sizes, key=lambda cell: pool_sizes[cell] - quotas[cell], reverse=True):
        change = int(np.clip(missing, -quotas[cell], pool_sizes[cell] - quotas[cell]))
        quotas[cell] += change
        missing -= change
    return quotas


def _spread(pool: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """`count` entries of a pool, one at a random place of each of `count` equal stretches."""
    if count == 0:
        return pool[:0]
    borders = np.arange(count + 1) * len(pool) // count
    lengths = np.diff(borders)
    jitter = uniform(seed, Stream.SELECT, pool[borders[:-1]])
    return pool[borders[:-1] + (jitter * lengths).astype(np.int64)]
