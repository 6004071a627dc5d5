"""The guard around every teacher: what is no depth map stops the run, and the sample is named."""

import numpy as np

from dsetkit.errors import TeacherError

SAME = 1e-6  # of the largest value: maps that vary less are one value all over


def checked_depth(
    depth: np.ndarray,
    count: int,
    *,
    teacher: str,
    first: int,
    max_depth_m: float = 0.0,
    what: str = "sample",
) -> np.ndarray:
    """A teacher's answer, after making sure that it is one.

    Args:
        depth: What the teacher gave; floating point (count, h, w) is expected.
        count: Composites it was asked about.
        teacher: Its name, for messages.
        first: Index of the first of those samples.
        max_depth_m: Of a metric teacher [m]; 0 = relative, or not to be checked.
        what: What it was asked about, for messages.

    Returns:
        `depth` itself.

    Raises:
        TeacherError: Another shape, count or type; not finite, zeros, one value all over, or no
            depth up to `max_depth_m`. Names the first bad sample.
    """
    _check_layout(depth, count, teacher)
    low, high = depth.min(axis=(1, 2)), depth.max(axis=(1, 2))  # (count,); NaN where any is
    with np.errstate(invalid="ignore"):  # infinite less infinite
        varied = high - low > SAME * np.maximum(np.abs(low), np.abs(high))
    checks = [
        (np.isfinite(low) & np.isfinite(high), "values that are not finite"),
        ((low != 0) | (high != 0), "zeros all over"),
        (varied, "a constant map"),
    ]
    if max_depth_m:
        valid = ((depth > 0) & (depth <= max_depth_m)).any(axis=(1, 2))
        checks.append((valid, f"no depth in 0..{max_depth_m:g} m"))
    for good, complaint in checks:
        if not good.all():
            bad = int(np.argmin(good))
            raise TeacherError(
                f"teacher {teacher} gave {complaint} for {what} {first + bad} (values from "
                f"{low[bad]:.4g} to {high[bad]:.4g}): expected a depth map; check its weights, its "
                "unit and the size it is shown"
            )
    return depth


def _check_layout(depth: np.ndarray, count: int, teacher: str) -> None:
    expected = f"expected ({count}, h, w) of float32"
    if not isinstance(depth, np.ndarray):
        raise TeacherError(f"teacher {teacher} gave {type(depth).__name__}: {expected}")
    if depth.ndim != 3 or len(depth) != count or 0 in depth.shape:
        raise TeacherError(f"teacher {teacher} gave {depth.shape}: {expected}")
    if not np.issubdtype(depth.dtype, np.floating):
        raise TeacherError(f"teacher {teacher} gave {depth.dtype} {depth.shape}: {expected}")
