"""A teacher's depth into drawn samples, and what the manifest says of the teacher."""

from dataclasses import replace

from dsetkit.alpha_edges import edges_at_alpha
from dsetkit.codecs import CODECS
from dsetkit.encoding import Record, quantise_metric, quantise_relative
from dsetkit.manifest import Manifest
from dsetkit.render import DrawnBatch
from dsetkit.teachers import Teacher, checked_depth, settings_of

# Of teachers known to blur: as a share of the shorter side, how far from an edge.
EDGE_REACH = {"bundled": 1 / 16}


def label(
    drawn: DrawnBatch, teacher: Teacher | None, manifest: Manifest, *, first: int
) -> list[Record]:
    """The samples of a batch with the teacher's depth added.

    Args:
        drawn: The batch.
        teacher: None adds nothing.
        manifest: The dataset's: the codec, and how far depth is put right at the alpha's edges.
        first: Index of the batch's first sample, for messages.
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
    if reach := manifest.teacher.get("edge_reach", 0):
        pairs = zip(stored, drawn.masks, strict=True)
        stored = [edges_at_alpha(one, mask, reach=reach) for one, mask in pairs]
    encode = CODECS[manifest.codecs["depth"]].encode
    return [
        replace(record, fields=record.fields | {"depth": encode(one)})
        for record, one in zip(drawn.records, stored, strict=True)
    ]


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
