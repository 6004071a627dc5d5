"""The recipe of a composite: a pure function of seed and index."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dsetkit import arguments
from dsetkit.compositing.randomness import Stream, uniform
from dsetkit.errors import DsetkitError
from dsetkit.store import PlacedObject

PLACEMENTS = ("uniform", "grid")
GRID_COLUMNS, GRID_ROWS = 5, 4  # as in system 000


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """The canvas of the composites, and how foregrounds are placed on it.

    Attributes:
        size: Side of the square canvas [px], in `arguments.CANVAS_PX`.
        placements: Placements of each (background, foreground, flip), at least 1.
        scale_range: (lowest, highest) longer side of the placed foreground as a share of the
            canvas, in (0, 1].
        placement: `uniform` (anywhere inside the canvas) or `grid` (5 x 4, as in system 000).

    Raises:
        DsetkitError: A value is outside its range.
    """

    size: int = 224
    placements: int = 20
    scale_range: tuple[float, float] = (0.3, 0.7)
    placement: str = "uniform"

    def __post_init__(self) -> None:
        low, high = self.scale_range
        if not 0 < low <= high <= 1:
            raise DsetkitError(f"--scale-range {low} {high}: expected 0 < LOW <= HIGH <= 1")
        arguments.CANVAS_PX.check(self.size, "--size")
        arguments.PLACEMENTS.check(self.placements, "--placements")
        if self.placement not in PLACEMENTS:
            raise DsetkitError(f"--placement {self.placement}: expected {' or '.join(PLACEMENTS)}")


@dataclass(frozen=True)
class CompositeRecipe:
    """The recipe of one composite.

    Attributes:
        index: Index in the full set.
        background: Id of the background.
        objects: The placed foregrounds, inside the canvas; the one in front last.
    """

    index: int
    background: int
    objects: tuple[PlacedObject, ...]


@dataclass(frozen=True, kw_only=True)
class FullSet:
    """Every background x every foreground x {plain, flipped} x placements, in that order.

    Attributes:
        num_backgrounds: Number of backgrounds.
        foreground_shapes: (height, width) of each foreground [px]; only their ratio matters.
        canvas: The canvas and the placements on it.
        seed: Seed of all random choices.
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

    def recipes(self, indices: Sequence[int] | np.ndarray) -> list[CompositeRecipe]:
        """The recipes of many samples. This is faster than one call for each."""
        streams = [[Stream.SCALE], [Stream.PLACE_X], [Stream.PLACE_Y]]
        numbers = uniform(self.seed, streams, np.asarray(indices)).T.tolist()  # (N, 3)
        return [self._recipe(int(i), *shares) for i, shares in zip(indices, numbers, strict=True)]

    def _recipe(
        self, index: int, scale_share: float, x_share: float, y_share: float
    ) -> CompositeRecipe:
        """The recipe of a sample from three numbers in [0, 1), each a share of its range."""
        rest, placement = divmod(index, self.canvas.placements)
        rest, flip = divmod(rest, 2)
        background, foreground = divmod(rest, len(self.foreground_shapes))
        if self.canvas.placement == "grid":
            x_share = placement % GRID_COLUMNS / (GRID_COLUMNS - 1)
            y_share = placement // GRID_COLUMNS % GRID_ROWS / (GRID_ROWS - 1)
        shape, size = self.foreground_shapes[foreground], self.canvas.size
        low, high = self.canvas.scale_range
        scale = (low + (high - low) * scale_share) * size / max(shape)
        height, width = (max(1, round(scale * side)) for side in shape)
        x, y = round(x_share * (size - width)), round(y_share * (size - height))
        placed = PlacedObject(foreground=foreground, flip=bool(flip), box=(x, y, width, height))
        return CompositeRecipe(index, background, (placed,))

    def assets_of(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Background ids and foreground ids of many samples, int of the shape of `index`."""
        return np.divmod(index // (2 * self.canvas.placements), len(self.foreground_shapes))
