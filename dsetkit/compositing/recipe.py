"""The recipe of a composite: a pure function of seed and index."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from dsetkit import arguments
from dsetkit.compositing.randomness import STREAMS_OF_AN_OBJECT, Stream, uniform
from dsetkit.compositing.standing import Standing
from dsetkit.errors import DsetkitError
from dsetkit.store import HARMONISED, PlacedObject

# The range of sizes of each placement, if nothing else is said. In a scene sizes follow from depth:
# only what would be hardly seen, or would not fit, is left out.
SCALE_RANGES = {"uniform": (0.3, 0.7), "grid": (0.3, 0.7), "scene": (0.1, 1.0)}
PLACEMENTS = tuple(SCALE_RANGES)
GRID_COLUMNS, GRID_ROWS = 5, 4  # as in system 000


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """The canvas of the composites, and how foregrounds are placed on it.

    Attributes:
        size: Side of the square canvas [px], in `arguments.CANVAS_PX`.
        placements: Placements of each (background, foreground, flip), at least 1.
        scale_range: (lowest, highest) longer side of the placed foreground as a share of the
            canvas, in (0, 1].
        placement: `uniform` (anywhere inside the canvas), `grid` (5 x 4, as in system 000) or
            `scene` (where the depth of the background has room, see `spots`).
        objects: (fewest, most) foregrounds of a sample. Those after the first are placed anywhere.
        standing: Heights and camera of placement `scene`; None for the others.
        harmonise: What of a foreground is matched to its surroundings, of `store.HARMONISED`, in
            that order; `shadow` needs placement `scene`.

    Raises:
        DsetkitError: A value is outside its range.
    """

    size: int = 224
    placements: int = 20
    scale_range: tuple[float, float] = SCALE_RANGES["uniform"]
    placement: str = "uniform"
    objects: tuple[int, int] = (1, 1)
    standing: Standing | None = None
    harmonise: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        low, high = self.scale_range
        if not 0 < low <= high <= 1:
            raise DsetkitError(f"--scale-range {low} {high}: expected 0 < LOW <= HIGH <= 1")
        arguments.CANVAS_PX.check(self.size, "--size")
        arguments.PLACEMENTS.check(self.placements, "--placements")
        if self.placement not in PLACEMENTS:
            raise DsetkitError(f"--placement {self.placement}: expected {' or '.join(PLACEMENTS)}")
        if (self.placement == "scene") != (self.standing is not None):
            raise DsetkitError(
                f"--placement {self.placement}: heights are of placement scene alone"
            )
        if self.harmonise != tuple(name for name in HARMONISED if name in self.harmonise):
            raise DsetkitError(
                f"--harmonise {' '.join(self.harmonise)}: expected some of {', '.join(HARMONISED)}"
            )
        if "shadow" in self.harmonise and self.standing is None:
            raise DsetkitError("--harmonise shadow needs --placement scene: it falls on a floor")
        fewest, most = self.objects
        arguments.OBJECTS.check(fewest, "--objects")
        arguments.OBJECTS.check(most, "--objects")
        if fewest > most:
            raise DsetkitError(f"--objects {fewest} {most}: expected LOW <= HIGH")


class Shares(NamedTuple):
    """What is drawn for an object, each in [0, 1).

    Attributes:
        scale: Place in the range of sizes.
        x: Place from left to right.
        y: Place from top to bottom.
        nearness: Place in the range of nearness, where that does not follow from the size.
    """

    scale: float
    x: float
    y: float
    nearness: float


@dataclass(frozen=True)
class CompositeRecipe:
    """The recipe of one composite.

    Attributes:
        index: Index in the full set.
        background: Id of the background.
        objects: The placed foregrounds, inside the canvas; the one in front last.
        shares: What was drawn for each object.
    """

    index: int
    background: int
    objects: tuple[PlacedObject, ...]
    shares: tuple[Shares, ...]


@dataclass(frozen=True, kw_only=True)
class FullSet:
    """Every background x every foreground x {plain, flipped} x placements, in that order.

    Further objects of a sample are drawn from the foregrounds of the same split as its own, and
    when there are no more of these, from those of train. Each stands in a sample at most once, and
    behind its own unless planes say otherwise.

    Attributes:
        num_backgrounds: Number of backgrounds.
        foreground_shapes: (height, width) of each foreground [px]; only their ratio matters.
        canvas: The canvas and the placements on it.
        seed: Seed of all random choices.
        foreground_splits: `train`, `val` or `test` of each foreground; needed for several objects.
        heights_mm: (lowest, highest) height of each foreground [mm]; needed for placement `scene`.

    Raises:
        DsetkitError: There are fewer foregrounds than a sample may have objects.
    """

    num_backgrounds: int
    foreground_shapes: tuple[tuple[int, int], ...]
    canvas: Canvas
    seed: int
    foreground_splits: tuple[str, ...] = ()
    heights_mm: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        fewest, most = self.canvas.objects
        available = len(self._pools.get("train", []))
        if most > max(1, available):
            raise DsetkitError(
                f"--objects {fewest} {most}: split train has {available:,} foregrounds, and a "
                "sample shows each at most once: give fewer objects or more foregrounds"
            )

    def __len__(self) -> int:
        return self.num_backgrounds * len(self.foreground_shapes) * 2 * self.canvas.placements

    @cached_property
    def _pools(self) -> dict[str, list[int]]:
        """The ids of the foregrounds of each split that has any."""
        pools: dict[str, list[int]] = {}
        for number, split in enumerate(self.foreground_splits):
            pools.setdefault(split, []).append(number)
        return pools

    def recipe(self, index: int) -> CompositeRecipe:
        """The recipe of sample `index` of the full set."""
        return self.recipes([index])[0]

    def recipes(self, indices: Sequence[int] | np.ndarray) -> list[CompositeRecipe]:
        """The recipes of many samples. This is faster than one call for each."""
        indices = np.asarray(indices)
        streams = [[Stream.SCALE], [Stream.PLACE_X], [Stream.PLACE_Y], [Stream.NEARNESS]]
        numbers = uniform(self.seed, streams, indices).T.tolist()  # (N, 4)
        recipes = [
            self._recipe(int(i), Shares(*shares))
            for i, shares in zip(indices, numbers, strict=True)
        ]
        if self.canvas.objects[1] == 1:
            return recipes
        return self._with_further_objects(recipes, indices)

    def _recipe(self, index: int, shares: Shares) -> CompositeRecipe:
        """The recipe of a sample of one object."""
        rest, placement = divmod(index, self.canvas.placements)
        rest, flip = divmod(rest, 2)
        background, foreground = divmod(rest, len(self.foreground_shapes))
        if self.canvas.placement == "grid":
            shares = shares._replace(
                x=placement % GRID_COLUMNS / (GRID_COLUMNS - 1),
                y=placement // GRID_COLUMNS % GRID_ROWS / (GRID_ROWS - 1),
            )
        placed = self._placed(foreground, bool(flip), shares)
        return CompositeRecipe(index, background, (placed,), (shares,))

    def _placed(self, foreground: int, flip: bool, shares: Shares) -> PlacedObject:
        shape, size = self.foreground_shapes[foreground], self.canvas.size
        low, high = self.canvas.scale_range
        scale = (low + (high - low) * shares.scale) * size / max(shape)
        height, width = (max(1, round(scale * side)) for side in shape)
        x, y = round(shares.x * (size - width)), round(shares.y * (size - height))
        return PlacedObject(foreground=foreground, flip=flip, box=(x, y, width, height))

    def _with_further_objects(
        self, recipes: list[CompositeRecipe], indices: np.ndarray
    ) -> list[CompositeRecipe]:
        fewest, most = self.canvas.objects
        counts = fewest + uniform(self.seed, Stream.OBJECTS, indices) * (most - fewest + 1)
        kinds = [
            *(Stream.FOREGROUND, Stream.FLIP, Stream.SCALE),
            *(Stream.PLACE_X, Stream.PLACE_Y, Stream.NEARNESS),
        ]
        further = np.arange(1, most)[:, None] * STREAMS_OF_AN_OBJECT + np.array(kinds)
        numbers = uniform(self.seed, further[..., None], indices)  # (most - 1, 6, N)
        result = []
        for recipe, count, drawn in zip(
            recipes, counts.astype(int).tolist(), np.moveaxis(numbers, 2, 0).tolist(), strict=True
        ):
            first = recipe.objects[0]
            assert first.foreground is not None  # `_placed` has set it
            split = self.foreground_splits[first.foreground]
            left = list(self._pools[split])
            left.remove(first.foreground)
            behind, shares = [], []
            for which, flip, *own in drawn[: count - 1]:
                left = left or list(self._pools["train"])  # a sample of val or test
                foreground = left.pop(int(which * len(left)))
                shares.append(Shares(*own))
                behind.append(self._placed(foreground, flip < 0.5, shares[-1]))
            result.append(
                replace(
                    recipe,
                    objects=(*reversed(behind), first),
                    shares=(*reversed(shares), *recipe.shares),
                )
            )
        return result

    def assets_of(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Background ids and first foreground ids of many samples, int of the shape of `index`."""
        return np.divmod(index // (2 * self.canvas.placements), len(self.foreground_shapes))
