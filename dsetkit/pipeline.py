"""generate(...): the whole flow from two folders to a dataset, as one readable function.

Worker processes composite and encode, in order and a few batches ahead; the teacher labels whole
batches in this process; one writer appends. A sample depends on (seed, index, assets) alone and
every batch is cut at the same places: neither the number of workers nor a restart changes a byte.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from dsetkit import manifest as m
from dsetkit.assets import (
    Asset,
    describe_bad,
    encode_asset,
    fingerprint,
    load_backgrounds,
    load_foregrounds,
    raise_if_bad,
)
from dsetkit.codecs import CODECS, chosen_codecs
from dsetkit.dataset_writer import DatasetWriter, StoredAsset
from dsetkit.encoding import Record, quantise_metric, quantise_relative
from dsetkit.errors import DsetkitError
from dsetkit.label_quality import judge_labels
from dsetkit.lmdb_store import ENGINE_VERSION
from dsetkit.recipe import PLACEMENTS, FullSet
from dsetkit.redraw import Redrawer, drawing_fingerprint
from dsetkit.render import DrawnBatch, Renderer, draw_in_workers
from dsetkit.selection import select, split_cells
from dsetkit.teachers import (
    Teacher,
    TeacherOptions,
    checked_depth,
    load_teacher,
    settings_of,
    with_range,
)

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # (done, total)


@dataclass(frozen=True)
class _BothAssets:
    backgrounds: list[Asset]
    foregrounds: list[Asset]
    skipped: list[list[str]]

    def pixels(self, database: str, number: int) -> np.ndarray:
        """Of one of `backgrounds` or `foregrounds`: uint8 (h,w,c)."""
        return getattr(self, database)[number].pixels


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
    workers: int | None = None,
    batch_size: int = 32,
    device: str = "auto",
    seed: int = 0,
    skip_bad: bool = False,
    layout: str = "rendered",
    codecs: Mapping[str, str] | None = None,
    at_most: int | None = None,
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
        workers: Processes that composite; 0 = this one does; None = one for each core.
        batch_size: Samples the teacher sees at once; part of what makes the dataset repeatable.
        device: Where the teacher runs.
        seed: Key of every random choice.
        skip_bad: Go on without unusable pictures, and record them in the manifest.
        layout: `rendered` stores composite and mask, `recipe` draws them again when they are read.
        codecs: Codec names by field, where they shall not be the layout's own.
        at_most: Cuts `num_samples` down to this, for a look at a few samples.
        progress: Called with (samples done, samples in all).

    Returns:
        The manifest of the complete dataset.

    Raises:
        DsetkitError: Anything a user can mend.
    """
    _check_settings(size, placements, scale_range, placement, batch_size)
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
    manifest = _describe(full_set, assets, len(chosen), network, batch_size, layout, codecs)
    with DatasetWriter(
        output,
        manifest,
        all_cells[chosen],
        backgrounds=_stored(assets.backgrounds),
        foregrounds=_stored(assets.foregrounds),
    ) as writer:
        # Commits fall between batches, so a dataset that was cut off goes on with a whole batch.
        todo = chosen[writer.count :]
        batches = [todo[i : i + batch_size] for i in range(0, len(todo), batch_size)]
        for drawn in _draw(output, full_set, assets, manifest, batches, workers):
            writer.add(label(drawn, network, codecs, first=writer.count))
            progress(writer.count, len(chosen))
        redrawer = Redrawer(assets.pixels, (size, size))
        return writer.finish(judge=partial(judge_labels, redrawer=redrawer))


def _draw(
    output: Path,
    full_set: FullSet,
    assets: _BothAssets,
    manifest: m.Manifest,
    batches: list[np.ndarray],
    workers: int | None,
) -> Iterator[DrawnBatch]:
    """The batches in order, drawn in workers (None: one for each core) or, with 0, here."""
    workers = os.cpu_count() or 1 if workers is None else workers
    keep_pixels = manifest.depth_kind != "none"
    if workers:
        return draw_in_workers(output, full_set, batches, workers=workers, keep_pixels=keep_pixels)
    renderer = Renderer(full_set, assets.pixels, manifest.codecs, keep_pixels=keep_pixels)
    return map(renderer.draw, batches)


def label(
    drawn: DrawnBatch, teacher: Teacher | None, codecs: Mapping[str, str], *, first: int
) -> list[Record]:
    """The samples of a batch with the teacher's depth added.

    Args:
        drawn: The batch.
        teacher: None adds nothing.
        codecs: Codec names by field.
        first: Index of its first sample, for messages.
    """
    if teacher is None:
        return drawn.records
    answer = teacher(drawn.pixels)
    depth = checked_depth(
        answer,
        len(drawn.records),
        teacher=teacher.name,
        first=first,
        max_depth_m=teacher.max_depth_m,
    )
    if teacher.kind == "metric":
        stored = [quantise_metric(one, teacher.max_depth_m) for one in depth]
    else:
        stored = [quantise_relative(one) for one in depth]
    encode = CODECS[codecs["depth"]].encode
    return [
        replace(record, fields=record.fields | {"depth": encode(one)})
        for record, one in zip(drawn.records, stored, strict=True)
    ]


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


def _stored(assets: list[Asset]) -> list[StoredAsset]:
    return [StoredAsset(one.name, one.split, encode_asset(one.pixels)) for one in assets]


def _describe(
    full_set: FullSet,
    assets: _BothAssets,
    num_samples: int,
    teacher: Teacher | None,
    batch_size: int,
    layout: str,
    codecs: Mapping[str, str],
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
        teacher=describe_teacher(teacher, batch_size=batch_size),
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
        drawing=drawing_fingerprint() if layout == "recipe" else "",
        engine=ENGINE_VERSION,
    )


def describe_teacher(teacher: Teacher | None, *, batch_size: int) -> dict:
    """What the manifest says of a teacher: name, hash, batch size, and the teacher's settings."""
    if teacher is None:
        return {"name": "none", "hash": "", "batch_size": batch_size}
    about = {"name": teacher.name, "hash": teacher.weights_hash, "batch_size": batch_size}
    return about | settings_of(teacher)


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


def _checked_count(num_samples: int | None, full: int) -> int:
    if num_samples is None:
        return full
    if not 1 <= num_samples <= full:
        raise DsetkitError(f"--num-samples {num_samples}: expected 1 to {full:,}, the full set")
    return num_samples
