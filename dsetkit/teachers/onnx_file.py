"""Teachers in ONNX files: any model with a picture in and a map out.

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
`-std`. With `--teacher-engine openvino` OpenVINO runs the file, else ONNX Runtime. The input is
float32 (N, 3, h, w); sizes that are fixed in the file need not be said.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dsetkit import devices
from dsetkit.arguments import DEPTH_M, INVERSE_DEPTH, PIXEL_MEAN, PIXEL_STD, SIDE_PX, shown
from dsetkit.errors import TeacherError, one_line
from dsetkit.files import read_json
from dsetkit.networks.openvino_session import OpenVinoSession
from dsetkit.networks.resizing import OnnxResizer, fitted_size
from dsetkit.networks.sessions import Session, is_on_cuda, open_session
from dsetkit.store import LARGEST_DEPTH_M
from dsetkit.teachers.licences import warn_if_restricted
from dsetkit.teachers.options import KINDS, TeacherOptions

Metadata = dict[str, Any]  # what the JSON beside a file says

# A network's intermediate results for so few pictures stay in the caches of a CPU. For 32 at once
# the bundled teacher takes 1.2 to 1.6 times the CPU time, and 200 to 460 MB more (BUNDLED.md).
PICTURES_AT_ONCE_ON_CPU = 4

# what is read of the JSON -> how many values, which values, and both in words
SCHEMA: dict[str, tuple[int, Callable[[Any], bool], str]] = {
    "kind": (1, KINDS.__contains__, " or ".join(KINDS)),
    "max_depth_m": (1, DEPTH_M.has, str(DEPTH_M)),
    "range": (2, INVERSE_DEPTH.has, f"two numbers, each {INVERSE_DEPTH}"),
    "height": (1, SIDE_PX.has, str(SIDE_PX)),
    "width": (1, SIDE_PX.has, str(SIDE_PX)),
    "stride": (1, SIDE_PX.has, str(SIDE_PX)),
    "mean": (3, PIXEL_MEAN.has, f"three numbers, each {PIXEL_MEAN}"),
    "std": (3, PIXEL_STD.has, f"three numbers, each {PIXEL_STD}"),
    "licence": (1, lambda value: isinstance(value, str), "a text"),
}


class OnnxTeacher:
    """A depth model in an ONNX file.

    Args:
        path: The `.onnx` file; its `.json` lies beside it.
        device: `auto`, `cpu`, `cuda` or `cuda:N`; auto means CUDA where this ONNX Runtime has it.
        options: What flags say; they win over the JSON.
        threads: As of `open_session`.
        name: What messages and the manifest call it; None = `onnx:` and the file's name.

    Raises:
        TeacherError: ONNX Runtime or the file is missing, it is no such model, or what it needs to
            be told is not told.
    """

    def __init__(
        self,
        path: Path,
        *,
        device: str,
        options: TeacherOptions,
        threads: int | None = None,
        name: str | None = None,
    ) -> None:
        self.name = name or f"onnx:{path.name}"
        metadata = _read_metadata(path, self.name) | _told(options)
        shown_name = f"teacher {self.name}"
        self._session = _open(
            path, name=shown_name, device=device, engine=options.engine, threads=threads
        )
        devices.keep_freed_memory()  # pictures and answers of each batch take as much as the last
        self._input, self._output = _input_and_output(self._session, self.name)
        mean, std = (self._triple(metadata, key) for key in ("mean", "std"))
        self._resize = OnnxResizer(name=shown_name, mean=mean, std=std, threads=threads)
        batch, self._size, self._stride = self._layout(metadata)
        on_cuda = is_on_cuda(self._session)
        self._at_once = batch or (None if on_cuda else PICTURES_AT_ONCE_ON_CPU)  # None = all
        self.kind, self.max_depth_m = _kind(metadata, self.name)
        told = _range(metadata, self.name) if self.kind == "relative" else None
        scaled = told == (0, 1) and options.value_range is None  # there is nothing left to do
        self.value_range = None if scaled else told
        self.needs_range = self.kind == "relative" and not scaled
        self.weights_hash = hashlib.sha256(path.read_bytes()).hexdigest()
        warn_if_restricted(self.name, metadata.get("licence", ""))
        self.settings: dict[str, Any] = {
            "height": self._size[0],
            "width": self._size[1],
            "mean": mean.tolist(),
            "std": std.tolist(),
            **({"licence": metadata["licence"]} if metadata.get("licence") else {}),
            **self.engine,
        }

    @property
    def engine(self) -> dict[str, str]:
        """What the manifest says of the engine: nothing of ONNX Runtime."""
        if isinstance(self._session, OpenVinoSession):
            return {"engine": f"openvino {self._session.precision}"}
        return {}

    def __call__(self, composites: np.ndarray) -> np.ndarray:
        """Depth of uint8 (N,H,W,3) RGB: float32 (N,h,w), metres or inverse depth.

        Raises:
            TeacherError: ONNX Runtime cannot run it, or the answer is no map for each composite.
        """
        step = self._at_once or len(composites)
        parts = [self._answer(composites[i : i + step]) for i in range(0, len(composites), step)]
        depth = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if depth.ndim == 4 and depth.shape[1] == 1:
            depth = depth[:, 0]
        return depth.astype(np.float32, copy=False)

    def _answer(self, composites: np.ndarray) -> np.ndarray:
        """The network's answer for so many composites as it sees at once."""
        pixels = self._resize(composites, self.shown_size(*composites.shape[1:3]))  # (N, 3, h, w)
        try:
            return self._session.run([self._output], {self._input: pixels})[0]
        except Exception as error:  # ONNX Runtime's own errors share no parent but Exception
            raise TeacherError(
                f"teacher {self.name} cannot take {pixels.shape}: {one_line(error)}; its JSON or "
                "--teacher-size must name a size that it takes"
            ) from None

    def shown_size(self, height: int, width: int) -> tuple[int, int] | None:
        """Height and width at which it sees composites of a size; None = as they come [px]."""
        to_height, to_width = self._size
        if to_height is None:
            return None
        if to_width is not None:
            return to_height, to_width
        return fitted_size(height, width, to_height=to_height, stride=self._stride)

    def _triple(self, metadata: Metadata, key: str) -> np.ndarray:
        """`mean` or `std`: float32 (3,)."""
        if key not in metadata:
            raise TeacherError(
                f"teacher {self.name}: its {key} is not told: write it into the .json beside the "
                f"file, or give --teacher-{key} R G B (for pixels in 0..1)"
            )
        triple = np.array(metadata[key], np.float32)
        if triple.shape != (3,) or (key == "std" and triple.min() <= 0):
            raise TeacherError(
                f"teacher {self.name}: {key} {metadata[key]}, expected three numbers"
            )
        return triple

    def _layout(self, metadata: Metadata) -> tuple[int | None, tuple[int | None, int | None], int]:
        """Batch size and (height, width) as fixed in the file, or as told; None = any."""
        shape = self._session.get_inputs()[0].shape
        batch, height, width = (
            side if isinstance(side, int) else None for side in (shape[0], *shape[2:])
        )
        told = metadata.get("height")
        if height and told not in (None, height):
            raise TeacherError(
                f"teacher {self.name} is made for a height of {height} px: {told} was asked for"
            )
        stride = metadata.get("stride") or 1
        if (told or 0) % stride:
            raise TeacherError(
                f"teacher {self.name}: height {told}, expected a multiple of {stride}"
            )
        return batch, (height or told, width or metadata.get("width")), stride


# ---- the file ----------------------------------------------------------------------------------


def _open(
    path: Path, *, name: str, device: str, engine: str, threads: int | None
) -> Session | OpenVinoSession:
    if engine != "openvino":
        return open_session(path, name=name, device=device, threads=threads)
    if device.startswith("cuda"):
        raise TeacherError(
            f"--teacher-engine openvino with --device {device}: here OpenVINO runs on the CPU; "
            "leave one of the flags out"
        )
    return OpenVinoSession(path, name=name, threads=threads)


def _input_and_output(session: Session, name: str) -> tuple[str, str]:
    """Names of the picture and of the map; of several maps, the one called depth."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [one.name for one in outputs] == ["mask"]:
        raise TeacherError(f"teacher {name} gives a mask: expected a network that gives depth")
    maps = [one for one in outputs if one.name == "depth"] or outputs
    fits = (
        len(inputs) == len(maps) == 1
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
    return inputs[0].name, maps[0].name


def _read_metadata(path: Path, name: str) -> Metadata:
    """The JSON beside a file; empty if there is none."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return {}
    try:
        metadata = read_json(beside)
    except ValueError as error:
        raise TeacherError(f"teacher {name}: {beside} cannot be read: {one_line(error)}") from None
    for key, (count, fits, expected) in SCHEMA.items():
        value: Any = metadata.get(key)
        values: Any = [value] if count == 1 else value
        is_list = isinstance(values, list) and len(values) == count
        if value is not None and not (is_list and all(map(fits, values))):
            raise TeacherError(
                f"teacher {name}: {key} {shown(value)} in {beside}, expected {expected}"
            )
    return {key: value for key, value in metadata.items() if value is not None}


def _told(options: TeacherOptions) -> Metadata:
    """What flags say, in the words of the JSON."""
    told = {
        "kind": options.kind,
        "max_depth_m": options.max_depth_m,
        "height": options.size,
        "mean": options.mean,
        "std": options.std,
    }
    return {key: value for key, value in told.items() if value is not None}


def _kind(metadata: Metadata, name: str) -> tuple[str, float]:
    """Kind, and greatest depth [m], 0 when relative."""
    kind = metadata.get("kind")
    if kind not in KINDS:
        raise TeacherError(
            f"teacher {name}: kind {kind!r}, expected metric (metres) or relative (inverse depth): "
            "write it into the .json beside the file, or give --teacher-kind"
        )
    if kind == "relative":
        return kind, 0.0
    greatest = metadata.get("max_depth_m")
    if not isinstance(greatest, int | float) or not 0 < greatest <= LARGEST_DEPTH_M:
        raise TeacherError(
            f"teacher {name}: max_depth_m {greatest}, expected metres up to {LARGEST_DEPTH_M}: "
            "write it into the .json beside the file, or give --teacher-max-depth"
        )
    return kind, float(greatest)


def _range(metadata: Metadata, name: str) -> tuple[float, float] | None:
    """The answers that become 0 and 1, if the JSON tells."""
    told = metadata.get("range")
    if told is None:
        return None
    if len(told) != 2 or not told[0] < told[1]:
        raise TeacherError(f"teacher {name}: range {told} in its .json, expected [low, high]")
    return float(told[0]), float(told[1])
