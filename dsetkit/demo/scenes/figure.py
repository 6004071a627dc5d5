"""Builds the figures of cut-outs part by part, and the paints of the parts.

Figures stand on z = 0 and face -y. Lengths have no fixed unit.
"""

from collections.abc import Sequence
from typing import TypedDict, Unpack

import numpy as np

from dsetkit.demo.scenes.noise import noise
from dsetkit.demo.scenes.palette import colour, mix, vary
from dsetkit.demo.scenes.solids import (
    Capsule,
    Lathe,
    Paint,
    Part,
    RoundedBox,
    SoftEllipsoid,
    SoftShape,
    Torus,
)

HUES = ("#c8553d #e0a63e #5d8a66 #3d7c98 #8c5a8f #d98e9b #4a5a8c #d9773d #6fa8a0 #b8434f").split()
SKINS = ("#f0c8a0", "#d9a074", "#a86f48", "#6b4430")
COATS = ("#8a5a36", "#c8965a", "#3a3430", "#d8c8b0", "#70675f", "#b06a30")
WHITE, BLACK = colour("#f2eee6"), colour("#18181c")
GREEN, BARK, STEEL, GOLD = (colour(c) for c in ("#4c7f3c", "#6b4a30", "#9aa0a6", "#d9a441"))
X, Y, Z = np.eye(3)

Point = np.ndarray | tuple[float, float, float]
Colour = np.ndarray | Paint


class Finish(TypedDict, total=False):
    """Fields of `Part` that several parts of a figure often share."""

    gloss: float
    fur: float


class Look(Finish, total=False):
    """The fields of `Part` that have a default."""

    blend: float
    cut: bool
    opacity: float
    glow: float


class Figure:
    """A list of parts, and the angles from which to draw them.

    Each method adds one part, which acts on the parts before it. `paint` is its colour, and `look`
    sets the optional fields of `Part`.

    Args:
        turn: greatest rotation to either side [degrees].
        pitch: range of angles from which the viewer looks down [degrees].
    """

    def __init__(self, *, turn: float = 180, pitch: tuple[float, float] = (8, 30)) -> None:
        self.parts: list[Part] = []
        self.turn = turn
        self.pitch = pitch

    def ellipsoid(
        self,
        paint: Colour,
        centre: Point,
        half: float | Point,
        *,
        along: Point = Z,
        **look: Unpack[Look],
    ) -> None:
        """Add a ball of radius `half`, or an ellipsoid with these half-axes.

        The third half-axis points in the direction `along`.
        """
        x, y, z = (half, half, half) if isinstance(half, float | int) else half
        self._add(SoftEllipsoid((float(x), float(y), float(z))), paint, centre, along, look)

    def limb(
        self,
        paint: Colour,
        start: Point,
        end: Point,
        low: float,
        high: float | None = None,
        **look: Unpack[Look],
    ) -> None:
        """Add a rod with round ends, from `start` (radius `low`) to `end` (radius `high`)."""
        first, last = np.array(start, float), np.array(end, float)
        shape = Capsule(float(np.linalg.norm(last - first)), low, low if high is None else high)
        self._add(shape, paint, (first + last) / 2, last - first, look)

    def slab(
        self,
        paint: Colour,
        centre: Point,
        half: Point,
        rounding: float = 0.03,
        **look: Unpack[Look],
    ) -> None:
        """Add a box of half-size `half`; the radius of its edges is `rounding`."""
        x, y, z = half
        self._add(RoundedBox((float(x), float(y), float(z)), rounding), paint, centre, Z, look)

    def ring(
        self,
        paint: Colour,
        centre: Point,
        radius: float,
        thick: float,
        *,
        along: Point = Z,
        **look: Unpack[Look],
    ) -> None:
        """Add a torus around the axis `along`; `thick` is the radius of its tube."""
        self._add(Torus(float(radius), float(thick)), paint, centre, along, look)

    def lathe(
        self,
        paint: Colour,
        height: float,
        radii: Sequence[float] | np.ndarray,
        *,
        base: float = 0.0,
        **look: Unpack[Look],
    ) -> None:
        """Add a solid of revolution around the z axis, from z = `base` up.

        `radii` are its radii at equal steps of z.
        """
        centre = (0, 0, base + height / 2)
        shape = Lathe(float(height), tuple(float(radius) for radius in radii))
        self._add(shape, paint, centre, Z, look)

    def eye(self, centre: Point, radius: float) -> None:
        """Add a black ball with a bright spot."""
        spot = np.array(centre) + radius * np.array([0.45, -0.75, 0.45])
        self.ellipsoid(BLACK, centre, radius, gloss=1.0)
        self.ellipsoid(WHITE, spot, radius * 0.28, glow=0.6)

    def leaf(self, paint: Colour, start: np.ndarray, end: np.ndarray, wide: float) -> None:
        """Add a flat blade from `start` to `end` that faces up."""
        shape = SoftEllipsoid((wide, 0.016, float(np.linalg.norm(end - start)) * 0.75))
        self._add(shape, paint, (start + end) / 2, end - start, {"blend": 0.01})

    def _add(
        self, shape: SoftShape, paint: Colour, centre: Point, along: Point, look: Look
    ) -> None:
        self.parts.append(Part(shape, paint, np.array(centre, float), _frame(along), **look))


def _frame(direction: Point) -> np.ndarray:
    """Return axes (3, 3) as columns: the third along `direction`, the first horizontal."""
    z = np.asarray(direction, float) / np.linalg.norm(direction)
    x = np.cross(z, Z) if abs(z[2]) < 0.999 else X
    x = x / np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


# --- paints ------------------------------------------------------------------------------------


def pick(rng: np.random.Generator, codes: tuple[str, ...] | list[str] = HUES) -> np.ndarray:
    """Choose one of the colours and vary it slightly."""
    return vary(rng, colour(codes[rng.integers(len(codes))]), 0.12)


def speckled(
    rng: np.random.Generator,
    base: np.ndarray,
    *,
    amount: float = 0.08,
    texel: float | tuple[float, float] = 0.01,
) -> Paint:
    """Paint of uneven brightness, like peel or wool; `texel` is the size of the speckles."""
    shift = rng.uniform(0, 9)

    def paint(points: np.ndarray) -> np.ndarray:
        x, y, z = points
        return base * (1 + amount * noise(x + shift, z + 0.7 * y, texel=texel))[:, None]

    return paint


def banded(base: np.ndarray, second: np.ndarray, low: float, high: float) -> Paint:
    """Paint with `second` between the heights `low` and `high` above the centre of the part."""

    def paint(points: np.ndarray) -> np.ndarray:
        return np.where(((points[2] > low) & (points[2] < high))[:, None], second, base)

    return paint


def segmented(base: np.ndarray, second: np.ndarray, *, count: int) -> Paint:
    """Paint with alternating slices around z, `count` of each colour."""

    def paint(points: np.ndarray) -> np.ndarray:
        share = np.clip(8 * np.sin(count * np.arctan2(points[1], points[0])) + 0.5, 0, 1)
        return mix(base, second, share[:, None])

    return paint


def striped(base: np.ndarray, second: np.ndarray) -> Paint:
    """Paint with soft stripes along x."""

    def paint(points: np.ndarray) -> np.ndarray:
        share = np.clip(6 * np.sin(28 * points[0]) + 0.5, 0, 1)
        return mix(base, second, 0.7 * share[:, None])

    return paint


def spotted(
    rng: np.random.Generator, base: np.ndarray, second: np.ndarray, *, count: int, radius: float
) -> Paint:
    """Paint with round spots of half-angle `radius` [rad] in evenly spread directions."""
    turn = np.arange(count) * 2.4 + rng.uniform(0, 6)  # 2.4 rad, about the golden angle
    height = 1 - 2 * (np.arange(count) + 0.5) / count
    across = np.sqrt(1 - height**2)
    directions = np.stack([across * np.cos(turn), across * np.sin(turn), height], axis=1)

    def paint(points: np.ndarray) -> np.ndarray:
        unit = points / np.maximum(np.linalg.norm(points, axis=0), 1e-6)
        closest = (directions.astype(np.float32) @ unit).max(axis=0)
        return np.where((closest > np.cos(radius))[:, None], second, base)

    return paint
