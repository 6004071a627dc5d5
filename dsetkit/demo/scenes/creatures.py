"""The families of cut-outs that show people, animals and toys: each function builds one.

The colours are random.
"""

import numpy as np

from dsetkit.demo.scenes.figure import (
    BARK,
    BLACK,
    COATS,
    SKINS,
    STEEL,
    WHITE,
    Figure,
    Finish,
    Y,
    Z,
    pick,
    speckled,
    spotted,
    striped,
)
from dsetkit.demo.scenes.palette import colour, mix

SIDES = (-1, 1)
MATT = Finish(gloss=0.0)


def person(rng: np.random.Generator) -> Figure:
    figure, build = Figure(turn=60, pitch=(-3, 12)), rng.uniform(0.85, 1.15)
    skin, hair, shirt = pick(rng, SKINS), pick(rng, COATS), speckled(rng, pick(rng), amount=0.05)
    trousers, stride = pick(rng) * 0.6, rng.uniform(-0.12, 0.12)
    figure.limb(trousers, (0, 0, 0.88), (0, 0, 0.95), 0.13 * build, **MATT)
    figure.ellipsoid(shirt, (0, 0, 1.17), (0.19 * build, 0.12 * build, 0.3), blend=0.02, **MATT)
    shoulder = np.array([0.16 * build, 0, 1.36])
    figure.limb(shirt, shoulder * [-1, 1, 1], shoulder, 0.075, blend=0.05, **MATT)
    figure.limb(skin, (0, 0, 1.42), (0, -0.01, 1.52), 0.055)
    figure.ellipsoid(skin, (0, -0.02, 1.62), (0.1, 0.115, 0.14), blend=0.02)
    figure.ellipsoid(skin, (0, -0.14, 1.6), (0.018, 0.03, 0.025), blend=0.01)
    figure.ellipsoid(hair, (0, 0.03, 1.67), (0.115, 0.12, 0.125), gloss=0.3)
    if rng.random() < 0.4:
        figure.ellipsoid(hair, (0, 0.08, 1.52), (0.12, 0.07, 0.2), blend=0.04, gloss=0.3)
    for side in SIDES:
        figure.eye((side * 0.04, -0.125, 1.64), 0.014)
        swing = side * stride
        knee, foot = (side * 0.1, -abs(swing) * 0.6, 0.48), np.array([side * 0.1, swing, 0.08])
        figure.limb(
            trousers, (side * 0.08, 0, 0.86), knee, 0.095 * build, 0.075, blend=0.03, **MATT
        )
        figure.limb(trousers, knee, foot, 0.07, 0.055, blend=0.02, **MATT)
        figure.limb(BLACK * 1.5, foot - 0.03 * Z, foot + [0, -0.14, -0.04], 0.05, gloss=0.4)
        elbow = np.array([side * (0.24 + rng.uniform(0.02, 0.2)) * build, 0.03, 1.1])
        hand = elbow + [side * rng.uniform(-0.12, 0.08), -0.12 - swing, rng.uniform(-0.22, 0.2)]
        figure.limb(shirt, shoulder * [side, 1, 1], elbow, 0.06, 0.05, blend=0.02, **MATT)
        figure.limb(skin, elbow, hand, 0.042, 0.035)
        palm = (0.035, 0.03, 0.06)
        figure.ellipsoid(skin, hand + 0.3 * (hand - elbow), palm, along=hand - elbow, blend=0.01)
    return figure


def cat(rng: np.random.Generator) -> Figure:
    """A sitting cat with its tail to one side."""
    figure, base, sway = Figure(turn=60, pitch=(0, 20)), pick(rng, COATS), rng.choice(SIDES)
    coat = speckled(rng, base, amount=0.2, texel=(0.004, 0.03) if rng.random() < 0.5 else 0.02)
    bib, hair = mix(base, WHITE, 0.7), Finish(gloss=0, fur=0.05)
    figure.ellipsoid(coat, (0, 0.12, 0.32), (0.29, 0.33, 0.32), **hair)
    figure.ellipsoid(coat, (0, -0.06, 0.52), (0.2, 0.2, 0.34), blend=0.1, **hair)
    figure.ellipsoid(bib, (0, -0.19, 0.55), (0.11, 0.08, 0.18), blend=0.05, **hair)
    figure.ellipsoid(coat, (0, -0.16, 0.95), (0.22, 0.2, 0.19), blend=0.05, **hair)
    figure.ellipsoid(bib, (0, -0.33, 0.89), (0.09, 0.06, 0.06), blend=0.03, **hair)
    figure.ellipsoid(colour("#c87a78"), (0, -0.39, 0.92), (0.025, 0.015, 0.018), gloss=0.5)
    for side in SIDES:
        paw, ear = (side * 0.11, -0.3, 0.06), (side * 0.14, -0.13, 1.15)
        figure.eye((side * 0.09, -0.335, 0.98), 0.033)
        figure.limb(
            coat,
            (side * 0.1, -0.18, 0.5),
            (side * 0.11, -0.24, 0.08),
            0.08,
            0.065,
            blend=0.05,
            **hair,
        )
        figure.ellipsoid(bib, paw, (0.07, 0.1, 0.06), blend=0.02, **hair)
        figure.ellipsoid(coat, (side * 0.26, -0.02, 0.14), (0.12, 0.22, 0.14), blend=0.06, **hair)
        figure.ellipsoid(
            coat, ear, (0.07, 0.035, 0.13), along=(side * 0.3, 0, 1), blend=0.03, **hair
        )
    tail = [(0.1 * sway, 0.42, 0.1), (0.5 * sway, 0.5, 0.1), (0.62 * sway, 0.35, 0.25)]
    figure.limb(coat, tail[0], tail[1], 0.06, blend=0.03, **hair)
    figure.limb(coat, tail[1], tail[2], 0.06, 0.05, blend=0.03, **hair)
    return figure


def teddy(rng: np.random.Generator) -> Figure:
    figure, coat = Figure(turn=50, pitch=(0, 25)), pick(rng, COATS)
    pale, hair = mix(coat, WHITE, 0.45), Finish(gloss=0, fur=0.045)
    figure.ellipsoid(coat, (0, 0, 0.42), (0.3, 0.25, 0.33), **hair)
    figure.ellipsoid(pale, (0, -0.16, 0.42), (0.2, 0.12, 0.23), **hair)
    figure.ellipsoid(coat, (0, -0.02, 0.9), (0.27, 0.24, 0.24), blend=0.03, **hair)
    figure.ellipsoid(pale, (0, -0.23, 0.84), (0.12, 0.1, 0.09), **hair)
    figure.ellipsoid(BLACK, (0, -0.33, 0.87), (0.04, 0.025, 0.03), gloss=0.8)
    figure.ring(pick(rng), (0, -0.01, 0.69), 0.19, 0.04, gloss=0.4)
    for side in SIDES:
        hand = (side * 0.46, -0.1, 0.42 + rng.uniform(-0.1, 0.35))
        hip, foot = (side * 0.2, -0.05, 0.16), (side * 0.3, -0.38, 0.13)
        figure.eye((side * 0.1, -0.235, 0.96), 0.035)
        figure.limb(coat, (side * 0.24, 0, 0.6), hand, 0.1, 0.11, blend=0.04, **hair)
        figure.limb(coat, hip, foot, 0.13, 0.12, blend=0.04, **hair)
        figure.ellipsoid(pale, (side * 0.3, -0.49, 0.14), (0.08, 0.03, 0.09), **hair)
        figure.ellipsoid(coat, (side * 0.22, 0, 1.1), (0.1, 0.06, 0.1), blend=0.02, **hair)
        figure.ellipsoid(pale, (side * 0.22, -0.05, 1.1), (0.06, 0.03, 0.06), **hair)
    return figure


def duck(rng: np.random.Generator) -> Figure:
    """A rubber duck."""
    figure, beak, fat = Figure(turn=100, pitch=(0, 25)), colour("#e0681c"), rng.uniform(0.9, 1.1)
    coat = pick(rng, ["#f0c02c"]) if rng.random() < 0.6 else mix(pick(rng), WHITE, 0.3)
    rubber = Finish(gloss=0.5)
    figure.ellipsoid(coat, (0, 0, 0.3), (0.34 * fat, 0.46, 0.28), **rubber)
    tail = (0, 0.42, 0.45)
    figure.ellipsoid(coat, tail, (0.14, 0.2, 0.1), along=(0, -0.3, 1), blend=0.12, **rubber)
    figure.ellipsoid(coat, (0, -0.24, 0.72), 0.25, blend=0.06, **rubber)
    figure.ellipsoid(beak, (0, -0.5, 0.7), (0.11, 0.14, 0.03), blend=0.02, **rubber)
    figure.ellipsoid(beak, (0, -0.48, 0.66), (0.09, 0.11, 0.03), **rubber)
    for side in SIDES:
        wing = (side * 0.3 * fat, 0.08, 0.36)
        figure.ellipsoid(coat * 0.92, wing, (0.08, 0.24, 0.16), blend=0.03, **rubber)
        figure.eye((side * 0.12, -0.42, 0.8), 0.045)
    return figure


def robot(rng: np.random.Generator) -> Figure:
    figure, wide = Figure(turn=45, pitch=(0, 20)), rng.uniform(0.26, 0.36)
    metal, trim = mix(pick(rng), STEEL, rng.uniform(0, 0.7)), pick(rng)
    light, shiny = colour(rng.choice(["#7fe0ff", "#ffd75f", "#8fff9a"])), Finish(gloss=0.6)
    figure.slab(metal, (0, 0, 0.62), (wide, 0.2, 0.28), 0.05, **shiny)
    figure.slab(metal, (0, 0, 1.12), (0.27, 0.21, 0.18), 0.06, **shiny)
    figure.slab(BLACK, (0, -0.19, 1.13), (0.22, 0.04, 0.1), gloss=0.9)
    figure.slab(trim, (0, -0.2, 0.68), (wide * 0.6, 0.02, 0.12), 0.015, **shiny)
    figure.limb(STEEL * 0.7, (0, 0, 0.85), (0, 0, 1.0), 0.07)
    figure.limb(STEEL, (0, 0, 1.28), (0, 0, 1.45), 0.015)
    figure.ellipsoid(trim, (0, 0, 1.48), 0.05, **shiny)
    for side in SIDES:
        shoulder, lift = np.array([side * (wide + 0.05), 0, 0.82]), rng.uniform(-0.3, 0.5)
        elbow = np.array([side * (wide + 0.22), -0.05, 0.62 + 0.3 * lift])
        hand = elbow + [side * 0.04, -0.12, -0.2 + 0.5 * lift]
        figure.ellipsoid(light, (side * 0.1, -0.23, 1.14), 0.045, glow=1.0)
        figure.ellipsoid(trim, shoulder, 0.085, **shiny)
        figure.limb(STEEL, shoulder, elbow, 0.045)
        figure.limb(metal, elbow, hand, 0.07, **shiny)
        figure.ring(trim, hand + 0.4 * (hand - elbow), 0.06, 0.025, along=Y, **shiny)
        figure.limb(STEEL, (side * 0.15, 0, 0.4), (side * 0.16, 0, 0.1), 0.06)
        figure.slab(trim, (side * 0.17, -0.05, 0.06), (0.12, 0.17, 0.06), 0.04, **shiny)
    return figure


def penguin(rng: np.random.Generator) -> Figure:
    figure, beak = Figure(turn=50, pitch=(0, 20)), colour("#e8902c")
    coat, sleek = mix(BLACK, pick(rng), 0.15), Finish(gloss=0.3)
    figure.ellipsoid(coat, (0, 0, 0.5), (0.33, 0.3, 0.48), **sleek)
    figure.ellipsoid(WHITE, (0, -0.1, 0.45), (0.26, 0.23, 0.4), gloss=0.1)
    figure.ellipsoid(coat, (0, -0.02, 0.98), (0.23, 0.22, 0.21), blend=0.08, **sleek)
    figure.ellipsoid(beak, (0, -0.28, 0.92), (0.06, 0.11, 0.035), gloss=0.4)
    for side in SIDES:
        wing, out = (side * 0.36, 0, 0.55), (-side * rng.uniform(0.1, 0.5), 0, 1)
        figure.ellipsoid(WHITE, (side * 0.09, -0.15, 0.97), (0.1, 0.09, 0.11), gloss=0.1)
        figure.eye((side * 0.08, -0.235, 1.01), 0.032)
        figure.ellipsoid(coat, wing, (0.05, 0.12, 0.28), along=out, blend=0.02, **sleek)
        figure.ellipsoid(beak, (side * 0.15, -0.15, 0.03), (0.1, 0.16, 0.04), **sleek)
    return figure


def snowman(rng: np.random.Generator) -> Figure:
    figure, snow = Figure(turn=40, pitch=(0, 20)), speckled(rng, colour("#eef2f6"), amount=0.04)
    scarf, hat = pick(rng), mix(BLACK, pick(rng), 0.2)
    figure.ellipsoid(snow, (0, 0, 0.36), (0.4, 0.4, 0.37), **MATT)
    figure.ellipsoid(snow, (0, 0, 0.86), 0.28, blend=0.04, **MATT)
    figure.ellipsoid(snow, (0, 0, 1.24), 0.2, blend=0.03, **MATT)
    figure.ring(scarf, (0, 0, 1.06), 0.19, 0.055, **MATT)
    figure.limb(scarf, (0.12, -0.2, 1.04), (0.15, -0.3, 0.8), 0.05, **MATT)
    figure.limb(colour("#e8792c"), (0, -0.18, 1.24), (0, -0.42, 1.22), 0.04, 0.012)
    figure.lathe(hat, 0.03, (0.25, 0.25), base=1.38)
    figure.lathe(hat, 0.26, (0.16, 0.15, 0.17), base=1.38)
    figure.lathe(scarf, 0.06, (0.165, 0.163), base=1.4)
    for height in (0.78, 0.92):
        figure.ellipsoid(BLACK, (0, -0.285, height), 0.032)
    for side in SIDES:
        hand = np.array([side * 0.62, -0.05, rng.uniform(0.85, 1.25)])
        figure.eye((side * 0.075, -0.175, 1.3), 0.028)
        figure.limb(BARK, (side * 0.22, 0, 0.92), hand, 0.025, 0.015)
        for up in (-0.06, 0.12):
            figure.limb(BARK, hand - [side * 0.1, 0, 0], hand + [side * 0.05, 0, up], 0.012)
    return figure


def fish(rng: np.random.Generator) -> Figure:
    figure, fins, wet = Figure(turn=35, pitch=(-10, 20)), pick(rng), Finish(gloss=0.6)
    if rng.random() < 0.5:
        scales = spotted(rng, pick(rng), pick(rng), count=40, radius=0.1)
    else:
        scales = striped(pick(rng), WHITE)
    figure.ellipsoid(scales, (0, 0, 0), (0.48, 0.17, rng.uniform(0.24, 0.34)), **wet)
    figure.ellipsoid(fins, (0.05, 0, 0.28), (0.2, 0.025, 0.14), blend=0.04, **wet)
    figure.ellipsoid(fins, (0, 0, -0.28), (0.13, 0.025, 0.1), blend=0.04, **wet)
    for side in SIDES:
        figure.eye((-0.32, side * 0.125, 0.07), 0.045)
        tail, fin = (0.6, 0, 0.13 * side), (-0.08, 0.2 * side, -0.05)
        figure.ellipsoid(fins, tail, (0.025, 0.09, 0.2), along=(0.8, 0, side), blend=0.03, **wet)
        figure.ellipsoid(fins, fin, (0.05, 0.02, 0.14), along=(0.8, 0.5 * side, -0.4), **wet)
    return figure
