"""A network in an ONNX file, run by ONNX Runtime; the JSON beside it says how to use it.

`export-model` writes the pair. The graph takes float32 (N, 3, H, W) RGB for each of its pictures
and gives a float32 map (N, h, w) for each of its maps. The JSON has the same stem:

    {
      "inputs": ["composite", "background"],   the pictures, in the order of the graph
      "maps": ["mask"],                        what it answers, in the order of the graph
      "height": 128, "width": 128,             trained at; null: any width [px]
      "stride": 32,                            height and width are multiples of it [px]
      "kind": "metric",                        of depth: metric (metres) or relative (inverse depth)
      "max_depth_m": 10.0,                     of metric depth
      "range": [0.0, 1.0],                     of relative depth: the answers that become 0 and 1
      "mean": [0, 0, 0], "std": [1, 1, 1]      how RGB in 0..1 is normalised before the graph
    }

A depth network of the composite alone is a teacher, too: `--teacher onnx:FILE` reads the same pair.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from dsetkit.arguments import DEPTH_M, SIDE_PX
from dsetkit.errors import NetworkError, one_line
from dsetkit.files import read_json
from dsetkit.networks.network import NetworkFacts
from dsetkit.networks.sessions import Session, fixed_side, open_session

Side = Annotated[int, msgspec.Meta(ge=SIDE_PX.low, le=SIDE_PX.high)]  # [px]
Metres = Annotated[float, msgspec.Meta(gt=0, le=DEPTH_M.high)]
Real = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
Triple = tuple[Real, Real, Real]  # red, green, blue
FLOAT = "tensor(float)"


class OnnxFacts(msgspec.Struct, kw_only=True, frozen=True):
    """The JSON beside an ONNX file; see the top of this file."""

    height: Side
    width: Side | None = None
    stride: Side = 1
    inputs: Annotated[
        tuple[Literal["composite", "background"], ...], msgspec.Meta(min_length=1, max_length=2)
    ] = ("composite",)
    maps: Annotated[
        tuple[Literal["mask", "depth"], ...], msgspec.Meta(min_length=1, max_length=2)
    ] = ("depth",)
    kind: Literal["metric", "relative"] | None = None
    max_depth_m: Metres | None = None
    range: tuple[Real, Real] | None = None
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)

    def problem(self) -> str | None:
        """What contradicts itself, or is missing; None if nothing."""
        if len(set(self.inputs)) < len(self.inputs) or len(set(self.maps)) < len(self.maps):
            return "a picture or a map is named twice"
        if min(self.std) <= 0:
            return f"std {list(self.std)}, expected three numbers above 0"
        if "depth" not in self.maps:
            return None
        if self.kind is None:
            return "kind is missing, expected metric (metres) or relative (inverse depth)"
        if self.kind == "metric" and self.max_depth_m is None:
            return "max_depth_m is missing, expected metres"
        if self.kind == "relative" and (self.range is None or not self.range[0] < self.range[1]):
            return f"range {self.range}, expected [LOW, HIGH] that become 0 and 1"
        return None


class OnnxNetwork:
    """A network that ONNX Runtime runs.

    Args:
        model: The `.onnx` file, or its content.
        told: What its JSON says.
        name: What messages call it.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: As of `open_session`.

    Raises:
        NetworkError: ONNX Runtime or the file is missing, or the graph is not what the JSON says.
    """

    def __init__(
        self,
        model: Path | bytes,
        told: OnnxFacts,
        *,
        name: str,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        self._session = open_session(model, name=name, device=device, threads=threads)
        self._told = told
        height, width = _fixed_size(self._session, told, name)
        self._inputs = [one.name for one in self._session.get_inputs()]
        self._outputs = [one.name for one in self._session.get_outputs()]
        self._shift = np.array(told.mean, np.float32)
        self._scale = 255 * np.array(told.std, np.float32)
        kind = told.kind if "depth" in told.maps else None
        self.facts = NetworkFacts(
            name=name,
            inputs=told.inputs,
            maps=told.maps,
            size=(height or told.height, width or told.width or told.height),
            takes_any_size=height is None or width is None,
            stride=told.stride,
            depth_kind=kind,
            max_depth_m=told.max_depth_m or 0.0 if kind == "metric" else 0.0,
        )

    def __call__(self, pictures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        feeds = {
            name: self._normalised(pictures[which])
            for name, which in zip(self._inputs, self._told.inputs, strict=True)
        }
        try:
            found = self._session.run(self._outputs, feeds)
        except Exception as error:  # ONNX Runtime's own errors share no parent but Exception
            shapes = [pixels.shape for pixels in feeds.values()]
            raise NetworkError(
                f"{self.facts.name} cannot take pictures {shapes}: {one_line(error)}"
            ) from None
        answers = dict(zip(self._told.maps, found, strict=True))
        count = len(next(iter(pictures.values())))
        return {name: self._map(name, answer, count) for name, answer in answers.items()}

    def _normalised(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, 3) -> float32 (N, 3, H, W)."""
        shares = (pictures - 255 * self._shift) / self._scale
        return np.ascontiguousarray(shares.transpose(0, 3, 1, 2), np.float32)

    def _map(self, name: str, answer: np.ndarray, count: int) -> np.ndarray:
        """An answer as float32 (N, h, w), in its unit."""
        if answer.ndim == 4 and answer.shape[1] == 1:
            answer = answer[:, 0]
        if answer.ndim != 3 or len(answer) != count or not answer.size:
            raise NetworkError(
                f"{self.facts.name} gives a {name} {answer.shape}: expected ({count}, h, w)"
            )
        answer = answer.astype(np.float32, copy=False)
        if name == "mask":
            return np.clip(answer, 0, 1)
        if self._told.kind == "metric":
            return np.clip(answer, 0, self._told.max_depth_m)
        low, high = self._told.range or (0.0, 1.0)
        return np.clip((answer - low) / (high - low), 0, 1)


def open_onnx(path: Path, *, device: str = "auto", threads: int | None = None) -> OnnxNetwork:
    """Opens an ONNX file with the JSON beside it; see `OnnxNetwork`.

    Raises:
        NetworkError: As of `OnnxNetwork`; or the JSON is missing, or says what makes no sense.
    """
    if not path.is_file():
        raise NetworkError(f"no file {path}: expected an .onnx model")
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise NetworkError(
            f"{path} has no {beside.name} beside it: expected the pair that `dsetkit export-model` "
            "writes"
        )
    try:
        told = read_facts(read_json(beside))
    except ValueError as error:
        raise NetworkError(f"{beside} cannot be used: {one_line(error)}") from None
    return OnnxNetwork(path, told, name=str(path), device=device, threads=threads)


def read_facts(about: Mapping[str, Any]) -> OnnxFacts:
    """The entries of a JSON that are read here, checked; the others are ignored.

    Raises:
        ValueError: An entry is missing, or makes no sense.
    """
    told = msgspec.convert({k: v for k, v in about.items() if v is not None}, OnnxFacts)
    if problem := told.problem():
        raise ValueError(problem)
    return told


def _fixed_size(session: Session, told: OnnxFacts, name: str) -> tuple[int | None, int | None]:
    """Height and width that the graph fixes; None where it takes any.

    Raises:
        NetworkError: Its inputs or outputs are not those that the JSON names.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    fits = (
        len(inputs) == len(told.inputs)
        and len(outputs) == len(told.maps)
        and all(one.type == FLOAT and len(one.shape) == 4 for one in inputs)
        and all(one.type == FLOAT for one in outputs)
    )
    if not fits:
        came = "; ".join(f"{one.name} {one.type} {one.shape}" for one in (*inputs, *outputs))
        raise NetworkError(
            f"{name} has {len(inputs)} inputs and {len(outputs)} outputs ({came[:200]}): expected "
            f"float32 (N, 3, H, W) for {' and '.join(told.inputs)}, and {' and '.join(told.maps)}"
        )
    height, width = (fixed_side(side, name) for side in inputs[0].shape[2:])
    return height, width
