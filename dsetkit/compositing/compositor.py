"""Recipe and assets to composite and mask.

The recipe layout reads with this: it stores neither composite nor mask. Compositing is integer
arithmetic that is exact on every machine, so at the dataset's own size the pixels are those that
the teacher saw, bit for bit. `compositing_fingerprint` tells whether a version of this code would
make others. At another size a sample is composited at that size, from area-filtered levels of its
assets: the background is resized, and the edges of the box are rounded to whole pixels.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import xxhash

from dsetkit.compositing.placing import ForegroundPyramid, place, scaled_box
from dsetkit.compositing.randomness import uniform
from dsetkit.compositing.resizing import resize_image
from dsetkit.store import Record

COMPOSITED = ("composite", "mask")  # the fields that a compositor gives, in this order

ASSETS_KEPT = 1024  # of each kind, decoded, in memory; few serve very many samples

# ("backgrounds" or "foregrounds", id) -> uint8 pixels, RGB or straight RGBA
AssetPixels = Callable[[str, int], np.ndarray]


class Compositor:
    """Composites the samples of a dataset; threads may share it.

    Args:
        asset: Gives the pixels of an asset.
        canvas: Height and width that the boxes of the recipes refer to [px].
        kept: How many prepared assets of each kind stay in memory; None keeps all.
    """

    def __init__(
        self,
        asset: AssetPixels,
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

    def composite(
        self, record: Record, size: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Composite uint8 (H,W,3) RGB and mask uint8 (H,W) of a sample; None: the canvas's size."""
        height, width = size or self.canvas
        image, mask = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.uint8)
        self.composite_into(record, image, mask)
        return image, mask

    def composite_into(self, record: Record, image: np.ndarray, mask: np.ndarray) -> None:
        """Composites into the arrays given, at their size: uint8 (H,W,3) and (H,W)."""
        size = mask.shape
        image[...] = self.background(record.background, size)
        mask[...] = 0
        box = tuple(record.recipe["box"])
        if size != self.canvas:
            box = scaled_box(box, self.canvas, size)
        pyramid = self._pyramid(record.foreground)
        place(pyramid, box, flip=record.recipe["flip"], image=image, mask=mask)


def has_recipe(record: Record) -> bool:
    """Whether a record holds all that compositing needs: both assets, flip and box."""
    known = record.background is not None and record.foreground is not None
    return known and {"flip", "box"} <= record.recipe.keys()


def pixels_checksum(image: np.ndarray, mask: np.ndarray) -> bytes:
    """The `drawn` entry of a record: xxh3-64 over the bytes of the composite, then the mask."""
    digest = xxhash.xxh3_64(np.ascontiguousarray(image))
    digest.update(np.ascontiguousarray(mask))
    return digest.digest()


@lru_cache(1)
def compositing_fingerprint() -> str:
    """Identifies how this version composites: a hash over a few made-up samples, at two sizes."""
    side = 48

    def noise(stream: int, *shape: int) -> np.ndarray:
        drawn = uniform(0, stream, np.arange(np.prod(shape)))
        return (drawn * 256).astype(np.uint8).reshape(shape)

    assets = {
        "backgrounds": [noise(1, side, side, 3), noise(2, side, side, 3)],
        "foregrounds": [noise(3, 40, 31, 4), noise(4, 17, 29, 4)],
    }
    compositor = Compositor(lambda kind, number: assets[kind][number], (side, side))
    digest = xxhash.xxh3_128()
    for number, box in enumerate(((0, 0, 31, 40), (5, 7, 20, 26), (17, 3, 9, 12), (1, 1, 47, 28))):
        recipe = {"flip": number % 2 == 1, "box": box}
        record = Record(number % 2, number // 2, recipe, {})
        for size in ((side, side), (20, 28)):
            digest.update(pixels_checksum(*compositor.composite(record, size)))
    return digest.hexdigest()
