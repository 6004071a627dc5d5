"""A teacher's depth into drawn samples, and what the manifest says of the teacher."""

from collections.abc import Mapping
from dataclasses import replace

from dsetkit.codecs import CODECS
from dsetkit.encoding import Record, quantise_metric, quantise_relative
from dsetkit.render import DrawnBatch
from dsetkit.teachers import Teacher, checked_depth, settings_of


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


def describe_teacher(teacher: Teacher | None, *, batch_size: int) -> dict:
    """What the manifest says of a teacher: name, hash, batch size, and the teacher's settings."""
    if teacher is None:
        return {"name": "none", "hash": "", "batch_size": batch_size}
    about = {"name": teacher.name, "hash": teacher.weights_hash, "batch_size": batch_size}
    return about | settings_of(teacher)
