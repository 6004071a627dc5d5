"""Teachers in ONNX files: any model with a picture in and a map out, through ONNX Runtime.

What the file cannot say stands in a small JSON beside it, of the same stem:

    {
      "kind": "metric",            metric: metres; relative: inverse depth, larger = nearer
      "max_depth_m": 10.0,         of a metric model
      "range": [0.0, 1.0],         of a relative model, if its answers have one
      "height": 192,               at which it sees composites; null = as they come [px]
      "width": null,               null keeps the composite's shape
      "stride": 32,                height and width are multiples of it
      "mean": [0.0, 0.0, 0.0],     taken from red, green, blue in 0..1,
      "std": [1.0, 1.0, 1.0],      which are then divided by this
      "licence": "mit"             optional
    }

Flags say the same and win over it: `--teacher-kind`, `-max-depth`, `-range`, `-size`, `-mean`,
`-std`. The input is float32 (N, 3, h, w); sizes that are fixed in the file need not be said.
"""

import hashlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np

from dsetkit.errors import TeacherError
from dsetkit.store import LARGEST_DEPTH_M
from dsetkit.teachers.licences import warn_if_restricted
from dsetkit.teachers.options import INSTALL, KINDS, TeacherOptions
from dsetkit.teachers.resizing import as_batch, fitted_size


class OnnxTeacher:
    """A depth model in an ONNX file.

    Args:
        path: The `.onnx` file; its `.json` lies beside it.
        device: `auto`, `cpu` or `cuda`; auto means CUDA where this ONNX Runtime has it.
        options: What flags say; they win over the JSON.

    Raises:
        TeacherError: ONNX Runtime or the file is missing, it is no such model, or what it needs to
            be told is not told.
    """

    def __init__(self, path: Path, *, device: str, options: TeacherOptions) -> None:
        self.name = f"onnx:{path.name}"
        about = _read_about(path, self.name) | _told(options)
        self._session = _open(path, device, self.name)
        self._input, self._output = _input_and_output(self._session, self.name)
        self._mean, self._std = (self._triple(about, key) for key in ("mean", "std"))
        self._batch, self._size, self._stride = self._layout(about)
        self.kind, self.max_depth_m = _kind(about, self.name)
        told = _range(about, self.name) if self.kind == "relative" else None
        scaled = told == (0, 1) and options.value_range is None  # there is nothing left to do
        self.value_range = None if scaled else told
        self.needs_range = self.kind == "relative" and not scaled
        self.weights_hash = hashlib.sha256(path.read_bytes()).hexdigest()
        warn_if_restricted(self.name, about.get("licence", ""))
        self.settings = {
            "height": self._size[0],
            "width": self._size[1],
            "mean": self._mean.tolist(),
            "std": self._std.tolist(),
        } | ({"licence": about["licence"]} if about.get("licence") else {})

    def __call__(self, composites: np.ndarray) -> np.ndarray:
        """Depth of uint8 (N,H,W,3) RGB: float32 (N,h,w), metres or inverse depth.

        Raises:
            TeacherError: ONNX Runtime cannot run it, or the answer is no map for each composite.
        """
        batch = as_batch(composites, size=self._shown_size(*composites.shape[1:3]), device="cpu")
        pixels = (batch.permute(0, 2, 3, 1).numpy() - self._mean) / self._std  # (N, h, w, 3)
        pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)
        step = self._batch or len(pixels)
        try:
            answers = [
                self._session.run([self._output], {self._input: pixels[i : i + step]})[0]
                for i in range(0, len(pixels), step)
            ]
        except Exception as error:  # of ONNX Runtime's own, all children of Exception
            raise TeacherError(
                f"teacher {self.name} cannot take {pixels.shape}: {_one_line(error)}; its JSON or "
                "--teacher-size must name a size that it takes"
            ) from None
        depth = np.concatenate(answers)
        if depth.ndim == 4 and depth.shape[1] == 1:
            depth = depth[:, 0]
        return depth.astype(np.float32, copy=False)

    def _shown_size(self, height: int, width: int) -> tuple[int, int] | None:
        to_height, to_width = self._size
        if to_height is None:
            return None
        if to_width is not None:
            return to_height, to_width
        return fitted_size(height, width, to_height=to_height, stride=self._stride)

    def _triple(self, about: dict, key: str) -> np.ndarray:
        """`mean` or `std`: float32 (3,)."""
        if key not in about:
            raise TeacherError(
                f"teacher {self.name}: its {key} is not told: write it into the .json beside the "
                f"file, or give --teacher-{key} R G B (for pixels in 0..1)"
            )
        triple = np.array(about[key], np.float32)
        if triple.shape != (3,) or (key == "std" and triple.min() <= 0):
            raise TeacherError(f"teacher {self.name}: {key} {about[key]}, expected three numbers")
        return triple

    def _layout(self, about: dict) -> tuple[int | None, tuple[int | None, int | None], int]:
        """Batch size and (height, width) as fixed in the file, or as told; None = any."""
        shape = self._session.get_inputs()[0].shape
        batch, height, width = (
            side if isinstance(side, int) else None for side in (shape[0], *shape[2:])
        )
        told = about.get("height")
        if height and told not in (None, height):
            raise TeacherError(
                f"teacher {self.name} is made for a height of {height} px: {told} was asked for"
            )
        stride = about.get("stride") or 1
        if (told or 0) % stride:
            raise TeacherError(
                f"teacher {self.name}: height {told}, expected a multiple of {stride}"
            )
        return batch, (height or told, width or about.get("width")), stride


# ---- the file ----------------------------------------------------------------------------------


def _open(path: Path, device: str, name: str) -> object:
    runtime = _onnxruntime()
    if not path.is_file():
        raise TeacherError(f"teacher {name}: no file {path}: expected an .onnx model")
    there = runtime.get_available_providers()
    wants_cuda = device.startswith("cuda")
    if wants_cuda and "CUDAExecutionProvider" not in there:
        raise TeacherError(
            f"device {device} was asked for, but this ONNX Runtime has no CUDA: "
            "pip install onnxruntime-gpu in place of onnxruntime, or use cpu"
        )
    use = ["CPUExecutionProvider"]
    if device != "cpu" and "CUDAExecutionProvider" in there:
        use.insert(0, "CUDAExecutionProvider")
    try:
        return runtime.InferenceSession(str(path), providers=use)
    except Exception as error:  # of ONNX Runtime's own, all children of Exception
        raise TeacherError(
            f"teacher {name}: {path} cannot be opened ({_one_line(error)}): expected an ONNX model"
        ) from None


def _onnxruntime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError:
        raise TeacherError(
            f"teacher onnx needs onnxruntime, which is not installed: {INSTALL}"
        ) from None
    return onnxruntime


def _input_and_output(session: object, name: str) -> tuple[str, str]:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    fits = (
        len(inputs) == len(outputs) == 1
        and inputs[0].type == "tensor(float)"
        and len(inputs[0].shape) == 4
        and (inputs[0].shape[1] == 3 or not isinstance(inputs[0].shape[1], int))
    )
    if not fits:
        came = [f"{one.name} {one.type} {one.shape}" for one in (*inputs, *outputs)]
        raise TeacherError(
            f"teacher {name} has {len(inputs)} inputs and {len(outputs)} outputs "
            f"({'; '.join(came)[:200]}): expected one float32 (N, 3, h, w) in and one map out"
        )
    return inputs[0].name, outputs[0].name


def _read_about(path: Path, name: str) -> dict:
    """The JSON beside a file; empty if there is none."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return {}
    try:
        about = json.loads(beside.read_text())
    except ValueError as error:
        raise TeacherError(f"teacher {name}: {beside} is not JSON ({error})") from None
    if not isinstance(about, dict):
        raise TeacherError(f"teacher {name}: {beside} holds no JSON object, expected kind, mean...")
    return about


def _told(options: TeacherOptions) -> dict:
    """What flags say, in the words of the JSON."""
    told = {
        "kind": options.kind,
        "max_depth_m": options.max_depth_m,
        "height": options.size,
        "mean": options.mean,
        "std": options.std,
    }
    return {key: value for key, value in told.items() if value is not None}


def _kind(about: dict, name: str) -> tuple[str, float]:
    """Kind, and greatest depth [m], 0 when relative."""
    kind = about.get("kind")
    if kind not in KINDS:
        raise TeacherError(
            f"teacher {name}: kind {kind!r}, expected metric (metres) or relative (inverse depth): "
            "write it into the .json beside the file, or give --teacher-kind"
        )
    if kind == "relative":
        return kind, 0.0
    greatest = about.get("max_depth_m")
    if not isinstance(greatest, int | float) or not 0 < greatest <= LARGEST_DEPTH_M:
        raise TeacherError(
            f"teacher {name}: max_depth_m {greatest}, expected metres up to {LARGEST_DEPTH_M}: "
            "write it into the .json beside the file, or give --teacher-max-depth"
        )
    return kind, float(greatest)


def _range(about: dict, name: str) -> tuple[float, float] | None:
    """The answers that become 0 and 1, if the JSON tells."""
    told = about.get("range")
    if told is None:
        return None
    if len(told) != 2 or not told[0] < told[1]:
        raise TeacherError(f"teacher {name}: range {told} in its .json, expected [low, high]")
    return float(told[0]), float(told[1])


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
