"""The families of cut-outs that show things: each function builds one, with random colours."""

import numpy as np

from dsetkit.demo.scenes.figure import (
    BARK,
    BLACK,
    GOLD,
    GREEN,
    STEEL,
    WHITE,
    Figure,
    Finish,
    X,
    Y,
    Z,
    banded,
    pick,
    segmented,
    speckled,
    spotted,
    striped,
)
from dsetkit.demo.scenes.palette import colour, mix, vary


def ball(rng: np.random.Generator) -> Figure:
    figure, first, second = Figure(), pick(rng), WHITE if rng.random() < 0.6 else pick(rng)
    match rng.integers(3):
        case 0:
            paint = segmented(first, second, count=int(rng.integers(2, 5)))
        case 1:
            paint = spotted(rng, first, second, count=12, radius=0.3)
        case _:
            paint = banded(first, second, -0.12, 0.12)
    figure.ellipsoid(paint, (0, 0, 0), 0.5, along=rng.normal(size=3), gloss=0.4)
    return figure


def mug(rng: np.random.Generator) -> Figure:
    figure, glaze, height = Figure(pitch=(12, 35)), pick(rng), rng.uniform(0.7, 1.0)
    low = rng.uniform(-0.3, 0.1) * height
    outside = banded(glaze, WHITE if rng.random() < 0.5 else pick(rng), low, low + 0.2 * height)
    radii = (0.36, 0.4, 0.4, 0.4, rng.uniform(0.38, 0.46))
    figure.ring(glaze, (0.42, 0, height / 2), 0.25 * height, 0.05, along=Y, gloss=0.5)
    figure.lathe(outside, height, radii, blend=0.02, gloss=0.5)
    figure.lathe(WHITE, height, (0.3, 0.34, 0.34, 0.34, 0.38), base=0.08, cut=True)
    return figure


def vase(rng: np.random.Generator) -> Figure:
    """A vase, with or without flowers."""
    figure, height = Figure(pitch=(8, 25)), rng.uniform(0.8, 1.2)
    belly, neck = rng.uniform(0.25, 0.42), rng.uniform(0.08, 0.16)
    paint = banded(pick(rng), pick(rng), -0.15 * height, rng.uniform(-0.1, 0.1) * height)
    middle = rng.permutation([belly, belly * 0.8])
    figure.lathe(paint, height, (belly * 0.6, *middle, neck, neck + 0.06), gloss=0.6)
    figure.lathe(BLACK, 0.3, (neck * 0.8, neck * 0.8, neck * 1.1), base=height - 0.2, cut=True)
    for _ in range(rng.integers(0, 8)):
        tip = np.array([*rng.normal(0, 0.22, 2), height + rng.uniform(0.3, 0.6)])
        petal = pick(rng)
        figure.limb(GREEN * 0.7, (0, 0, height - 0.1), tip, 0.015)
        for side in (X, -X, Y, -Y):
            figure.ellipsoid(
                petal, tip + 0.06 * side, (0.07, 0.07, 0.04), along=Z + side, blend=0.01
            )
        figure.ellipsoid(GOLD, tip + 0.04 * Z, 0.045)
    return figure


def bottle(rng: np.random.Generator) -> Figure:
    """A bottle of transparent glass, with a label."""
    figure, height, belly = Figure(pitch=(3, 15)), 1.2, rng.uniform(0.18, 0.26)
    glass = pick(rng, ["#2f5d3a", "#7a4a22", "#a8c4c8", "#35506e"])
    radii = (belly, belly, belly, belly, 0.1, 0.075, 0.075)
    figure.lathe(glass, height, radii, gloss=1.0, opacity=rng.uniform(0.55, 0.85))
    figure.lathe(WHITE, 0.32, (belly + 0.008,) * 2, base=0.25, gloss=0.1)
    figure.lathe(pick(rng), 0.1, (belly + 0.012,) * 2, base=0.36, gloss=0.1)
    figure.lathe(pick(rng), 0.1, (0.09, 0.09), base=height - 0.04, gloss=0.5)
    return figure


def fruit(rng: np.random.Generator) -> Figure:
    """An apple or a pear."""
    figure = Figure(pitch=(5, 35))
    peel = speckled(rng, pick(rng, ["#b8342c", "#d98a2c", "#9fb13c", "#d9b93c"]))
    if rng.random() < 0.5:
        top = 0.8
        figure.lathe(peel, 0.86, (0.12, 0.4, 0.5, 0.5, 0.42, 0.12), gloss=0.5)
        figure.ellipsoid(peel, (0, 0, 0.9), (0.16, 0.16, 0.13), cut=True)
    else:
        top = 1.15
        figure.ellipsoid(peel, (0, 0, 0.4), 0.42, gloss=0.4)
        figure.ellipsoid(peel, (0, 0, 0.88), (0.22, 0.22, 0.3), blend=0.14, gloss=0.4)
    tip = np.array([rng.uniform(-0.1, 0.1), 0, top + 0.25])
    figure.limb(BARK, (0, 0, top - 0.05), tip, 0.02, 0.028)
    figure.leaf(vary(rng, GREEN), tip - 0.1 * Z, tip + [0.3, 0.1, 0.02], 0.09)
    return figure


def mushroom(rng: np.random.Generator) -> Figure:
    figure, width, height = Figure(pitch=(0, 20)), rng.uniform(0.4, 0.6), rng.uniform(0.5, 0.8)
    cap = spotted(rng, pick(rng), WHITE, count=30, radius=0.16)
    hollow = (width * 1.3, width * 1.3, width * 0.55)
    figure.ellipsoid(cap, (0, 0, height), (width, width, width * 0.8), gloss=0.5)
    figure.ellipsoid(WHITE * 0.8, (0, 0, height - 0.55 * width), hollow, cut=True, gloss=0)
    figure.lathe(speckled(rng, WHITE * 0.9), height, (0.2, 0.14, 0.13, 0.14), gloss=0.1)
    return figure


def house_plant(rng: np.random.Generator) -> Figure:
    """Long leaves in a pot."""
    figure, green, count = Figure(pitch=(5, 30)), vary(rng, GREEN, 0.2), int(rng.integers(9, 16))
    wide, rise = rng.uniform(0.05, 0.13), rng.uniform(0.35, 0.7)
    figure.lathe(pick(rng), 0.42, (0.22, 0.27, 0.3, 0.32))
    figure.lathe(BARK * 0.5, 0.1, (0.27, 0.27), base=0.36, gloss=0)
    for i in range(count):
        turn, lean = 2.4 * i + rng.normal(0, 0.2), rng.uniform(0.3, 1.0) * (0.4 + 0.6 * i / count)
        out = np.array([np.cos(turn) * np.sin(lean), np.sin(turn) * np.sin(lean), np.cos(lean)])
        bend = 0.42 * Z + rise * out
        figure.limb(green * 0.7, (0, 0, 0.42), bend, 0.014)
        figure.leaf(vary(rng, green, 0.08), bend, bend + 0.25 * (out - 0.5 * Z), wide)
    return figure


def cactus(rng: np.random.Generator) -> Figure:
    figure, height = Figure(), rng.uniform(0.6, 0.95)
    skin = segmented(vary(rng, GREEN, 0.15), vary(rng, GREEN * 0.6, 0.1), count=9)
    top = (0.3 + height) * Z
    figure.lathe(pick(rng), 0.32, (0.2, 0.25, 0.28), gloss=0.3)
    figure.lathe(GOLD * 0.6, 0.06, (0.24, 0.24), base=0.28, gloss=0)
    figure.limb(skin, (0, 0, 0.3), top, 0.17, 0.15, fur=0.03)
    for side in (-1, 1)[: rng.integers(1, 3)]:
        level = 0.3 + height * rng.uniform(0.3, 0.7)
        elbow = np.array([side * 0.32, 0, level + 0.04])
        hand = elbow + [0.02 * side, 0, rng.uniform(0.15, 0.35)]
        figure.limb(skin, (0, 0, level), elbow, 0.08, blend=0.03, fur=0.03)
        figure.limb(skin, elbow, hand, 0.085, 0.07, blend=0.03, fur=0.03)
    for turn in np.arange(5) * 2 * np.pi / 5:
        out = np.array([np.cos(turn), np.sin(turn), 0.6])
        figure.ellipsoid(
            colour("#e26f8f"), top + 0.17 * Z + 0.05 * out, (0.03, 0.03, 0.07), along=out
        )
    return figure


def cushion(rng: np.random.Generator) -> Figure:
    figure, base = Figure(turn=40, pitch=(0, 35)), pick(rng)
    cloth = speckled(rng, base, texel=0.003) if rng.random() < 0.4 else striped(base, WHITE)
    pile = Finish(gloss=0, fur=rng.choice([0, 0.025]))
    figure.slab(cloth, (0, 0, 0), (0.5, 0.05, 0.5), 0.04, **pile)
    figure.ellipsoid(cloth, (0, 0, 0), (0.5, 0.3, 0.5), blend=0.1, **pile)
    return figure


def lamp(rng: np.random.Generator) -> Figure:
    figure, foot, wide = Figure(pitch=(0, 15)), pick(rng), rng.uniform(0.3, 0.4)
    shade = (wide, wide * 0.8, wide * 0.6)
    figure.lathe(foot, 0.5, rng.permutation([0.2, 0.1, 0.16, 0.07]), gloss=0.6)
    figure.lathe(STEEL, 0.2, (0.025, 0.025), base=0.45)
    figure.lathe(colour("#ffe2a8"), 0.42, shade, base=0.58, glow=0.75, gloss=0)
    figure.lathe(foot, 0.03, (wide + 0.008,) * 2, base=0.58, gloss=0)
    return figure


def car(rng: np.random.Generator) -> Figure:
    figure, body, glass = Figure(turn=60, pitch=(10, 35)), pick(rng), colour("#9fc4d6")
    figure.slab(body, (0, 0, 0.26), (0.62, 0.28, 0.13), 0.08, gloss=0.7)
    figure.slab(glass, (-0.06, 0, 0.44), (0.34, 0.24, 0.13), 0.08, blend=0.02, gloss=0.9)
    figure.slab(body, (-0.06, 0, 0.55), (0.3, 0.235, 0.035), gloss=0.7)
    figure.slab(body, (-0.06, 0, 0.45), (0.03, 0.245, 0.11), 0.02, gloss=0.7)
    figure.slab(STEEL, (0.62, 0, 0.19), (0.03, 0.26, 0.03), 0.02, gloss=0.8)
    for side in (-1, 1):
        figure.ellipsoid(colour("#fff2c0"), (0.61, 0.17 * side, 0.3), 0.05, glow=0.5, gloss=0.8)
        for x in (-0.36, 0.36):
            hub = (x, 0.27 * side, 0.15)
            figure.ring(BLACK, (x, 0.26 * side, 0.15), 0.1, 0.055, along=Y)
            figure.ellipsoid(STEEL, hub, (0.09, 0.09, 0.03), along=Y, gloss=0.8)
    return figure


def doughnut(rng: np.random.Generator) -> Figure:
    """A doughnut with icing and sprinkles."""
    figure = Figure(pitch=(30, 65))
    figure.ring(speckled(rng, colour("#c58a4a")), (0, 0, 0), 0.34, 0.17)
    figure.ring(pick(rng), (0, 0, 0.045), 0.34, 0.163, gloss=0.7)
    for _ in range(28):
        turn, lean = rng.uniform(0, 2 * np.pi), rng.uniform(-1, 1)
        out = np.array([np.cos(turn), np.sin(turn), 0])
        up = out * np.sin(lean) + Z * np.cos(lean)
        centre = 0.34 * out + 0.045 * Z + 0.165 * up
        half = np.cross(up, rng.normal(size=3))
        half *= 0.025 / np.linalg.norm(half)
        figure.limb(pick(rng), centre - half, centre + half, 0.011, gloss=0.5)
    return figure


def ice_cream(rng: np.random.Generator) -> Figure:
    figure, top = Figure(pitch=(-5, 20)), 0.85
    wafer = striped(colour("#c88f4e"), colour("#8a5a2c"))
    figure.lathe(wafer, 0.75, (0.02, 0.1, 0.18, 0.25), gloss=0.1)
    for radius in (0.27, 0.24, 0.21)[: rng.integers(1, 4)]:
        scoop = speckled(rng, mix(pick(rng), WHITE, 0.3), texel=0.004)
        figure.ellipsoid(scoop, (rng.normal(0, 0.02), 0, top), radius, blend=0.025)
        top += radius
    figure.ellipsoid(colour("#a81e2c"), (0.03, -0.02, top + 0.02), 0.08, gloss=0.9)
    return figure


def rocket(rng: np.random.Generator) -> Figure:
    figure, trim = Figure(turn=45, pitch=(-5, 20)), pick(rng)
    hull = banded(mix(pick(rng), WHITE, 0.7), trim, 0.28, 1)
    figure.lathe(hull, 1.3, (0.16, 0.24, 0.26, 0.24, 0.15, 0.01), gloss=0.5)
    figure.lathe(STEEL * 0.6, 0.14, (0.15, 0.12), base=-0.1, gloss=0.6)
    figure.ring(trim, (0, -0.25, 0.75), 0.09, 0.025, along=Y, gloss=0.6)
    pane = (0.085, 0.085, 0.03)
    figure.ellipsoid(colour("#7fb4d0"), (0, -0.24, 0.75), pane, along=Y, gloss=1.0)
    for turn in np.arange(4) * np.pi / 2 + 0.5:
        out = np.array([np.cos(turn), np.sin(turn), 0])
        figure.limb(trim, out * 0.2 + 0.3 * Z, out * 0.4 - 0.08 * Z, 0.05, 0.035, gloss=0.5)
    return figure
