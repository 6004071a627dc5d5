"""Writing a planned dataset: one shard after another here, or several side by side in processes.

Which process writes a shard, and when, never changes a sample of it.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, wait

import numpy as np

from dsetkit.compositing import AssetPixels, BatchCompositor, CompositeBatch
from dsetkit.datasets import DatasetWriter
from dsetkit.devices import keep_freed_memory
from dsetkit.errors import DatasetError, DsetkitError
from dsetkit.generating.plan import Plan
from dsetkit.labels import label_batches
from dsetkit.processes import WorkerDiedError, Workers, in_processes, send_news
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
    keep_freed_memory()  # each batch, and each commit, takes as much as the last
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
    done = [0] * len(ranges)
    failed: dict[int, BaseException] = {}

    def take_news(news: tuple[int, int]) -> None:
        number, done[number] = news

    threads = max(1, (os.cpu_count() or 1) // workers)
    writer = _ShardWriter(plan.without_samples(), asset, threads)
    with Workers(writer, min(workers, len(ranges)), on_news=take_news) as pool:
        for _ in range(workers):  # the processes start and import while this one encodes assets
            pool.submit(None)
        begin(plan, stored)
        waiting = {
            pool.submit((plan.part(number), number)): number for number in range(len(ranges))
        }
        while waiting:
            ended, _ = wait(waiting, SECONDS_BETWEEN_NEWS, return_when=FIRST_COMPLETED)
            for future in ended:
                number = waiting.pop(future)
                if error := future.exception():
                    failed[number] = error
                else:
                    done[number] = len(ranges[number])
            progress(sum(done), plan.manifest.num_samples)
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
    if not isinstance(error, DsetkitError):
        raise error
    reason = "its process died" if isinstance(error, WorkerDiedError) else str(error)
    raise DatasetError(
        f"{len(failed):,} of {shards:,} shards are not complete; shard {number}: {reason} "
        "(what was committed is safe: the same command goes on with what is missing)"
    )


class _ShardWriter:
    """What a worker process does: writes one shard after another, with a teacher loaded once."""

    def __init__(self, plan: Plan, asset: AssetPixels, threads: int) -> None:
        self._plan, self._asset, self._threads = plan, asset, threads
        self._is_loaded = False

    def __call__(self, job: tuple[Plan, int] | None) -> None:
        """Writes a shard, given by its part of the plan and its number; None only prepares."""
        if not self._is_loaded:
            self._network = load_plan_teacher(self._plan, threads=self._threads)
            self._is_loaded = True
        if job is None:
            return
        plan, number = job

        def report(done: int, total: int) -> None:
            send_news((number, done))

        write(plan, self._asset, self._network, only=number, progress=report)


def load_plan_teacher(plan: Plan, *, threads: int) -> Teacher | None:
    """The plan's teacher, loaded in a process that writes shards beside others.

    Args:
        plan: What to make.
        threads: How many the teacher may use on a CPU.
    """
    network = plan.teacher.load(threads=threads)
    return with_recorded_range(network, plan.manifest.teacher)
