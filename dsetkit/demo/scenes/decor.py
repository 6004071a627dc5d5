"""The building blocks of furniture: the colours of a room, solids, small things to put on top."""

from dataclasses import dataclass
from typing import TypedDict, Unpack

import numpy as np

from dsetkit.demo.scenes import textures
from dsetkit.demo.scenes.palette import colour, vary
from dsetkit.demo.scenes.primitives import Box, Cone, Ellipsoid
from dsetkit.demo.scenes.scene import Item, Solid
from dsetkit.demo.scenes.textures import Texture

STEEL, BLACK, CREAM = colour("#8d8f92"), colour("#1c1d20"), colour("#e9e6df")
LEAF, CLAY, LAMPLIGHT = colour("#4c7a3d"), colour("#b3694a"), colour("#ffe6b8")

Span = tuple[float, float]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Decor:
    """The colours of one room, and the generator that chooses among them."""

    rng: np.random.Generator
    accents: list[np.ndarray]  # linear RGB, for cloth and small things
    woods: list[np.ndarray]  # linear RGB

    def accent(self) -> np.ndarray:
        """Choose an accent colour and vary it slightly: linear RGB (3,)."""
        return vary(self.rng, self.accents[self.rng.integers(len(self.accents))], 0.12)

    def board(self) -> np.ndarray:
        """Choose a colour of wood and vary it slightly: linear RGB (3,)."""
        return vary(self.rng, self.woods[self.rng.integers(len(self.woods))], 0.1)

    def cloth(self) -> Texture:
        """Make woven cloth in an accent colour."""
        return textures.fabric(self.rng, self.accent())

    def paint(self, base: np.ndarray | None = None) -> Texture:
        """Make paint of the colour `base`, or of an accent colour."""
        return textures.plain(self.rng, self.accent() if base is None else base)

    def wood(self, base: np.ndarray | None = None, *, along: str = "u") -> Texture:
        """Make wood of the colour `base`, or of one of the room's, with its grain along u or v."""
        return textures.wood(self.rng, self.board() if base is None else base, along=along)


class Finish(TypedDict, total=False):
    """The fields of `Solid` that have a default."""

    faces: dict[int, Texture]
    glow: float


class Assembly:
    """A list of solids that become one item; lengths are in metres.

    `finish` sets the optional fields of `Solid`.
    """

    def __init__(self) -> None:
        self.solids: list[Solid] = []

    def block(self, texture: Texture, x: Span, y: Span, z: Span, **finish: Unpack[Finish]) -> None:
        """Add a box that spans these intervals."""
        self.solids.append(Solid(Box((x[0], y[0], z[0]), (x[1], y[1], z[1])), texture, **finish))

    def cone(
        self,
        texture: Texture,
        base: Point,
        height: float,
        low: float,
        high: float,
        **finish: Unpack[Finish],
    ) -> None:
        """Add an upright cone of radius `low` at its base and `high` at its top."""
        self.solids.append(Solid(Cone(base, height, low, high), texture, **finish))

    def ellipsoid(
        self, texture: Texture, centre: Point, radii: Point, **finish: Unpack[Finish]
    ) -> None:
        """Add an ellipsoid."""
        self.solids.append(Solid(Ellipsoid(centre, radii), texture, **finish))

    def legs(self, texture: Texture, x: float, y: Span, height: float, thick: float) -> None:
        """Add four legs under a board that spans -x..x and y."""
        for left in (-x, x - thick):
            for back in (y[0], y[1] - thick):
                self.block(texture, (left, left + thick), (back, back + thick), (0, height))

    def item(self, *, casts_shadow: bool = True) -> Item:
        """Return the solids as one item."""
        return Item(tuple(self.solids), casts_shadow=casts_shadow)


# --- small things ------------------------------------------------------------------------------


def ornaments(decor: Decor, piece: Assembly, x: Span, y: float, z: float) -> None:
    """Put a few small things side by side on a board at height `z`."""
    rng, makers = decor.rng, (_vase, _bowl, _book_stack, _table_lamp)
    positions = np.arange(x[0] + 0.18, x[1] - 0.17, 0.42)
    for position in positions[rng.random(positions.size) < 0.5]:
        maker = makers[rng.integers(len(makers))]
        maker(decor, piece, (position + rng.uniform(-0.04, 0.04), y, z))


def foliage(decor: Decor, piece: Assembly, centre: Point, spread: float, *, count: int) -> None:
    """Add `count` clumps of leaves around `centre`; `spread` scales their distance and size."""
    rng = decor.rng
    for _ in range(count):
        clump = np.array(centre) + rng.normal(0, 0.5, 3) * spread
        radii = rng.uniform(0.25, 0.55, 3) * spread
        piece.ellipsoid(textures.carpet(rng, vary(rng, LEAF, 0.2)), tuple(clump), tuple(radii))


def _vase(decor: Decor, piece: Assembly, base: Point) -> None:
    rng, (x, y, z) = decor.rng, base
    glaze, radius, height = decor.paint(), rng.uniform(0.05, 0.08), rng.uniform(0.08, 0.16)
    piece.cone(glaze, base, height, radius * 0.6, radius)
    piece.cone(glaze, (x, y, z + height), height * 0.7, radius, radius * 0.4)
    if rng.random() < 0.6:
        foliage(decor, piece, (x, y, z + 1.7 * height + 0.08), 0.13, count=7)


def _bowl(decor: Decor, piece: Assembly, base: Point) -> None:
    """Add a bowl of fruit."""
    (x, y, z), fruit = base, decor.paint()
    piece.cone(decor.paint(vary(decor.rng, CREAM, 0.1)), base, 0.07, 0.06, 0.14)
    for angle in np.arange(3) * 2 * np.pi / 3:
        centre = (x + 0.055 * np.cos(angle), y + 0.055 * np.sin(angle), z + 0.085)
        piece.ellipsoid(fruit, centre, (0.045, 0.045, 0.042))


def _book_stack(decor: Decor, piece: Assembly, base: Point) -> None:
    rng, (x, y, z) = decor.rng, base
    for _ in range(rng.integers(2, 5)):
        half, thick = rng.uniform(0.07, 0.11), rng.uniform(0.02, 0.04)
        piece.block(decor.paint(), (x - half, x + half), (y - 0.07, y + 0.07), (z, z + thick))
        z += thick


def _table_lamp(decor: Decor, piece: Assembly, base: Point) -> None:
    x, y, z = base
    piece.cone(decor.paint(), base, 0.22, 0.06, 0.03)
    piece.cone(decor.paint(LAMPLIGHT), (x, y, z + 0.22), 0.2, 0.15, 0.1, glow=0.8)
