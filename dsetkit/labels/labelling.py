"""A teacher's depth into drawn samples, and what the manifest says of the teacher."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import repeat

import numpy as np

from dsetkit.compositing import DrawnBatch
from dsetkit.errors import TeacherError
from dsetkit.labels.edges import edges_at_alpha
from dsetkit.store import CODECS, Manifest, Record, quantise_metric, quantise_relative
from dsetkit.teachers import Teacher, checked_depth, settings_of

# Of teachers known to blur: as a share of the shorter side, how far from an edge.
EDGE_REACH = {"bundled": 1 / 16}

MOST_THREADS = 8  # that finish labels; OpenCV and the codecs let them run side by side


def labelled(
    batches: Iterable[DrawnBatch], teacher: Teacher | None, manifest: Manifest, *, first: int
) -> Iterator[list[Record]]:
    """The samples of batches with the teacher's depth added, batch after batch.

    While the teacher looks at a batch, threads finish the one before: depth is quantised, put right
    at the alpha's edges and encoded.

    Args:
        batches: In order.
        teacher: None adds nothing.
        manifest: The dataset's: the codec, and how far depth is put right.
        first: Index of the first sample, for messages.

    Raises:
        TeacherError: An answer is no depth map; what was labelled before it was given out.
    """
    if teacher is None:
        yield from (drawn.records for drawn in batches)
        return
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        finishing = None
        for drawn in batches:
            try:
                depth = _answer(teacher, drawn, first=first)
            except TeacherError:
                if finishing is not None:
                    yield list(finishing)
                raise
            first += len(drawn.records)
            masks = drawn.masks if "edge_reach" in manifest.teacher else repeat(None)
            jobs = pool.map(partial(_finish, manifest), drawn.records, depth, masks)
            if finishing is not None:
                yield list(finishing)
            finishing = jobs
        if finishing is not None:
            yield list(finishing)


def _answer(teacher: Teacher, drawn: DrawnBatch, *, first: int) -> np.ndarray:
    """The teacher's depth of a batch, after making sure that it is one: float32 (N,h,w)."""
    return checked_depth(
        teacher(drawn.pixels),
        len(drawn.records),
        teacher=teacher.name,
        first=first,
        max_depth_m=teacher.max_depth_m,
    )


def _finish(
    manifest: Manifest, record: Record, depth: np.ndarray, mask: np.ndarray | None
) -> Record:
    """A sample with its depth, float (h,w) as the teacher answered, as the dataset stores it."""
    if manifest.depth_kind == "metric":
        stored = quantise_metric(depth, manifest.max_depth_m)
    else:
        stored = quantise_relative(depth)
    if mask is not None:
        stored = edges_at_alpha(stored, mask, reach=manifest.teacher["edge_reach"])
    encoded = CODECS[manifest.codecs["depth"]].encode(stored)
    return replace(record, fields=record.fields | {"depth": encoded})


def describe_teacher(
    teacher: Teacher | None, *, batch_size: int, edge_reach: float | None = None
) -> dict:
    """What the manifest says of a teacher: name, hash, batch size, settings, edge reach.

    Args:
        teacher: The teacher.
        batch_size: Samples it sees at once.
        edge_reach: As of --teacher-edges; None = what suits the teacher.
    """
    if teacher is None:
        return {"name": "none", "hash": "", "batch_size": batch_size}
    about = {"name": teacher.name, "hash": teacher.weights_hash, "batch_size": batch_size}
    if edge_reach is None:
        edge_reach = EDGE_REACH.get(teacher.name, 0)
    return about | settings_of(teacher) | ({"edge_reach": edge_reach} if edge_reach else {})
