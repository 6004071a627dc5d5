"""generate(...): the whole flow from two folders to a dataset, as one readable function.

Worker processes composite and encode, in order and a few batches ahead; the teacher labels whole
batches in this process; one writer appends. Of several shards each is written so by a process of
its own. A sample depends on (seed, index, assets) alone and every batch is cut at the same places:
neither the number of workers, nor that of shards, nor a restart changes a byte.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dsetkit.assets import (
    Asset,
    SharedAssets,
    describe_bad,
    encode_asset,
    fingerprint,
    load_backgrounds,
    load_foregrounds,
    raise_if_bad,
)
from dsetkit.compositing import (
    PLACEMENTS,
    FullSet,
    Renderer,
    drawing_fingerprint,
    select,
    split_cells,
)
from dsetkit.datasets import StoredAsset
from dsetkit.errors import DsetkitError
from dsetkit.generating.shard_jobs import Plan, begin, write, write_in_processes
from dsetkit.labels import check_edge_reach, describe_teacher
from dsetkit.store import ENGINE_VERSION, chosen_codecs, shard_ranges
from dsetkit.store import manifest as m
from dsetkit.teachers import Teacher, TeacherOptions, load_teacher, with_range

ENGINES = ("local", "ray")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _BothAssets:
    backgrounds: list[Asset]
    foregrounds: list[Asset]
    skipped: list[list[str]]

    def pixels(self, database: str, number: int) -> np.ndarray:
        """Of one of `backgrounds` or `foregrounds`: uint8 (h,w,c)."""
        return getattr(self, database)[number].pixels

    def all_pixels(self) -> dict[str, list[np.ndarray]]:
        """Those of all, by kind and in id order."""
        kinds = {"backgrounds": self.backgrounds, "foregrounds": self.foregrounds}
        return {kind: [asset.pixels for asset in some] for kind, some in kinds.items()}


def generate(
    *,
    foregrounds: Path,
    backgrounds: Path,
    output: Path,
    num_samples: int | None = None,
    size: int = 224,
    placements: int = 20,
    scale_range: tuple[float, float] = (0.3, 0.7),
    placement: str = "uniform",
    teacher: str = "bundled",
    teacher_options: TeacherOptions | None = None,
    edge_reach: float | None = None,
    workers: int | None = None,
    batch_size: int = 32,
    device: str = "auto",
    seed: int = 0,
    skip_bad: bool = False,
    layout: str = "rendered",
    codecs: Mapping[str, str] | None = None,
    at_most: int | None = None,
    shards: int = 1,
    shard_index: int | None = None,
    engine: str = "local",
    ray_address: str | None = None,
    gpus_per_worker: float = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> m.Manifest:
    """Makes a dataset, or continues one that was cut off.

    Args:
        foregrounds: Folder of cut-outs with alpha.
        backgrounds: Folder of photographs.
        output: Dataset directory.
        num_samples: Even, seeded choice of that many samples; None makes the full set.
        size: Side of the square canvas [px].
        placements: Placements of each (background, foreground, flip).
        scale_range: Longer side of the placed foreground as a share of the canvas.
        placement: `uniform` or `grid`.
        teacher: What gives the depth; see `dsetkit.teachers`.
        teacher_options: What the other `--teacher-...` flags say.
        edge_reach: How far from the alpha's edges depth is put right, see `alpha_edges`, as a share
            of the shorter side; None = what suits the teacher.
        workers: Processes that composite, 0 = this one does; of several shards those that each
            write one, 0 = this one writes them in turn. None = one for each core.
        batch_size: Samples the teacher sees at once; part of what makes the dataset repeatable.
        device: Where the teacher runs.
        seed: Key of every random choice.
        skip_bad: Go on without unusable pictures, and record them in the manifest.
        layout: `rendered` stores composite and mask, `recipe` draws them again when they are read.
        codecs: Codec names by field, where they shall not be the layout's own.
        at_most: Cuts `num_samples` down to this, for a look at a few samples.
        shards: Files the dataset becomes, each a contiguous range of samples.
        shard_index: Write this shard alone; None writes all.
        engine: `local` processes, or `ray` for shards as tasks of a cluster.
        ray_address: Of the cluster; None starts one on this machine.
        gpus_per_worker: Share of a GPU that each task of a cluster takes.
        progress: Called with (samples done, samples in all).

    Returns:
        The manifest of the complete dataset, or of the shard asked for.

    Raises:
        DsetkitError: Anything a user can mend.
    """
    _check_settings(size, placements, scale_range, placement, batch_size)
    check_edge_reach(edge_reach)
    _check_shards(shards, shard_index, engine)
    codecs = chosen_codecs(layout, codecs or {})
    network = load_teacher(teacher, device=device, options=teacher_options)
    assets = _load_assets(foregrounds, backgrounds, size, scale_range, seed, skip_bad)
    full_set = FullSet(
        num_backgrounds=len(assets.backgrounds),
        foreground_shapes=tuple(asset.pixels.shape[:2] for asset in assets.foregrounds),
        placements=placements,
        size=size,
        scale_range=scale_range,
        placement=placement,
        seed=seed,
    )
    all_cells = split_cells(
        full_set,
        [asset.split for asset in assets.backgrounds],
        [asset.split for asset in assets.foregrounds],
    )
    count = _checked_count(num_samples, len(full_set))
    chosen = select(all_cells, min(count, at_most or count), seed=seed)

    def show(indices: list[int]) -> Iterator[tuple[list[int], np.ndarray]]:
        renderer = Renderer(full_set, assets.pixels, {}, keep_pixels=True)
        for i in range(0, len(indices), batch_size):
            some = indices[i : i + batch_size]
            yield some, renderer.draw(chosen[some]).pixels

    network = with_range(network, output=output, count=len(chosen), show=show)
    about = describe_teacher(network, batch_size=batch_size, edge_reach=edge_reach)
    manifest = _describe(full_set, assets, len(chosen), network, about, layout, codecs, shards)
    asked_for = {"teacher": teacher, "teacher_options": teacher_options, "device": device}
    plan = Plan(output, manifest, full_set, chosen, all_cells[chosen], **asked_for)
    _check_shard_index(shard_index, len(shard_ranges(manifest)))

    stored = {
        "backgrounds": _stored(assets.backgrounds),
        "foregrounds": _stored(assets.foregrounds),
    }
    workers = os.cpu_count() or 1 if workers is None and engine == "local" else workers
    if engine == "ray":
        from dsetkit.generating.ray import write_on_ray  # an optional extra

        begin(plan, stored)
        on_cluster = {"address": ray_address, "gpus_per_worker": gpus_per_worker}
        return write_on_ray(
            plan, assets.all_pixels(), workers=workers, **on_cluster, progress=progress
        )
    with SharedAssets(assets.all_pixels()) if workers else nullcontext(assets.pixels) as asset:
        if workers and shards > 1 and shard_index is None:
            return write_in_processes(plan, asset, stored, workers=workers, progress=progress)
        return write(
            plan,
            asset,
            network,
            stored=stored,
            only=shard_index,
            drawing_workers=workers,
            progress=progress,
        )


# ---- what goes in ------------------------------------------------------------------------------


def _load_assets(
    foregrounds: Path,
    backgrounds: Path,
    size: int,
    scale_range: tuple[float, float],
    seed: int,
    skip_bad: bool,
) -> _BothAssets:
    """Checks and prepares all pictures before any work starts."""
    front = load_foregrounds(foregrounds, max_side=round(scale_range[1] * size), seed=seed)
    behind = load_backgrounds(backgrounds, size=size, seed=seed)
    raise_if_bad(front, behind, skip_bad=skip_bad)
    if front.bad or behind.bad:
        log.warning("going on without: %s", describe_bad(front, behind))
    skipped = [[bad.name, bad.reason] for found in (front, behind) for bad in found.bad]
    return _BothAssets(behind.assets, front.assets, skipped)


def _stored(assets: list[Asset]) -> Iterator[StoredAsset]:
    """Encoded when they are asked for, by threads: a dataset that goes on has them already."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        images = pool.map(encode_asset, (one.pixels for one in assets))
        for one, image in zip(assets, images, strict=True):
            yield StoredAsset(one.name, one.split, image)


def _describe(
    full_set: FullSet,
    assets: _BothAssets,
    num_samples: int,
    teacher: Teacher | None,
    about_teacher: dict,
    layout: str,
    codecs: Mapping[str, str],
    shards: int,
) -> m.Manifest:
    """The manifest of the dataset to be made."""
    fields = ["background", "composite", "mask"] + (["depth"] if teacher else [])
    return m.Manifest(
        num_samples=num_samples,
        complete=False,
        size=[full_set.size, full_set.size],
        fields=fields,
        codecs={name: codecs[name] for name in fields if name in codecs},
        depth_kind=teacher.kind if teacher else "none",
        max_depth_m=teacher.max_depth_m if teacher else 0.0,
        teacher=about_teacher,
        recipe={
            "seed": full_set.seed,
            "placements": full_set.placements,
            "scale_range": list(full_set.scale_range),
            "placement": full_set.placement,
            "full_set": len(full_set),
        },
        splits={"by": "asset", "seed": full_set.seed},
        assets_fingerprint=fingerprint(assets.backgrounds, assets.foregrounds),
        skipped=assets.skipped,
        num_backgrounds=len(assets.backgrounds),
        num_foregrounds=len(assets.foregrounds),
        layout=layout,
        shard=m.WHOLE | {"shards": shards},
        drawing=drawing_fingerprint() if layout == "recipe" else "",
        engine=ENGINE_VERSION,
    )


# ---- what is asked for -------------------------------------------------------------------------


def _check_settings(
    size: int,
    placements: int,
    scale_range: tuple[float, float],
    placement: str,
    batch_size: int,
) -> None:
    low, high = scale_range
    if not 0 < low <= high <= 1:
        raise DsetkitError(f"--scale-range {low} {high}: expected 0 < low <= high <= 1")
    if size < 16 or placements < 1 or batch_size < 1:
        raise DsetkitError(
            f"--size {size}, --placements {placements}, --batch-size {batch_size}: "
            "expected a size of at least 16 px, and at least 1 of the others"
        )
    if placement not in PLACEMENTS:
        raise DsetkitError(f"--placement {placement}: expected {' or '.join(PLACEMENTS)}")


def _check_shards(shards: int, shard_index: int | None, engine: str) -> None:
    if shards < 1:
        raise DsetkitError(f"--shards {shards}: expected at least 1")
    if engine not in ENGINES:
        raise DsetkitError(f"--engine {engine}: expected {' or '.join(ENGINES)}")
    if shard_index is not None and engine != "local":
        raise DsetkitError(
            f"--shard-index {shard_index} writes one shard here, --engine {engine} all of them "
            "elsewhere: give one of the two"
        )


def _check_shard_index(shard_index: int | None, shards: int) -> None:
    if shard_index is not None and not 0 <= shard_index < shards:
        raise DsetkitError(
            f"--shard-index {shard_index}: expected 0 to {shards - 1}, one of --shards {shards}"
        )


def _checked_count(num_samples: int | None, full: int) -> int:
    if num_samples is None:
        return full
    if not 1 <= num_samples <= full:
        raise DsetkitError(f"--num-samples {num_samples}: expected 1 to {full:,}, the full set")
    return num_samples
