"""A cut-out over a background, composite and mask: no files, no randomness, exact rounding.

    C = alpha * F + (1 - alpha) * B        (Porter & Duff 1984, "over", straight alpha)

Colours are premultiplied before any resize, or the colour behind transparent pixels would bleed
into the edge as a fringe. Resizing every cut-out from its original size would cost 5 to 40 times
more than the composite itself, so each one is kept as a pyramid of area-filtered levels.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import cv2
import numpy as np

LEVEL_STEP = sqrt(2)  # the last resize shrinks by less than this, where linear needs no area filter
SMALLEST_LEVEL = 8  # px, longer side


def premultiply(rgba: np.ndarray) -> np.ndarray:
    """Straight RGBA uint8 (H,W,4) -> colours times alpha, uint8."""
    colours = _times(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), rgba[..., 3])
    return np.dstack([colours, rgba[..., 3]])


def _times(colours: np.ndarray, share: np.ndarray) -> np.ndarray:
    """round(colours * share / 255): uint8 (h,w,3) times uint8 (h,w).

    OpenCV multiplies in float32, yet the result is exact: a product over 255 is never nearer than
    1/510 to a rounding border. A test tries all pairs.
    """
    return cv2.multiply(colours, cv2.cvtColor(share, cv2.COLOR_GRAY2RGB), scale=1 / 255)


def fitting_level(sides: Iterable[int], wanted: int) -> int:
    """The smallest level to shrink from: the last whose longer side is not below the wanted one.

    Args:
        sides: Longer side of each level, the largest first [px].
        wanted: Longer side of what shall be drawn [px]; above all others it takes the first level.
    """
    fitting = 0
    for number, side in enumerate(sides):
        if side < wanted:
            break
        fitting = number
    return fitting


@dataclass(frozen=True)
class ForegroundPyramid:
    """A cut-out at falling sizes, premultiplied: levels[0] is the largest, uint8 (h,w,4)."""

    levels: tuple[np.ndarray, ...]

    @classmethod
    def build(cls, rgba: np.ndarray) -> "ForegroundPyramid":
        """The pyramid of a straight RGBA cut-out, uint8 (h,w,4)."""
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
        """Longer side of each level [px]."""
        return tuple(max(level.shape[:2]) for level in self.levels)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the largest level [px]."""
        return self.levels[0].shape[:2]

    def at(self, width: int, height: int) -> np.ndarray:
        """The cut-out at a size: premultiplied uint8 (height, width, 4)."""
        level = self.levels[fitting_level(self.sides, max(width, height))]
        if level.shape[:2] == (height, width):
            return level
        # Bit-exact interpolation: the same pixels on every machine.
        return cv2.resize(level, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)


def place(
    foreground: ForegroundPyramid,
    box: tuple[int, int, int, int],
    *,
    flip: bool,
    image: np.ndarray,
    mask: np.ndarray,
) -> None:
    """Draws a cut-out over what is there.

    Args:
        foreground: The cut-out's pyramid.
        box: x, y, width, height of where it goes, inside the canvas [px].
        flip: Mirror it left to right.
        image: The background, uint8 (H,W,3) RGB; becomes the composite.
        mask: Zeros, uint8 (H,W); becomes the placed alpha.
    """
    x, y, width, height = box
    placed = foreground.at(width, height)
    if flip:
        placed = cv2.flip(placed, 1)
    rows, columns = slice(y, y + height), slice(x, x + width)
    image[rows, columns] = alpha_over(image[rows, columns], placed)
    mask[rows, columns] = placed[..., 3]


def scaled_box(
    box: tuple[int, int, int, int], canvas: tuple[int, int], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """A box of a (height, width) canvas on one of another size; its edges move by rounding only."""
    x, y, width, height = box
    across, down = size[1] / canvas[1], size[0] / canvas[0]
    left, top = (round(near * share) for near, share in ((x, across), (y, down)))
    right, bottom = (round(far * share) for far, share in ((x + width, across), (y + height, down)))
    left, top = min(left, size[1] - 1), min(top, size[0] - 1)
    return left, top, max(1, right - left), max(1, bottom - top)


def alpha_over(background: np.ndarray, premultiplied: np.ndarray) -> np.ndarray:
    """A premultiplied RGBA cut-out over a background of the same size: uint8 (h,w,3).

    The sum cannot exceed 255: a premultiplied colour is at most its alpha.
    """
    behind = _times(background, cv2.bitwise_not(premultiplied[..., 3]))
    return cv2.add(behind, cv2.cvtColor(premultiplied, cv2.COLOR_RGBA2RGB))
