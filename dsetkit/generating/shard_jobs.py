"""Writing a planned dataset: one shard after another here, or several side by side in processes.

A plan holds all that decides what the samples are, so whoever has it, and the assets, can write any
shard, at any time and in any place; which of them did it never changes a byte.
"""

import logging
import os
import queue
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from dsetkit.compositing import DrawnBatch, FullSet, Renderer
from dsetkit.datasets import DatasetWriter, StoredAsset, judge_shards
from dsetkit.errors import DatasetError, DsetkitError
from dsetkit.labels import judge_with, labelled
from dsetkit.processes import in_processes
from dsetkit.store import Manifest, shard_ranges
from dsetkit.teachers import Teacher, TeacherOptions, load_teacher, with_recorded_range

AssetPixels = Callable[[str, int], np.ndarray]
Progress = Callable[[int, int], None]  # (samples done, samples in all)

SECONDS_BETWEEN_NEWS = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What is to be made, before any sample is.

    Attributes:
        output: The dataset's directory.
        manifest: As it will be, not complete.
        full_set: What sample `index` of the full set is.
        chosen: Its samples that are made, in order: int64 (num_samples,); of a part its own.
        cells: Their split cells: uint8 (num_samples,); of a part none.
        teacher: As `load_teacher` takes it.
        teacher_options: Likewise.
        device: Likewise.
        first: Index of the first of `chosen`.
    """

    output: Path
    manifest: Manifest
    full_set: FullSet
    chosen: np.ndarray
    cells: np.ndarray
    teacher: str
    teacher_options: TeacherOptions | None
    device: str
    first: int = 0

    def part(self, number: int) -> "Plan":
        """The plan of a shard alone, which is as small as the shard."""
        indices = shard_ranges(self.manifest)[number]
        chosen = self.chosen[indices.start : indices.stop]
        return replace(self, chosen=chosen, cells=self.cells[:0], first=indices.start)

    def without_samples(self) -> "Plan":
        """All but the samples: quick to send, which a process waits for before it starts."""
        return replace(self, chosen=self.chosen[:0], cells=self.cells[:0])

    @property
    def batch_size(self) -> int:
        """Samples that the teacher sees at once."""
        return self.manifest.teacher["batch_size"]

    def renderer(self, asset: AssetPixels) -> Renderer:
        """What draws the samples."""
        return Renderer(
            self.full_set,
            asset,
            self.manifest.codecs,
            keep_pixels=self.manifest.depth_kind != "none",
            keep_masks="edge_reach" in self.manifest.teacher,
        )

    def judge(self, asset: AssetPixels) -> Callable:
        """What `DatasetWriter.finish` takes to score the labels."""
        return judge_with(asset, self.manifest)


# ---- here --------------------------------------------------------------------------------------


def begin(plan: Plan, stored: Mapping[str, Iterable[StoredAsset]]) -> None:
    """Writes what belongs to the whole dataset into its first shard, unless it is there."""
    with DatasetWriter(plan.output, plan.manifest, plan.cells, **stored, only=0):
        pass


def write(
    plan: Plan,
    asset: AssetPixels,
    network: Teacher | None,
    *,
    stored: Mapping[str, Iterable[StoredAsset]] | None = None,
    only: int | None = None,
    drawing_workers: int = 0,
    progress: Progress,
) -> Manifest:
    """Writes the samples of a shard, or of all, or what is missing of them.

    Args:
        plan: What to make.
        asset: Pixels by kind and id; shared ones if there are workers.
        network: The plan's teacher.
        stored: `backgrounds` and `foregrounds` for the first shard. None: `begin` came before, and
            somebody else will score the labels once all shards are there.
        only: A shard's number; None = all in turn.
        drawing_workers: Processes that draw; 0 = this one does.
        progress: Called with (samples done, samples in all) of what is written here.
    """
    judge = None if stored is None else plan.judge(asset)
    with DatasetWriter(
        plan.output, plan.manifest, plan.cells, **(stored or {}), only=only
    ) as writer:
        first = 0 if only is None else shard_ranges(plan.manifest)[only].start
        # Commits fall between batches, so a dataset that was cut off goes on with a whole batch.
        starts = range(writer.count, writer.stop, plan.batch_size)
        ends = [min(start + plan.batch_size, writer.stop) for start in starts]
        borders = zip(starts, ends, strict=True)
        batches = [plan.chosen[a - plan.first : b - plan.first] for a, b in borders]
        drawn = _draw(plan.renderer(asset), batches, drawing_workers)
        for records in labelled(drawn, network, plan.manifest, first=writer.count):
            writer.add(records)
            progress(writer.count - first, writer.stop - first)
        return writer.finish(judge=judge)


def _draw(renderer: Renderer, batches: list[np.ndarray], workers: int) -> Iterator[DrawnBatch]:
    if workers and batches:
        return in_processes(renderer.draw, batches, jobs=workers)
    return map(renderer.draw, batches)


# ---- in processes ------------------------------------------------------------------------------


def write_in_processes(
    plan: Plan,
    asset: AssetPixels,
    stored: Mapping[str, Iterable[StoredAsset]],
    *,
    workers: int,
    progress: Progress,
) -> Manifest:
    """Writes all shards, `workers` at a time, each by a process of its own.

    Args:
        plan: What to make.
        asset: As `write`, shared.
        stored: As `begin`.
        workers: Processes.
        progress: Called with (samples done, samples in all) of the whole dataset.

    Raises:
        DatasetError: A shard could not be written, or a process died; the others are finished.
    """
    ranges = shard_ranges(plan.manifest)
    context = get_context("spawn")  # not forked: this process has threads (torch, OpenCV)
    news = context.Queue()
    threads = max(1, (os.cpu_count() or 1) // workers)
    done = [0] * len(ranges)
    failed: dict[int, Exception] = {}

    def tell() -> None:
        while True:
            try:
                number, count = news.get_nowait()
            except queue.Empty:
                break
            done[number] = count
        progress(sum(done), plan.manifest.num_samples)

    with ProcessPoolExecutor(
        min(workers, len(ranges)),
        context,
        initializer=_start_process,
        initargs=(plan.without_samples(), asset, threads, news),
    ) as pool:
        for _ in range(workers):  # the processes start and import while this one encodes assets
            pool.submit(_nothing)
        begin(plan, stored)
        waiting = {
            pool.submit(_write_shard, plan.part(number), number): number
            for number in range(len(ranges))
        }
        while waiting:
            ended, _ = wait(waiting, SECONDS_BETWEEN_NEWS, return_when=FIRST_COMPLETED)
            for future in ended:
                number = waiting.pop(future)
                if error := future.exception():
                    failed[number] = error
                else:
                    done[number] = len(ranges[number])
            tell()
    raise_if_failed(failed, len(ranges))
    return judge_shards(plan.output, plan.judge(asset))


def raise_if_failed(failed: dict[int, Exception], shards: int) -> None:
    """Ends a run in which shards could not be written.

    Args:
        failed: What happened, by shard number.
        shards: How many there are in all.

    Raises:
        DatasetError: Names the first of them, what happened to it, and what to do.
    """
    if not failed:
        return
    number, error = min(failed.items())
    if not isinstance(error, DsetkitError | BrokenProcessPool):
        raise error
    reason = "its process died" if isinstance(error, BrokenProcessPool) else str(error)
    raise DatasetError(
        f"{len(failed):,} of {shards:,} shards are not complete; shard {number}: {reason} "
        "(what was committed is safe: the same command goes on with what is missing)"
    )


_process: tuple | None = None  # assets, teacher and where to tell news, of a worker process


def _start_process(plan: Plan, asset: AssetPixels, threads: int, news: object) -> None:
    global _process
    cv2.setNumThreads(1)  # the processes are the parallelism
    _process = (asset, teacher_of(plan, threads=threads), news)


def teacher_of(plan: Plan, *, threads: int) -> Teacher | None:
    """The plan's teacher, loaded in a process that writes shards beside others.

    Args:
        plan: What to make.
        threads: How many the teacher may use on a CPU.
    """
    network = load_teacher(
        plan.teacher, device=plan.device, options=plan.teacher_options, threads=threads
    )
    return with_recorded_range(network, plan.manifest.teacher)


def _nothing() -> None:
    """What a process does that is only to start."""


def _write_shard(plan: Plan, number: int) -> None:
    asset, network, news = _process

    def tell(done: int, total: int) -> None:
        news.put((number, done))

    write(plan, asset, network, only=number, progress=tell)
