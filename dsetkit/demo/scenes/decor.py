"""What furniture is put together from: a room's colours, boards and rods, small things on top."""

from dataclasses import dataclass

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
    """The colours of one room, linear RGB, and the generator that picks among them."""

    rng: np.random.Generator
    accents: list[np.ndarray]  # of cloth and small things
    woods: list[np.ndarray]

    def accent(self) -> np.ndarray:
        return vary(self.rng, self.accents[self.rng.integers(len(self.accents))], 0.12)

    def board(self) -> np.ndarray:
        return vary(self.rng, self.woods[self.rng.integers(len(self.woods))], 0.1)

    def cloth(self) -> Texture:
        return textures.fabric(self.rng, self.accent())

    def paint(self, base: np.ndarray | None = None) -> Texture:
        """Of colour `base`, else of one of the accents."""
        return textures.plain(self.rng, self.accent() if base is None else base)

    def wood(self, base: np.ndarray | None = None, *, along: str = "u") -> Texture:
        return textures.wood(self.rng, self.board() if base is None else base, along=along)


class Assembly:
    """Solids, added one after another. `paint` goes to Solid: faces, glow."""

    def __init__(self) -> None:
        self.solids: list[Solid] = []

    def block(self, texture: Texture, x: Span, y: Span, z: Span, **paint) -> None:
        """A box by its three extents."""
        self.solids.append(Solid(Box((x[0], y[0], z[0]), (x[1], y[1], z[1])), texture, **paint))

    def cone(
        self, texture: Texture, base: Point, height: float, low: float, high: float, **paint
    ) -> None:
        """Upright, of radius `low` at its base and `high` at its top."""
        self.solids.append(Solid(Cone(base, height, low, high), texture, **paint))

    def egg(self, texture: Texture, centre: Point, radii: Point, **paint) -> None:
        self.solids.append(Solid(Ellipsoid(centre, radii), texture, **paint))

    def legs(self, texture: Texture, x: float, y: Span, height: float, thick: float) -> None:
        """Four, under a board that spans -x..x and y."""
        for left in (-x, x - thick):
            for back in (y[0], y[1] - thick):
                self.block(texture, (left, left + thick), (back, back + thick), (0, height))

    def item(self, *, casts_shadow: bool = True) -> Item:
        return Item(tuple(self.solids), casts_shadow=casts_shadow)


# --- small things ------------------------------------------------------------------------------


def ornaments(decor: Decor, piece: Assembly, x: Span, y: float, z: float) -> None:
    """A few small things side by side on a board at height `z`."""
    rng, makers = decor.rng, (_vase, _bowl, _book_stack, _table_lamp)
    places = np.arange(x[0] + 0.18, x[1] - 0.17, 0.42)
    for place in places[rng.random(places.size) < 0.5]:
        maker = makers[rng.integers(len(makers))]
        maker(decor, piece, (place + rng.uniform(-0.04, 0.04), y, z))


def foliage(decor: Decor, piece: Assembly, at: Point, reach: float, *, count: int) -> None:
    """A cloud of leaf clumps around `at`."""
    rng = decor.rng
    for _ in range(count):
        centre = np.array(at) + rng.normal(0, 0.5, 3) * reach
        radii = rng.uniform(0.25, 0.55, 3) * reach
        piece.egg(textures.carpet(rng, vary(rng, LEAF, 0.2)), tuple(centre), tuple(radii))


def _vase(decor: Decor, piece: Assembly, at: Point) -> None:
    rng, (x, y, z) = decor.rng, at
    glaze, radius, height = decor.paint(), rng.uniform(0.05, 0.08), rng.uniform(0.08, 0.16)
    piece.cone(glaze, at, height, radius * 0.6, radius)
    piece.cone(glaze, (x, y, z + height), height * 0.7, radius, radius * 0.4)
    if rng.random() < 0.6:
        foliage(decor, piece, (x, y, z + 1.7 * height + 0.08), 0.13, count=7)


def _bowl(decor: Decor, piece: Assembly, at: Point) -> None:
    """With fruit."""
    (x, y, z), fruit = at, decor.paint()
    piece.cone(decor.paint(vary(decor.rng, CREAM, 0.1)), at, 0.07, 0.06, 0.14)
    for angle in np.arange(3) * 2 * np.pi / 3:
        place = (x + 0.055 * np.cos(angle), y + 0.055 * np.sin(angle), z + 0.085)
        piece.egg(fruit, place, (0.045, 0.045, 0.042))


def _book_stack(decor: Decor, piece: Assembly, at: Point) -> None:
    rng, (x, y, z) = decor.rng, at
    for _ in range(rng.integers(2, 5)):
        half, thick = rng.uniform(0.07, 0.11), rng.uniform(0.02, 0.04)
        piece.block(decor.paint(), (x - half, x + half), (y - 0.07, y + 0.07), (z, z + thick))
        z += thick


def _table_lamp(decor: Decor, piece: Assembly, at: Point) -> None:
    x, y, z = at
    piece.cone(decor.paint(), at, 0.22, 0.06, 0.03)
    piece.cone(decor.paint(LAMPLIGHT), (x, y, z + 0.22), 0.2, 0.15, 0.1, glow=0.8)
