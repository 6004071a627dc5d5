"""Composites and masks drawn again from the assets of a dataset.

The recipe layout reads with this: it stores neither composite nor mask. Drawing is integer
arithmetic that is exact on every machine, so that at the dataset's own size the pixels are those
the teacher saw, bit for bit; `drawing_fingerprint` tells when a version of this code would draw
others. At another size the sample is drawn at that size, from area-filtered levels of its assets:
the background resized, the edges of the box rounded to whole pixels.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import xxhash

from dsetkit.compositing.placing import ForegroundPyramid, place, scaled_box
from dsetkit.compositing.recipe import uniform
from dsetkit.compositing.resizing import resize_image
from dsetkit.store import Record

DRAWN = ("composite", "mask")  # the fields that drawing gives, in this order

ASSETS_KEPT = 1024  # of each kind, decoded, in memory; few serve very many samples


class Redrawer:
    """Draws the samples of a dataset; threads may share it.

    Args:
        asset: (`backgrounds` or `foregrounds`, id) -> uint8 pixels, RGB or straight RGBA.
        canvas: Height and width that the boxes of the recipes refer to [px].
        kept: How many assets of each kind stay in memory, ready to draw; None: all.
    """

    def __init__(
        self,
        asset: Callable[[str, int], np.ndarray],
        canvas: tuple[int, int],
        *,
        kept: int | None = ASSETS_KEPT,
    ) -> None:
        self.canvas = canvas

        @lru_cache(kept)
        def background(number: int, size: tuple[int, int] | None) -> np.ndarray:
            pixels = asset("backgrounds", number)
            return pixels if size is None else resize_image(pixels, size)

        @lru_cache(kept)
        def pyramid(number: int) -> ForegroundPyramid:
            return ForegroundPyramid.build(asset("foregrounds", number))

        self._background, self._pyramid = background, pyramid

    def background(self, number: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """A background at (height, width), None: as stored: uint8 (H,W,3) RGB; only read it."""
        return self._background(number, size)

    def draw(
        self, record: Record, size: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Composite uint8 (H,W,3) RGB and mask uint8 (H,W) of a sample; None: the canvas's size."""
        height, width = size or self.canvas
        image, mask = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.uint8)
        self.draw_into(record, image, mask)
        return image, mask

    def draw_into(self, record: Record, image: np.ndarray, mask: np.ndarray) -> None:
        """Draws a sample of any size into the arrays given: uint8 (H,W,3) and (H,W)."""
        size = mask.shape
        image[...] = self.background(record.background, size)
        mask[...] = 0
        box = tuple(record.recipe["box"])
        if size != self.canvas:
            box = scaled_box(box, self.canvas, size)
        pyramid = self._pyramid(record.foreground)
        place(pyramid, box, flip=record.recipe["flip"], image=image, mask=mask)


def is_drawn(record: Record) -> bool:
    """Whether a record tells all that drawing needs: both assets, flip and box."""
    known = record.background is not None and record.foreground is not None
    return known and {"flip", "box"} <= record.recipe.keys()


def pixels_checksum(image: np.ndarray, mask: np.ndarray) -> bytes:
    """The `drawn` entry of a record: xxh3-64 over the bytes of the composite, then the mask."""
    digest = xxhash.xxh3_64(np.ascontiguousarray(image))
    digest.update(np.ascontiguousarray(mask))
    return digest.digest()


@lru_cache(1)
def drawing_fingerprint() -> str:
    """Tells how this version draws: a hash over a few made-up samples, at two sizes."""
    side = 48

    def noise(stream: int, *shape: int) -> np.ndarray:
        drawn = uniform(0, stream, np.arange(np.prod(shape)))
        return (drawn * 256).astype(np.uint8).reshape(shape)

    assets = {
        "backgrounds": [noise(1, side, side, 3), noise(2, side, side, 3)],
        "foregrounds": [noise(3, 40, 31, 4), noise(4, 17, 29, 4)],
    }
    redrawer = Redrawer(lambda kind, number: assets[kind][number], (side, side))
    digest = xxhash.xxh3_128()
    for number, box in enumerate(((0, 0, 31, 40), (5, 7, 20, 26), (17, 3, 9, 12), (1, 1, 47, 28))):
        recipe = {"flip": number % 2 == 1, "box": box}
        record = Record(number % 2, number // 2, recipe, {})
        for size in ((side, side), (20, 28)):
            digest.update(pixels_checksum(*redrawer.draw(record, size)))
    return digest.hexdigest()
