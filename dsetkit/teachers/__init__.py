"""Teachers: frozen depth networks behind one protocol, chosen by a short string.

    bundled                  the small NYU network that comes with dsetkit (metric)
    checkpoint:FILE          any depth model trained by train_depth.py
    densedepth:FILE          DenseDepth with its authors' nyu.h5
    densedepth-kitti:FILE    the same network with kitti.h5: streets
    hf:MODEL_OR_DIR          a depth model of transformers, by its id or in a folder
    onnx:FILE                any model with a picture in and a map out, through ONNX Runtime
    none                     no depth at all

A teacher is called with composites, uint8 (N,H,W,3) RGB, and answers float32 (N,h,w) at its own
resolution: metres along the optical axis when `kind` is `metric`, inverse depth scaled to [0,1]
when it is `relative` (scaled by `ranges.with_range` when it says `needs_range`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dsetkit.devices import pick_device
from dsetkit.errors import TeacherError
from dsetkit.teachers.flip import FlipAveraged
from dsetkit.teachers.guard import checked_depth
from dsetkit.teachers.options import Teacher, TeacherOptions, settings_of
from dsetkit.teachers.ranges import RangedTeacher, with_range, with_recorded_range

if TYPE_CHECKING:
    from dsetkit.teachers.running import Runner

__all__ = [
    "BUNDLED",
    "RangedTeacher",
    "Teacher",
    "TeacherOptions",
    "checked_depth",
    "load_teacher",
    "settings_of",
    "with_range",
    "with_recorded_range",
]

BUNDLED = Path(__file__).with_name("bundled.safetensors")

_ANY_MODEL = ("kind", "max_depth_m", "size", "flip", "value_range")
_TORCH = ("size", "flip", "precision", "compiled")


def load_teacher(
    spec: str, *, device: str = "auto", options: TeacherOptions | None = None
) -> Teacher | None:
    """The teacher named by `--teacher`; None for `none`.

    Args:
        spec: See the top of this file.
        device: `auto`, `cpu` or `cuda`.
        options: What the other `--teacher-...` flags say.

    Raises:
        TeacherError: An unknown name, weights that cannot be used, a package that is not
            installed, or an option that this teacher does not have.
    """
    options = options or TeacherOptions()
    name, _, file = spec.partition(":")
    if name not in _LOADERS:
        raise TeacherError(
            f"no teacher {spec!r}: expected bundled, checkpoint:FILE, densedepth:FILE, "
            "densedepth-kitti:FILE, hf:MODEL_OR_DIR, onnx:FILE or none"
        )
    load, takes = _LOADERS[name]
    options.check(name, takes=takes)
    if load is None:
        return None
    if name != "bundled" and not file:
        what = "MODEL_OR_DIR" if name == "hf" else "FILE"
        raise TeacherError(f"teacher {name} needs a file: write {name}:{what}")
    teacher = load(name, file, device, options)
    if options.flip:
        teacher = FlipAveraged(teacher)
    value_range = options.value_range or getattr(teacher, "value_range", None)
    if value_range is None:
        return teacher
    if not getattr(teacher, "needs_range", False):
        raise TeacherError(f"teacher {spec}: --teacher-range is for relative depth without a range")
    return RangedTeacher(teacher, value_range)


def _runner(device: str, options: TeacherOptions) -> "Runner":
    """How the network of a torch teacher is run; refused before any weights are read."""
    from dsetkit.teachers.running import Runner

    return Runner(
        device=str(pick_device(device)), precision=options.precision, compiled=options.compiled
    )


# ---- one function for each kind ----------------------------------------------------------------
# Imports stand inside: torch takes seconds to load, and `--teacher none` does not need it.


def _checkpoint(name: str, file: str, device: str, options: TeacherOptions) -> Teacher:
    from dsetkit.teachers.checkpoint import CheckpointTeacher

    path = Path(file) if file else BUNDLED
    return CheckpointTeacher(path, name=name, runner=_runner(device, options), size=options.size)


def _densedepth(name: str, file: str, device: str, options: TeacherOptions) -> Teacher:
    from dsetkit.teachers.densedepth import DenseDepthTeacher

    runner = _runner(device, options)
    return DenseDepthTeacher(Path(file), runner=runner, variant=name, size=options.size)


def _hugging_face(name: str, file: str, device: str, options: TeacherOptions) -> Teacher:
    from dsetkit.teachers.huggingface import HuggingFaceTeacher

    return HuggingFaceTeacher(file, runner=_runner(device, options), options=options)


def _onnx(name: str, file: str, device: str, options: TeacherOptions) -> Teacher:
    from dsetkit.teachers.onnx_file import OnnxTeacher

    return OnnxTeacher(Path(file), device=device, options=options)


_Loader = Callable[[str, str, str, TeacherOptions], Teacher]

# name -> how it is loaded, which options it takes
_LOADERS: dict[str, tuple[_Loader | None, tuple[str, ...]]] = {
    "none": (None, ()),
    "bundled": (_checkpoint, _TORCH),
    "checkpoint": (_checkpoint, _TORCH),
    "densedepth": (_densedepth, _TORCH),
    "densedepth-kitti": (_densedepth, _TORCH),
    "hf": (_hugging_face, (*_ANY_MODEL, "precision", "compiled")),
    "onnx": (_onnx, (*_ANY_MODEL, "mean", "std")),
}
