"""Writing a planned dataset: one shard after another here, or several side by side in processes.

Which process writes a shard, and when, never changes a sample of it.
"""

import os
import queue
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.queues import Queue

import cv2
import numpy as np

from dsetkit.compositing import AssetPixels, BatchCompositor, CompositeBatch
from dsetkit.datasets import DatasetWriter
from dsetkit.errors import DatasetError, DsetkitError
from dsetkit.generating.plan import Plan
from dsetkit.labels import label_batches
from dsetkit.processes import in_processes
from dsetkit.store import Manifest, StoredAsset, shard_ranges
from dsetkit.teachers import Teacher, with_recorded_range

Progress = Callable[[int, int], None]  # (samples done, samples in all)
StoredAssets = Mapping[str, Iterable[StoredAsset]]  # by "backgrounds" and "foregrounds"

SECONDS_BETWEEN_NEWS = 0.5


# ---- here --------------------------------------------------------------------------------------


def begin(plan: Plan, stored: StoredAssets) -> None:
    """Writes what belongs to the whole dataset into its first shard, unless it is there."""
    with _writer(plan, stored, only=0):
        pass


def _writer(plan: Plan, stored: StoredAssets, *, only: int | None) -> DatasetWriter:
    return DatasetWriter(
        plan.output,
        plan.manifest,
        plan.cells,
        backgrounds=stored.get("backgrounds", ()),
        foregrounds=stored.get("foregrounds", ()),
        only=only,
        samples_per_commit=plan.samples_per_commit,
    )


def write(
    plan: Plan,
    asset: AssetPixels,
    network: Teacher | None,
    *,
    stored: StoredAssets | None = None,
    only: int | None = None,
    compositing_workers: int = 0,
    progress: Progress,
) -> Manifest:
    """Writes the samples of a shard, or of all, or what is missing of them.

    Args:
        plan: What to make.
        asset: Pixels by kind and id; shared ones if there are workers.
        network: The plan's teacher.
        stored: `backgrounds` and `foregrounds` for the first shard; None when `begin` has written
            them.
        only: A shard's number; None = all in turn.
        compositing_workers: Processes that composite; 0 = this one does.
        progress: Called with (samples done, samples in all) of what is written here.
    """
    with _writer(plan, stored or {}, only=only) as writer:
        first = 0 if only is None else shard_ranges(plan.manifest)[only].start
        # Commits fall between batches, so a dataset that was cut off goes on with a whole batch.
        starts = range(writer.count, writer.stop, plan.batch_size)
        ends = [min(start + plan.batch_size, writer.stop) for start in starts]
        borders = zip(starts, ends, strict=True)
        batches = [plan.chosen[a - plan.first : b - plan.first] for a, b in borders]
        composited = _composite(plan.compositor(asset), batches, compositing_workers)
        for records in label_batches(composited, network, plan.manifest, first=writer.count):
            writer.add(records)
            progress(writer.count - first, writer.stop - first)
        return writer.finish()


def _composite(
    compositor: BatchCompositor, batches: list[np.ndarray], workers: int
) -> Iterator[CompositeBatch]:
    if workers and batches:
        return in_processes(compositor.composite, batches, jobs=workers)
    return map(compositor.composite, batches)


# ---- in processes ------------------------------------------------------------------------------


def write_in_processes(
    plan: Plan,
    asset: AssetPixels,
    stored: StoredAssets,
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
    news: Queue[tuple[int, int]] = context.Queue()  # (shard number, samples done)
    threads = max(1, (os.cpu_count() or 1) // workers)
    done = [0] * len(ranges)
    failed: dict[int, BaseException] = {}

    def report_progress() -> None:
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
            report_progress()
    raise_if_failed(failed, len(ranges))
    return plan.manifest


def raise_if_failed(failed: Mapping[int, BaseException], shards: int) -> None:
    """Ends a run in which shards could not be written.

    Args:
        failed: The error of each failed shard, by its number.
        shards: How many shards there are in all.

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


@dataclass(frozen=True)
class _Worker:
    """What a worker process keeps from shard to shard."""

    asset: AssetPixels
    network: Teacher | None
    news: "Queue[tuple[int, int]]"


_worker: _Worker | None = None  # of this process, once it was started as a worker


def _start_process(
    plan: Plan, asset: AssetPixels, threads: int, news: "Queue[tuple[int, int]]"
) -> None:
    global _worker
    cv2.setNumThreads(1)  # the processes are the parallelism
    _worker = _Worker(asset, load_plan_teacher(plan, threads=threads), news)


def load_plan_teacher(plan: Plan, *, threads: int) -> Teacher | None:
    """The plan's teacher, loaded in a process that writes shards beside others.

    Args:
        plan: What to make.
        threads: How many the teacher may use on a CPU.
    """
    network = plan.teacher.load(threads=threads)
    return with_recorded_range(network, plan.manifest.teacher)


def _nothing() -> None:
    """A task that only makes a process start."""


def _write_shard(plan: Plan, number: int) -> None:
    assert _worker is not None
    worker = _worker

    def report(done: int, total: int) -> None:
        worker.news.put((number, done))

    write(plan, worker.asset, worker.network, only=number, progress=report)
