"""What is to be made, decided before any sample is."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

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
    compositing_fingerprint,
)
from dsetkit.datasets import SAMPLES_PER_COMMIT, Dataset
from dsetkit.errors import DatasetError
from dsetkit.labels import TeacherChoice
from dsetkit.store import ENGINE_VERSION, StoredAsset, shard_ranges
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
        return BatchCompositor(
            self.full_set,
            asset,
            self.manifest.codecs,
            keep_composites=self.manifest.depth_kind != "none",
            keep_masks="edge_reach" in self.manifest.teacher,
        )


@dataclass(frozen=True)
class AssetSet:
    """All pictures that a dataset is made from, checked and prepared.

    Attributes:
        backgrounds: In id order.
        foregrounds: In id order.
        skipped: [file name, reason] of each picture left out.
    """

    backgrounds: list[Asset]
    foregrounds: list[Asset]
    skipped: list[list[str]]

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

    def pixels(self, kind: str, number: int) -> np.ndarray:
        """Pixels of one of the `backgrounds` or `foregrounds`: uint8 (h,w,c)."""
        return self._of(kind)[number].pixels

    def all_pixels(self) -> dict[str, list[np.ndarray]]:
        """Pixels of all assets, by kind and in id order."""
        return {kind: [asset.pixels for asset in self._of(kind)] for kind in self._KINDS}

    def stored(self) -> dict[str, Iterator[StoredAsset]]:
        """All assets as the dataset keeps them, by kind; encoded only when they are read."""
        return {kind: _encoded(self._of(kind)) for kind in self._KINDS}

    _KINDS = ("backgrounds", "foregrounds")

    def _of(self, kind: str) -> list[Asset]:
        return {"backgrounds": self.backgrounds, "foregrounds": self.foregrounds}[kind]


def _encoded(assets: list[Asset]) -> Iterator[StoredAsset]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        images = pool.map(encode_asset, (asset.pixels for asset in assets))
        for asset, image in zip(assets, images, strict=True):
            yield StoredAsset(asset.name, asset.split, image)


def describe_dataset(
    full_set: FullSet,
    assets: AssetSet,
    *,
    num_samples: int,
    network: Teacher | None,
    teacher: TeacherChoice,
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
        network: The loaded teacher.
        teacher: How it is asked.
        layout: `rendered` or `recipe`.
        codecs: Codec names by field.
        shards: Files.
        grown_from: The numbers of samples that it had before.
    """
    canvas = full_set.canvas
    fields = ["background", "composite", "mask"] + (["depth"] if network else [])
    return m.Manifest(
        num_samples=num_samples,
        complete=False,
        size=[canvas.size, canvas.size],
        fields=fields,
        codecs={name: codecs[name] for name in fields if name in codecs},
        depth_kind=network.kind if network else "none",
        max_depth_m=network.max_depth_m if network else 0.0,
        teacher=teacher.describe(network),
        recipe=m.grown_recipe(
            {
                "seed": full_set.seed,
                "placements": canvas.placements,
                "scale_range": list(canvas.scale_range),
                "placement": canvas.placement,
                "full_set": len(full_set),
            },
            grown_from,
        ),
        splits={"by": "asset", "seed": full_set.seed},
        assets_fingerprint=fingerprint(assets.backgrounds, assets.foregrounds),
        skipped=assets.skipped,
        num_backgrounds=len(assets.backgrounds),
        num_foregrounds=len(assets.foregrounds),
        layout=layout,
        shard=m.ONLY_SHARD | {"shards": shards},
        compositing=compositing_fingerprint() if layout == "recipe" else "",
        engine=ENGINE_VERSION,
    )


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
