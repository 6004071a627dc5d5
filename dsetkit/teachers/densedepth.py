"""The DenseDepth teacher: reads the authors' `.h5` files by layer name, without Keras; metres.

The arrays lie at `[model_weights/]<layer>/.../<variable>[:0]`: with the group when Keras saved a
whole model, without it when it saved weights only; Keras 2 writes `:0` and layers named like
`conv1/conv`, Keras 3 writes no `:0` and `conv1_conv`.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from dsetkit.errors import TeacherError, one_line
from dsetkit.extras import extra_module
from dsetkit.networks.resizing import as_batch, fitted_size
from dsetkit.store import LARGEST_DEPTH_M
from dsetkit.teachers.densedepth_network import BLOCK_LAYERS, ENCODER_CHANNELS, STRIDE, DenseDepth
from dsetkit.teachers.options import check_height
from dsetkit.teachers.running import PLAIN, Runner

if TYPE_CHECKING:
    import h5py


@dataclass(frozen=True)
class Variant:
    """A training of the network: which file, and the depths it was trained on [m]."""

    file: str
    min_depth_m: float
    max_depth_m: float


# The ranges are the author's (KITTI's: his answer in issue 69 of DenseDepth).
VARIANTS = {
    "densedepth": Variant("nyu.h5", 0.1, 10.0),
    "densedepth-kitti": Variant("kitti.h5", 1.0, 80.0),
}

# A chunk is unpacked whole; one that is much larger than its array is no file of Keras.
MOST_PADDING, LEAST_CHUNK = 16, 2**16  # times the values of the array, values

# name in torch -> name in Keras
KERAS_VARIABLES = {
    nn.Conv2d: {"weight": "kernel", "bias": "bias"},
    nn.BatchNorm2d: {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    },
}


class DenseDepthTeacher:
    """A frozen DenseDepth with its authors' weights: composites in, metres out.

    Args:
        path: the authors' `nyu.h5` or `kitti.h5`, or a model of the same graph saved by Keras as
            `.h5`.
        runner: where and how the network runs.
        variant: key of VARIANTS: which of the two the weights are.
        size: height at which it sees composites [px]; None = as they are (the authors' training
            saw rooms at 480).

    Raises:
        TeacherError: h5py or the file is missing, or the file does not hold this network.
    """

    kind = "metric"

    def __init__(
        self,
        path: Path,
        *,
        runner: Runner = PLAIN,
        variant: str = "densedepth",
        size: int | None = None,
    ) -> None:
        check_height(variant, size, step=STRIDE)
        self.name, self._variant = variant, VARIANTS[variant]
        self.max_depth_m = min(self._variant.max_depth_m, LARGEST_DEPTH_M)
        self._device = runner.device
        self.network = load_network(path, file_name=self._variant.file).to(self._device)
        self._run = runner.prepare(self.network)
        self.weights_hash = _sha256(path)
        self._height = size
        self.settings = ({"size": size} if size else {}) | runner.settings

    @torch.inference_mode()
    def __call__(self, composites: np.ndarray) -> np.ndarray:
        """Predict depth.

        Args:
            composites: (N, H, W, 3) uint8 RGB; H and W multiples of 32 unless `size` was given.

        Returns:
            (N, h/2, w/2) float32 depth [m], 0.1 to 10, of KITTI 1 to 80; h and w as shown.

        Raises:
            TeacherError: a size that is no multiple of 32.
        """
        height, width = composites.shape[1:3]
        size = None
        if self._height:
            size = fitted_size(height, width, to_height=self._height, stride=STRIDE)
        elif height % STRIDE or width % STRIDE:
            fitting = [-(-side // STRIDE) * STRIDE for side in (height, width)]
            raise TeacherError(
                f"DenseDepth got composites of {height}x{width}, expected multiples of {STRIDE}: "
                f"the next size that fits is {fitting[0]}x{fitting[1]}, or use --teacher-size"
            )
        batch = as_batch(composites, size=size, device=self._device)
        inverse_depth = self._run(batch)[:, 0]  # (N, h/2, w/2)
        return depth_from_inverse(inverse_depth, self._variant).cpu().numpy()


def depth_from_inverse(
    inverse_depth: torch.Tensor, variant: Variant = VARIANTS["densedepth"]
) -> torch.Tensor:
    """The authors' decoding: network output (greatest depth / depth) to depth [m], clipped.

    As theirs it turns a negative output, which trained weights do not give, into the least depth.
    """
    nearest_cm, farthest_cm = 100 * variant.min_depth_m, 100 * variant.max_depth_m
    return (farthest_cm / inverse_depth).clamp(nearest_cm, farthest_cm) / 100


# ---- the file ----------------------------------------------------------------------------------


def load_network(path: Path, *, file_name: str = "nyu.h5") -> DenseDepth:
    """Read a Keras `.h5` of DenseDepth into a frozen network.

    Args:
        path: where it lies.
        file_name: its name on the authors' page, for messages.

    Raises:
        TeacherError: h5py is not installed, or the file is missing, damaged, or of another network.
    """
    purpose = "reading DenseDepth weights (.h5)"
    h5py = extra_module("h5py", extra="densedepth", purpose=purpose, error=TeacherError)
    if not path.is_file():
        raise TeacherError(
            f"no DenseDepth weights at {path}: download {file_name} from the DenseDepth authors' "
            "page"
        )
    with torch.device("meta"):  # no values yet: the file gives every one
        network = DenseDepth()
    wanted = keras_variables(network)
    try:
        with h5py.File(path) as file:
            stored = _find_variables(file.get("model_weights", file))
            _check_layers(path, file, stored, wanted)
            _check_shapes(path, stored, wanted, network)
            _check_storage(path, stored, wanted)
            if "model_config" in file.attrs:  # a whole model; weights alone do not tell their graph
                _check_graph(path, json.loads(file.attrs["model_config"]))
            state = {key: _read(stored[variable]) for key, variable in wanted.items()}
    except TeacherError:
        raise
    except Exception as error:  # h5py raises errors of many types, by the place of damage
        raise TeacherError(
            f"{path} is not a whole HDF5 file ({one_line(error)}): expected {file_name}, download "
            "it again"
        ) from error
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def keras_layers() -> Iterator[tuple[str, str]]:
    """Pairs of (module of `DenseDepth`, layer in the Keras graph), in the order of the graph."""
    yield "encoder.conv0", "conv1/conv"
    yield "encoder.norm0", "conv1/bn"
    for block, layers in enumerate(BLOCK_LAYERS, start=1):
        for layer in range(1, layers + 1):
            module = f"encoder.denseblock{block}.denselayer{layer}"
            keras = f"conv{block + 1}_block{layer}"
            yield f"{module}.norm1", f"{keras}_0_bn"
            yield f"{module}.conv1", f"{keras}_1_conv"
            yield f"{module}.norm2", f"{keras}_1_bn"
            yield f"{module}.conv2", f"{keras}_2_conv"
        if block < len(BLOCK_LAYERS):
            yield f"encoder.transition{block}.norm", f"pool{block + 1}_bn"
            yield f"encoder.transition{block}.conv", f"pool{block + 1}_conv"
    yield "encoder.norm5", "bn"
    yield "conv2", "conv2"
    for step in range(1, 5):
        yield f"up{step}.convA", f"up{step}_convA"
        yield f"up{step}.convB", f"up{step}_convB"
    yield "conv3", "conv3"


def keras_variables(network: DenseDepth) -> dict[str, str]:
    """Key in the network's state dict -> `layer/variable` in Keras, `conv1/conv/kernel` for one."""
    variables = {}
    for module_name, layer in keras_layers():
        module = network.get_submodule(module_name)
        for name, variable in KERAS_VARIABLES[type(module)].items():
            if getattr(module, name) is not None:  # the encoder's convolutions have no bias
                variables[f"{module_name}.{name}"] = f"{layer}/{variable}"
    return variables


def _find_variables(weights: "h5py.Group") -> "dict[str, h5py.Dataset]":
    """`layer/variable` as Keras 2 spells it -> dataset, for the layers of DenseDepth it finds."""
    layers: dict[str, str] = {}  # spelled either way -> as Keras 2 does
    for _, layer in keras_layers():
        layers |= {layer: layer, layer.replace("/", "_"): layer}
    stored = {}

    def collect(name: str, member: "h5py.Group | h5py.Dataset") -> None:
        *groups, variable = name.split("/")
        for depth in (1, 2):  # `conv2`, `conv1/conv`
            layer = layers.get("/".join(groups[:depth]))
            if layer and hasattr(member, "shape"):  # a dataset, not a group on the way to it
                stored[f"{layer}/{variable.removesuffix(':0')}"] = member

    weights.visititems(collect)
    return stored


def _read(dataset: "h5py.Dataset") -> torch.Tensor:
    array = dataset[()]
    if array.ndim == 4:
        array = array.transpose(3, 2, 0, 1)  # (h, w, in, out) -> (out, in, h, w)
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


# ---- what can be wrong with it -----------------------------------------------------------------


def _check_layers(
    path: Path, file: "h5py.File", stored: "dict[str, h5py.Dataset]", wanted: dict[str, str]
) -> None:
    missing = [variable for variable in wanted.values() if variable not in stored]
    if not missing:
        return
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    expected = "expected the DenseNet-169 layers and the decoder of the released nyu.h5"
    if "layers" in file:
        expected = "Keras 3 .weights.h5 does not name its layers, use model.save('x.h5') instead"
    raise TeacherError(
        f"{path} is not DenseDepth, it has no {', '.join(missing[:3])}{more}: {expected}"
    )


def _check_shapes(
    path: Path,
    stored: "dict[str, h5py.Dataset]",
    wanted: dict[str, str],
    network: DenseDepth,
) -> None:
    if stored["conv2/bias"].shape == (ENCODER_CHANNELS // 2,):
        in_channels, out_channels = stored["up1_convA/kernel"].shape[2:]
        raise TeacherError(
            f"{path}: this is the half-width variant (up1_convA has {in_channels}->{out_channels} "
            f"channels), expected the full-width decoder of the released nyu.h5 (1920->832)"
        )
    for key, tensor in network.state_dict().items():
        if key not in wanted:  # torch counts batches in a buffer, Keras does not
            continue
        shape = tuple(tensor.permute(2, 3, 1, 0).shape if tensor.ndim == 4 else tensor.shape)
        if stored[wanted[key]].shape != shape:
            raise TeacherError(
                f"{path} is not DenseDepth: {wanted[key]} has shape {stored[wanted[key]].shape}, "
                f"expected {shape} as in the released nyu.h5"
            )


def _check_storage(path: Path, stored: "dict[str, h5py.Dataset]", wanted: dict[str, str]) -> None:
    """Refuses arrays that are no plain numbers in this file, or would unpack to far more."""
    for variable in wanted.values():
        dataset = stored[variable]
        chunk = math.prod(dataset.chunks or (0,))
        if dataset.dtype.kind != "f":
            raise TeacherError(f"{path}: {variable} is {dataset.dtype}, expected floating point")
        if dataset.external or dataset.is_virtual:
            raise TeacherError(f"{path}: {variable} lies in another file, expected one whole file")
        if chunk > max(MOST_PADDING * dataset.size, LEAST_CHUNK):
            raise TeacherError(
                f"{path}: {variable} has {dataset.size:,} values in chunks of {chunk:,}, expected "
                "no more than it holds"
            )


def _check_graph(path: Path, model_config: dict) -> None:
    """Refuse graphs of the same layers and shapes that compute something else.

    Later DenseDepth code has a LeakyReLU between convA and convB (its issue #130), and the DenseNet
    of old Keras ends without a ReLU (keras-applications issue #31).
    """
    layers = model_config["config"]["layers"]
    inputs = {layer["name"]: json.dumps(layer["inbound_nodes"]) for layer in layers}
    for step in range(1, 5):
        conv_a, conv_b = f"up{step}_convA", f"up{step}_convB"
        if f'"{conv_a}"' not in inputs[conv_b]:
            raise TeacherError(
                f"{path}: something stands between {conv_a} and {conv_b}, "
                f"expected no activation there, as in the released nyu.h5"
            )
    if '"bn"' in inputs["conv2"]:
        raise TeacherError(
            f"{path}: conv2 reads bn directly, "
            f"expected a ReLU between them, as in the released nyu.h5"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
