"""The compositor, which makes the fields of a sample from a recipe and its assets.

The recipe layout stores neither composite nor mask, nor scene depth, so readers make them here.
Compositing is integer arithmetic and exact on every machine. At the dataset's own size the result
has the same pixels as the teacher was given, bit for bit. `compositing_fingerprint` changes if
another version of this code composites other pixels.

At another size, the sample is composited at that size. Its background is resized, its foreground
comes from an area-filtered level, and the edges of its box are rounded to whole pixels.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import xxhash
from msgspec import structs

from dsetkit.compositing.looks import shade, with_look
from dsetkit.compositing.occlusion import seen_through, visible_share
from dsetkit.compositing.placing import Box, ForegroundPyramid, covered, place, scaled_box
from dsetkit.compositing.planes import OBJECT_ALPHA, PlaneFinder, PlaneRule
from dsetkit.compositing.randomness import uniform
from dsetkit.compositing.resizing import resize_depth, resize_image
from dsetkit.errors import DatasetError
from dsetkit.store import (
    OCCLUSION,
    Colour,
    Look,
    Manifest,
    Noise,
    PlacedObject,
    Record,
    Shadow,
)

COMPOSITED = ("composite", "mask")  # the fields that every recipe gives, in this order

ASSETS_KEPT = 1024  # prepared assets of each kind in memory; each is used by very many samples

# Maps ("backgrounds", id) to uint8 (h,w,3) RGB, ("foregrounds", id) to uint8 (h,w,4) straight RGBA,
# and ("depths", id) to the stored depth of a background, uint16 (h,w), where there is one.
AssetPixels = Callable[[str, int], np.ndarray]


# Turns stored depth, uint16, to shares in [0, 1], float32 of the same shape.
DepthShare = Callable[[np.ndarray], np.ndarray]


class Placement(NamedTuple):
    """Where an object stands.

    Attributes:
        foreground: Id of the foreground.
        flip: Whether it is mirrored left to right.
        box: x, y, width, height [px].
        plane: Stored depth of its plane; None if it has none.
        occluded: Whether nearer parts of the background hide it.
        look: What makes it look like its surroundings; None leaves it as it is.
    """

    foreground: int
    flip: bool
    box: Box
    plane: int | None = None
    occluded: bool = False
    look: Look | None = None


class Compositor:
    """Composites the samples of a dataset. Threads may share a compositor.

    Args:
        asset: Gives the pixels of an asset.
        canvas: (height, width) of the canvas on which the recipes place their boxes [px].
        depth_share: Turns stored depth, uint16, to shares in [0, 1], float32 of the same shape;
            needed for the field `depth_share`.
        kept: How many prepared assets of each kind to keep in memory; None keeps all.
    """

    def __init__(
        self,
        asset: AssetPixels,
        canvas: tuple[int, int],
        *,
        depth_share: DepthShare | None = None,
        kept: int | None = ASSETS_KEPT,
    ) -> None:
        self.canvas, self._depth_share = canvas, depth_share

        @lru_cache(kept)
        def background(number: int, size: tuple[int, int] | None) -> np.ndarray:
            pixels = asset("backgrounds", number)
            return pixels if size is None else resize_image(pixels, size)

        @lru_cache(kept)
        def background_depth(number: int, size: tuple[int, int]) -> np.ndarray:
            depth = asset("depths", number)
            if depth.shape == size:
                return depth
            return np.rint(resize_depth(depth.astype(np.float32), size)).astype(np.uint16)

        @lru_cache(kept)
        def background_share(number: int, size: tuple[int, int]) -> np.ndarray:
            return self._share(background_depth(number, size))

        @lru_cache(kept)
        def plane_share(plane: int) -> np.float32:
            return self._share(np.array([plane], np.uint16))[0]

        @lru_cache(kept)
        def pyramid(number: int) -> ForegroundPyramid:
            return ForegroundPyramid.build(asset("foregrounds", number))

        self._background, self._background_depth = background, background_depth
        self._background_share, self._plane_share = background_share, plane_share
        self.pyramid = pyramid

    def background(self, number: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """A background, uint8 (H,W,3) RGB. Do not write to it.

        Args:
            number: Id of the background.
            size: (height, width) of the result [px]; None keeps the stored size.
        """
        return self._background(number, size)

    def background_depth(self, number: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """The stored depth of a background, uint16 (H,W), 0 = invalid. Do not write to it.

        Args:
            number: Id of the background.
            size: (height, width) of the result [px]; None means the size of the canvas.
        """
        return self._background_depth(number, size or self.canvas)

    def plane_finder(self, rule: PlaneRule) -> PlaneFinder:
        """Finds the planes of objects in front of these backgrounds.

        Args:
            rule: Where objects stand.
        """
        return PlaneFinder(
            rule, depth=self.background_depth, pyramid=self.pyramid, canvas=self.canvas
        )

    def composite(
        self, record: Record, size: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Composite uint8 (H,W,3) RGB and mask uint8 (H,W) of a sample; see `fields`."""
        fields = self.fields(record, COMPOSITED, size)
        return fields["composite"], fields["mask"]

    def fields(
        self, record: Record, names: Collection[str], size: tuple[int, int] | None = None
    ) -> dict[str, np.ndarray]:
        """The fields that follow from a sample's recipe.

        Args:
            record: The sample.
            names: Of `composite`, `mask`, `depth`, `depth_share` and `instances`. Both kinds of
                depth need planes.
            size: (height, width) of the result [px]; None means the size of the canvas.

        Returns:
            Composite uint8 (H,W,3) RGB, mask uint8 (H,W), stored depth uint16 (H,W) with 0 =
            invalid, the same as a share float32 (H,W) in [0, 1], and instances uint8 (H,W), 0 =
            background, k = the k-th object; those of `names`, and always composite and mask.

        Raises:
            DatasetError: The sample has no background, its objects cannot be placed, or one that
                needs a plane has none.
        """
        shape = size or self.canvas
        number = record.background_id()
        fields = {
            "composite": self.background(number, shape).copy(),
            "mask": np.zeros(shape, np.uint8),
        }
        if "depth" in names:
            fields["depth"] = self.background_depth(number, shape).copy()
        if "depth_share" in names:
            fields["depth_share"] = self._background_share(number, shape).copy()
        if "instances" in names:
            fields["instances"] = np.zeros(shape, np.uint8)
        objects = placements(record, self.canvas)
        for placement in objects:
            if placement.look is not None and placement.look.shadow is not None:
                self._shade(fields["composite"], placement.look.shadow, number, placement.plane)
        for order, placement in enumerate(objects, start=1):
            self._place(placement, number, order, fields)
        return fields

    def _place(
        self, placement: Placement, background: int, order: int, fields: dict[str, np.ndarray]
    ) -> None:
        """Places an object in front of what the fields show, which are of one size."""
        foreground, flip, box, plane, _, _ = placement
        shape = fields["mask"].shape
        if shape != self.canvas:
            box = scaled_box(box, self.canvas, shape)
        x, y, width, height = box
        here, mask = np.s_[y : y + height, x : x + width], fields["mask"]
        retouch = None
        if placement.occluded or placement.look is not None:
            retouch = partial(self._retouched, placement._replace(box=box), background, shape)
        pyramid, image = self.pyramid(foreground), fields["composite"]
        alpha = place(pyramid, box, flip=flip, image=image, retouch=retouch)
        mask[here] = alpha if order == 1 else covered(mask[here], alpha)
        if len(fields) == len(COMPOSITED):
            return
        is_object = alpha >= OBJECT_ALPHA
        if "depth" in fields or "depth_share" in fields:
            if plane is None:
                raise DatasetError("an object has no plane, so its depth is not known")
            if "depth" in fields:
                np.copyto(fields["depth"][here], np.uint16(plane), where=is_object)
            if "depth_share" in fields:
                np.copyto(fields["depth_share"][here], self._plane_share(plane), where=is_object)
        if "instances" in fields:
            np.copyto(fields["instances"][here], np.uint8(order), where=is_object)

    def _retouched(
        self, placement: Placement, background: int, shape: tuple[int, int], cut_out: np.ndarray
    ) -> np.ndarray:
        """A cut-out with its look, as far as it is seen: premultiplied, uint8 (h,w,4)."""
        box = placement.box
        if placement.look is not None:
            cut_out = with_look(cut_out, placement.look, box=box, size=shape, canvas=self.canvas)
        if placement.occluded:
            assert placement.plane is not None  # `placements` has looked
            x, y, width, height = box
            depth = self.background_depth(background, shape)[y : y + height, x : x + width]
            cut_out = seen_through(cut_out, visible_share(depth, placement.plane))
        return cut_out

    def _shade(self, image: np.ndarray, shadow: Shadow, background: int, plane: int | None) -> None:
        """Draws the shadow of an object on a background."""
        assert plane is not None  # `placements` has looked
        depth = self.background_depth(background, image.shape[:2])
        shade(image, shadow, depth=depth, plane=plane, canvas=self.canvas)

    def _share(self, stored: np.ndarray) -> np.ndarray:
        if self._depth_share is None:
            raise ValueError("expected `depth_share`: what turns stored depth to shares")
        return self._depth_share(stored)


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
        has_shadow = one.look is not None and one.look.shadow is not None
        if (one.occluded or has_shadow) and one.plane is None:
            raise DatasetError("an object that stands in the scene has no plane")
        placed.append(
            Placement(one.foreground, one.flip, one.box, one.plane, one.occluded, one.look)
        )
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


def can_composite(manifest: Manifest) -> bool:
    """Whether this version composites what a dataset does not store as the version that made it."""
    fingerprint = compositing_fingerprint(manifest.composited, manifest.effects)
    return manifest.compositing in ("", fingerprint)


def with_compositing(manifest: Manifest) -> Manifest:
    """A manifest that says how this version composites the fields that are not stored."""
    names = manifest.composited
    fingerprint = compositing_fingerprint(names, manifest.effects) if names else ""
    return replace(manifest, compositing=fingerprint)


@lru_cache
def compositing_fingerprint(
    names: tuple[str, ...] = COMPOSITED, effects: tuple[str, ...] = ()
) -> str:
    """Identifies how this version composites: xxh3-128, 32 hex digits, over a few test samples.

    The samples are composited at the size of their canvas and at a smaller one.

    Args:
        names: The fields that are composited; composite and mask are always among them.
        effects: As of `Manifest.effects`.
    """
    side = 48

    def noise(stream: int, *shape: int) -> np.ndarray:
        values = uniform(0, stream, np.arange(np.prod(shape)))
        return (values * 256).astype(np.uint8).reshape(shape)

    assets = {
        "backgrounds": [noise(1, side, side, 3), noise(2, side, side, 3)],
        "foregrounds": [noise(3, 40, 31, 4), noise(4, 17, 29, 4)],
        "depths": [np.uint16(257) * noise(5 + i, side, side) for i in range(2)],
    }
    compositor = Compositor(lambda kind, number: assets[kind][number], (side, side))
    digest = xxhash.xxh3_128()
    for number, box in enumerate(((0, 0, 31, 40), (5, 7, 20, 26), (17, 3, 9, 12), (1, 1, 47, 28))):
        placed = PlacedObject(foreground=number // 2, flip=number % 2 == 1, box=box, plane=999)
        if effects:
            occluded, look = OCCLUSION in effects, _tried_look(effects)
            placed = structs.replace(placed, plane=20_000, occluded=occluded, look=look)
        record = Record(number % 2, (placed,), {})
        for size in ((side, side), (20, 28)):
            fields = compositor.fields(record, names, size)
            digest.update(pixels_checksum(fields["composite"], fields["mask"]))
            for name in names[len(COMPOSITED) :]:
                digest.update(fields[name].tobytes())
    return digest.hexdigest()


def _tried_look(effects: tuple[str, ...]) -> Look | None:
    """A look for the fingerprint, with all that is among the effects."""
    parts: dict[str, Any] = {
        "colour": Colour(gain=300, shift=(-20, 5, 11)),
        "blur": 90,
        "noise": Noise(deviation=40, key=7),
        "shadow": Shadow(x=20, y=30, across=12, down=5, strength=120),
    }
    tried = {name: parts[name] for name in effects if name in parts}
    return Look(**tried) if tried else None
