"""Batches of the full set: samples composited and encoded by their indices."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from msgspec import structs

from dsetkit.compositing.compositor import COMPOSITED, AssetPixels, Compositor, pixels_checksum
from dsetkit.compositing.harmonising import Harmoniser
from dsetkit.compositing.planes import PlaneFinder, PlaneRule
from dsetkit.compositing.recipe import CompositeRecipe, FullSet, Shares
from dsetkit.compositing.spots import SpotFinder
from dsetkit.store import CODECS, Manifest, PlacedObject, Record


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
        planes: Where objects stand, with scene depth; None without.
    """

    def __init__(
        self,
        full_set: FullSet,
        asset: AssetPixels,
        codecs: Mapping[str, str],
        *,
        keep_composites: bool,
        keep_masks: bool = False,
        planes: PlaneRule | None = None,
    ) -> None:
        self._full_set, self._asset, self._planes = full_set, asset, planes
        self._keep_composites, self._keep_masks = keep_composites, keep_masks
        drawn = [*COMPOSITED, "instances", *(["depth"] if planes else [])]
        self._codecs = {name: codecs[name] for name in drawn if name in codecs}

    @cached_property
    def _compositor(self) -> Compositor:
        """Each process has its own, because it keeps prepared assets."""
        side = self._full_set.canvas.size
        return Compositor(self._asset, (side, side), kept=None)

    @cached_property
    def _stand(self) -> Callable[[PlacedObject, int, Shares], PlacedObject] | None:
        """Puts an object before a background, by what was drawn for it; None without planes."""
        if self._planes is None:
            return None
        compositor = self._compositor
        if self._full_set.canvas.placement == "scene":
            return SpotFinder(
                self._full_set,
                self._planes,
                depth=compositor.background_depth,
                pyramid=compositor.pyramid,
            ).stand
        finder = compositor.plane_finder(self._planes)
        return lambda placed, background, shares: on_plane(
            placed, background, shares.nearness, finder
        )

    @cached_property
    def _harmoniser(self) -> Harmoniser | None:
        names = self._full_set.canvas.harmonise
        if not names:
            return None
        compositor = self._compositor
        return Harmoniser(
            names,
            seed=self._full_set.seed,
            background=compositor.background,
            pyramid=compositor.pyramid,
        )

    def __getstate__(self) -> dict[str, Any]:
        ours = ("_compositor", "_stand", "_harmoniser")
        return {name: value for name, value in vars(self).items() if name not in ours}

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
        objects = self._harmonised(self._objects(recipe), recipe)
        record = Record(recipe.background, objects, {}, recipe.index)
        if not (self._codecs or self._keep_composites):
            return record, None, None
        fields = self._compositor.fields(record, self._codecs)
        image, mask = fields["composite"], fields["mask"]
        if self._codecs:
            record = encode_fields(record, fields, self._codecs)
        else:
            record = replace(record, pixels=pixels_checksum(image, mask))
        return record, image, mask

    def _objects(self, recipe: CompositeRecipe) -> tuple[PlacedObject, ...]:
        """The objects of a recipe; with scene depth on their planes, the farthest first."""
        if self._stand is None:
            return recipe.objects
        standing = [
            self._stand(one, recipe.background, shares)
            for one, shares in zip(recipe.objects, recipe.shares, strict=True)
        ]
        if len(standing) > 1:
            is_metric = self._planes is not None and self._planes.kind == "metric"
            standing.sort(key=lambda one: one.plane or 0, reverse=is_metric)
        return tuple(standing)

    def _harmonised(
        self, objects: tuple[PlacedObject, ...], recipe: CompositeRecipe
    ) -> tuple[PlacedObject, ...]:
        """The objects with looks that match their surroundings, if that is asked for."""
        if self._harmoniser is None:
            return objects
        looks = (
            self._harmoniser.look(one, recipe.background, index=recipe.index, order=order)
            for order, one in enumerate(objects)
        )
        return tuple(
            structs.replace(one, look=look) for one, look in zip(objects, looks, strict=True)
        )


def on_plane(
    placed: PlacedObject, background: int, drawn: float, finder: PlaneFinder
) -> PlacedObject:
    """A copy of a placed object that stands on its plane.

    Args:
        placed: Where it is placed.
        background: Id of the background.
        drawn: As of `PlaneRule.share`.
        finder: Finds the plane.
    """
    assert placed.foreground is not None and placed.box is not None  # of a recipe
    plane = finder.plane(background, placed.foreground, bool(placed.flip), placed.box, drawn)
    return structs.replace(placed, plane=plane)


def stores_same_pixels(
    manifest: Manifest, record: Record, fields: Mapping[str, np.ndarray]
) -> bool:
    """Whether a record of the rendered layout stores exactly these fields.

    Args:
        manifest: The manifest of the record's dataset.
        record: The record.
        fields: Fields as `Compositor.fields` gives them.
    """
    for name, pixels in fields.items():
        codec, stored = CODECS[manifest.codecs[name]], record.fields[name]
        if codec.lossless:
            same = np.array_equal(codec.decode(stored), pixels)
        else:
            same = codec.encode(pixels) == stored
        if not same:
            return False
    return True


def encode_fields(
    record: Record, fields: Mapping[str, np.ndarray], codecs: Mapping[str, str]
) -> Record:
    """A copy of a record with fields encoded, and without the checksum of their pixels.

    Args:
        record: The record.
        fields: Fields as `Compositor.fields` gives them.
        codecs: Codec names of those that are stored.
    """
    encoded = {
        name: CODECS[codecs[name]].encode(pixels)
        for name, pixels in fields.items()
        if name in codecs
    }
    # Not by `replace`, which takes three times as long.
    return Record(
        record.background, record.objects, encoded | record.fields, record.index, record.name
    )
