"""What a teacher is, and what can be said of one beside its name: flags, checked in one place."""

from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

from dsetkit.arguments import DEPTH_M, INVERSE_DEPTH, PIXEL_MEAN, PIXEL_STD, SIDE_PX
from dsetkit.errors import TeacherError

KINDS = ("metric", "relative")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
ENGINES = ("auto", "onnxruntime", "openvino")
OF_ONNX_RUNTIME = {  # teachers that it runs -> what to do without the flags that are for torch
    "onnx": "ONNX Runtime runs a file in its own precision and optimises it itself: leave the flag "
    "out; for fp16 convert the file, its input kept float32 (onnxconverter-common, "
    "keep_io_types=True)",
    "bundled": "--teacher-engine says how it runs: leave the flag out, or in a clone use --teacher "
    "checkpoint:models/checkpoints/bundled_teacher.safetensors, which has it",
}


class Teacher(Protocol):
    """What the pipeline asks of a depth network.

    More attributes are read where there are any: `settings`, JSON values for the manifest;
    `needs_range`, true when a relative answer is not scaled to [0, 1] yet (see `ranges`); and
    `value_range`, the range to scale it from if the model brings one.
    """

    name: str
    kind: str  # "metric" or "relative"
    max_depth_m: float  # 0 when relative
    weights_hash: str

    def __call__(self, composites: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True, kw_only=True)
class TeacherOptions:
    """What the flags `--teacher-...` say; None = the teacher's own.

    Attributes:
        kind: `metric` or `relative`, where the model does not tell.
        max_depth_m: Depth that 1.0 stands for; what is farther becomes invalid [m].
        size: Height at which the network sees composites [px].
        flip: Average the answers for a composite and for its mirror image.
        value_range: Inverse depths (low, high), in the model's unit, that become 0 and 1.
        mean: Of red, green, blue in 0..1, taken from the pixels before the network.
        std: By which they are then divided.
        precision: Of PRECISIONS, what the network computes in; see `running`.
        compiled: Run the network through `torch.compile`.
        engine: Of ENGINES, what runs an ONNX file; see `onnx_file`.
    """

    kind: str | None = None
    max_depth_m: float | None = None
    size: int | None = None
    flip: bool = False
    value_range: tuple[float, float] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    precision: str = "auto"
    compiled: bool = False
    engine: str = "auto"

    def check(self, teacher: str, *, takes: tuple[str, ...]) -> None:
        """Makes sure that the values make sense and are for this teacher.

        Args:
            teacher: Its name, for messages.
            takes: Names of the options that this teacher has.

        Raises:
            TeacherError: One does not.
        """
        for entry in fields(self):
            given = getattr(self, entry.name) != entry.default
            if given and entry.name in ("precision", "compiled") and teacher in OF_ONNX_RUNTIME:
                advice = OF_ONNX_RUNTIME[teacher]
                raise TeacherError(f"teacher {teacher} has no {flag(entry.name)}: {advice}")
            if given and entry.name not in takes:
                has = ", ".join(flag(name) for name in takes) or "none of these flags"
                raise TeacherError(f"teacher {teacher} has no {flag(entry.name)}: it takes {has}")
        if self.kind is not None and self.kind not in KINDS:
            raise TeacherError(f"--teacher-kind {self.kind}: expected {' or '.join(KINDS)}")
        if self.precision not in PRECISIONS:
            expected = ", ".join(PRECISIONS)
            raise TeacherError(f"--teacher-precision {self.precision}: expected {expected}")
        if self.engine not in ENGINES:
            raise TeacherError(f"--teacher-engine {self.engine}: expected {', '.join(ENGINES)}")
        if self.max_depth_m is not None:
            DEPTH_M.check(self.max_depth_m, "--teacher-max-depth", TeacherError)
        if self.size is not None:
            SIDE_PX.check(self.size, "--teacher-size", TeacherError)
        for values, kind, name in (
            (self.value_range, INVERSE_DEPTH, "--teacher-range"),
            (self.mean, PIXEL_MEAN, "--teacher-mean"),
            (self.std, PIXEL_STD, "--teacher-std"),
        ):
            for value in values or ():
                kind.check(value, name, TeacherError)
        if self.value_range and not self.value_range[0] < self.value_range[1]:
            low, high = self.value_range
            raise TeacherError(f"--teacher-range {low:g} {high:g}: expected LOW < HIGH")


def check_height(teacher: str, size: int | None, *, step: int) -> None:
    """Raises TeacherError unless `size`, as of --teacher-size, is None or a multiple of `step`."""
    if size is not None and size % step:
        raise TeacherError(
            f"teacher {teacher}: --teacher-size {size}, expected a multiple of {step}"
        )


def flag(option: str) -> str:
    """How an option is written on the command line."""
    names = {"max_depth_m": "max-depth", "value_range": "range", "compiled": "compile"}
    return f"--teacher-{names.get(option, option)}"


def settings_of(teacher: Teacher) -> dict[str, Any]:
    """What the manifest says of a teacher beside its name and hash: JSON values."""
    return getattr(teacher, "settings", {})
