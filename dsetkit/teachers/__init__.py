"""Teachers: frozen depth networks behind one protocol, chosen by a short string.

    bundled                  the small NYU network that comes with dsetkit (metric)
    checkpoint:FILE          any depth model trained by train_depth.py; needs a clone's `models`
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
from dsetkit.networks.repository_models import repository_models
from dsetkit.teachers.flip import FlipAveraged
from dsetkit.teachers.guard import checked_depth
from dsetkit.teachers.licences import licence_of_labels
from dsetkit.teachers.options import Teacher, TeacherOptions, settings_of
from dsetkit.teachers.ranges import RangedTeacher, with_range, with_recorded_range

if TYPE_CHECKING:
    from dsetkit.teachers.running import Runner

__all__ = [
    "RangedTeacher",
    "Teacher",
    "TeacherOptions",
    "checked_depth",
    "licence_of_labels",
    "load_teacher",
    "settings_of",
    "with_range",
    "with_recorded_range",
]

_ANY_MODEL = ("kind", "max_depth_m", "size", "flip", "value_range")
_TORCH = ("size", "flip", "precision", "compiled")


def load_teacher(
    spec: str,
    *,
    device: str = "auto",
    options: TeacherOptions | None = None,
    threads: int | None = None,
) -> Teacher | None:
    """The teacher named by `--teacher`; None for `none`.

    Args:
        spec: See the top of this file.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        options: What the other `--teacher-...` flags say.
        threads: How many threads it takes on a CPU; None = `OMP_NUM_THREADS`, or one for each core.

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
    if name == "bundled" and file:
        raise TeacherError(f"teacher {spec}: bundled takes no file, checkpoint:FILE does")
    if name != "bundled" and not file:
        what = "MODEL_OR_DIR" if name == "hf" else "FILE"
        raise TeacherError(f"teacher {name} needs a file: write {name}:{what}")
    teacher: Teacher = load(name, file, device, options, threads)
    if options.flip:
        teacher = FlipAveraged(teacher)
    value_range = options.value_range or getattr(teacher, "value_range", None)
    if value_range is None:
        return teacher
    if not getattr(teacher, "needs_range", False):
        raise TeacherError(f"teacher {spec}: --teacher-range is for relative depth without a range")
    return RangedTeacher(teacher, value_range)


# ---- one function for each kind ----------------------------------------------------------------
# Imports stand inside: torch takes seconds to load, and `none`, `bundled` and `onnx` do without it.


def _runner(device: str, options: TeacherOptions, threads: int | None) -> "Runner":
    """How the network of a torch teacher is run; refused before any weights are read."""
    import torch

    from dsetkit.teachers.running import Runner

    if threads:
        torch.set_num_threads(threads)
    return Runner(
        device=str(pick_device(device)), precision=options.precision, compiled=options.compiled
    )


def _bundled(
    name: str, file: str, device: str, options: TeacherOptions, threads: int | None
) -> Teacher:
    from dsetkit.teachers.bundled import BundledTeacher

    return BundledTeacher(device=device, options=options, threads=threads)


def _checkpoint(
    name: str, file: str, device: str, options: TeacherOptions, threads: int | None
) -> Teacher:
    repository_models(f"teacher {name}")  # first: it says at once what is missing
    from dsetkit.teachers.checkpoint import CheckpointTeacher

    runner = _runner(device, options, threads)
    return CheckpointTeacher(Path(file), runner=runner, size=options.size)


def _densedepth(
    name: str, file: str, device: str, options: TeacherOptions, threads: int | None
) -> Teacher:
    runner = _runner(device, options, threads)
    from dsetkit.teachers.densedepth import DenseDepthTeacher

    return DenseDepthTeacher(Path(file), runner=runner, variant=name, size=options.size)


def _hugging_face(
    name: str, file: str, device: str, options: TeacherOptions, threads: int | None
) -> Teacher:
    from dsetkit.teachers.huggingface import HuggingFaceTeacher

    return HuggingFaceTeacher(file, runner=_runner(device, options, threads), options=options)


def _onnx(
    name: str, file: str, device: str, options: TeacherOptions, threads: int | None
) -> Teacher:
    from dsetkit.teachers.onnx_file import OnnxTeacher

    return OnnxTeacher(Path(file), device=device, options=options, threads=threads)


_Loader = Callable[[str, str, str, TeacherOptions, int | None], Teacher]

# name -> how it is loaded, which options it takes
_LOADERS: dict[str, tuple[_Loader | None, tuple[str, ...]]] = {
    "none": (None, ()),
    "bundled": (_bundled, ("size", "flip", "engine")),
    "checkpoint": (_checkpoint, _TORCH),
    "densedepth": (_densedepth, _TORCH),
    "densedepth-kitti": (_densedepth, _TORCH),
    "hf": (_hugging_face, (*_ANY_MODEL, "precision", "compiled")),
    "onnx": (_onnx, (*_ANY_MODEL, "mean", "std", "engine")),
}
