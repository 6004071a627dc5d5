"""Cut-out objects with soft alpha: families of figures built from blended solids, each in its own proportions and colours."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from dsetkit.drawing import textures
from dsetkit.drawing.solids import (
    Ellipsoid, Limb, Paint, Part, Picture, Ring, Slab, Turned, render, view_axes,
)
from dsetkit.drawing.textures import colour, encode_srgb, make_generator, mix, vary

SUPERSAMPLING = 2
MARGIN_PX = 4

HUES = ("#c8553d", "#e0a63e", "#5d8a66", "#3d7c98", "#8c5a8f", "#d98e9b", "#4a5a8c", "#d9773d", "#6fa8a0", "#b8434f")
SKINS = ("#f0c8a0", "#d9a074", "#a86f48", "#6b4430")
FURS = ("#8a5a36", "#c8965a", "#3a3430", "#d8c8b0", "#70675f", "#b06a30")
WHITE, BLACK = colour("#f2eee6"), colour("#18181c")
GREEN, BARK, STEEL, GOLD = colour("#4c7f3c"), colour("#6b4a30"), colour("#9aa0a6"), colour("#d9a441")
X, Y, Z = np.eye(3)


@dataclass(frozen=True)
class Figure:
    """What to draw and how to look at it: widest turn to either side and pitch range [degrees]."""

    parts: list[Part]
    turn: float = 180
    pitch: tuple[float, float] = (8, 30)


# --- parts ---------------------------------------------------------------------------------------


def _hue(rng: np.random.Generator) -> np.ndarray:
    return vary(rng, colour(HUES[rng.integers(len(HUES))]), 0.15)


def _frame(direction: np.ndarray) -> np.ndarray:
    """Axes (3, 3) whose third column points along `direction`."""
    z = np.asarray(direction, float) / np.linalg.norm(direction)
    x = np.cross(Y if abs(z[1]) < 0.9 else X, z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


def _floats(values) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def egg(paint, centre, half, *, along=Z, **look) -> Part:
    """An ellipsoid; `along` is where its third half-axis points."""
    half = (half,) * 3 if np.isscalar(half) else half
    return Part(Ellipsoid(_floats(half)), paint, np.array(centre, float), _frame(along), **look)


def limb(paint, start, end, low, high=None, **look) -> Part:
    """A round-ended rod from `start` (radius `low`) to `end` (radius `high`)."""
    start, end = np.array(start, float), np.array(end, float)
    length = float(np.linalg.norm(end - start))
    shape = Limb(length, low, low if high is None else high)
    return Part(shape, paint, (start + end) / 2, _frame(end - start), **look)


def slab(paint, centre, half, radius=0.03, *, along=Z, **look) -> Part:
    return Part(Slab(_floats(half), radius), paint, np.array(centre, float), _frame(along), **look)


def ring(paint, centre, radius, thick, *, along=Z, **look) -> Part:
    return Part(Ring(radius, thick), paint, np.array(centre, float), _frame(along), **look)


def turned(paint, base, height, radii, **look) -> Part:
    """From the lathe, standing on `base`."""
    return Part(Turned(height, _floats(radii)), paint, np.array(base, float) + height / 2 * Z, **look)


# --- paints --------------------------------------------------------------------------------------


def speckled(rng: np.random.Generator, base: np.ndarray, *, amount=0.1, texel=0.01) -> Paint:
    shift = rng.uniform(0, 9)

    def paint(points: np.ndarray) -> np.ndarray:
        x, y, z = points
        return base * (1 + amount * textures.noise(x + shift, z + 0.7 * y, texel=texel))[:, None]

    return paint


def banded(base: np.ndarray, second: np.ndarray, *, low: float, high: float) -> Paint:
    """`second` between two heights z."""

    def paint(points: np.ndarray) -> np.ndarray:
        return np.where(((points[2] > low) & (points[2] < high))[:, None], second, base)

    return paint


def segmented(base: np.ndarray, second: np.ndarray, *, count: int) -> Paint:
    """Alternating slices around z."""

    def paint(points: np.ndarray) -> np.ndarray:
        share = np.clip(8 * np.sin(count * np.arctan2(points[1], points[0])) + 0.5, 0, 1)
        return mix(base, second, share[:, None])

    return paint


def spotted(rng: np.random.Generator, base: np.ndarray, second: np.ndarray, *, count: int, radius: float) -> Paint:
    """Round spots of half-angle `radius` [rad] in evenly scattered directions."""
    turn = np.arange(count) * 2.4 + rng.uniform(0, 6)
    height = 1 - 2 * (np.arange(count) + 0.5) / count
    across = np.sqrt(1 - height**2)
    directions = np.stack([across * np.cos(turn), across * np.sin(turn), height], axis=1)

    def paint(points: np.ndarray) -> np.ndarray:
        unit = points / np.maximum(np.linalg.norm(points, axis=0), 1e-6)
        closest = (directions @ unit).max(axis=0)
        return np.where((closest > np.cos(radius))[:, None], second, base)

    return paint


# --- things --------------------------------------------------------------------------------------


def _ball(rng: np.random.Generator) -> Figure:
    first, second = _hue(rng), WHITE if rng.random() < 0.6 else _hue(rng)
    paints = [
        segmented(first, second, count=int(rng.integers(2, 5))),
        spotted(rng, first, second, count=12, radius=0.3),
        banded(first, second, low=-0.12, high=0.12),
    ]
    return Figure([egg(paints[rng.integers(3)], (0, 0, 0), 0.5, along=rng.normal(size=3), gloss=0.4)])


def _mug(rng: np.random.Generator) -> Figure:
    glaze, height = _hue(rng), rng.uniform(0.7, 1.0)
    band = rng.uniform(-0.3, 0.1) * height
    outside = banded(glaze, WHITE if rng.random() < 0.5 else _hue(rng), low=band, high=band + 0.2 * height)
    return Figure([
        ring(glaze, (0.42, 0, height * 0.5), 0.2 * height / 0.8, 0.05, along=Y, gloss=0.5),
        turned(outside, (0, 0, 0), height, (0.36, 0.4, 0.4, 0.4, rng.uniform(0.38, 0.46)), blend=0.02, gloss=0.5),
        turned(WHITE, (0, 0, 0.08), height, (0.3, 0.34, 0.34, 0.34, 0.38), cut=True, gloss=0.3),
    ], pitch=(12, 35))


def _vase(rng: np.random.Generator) -> Figure:
    height, belly, neck = rng.uniform(0.8, 1.2), rng.uniform(0.25, 0.42), rng.uniform(0.08, 0.16)
    radii = rng.permutation([belly, belly * 0.8]).tolist()
    glaze = _hue(rng)
    paint = banded(glaze, _hue(rng), low=-0.15 * height, high=rng.uniform(-0.1, 0.1) * height)
    parts = [
        turned(paint, (0, 0, 0), height, (belly * 0.6, *radii, neck, neck + 0.06), gloss=0.6),
        turned(BLACK, (0, 0, height - 0.2), 0.3, (neck * 0.8, neck * 0.8, neck * 1.1), cut=True),
    ]
    for _ in range(rng.integers(0, 8)):
        tip = np.array([*rng.normal(0, 0.22, 2), height + rng.uniform(0.3, 0.6)])
        parts.append(limb(GREEN * 0.7, (0, 0, height - 0.1), tip, 0.015))
        petals = vary(rng, _hue(rng), 0.1)
        parts += [egg(petals, tip + 0.06 * step, (0.07, 0.07, 0.04), along=Z + step, blend=0.01) for step in (X, -X, Y, -Y)]
        parts.append(egg(GOLD, tip + 0.04 * Z, 0.045))
    return Figure(parts, pitch=(8, 25))


def _bottle(rng: np.random.Generator) -> Figure:
    glass, height, belly = vary(rng, colour(rng.choice(["#2f5d3a", "#7a4a22", "#a8c4c8", "#35506e"])), 0.1), 1.2, rng.uniform(0.18, 0.26)
    return Figure([
        turned(glass, (0, 0, 0), height, (belly, belly, belly, belly, 0.1, 0.075, 0.075), gloss=1.0, opacity=rng.uniform(0.55, 0.85)),
        turned(speckled(rng, WHITE, amount=0.04), (0, 0, 0.25), 0.32, (belly + 0.008,) * 2, gloss=0.1),
        turned(_hue(rng), (0, 0, 0.36), 0.1, (belly + 0.012,) * 2, gloss=0.1),
        turned(_hue(rng), (0, 0, height - 0.04), 0.1, (0.09, 0.09), gloss=0.5),
    ], pitch=(3, 15))


def _fruit(rng: np.random.Generator) -> Figure:
    blush = speckled(rng, vary(rng, colour(rng.choice(["#b8342c", "#d98a2c", "#9fb13c", "#d9b93c"])), 0.1), amount=0.08)
    if rng.random() < 0.5:  # an apple: wide, hollow at the stalk
        parts = [
            turned(blush, (0, 0, 0), 0.86, (0.12, 0.4, 0.5, 0.5, 0.42, 0.12), gloss=0.5),
            egg(blush, (0, 0, 0.9), (0.16, 0.16, 0.13), cut=True),
        ]
        top = 0.8
    else:  # a pear
        parts = [egg(blush, (0, 0, 0.4), 0.42, gloss=0.4), egg(blush, (0, 0, 0.88), (0.22, 0.22, 0.3), blend=0.14, gloss=0.4)]
        top = 1.15
    tip = np.array([rng.uniform(-0.1, 0.1), 0, top + 0.25])
    parts.append(limb(BARK, (0, 0, top - 0.05), tip, 0.02, 0.028))
    if rng.random() < 0.7:
        parts.append(egg(vary(rng, GREEN), tip + [0.16, 0, -0.08], (0.09, 0.018, 0.19), along=(1, 0.2, 0.4)))
    return Figure(parts, pitch=(5, 35))


def _mushroom(rng: np.random.Generator) -> Figure:
    cap = spotted(rng, _hue(rng), WHITE, count=30, radius=0.16)
    width, height = rng.uniform(0.4, 0.6), rng.uniform(0.5, 0.8)
    stem = speckled(rng, WHITE * 0.9, amount=0.06)
    return Figure([
        turned(stem, (0, 0, 0), height, (0.2, 0.14, 0.13, 0.15), gloss=0.1),
        egg(cap, (0, 0, height), (width, width, width * 0.8), gloss=0.5),
        egg(WHITE * 0.8, (0, 0, height - 0.55 * width), (width * 1.3, width * 1.3, width * 0.55), cut=True, gloss=0),
        turned(stem, (0, 0, 0), height, (0.2, 0.14, 0.13, 0.13), gloss=0.1),
    ], pitch=(0, 20))


def _leafy(rng: np.random.Generator) -> Figure:
    """A house plant: long leaves out of a pot."""
    clay = colour("#b3694a") if rng.random() < 0.5 else _hue(rng)
    leaf = vary(rng, GREEN, 0.2)
    parts = [
        turned(clay, (0, 0, 0), 0.42, (0.22, 0.27, 0.3, 0.32), gloss=0.2),
        turned(BARK * 0.5, (0, 0, 0.36), 0.1, (0.27, 0.27), gloss=0),
    ]
    count = int(rng.integers(9, 16))
    wide, rise = rng.uniform(0.05, 0.13), rng.uniform(0.35, 0.7)
    for i in range(count):
        turn, lean = 2.4 * i + rng.normal(0, 0.2), rng.uniform(0.3, 1.0) * (0.4 + 0.6 * i / count)
        out = np.array([np.cos(turn) * np.sin(lean), np.sin(turn) * np.sin(lean), np.cos(lean)])
        start = np.array([0, 0, 0.42])
        bend = start + rise * out
        parts.append(limb(leaf * 0.7, start, bend, 0.014))
        tip = bend + 0.25 * (out - 0.5 * Z)
        parts.append(_leaf(vary(rng, leaf, 0.08), bend, tip, wide))
    return Figure(parts, pitch=(5, 30))


def _leaf(paint: np.ndarray, start: np.ndarray, end: np.ndarray, wide: float) -> Part:
    """A flat blade, its face turned up."""
    along = (end - start) / np.linalg.norm(end - start)
    side = np.cross(along, Z)
    side /= np.linalg.norm(side) + 1e-9
    axes = np.stack([side, np.cross(along, side), along], axis=1)
    shape = Ellipsoid((wide, 0.016, float(np.linalg.norm(end - start)) * 0.75))
    return Part(shape, paint, (start + end) / 2, axes, blend=0.01)


def _cactus(rng: np.random.Generator) -> Figure:
    skin = segmented(vary(rng, GREEN, 0.15), vary(rng, GREEN * 0.6, 0.1), count=9)
    height = rng.uniform(0.6, 0.95)
    parts = [
        turned(_hue(rng), (0, 0, 0), 0.32, (0.2, 0.25, 0.28), gloss=0.3),
        turned(GOLD * 0.6, (0, 0, 0.28), 0.06, (0.24, 0.24), gloss=0),
        limb(skin, (0, 0, 0.3), (0, 0, 0.3 + height), 0.17, 0.15, fur=0.03),
    ]
    for side in (-1, 1)[: rng.integers(1, 3)]:
        level = 0.3 + height * rng.uniform(0.3, 0.7)
        elbow = np.array([side * 0.32, 0, level + 0.04])
        parts.append(limb(skin, (0, 0, level), elbow, 0.08, blend=0.03, fur=0.03))
        parts.append(limb(skin, elbow, elbow + [0.02 * side, 0, rng.uniform(0.15, 0.35)], 0.085, 0.07, blend=0.03, fur=0.03))
    top = np.array([0, 0, 0.47 + height])
    for i in range(5):
        way = np.array([np.cos(1.257 * i), np.sin(1.257 * i), 0.6])
        parts.append(egg(colour("#e26f8f"), top + 0.05 * way, (0.03, 0.03, 0.07), along=way))
    return Figure(parts, turn=50)


def _cushion(rng: np.random.Generator) -> Figure:
    cloth = speckled(rng, _hue(rng), amount=0.08, texel=0.003) if rng.random() < 0.4 else _woven(_hue(rng), WHITE)
    pile = {"gloss": 0, "fur": rng.choice([0, 0.025])}
    return Figure([
        slab(cloth, (0, 0, 0), (0.5, 0.05, 0.5), 0.04, **pile),
        egg(cloth, (0, 0, 0), (0.5, 0.3, 0.5), blend=0.1, **pile),
    ], turn=40, pitch=(0, 35))


def _woven(base: np.ndarray, second: np.ndarray) -> Paint:
    """Stripes along x."""

    def paint(points: np.ndarray) -> np.ndarray:
        share = np.clip(6 * np.sin(28 * points[0]) * np.cos(3 * points[0]) + 0.5, 0, 1)
        return mix(base, second, 0.6 * share[:, None])

    return paint


def _lamp(rng: np.random.Generator) -> Figure:
    foot, wide = _hue(rng), rng.uniform(0.3, 0.4)
    return Figure([
        turned(foot, (0, 0, 0), 0.5, rng.permutation([0.2, 0.1, 0.16, 0.07]), gloss=0.6),
        turned(STEEL, (0, 0, 0.45), 0.2, (0.025, 0.025)),
        turned(colour("#ffe2a8"), (0, 0, 0.58), 0.42, (wide, wide * 0.8, wide * 0.6), glow=0.75, gloss=0),
        turned(vary(rng, foot), (0, 0, 0.58), 0.03, (wide + 0.008,) * 2, gloss=0),
    ], pitch=(0, 15))


def _car(rng: np.random.Generator) -> Figure:
    body = _hue(rng)
    parts = [
        slab(body, (0, 0, 0.26), (0.62, 0.28, 0.13), 0.08, gloss=0.7),
        slab(colour("#9fc4d6"), (-0.06, 0, 0.44), (0.34, 0.24, 0.13), 0.08, blend=0.02, gloss=0.9),
        slab(body, (-0.06, 0, 0.55), (0.3, 0.235, 0.035), 0.03, gloss=0.7),
        slab(body, (-0.06, 0, 0.45), (0.03, 0.245, 0.11), 0.02, gloss=0.7),
        slab(STEEL, (0.62, 0, 0.19), (0.03, 0.26, 0.03), 0.02, gloss=0.8),
    ]
    for x in (-0.36, 0.36):
        for side in (-1, 1):
            parts.append(ring(BLACK, (x, 0.26 * side, 0.15), 0.1, 0.055, along=Y))
            parts.append(egg(STEEL, (x, 0.27 * side, 0.15), (0.09, 0.09, 0.03), along=Y, gloss=0.8))
    for y in (-0.17, 0.17):
        parts.append(egg(colour("#fff2c0"), (0.61, y, 0.3), 0.05, glow=0.5, gloss=0.8))
    return Figure(parts, turn=60, pitch=(10, 35))


def _doughnut(rng: np.random.Generator) -> Figure:
    dough, icing = speckled(rng, colour("#c58a4a"), amount=0.08), _hue(rng)
    parts = [ring(dough, (0, 0, 0), 0.34, 0.17, gloss=0.2), ring(icing, (0, 0, 0.045), 0.34, 0.163, gloss=0.7)]
    for _ in range(28):
        turn, lean = rng.uniform(0, 6.28), rng.uniform(-1, 1)
        out = np.array([np.cos(turn), np.sin(turn), 0])
        place = out * (0.34 + 0.165 * np.sin(lean)) + Z * (0.045 + 0.165 * np.cos(lean))
        way = np.cross(out * np.sin(lean) + Z * np.cos(lean), rng.normal(size=3))
        way *= 0.025 / np.linalg.norm(way)
        parts.append(limb(_hue(rng), place - way, place + way, 0.011, gloss=0.5))
    return Figure(parts, pitch=(30, 65))


def _ice_cream(rng: np.random.Generator) -> Figure:
    wafer = _woven(colour("#c88f4e"), colour("#8a5a2c"))
    parts = [turned(wafer, (0, 0, 0), 0.75, (0.02, 0.1, 0.18, 0.25), gloss=0.1)]
    for i in range(rng.integers(1, 4)):
        scoop = speckled(rng, mix(_hue(rng), WHITE, 0.3), amount=0.08, texel=0.004)
        parts.append(egg(scoop, (rng.normal(0, 0.02), 0, 0.85 + 0.26 * i), 0.27 - 0.03 * i, blend=0.025, gloss=0.25))
    parts.append(egg(colour("#a81e2c"), (0.03, -0.02, parts[-1].centre[2] + 0.25), 0.08, gloss=0.9))
    return Figure(parts, pitch=(-5, 20))


def _rocket(rng: np.random.Generator) -> Figure:
    body, trim = mix(_hue(rng), WHITE, 0.7), _hue(rng)
    parts = [
        turned(banded(body, trim, low=0.28, high=1), (0, 0, 0), 1.3, (0.16, 0.24, 0.26, 0.24, 0.15, 0.01), gloss=0.5),
        turned(STEEL * 0.6, (0, 0, -0.1), 0.14, (0.15, 0.12), gloss=0.6),
        ring(trim, (0, -0.25, 0.75), 0.09, 0.025, along=Y, gloss=0.6),
        egg(colour("#7fb4d0"), (0, -0.24, 0.75), (0.085, 0.085, 0.03), along=Y, gloss=1.0),
    ]
    for turn in np.arange(4) * np.pi / 2 + 0.5:
        out = np.array([np.cos(turn), np.sin(turn), 0])
        parts.append(limb(trim, out * 0.2 + 0.3 * Z, out * 0.4 - 0.08 * Z, 0.05, 0.035, gloss=0.5))
    return Figure(parts, turn=45, pitch=(-5, 20))


# --- creatures -------------------------------------------------------------------------------------


def _eyes(places, radius: float, *, look=-Y) -> list[Part]:
    """Black eyes with a bright spot."""
    parts = []
    for place in places:
        place = np.array(place, float)
        parts.append(egg(BLACK, place, radius, gloss=1.0))
        parts.append(egg(WHITE, place + radius * 0.75 * look + radius * 0.45 * (X + Z), radius * 0.28, glow=0.6))
    return parts


def _duck(rng: np.random.Generator) -> Figure:
    coat = vary(rng, colour("#f0c02c"), 0.1) if rng.random() < 0.6 else mix(_hue(rng), WHITE, 0.3)
    beak, fat = colour("#e0681c"), rng.uniform(0.9, 1.1)
    return Figure([
        egg(coat, (0, 0, 0.3), (0.34 * fat, 0.46, 0.28), gloss=0.5),
        egg(coat, (0, 0.42, 0.45), (0.14, 0.2, 0.1), along=(0, -0.3, 1), blend=0.12, gloss=0.5),
        egg(coat, (0, -0.24, 0.72), 0.25, blend=0.06, gloss=0.5),
        egg(coat * 0.92, (0.3 * fat, 0.08, 0.36), (0.08, 0.24, 0.16), blend=0.03, gloss=0.5),
        egg(coat * 0.92, (-0.3 * fat, 0.08, 0.36), (0.08, 0.24, 0.16), blend=0.03, gloss=0.5),
        egg(beak, (0, -0.5, 0.7), (0.11, 0.14, 0.03), blend=0.02, gloss=0.5),
        egg(beak, (0, -0.48, 0.66), (0.09, 0.11, 0.03), gloss=0.5),
        *_eyes([(-0.12, -0.42, 0.8), (0.12, -0.42, 0.8)], 0.045),
    ], turn=100, pitch=(0, 25))


def _robot(rng: np.random.Generator) -> Figure:
    metal, trim = mix(_hue(rng), STEEL, rng.uniform(0, 0.7)), _hue(rng)
    light = colour(rng.choice(["#7fe0ff", "#ffd75f", "#8fff9a"]))
    wide = rng.uniform(0.26, 0.36)
    raised = rng.uniform(-0.3, 0.5, 2)
    parts = [
        slab(metal, (0, 0, 0.62), (wide, 0.2, 0.28), 0.05, gloss=0.6),
        slab(metal, (0, 0, 1.12), (0.27, 0.21, 0.18), 0.06, gloss=0.6),
        limb(STEEL * 0.7, (0, 0, 0.85), (0, 0, 1.0), 0.07),
        slab(BLACK, (0, -0.19, 1.13), (0.22, 0.04, 0.1), 0.03, gloss=0.9),
        egg(light, (-0.1, -0.23, 1.14), 0.045, glow=1.0), egg(light, (0.1, -0.23, 1.14), 0.045, glow=1.0),
        limb(STEEL, (0, 0, 1.28), (0, 0, 1.45), 0.015), egg(trim, (0, 0, 1.48), 0.05, gloss=0.8),
        slab(trim, (0, -0.2, 0.68), (wide * 0.6, 0.02, 0.12), 0.015, gloss=0.5),
    ]
    for side, lift in zip((-1, 1), raised, strict=True):
        shoulder, elbow = np.array([side * (wide + 0.05), 0, 0.82]), np.array([side * (wide + 0.22), -0.05, 0.62 + 0.3 * lift])
        hand = elbow + [side * 0.04, -0.12, -0.2 + 0.5 * lift]
        parts += [egg(trim, shoulder, 0.085, gloss=0.6), limb(STEEL, shoulder, elbow, 0.045), limb(metal, elbow, hand, 0.07, gloss=0.6)]
        parts += [ring(trim, hand + (hand - elbow) * 0.4, 0.06, 0.025, along=Y, gloss=0.5)]
        parts += [limb(STEEL, (side * 0.15, 0, 0.4), (side * 0.16, 0, 0.1), 0.06), slab(trim, (side * 0.17, -0.05, 0.06), (0.12, 0.17, 0.06), 0.04, gloss=0.5)]
    return Figure(parts, turn=45, pitch=(0, 20))


def _person(rng: np.random.Generator) -> Figure:
    skin, hair = vary(rng, colour(rng.choice(SKINS)), 0.08), vary(rng, colour(rng.choice(FURS)), 0.15)
    shirt, trousers, shoes = speckled(rng, _hue(rng), amount=0.05), _hue(rng) * 0.6, BLACK * 1.5
    build, stride = rng.uniform(0.85, 1.15), rng.uniform(-0.12, 0.12)
    parts = [
        limb(trousers, (0, 0, 0.88), (0, 0, 0.95), 0.13 * build, gloss=0),
        egg(shirt, (0, 0, 1.17), (0.19 * build, 0.12 * build, 0.3), blend=0.02, gloss=0),
        limb(shirt, (-0.16 * build, 0, 1.36), (0.16 * build, 0, 1.36), 0.075, blend=0.05, gloss=0),
        limb(skin, (0, 0, 1.42), (0, -0.01, 1.52), 0.055),
        egg(skin, (0, -0.02, 1.62), (0.1, 0.115, 0.14), blend=0.02),
        egg(hair, (0, 0.03, 1.67), (0.115, 0.12, 0.125), gloss=0.3),
        egg(skin, (0, -0.14, 1.6), (0.018, 0.03, 0.025), blend=0.01),
        *_eyes([(-0.04, -0.125, 1.64), (0.04, -0.125, 1.64)], 0.014),
    ]
    if rng.random() < 0.4:
        parts.append(egg(hair, (0, 0.08, 1.52), (0.12, 0.07, 0.2), blend=0.04, gloss=0.3))
    for side, swing in ((-1, stride), (1, -stride)):
        knee, foot = (side * 0.1, -abs(swing) * 0.6, 0.48), np.array([side * 0.1, swing, 0.08])
        parts += [limb(trousers, (side * 0.08, 0, 0.86), knee, 0.095 * build, 0.075, blend=0.03, gloss=0)]
        parts += [limb(trousers, knee, foot, 0.07, 0.055, blend=0.02, gloss=0)]
        parts += [limb(shoes, foot - 0.03 * Z, foot + [0.01 * side, -0.14, -0.04], 0.05, gloss=0.4)]
        bend = rng.uniform(0.02, 0.2)
        shoulder, elbow = np.array([side * 0.2 * build, 0, 1.36]), np.array([side * (0.24 + bend) * build, 0.03, 1.1])
        hand = elbow + [side * rng.uniform(-0.12, 0.08), -0.12 + swing, rng.uniform(-0.22, 0.2)]
        parts += [limb(shirt, shoulder, elbow, 0.06, 0.05, blend=0.02, gloss=0), limb(skin, elbow, hand, 0.042, 0.035)]
        parts += [egg(skin, hand + 0.3 * (hand - elbow), (0.035, 0.03, 0.06), along=hand - elbow, blend=0.01)]
    return Figure(parts, turn=60, pitch=(-3, 12))


def _cat(rng: np.random.Generator) -> Figure:
    """Sitting."""
    base = vary(rng, colour(rng.choice(FURS)), 0.1)
    coat = speckled(rng, base, amount=0.2, texel=(0.004, 0.03) if rng.random() < 0.5 else 0.02)
    bib = mix(base, WHITE, 0.7)
    hair = {"gloss": 0, "fur": 0.05}
    parts = [
        egg(coat, (0, 0.12, 0.32), (0.29, 0.33, 0.32), **hair),
        egg(coat, (0, -0.06, 0.52), (0.2, 0.2, 0.34), blend=0.1, **hair),
        egg(bib, (0, -0.19, 0.55), (0.11, 0.08, 0.18), blend=0.05, **hair),
        egg(coat, (0, -0.16, 0.95), (0.22, 0.2, 0.19), blend=0.05, **hair),
        egg(bib, (0, -0.33, 0.89), (0.09, 0.06, 0.06), blend=0.03, **hair),
        egg(colour("#c87a78"), (0, -0.39, 0.92), (0.025, 0.015, 0.018), gloss=0.5),
        *_eyes([(-0.09, -0.335, 0.98), (0.09, -0.335, 0.98)], 0.033),
    ]
    sway = rng.uniform(-1, 1)
    for side in (-1, 1):
        parts += [limb(coat, (side * 0.1, -0.18, 0.5), (side * 0.11, -0.24, 0.08), 0.08, 0.065, blend=0.05, **hair)]
        parts += [egg(bib, (side * 0.11, -0.3, 0.06), (0.07, 0.1, 0.06), blend=0.02, **hair)]
        parts += [egg(coat, (side * 0.26, -0.02, 0.14), (0.12, 0.22, 0.14), blend=0.06, **hair)]
        parts += [egg(coat, (side * 0.14, -0.13, 1.15), (0.07, 0.035, 0.13), along=(side * 0.3, 0, 1), blend=0.03, **hair)]
    way = [np.array([0.1 * sway, 0.42, 0.1]), np.array([0.5 * sway, 0.5, 0.1]), np.array([0.62 * sway, 0.35, 0.25])]
    parts += [limb(coat, a, b, 0.06, 0.055, blend=0.03, **hair) for a, b in zip(way, way[1:], strict=False)]
    return Figure(parts, turn=60, pitch=(0, 20))


def _teddy(rng: np.random.Generator) -> Figure:
    coat = vary(rng, colour(rng.choice(FURS)), 0.15)
    pale = mix(coat, WHITE, 0.45)
    hair = {"gloss": 0, "fur": 0.045}
    parts = [
        egg(coat, (0, 0, 0.42), (0.3, 0.25, 0.33), **hair), egg(pale, (0, -0.16, 0.42), (0.2, 0.12, 0.23), **hair),
        egg(coat, (0, -0.02, 0.9), (0.27, 0.24, 0.24), blend=0.03, **hair), egg(pale, (0, -0.23, 0.84), (0.12, 0.1, 0.09), **hair),
        egg(BLACK, (0, -0.33, 0.87), (0.04, 0.025, 0.03), gloss=0.8),
        *_eyes([(-0.1, -0.235, 0.96), (0.1, -0.235, 0.96)], 0.035),
        ring(_hue(rng), (0, -0.01, 0.69), 0.19, 0.04, gloss=0.4),
    ]
    for side in (-1, 1):
        lift = rng.uniform(-0.1, 0.35)
        parts += [limb(coat, (side * 0.24, 0, 0.6), (side * 0.46, -0.1, 0.42 + lift), 0.1, 0.11, blend=0.04, **hair)]
        parts += [limb(coat, (side * 0.2, -0.05, 0.16), (side * 0.3, -0.38, 0.13), 0.13, 0.12, blend=0.04, **hair)]
        parts += [egg(pale, (side * 0.3, -0.49, 0.14), (0.08, 0.03, 0.09), **hair)]
        parts += [egg(coat, (side * 0.22, 0, 1.1), (0.1, 0.06, 0.1), blend=0.02, **hair), egg(pale, (side * 0.22, -0.05, 1.1), (0.06, 0.03, 0.06), **hair)]
    return Figure(parts, turn=50, pitch=(0, 25))


def _penguin(rng: np.random.Generator) -> Figure:
    coat, beak = mix(BLACK, _hue(rng), 0.15), colour("#e8902c")
    parts = [
        egg(coat, (0, 0, 0.5), (0.33, 0.3, 0.48), gloss=0.3), egg(WHITE, (0, -0.1, 0.45), (0.26, 0.23, 0.4), gloss=0.1),
        egg(coat, (0, -0.02, 0.98), (0.23, 0.22, 0.21), blend=0.08, gloss=0.3),
        egg(WHITE, (-0.09, -0.15, 0.97), (0.1, 0.09, 0.11), gloss=0.1), egg(WHITE, (0.09, -0.15, 0.97), (0.1, 0.09, 0.11), gloss=0.1),
        egg(beak, (0, -0.28, 0.92), (0.06, 0.11, 0.035), gloss=0.4),
        *_eyes([(-0.08, -0.235, 1.01), (0.08, -0.235, 1.01)], 0.032),
    ]
    for side in (-1, 1):
        out = rng.uniform(0.1, 0.5)
        parts += [egg(coat, (side * 0.36, 0, 0.55), (0.05, 0.12, 0.28), along=(-side * out, 0, 1), blend=0.02, gloss=0.3)]
        parts += [egg(beak, (side * 0.15, -0.15, 0.03), (0.1, 0.16, 0.04), gloss=0.3)]
    return Figure(parts, turn=50, pitch=(0, 20))


def _snowman(rng: np.random.Generator) -> Figure:
    snow, scarf, hat = speckled(rng, colour("#eef2f6"), amount=0.04), _hue(rng), mix(BLACK, _hue(rng), 0.2)
    parts = [
        egg(snow, (0, 0, 0.36), (0.4, 0.4, 0.37), gloss=0), egg(snow, (0, 0, 0.86), 0.28, blend=0.04, gloss=0),
        egg(snow, (0, 0, 1.24), 0.2, blend=0.03, gloss=0), ring(scarf, (0, 0, 1.06), 0.19, 0.055, gloss=0),
        limb(scarf, (0.12, -0.2, 1.04), (0.15, -0.3, 0.8), 0.05, gloss=0),
        limb(colour("#e8792c"), (0, -0.18, 1.24), (0, -0.42, 1.22), 0.04, 0.012),
        turned(hat, (0, 0, 1.38), 0.03, (0.25, 0.25)), turned(hat, (0, 0, 1.38), 0.26, (0.16, 0.15, 0.17)),
        turned(scarf, (0, 0, 1.4), 0.06, (0.165, 0.163)),
        *_eyes([(-0.075, -0.175, 1.3), (0.075, -0.175, 1.3)], 0.028),
        *(egg(BLACK, (0, -0.285, z), 0.032) for z in (0.78, 0.92)),
    ]
    for side in (-1, 1):
        hand = np.array([side * 0.62, -0.05, rng.uniform(0.85, 1.25)])
        parts.append(limb(BARK, (side * 0.22, 0, 0.92), hand, 0.025, 0.015))
        parts += [limb(BARK, hand - [side * 0.1, 0, 0], hand + [side * 0.05, 0, up], 0.012) for up in (-0.06, 0.12)]
    return Figure(parts, turn=40, pitch=(0, 20))


def _fish(rng: np.random.Generator) -> Figure:
    scales = spotted(rng, _hue(rng), _hue(rng), count=40, radius=0.1) if rng.random() < 0.5 else _woven(_hue(rng), WHITE)
    fins = _hue(rng)
    parts = [
        egg(scales, (0, 0, 0), (0.48, 0.17, rng.uniform(0.24, 0.34)), gloss=0.7),
        egg(fins, (0.05, 0, 0.28), (0.2, 0.025, 0.14), blend=0.04, gloss=0.5), egg(fins, (0, 0, -0.28), (0.13, 0.025, 0.1), blend=0.04, gloss=0.5),
        *_eyes([(-0.32, -0.125, 0.07), (-0.32, 0.125, 0.07)], 0.045),
    ]
    for lift in (-1, 1):
        parts.append(egg(fins, (0.6, 0, 0.13 * lift), (0.09, 0.025, 0.2), along=(0.8, 0, lift), blend=0.03, gloss=0.5))
    parts += [egg(fins, (-0.08, 0.2 * side, -0.05), (0.05, 0.02, 0.14), along=(0.8, 0.5 * side, -0.4), gloss=0.5) for side in (-1, 1)]
    return Figure(parts, turn=35, pitch=(-10, 20))


FAMILIES: tuple[Callable[[np.random.Generator], Figure], ...] = (
    _ball, _cat, _mug, _leafy, _person, _fruit, _robot, _vase, _teddy, _bottle, _car, _duck,
    _mushroom, _lamp, _penguin, _cactus, _doughnut, _cushion, _snowman, _ice_cream, _fish, _rocket,
)


# --- the picture -----------------------------------------------------------------------------------


def draw_cutout(index: int, *, seed: int = 0, size: int = 256) -> np.ndarray:
    """Draw cut-out number `index`; the families take turns.

    Args:
        index: which cut-out; any integer from 0 up.
        seed: another seed, another series of cut-outs.
        size: longest side of the picture [px].

    Returns:
        uint8 (h, w, 4) RGBA with straight alpha, tight around the object; where alpha is 0 the colours of its edge go on.
    """
    rng = make_generator(seed, index)
    figure = FAMILIES[index % len(FAMILIES)](rng)
    turn, pitch = rng.uniform(-1, 1) * figure.turn, rng.uniform(*figure.pitch)
    light = np.array([rng.choice([-1, 1]) * rng.uniform(0.3, 0.9), rng.uniform(0.5, 1), rng.uniform(0.4, 0.9)])
    picture = render(
        figure.parts,
        view=view_axes(np.radians(turn), np.radians(pitch)),
        light=(light / np.linalg.norm(light)).astype(np.float32),
        size=size * SUPERSAMPLING,
        margin=MARGIN_PX * SUPERSAMPLING,
    )
    canvas = _premultiplied(picture, exposure=rng.uniform(0.85, 1.1))
    if picture.fur.any():
        _comb(rng, canvas, picture)
    return _finish(canvas)


def _premultiplied(picture: Picture, *, exposure: float) -> np.ndarray:
    """sRGB times alpha, and alpha: uint8 (H, W, 4)."""
    srgb = encode_srgb(picture.colour * exposure)
    alpha = picture.alpha[..., None]
    return (np.dstack([srgb * alpha, 255 * alpha]) + 0.5).astype(np.uint8)


def _comb(rng: np.random.Generator, canvas: np.ndarray, picture: Picture) -> None:
    """Draw short hairs on what has fur, outward and down, past its edge."""
    rows, columns = np.nonzero((picture.alpha > 0.9) & (picture.fur > 1))
    chosen = rng.permutation(rows.size)[: rows.size // 12]
    start = np.stack([columns[chosen], rows[chosen]], axis=1).astype(float)
    outward = picture.normal[rows[chosen], columns[chosen], :2] * [1, -1]
    way = outward + [0, 0.35] + rng.normal(0, 0.25, outward.shape)
    length = picture.fur[rows[chosen], columns[chosen], None] * rng.uniform(0.3, 1, (chosen.size, 1))
    end = start + way * length
    hue = canvas[rows[chosen], columns[chosen]] * rng.uniform(0.8, 1.15, (chosen.size, 1))
    hue = np.clip(hue, 0, 255).astype(int)
    fixed = np.round(np.stack([start, end], axis=1) * 16).astype(int)  # four fractional bits
    for (a, b), (red, green, blue, _) in zip(fixed.tolist(), hue.tolist(), strict=True):
        cv2.line(canvas, a, b, (red, green, blue, 255), 1, cv2.LINE_AA, 4)


def _finish(canvas: np.ndarray) -> np.ndarray:
    """Make it small, then straight RGBA cut close around what is there."""
    height, width = (side // SUPERSAMPLING for side in canvas.shape[:2])
    small = cv2.resize(canvas.astype(np.float32) / 255, (width, height), interpolation=cv2.INTER_AREA)
    image = np.dstack([_straight(small), small[..., 3:]])
    image = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    rows, columns = np.nonzero(image[..., 3])
    top, left = max(rows.min() - MARGIN_PX, 0), max(columns.min() - MARGIN_PX, 0)
    return image[top : rows.max() + 1 + MARGIN_PX, left : columns.max() + 1 + MARGIN_PX].copy()


def _straight(premultiplied: np.ndarray) -> np.ndarray:
    """Colours (H, W, 3) without the alpha; where nothing is, the colours near by, from ever coarser copies."""
    height, width = premultiplied.shape[:2]
    total = premultiplied + 1e-12 * premultiplied.mean(axis=(0, 1))
    for weight, block in ((1e-3, 4), (1e-6, 16), (1e-9, 64)):
        coarse = (-(-width // block), -(-height // block))
        blurred = cv2.resize(premultiplied, coarse, interpolation=cv2.INTER_AREA)
        total += weight * cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
    return total[..., :3] / total[..., 3:]
