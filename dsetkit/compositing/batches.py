"""Indices to drawn and encoded samples."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from dsetkit.compositing.compositor import DRAWN, Redrawer, pixels_checksum
from dsetkit.compositing.recipe import CompositeRecipe, FullSet
from dsetkit.store import CODECS, Manifest, Record


@dataclass(frozen=True)
class DrawnBatch:
    """Samples with composite and mask encoded.

    Attributes:
        records: The samples.
        pixels: Their composites for a teacher, uint8 (N,S,S,3) RGB; None: nobody asked.
        masks: Their alphas, for the edges of its depth, uint8 (N,S,S); None: nobody asked, or
            there are none.
    """

    records: list[Record]
    pixels: np.ndarray | None
    masks: np.ndarray | None = None


def joined(batches: Iterable[DrawnBatch]) -> DrawnBatch:
    """Batches of pictures of one size, with or without masks, as one batch."""
    batches = list(batches)
    records = [record for batch in batches for record in batch.records]
    pixels = np.concatenate([batch.pixels for batch in batches])
    has_masks = batches[0].masks is not None
    masks = np.concatenate([batch.masks for batch in batches]) if has_masks else None
    return DrawnBatch(records, pixels, masks)


class Renderer:
    """Draws samples of a full set.

    Args:
        full_set: What sample `index` is.
        asset: As `Redrawer`.
        codecs: Codec names of what is stored of a sample, `{}` in the recipe layout.
        keep_pixels: Give the composites' pixels along (a teacher wants them), and in the recipe
            layout the checksum of what was drawn.
        keep_masks: With them give those of the masks.
    """

    def __init__(
        self,
        full_set: FullSet,
        asset: Callable[[str, int], np.ndarray],
        codecs: Mapping[str, str],
        *,
        keep_pixels: bool,
        keep_masks: bool = False,
    ) -> None:
        self.full_set, self.keep_pixels, self.keep_masks = full_set, keep_pixels, keep_masks
        self._asset = asset
        self._codecs = {name: codecs[name] for name in DRAWN if name in codecs}

    @cached_property
    def _redrawer(self) -> Redrawer:  # of each process: it keeps what it has prepared
        return Redrawer(self._asset, (self.full_set.size, self.full_set.size), kept=None)

    def __getstate__(self) -> dict:
        return {name: value for name, value in vars(self).items() if name != "_redrawer"}

    def draw(self, indices: Sequence[int]) -> DrawnBatch:
        """Draws and encodes the samples with these indices of the full set."""
        drawn = [self._draw_one(recipe) for recipe in self.full_set.recipes(indices)]
        records, images, masks = zip(*drawn, strict=True)
        return DrawnBatch(
            list(records),
            np.stack(images) if self.keep_pixels else None,
            np.stack(masks) if self.keep_masks else None,
        )

    def _draw_one(
        self, recipe: CompositeRecipe
    ) -> tuple[Record, np.ndarray | None, np.ndarray | None]:
        about = {"index": recipe.index, "flip": recipe.flip, "box": list(recipe.box)}
        record = Record(recipe.background, recipe.foreground, about, {})
        if not (self._codecs or self.keep_pixels):
            return record, None, None
        image, mask = self._redrawer.draw(record)
        if self._codecs:
            record = store_drawn(record, image, mask, self._codecs)
        else:
            record = replace(record, drawn=pixels_checksum(image, mask))
        return record, image, mask


def stores(manifest: Manifest, record: Record, image: np.ndarray, mask: np.ndarray) -> bool:
    """Whether these pixels, drawn anew, are what a record of the rendered layout stores."""
    for name, pixels in zip(DRAWN, (image, mask), strict=True):
        codec, stored = CODECS[manifest.codecs[name]], record.fields[name]
        if codec.lossless:
            same = np.array_equal(codec.decode(stored), pixels)
        else:
            same = codec.encode(pixels) == stored
        if not same:
            return False
    return True


def store_drawn(
    record: Record, image: np.ndarray, mask: np.ndarray, codecs: Mapping[str, str]
) -> Record:
    """A record with its composite and mask as fields, in place of the checksum of their pixels."""
    pixels = zip(DRAWN, (image, mask), strict=True)
    fields = {name: CODECS[codecs[name]].encode(one) for name, one in pixels}
    return replace(record, fields=fields | record.fields, drawn=None)
