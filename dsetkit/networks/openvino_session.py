"""OpenVINO in place of ONNX Runtime: it computes in bf16 on CPUs that have instructions for it.

A session has the part of ONNX Runtime's interface that this project uses. Its answers are the same
to the bit for any number of threads and any size of batch. Figures are in BUNDLED.md.
"""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dsetkit.errors import NetworkError, one_line
from dsetkit.extras import extra_module
from dsetkit.networks.sessions import default_threads

TELEMETRY = "openvino_telemetry"
BF16, FLOAT32 = "bf16", "f32"  # as OpenVINO calls them


class Node(NamedTuple):
    """An input or output of a graph, in ONNX Runtime's words.

    Attributes:
        name: Its name.
        type: Such as `tensor(float)`.
        shape: Its sides; a free one is None.
    """

    name: str
    type: str
    shape: list[int | None]


class OpenVinoSession:
    """A graph compiled for the CPU.

    Args:
        model: The `.onnx` file.
        name: What messages call it.
        threads: How many threads it takes; None = `default_threads()`.

    Attributes:
        precision: BF16 where the CPU has instructions for it, else FLOAT32.

    Raises:
        NetworkError: OpenVINO or the file is missing, or it cannot compile the file.
    """

    def __init__(self, model: Path, *, name: str, threads: int | None = None) -> None:
        _openvino(f"{name} with OpenVINO")
        if not model.is_file():
            raise NetworkError(f"{name}: no file {model}: expected an .onnx model")
        self.precision = BF16 if has_bf16() else FLOAT32
        settings = {
            "INFERENCE_NUM_THREADS": threads or default_threads(),
            "INFERENCE_PRECISION_HINT": self.precision,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # processes side by side would wait for the same cores
        }
        try:
            self._compiled = _core().compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise NetworkError(
                f"{name} cannot be opened by OpenVINO ({one_line(error)}): expected an ONNX model"
            ) from None

    def get_inputs(self) -> list[Node]:
        return [_node(port) for port in self._compiled.inputs]

    def get_outputs(self) -> list[Node]:
        return [_node(port) for port in self._compiled.outputs]

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]

    def run(self, outputs: Sequence[str], feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The named outputs for the named inputs."""
        answers = self._compiled(dict(feeds))
        return [np.array(answers[name]) for name in outputs]  # the buffers are used again


def is_installed() -> bool:
    """Whether OpenVINO is, found out without loading it."""
    return importlib.util.find_spec("openvino") is not None


def has_bf16() -> bool:
    """Whether OpenVINO finds instructions for bf16 in this CPU."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def _core() -> Any:
    return _openvino("bf16 on the CPU").Core()


def _openvino(purpose: str) -> Any:
    """The package, loaded so that it reports to nobody.

    It reports its use to Google Analytics if it can import `openvino_telemetry`, which comes with
    it. A module that is None in `sys.modules` cannot be imported.

    Args:
        purpose: As of `extra_module`.

    Raises:
        NetworkError: It is not installed.
    """
    is_free = TELEMETRY not in sys.modules
    if is_free:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        return extra_module("openvino", extra="openvino", purpose=purpose, error=NetworkError)
    finally:
        if is_free:
            del sys.modules[TELEMETRY]


def _node(port: Any) -> Node:
    kind = port.get_element_type().get_type_name()
    shape = [side.get_length() if side.is_static else None for side in port.get_partial_shape()]
    return Node(port.get_any_name(), f"tensor({'float' if kind == 'f32' else kind})", shape)
