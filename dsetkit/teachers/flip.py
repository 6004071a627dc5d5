"""Flip averaging: the mean of the answers for a composite and for its mirror image.

As in DenseDepth's evaluation, the mean is of depths (of inverse depths when relative).
"""

import numpy as np

from dsetkit.teachers.options import Teacher, settings_of


class FlipAveraged:
    """A teacher that looks twice.

    Args:
        teacher: Any teacher; asked once for the batch and once for its mirror images.
    """

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher
        self.name, self.kind = teacher.name, teacher.kind
        self.max_depth_m, self.weights_hash = teacher.max_depth_m, teacher.weights_hash
        self.needs_range = getattr(teacher, "needs_range", False)
        self.value_range = getattr(teacher, "value_range", None)
        self.settings = settings_of(teacher) | {"flip": True}

    def __call__(self, composites: np.ndarray) -> np.ndarray:
        """uint8 (N,H,W,3) RGB -> float32 (N,h,w), in the teacher's unit."""
        mirrored = np.ascontiguousarray(composites[:, :, ::-1])
        plain, turned = self._teacher(composites), self._teacher(mirrored)
        return (plain + turned[..., ::-1]) / 2
