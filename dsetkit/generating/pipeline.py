"""generate(...): the whole flow from two folders to a dataset, as one readable function.

Worker processes composite and encode, in order and a few batches ahead. The teacher labels whole
batches in this process, and one writer appends. With several shards, each is written so by a
process of its own. A sample depends on (seed, index, assets) alone, and every batch is cut at the
same places: neither the number of workers, nor that of shards, nor a restart changes a sample.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np

from dsetkit.arguments import COUNT, SEED
from dsetkit.assets import SharedAssets
from dsetkit.compositing import (
    AssetPixels,
    BatchCompositor,
    Canvas,
    FullSet,
    select_in_steps,
    split_cells,
)
from dsetkit.console import stage
from dsetkit.datasets import LABELLED_PER_COMMIT, SAMPLES_PER_COMMIT
from dsetkit.errors import DsetkitError, printable
from dsetkit.generating.estimate import describe_full_set, with_estimate
from dsetkit.generating.plan import AssetSet, DepthSource, Plan, describe_dataset, sizes_before
from dsetkit.generating.scene import scene_depth
from dsetkit.generating.settings import SceneDepth, Spread
from dsetkit.generating.shard_jobs import Progress, begin, write, write_in_processes
from dsetkit.labels import TeacherChoice, score_labels
from dsetkit.memory import check_memory
from dsetkit.store import Manifest, chosen_codecs, shard_ranges
from dsetkit.teachers import Teacher, with_range

log = logging.getLogger(__name__)

SAMPLES_OF_A_LONG_RUN = 1000
BYTES_A_PIXEL = 4  # of a composite and its mask
BYTES_A_SAMPLE = 60  # of the arrays that the split cells of the full set are computed in


def generate(
    *,
    foregrounds: Path,
    backgrounds: Path,
    output: Path,
    num_samples: int | None = None,
    at_most: int | None = None,
    canvas: Canvas | None = None,
    teacher: TeacherChoice | None = None,
    scene: SceneDepth | None = None,
    layout: str = "rendered",
    codecs: Mapping[str, str] | None = None,
    spread: Spread | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    progress: Progress = lambda done, total: None,
) -> Manifest:
    """Makes a dataset, continues one that was cut off, or lets a complete one grow.

    A dataset of one file grows when more samples are asked for than it has: those that it has stay
    as they are, and further ones follow. It is incomplete until they are there.

    Args:
        foregrounds: Folder of cut-outs with alpha.
        backgrounds: Folder of photographs.
        output: Dataset directory.
        num_samples: Even, seeded choice of that many samples; None makes the full set.
        at_most: Caps `num_samples`, for a look at a few samples.
        canvas: What a composite looks like.
        teacher: What gives the depth.
        scene: Depth by construction, from the depth of the backgrounds; None: the teacher sees
            every composite.
        layout: `rendered` stores composite and mask, `recipe` composites them when they are read.
        codecs: Codec names by field, where they differ from the layout's own.
        spread: Who writes it, into how many files.
        seed: Key of every random choice.
        skip_bad: Go on without unusable pictures, and record them in the manifest.
        progress: Called with (samples done, samples in all).

    Returns:
        The manifest of the complete dataset, or of the shard asked for.

    Raises:
        DsetkitError: Anything a user can mend.
    """
    canvas, teacher, spread = canvas or Canvas(), teacher or TeacherChoice(), spread or Spread()
    if scene and layout == "recipe" and "depth" in (codecs or {}):
        raise DsetkitError("--codec depth: layout recipe stores no scene depth: leave it out")
    if canvas.placement == "scene" and scene is None:
        raise DsetkitError("--placement scene needs --depth-of scene: objects stand in that depth")
    codecs = chosen_codecs(layout, codecs or {})
    _check_numbers(canvas, teacher, spread, num_samples=num_samples, seed=seed)
    if scene:
        teacher = scene.teacher(teacher)
    with stage(f"loading the teacher {teacher.name}"):
        network = teacher.load()
    if canvas.placement == "scene" and network is not None and network.kind != "metric":
        raise DsetkitError(
            f"--placement scene needs depth in metres, and teacher {network.name} gives relative "
            "depth: choose a metric one, or give --background-depth"
        )
    with stage(f"checking the pictures of {printable(foregrounds)} and {printable(backgrounds)}"):
        assets = AssetSet.load(
            foregrounds, backgrounds, canvas=canvas, seed=seed, skip_bad=skip_bad
        )
    full_set = assets.full_set(canvas, seed=seed)
    check_memory(
        len(full_set) * BYTES_A_SAMPLE,
        what=f"the full set of {len(full_set):,} samples",
        advice="give smaller --placements, or fewer pictures",
    )
    cells = split_cells(
        full_set,
        [asset.split for asset in assets.backgrounds],
        [asset.split for asset in assets.foregrounds],
    )
    count = _checked_count(num_samples, len(full_set))
    count = min(count, at_most or count)
    grown_from = sizes_before(output, count, shards=spread.shards)
    chosen = select_in_steps(cells, [*grown_from, count], seed=seed)
    if scene:
        depth, assets = scene_depth(
            scene, network, teacher, assets, folder=backgrounds, output=output
        )
        # From here on depth is composited, and nobody asks the teacher.
        network, teacher = None, TeacherChoice(name="none", batch_size=teacher.batch_size)
    else:
        show = partial(_shown, full_set, assets.pixels, chosen, teacher.batch_size)
        network = with_range(network, output=output, count=len(chosen), show=show)
        depth = DepthSource.of_composites(network, teacher)
    manifest = describe_dataset(
        full_set,
        assets,
        num_samples=len(chosen),
        depth=depth,
        layout=layout,
        codecs=codecs,
        shards=spread.shards,
        grown_from=grown_from,
    )
    spread.check_shard_index(len(shard_ranges(manifest)))
    plan = Plan(
        output,
        manifest,
        full_set,
        chosen,
        cells[chosen],
        teacher,
        samples_per_commit=LABELLED_PER_COMMIT if network else SAMPLES_PER_COMMIT,
    )
    if len(chosen) >= SAMPLES_OF_A_LONG_RUN:
        log.info("%s", describe_full_set(full_set, making=len(chosen)))
    progress = with_estimate(progress, output)
    written = _write(plan, assets, network, spread, progress)
    return score_labels(output) or written


def _shown(
    full_set: FullSet,
    asset: AssetPixels,
    chosen: np.ndarray,
    batch_size: int,
    positions: list[int],
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Composites of some of the chosen samples, for the range of a relative teacher."""
    compositor = BatchCompositor(full_set, asset, {}, keep_composites=True)
    for i in range(0, len(positions), batch_size):
        part = positions[i : i + batch_size]
        batch = compositor.composite(chosen[part])
        assert batch.composites is not None  # kept, see above
        yield part, batch.composites


def _check_numbers(
    canvas: Canvas, teacher: TeacherChoice, spread: Spread, *, num_samples: int | None, seed: int
) -> None:
    """Makes sure that numbers are in their ranges, and the pictures of a batch fit into memory."""
    SEED.check(seed, "--seed")
    if num_samples is not None:
        COUNT.check(num_samples, "--num-samples")
    processes = max(1, spread.local_workers) if spread.engine == "local" else 1
    check_memory(
        processes * teacher.batch_size * canvas.size**2 * BYTES_A_PIXEL,
        what=f"--size {canvas.size} with --batch-size {teacher.batch_size}, {processes} at a time,",
        advice="give smaller ones, or fewer --workers",
    )


def _write(
    plan: Plan, assets: AssetSet, network: Teacher | None, spread: Spread, progress: Progress
) -> Manifest:
    """Writes the samples that are missing; returns the manifest of what was written."""
    if spread.engine == "ray":
        from dsetkit.generating.ray import write_on_ray  # an optional extra

        begin(plan, assets.stored())
        return write_on_ray(
            plan,
            assets.all_pixels,
            address=spread.ray_address,
            workers=spread.workers,
            gpus_per_worker=spread.gpus_per_worker,
            progress=progress,
        )
    workers = spread.local_workers
    shared = SharedAssets(assets.all_pixels) if workers else nullcontext(assets.pixels)
    with shared as asset:
        if workers and spread.shards > 1 and spread.shard_index is None:
            return write_in_processes(
                plan, asset, assets.stored(), workers=workers, progress=progress
            )
        return write(
            plan,
            asset,
            network,
            stored=assets.stored(),
            only=spread.shard_index,
            compositing_workers=workers,
            progress=progress,
        )


def _checked_count(num_samples: int | None, full: int) -> int:
    if num_samples is None:
        return full
    if not 1 <= num_samples <= full:
        raise DsetkitError(f"--num-samples {num_samples}: expected 1 to {full:,}, the full set")
    return num_samples
