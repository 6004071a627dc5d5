"""The compositor, which makes composite and mask from a recipe and its assets.

The recipe layout stores neither composite nor mask, so readers composite them here. Compositing is
integer arithmetic and exact on every machine. At the dataset's own size the result has the same
pixels as the teacher was given, bit for bit. `compositing_fingerprint` changes if another version
of this code composites other pixels.

At another size, the sample is composited at that size. Its background is resized, its foreground
comes from an area-filtered level, and the edges of its box are rounded to whole pixels.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import xxhash

from dsetkit.compositing.placing import Box, ForegroundPyramid, covered, place, scaled_box
from dsetkit.compositing.randomness import uniform
from dsetkit.compositing.resizing import resize_image
from dsetkit.errors import DatasetError
from dsetkit.store import PlacedObject, Record

COMPOSITED = ("composite", "mask")  # the fields that a compositor makes, in this order

ASSETS_KEPT = 1024  # prepared assets of each kind in memory; each is used by very many samples

# Maps ("backgrounds", id) to uint8 (h,w,3) RGB and ("foregrounds", id) to uint8 (h,w,4) straight
# RGBA.
AssetPixels = Callable[[str, int], np.ndarray]


class Placement(NamedTuple):
    """Id of a foreground, whether it is mirrored left to right, and x, y, width, height [px]."""

    foreground: int
    flip: bool
    box: Box


class Compositor:
    """Composites the samples of a dataset. Threads may share a compositor.

    Args:
        asset: Gives the pixels of an asset.
        canvas: (height, width) of the canvas on which the recipes place their boxes [px].
        kept: How many prepared assets of each kind to keep in memory; None keeps all.
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
        """A background, uint8 (H,W,3) RGB. Do not write to it.

        Args:
            number: Id of the background.
            size: (height, width) of the result [px]; None keeps the stored size.
        """
        return self._background(number, size)

    def composite(
        self, record: Record, size: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Composites a sample.

        Args:
            record: The sample.
            size: (height, width) of the result [px]; None means the size of the canvas.

        Returns:
            Composite uint8 (H,W,3) RGB, and mask uint8 (H,W).

        Raises:
            DatasetError: The sample has no background, or its objects cannot be placed.
        """
        height, width = size or self.canvas
        image, mask = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.uint8)
        self.composite_into(record, image, mask)
        return image, mask

    def composite_into(self, record: Record, image: np.ndarray, mask: np.ndarray) -> None:
        """Composites a sample into arrays, at their size.

        Args:
            record: The sample.
            image: Becomes the composite, uint8 (H,W,3) RGB.
            mask: Becomes the mask, uint8 (H,W).

        Raises:
            DatasetError: The sample has no background, or its objects cannot be placed.
        """
        height, width = mask.shape
        image[...] = self.background(record.background_id(), (height, width))
        mask[...] = 0
        first, *others = placements(record, self.canvas)
        self._place(first, image, mask)
        for other in others:
            alpha = np.zeros_like(mask)
            self._place(other, image, alpha)
            mask[...] = covered(mask, alpha)

    def _place(self, placement: Placement, image: np.ndarray, mask: np.ndarray) -> None:
        foreground, flip, box = placement
        if mask.shape != self.canvas:
            box = scaled_box(box, self.canvas, mask.shape)
        place(self._pyramid(foreground), box, flip=flip, image=image, mask=mask)


def placements(record: Record, canvas: tuple[int, int]) -> list[Placement]:
    """How each object of a sample is placed, the one in front last.

    Args:
        record: The sample.
        canvas: (height, width) of the canvas [px].

    Raises:
        DatasetError: There is no object, one lacks an entry, or its box is not inside the canvas.
    """
    if not has_recipe(record):
        raise DatasetError("the sample has no recipe: it was imported, not composited")
    placed: list[Placement] = []
    for one in record.objects:
        # `has_recipe` has looked: no entry is None.
        assert one.foreground is not None and one.flip is not None and one.box is not None
        check_box(one.box, canvas)
        placed.append(Placement(one.foreground, one.flip, one.box))
    return placed


def check_box(box: Box, canvas: tuple[int, int]) -> None:
    """Checks that a box is inside a canvas.

    Args:
        box: x, y, width, height [px].
        canvas: (height, width) of the canvas [px].

    Raises:
        DatasetError: It is not.
    """
    x, y, width, height = box
    if not (0 <= x < x + width <= canvas[1] and 0 <= y < y + height <= canvas[0]):
        raise DatasetError(f"box {list(box)} is outside the canvas of {canvas[1]} x {canvas[0]} px")


def has_recipe(record: Record) -> bool:
    """Whether a record has all that compositing needs: background, foregrounds, flips and boxes."""
    return (
        record.background is not None
        and len(record.objects) > 0
        and all(None not in (one.foreground, one.flip, one.box) for one in record.objects)
    )


def pixels_checksum(image: np.ndarray, mask: np.ndarray) -> bytes:
    """The `pixels` entry of a record: xxh3-64, 8 bytes, over composite and then mask.

    Args:
        image: Composite, uint8 (H,W,3) RGB.
        mask: uint8 (H,W).
    """
    digest = xxhash.xxh3_64(np.ascontiguousarray(image).data)
    digest.update(np.ascontiguousarray(mask).data)
    return digest.digest()


@lru_cache(1)
def compositing_fingerprint() -> str:
    """Identifies how this version composites: xxh3-128, 32 hex digits, over a few test samples.

    The samples are composited at the size of their canvas and at a smaller one.
    """
    side = 48

    def noise(stream: int, *shape: int) -> np.ndarray:
        values = uniform(0, stream, np.arange(np.prod(shape)))
        return (values * 256).astype(np.uint8).reshape(shape)

    assets = {
        "backgrounds": [noise(1, side, side, 3), noise(2, side, side, 3)],
        "foregrounds": [noise(3, 40, 31, 4), noise(4, 17, 29, 4)],
    }
    compositor = Compositor(lambda kind, number: assets[kind][number], (side, side))
    digest = xxhash.xxh3_128()
    for number, box in enumerate(((0, 0, 31, 40), (5, 7, 20, 26), (17, 3, 9, 12), (1, 1, 47, 28))):
        placed = PlacedObject(foreground=number // 2, flip=number % 2 == 1, box=box)
        record = Record(number % 2, (placed,), {})
        for size in ((side, side), (20, 28)):
            digest.update(pixels_checksum(*compositor.composite(record, size)))
    return digest.hexdigest()
