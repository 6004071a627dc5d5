"""The teacher that comes with dsetkit: a small network in an ONNX file; its card is BUNDLED.md."""

from dataclasses import replace
from pathlib import Path

from dsetkit.networks.openvino_session import has_bf16, is_installed
from dsetkit.networks.sessions import has_cuda
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
        if options.engine == "auto":
            options = replace(options, engine=fastest_engine(device))
        super().__init__(BUNDLED, device=device, options=options, threads=threads, name="bundled")
        self.settings = ({"size": options.size} if options.size else {}) | self.engine


def fastest_engine(device: str) -> str:
    """OpenVINO where it is installed and has bf16 on the CPU, which is what it is faster by.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
    """
    is_cpu = device == "cpu" or (device == "auto" and not has_cuda())
    return "openvino" if is_cpu and is_installed() and has_bf16() else "onnxruntime"
