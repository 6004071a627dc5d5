"""Placing a foreground over a background, with exact rounding.

    C = alpha * F + (1 - alpha) * B        (Porter & Duff 1984, "over", straight alpha)

Colours are premultiplied before any resize. Otherwise the colours of transparent pixels would show
as a fringe at the edge. Resizing a foreground from its original size takes 5 to 40 times as long
as compositing it. So each foreground is kept as a pyramid of area-filtered levels.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import cv2
import numpy as np

# Each level is smaller than the one above by this factor. The final resize of a level shrinks it by
# less than this, and there a linear filter is as good as an area filter.
LEVEL_STEP = sqrt(2)
SMALLEST_LEVEL = 8  # px, longer side

Box = tuple[int, int, int, int]  # x, y, width, height [px]


def premultiply(rgba: np.ndarray) -> np.ndarray:
    """Multiplies the colours of straight RGBA, uint8 (H,W,4), by alpha / 255; the same shape."""
    colours = _times(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), rgba[..., 3])
    return np.dstack([colours, rgba[..., 3]])


def _times(colours: np.ndarray, share: np.ndarray) -> np.ndarray:
    """round(colours * share / 255): uint8 (h,w,3) times uint8 (h,w).

    OpenCV multiplies in float32, but the result is exact: a product divided by 255 is at least
    1/510 away from the nearest half. A test tries all pairs.
    """
    return cv2.multiply(colours, cv2.cvtColor(share, cv2.COLOR_GRAY2RGB), scale=1 / 255)


def fitting_level(sides: Iterable[int], wanted: int) -> int:
    """The number of the smallest level whose longer side is at least `wanted`.

    Args:
        sides: Longer side of each level, the largest first [px].
        wanted: Longer side of the placed foreground [px]. If it is larger than all levels, the
            result is 0, the largest level.
    """
    fitting = 0
    for number, side in enumerate(sides):
        if side < wanted:
            break
        fitting = number
    return fitting


@dataclass(frozen=True)
class ForegroundPyramid:
    """A foreground at several sizes.

    Attributes:
        levels: Premultiplied RGBA, uint8 (h,w,4) each, the largest first.
    """

    levels: tuple[np.ndarray, ...]

    @classmethod
    def build(cls, rgba: np.ndarray) -> "ForegroundPyramid":
        """Builds the pyramid of a foreground, uint8 (h,w,4) straight RGBA."""
        levels = [premultiply(rgba)]
        height, width = rgba.shape[:2]
        shrink = LEVEL_STEP
        while max(height, width) / shrink >= SMALLEST_LEVEL:
            size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
            levels.append(cv2.resize(levels[0], size, interpolation=cv2.INTER_AREA))
            shrink *= LEVEL_STEP
        return cls(tuple(levels))

    @cached_property
    def sides(self) -> tuple[int, ...]:
        """The longer side of each level [px]."""
        return tuple(max(level.shape[:2]) for level in self.levels)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the largest level [px]."""
        height, width, _ = self.levels[0].shape
        return height, width

    def at(self, width: int, height: int) -> np.ndarray:
        """The foreground at a size [px]: premultiplied RGBA, uint8 (height,width,4)."""
        level = self.levels[fitting_level(self.sides, max(width, height))]
        if level.shape[:2] == (height, width):
            return level
        # This interpolation is bit-exact: it gives the same pixels on every machine.
        return cv2.resize(level, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)


def place(
    foreground: ForegroundPyramid,
    box: Box,
    *,
    flip: bool,
    image: np.ndarray,
    retouch: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Composites a foreground over an image, in place.

    Args:
        foreground: The pyramid of the foreground.
        box: Where to place it, inside the image.
        flip: Whether to mirror it left to right.
        image: The background, or a composite, uint8 (H,W,3) RGB; becomes the composite.
        retouch: Changes the foreground, premultiplied RGBA uint8 (height,width,4) as it fills the
            box; None leaves it as it is.

    Returns:
        The foreground's alpha in the box: uint8 (height,width).
    """
    x, y, width, height = box
    placed = foreground.at(width, height)
    if flip:
        placed = cv2.flip(placed, 1)
    if retouch is not None:
        placed = retouch(placed)
    return alpha_over(image[y : y + height, x : x + width], placed)


def covered(mask: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The alpha of two foregrounds together, the second in front of the first.

    Args:
        mask: Alpha of the first, uint8 (H,W).
        alpha: Alpha of the second, uint8 (H,W).

    Returns:
        uint8 (H,W).
    """
    behind = cv2.multiply(mask, cv2.bitwise_not(alpha), scale=1 / 255)
    return cv2.add(behind, alpha)


def scaled_box(box: Box, canvas: tuple[int, int], size: tuple[int, int]) -> Box:
    """Scales a box from one canvas to another. Its edges are rounded to whole pixels.

    Args:
        box: A box inside `canvas`.
        canvas: (height, width) of the box's canvas [px].
        size: (height, width) of the other canvas [px].

    Returns:
        A box inside `size`, at least 1 px wide and high.
    """
    x, y, width, height = box
    across, down = size[1] / canvas[1], size[0] / canvas[0]
    left, top = (round(near * share) for near, share in ((x, across), (y, down)))
    right, bottom = (round(far * share) for far, share in ((x + width, across), (y + height, down)))
    left, top = min(left, size[1] - 1), min(top, size[0] - 1)
    return left, top, max(1, right - left), max(1, bottom - top)


def alpha_over(image: np.ndarray, premultiplied: np.ndarray) -> np.ndarray:
    """Composites premultiplied RGBA over an image of the same size, in place.

    The sum cannot exceed 255, because a premultiplied colour is at most its alpha.

    Args:
        image: The background, uint8 (h,w,3) RGB, or a part of one; becomes the composite.
        premultiplied: uint8 (h,w,4).

    Returns:
        The alpha: uint8 (h,w).
    """
    alpha = cv2.extractChannel(premultiplied, 3)
    behind = _times(image, cv2.bitwise_not(alpha))
    cv2.add(behind, cv2.cvtColor(premultiplied, cv2.COLOR_RGBA2RGB), dst=image)
    return alpha
