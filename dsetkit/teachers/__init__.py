"""Teachers: frozen depth networks behind one protocol, chosen by a short string.

    bundled           the small NYU network that comes with dsetkit (metric)
    checkpoint:FILE   any depth model trained by train_depth.py
    densedepth:FILE   DenseDepth with its authors' nyu.h5
    none              no depth at all

A teacher is called with composites, uint8 (N,H,W,3) RGB, and answers float32 (N,h,w) at its own
resolution: metres along the optical axis when `kind` is `metric`, inverse depth scaled to [0,1]
when it is `relative`.
"""

from pathlib import Path
from typing import Protocol

import numpy as np

from dsetkit.errors import TeacherError

BUNDLED = Path(__file__).with_name("bundled.safetensors")


class Teacher(Protocol):
    """What the pipeline asks of a depth network."""

    name: str
    kind: str  # "metric" or "relative"
    max_depth_m: float  # 0 when relative
    weights_hash: str

    def __call__(self, composites: np.ndarray) -> np.ndarray: ...


def load_teacher(spec: str, *, device: str = "auto") -> Teacher | None:
    """The teacher named by `--teacher`; None for `none`.

    Raises:
        TeacherError: An unknown name, or weights that cannot be used.
    """
    name, _, file = spec.partition(":")
    if name == "none":
        return None
    if name not in ("bundled", "checkpoint", "densedepth"):
        raise TeacherError(
            f"no teacher {spec!r}: expected bundled, checkpoint:FILE, densedepth:FILE or none"
        )
    if name != "bundled" and not file:
        raise TeacherError(f"teacher {name} needs a file: write {name}:FILE")

    # Imported here: torch takes seconds to load, and `--teacher none` does not need it.
    if name == "densedepth":
        from dsetkit.teachers.densedepth import DenseDepthTeacher

        return DenseDepthTeacher(Path(file), device=pick_device(device))
    from dsetkit.teachers.checkpoint import CheckpointTeacher

    path = Path(file) if file else BUNDLED
    return CheckpointTeacher(path, name=name, device=pick_device(device))


def pick_device(device: str) -> str:
    """`auto` means CUDA where there is one."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise TeacherError(
            f"device {device} was asked for, but torch finds no GPU: use cpu or auto"
        )
    return device


def checked_depth(depth: np.ndarray, count: int, *, teacher: str, first: int) -> np.ndarray:
    """A teacher's answer, after making sure that it is one.

    Raises:
        TeacherError: Wrong shape, not finite, or one value all over; names the first bad sample.
    """
    if depth.ndim != 3 or len(depth) != count:
        raise TeacherError(f"teacher {teacher} gave {depth.shape}: expected ({count}, h, w)")
    finite = np.isfinite(depth).all(axis=(1, 2))
    varied = np.ptp(np.nan_to_num(depth), axis=(1, 2)) > 0
    for good, complaint in ((finite, "values that are not finite"), (varied, "a constant map")):
        if not good.all():
            sample = first + int(np.argmin(good))
            raise TeacherError(f"teacher {teacher} gave {complaint} for sample {sample}")
    return depth
