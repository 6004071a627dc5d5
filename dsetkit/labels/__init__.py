"""A teacher's depth into samples: units, edges, and how good the labels are."""

from dsetkit.labels.edges import check_edge_reach
from dsetkit.labels.labelling import describe_teacher, labelled
from dsetkit.labels.quality import (
    SAME_DEPTH_RATIO,
    THRESHOLDS,
    LabelQuality,
    evenly_spread,
    judge_labels,
    judge_with,
)

__all__ = [
    "LabelQuality",
    "SAME_DEPTH_RATIO",
    "THRESHOLDS",
    "check_edge_reach",
    "describe_teacher",
    "evenly_spread",
    "judge_labels",
    "judge_with",
    "labelled",
]
