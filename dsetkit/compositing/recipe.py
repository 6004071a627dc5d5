"""What to composite: (seed, index) -> one frozen recipe."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dsetkit.compositing.randomness import Stream, uniform
from dsetkit.errors import DsetkitError

PLACEMENTS = ("uniform", "grid")
GRID_COLUMNS, GRID_ROWS = 5, 4  # system 000's grid of placements
SMALLEST_CANVAS = 16  # [px]


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """What a composite looks like, and how foregrounds are placed on it.

    Attributes:
        size: Side of the square canvas [px].
        placements: Placements of each (background, foreground, flip).
        scale_range: Longer side of the placed foreground as a share of the canvas.
        placement: `uniform` (anywhere inside the canvas) or `grid` (5 x 4, as system 000).

    Raises:
        DsetkitError: A value out of its range.
    """

    size: int = 224
    placements: int = 20
    scale_range: tuple[float, float] = (0.3, 0.7)
    placement: str = "uniform"

    def __post_init__(self) -> None:
        low, high = self.scale_range
        if not 0 < low <= high <= 1:
            raise DsetkitError(f"--scale-range {low} {high}: expected 0 < LOW <= HIGH <= 1")
        if self.size < SMALLEST_CANVAS:
            raise DsetkitError(f"--size {self.size}: expected at least {SMALLEST_CANVAS} px")
        if self.placements < 1:
            raise DsetkitError(f"--placements {self.placements}: expected at least 1")
        if self.placement not in PLACEMENTS:
            raise DsetkitError(f"--placement {self.placement}: expected {' or '.join(PLACEMENTS)}")


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
        num_backgrounds: How many backgrounds there are.
        foreground_shapes: (height, width) of every foreground [px]; only the aspect matters.
        canvas: What a composite looks like.
        seed: Key of every random choice.
    """

    num_backgrounds: int
    foreground_shapes: tuple[tuple[int, int], ...]
    canvas: Canvas
    seed: int

    def __len__(self) -> int:
        return self.num_backgrounds * len(self.foreground_shapes) * 2 * self.canvas.placements

    def recipe(self, index: int) -> CompositeRecipe:
        """The recipe of sample `index` of the full set."""
        return self.recipes([index])[0]

    def recipes(self, indices: Sequence[int]) -> list[CompositeRecipe]:
        """The recipes of many samples; their random numbers are drawn in one call."""
        streams = [[Stream.SCALE], [Stream.PLACE_X], [Stream.PLACE_Y]]
        drawn = uniform(self.seed, streams, np.asarray(indices)).T.tolist()  # (N, 3)
        return [self._recipe(int(i), *shares) for i, shares in zip(indices, drawn, strict=True)]

    def _recipe(self, index: int, along: float, along_x: float, along_y: float) -> CompositeRecipe:
        rest, placement = divmod(index, self.canvas.placements)
        rest, flip = divmod(rest, 2)
        background, foreground = divmod(rest, len(self.foreground_shapes))
        if self.canvas.placement == "grid":
            along_x = placement % GRID_COLUMNS / (GRID_COLUMNS - 1)
            along_y = placement // GRID_COLUMNS % GRID_ROWS / (GRID_ROWS - 1)
        shape, size = self.foreground_shapes[foreground], self.canvas.size
        low, high = self.canvas.scale_range
        scale = (low + (high - low) * along) * size / max(shape)
        height, width = (max(1, round(scale * side)) for side in shape)
        x, y = round(along_x * (size - width)), round(along_y * (size - height))
        return CompositeRecipe(index, background, foreground, bool(flip), (x, y, width, height))

    def assets_of(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Background and foreground ids of many samples at once."""
        return np.divmod(index // (2 * self.canvas.placements), len(self.foreground_shapes))
