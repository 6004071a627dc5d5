"""What cut-outs are made of: a figure that grows part by part, and the paints of its parts.

Figures stand on z = 0 and look towards -y; units are free.
"""

import numpy as np

from dsetkit.demo.scenes.palette import colour, mix, vary
from dsetkit.demo.scenes.solids import Egg, Limb, Paint, Part, Ring, Slab, SoftShape, Turned
from dsetkit.demo.scenes.textures import noise

HUES = ("#c8553d #e0a63e #5d8a66 #3d7c98 #8c5a8f #d98e9b #4a5a8c #d9773d #6fa8a0 #b8434f").split()
SKINS = ("#f0c8a0", "#d9a074", "#a86f48", "#6b4430")
COATS = ("#8a5a36", "#c8965a", "#3a3430", "#d8c8b0", "#70675f", "#b06a30")
WHITE, BLACK = colour("#f2eee6"), colour("#18181c")
GREEN, BARK, STEEL, GOLD = (colour(c) for c in ("#4c7f3c", "#6b4a30", "#9aa0a6", "#d9a441"))
X, Y, Z = np.eye(3)

Point = np.ndarray | tuple[float, float, float]
Colour = np.ndarray | Paint


class Figure:
    """Parts, added one after another, and how to look at them.

    `look` goes to solids.Part: blend, cut, gloss, opacity, glow, fur.

    Args:
        turn: widest turn to either side [degrees].
        pitch: range of looking down [degrees].
    """

    def __init__(self, *, turn: float = 180, pitch: tuple[float, float] = (8, 30)):
        self.parts: list[Part] = []
        self.turn = turn
        self.pitch = pitch

    def egg(
        self, paint: Colour, centre: Point, half: float | Point, *, along: Point = Z, **look: float
    ) -> None:
        """A ball or an ellipsoid; `along` is where its third half-axis points."""
        half = (half,) * 3 if np.isscalar(half) else half
        self._add(Egg(_floats(half)), paint, centre, along, look)

    def limb(
        self,
        paint: Colour,
        start: Point,
        end: Point,
        low: float,
        high: float | None = None,
        **look: float,
    ) -> None:
        """A round-ended rod from `start` (radius `low`) to `end` (radius `high`)."""
        start, end = np.array(start, float), np.array(end, float)
        shape = Limb(float(np.linalg.norm(end - start)), low, low if high is None else high)
        self._add(shape, paint, (start + end) / 2, end - start, look)

    def slab(
        self, paint: Colour, centre: Point, half: Point, rounding: float = 0.03, **look: float
    ) -> None:
        self._add(Slab(_floats(half), rounding), paint, centre, Z, look)

    def ring(
        self,
        paint: Colour,
        centre: Point,
        radius: float,
        thick: float,
        *,
        along: Point = Z,
        **look: float,
    ) -> None:
        """A torus; `along` is its axis."""
        self._add(Ring(float(radius), float(thick)), paint, centre, along, look)

    def turned(
        self, paint: Colour, height: float, radii: Point, *, base: float = 0.0, **look: float
    ) -> None:
        """From the lathe: an upright shape on the z axis, from z = `base` up."""
        centre = (0, 0, base + height / 2)
        self._add(Turned(float(height), _floats(radii)), paint, centre, Z, look)

    def eye(self, centre: Point, radius: float) -> None:
        """Black, with a bright spot."""
        spot = np.array(centre) + radius * np.array([0.45, -0.75, 0.45])
        self.egg(BLACK, centre, radius, gloss=1.0)
        self.egg(WHITE, spot, radius * 0.28, glow=0.6)

    def leaf(self, paint: Colour, start: np.ndarray, end: np.ndarray, wide: float) -> None:
        """A flat blade with its face turned up."""
        shape = Egg((wide, 0.016, float(np.linalg.norm(end - start)) * 0.75))
        self._add(shape, paint, (start + end) / 2, end - start, {"blend": 0.01})

    def _add(
        self, shape: SoftShape, paint: Colour, centre: Point, along: Point, look: dict[str, float]
    ) -> None:
        self.parts.append(Part(shape, paint, np.array(centre, float), _frame(along), **look))


def _frame(direction: Point) -> np.ndarray:
    """Axes (3, 3) as columns: the third along `direction`, the first level."""
    z = np.asarray(direction, float) / np.linalg.norm(direction)
    x = np.cross(z, Z) if abs(z[2]) < 0.999 else X
    x = x / np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


def _floats(values: Point) -> tuple[float, ...]:
    """Plain floats: they leave float32 arrays float32."""
    return tuple(float(value) for value in values)


# --- paints ------------------------------------------------------------------------------------


def pick(rng: np.random.Generator, codes: tuple[str, ...] | list[str] = HUES) -> np.ndarray:
    """One of the colours, a little varied."""
    return vary(rng, colour(codes[rng.integers(len(codes))]), 0.12)


def speckled(
    rng: np.random.Generator,
    base: np.ndarray,
    *,
    amount: float = 0.08,
    texel: float | tuple[float, float] = 0.01,
) -> Paint:
    """Uneven, as peel or wool."""
    shift = rng.uniform(0, 9)

    def paint(points: np.ndarray) -> np.ndarray:
        x, y, z = points
        return base * (1 + amount * noise(x + shift, z + 0.7 * y, texel=texel))[:, None]

    return paint


def banded(base: np.ndarray, second: np.ndarray, low: float, high: float) -> Paint:
    """`second` between two heights z, counted from the middle of the part."""

    def paint(points: np.ndarray) -> np.ndarray:
        return np.where(((points[2] > low) & (points[2] < high))[:, None], second, base)

    return paint


def segmented(base: np.ndarray, second: np.ndarray, *, count: int) -> Paint:
    """Alternating slices around z."""

    def paint(points: np.ndarray) -> np.ndarray:
        share = np.clip(8 * np.sin(count * np.arctan2(points[1], points[0])) + 0.5, 0, 1)
        return mix(base, second, share[:, None])

    return paint


def striped(base: np.ndarray, second: np.ndarray) -> Paint:
    """Soft stripes across x."""

    def paint(points: np.ndarray) -> np.ndarray:
        share = np.clip(6 * np.sin(28 * points[0]) + 0.5, 0, 1)
        return mix(base, second, 0.7 * share[:, None])

    return paint


def spotted(
    rng: np.random.Generator, base: np.ndarray, second: np.ndarray, *, count: int, radius: float
) -> Paint:
    """Round spots of half-angle `radius` [rad] in evenly scattered directions."""
    turn = np.arange(count) * 2.4 + rng.uniform(0, 6)  # 2.4 rad, about the golden angle
    height = 1 - 2 * (np.arange(count) + 0.5) / count
    across = np.sqrt(1 - height**2)
    directions = np.stack([across * np.cos(turn), across * np.sin(turn), height], axis=1)

    def paint(points: np.ndarray) -> np.ndarray:
        unit = points / np.maximum(np.linalg.norm(points, axis=0), 1e-6)
        closest = (directions.astype(np.float32) @ unit).max(axis=0)
        return np.where((closest > np.cos(radius))[:, None], second, base)

    return paint
