"""Furniture and things on walls: each function builds one item, with random colours and sizes.

An item has a frame of its own [m]: the origin is the centre of its back, x runs along the wall, the
front faces +y, z points up. `width` is the free space along the wall; an item may be narrower.
"""

import itertools

import numpy as np

from dsetkit.demo.scenes import textures
from dsetkit.demo.scenes.decor import (
    BLACK,
    CLAY,
    CREAM,
    LAMPLIGHT,
    STEEL,
    Assembly,
    Decor,
    foliage,
    ornaments,
)
from dsetkit.demo.scenes.palette import colour, vary
from dsetkit.demo.scenes.primitives import FRONT
from dsetkit.demo.scenes.scene import Item

# --- along the walls ---------------------------------------------------------------------------


def sofa(decor: Decor, width: float) -> Item:
    """A sofa of two or three seats with cushions, or an armchair if there is little space."""
    rng, piece, arm = decor.rng, Assembly(), 0.18
    half, depth = min(width, rng.uniform(1.5, 2.2)) / 2, rng.uniform(0.8, 0.95)
    cover, pillow = decor.cloth(), decor.cloth()
    piece.block(cover, (-half, half), (0, depth), (0.08, 0.3))
    piece.block(cover, (-half, half), (0, 0.22), (0.3, 0.8))
    piece.block(cover, (-half, arm - half), (0, depth), (0.3, 0.58))
    piece.block(cover, (half - arm, half), (0, depth), (0.3, 0.58))
    seats = max(1, round((2 * half - 0.4) / 0.65))
    edges = np.linspace(arm - half, half - arm, seats + 1)
    for left, right in itertools.pairwise(edges):
        piece.block(cover, (left + 0.01, right - 0.01), (0.2, depth + 0.02), (0.3, 0.44))
        if rng.random() < 0.5:
            middle = (left + right) / 2 + rng.uniform(-0.1, 0.1)
            piece.ellipsoid(pillow, (middle, 0.32, 0.6), (0.22, 0.1, 0.19))
    return piece.item()


def bed(decor: Decor, width: float) -> Item:
    """A bed with its head to the wall."""
    rng, piece, length = decor.rng, Assembly(), 2.05
    half, fold = min(width, rng.uniform(0.95, 1.7)) / 2, rng.uniform(0.55, 1.1)
    timber, linen = decor.wood(), textures.fabric(rng, vary(rng, CREAM, 0.08))
    piece.block(timber, (-half, half), (0, 0.06), (0, rng.uniform(0.8, 1.15)))
    piece.block(timber, (-half, half), (0.06, length), (0.12, 0.32))
    piece.block(linen, (0.02 - half, half - 0.02), (0.06, length - 0.02), (0.32, 0.52))
    piece.block(decor.cloth(), (-half - 0.02, half + 0.02), (fold, length + 0.01), (0.3, 0.56))
    for x in [0.0] if half < 0.6 else [-half / 2, half / 2]:
        piece.ellipsoid(linen, (x, 0.33, 0.58), (0.3, 0.2, 0.1))
    return piece.item()


def bookshelf(decor: Decor, width: float) -> Item:
    rng, piece, timber = decor.rng, Assembly(), decor.wood()
    half, depth, step, thick = min(width, rng.uniform(0.7, 1.5)) / 2, 0.32, 0.36, 0.025
    levels = step * np.arange(rng.integers(4, 7))
    height = levels[-1] + thick
    piece.block(timber, (-half, thick - half), (0, depth), (0, height))
    piece.block(timber, (half - thick, half), (0, depth), (0, height))
    piece.block(timber, (-half, half), (0, 0.015), (0, height))
    for z in levels:
        piece.block(timber, (-half, half), (0, depth), (z, z + thick))
    for z in levels[:-1] + thick:
        start, end = np.sort(rng.uniform(thick - half, half - thick, 2))
        if rng.random() < 0.75:  # one long row of books, pushed to one side
            start = thick - half
        spines, top = textures.books(rng, decor.accents), z + rng.uniform(0.2, 0.3)
        deep = (0.02, rng.uniform(0.2, 0.28))
        piece.block(decor.paint(CREAM), (start, end), deep, (z, top), faces={FRONT: spines})
    ornaments(decor, piece, (-half, half), depth / 2, height)
    return piece.item()


def cabinet(decor: Decor, width: float) -> Item:
    """A chest of drawers, a sideboard or a wardrobe."""
    rng, piece = decor.rng, Assembly()
    half, tall = min(width, rng.uniform(0.7, 1.6)) / 2, rng.random() < 0.3
    base = decor.board() if rng.random() < 0.65 else vary(rng, CREAM, 0.1)
    if tall:
        height, depth, columns, rows = rng.uniform(1.8, 2.1), 0.58, max(2, round(4 * half)), 1
    else:
        height, depth, columns = rng.uniform(0.7, 1.0), 0.45, max(1, round(3.3 * half))
        rows = int(rng.integers(1, 5))
    face = textures.panels(rng, base, (2 * half, height - 0.06), columns=columns, rows=rows)
    foot = decor.paint(BLACK)
    piece.block(foot, (0.03 - half, half - 0.03), (0, depth - 0.05), (0, 0.06))
    piece.block(decor.wood(base), (-half, half), (0, depth), (0.06, height), faces={FRONT: face})
    if not tall:
        ornaments(decor, piece, (-half, half), depth / 2, height)
    return piece.item()


def television(decor: Decor, width: float) -> Item:
    """A screen on a low board."""
    rng, piece, base, black = decor.rng, Assembly(), decor.board(), decor.paint(BLACK)
    half, screen = min(width, rng.uniform(1.2, 1.8)) / 2, rng.uniform(0.4, 0.6)
    face = textures.panels(rng, base, (2 * half, 0.35), columns=3, rows=1)
    piece.block(decor.wood(base), (-half, half), (0, 0.42), (0.1, 0.45), faces={FRONT: face})
    piece.legs(black, half - 0.05, (0.03, 0.4), 0.1, 0.04)
    piece.block(black, (-0.15, 0.15), (0.12, 0.3), (0.45, 0.47))
    piece.block(black, (-screen, screen), (0.18, 0.22), (0.5, 0.5 + 1.15 * screen))
    return piece.item()


def desk(decor: Decor, width: float) -> Item:
    """A desk with a monitor."""
    rng, piece, black, depth = decor.rng, Assembly(), decor.paint(BLACK), 0.7
    half, x = min(width, rng.uniform(1.1, 1.6)) / 2, rng.uniform(-0.2, 0.2)
    piece.block(decor.wood(), (-half, half), (0, depth), (0.7, 0.74))
    piece.legs(decor.paint(STEEL), half, (0, depth), 0.7, 0.05)
    piece.block(black, (x - 0.1, x + 0.1), (0.12, 0.28), (0.74, 0.76))
    piece.block(black, (x - 0.02, x + 0.02), (0.15, 0.18), (0.76, 0.9))
    piece.block(decor.paint(), (x - 0.28, x + 0.28), (0.18, 0.21), (0.86, 1.2))
    return piece.item()


def counter(decor: Decor, width: float) -> Item:
    """A kitchen counter: base units, worktop, wall units and sometimes a fridge."""
    rng, piece, half, start = decor.rng, Assembly(), width / 2, -width / 2
    base = decor.board() if rng.random() < 0.5 else decor.accent()
    if width > 1.8 and rng.random() < 0.7:
        fridge = textures.panels(rng, CREAM, (0.62, 1.8), columns=1, rows=2)
        x = (start, start + 0.62)
        piece.block(decor.paint(CREAM), x, (0, 0.62), (0, 1.8), faces={FRONT: fridge})
        start += 0.65
    length, x = half - start, (start, half)
    units = max(1, round(length / 0.55))
    low = textures.panels(rng, base, (length, 0.8), columns=units, rows=1)
    high = textures.panels(rng, base, (length, 0.65), columns=units, rows=1)
    timber, top = decor.wood(base), textures.plain(rng, decor.board(), mottling=0.1)
    piece.block(decor.paint(BLACK), x, (0, 0.52), (0, 0.08))
    piece.block(timber, x, (0, 0.58), (0.08, 0.88), faces={FRONT: low})
    piece.block(top, x, (0, 0.61), (0.88, 0.92))
    piece.block(timber, x, (0, 0.34), (1.45, 2.1), faces={FRONT: high})
    ornaments(decor, piece, x, 0.3, 0.92)
    return piece.item()


def plant(decor: Decor, width: float) -> Item:
    rng, piece, y, size = decor.rng, Assembly(), 0.3, decor.rng.uniform(0.7, 1.2)
    pot = decor.paint(vary(rng, CLAY if rng.random() < 0.6 else CREAM, 0.15))
    piece.cone(pot, (0, y, 0), 0.3, 0.12, 0.18)
    piece.cone(decor.paint(colour("#5b4a32")), (0, y, 0.3), size * 0.4, 0.02, 0.015)
    foliage(decor, piece, (0, y, 0.3 + size * 0.5), size * 0.33, count=16)
    return piece.item()


def floor_lamp(decor: Decor, width: float) -> Item:
    rng, piece, y, height = decor.rng, Assembly(), 0.25, decor.rng.uniform(1.3, 1.6)
    metal = decor.paint(BLACK if rng.random() < 0.5 else STEEL)
    piece.cone(metal, (0, y, 0), 0.03, 0.14, 0.14)
    piece.cone(metal, (0, y, 0.03), height, 0.015, 0.015)
    piece.cone(decor.paint(LAMPLIGHT), (0, y, height), 0.28, 0.22, 0.14, glow=0.85)
    return piece.item()


# --- free in the room --------------------------------------------------------------------------


def chair(decor: Decor) -> Item:
    piece, half, back = Assembly(), 0.21, decor.rng.uniform(0.8, 1.0)
    timber = decor.wood(along="v")
    piece.legs(timber, half, (0, 0.42), 0.44, 0.035)
    piece.block(decor.cloth(), (-half, half), (0, 0.44), (0.44, 0.49))
    piece.block(timber, (-half, 0.035 - half), (0, 0.035), (0.49, back))
    piece.block(timber, (half - 0.035, half), (0, 0.035), (0.49, back))
    piece.block(timber, (-half, half), (0.005, 0.025), (back - 0.25, back))
    return piece.item()


def table(decor: Decor, half_x: float, half_y: float, height: float) -> Item:
    """A table around the origin with a few things on it, round on one foot or with four legs."""
    piece, top, underside = Assembly(), decor.wood(), height - 0.04
    if decor.rng.random() < 0.35:
        half_x = half_y
        piece.cone(top, (0, 0, underside), 0.04, half_y, half_y)
        piece.cone(top, (0, 0, 0.02), underside - 0.02, 0.05, 0.05)
        piece.cone(top, (0, 0, 0), 0.03, half_y / 2, half_y / 2)
    else:
        piece.block(top, (-half_x, half_x), (-half_y, half_y), (underside, height))
        piece.legs(top, half_x - 0.04, (0.04 - half_y, half_y - 0.04), underside, 0.06)
    ornaments(decor, piece, (-0.8 * half_x, 0.8 * half_x), 0, height)
    return piece.item()


def pouf(decor: Decor) -> Item:
    piece, radius = Assembly(), decor.rng.uniform(0.2, 0.3)
    piece.cone(decor.cloth(), (0, 0, 0), decor.rng.uniform(0.35, 0.45), radius, radius * 0.95)
    return piece.item()


def ball(decor: Decor) -> Item:
    piece, radius = Assembly(), decor.rng.uniform(0.1, 0.3)
    cover = textures.stripes(decor.rng, decor.accent(), CREAM, width=radius / 2)
    piece.ellipsoid(cover, (0, 0, radius), (radius, radius, radius))
    return piece.item()


def rug(decor: Decor, half_x: float, half_y: float) -> Item:
    piece, pile = Assembly(), textures.rug(decor.rng, decor.accents, (2 * half_x, 2 * half_y))
    piece.block(pile, (-half_x, half_x), (-half_y, half_y), (0, 0.012))
    return piece.item(casts_shadow=False)


# --- on the walls and the ceiling ----------------------------------------------------------------


def door(decor: Decor) -> Item:
    rng, piece = decor.rng, Assembly()
    base = decor.board() if rng.random() < 0.5 else vary(rng, CREAM, 0.05)
    leaf = textures.panels(rng, base, (0.86, 2.0), columns=2, rows=3, knobs=False)
    piece.block(decor.paint(vary(rng, CREAM, 0.05)), (-0.5, 0.5), (0, 0.03), (0, 2.08))
    piece.block(leaf, (-0.43, 0.43), (0.03, 0.045), (0, 2.0))
    piece.ellipsoid(decor.paint(STEEL), (0.36, 0.08, 1.0), (0.03, 0.03, 0.03))
    return piece.item(casts_shadow=False)


def window(decor: Decor, width: float, top: float, *, night: bool) -> Item:
    """A glowing pane from 0.9 m up to `top`, a sill, and perhaps curtains."""
    rng, piece, half = decor.rng, Assembly(), width / 2
    pane = textures.view(rng, (width, top - 0.9), night=night)
    piece.block(pane, (-half, half), (0, 0.02), (0.9, top), glow=0.9)
    piece.block(decor.paint(CREAM), (-half - 0.05, half + 0.05), (0, 0.035), (0.87, 0.9))
    if rng.random() < 0.5:
        accent, bottom = decor.accent(), rng.choice([0.05, 0.8])
        cloth = textures.stripes(rng, accent, accent * 0.75, width=0.04)
        for left in (-half - 0.2, half - 0.08):
            piece.block(cloth, (left, left + 0.28), (0.04, 0.1), (bottom, top + 0.1))
    return piece.item(casts_shadow=False)


def picture(decor: Decor, width: float) -> Item:
    rng, piece = decor.rng, Assembly()
    half_x, half_z = min(width / 2, rng.uniform(0.2, 0.6)), rng.uniform(0.2, 0.4)
    size = (2 * half_x, 2 * half_z)
    if rng.random() < 0.5:
        canvas = textures.landscape(rng, decor.accents, size)
    else:
        canvas = textures.abstract(rng, decor.accents)
    framed = textures.framed(rng, canvas, size)
    piece.block(framed, (-half_x, half_x), (0, 0.03), (-half_z, half_z))
    return piece.item(casts_shadow=False)


def wall_shelf(decor: Decor, width: float) -> Item:
    piece, half = Assembly(), min(width, decor.rng.uniform(0.6, 1.2)) / 2
    piece.block(decor.wood(), (-half, half), (0, 0.22), (-0.03, 0))
    ornaments(decor, piece, (-half, half), 0.11, 0)
    return piece.item()


def ceiling_lamp(decor: Decor, drop: float) -> Item:
    """A lamp `drop` metres below the origin; its last solid is the one that shines."""
    piece, glass = Assembly(), decor.paint(LAMPLIGHT)
    piece.cone(decor.paint(BLACK), (0, 0, -drop), drop, 0.012, 0.012)
    if decor.rng.random() < 0.5:
        piece.ellipsoid(glass, (0, 0, -drop), (0.16, 0.16, 0.14), glow=0.9)
    else:
        piece.cone(glass, (0, 0, -drop - 0.1), 0.2, 0.24, 0.1, glow=0.9)
    return piece.item(casts_shadow=False)
