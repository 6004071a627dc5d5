"""Placement in a scene: objects stand where the depth of the background has room for them.

An object stands upright on the floor (see `floors`), at the depth that the map has under its foot.
Its height in pixels is its height in metres times the focal length over that depth. Of the pixels
of the floor on which it fits into the picture one is drawn. What is nearer than its plane hides it
(see `occlusion`); a spot where less than half of it would be seen is left for another.

Where there is no floor, or no spot on it, the object stands on the lower edge of the picture,
before all that is seen there, as if its feet were on the floor that the picture cuts off: nothing
hides it. It comes nearer where it would be too small, and where it would be too large, it becomes
as high as fits: only then is it lower than it should be.

All of this is done on whole millimetres and pixels, so it is exact on every machine.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from msgspec import structs

from dsetkit.compositing.floors import floor_pixels
from dsetkit.compositing.occlusion import visible_share
from dsetkit.compositing.placing import Box, ForegroundPyramid, scaled_box
from dsetkit.compositing.planes import OBJECT_ALPHA, PlaneRule, map_step, small_maps
from dsetkit.compositing.recipe import FullSet, Shares
from dsetkit.compositing.standing import FOCAL_STEPS
from dsetkit.errors import DatasetError
from dsetkit.store import PlacedObject

SPOTS_TRIED = 8  # until half of the object is seen
WELL_SEEN, BARELY_SEEN = 50, 10  # parts of the object in 100; less is seen on no spot that is taken
FOOT_ROWS = 16  # the lowest 1/16 of a cut-out is its foot
FOOT_STEPS = 1024  # its middle is told in steps of 1/1024 of the width


class _Spots(NamedTuple):
    """Where feet can stand: rows and columns [px] and depths [mm], int64 (N,) each."""

    rows: np.ndarray
    columns: np.ndarray
    depths: np.ndarray


class _Wanted(NamedTuple):
    """A cut-out that looks for a spot: its id, whether it is mirrored, and its height [mm]."""

    foreground: int
    flip: bool
    height_mm: int


class SpotFinder:
    """Finds spots for the objects of a full set.

    Args:
        full_set: Its canvas has the settings of the placement; it knows shapes and heights.
        rule: How near objects on the lower edge stand.
        depth: Gives the stored metric depth of a background by its id, uint16 (H,W), 0 = invalid.
        pyramid: Gives a foreground by its id.
    """

    def __init__(
        self,
        full_set: FullSet,
        rule: PlaneRule,
        *,
        depth: Callable[[int], np.ndarray],
        pyramid: Callable[[int], ForegroundPyramid],
    ) -> None:
        canvas = full_set.canvas
        assert canvas.standing is not None  # of every canvas with --placement scene
        self._full_set, self._rule, self._pyramid = full_set, rule, pyramid
        self._side = canvas.size
        self._limits = [round(share * canvas.size) for share in canvas.scale_range]  # [px]
        focal = canvas.standing.focal_px(canvas.size)
        self._focal = round(focal * FOCAL_STEPS)
        small_depth = small_maps(depth)

        @lru_cache(None)
        def spots(number: int) -> _Spots:
            small, step = small_depth(number), map_step((self._side, self._side))
            rows, columns = np.nonzero(floor_pixels(small, focal_px=focal / step))
            depths = small[rows, columns].astype(np.int64)
            return _Spots(rows * step + step // 2, columns * step + step // 2, depths)

        @lru_cache(None)
        def foot(number: int) -> int:
            return _foot(pyramid(number).levels[0][..., 3])

        self._small_depth, self._spots, self._foot = small_depth, spots, foot

    def stand(self, placed: PlacedObject, background: int, shares: Shares) -> PlacedObject:
        """A copy of a placed object that stands in a scene: with another box, and on its plane.

        Args:
            placed: The object.
            background: Id of the background.
            shares: What was drawn for it.

        Raises:
            DatasetError: The background has no valid depth.
        """
        assert placed.foreground is not None  # of a recipe
        low, high = self._full_set.heights_mm[placed.foreground]
        height_mm = round(low + (high - low) * shares.scale)
        wanted = _Wanted(placed.foreground, bool(placed.flip), height_mm)
        spots = self._spots(background)
        boxes = self._boxes(spots, wanted)
        fitting = np.flatnonzero(self._fit(boxes))
        best, most_seen = None, BARELY_SEEN - 1
        for number in _tries(len(fitting), shares):
            spot = fitting[number]
            x, y, width, height = boxes[:, spot].tolist()
            box, plane = (x, y, width, height), int(spots.depths[spot])
            seen = self._seen(wanted, background, box, plane)
            if seen > most_seen:
                best, most_seen = (box, plane), seen
            if seen >= WELL_SEEN:
                break
        box, plane = best or self._on_the_edge(wanted, background, shares)
        return structs.replace(placed, box=box, plane=plane, occluded=best is not None)

    def _boxes(self, spots: _Spots, wanted: _Wanted) -> np.ndarray:
        """Its box on each of N spots: x, y, width, height [px], int64 (4,N)."""
        steps = spots.depths * FOCAL_STEPS
        heights = np.maximum(1, (wanted.height_mm * self._focal + steps // 2) // steps)
        widths = self._widths(heights, wanted.foreground)
        feet = self._foot(wanted.foreground)
        feet = FOOT_STEPS - feet if wanted.flip else feet
        return np.stack(
            [
                spots.columns - feet * widths // FOOT_STEPS,
                spots.rows + 1 - heights,
                widths,
                heights,
            ]
        )

    def _widths(self, heights: np.ndarray, foreground: int) -> np.ndarray:
        """The width of a foreground for each of some heights [px]."""
        height, width = self._full_set.foreground_shapes[foreground]
        return np.maximum(1, (2 * heights * width + height) // (2 * height))

    def _fit(self, boxes: np.ndarray) -> np.ndarray:
        """Which boxes, int64 (4,N), are inside the canvas and of a size in `scale_range`."""
        x, y, widths, heights = boxes
        longer = np.maximum(widths, heights)
        inside = (x >= 0) & (x + widths <= self._side) & (y >= 0)
        return inside & (longer >= self._limits[0]) & (longer <= self._limits[1])

    def _seen(self, wanted: _Wanted, background: int, box: Box, plane: int) -> int:
        """How much of the object is seen, in 100 parts."""
        depth = self._small_depth(background)
        x, y, width, height = scaled_box(box, (self._side, self._side), depth.shape)
        alpha = self._pyramid(wanted.foreground).at(width, height)[..., 3]
        inside = (alpha[:, ::-1] if wanted.flip else alpha) >= OBJECT_ALPHA
        visible = visible_share(depth[y : y + height, x : x + width], plane)[inside]
        return 100 * int(np.count_nonzero(visible >= 128)) // max(1, len(visible))

    def _on_the_edge(self, wanted: _Wanted, background: int, shares: Shares) -> tuple[Box, int]:
        """The box and the plane of an object on the lower edge of the picture."""
        depth = self._small_depth(background)
        valid = depth[depth > 0]
        if not len(valid):
            raise DatasetError(f"background {background} has no valid depth")
        plane = self._rule.plane(valid, shares.nearness)
        shape = self._full_set.foreground_shapes[wanted.foreground]
        least, most = (max(1, limit * shape[0] // max(shape)) for limit in self._limits)
        height = wanted.height_mm * self._focal // (plane * FOCAL_STEPS)
        if height < least:
            height = least
            plane = max(1, wanted.height_mm * self._focal // (height * FOCAL_STEPS))
        height = min(height, most)
        width = min(self._side, int(self._widths(np.array(height), wanted.foreground)))
        x = int(shares.x * (self._side - width + 1))
        return (x, self._side - height, width, height), plane


def _tries(count: int, shares: Shares) -> list[int]:
    """Places of some of `count` spots, drawn: one after another in steps of one length."""
    if count == 0:
        return []
    first, step = int(shares.x * count), 1 + int(shares.y * (count - 1))
    return [(first + number * step) % count for number in range(min(count, SPOTS_TRIED))]


def _foot(alpha: np.ndarray) -> int:
    """The middle of a cut-out's foot, uint8 (h,w), from the left, in FOOT_STEPS of its width."""
    lowest = alpha[-max(1, len(alpha) // FOOT_ROWS) :].sum(0, dtype=np.int64)
    middles = 2 * np.arange(len(lowest)) + 1
    total = max(1, int(lowest.sum()))
    return int((lowest * middles).sum()) * FOOT_STEPS // (2 * len(lowest) * total)
