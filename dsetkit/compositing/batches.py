"""Batches of the full set: samples composited and encoded by their indices."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from dsetkit.compositing.compositor import COMPOSITED, AssetPixels, Compositor, pixels_checksum
from dsetkit.compositing.recipe import CompositeRecipe, FullSet
from dsetkit.store import CODECS, Manifest, Record


@dataclass(frozen=True)
class CompositeBatch:
    """Samples with their composites and masks encoded.

    Attributes:
        records: The N samples.
        composites: Their composites for a teacher, uint8 (N,S,S,3) RGB; None without a teacher.
        masks: Their masks, uint8 (N,S,S), which sharpen the edges of the teacher's depth. None if
            they are not needed, or if an imported dataset has none.
    """

    records: list[Record]
    composites: np.ndarray | None
    masks: np.ndarray | None = None


def concatenate(batches: Iterable[CompositeBatch]) -> CompositeBatch:
    """Joins batches. Their composites have one size, and all or none of them have masks."""
    batches = list(batches)
    records = [record for batch in batches for record in batch.records]
    composites = [batch.composites for batch in batches if batch.composites is not None]
    masks = [batch.masks for batch in batches if batch.masks is not None]
    return CompositeBatch(
        records,
        np.concatenate(composites) if composites else None,
        np.concatenate(masks) if masks else None,
    )


class BatchCompositor:
    """Composites and encodes samples of a full set. It can be pickled to worker processes.

    Args:
        full_set: Gives the recipe of each index.
        asset: Gives the pixels of an asset.
        codecs: Codec names of the stored fields; `{}` in the recipe layout.
        keep_composites: Whether to give the pixels of the composites too, for a teacher. In the
            recipe layout the records then also hold the checksum of the pixels.
        keep_masks: Whether to give the pixels of the masks too.
    """

    def __init__(
        self,
        full_set: FullSet,
        asset: AssetPixels,
        codecs: Mapping[str, str],
        *,
        keep_composites: bool,
        keep_masks: bool = False,
    ) -> None:
        self._full_set, self._asset = full_set, asset
        self._keep_composites, self._keep_masks = keep_composites, keep_masks
        self._codecs = {name: codecs[name] for name in COMPOSITED if name in codecs}

    @cached_property
    def _compositor(self) -> Compositor:
        """Each process has its own, because it keeps prepared assets."""
        side = self._full_set.canvas.size
        return Compositor(self._asset, (side, side), kept=None)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_compositor"}

    def composite(self, indices: Sequence[int] | np.ndarray) -> CompositeBatch:
        """Composites samples.

        Args:
            indices: Indices into the full set, int (N,), at least one.
        """
        samples = [self._composite_one(recipe) for recipe in self._full_set.recipes(indices)]
        records, composites, masks = zip(*samples, strict=True)
        return CompositeBatch(
            list(records),
            np.stack(composites) if self._keep_composites else None,
            np.stack(masks) if self._keep_masks else None,
        )

    def _composite_one(
        self, recipe: CompositeRecipe
    ) -> tuple[Record, np.ndarray | None, np.ndarray | None]:
        record = Record(recipe.background, recipe.objects, {}, recipe.index)
        if not (self._codecs or self._keep_composites):
            return record, None, None
        image, mask = self._compositor.composite(record)
        if self._codecs:
            record = encode_composite(record, image, mask, self._codecs)
        else:
            record = replace(record, pixels=pixels_checksum(image, mask))
        return record, image, mask


def stores_same_pixels(
    manifest: Manifest, record: Record, image: np.ndarray, mask: np.ndarray
) -> bool:
    """Whether a record of the rendered layout stores exactly this composite and mask.

    Args:
        manifest: The manifest of the record's dataset.
        record: The record.
        image: Composite, uint8 (H,W,3) RGB.
        mask: uint8 (H,W).
    """
    for name, pixels in zip(COMPOSITED, (image, mask), strict=True):
        codec, stored = CODECS[manifest.codecs[name]], record.fields[name]
        if codec.lossless:
            same = np.array_equal(codec.decode(stored), pixels)
        else:
            same = codec.encode(pixels) == stored
        if not same:
            return False
    return True


def encode_composite(
    record: Record, image: np.ndarray, mask: np.ndarray, codecs: Mapping[str, str]
) -> Record:
    """A copy of a record with composite and mask as encoded fields, and without their checksum.

    Args:
        record: The record.
        image: Composite, uint8 (H,W,3) RGB.
        mask: uint8 (H,W).
        codecs: Codec names by field.
    """
    pixels = zip(COMPOSITED, (image, mask), strict=True)
    fields = {name: CODECS[codecs[name]].encode(values) for name, values in pixels}
    return replace(record, fields=fields | record.fields, pixels=None)
