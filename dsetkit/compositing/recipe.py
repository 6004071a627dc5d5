"""What to draw: (seed, index) -> one frozen recipe. All randomness of generation lives here.

Random numbers are a pure function of (seed, stream, index), so sample i never depends on which
worker draws it, on its neighbours, or on how many samples are asked for. The mixing function is
SplitMix64's finaliser (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators"),
applied to seed, stream and index in turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Streams: one for each kind of choice.
SCALE, PLACE_X, PLACE_Y, HOLD_OUT, SELECT, FOREGROUND, FLIP, NEARNESS = range(8)

PLACEMENTS = ("uniform", "grid")
GRID_COLUMNS, GRID_ROWS = 5, 4  # system 000's grid of placements


def uniform(seed: int, stream: int | np.ndarray, index: int | np.ndarray) -> np.ndarray:
    """Uniform float64 in [0, 1), streams and indices broadcast: a counter-based generator."""
    state = _mix(np.uint64(seed))
    state = _mix(state ^ np.asarray(stream, np.uint64))
    state = _mix(state ^ np.asarray(index, np.uint64))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(value: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        value = value + np.uint64(0x9E3779B97F4A7C15)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@dataclass(frozen=True)
class CompositeRecipe:
    """The choices behind one composite.

    Attributes:
        index: Number in the full set.
        background: Asset id.
        foreground: Asset id.
        flip: The foreground is mirrored left to right.
        box: x, y, width, height of the placed foreground, inside the canvas [px].
    """

    index: int
    background: int
    foreground: int
    flip: bool
    box: tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class FullSet:
    """Every background x every foreground x {plain, flipped} x placements, in that order.

    Attributes:
        foreground_shapes: (height, width) of every foreground [px]; only the aspect matters.
        size: Side of the square canvas [px].
        scale_range: Longer side of the placed foreground as a share of the canvas.
        placement: `uniform` (inside the canvas) or `grid` (5 x 4, as system 000).
    """

    num_backgrounds: int
    foreground_shapes: tuple[tuple[int, int], ...]
    placements: int
    size: int
    scale_range: tuple[float, float]
    placement: str
    seed: int

    def __len__(self) -> int:
        return self.num_backgrounds * len(self.foreground_shapes) * 2 * self.placements

    def recipe(self, index: int) -> CompositeRecipe:
        """The recipe of sample `index` of the full set."""
        return self.recipes([index])[0]

    def recipes(self, indices: Sequence[int]) -> list[CompositeRecipe]:
        """The recipes of many samples: what is drawn at random is drawn for all at once."""
        streams = np.array([[SCALE], [PLACE_X], [PLACE_Y]])
        drawn = uniform(self.seed, streams, np.asarray(indices)).T.tolist()  # (N, 3)
        return [self._recipe(int(i), *shares) for i, shares in zip(indices, drawn, strict=True)]

    def _recipe(self, index: int, along: float, along_x: float, along_y: float) -> CompositeRecipe:
        rest, placement = divmod(index, self.placements)
        rest, flip = divmod(rest, 2)
        background, foreground = divmod(rest, len(self.foreground_shapes))
        if self.placement == "grid":
            along_x = placement % GRID_COLUMNS / (GRID_COLUMNS - 1)
            along_y = placement // GRID_COLUMNS % GRID_ROWS / (GRID_ROWS - 1)
        shape = self.foreground_shapes[foreground]
        low, high = self.scale_range
        scale = (low + (high - low) * along) * self.size / max(shape)
        height, width = (max(1, round(scale * side)) for side in shape)
        box = (round(along_x * (self.size - width)), round(along_y * (self.size - height)))
        return CompositeRecipe(index, background, foreground, bool(flip), (*box, width, height))

    def assets_of(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Background and foreground ids of many samples at once."""
        return np.divmod(index // (2 * self.placements), len(self.foreground_shapes))
