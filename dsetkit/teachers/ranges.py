"""One range for a whole dataset: relative inverse depth to [0, 1], alike for every sample.

Networks of relative depth answer inverse depth up to a scale (and a shift) of their own. Scaling
each map to its own smallest and largest value would tear neighbours apart: the same wall would get
another value in each sample. So the range is fixed once, before the first sample: the answers for
RANGE_SAMPLES samples, spread evenly over the dataset, are measured, MARGIN of their span is added
at both ends, and the two ends are rounded and written to the manifest. They are a function of
(assets, seed, teacher) alone; a dataset that goes on, goes on with the range in its manifest. What
lies beyond is cut off, and told when it is much. `--teacher-range` fixes the ends by hand, so that
several datasets can share them.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from dsetkit.datasets import Dataset
from dsetkit.errors import DatasetError
from dsetkit.teachers.guard import checked_depth
from dsetkit.teachers.options import Teacher, settings_of

RANGE_SAMPLES = 64
MARGIN = 0.1  # of the measured span
MUCH = 0.01  # share of cut-off pixels in a batch that is worth a warning

log = logging.getLogger(__name__)

Shown = Iterable[tuple[Sequence[int], np.ndarray]]  # sample indices, uint8 (N,H,W,3) composites


class RangedTeacher:
    """A relative teacher whose answers are scaled from a declared range to [0, 1].

    Args:
        teacher: Answers inverse depth in a unit of its own.
        value_range: The inverse depths that become 0 and 1; what lies beyond is cut off.
    """

    needs_range = False

    def __init__(self, teacher: Teacher, value_range: tuple[float, float]) -> None:
        self._teacher, self._range = teacher, value_range
        self.name, self.kind = teacher.name, teacher.kind
        self.max_depth_m, self.weights_hash = teacher.max_depth_m, teacher.weights_hash
        self.settings = settings_of(teacher) | {"range": list(value_range)}
        self._told = False

    def __call__(self, composites: np.ndarray) -> np.ndarray:
        """uint8 (N,H,W,3) RGB -> float32 (N,h,w) in [0, 1], larger = nearer."""
        low, high = self._range
        share = (self._teacher(composites) - np.float32(low)) / np.float32(high - low)
        beyond = np.mean((share < 0) | (share > 1))
        if beyond > MUCH and not self._told:
            self._told = True
            log.warning(
                "teacher %s: %.1f %% of a batch lie beyond its range %g..%g and are cut off; "
                "a wider one can be given by --teacher-range",
                self.name,
                100 * beyond,
                low,
                high,
            )
        return np.clip(share, 0, 1)  # NaN stays NaN: the guard tells of it


def with_range(
    teacher: Teacher | None, *, output: Path, count: int, show: Callable[[list[int]], Shown]
) -> Teacher | None:
    """The teacher with a range, if it needs one.

    Args:
        teacher: As `load_teacher` gives it.
        output: Dataset to be made; one that was cut off there says its range.
        count: Samples it is to hold.
        show: Called with ascending indices of samples, gives their composites.

    Raises:
        TeacherError: An answer is no depth map.
    """
    if teacher is None or not getattr(teacher, "needs_range", False):
        return teacher
    value_range = _recorded_range(output, teacher)
    if value_range is None:
        indices = np.linspace(0, count - 1, min(count, RANGE_SAMPLES)).round().astype(int)
        value_range = measure_range(teacher, show(np.unique(indices).tolist()))
        log.info("teacher %s: inverse depth from %g to %g", teacher.name, *value_range)
    return RangedTeacher(teacher, value_range)


def with_recorded_range(teacher: Teacher | None, about: Mapping) -> Teacher | None:
    """The teacher with the range that a manifest tells (`teacher`), if it needs one."""
    if teacher is None or not getattr(teacher, "needs_range", False):
        return teacher
    return RangedTeacher(teacher, tuple(about["range"]))


def measure_range(teacher: Teacher, shown: Shown) -> tuple[float, float]:
    """The range of a teacher's answers, with a margin, rounded to four digits.

    Where no answer is negative the low end stays at 0 or above: 0 is infinitely far.

    Raises:
        TeacherError: An answer is no depth map.
    """
    lows, highs = [], []
    for indices, composites in shown:
        answer = teacher(composites)
        if len(answer) == len(indices):
            for index, one in zip(indices, answer, strict=True):
                checked_depth(one[None], 1, teacher=teacher.name, first=index)
        checked_depth(answer, len(indices), teacher=teacher.name, first=indices[0])
        lows.append(float(answer.min()))
        highs.append(float(answer.max()))
    low, high = min(lows), max(highs)
    margin = MARGIN * (high - low)
    widened = low - margin if low < 0 else max(0.0, low - margin)
    return float(f"{widened:.4g}"), float(f"{high + margin:.4g}")


def _recorded_range(output: Path, teacher: Teacher) -> tuple[float, float] | None:
    """The range in the manifest of a dataset that this teacher began there; None without one."""
    if not output.exists():
        return None
    try:
        recorded = Dataset(output, allow_incomplete=True).manifest.teacher
    except DatasetError:  # the writer will say what is wrong with it
        return None
    if recorded.get("hash") != teacher.weights_hash or "range" not in recorded:
        return None
    return tuple(recorded["range"])
