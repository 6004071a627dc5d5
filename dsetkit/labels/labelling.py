"""A teacher's depth into the samples of a dataset."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import repeat

import numpy as np

from dsetkit.compositing import CompositeBatch
from dsetkit.errors import TeacherError
from dsetkit.labels.edges import edges_at_alpha
from dsetkit.store import CODECS, Manifest, Record, quantise_metric, quantise_relative
from dsetkit.teachers import Teacher, checked_depth

MOST_THREADS = 8  # that finish labels; OpenCV and the codecs let them run side by side


def label_batches(
    batches: Iterable[CompositeBatch], teacher: Teacher | None, manifest: Manifest, *, first: int
) -> Iterator[list[Record]]:
    """Adds the teacher's depth to the samples of each batch.

    While the teacher works on a batch, threads finish the one before: they quantise the depth,
    correct it at the alpha's edges, and encode it.

    Args:
        batches: In index order.
        teacher: None adds nothing.
        manifest: The dataset's: names the codec, and how far from edges depth is corrected.
        first: Index of the first sample, for messages.

    Yields:
        The samples of each batch, in order.

    Raises:
        TeacherError: An answer is not a depth map. The batches before it were yielded.
    """
    if teacher is None:
        yield from (batch.records for batch in batches)
        return
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        finishing = None
        for batch in batches:
            try:
                depth = _predict(teacher, batch, first=first)
            except TeacherError:
                if finishing is not None:
                    yield list(finishing)
                raise
            first += len(batch.records)
            masks = batch.masks if "edge_reach" in manifest.teacher else None
            each_mask = repeat(None) if masks is None else masks
            jobs = pool.map(partial(_finish, manifest), batch.records, depth, each_mask)
            if finishing is not None:
                yield list(finishing)
            finishing = jobs
        if finishing is not None:
            yield list(finishing)


def _predict(teacher: Teacher, batch: CompositeBatch, *, first: int) -> np.ndarray:
    """The teacher's depth of a batch, checked: float32 (N,h,w)."""
    assert batch.composites is not None  # kept wherever there is a teacher
    return checked_depth(
        teacher(batch.composites),
        len(batch.records),
        teacher=teacher.name,
        first=first,
        max_depth_m=teacher.max_depth_m,
    )


def _finish(
    manifest: Manifest, record: Record, depth: np.ndarray, mask: np.ndarray | None
) -> Record:
    """A sample with its depth encoded; `depth` is float (h,w), as the teacher gave it."""
    if manifest.depth_kind == "metric":
        stored = quantise_metric(depth, manifest.max_depth_m)
    else:
        stored = quantise_relative(depth)
    if mask is not None:
        stored = edges_at_alpha(stored, mask, reach=manifest.teacher["edge_reach"])
    encoded = CODECS[manifest.codecs["depth"]].encode(stored)
    return replace(record, fields=record.fields | {"depth": encoded})
