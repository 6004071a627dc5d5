"""ONNX Runtime sessions: which device they run on, and how many threads they take.

Callers or `default_threads` name the number of threads. By default ONNX Runtime starts a thread for
each core of the machine and pins it there, so that two processes side by side wait for the same
cores. Waiting threads do not spin: with two threads, spinning takes half as much CPU time again and
labels fewer pictures a second (figures in BUNDLED.md).
"""

import argparse
import os
import re
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from dsetkit.arguments import JOBS, SIDE_PX
from dsetkit.errors import NetworkError, one_line

CUDA = "CUDAExecutionProvider"  # as ONNX Runtime calls it
Session = Any  # onnxruntime.InferenceSession, which has no type hints


def open_session(
    model: Path | bytes, *, name: str, device: str = "cpu", threads: int | None = None
) -> Session:
    """Opens an ONNX file.

    Args:
        model: The `.onnx` file, or its content.
        name: What messages call it.
        device: `auto` (CUDA where this ONNX Runtime has it), `cpu`, `cuda` or `cuda:N`.
        threads: Threads on the CPU; None = `default_threads()`.

    Raises:
        NetworkError: ONNX Runtime or the file is missing, the file is no ONNX model, or this ONNX
            Runtime does not have the device.
    """
    runtime = _onnxruntime(name)
    providers = _providers(device, runtime.get_available_providers())
    if isinstance(model, Path) and not model.is_file():
        raise NetworkError(f"{name}: no file {model}: expected an .onnx model")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or default_threads()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors alone
    try:
        source = model if isinstance(model, bytes) else str(model)
        session = runtime.InferenceSession(source, options, providers=providers)
    except Exception as error:  # ONNX Runtime's own errors share no parent but Exception
        raise NetworkError(
            f"{name} cannot be opened ({one_line(error)}): expected an ONNX model"
        ) from None
    if device.startswith("cuda") and not is_on_cuda(session):
        raise NetworkError(
            f"--device {device}: onnxruntime-gpu cannot start CUDA here: check the driver and the "
            "CUDA libraries that it needs, or use --device cpu"
        )
    return session


def is_on_cuda(session: Session) -> bool:
    """Whether a session runs on a GPU."""
    return CUDA in session.get_providers()


def fixed_side(side: Any, name: str) -> int | None:
    """A height or width of a graph's input [px]; None where it is free.

    Raises:
        NetworkError: No picture has it.
    """
    if not isinstance(side, int):
        return None
    SIDE_PX.check(side, f"the side of the pictures that {name} takes", NetworkError)
    return side


def default_threads() -> int:
    """`OMP_NUM_THREADS` if it is set, as for torch; otherwise the cores this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    with suppress(argparse.ArgumentTypeError):  # OpenMP too ignores what it cannot read
        return JOBS(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _providers(device: str, available: list[str]) -> list[str | tuple[str, dict[str, int]]]:
    """ONNX Runtime's names for a device, the preferred one first."""
    match = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", device)
    if match is None:
        raise NetworkError(f"--device {device}: expected auto, cpu, cuda or cuda:N")
    has_cuda = CUDA in available
    if device.startswith("cuda") and not has_cuda:
        raise NetworkError(
            f"--device {device}: the installed ONNX Runtime has no CUDA: pip install "
            "onnxruntime-gpu in place of onnxruntime, or use --device cpu"
        )
    if device == "cpu" or not has_cuda:
        return ["CPUExecutionProvider"]
    return [(CUDA, {"device_id": int(match[1] or 0)}), "CPUExecutionProvider"]


def has_cuda() -> bool:
    """Whether an ONNX Runtime is installed that has CUDA."""
    try:
        import onnxruntime
    except ImportError:
        return False
    return CUDA in onnxruntime.get_available_providers()


def _onnxruntime(name: str) -> ModuleType:
    try:
        import onnxruntime
    except ImportError:
        raise NetworkError(
            f"{name} needs onnxruntime, which is not installed: pip install onnxruntime"
        ) from None
    return onnxruntime
