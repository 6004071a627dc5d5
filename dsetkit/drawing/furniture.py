"""What stands in a room: each function builds one item out of boxes, cones and ellipsoids.

Items are built in their own frame: the back centre at the origin, x along the wall, the front towards +y, z up [m].
`width` is the room there is along the wall; an item may take less.
"""

from dataclasses import dataclass, replace

import numpy as np

from dsetkit.drawing import textures
from dsetkit.drawing.palette import colour, vary
from dsetkit.drawing.primitives import FRONT, Box, Cone, Ellipsoid
from dsetkit.drawing.scene import Item, Solid
from dsetkit.drawing.textures import Texture

METAL = colour("#8d8f92")
DARK = colour("#1c1d20")
PORCELAIN = colour("#e9e6df")
LEAF = colour("#4c7a3d")
CLAY = colour("#b3694a")
LAMPLIGHT = colour("#ffe6b8")


@dataclass(frozen=True)
class Style:
    """The colours of one room: `accents` for cloth and small things, `woods` for furniture; linear RGB."""

    accents: list[np.ndarray]
    woods: list[np.ndarray]

    def accent(self, rng: np.random.Generator) -> np.ndarray:
        return vary(rng, self.accents[rng.integers(len(self.accents))], 0.12)

    def cloth(self, rng: np.random.Generator) -> Texture:
        return textures.fabric(rng, self.accent(rng))

    def board(self, rng: np.random.Generator) -> np.ndarray:
        return vary(rng, self.woods[rng.integers(len(self.woods))], 0.1)


def block(texture: Texture, x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], **paint) -> Solid:
    """A box from its three extents; `paint` goes to Solid."""
    return Solid(Box((x[0], y[0], z[0]), (x[1], y[1], z[1])), texture, **paint)


def _legs(texture: Texture, x: float, y: tuple[float, float], height: float, thick: float) -> list[Solid]:
    """Four upright legs under a board that spans -x..x and y."""
    return [
        block(texture, (left, left + thick), (back, back + thick), (0, height))
        for left in (-x, x - thick)
        for back in (y[0], y[1] - thick)
    ]


# --- small things ------------------------------------------------------------------------------


def _vase(rng: np.random.Generator, style: Style, at: tuple[float, float, float]) -> list[Solid]:
    glaze = textures.plain(rng, style.accent(rng))
    radius, height = rng.uniform(0.05, 0.08), rng.uniform(0.08, 0.16)
    x, y, z = at
    solids = [
        Solid(Cone(at, height, radius * 0.6, radius), glaze),
        Solid(Cone((x, y, z + height), height * 0.7, radius, radius * 0.4), glaze),
    ]
    if rng.random() < 0.6:
        solids += _foliage(rng, (x, y, z + 1.7 * height + 0.08), 0.13, count=7)
    return solids


def _bowl(rng: np.random.Generator, style: Style, at: tuple[float, float, float]) -> list[Solid]:
    fruit = textures.plain(rng, style.accent(rng))
    x, y, z = at
    solids = [Solid(Cone(at, 0.07, 0.06, 0.14), textures.plain(rng, vary(rng, PORCELAIN, 0.1)))]
    for angle in rng.uniform(0, 2, 1) + np.array([0, 2.1, 4.2]):
        place = (x + 0.055 * np.cos(angle), y + 0.055 * np.sin(angle), z + 0.085)
        solids.append(Solid(Ellipsoid(place, (0.045, 0.045, 0.042)), fruit))
    return solids


def _book_stack(rng: np.random.Generator, style: Style, at: tuple[float, float, float]) -> list[Solid]:
    x, y, z = at
    solids = []
    for _ in range(rng.integers(2, 5)):
        half, thick = rng.uniform(0.07, 0.11), rng.uniform(0.02, 0.04)
        cover = textures.plain(rng, style.accent(rng))
        solids.append(block(cover, (x - half, x + half), (y - 0.07, y + 0.07), (z, z + thick)))
        z += thick
    return solids


def _table_lamp(rng: np.random.Generator, style: Style, at: tuple[float, float, float]) -> list[Solid]:
    x, y, z = at
    return [
        Solid(Cone(at, 0.22, 0.06, 0.03), textures.plain(rng, style.accent(rng))),
        Solid(Cone((x, y, z + 0.22), 0.2, 0.15, 0.1), textures.plain(rng, LAMPLIGHT), glow=0.8),
    ]


def _foliage(rng: np.random.Generator, at: tuple[float, float, float], reach: float, *, count: int) -> list[Solid]:
    """A cloud of leaf clumps around `at`."""
    solids = []
    for _ in range(count):
        place = np.array(at) + rng.normal(0, 0.5, 3) * reach
        radii = rng.uniform(0.25, 0.55, 3) * reach
        solids.append(Solid(Ellipsoid(tuple(place), tuple(radii)), textures.carpet(rng, vary(rng, LEAF, 0.2))))
    return solids


def _ornaments(rng: np.random.Generator, style: Style, half_width: float, y: float, z: float) -> list[Solid]:
    """A few small things side by side on a board at height `z`."""
    makers = (_vase, _bowl, _book_stack, _table_lamp)
    places = np.arange(-half_width + 0.18, half_width - 0.17, 0.42)
    solids = []
    for x in places[rng.random(places.size) < 0.5]:
        solids += makers[rng.integers(len(makers))](rng, style, (x + rng.uniform(-0.04, 0.04), y, z))
    return solids


# --- along the walls ---------------------------------------------------------------------------


def sofa(rng: np.random.Generator, style: Style, width: float) -> Item:
    """Two or three seats with cushions; an armchair where there is little room."""
    half, depth = min(width, rng.uniform(1.5, 2.2)) / 2, rng.uniform(0.8, 0.95)
    cover, pillow = style.cloth(rng), style.cloth(rng)
    seats = max(1, round((2 * half - 0.4) / 0.65))
    arm, seat_width = 0.18, (2 * half - 0.36) / seats
    solids = [
        block(cover, (-half, half), (0, depth), (0.08, 0.3)),
        block(cover, (-half, half), (0, 0.22), (0.3, 0.8)),
        block(cover, (-half, arm - half), (0, depth), (0.3, 0.58)),
        block(cover, (half - arm, half), (0, depth), (0.3, 0.58)),
    ]
    for seat in range(seats):
        x = (arm - half + seat * seat_width + 0.01, arm - half + (seat + 1) * seat_width - 0.01)
        solids.append(block(cover, x, (0.2, depth + 0.02), (0.3, 0.44)))
        if rng.random() < 0.5:
            middle = (np.mean(x) + rng.uniform(-0.1, 0.1), 0.32, 0.6)
            solids.append(Solid(Ellipsoid(middle, (0.22, 0.1, 0.19)), pillow))
    return Item.of(*solids)


def bed(rng: np.random.Generator, style: Style, width: float) -> Item:
    """Head to the wall."""
    half, length = min(width, rng.uniform(0.95, 1.7)) / 2, 2.05
    timber = textures.wood(rng, style.board(rng))
    linen, blanket = textures.fabric(rng, vary(rng, PORCELAIN, 0.08)), style.cloth(rng)
    fold = rng.uniform(0.55, 1.1)
    solids = [
        block(timber, (-half, half), (0, 0.06), (0, rng.uniform(0.8, 1.15))),
        block(timber, (-half, half), (0.06, length), (0.12, 0.32)),
        block(linen, (-half + 0.02, half - 0.02), (0.06, length - 0.02), (0.32, 0.52)),
        block(blanket, (-half - 0.02, half + 0.02), (fold, length + 0.01), (0.3, 0.56)),
    ]
    for x in [0.0] if half < 0.6 else [-half / 2, half / 2]:
        solids.append(Solid(Ellipsoid((x, 0.33, 0.58), (0.3, 0.2, 0.1)), linen))
    return Item.of(*solids)


def bookshelf(rng: np.random.Generator, style: Style, width: float) -> Item:
    half, depth = min(width, rng.uniform(0.7, 1.5)) / 2, 0.32
    levels = int(rng.integers(3, 6))
    step, thick = 0.36, 0.025
    timber = textures.wood(rng, style.board(rng))
    height = levels * step + thick
    solids = [
        block(timber, (-half, thick - half), (0, depth), (0, height)),
        block(timber, (half - thick, half), (0, depth), (0, height)),
        block(timber, (-half, half), (0, 0.015), (0, height)),
    ]
    for level in range(levels + 1):
        z = level * step
        solids.append(block(timber, (-half, half), (0, depth), (z, z + thick)))
        if level == levels:
            break
        start, end = np.sort(rng.uniform(-half + thick, half - thick, 2))
        if rng.random() < 0.75:  # one long row of books, shoved to one side
            start = -half + thick
        spines = textures.books(rng, style.accents)
        front, top = rng.uniform(0.2, 0.28), z + thick + rng.uniform(0.2, 0.3)
        solids.append(block(textures.plain(rng, PORCELAIN), (start, end), (0.02, front), (z, top), faces={FRONT: spines}))
    return Item.of(*solids, *(_ornaments(rng, style, half, depth / 2, height)))


def cabinet(rng: np.random.Generator, style: Style, width: float) -> Item:
    """A chest of drawers, a sideboard or a wardrobe."""
    half = min(width, rng.uniform(0.7, 1.6)) / 2
    tall = rng.random() < 0.3
    height, depth = (rng.uniform(1.8, 2.1), 0.58) if tall else (rng.uniform(0.7, 1.0), 0.45)
    base = style.board(rng) if rng.random() < 0.65 else vary(rng, PORCELAIN, 0.1)
    columns, rows = (max(2, round(half / 0.25)), 1) if tall else (max(1, round(half / 0.3)), int(rng.integers(1, 5)))
    front = textures.panels(rng, base, (2 * half, height - 0.06), columns=columns, rows=rows)
    solids = [
        block(textures.plain(rng, DARK), (-half + 0.03, half - 0.03), (0, depth - 0.05), (0, 0.06)),
        block(textures.wood(rng, base), (-half, half), (0, depth), (0.06, height), faces={FRONT: front}),
    ]
    if not tall:
        solids += _ornaments(rng, style, half, depth / 2, height)
    return Item.of(*solids)


def television(rng: np.random.Generator, style: Style, width: float) -> Item:
    """A screen on a low board."""
    half = min(width, rng.uniform(1.2, 1.8)) / 2
    base, screen = style.board(rng), rng.uniform(0.4, 0.6)
    front = textures.panels(rng, base, (2 * half, 0.35), columns=3, rows=1)
    black = textures.plain(rng, DARK)
    return Item.of(
        block(textures.wood(rng, base), (-half, half), (0, 0.42), (0.1, 0.45), faces={FRONT: front}),
        *_legs(black, half - 0.05, (0.03, 0.4), 0.1, 0.04),
        block(black, (-0.15, 0.15), (0.12, 0.3), (0.45, 0.47)),
        block(black, (-screen, screen), (0.18, 0.22), (0.5, 0.5 + 1.15 * screen)),
    )


def desk(rng: np.random.Generator, style: Style, width: float) -> Item:
    """With a monitor."""
    half, depth = min(width, rng.uniform(1.1, 1.6)) / 2, 0.7
    top, black = textures.wood(rng, style.board(rng)), textures.plain(rng, DARK)
    x = rng.uniform(-0.2, 0.2)
    return Item.of(
        block(top, (-half, half), (0, depth), (0.7, 0.74)),
        *_legs(textures.plain(rng, METAL), half, (0, depth), 0.7, 0.05),
        block(black, (x - 0.1, x + 0.1), (0.12, 0.28), (0.74, 0.76)),
        block(black, (x - 0.02, x + 0.02), (0.15, 0.18), (0.76, 0.9)),
        block(textures.plain(rng, style.accent(rng)), (x - 0.28, x + 0.28), (0.18, 0.21), (0.86, 1.2)),
    )


def counter(rng: np.random.Generator, style: Style, width: float) -> Item:
    """A kitchen row: base units, worktop, wall units and sometimes a fridge."""
    half, base = width / 2, style.board(rng) if rng.random() < 0.5 else vary(rng, style.accents[0], 0.1)
    start = -half
    solids = []
    if width > 1.8 and rng.random() < 0.7:
        start += 0.65
        steel = textures.plain(rng, vary(rng, PORCELAIN, 0.1))
        door = textures.panels(rng, PORCELAIN, (0.62, 1.8), columns=1, rows=2)
        solids.append(block(steel, (-half, -half + 0.62), (0, 0.62), (0, 1.8), faces={FRONT: door}))
    length = half - start
    units = max(1, round(length / 0.55))
    low = textures.panels(rng, base, (length, 0.8), columns=units, rows=1)
    high = textures.panels(rng, base, (length, 0.65), columns=units, rows=1)
    timber = textures.wood(rng, base)
    solids += [
        block(textures.plain(rng, DARK), (start, half), (0, 0.52), (0, 0.08)),
        block(timber, (start, half), (0, 0.58), (0.08, 0.88), faces={FRONT: low}),
        block(textures.plain(rng, style.board(rng), mottling=0.1), (start, half), (0, 0.61), (0.88, 0.92)),
        block(timber, (start, half), (0, 0.34), (1.45, 2.1), faces={FRONT: high}),
    ]
    middle = (start + half) / 2
    for solid in _ornaments(rng, style, length / 2, 0.3, 0.92):
        solids.append(replace(solid, shape=solid.shape.moved(middle, 0)))
    return Item.of(*solids)


def plant(rng: np.random.Generator, style: Style, width: float) -> Item:
    size, y = rng.uniform(0.7, 1.2), 0.3
    pot = textures.plain(rng, vary(rng, CLAY if rng.random() < 0.6 else PORCELAIN, 0.15))
    return Item.of(
        Solid(Cone((0, y, 0), 0.3, 0.12, 0.18), pot),
        Solid(Cone((0, y, 0.3), size * 0.4, 0.02, 0.015), textures.plain(rng, colour("#5b4a32"))),
        *_foliage(rng, (0, y, 0.3 + size * 0.5), size * 0.33, count=16),
    )


def floor_lamp(rng: np.random.Generator, style: Style, width: float) -> Item:
    height, y = rng.uniform(1.3, 1.6), 0.25
    metal = textures.plain(rng, DARK if rng.random() < 0.5 else METAL)
    shade = textures.plain(rng, LAMPLIGHT)
    return Item.of(
        Solid(Cone((0, y, 0), 0.03, 0.14, 0.14), metal),
        Solid(Cone((0, y, 0.03), height, 0.015, 0.015), metal),
        Solid(Cone((0, y, height), 0.28, 0.22, 0.14), shade, glow=0.85),
    )


# --- free in the room --------------------------------------------------------------------------


def chair(rng: np.random.Generator, style: Style) -> Item:
    timber, seat = textures.wood(rng, style.board(rng), along="v"), style.cloth(rng)
    half, back = 0.21, rng.uniform(0.8, 1.0)
    return Item.of(
        *_legs(timber, half, (0, 0.42), 0.44, 0.035),
        block(seat, (-half, half), (0, 0.44), (0.44, 0.49)),
        block(timber, (-half, -half + 0.035), (0, 0.035), (0.49, back)),
        block(timber, (half - 0.035, half), (0, 0.035), (0.49, back)),
        block(timber, (-half, half), (0.005, 0.025), (back - 0.25, back)),
    )


def table(rng: np.random.Generator, style: Style, half_x: float, half_y: float, height: float) -> Item:
    """Around the origin; round with one foot, or square with four legs; with a few things on it."""
    top, thick = textures.wood(rng, style.board(rng)), 0.04
    if rng.random() < 0.35:
        solids = [
            Solid(Cone((0, 0, height - thick), thick, half_y, half_y), top),
            Solid(Cone((0, 0, 0.02), height - thick - 0.02, 0.05, 0.05), top),
            Solid(Cone((0, 0, 0), 0.03, half_y * 0.5, half_y * 0.5), top),
        ]
        half_x = half_y
    else:
        solids = [
            block(top, (-half_x, half_x), (-half_y, half_y), (height - thick, height)),
            *_legs(top, half_x - 0.04, (0.04 - half_y, half_y - 0.04), height - thick, 0.06),
        ]
    return Item.of(*solids, *(_ornaments(rng, style, half_x * 0.8, 0, height)))


def pouf(rng: np.random.Generator, style: Style) -> Item:
    radius = rng.uniform(0.2, 0.3)
    return Item.of(Solid(Cone((0, 0, 0), rng.uniform(0.35, 0.45), radius, radius * 0.95), style.cloth(rng)))


def ball(rng: np.random.Generator, style: Style) -> Item:
    radius = rng.uniform(0.1, 0.3)
    cover = textures.stripes(rng, style.accent(rng), PORCELAIN, width=radius / 2)
    return Item.of(Solid(Ellipsoid((0, 0, radius), (radius, radius, radius)), cover))


def rug(rng: np.random.Generator, style: Style, half_x: float, half_y: float) -> Item:
    pile = textures.rug(rng, style.accents, (2 * half_x, 2 * half_y))
    return Item.of(block(pile, (-half_x, half_x), (-half_y, half_y), (0, 0.012)), casts_shadow=False)


# --- on the walls and the ceiling --------------------------------------------------------------


def door(rng: np.random.Generator, style: Style) -> Item:
    base = style.board(rng) if rng.random() < 0.5 else vary(rng, PORCELAIN, 0.05)
    leaf = textures.panels(rng, base, (0.86, 2.0), columns=2, rows=3, knobs=False)
    frame = textures.plain(rng, vary(rng, PORCELAIN, 0.05))
    return Item.of(
        block(frame, (-0.5, 0.5), (0, 0.03), (0, 2.08)),
        block(leaf, (-0.43, 0.43), (0.03, 0.045), (0, 2.0)),
        Solid(Ellipsoid((0.36, 0.08, 1.0), (0.03, 0.03, 0.03)), textures.plain(rng, METAL)),
        casts_shadow=False,
    )


def window(rng: np.random.Generator, style: Style, width: float, top: float, *, night: bool) -> Item:
    """A glowing pane from 0.9 m up to `top`, a sill, and perhaps curtains."""
    half, pane = width / 2, textures.view(rng, (width, top - 0.9), night=night)
    white = textures.plain(rng, PORCELAIN)
    solids = [
        block(pane, (-half, half), (0, 0.02), (0.9, top), glow=0.9),
        block(white, (-half - 0.05, half + 0.05), (0, 0.12), (0.87, 0.9)),
    ]
    if rng.random() < 0.5:
        accent = style.accent(rng)
        cloth = textures.stripes(rng, accent, accent * 0.75, width=0.04)
        bottom = 0.05 if rng.random() < 0.5 else 0.8
        for side in (-1, 1):
            x = tuple(sorted((side * (half - 0.08), side * (half + 0.2))))
            solids.append(block(cloth, x, (0.04, 0.1), (bottom, top + 0.1)))
    return Item.of(*solids, casts_shadow=False)


def picture(rng: np.random.Generator, style: Style, width: float) -> Item:
    half_x, half_z = min(width / 2, rng.uniform(0.2, 0.6)), rng.uniform(0.2, 0.4)
    size = (2 * half_x, 2 * half_z)
    if rng.random() < 0.5:
        canvas = textures.landscape(rng, style.accents, size)
    else:
        canvas = textures.abstract(rng, style.accents)
    canvas = textures.framed(rng, canvas, size)
    return Item.of(block(canvas, (-half_x, half_x), (0, 0.03), (-half_z, half_z)), casts_shadow=False)


def wall_shelf(rng: np.random.Generator, style: Style, width: float) -> Item:
    half = min(width, rng.uniform(0.6, 1.2)) / 2
    board = block(textures.wood(rng, style.board(rng)), (-half, half), (0, 0.22), (-0.03, 0))
    return Item.of(board, *_ornaments(rng, style, half, 0.11, 0))


def ceiling_lamp(rng: np.random.Generator, drop: float) -> Item:
    """Hangs `drop` metres below the local origin."""
    wire, glass = textures.plain(rng, DARK), textures.plain(rng, LAMPLIGHT)
    if rng.random() < 0.5:
        body = Ellipsoid((0, 0, -drop), (0.16, 0.16, 0.14))
    else:
        body = Cone((0, 0, -drop - 0.1), 0.2, 0.24, 0.1)
    cord = Solid(Cone((0, 0, -drop), drop, 0.012, 0.012), wire)
    return Item.of(cord, Solid(body, glass, glow=0.9), casts_shadow=False)

