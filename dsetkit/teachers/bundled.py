"""The teacher that comes with dsetkit: a small network in an ONNX file; its card is BUNDLED.md."""

from pathlib import Path

from dsetkit.teachers.onnx_file import OnnxTeacher
from dsetkit.teachers.options import TeacherOptions, check_height

BUNDLED = Path(__file__).with_name("bundled.onnx")  # made by tools/bundle_teacher.py
STRIDE = 32  # of its network


class BundledTeacher(OnnxTeacher):
    """The bundled ONNX file, of which the manifest says only what was asked for.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        options: What flags say.
        threads: As of `open_session`.

    Raises:
        TeacherError: ONNX Runtime is missing or does not have the device, or the network cannot be
            shown that size.
    """

    def __init__(self, *, device: str, options: TeacherOptions, threads: int | None = None) -> None:
        check_height("bundled", options.size, step=STRIDE)
        super().__init__(BUNDLED, device=device, options=options, threads=threads, name="bundled")
        self.settings = {"size": options.size} if options.size else {}
