"""Scene depth: objects as upright planes in front of a background whose depth is known.

Each object is flat, faces the camera, and is nearer than what it hides: its plane is a low
percentile of the background's depth under it, times its nearness. Nearness follows from the
object's size, so that a network can see it in the picture, or is drawn. The depth of the sample is
that plane wherever the object's alpha is at least OBJECT_ALPHA, and the background's depth
elsewhere. All of this is done on stored depths, whole numbers, so it is exact on every machine.

The depths under an object are looked up in a map of about MAP_SIDE px: a percentile of a few
hundred pixels is as good as one of thousands, and takes a tenth of the time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from dsetkit.compositing.placing import Box, ForegroundPyramid, scaled_box
from dsetkit.errors import DatasetError, DsetkitError

# Alpha of 255 from which on a pixel belongs to an object: where its plane is drawn, where its edges
# are looked for and corrected. It is Depth Pro's threshold for boundaries of mattes, 0.1.
OBJECT_ALPHA = 26

NEAREST_PERCENTILE = 5  # of the depths under an object; it ignores single wrong pixels
MAP_SIDE = 56  # px
BY_SIZE, BY_CHANCE = "size", "chance"


@dataclass(frozen=True)
class Nearness:
    """How near objects are: their depth as a share of the nearest depth that they hide.

    Attributes:
        low: Of the nearest objects, in (0, 1). From 0.8 on, the edges of the labels would be too
            weak to be recalled.
        high: Of the farthest objects, in [low, 1).
        by: What decides the place in this range. BY_SIZE: the larger an object is in the picture,
            the nearer it is. BY_CHANCE: it is drawn.

    Raises:
        DsetkitError: The range is no such range, or `by` is none of the two.
    """

    low: float = 0.45
    high: float = 0.75
    by: str = BY_SIZE

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high < 1:
            raise DsetkitError(
                f"--nearness {self.low:g} {self.high:g}: expected 0 < LOW <= HIGH < 1"
            )
        if self.by not in (BY_SIZE, BY_CHANCE):
            raise DsetkitError(f"--nearness-by {self.by}: expected {BY_SIZE} or {BY_CHANCE}")

    @classmethod
    def of_recipe(cls, recipe: Mapping[str, Any]) -> "Nearness":
        """That of the recipe of a manifest with scene depth."""
        low, high = recipe["nearness"]
        return cls(low, high, recipe.get("nearness_by", BY_CHANCE))

    def describe(self) -> dict[str, Any]:
        """The entries of a manifest's recipe."""
        return {"nearness": [self.low, self.high], "nearness_by": self.by}


@dataclass(frozen=True, kw_only=True)
class PlaneRule:
    """Where objects stand.

    Attributes:
        kind: `metric` or `relative`, of the stored depth.
        nearness: How near they are.
        sizes: (smallest, largest) longer side of an object as a share of the canvas, between which
            nearness follows from size.
    """

    kind: str
    nearness: Nearness = field(default_factory=Nearness)
    sizes: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def of_recipe(cls, kind: str, recipe: Mapping[str, Any], nearness: Nearness) -> "PlaneRule":
        """The rule for the samples of a manifest's recipe."""
        smallest, largest = recipe.get("scale_range", cls.sizes)
        return cls(kind=kind, nearness=nearness, sizes=(smallest, largest))

    def share(self, size: float, drawn: float) -> float:
        """The place of an object in the range of nearness, 0 (near) to 1 (far).

        Args:
            size: Its longer side as a share of the canvas.
            drawn: The number in 0..1 that was drawn for it.
        """
        if self.nearness.by == BY_CHANCE:
            return drawn
        smallest, largest = self.sizes
        if smallest == largest:  # all objects are as near
            return 0.5
        return min(1.0, max(0.0, (largest - size) / (largest - smallest)))

    def plane(self, behind: np.ndarray, share: float) -> int:
        """The plane of an object.

        Args:
            behind: Stored depths that it hides, uint16 (N,), at least one, none of them 0.
            share: Place in `nearness`, 0..1.

        Returns:
            A stored depth, 1..65535.
        """
        low, high = self.nearness.low, self.nearness.high
        nearness = low + (high - low) * share
        rank = (len(behind) - 1) * NEAREST_PERCENTILE // 100
        if self.kind == "relative":  # inverse depth: near is large
            rank = len(behind) - 1 - rank
            return min(65535, round(int(np.partition(behind, rank)[rank]) / nearness))
        return max(1, round(int(np.partition(behind, rank)[rank]) * nearness))


def map_step(size: tuple[int, int]) -> int:
    """How many pixels of a depth of that (height, width) are one of its small map."""
    return max(1, round(min(size) / MAP_SIDE))


def small_maps(depth: Callable[[int], np.ndarray]) -> Callable[[int], np.ndarray]:
    """Maps of about MAP_SIDE px of depths, by their ids: the middle of each square of pixels.

    Args:
        depth: Gives a depth by its id, uint16 (H,W). It is asked for each once.
    """

    @lru_cache(None)
    def small_map(number: int) -> np.ndarray:
        whole = depth(number)
        step = map_step(whole.shape)
        return np.ascontiguousarray(whole[step // 2 :: step, step // 2 :: step])

    return small_map


class PlaneFinder:
    """Finds the planes of objects in front of the backgrounds of a dataset.

    Args:
        rule: Where objects stand.
        depth: Gives the stored depth of a background by its id, uint16 (H,W), 0 = invalid.
        pyramid: Gives a foreground by its id.
        canvas: (height, width) on which boxes are placed [px].
    """

    def __init__(
        self,
        rule: PlaneRule,
        *,
        depth: Callable[[int], np.ndarray],
        pyramid: Callable[[int], ForegroundPyramid],
        canvas: tuple[int, int],
    ) -> None:
        self._rule, self._pyramid, self._canvas = rule, pyramid, canvas
        self._small_depth = small_maps(depth)

    def plane(self, background: int, foreground: int, flip: bool, box: Box, drawn: float) -> int:
        """The plane of an object.

        Args:
            background: Id of the background.
            foreground: Id of the foreground.
            flip: Whether it is mirrored left to right.
            box: Where it is placed, inside the canvas.
            drawn: As of `PlaneRule.share`.

        Returns:
            A stored depth, 1..65535.

        Raises:
            DatasetError: The background has no valid depth.
        """
        depth = self._small_depth(background)
        x, y, width, height = scaled_box(box, self._canvas, depth.shape)
        hidden = depth[y : y + height, x : x + width]
        inside = self._pyramid(foreground).at(width, height)[..., 3] >= OBJECT_ALPHA
        behind = hidden[inside[:, ::-1] if flip else inside]
        share = self._rule.share(max(box[2:]) / max(self._canvas), drawn)
        for depths in (behind, hidden, depth):  # thin objects, holes in a measured depth
            valid = depths[depths > 0]
            if len(valid):
                return self._rule.plane(valid, share)
        raise DatasetError(f"background {background} has no valid depth")
