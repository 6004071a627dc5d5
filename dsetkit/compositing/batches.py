"""Indices of the full set to composited and encoded samples."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from dsetkit.compositing.compositor import COMPOSITED, AssetPixels, Compositor, pixels_checksum
from dsetkit.compositing.recipe import CompositeRecipe, FullSet
from dsetkit.store import CODECS, Manifest, Record


@dataclass(frozen=True)
class CompositeBatch:
    """Samples with composite and mask encoded.

    Attributes:
        records: The samples.
        composites: Their composites for a teacher, uint8 (N,S,S,3) RGB; None when there is none.
        masks: Their alphas for the edges of its depth, uint8 (N,S,S); None when they are not
            needed, or an imported dataset has none.
    """

    records: list[Record]
    composites: np.ndarray | None
    masks: np.ndarray | None = None


def concatenate(batches: Iterable[CompositeBatch]) -> CompositeBatch:
    """Batches of pictures of one size, all with masks or all without, as one batch."""
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
    """Composites and encodes samples of a full set; it can be pickled to worker processes.

    Args:
        full_set: What sample `index` is.
        asset: Gives the pixels of an asset.
        codecs: Codec names of the fields that are stored; `{}` in the recipe layout.
        keep_composites: Give the composites' pixels too (a teacher wants them), and in the recipe
            layout the checksum of the pixels.
        keep_masks: Give the masks' pixels too.
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
    def _compositor(self) -> Compositor:  # one in each process: it keeps what it has prepared
        side = self._full_set.canvas.size
        return Compositor(self._asset, (side, side), kept=None)

    def __getstate__(self) -> dict:
        return {name: value for name, value in vars(self).items() if name != "_compositor"}

    def composite(self, indices: Sequence[int]) -> CompositeBatch:
        """The samples with these indices of the full set."""
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
        stored = {"index": recipe.index, "flip": recipe.flip, "box": list(recipe.box)}
        record = Record(recipe.background, recipe.foreground, stored, {})
        if not (self._codecs or self._keep_composites):
            return record, None, None
        image, mask = self._compositor.composite(record)
        if self._codecs:
            record = encode_composite(record, image, mask, self._codecs)
        else:
            record = replace(record, drawn=pixels_checksum(image, mask))
        return record, image, mask


def stores_same_pixels(
    manifest: Manifest, record: Record, image: np.ndarray, mask: np.ndarray
) -> bool:
    """Whether a record of the rendered layout stores exactly this composite and mask."""
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
    """A record with composite and mask as fields, in place of the checksum of their pixels."""
    pixels = zip(COMPOSITED, (image, mask), strict=True)
    fields = {name: CODECS[codecs[name]].encode(values) for name, values in pixels}
    return replace(record, fields=fields | record.fields, drawn=None)
