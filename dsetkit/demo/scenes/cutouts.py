"""Draws a cut-out: renders it at twice the size, adds fur, downsamples it with soft alpha."""

from collections.abc import Callable

import cv2
import numpy as np

from dsetkit.demo.scenes import creatures, things
from dsetkit.demo.scenes.figure import Figure
from dsetkit.demo.scenes.palette import encode_srgb, make_generator
from dsetkit.demo.scenes.render import Picture, render, view_axes

SUPERSAMPLING = 2
MARGIN_PX = 3

FAMILIES: tuple[Callable[[np.random.Generator], Figure], ...] = (
    things.ball,
    creatures.cat,
    things.mug,
    things.house_plant,
    creatures.person,
    things.fruit,
    creatures.robot,
    things.vase,
    creatures.teddy,
    things.bottle,
    things.car,
    creatures.duck,
    things.mushroom,
    things.lamp,
    creatures.penguin,
    things.cactus,
    things.doughnut,
    things.cushion,
    creatures.snowman,
    things.ice_cream,
    creatures.fish,
    things.rocket,
)


def draw_cutout(index: int, *, seed: int = 0, size: int = 256) -> np.ndarray:
    """Draw cut-out number `index`; its family is number `index` modulo their count.

    Args:
        index: which cut-out; any integer >= 0.
        seed: selects another series of cut-outs.
        size: longest side of the picture [px], about.

    Returns:
        uint8 (h, w, 4) RGBA with straight alpha, cropped to the object. Transparent pixels have the
        colour of the nearest visible ones.
    """
    rng = make_generator(seed, index)
    figure = FAMILIES[index % len(FAMILIES)](rng)
    turn, pitch = rng.uniform(-1, 1) * figure.turn, rng.uniform(*figure.pitch)
    light = np.array(
        [rng.choice([-1, 1]) * rng.uniform(0.3, 0.9), rng.uniform(0.5, 1), rng.uniform(0.4, 0.9)]
    )
    picture = render(
        figure.parts,
        view=view_axes(np.radians(turn), np.radians(pitch)),
        light=(light / np.linalg.norm(light)).astype(np.float32),
        size=size * SUPERSAMPLING,
        margin=MARGIN_PX * SUPERSAMPLING,
    )
    canvas = _premultiplied(picture, exposure=rng.uniform(0.85, 1.1))
    if picture.fur.any():
        _draw_fur(rng, canvas, picture)
    return _downsample(canvas)


def _premultiplied(picture: Picture, *, exposure: float) -> np.ndarray:
    """Return sRGB multiplied by alpha, and alpha: uint8 (H, W, 4)."""
    srgb = encode_srgb(picture.colour * exposure)
    alpha = picture.alpha[..., None]
    return (np.dstack([srgb * alpha, 255 * alpha]) + 0.5).astype(np.uint8)


def _draw_fur(rng: np.random.Generator, canvas: np.ndarray, picture: Picture) -> None:
    """Draw short hairs on the furry parts, outward and down, also beyond their edge."""
    rows, columns = np.nonzero((picture.alpha > 0.9) & (picture.fur > 1))
    chosen = rng.permutation(rows.size)[: rows.size // 12]
    start = np.stack([columns[chosen], rows[chosen]], axis=1).astype(float)
    outward = picture.normal[rows[chosen], columns[chosen], :2] * [1, -1]
    direction = outward + [0, 0.35] + rng.normal(0, 0.25, outward.shape)
    length = picture.fur[rows[chosen], columns[chosen], None] * rng.uniform(
        0.3, 1, (chosen.size, 1)
    )
    end = start + direction * length
    colours = canvas[rows[chosen], columns[chosen]] * rng.uniform(0.8, 1.15, (chosen.size, 1))
    colours = np.clip(colours, 0, 255).astype(int)
    fixed = np.round(np.stack([start, end], axis=1) * 16).astype(int)  # four fractional bits
    for (a, b), (red, green, blue, _) in zip(fixed.tolist(), colours.tolist(), strict=True):
        cv2.line(canvas, a, b, (red, green, blue, 255), 1, cv2.LINE_AA, 4)


def _downsample(canvas: np.ndarray) -> np.ndarray:
    """Reduce a supersampled premultiplied canvas to straight RGBA, cropped to the object."""
    height, width = (side // SUPERSAMPLING for side in canvas.shape[:2])
    small = cv2.resize(
        canvas.astype(np.float32) / 255, (width, height), interpolation=cv2.INTER_AREA
    )
    image = np.dstack([_unpremultiplied(small), small[..., 3:]])
    image = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    rows, columns = np.nonzero(image[..., 3])
    top, left = max(rows.min() - MARGIN_PX, 0), max(columns.min() - MARGIN_PX, 0)
    return image[top : rows.max() + 1 + MARGIN_PX, left : columns.max() + 1 + MARGIN_PX].copy()


def _unpremultiplied(premultiplied: np.ndarray) -> np.ndarray:
    """Divide the colours by alpha: (H, W, 3); fill transparent pixels from coarser copies."""
    height, width = premultiplied.shape[:2]
    total = premultiplied + 1e-12 * premultiplied.mean(axis=(0, 1))
    for weight, block in ((1e-3, 4), (1e-6, 16), (1e-9, 64)):
        coarse = (-(-width // block), -(-height // block))
        blurred = cv2.resize(premultiplied, coarse, interpolation=cv2.INTER_AREA)
        total += weight * cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
    return total[..., :3] / total[..., 3:]
