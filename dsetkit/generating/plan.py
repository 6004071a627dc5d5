"""What is to be made, decided before any sample is."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from dsetkit.assets import (
    Asset,
    describe_bad,
    encode_asset,
    fingerprint,
    load_backgrounds,
    load_foregrounds,
    raise_if_bad,
)
from dsetkit.compositing import (
    AssetPixels,
    BatchCompositor,
    Canvas,
    FullSet,
    Nearness,
    PlaneRule,
    with_compositing,
)
from dsetkit.datasets import SAMPLES_PER_COMMIT, Dataset
from dsetkit.errors import DatasetError
from dsetkit.labels import TeacherChoice
from dsetkit.store import (
    BACKGROUND_DEPTH_CODEC,
    CODECS,
    ENGINE_VERSION,
    StoredAsset,
    shard_ranges,
    stored_fields,
)
from dsetkit.store import manifest as m
from dsetkit.teachers import Teacher

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What is to be made. Whoever has it, and the assets, can write any shard.

    Attributes:
        output: The dataset's directory.
        manifest: As it will be, not complete.
        full_set: What sample `index` of the full set is.
        chosen: The samples that are made, in order: int64 (num_samples,). In the plan of one shard,
            those of the shard.
        cells: Their split cells: uint8 (num_samples,). Empty in the plan of one shard.
        teacher: What gives the depth.
        first: Index of the first of `chosen`.
        samples_per_commit: As of `DatasetWriter`.
    """

    output: Path
    manifest: m.Manifest
    full_set: FullSet
    chosen: np.ndarray
    cells: np.ndarray
    teacher: TeacherChoice
    first: int = 0
    samples_per_commit: int = SAMPLES_PER_COMMIT

    def part(self, number: int) -> "Plan":
        """The plan of one shard, which is as small as the shard."""
        indices = shard_ranges(self.manifest)[number]
        chosen = self.chosen[indices.start : indices.stop]
        return replace(self, chosen=chosen, cells=self.cells[:0], first=indices.start)

    def without_samples(self) -> "Plan":
        """All but the samples: quick to send to a process that is about to start."""
        return replace(self, chosen=self.chosen[:0], cells=self.cells[:0])

    @property
    def batch_size(self) -> int:
        """Samples that the teacher sees at once."""
        return self.manifest.teacher["batch_size"]

    def compositor(self, asset: AssetPixels) -> BatchCompositor:
        """What composites the samples."""
        manifest = self.manifest
        planes = None
        if manifest.has_scene_depth:
            recipe = manifest.recipe
            planes = PlaneRule.of_recipe(manifest.depth_kind, recipe, Nearness.of_recipe(recipe))
        return BatchCompositor(
            self.full_set,
            asset,
            manifest.codecs,
            keep_composites=manifest.depth_kind != "none" and planes is None,
            keep_masks="edge_reach" in manifest.teacher,
            planes=planes,
        )


@dataclass(frozen=True)
class AssetSet:
    """All pictures that a dataset is made from, checked and prepared.

    Attributes:
        backgrounds: In id order.
        foregrounds: In id order.
        skipped: [file name, reason] of each picture left out.
        depths: Stored depth of each background, uint16 (S,S), with scene depth; otherwise none.
    """

    backgrounds: list[Asset]
    foregrounds: list[Asset]
    skipped: list[list[str]]
    depths: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def load(
        cls, foregrounds: Path, backgrounds: Path, *, canvas: Canvas, seed: int, skip_bad: bool
    ) -> "AssetSet":
        """Reads and checks both folders.

        Raises:
            AssetError: A folder without pictures, or unusable pictures (unless `skip_bad`).
        """
        longest = round(canvas.scale_range[1] * canvas.size)
        cut_outs = load_foregrounds(foregrounds, max_side=longest, seed=seed)
        photographs = load_backgrounds(backgrounds, size=canvas.size, seed=seed)
        raise_if_bad(cut_outs, photographs, skip_bad=skip_bad)
        bad = cut_outs.bad + photographs.bad
        if bad:
            log.warning("going on without: %s", describe_bad(cut_outs, photographs))
        return cls(photographs.assets, cut_outs.assets, [[one.name, one.reason] for one in bad])

    def full_set(self, canvas: Canvas, *, seed: int) -> FullSet:
        """All samples that can be made of them.

        Raises:
            DsetkitError: See `FullSet` and `Standing.heights_mm`.
        """
        names = [asset.name for asset in self.foregrounds]
        return FullSet(
            num_backgrounds=len(self.backgrounds),
            foreground_shapes=tuple(asset.pixels.shape[:2] for asset in self.foregrounds),
            canvas=canvas,
            seed=seed,
            foreground_splits=tuple(asset.split for asset in self.foregrounds),
            heights_mm=canvas.standing.heights_mm(names) if canvas.standing else (),
        )

    def pixels(self, kind: str, number: int) -> np.ndarray:
        """One of the arrays of `all_pixels`."""
        return self.all_pixels[kind][number]

    @cached_property
    def fingerprint(self) -> str:
        """See `dsetkit.assets.fingerprint`."""
        return fingerprint(self.backgrounds, self.foregrounds)

    @cached_property
    def all_pixels(self) -> dict[str, list[np.ndarray]]:
        """`backgrounds`, `foregrounds` and `depths` in id order; see `compositing.AssetPixels`."""
        return {
            "backgrounds": [asset.pixels for asset in self.backgrounds],
            "foregrounds": [asset.pixels for asset in self.foregrounds],
            "depths": self.depths,
        }

    def stored(self) -> dict[str, Iterator[StoredAsset]]:
        """All assets as the dataset keeps them, by kind; encoded only when they are read."""
        return {
            "backgrounds": _encoded(self.backgrounds, self.depths),
            "foregrounds": _encoded(self.foregrounds, []),
        }


def _encoded(assets: Sequence[Asset], depths: Sequence[np.ndarray]) -> Iterator[StoredAsset]:
    """The assets, with their depths if there are any."""
    encode_depth = CODECS[BACKGROUND_DEPTH_CODEC].encode
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        images = pool.map(encode_asset, (asset.pixels for asset in assets))
        for asset, image, depth in zip_longest(assets, images, depths):
            encoded = None if depth is None else encode_depth(depth)
            yield StoredAsset(asset.name, asset.split, image, encoded)


@dataclass(frozen=True, kw_only=True)
class DepthSource:
    """Where the depth of a dataset comes from.

    Attributes:
        kind: `metric`, `relative` or `none`.
        max_depth_m: As of `Manifest`.
        teacher: The manifest's entry on the teacher.
        nearness: With scene depth how near objects are; None without.
    """

    kind: str
    max_depth_m: float
    teacher: dict[str, Any]
    nearness: Nearness | None = None

    @classmethod
    def of_composites(cls, network: Teacher | None, choice: TeacherChoice) -> "DepthSource":
        """A teacher that sees the composites; None gives no depth."""
        entry = choice.describe(network)
        if network is None:
            return cls(kind="none", max_depth_m=0.0, teacher=entry)
        return cls(kind=network.kind, max_depth_m=network.max_depth_m, teacher=entry)


def describe_dataset(
    full_set: FullSet,
    assets: AssetSet,
    *,
    num_samples: int,
    depth: DepthSource,
    layout: str,
    codecs: Mapping[str, str],
    shards: int,
    grown_from: Sequence[int] = (),
) -> m.Manifest:
    """The manifest of a dataset to be made, not complete.

    Args:
        full_set: What sample `index` is.
        assets: What it is made from.
        num_samples: How many samples it will hold.
        depth: Where the depth comes from.
        layout: `rendered` or `recipe`.
        codecs: Codec names by field.
        shards: Files.
        grown_from: The numbers of samples that it had before.
    """
    canvas = full_set.canvas
    fields = ["background", "composite", "mask"]
    fields += ["depth"] if depth.kind != "none" else []
    fields += ["instances"] if canvas.objects != (1, 1) else []
    stored = stored_fields(fields, layout=layout, has_scene_depth=depth.nearness is not None)
    recipe = {
        "seed": full_set.seed,
        "placements": canvas.placements,
        "scale_range": list(canvas.scale_range),
        "placement": canvas.placement,
        "full_set": len(full_set),
    }
    if canvas.objects != (1, 1):
        recipe["objects"] = list(canvas.objects)
    if canvas.standing is not None:
        recipe |= canvas.standing.describe()
    if canvas.harmonise:
        recipe["harmonise"] = list(canvas.harmonise)
    if depth.nearness is not None:
        recipe |= {"depth_of": "scene", **depth.nearness.describe()}
    manifest = m.Manifest(
        num_samples=num_samples,
        complete=False,
        size=[canvas.size, canvas.size],
        fields=fields,
        codecs={name: codecs[name] for name in stored},
        depth_kind=depth.kind,
        max_depth_m=depth.max_depth_m,
        teacher=depth.teacher,
        recipe=m.grown_recipe(recipe, grown_from),
        splits={"by": "asset", "seed": full_set.seed},
        assets_fingerprint=assets.fingerprint,
        skipped=assets.skipped,
        num_backgrounds=len(assets.backgrounds),
        num_foregrounds=len(assets.foregrounds),
        layout=layout,
        shard=m.ONLY_SHARD | {"shards": shards},
        engine=ENGINE_VERSION,
    )
    return with_compositing(manifest)


def sizes_before(output: Path, count: int, *, shards: int) -> list[int]:
    """The numbers of samples that a dataset had before it grows, or grew, to `count`.

    Args:
        output: Its directory; it may not exist yet.
        count: Samples that are asked for.
        shards: Files that are asked for.

    Raises:
        DatasetError: There is a smaller dataset that cannot grow.
    """
    try:
        dataset = Dataset(output, allow_incomplete=True)
    except DatasetError:  # there is none, or one that its writer will refuse
        return []
    stored = dataset.manifest
    if count == stored.num_samples:
        return stored.grown_from
    if count < stored.num_samples:
        return []
    if not dataset.shards.is_complete():
        raise DatasetError(
            f"{output} has {len(dataset):,} of {stored.num_samples:,} samples: finish it with "
            f"--num-samples {stored.num_samples}, then let it grow"
        )
    if shards > 1 or stored.shard["shards"] > 1:
        raise DatasetError(
            f"{output}: a dataset of several shards cannot grow, because the samples of each shard "
            "would change: choose another --output"
        )
    return [*stored.grown_from, stored.num_samples]
