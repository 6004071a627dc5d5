"""The floor of a background, found in its depth.

A pinhole camera sees a plane as an inverse depth that is affine in the pixel:

    1 / depth = a * column + b * row + c

and (a f, b f, c), with f the focal length [px], is the plane's normal over its distance. So each
window of the depth proposes the plane that fits it best, by least squares. A proposal is a floor
if it is level within limits, and below the camera by a height at which people hold one. Pixels
stand on it where their inverse depth is that of the plane, and grows downwards as that of the plane
does, which the pixels of a wall that crosses it do not. The floor with most pixels is taken, and
fitted once more to all of them. The top of a table is a floor too, where it is what one sees.

Sums are whole numbers and the few divisions are IEEE's, so every machine finds the same floor.
"""

from collections.abc import Iterator
from itertools import product
from math import sqrt
from typing import NamedTuple

import numpy as np

INVERSE = 1 << 24  # inverse depths are whole numbers: this divided by millimetres
WINDOW, STEP = 8, 4  # side of a window, and from one to the next [px]
UPRIGHT, SIDEWAYS = 0.8, 0.25  # the normal's part along the image's vertical; most across
CAMERA_MM = (300, 2500)  # height of the camera above the floor
TOLERANCE = 0.04  # of the inverse depth of a pixel of the floor
SLOPES = (0.4, 2.5)  # its growth downwards, as a share of the plane's
REACH = 2  # rows above and below a pixel between which that growth is measured
LEAST_SHARE = 0.02  # of the pixels; less is no floor


class _Plane(NamedTuple):
    """Inverse depth = a * column + b * row + c, both counted from the centre."""

    a: float
    b: float
    c: float

    def is_floor(self, focal_px: float) -> bool:
        """Whether it is nearly level, and as far below the camera as floors are."""
        across, down, ahead = self.a * focal_px, self.b * focal_px, self.c
        length = sqrt(across * across + down * down + ahead * ahead)
        if down < UPRIGHT * length or abs(across) > SIDEWAYS * length:
            return False
        return CAMERA_MM[0] * length <= INVERSE <= CAMERA_MM[1] * length


def floor_pixels(depth: np.ndarray, *, focal_px: float) -> np.ndarray:
    """The pixels of the floor.

    Args:
        depth: Stored metric depth, uint16 (h,w) [mm], 0 = invalid; a small map is enough.
        focal_px: Focal length at its size [px].

    Returns:
        bool (h,w); all False where there is no floor.
    """
    inverse = _Inverse(depth)
    best = np.zeros(depth.shape, bool)
    for plane in inverse.proposals():
        if plane.is_floor(focal_px):
            pixels = inverse.pixels_of(plane)
            if np.count_nonzero(pixels) > np.count_nonzero(best):
                best = pixels
    whole = inverse.fitted(best)
    if whole is not None and whole.is_floor(focal_px):
        best = inverse.pixels_of(whole)
    return best if best.mean() >= LEAST_SHARE else np.zeros_like(best)


class _Inverse:
    """The inverse depth of a map, and planes fitted to parts of it."""

    def __init__(self, depth: np.ndarray) -> None:
        height, width = depth.shape
        self._valid = depth > 0
        self._values = INVERSE // np.maximum(depth, 1).astype(np.int64) * self._valid
        self._rows, self._columns = np.mgrid[:height, :width]
        self._rows -= height // 2
        self._columns -= width // 2
        padded = np.pad(self._values, ((REACH, REACH), (0, 0)), "edge")
        self._growth = padded[2 * REACH :] - padded[: -2 * REACH]
        inner = slice(REACH, max(REACH + 1, height - REACH))
        self._growth[:REACH] = self._growth[inner][0]
        self._growth[-REACH:] = self._growth[inner][-1]

    def pixels_of(self, plane: _Plane) -> np.ndarray:
        """The pixels that stand on a plane, bool (h,w)."""
        expected = plane.a * self._columns + plane.b * self._rows + plane.c
        growth = 2 * REACH * plane.b
        return (
            self._valid
            & (np.abs(self._values - expected) <= TOLERANCE * expected)
            & (self._growth >= SLOPES[0] * growth)
            & (self._growth <= SLOPES[1] * growth)
        )

    def fitted(self, pixels: np.ndarray) -> _Plane | None:
        """The plane that fits some pixels, bool (h,w); None if they are on one line."""
        return _solved([int(term[pixels].sum()) for term in self._terms()])

    def proposals(self) -> Iterator[_Plane]:
        """The plane of each window of which at least half is valid."""
        sums = np.stack([np.pad(term, ((1, 0), (1, 0))) for term in self._terms()])
        sums = sums.cumsum(1).cumsum(2)  # (9, h+1, w+1)
        height, width = self._values.shape
        corners = product(range(0, height - WINDOW + 1, STEP), range(0, width - WINDOW + 1, STEP))
        for y, x in corners:
            upper, lower = sums[:, y], sums[:, y + WINDOW]
            here = lower[:, x + WINDOW] - lower[:, x] - upper[:, x + WINDOW] + upper[:, x]
            if here[5] * 2 >= WINDOW * WINDOW:
                plane = _solved(here.tolist())
                if plane is not None:
                    yield plane

    def _terms(self) -> tuple[np.ndarray, ...]:
        """What the normal equations sum up, int64 (h,w) each."""
        u, v, q = self._columns, self._rows, self._values
        one = self._valid.astype(np.int64)
        return u * u * one, u * v * one, u * one, v * v * one, v * one, one, u * q, v * q, q


def _solved(sums: list[int]) -> _Plane | None:
    """The least-squares plane from the sums of `_Inverse._terms`, by Cramer's rule."""
    uu, uv, u, vv, v, one, uq, vq, q = sums
    matrix, right = ((uu, uv, u), (uv, vv, v), (u, v, one)), (uq, vq, q)
    whole = _determinant(matrix)
    if whole == 0:
        return None
    replaced = (
        tuple((*row[:i], value, *row[i + 1 :]) for row, value in zip(matrix, right, strict=True))
        for i in range(3)
    )
    return _Plane(*(_determinant(rows) / whole for rows in replaced))


def _determinant(rows: tuple[tuple[int, ...], ...]) -> int:
    (a, b, c), (d, e, f), (g, h, i) = rows
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
