"""A teacher's depth into samples: which teacher, its edges, and how good the labels are."""

from dsetkit.labels.backgrounds import SEEN_SIDE, label_backgrounds, recorded_depths
from dsetkit.labels.labelling import label_batches
from dsetkit.labels.quality import SAME_DEPTH_RATIO, THRESHOLDS, LabelQuality, SampleScores
from dsetkit.labels.scoring import score_labels
from dsetkit.labels.teacher_choice import TeacherChoice

__all__ = [
    "SAME_DEPTH_RATIO",
    "SEEN_SIDE",
    "THRESHOLDS",
    "LabelQuality",
    "SampleScores",
    "TeacherChoice",
    "label_backgrounds",
    "label_batches",
    "recorded_depths",
    "score_labels",
]
