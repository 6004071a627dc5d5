"""The selection of samples from the full set, and the split cell of each sample.

No training sample uses a test background or a test foreground. The test samples are in four cells:
background seen in training or not, times foreground seen in training or not. The cell in which both
are seen holds placements that are kept out of training. Samples that mix train and val assets are
`val`.
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

HELD_OUT_SHARE = 0.04  # share of the placements of train assets that become TEST_SEEN

# Shares of the selected samples. They give small datasets enough test samples too.
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
    """The split cell of every sample of the full set.

    Args:
        full_set: The full set.
        background_splits: `train`, `val` or `test` of each background, in the order of the ids.
        foreground_splits: The same of each foreground.

    Returns:
        uint8 (len(full_set),): indices into CELL_NAMES.
    """
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
    """The split cells of some samples, from the splits of their assets.

    Args:
        index: int (N,), indices in the full set.
        background_split: str (N,): `train`, `val` or `test` of the background of each sample.
        foreground_split: str (N,): the same of the foreground.
        seed: Seed that decides which placements of train assets are held out.

    Returns:
        uint8 (N,): indices into CELL_NAMES.
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
    """Random split cells that do not depend on the assets.

    Args:
        count: Number of samples.
        shares: Shares of train, val and test; they add up to 1.
        seed: Seed of the choice.

    Returns:
        uint8 (count,): TRAIN, VAL or TEST.
    """
    order = np.argsort(uniform(seed, Stream.HOLD_OUT, np.arange(count)))
    first_test, first_train = round(shares[2] * count), round((shares[2] + shares[1]) * count)
    cells = np.full(count, TRAIN, np.uint8)
    cells[order[:first_train]] = VAL
    cells[order[:first_test]] = TEST
    return cells


def select(cells: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Selects samples evenly from the full set: about 80 % train, 5 % val and 15 % test.

    Args:
        cells: uint8 (N,), the split cell of every sample of the full set.
        count: Samples to select; N selects all of them.
        seed: Seed of the choice.

    Returns:
        int64 (count,): indices into the full set, ascending.
    """
    if count == len(cells):
        return np.arange(count)
    pools = {cell: np.flatnonzero(cells == cell) for cell in CELL_SHARES}
    quotas = _quotas({cell: len(pool) for cell, pool in pools.items()}, count)
    chosen = [_spread(pools[cell], quota, seed=seed) for cell, quota in quotas.items()]
    return np.sort(np.concatenate(chosen))


def select_in_steps(cells: np.ndarray, counts: Sequence[int], *, seed: int) -> np.ndarray:
    """Selects samples for a dataset that has grown: each step keeps what was selected before.

    Args:
        cells: As of `select`.
        counts: Samples after each step, ascending.
        seed: Seed of the choice.

    Returns:
        int64 (counts[-1],): indices into the full set, ascending within each step.
    """
    chosen = select(cells, counts[0], seed=seed)
    for count in counts[1:]:
        is_left = np.ones(len(cells), bool)
        is_left[chosen] = False
        pools = {cell: np.flatnonzero((cells == cell) & is_left) for cell in CELL_SHARES}
        wanted = _quotas({cell: int((cells == cell).sum()) for cell in CELL_SHARES}, count)
        missing = {
            cell: max(0, wanted[cell] - int((cells[chosen] == cell).sum())) for cell in wanted
        }
        quotas = _fitted(missing, {c: len(pool) for c, pool in pools.items()}, count - len(chosen))
        new = [_spread(pools[cell], quota, seed=seed) for cell, quota in quotas.items()]
        chosen = np.concatenate([chosen, np.sort(np.concatenate(new))])
    return chosen


def _quotas(pool_sizes: dict[int, int], count: int) -> dict[int, int]:
    """How many samples to select from each cell.

    If a cell has too few samples, the cells with the most unselected samples give the rest.
    """
    wanted = {cell: round(CELL_SHARES[cell] * count) for cell in pool_sizes}
    return _fitted(wanted, pool_sizes, count)


def _fitted(wanted: dict[int, int], pool_sizes: dict[int, int], count: int) -> dict[int, int]:
    """Quotas near the wanted ones that the cells can give, `count` in all."""
    quotas = {cell: min(wanted[cell], pool_sizes[cell]) for cell in pool_sizes}
    missing = count - sum(quotas.values())
    for cell in sorted(pool_sizes, key=lambda cell: pool_sizes[cell] - quotas[cell], reverse=True):
        change = int(np.clip(missing, -quotas[cell], pool_sizes[cell] - quotas[cell]))
        quotas[cell] += change
        missing -= change
    return quotas


def _spread(pool: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Divides a pool into `count` equal parts and selects a random entry of each."""
    if count == 0:
        return pool[:0]
    borders = np.arange(count + 1) * len(pool) // count
    lengths = np.diff(borders)
    jitter = uniform(seed, Stream.SELECT, pool[borders[:-1]])
    return pool[borders[:-1] + (jitter * lengths).astype(np.int64)]
