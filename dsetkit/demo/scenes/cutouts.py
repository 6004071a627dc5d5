"""The picture of a cut-out: drawn large, combed where it has fur, made small with soft alpha."""

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
    """Draw cut-out number `index`; the families take turns.

    Args:
        index: which cut-out; any integer from 0 up.
        seed: another seed, another series of cut-outs.
        size: longest side of the picture [px].

    Returns:
        uint8 (h, w, 4) RGBA with straight alpha, tight around the object. Where alpha is 0 the
        colours near by go on.
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
    length = picture.fur[rows[chosen], columns[chosen], None] * rng.uniform(
        0.3, 1, (chosen.size, 1)
    )
    end = start + way * length
    hue = canvas[rows[chosen], columns[chosen]] * rng.uniform(0.8, 1.15, (chosen.size, 1))
    hue = np.clip(hue, 0, 255).astype(int)
    fixed = np.round(np.stack([start, end], axis=1) * 16).astype(int)  # four fractional bits
    for (a, b), (red, green, blue, _) in zip(fixed.tolist(), hue.tolist(), strict=True):
        cv2.line(canvas, a, b, (red, green, blue, 255), 1, cv2.LINE_AA, 4)


def _finish(canvas: np.ndarray) -> np.ndarray:
    """Make it small, then straight RGBA cut close around what is there."""
    height, width = (side // SUPERSAMPLING for side in canvas.shape[:2])
    small = cv2.resize(
        canvas.astype(np.float32) / 255, (width, height), interpolation=cv2.INTER_AREA
    )
    image = np.dstack([_straight(small), small[..., 3:]])
    image = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    rows, columns = np.nonzero(image[..., 3])
    top, left = max(rows.min() - MARGIN_PX, 0), max(columns.min() - MARGIN_PX, 0)
    return image[top : rows.max() + 1 + MARGIN_PX, left : columns.max() + 1 + MARGIN_PX].copy()


def _straight(premultiplied: np.ndarray) -> np.ndarray:
    """Colours (H, W, 3) without the alpha; where nothing is, of ever coarser copies."""
    height, width = premultiplied.shape[:2]
    total = premultiplied + 1e-12 * premultiplied.mean(axis=(0, 1))
    for weight, block in ((1e-3, 4), (1e-6, 16), (1e-9, 64)):
        coarse = (-(-width // block), -(-height // block))
        blurred = cv2.resize(premultiplied, coarse, interpolation=cv2.INTER_AREA)
        total += weight * cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
    return total[..., :3] / total[..., 3:]
