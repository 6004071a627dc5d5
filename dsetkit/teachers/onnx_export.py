"""Turns a depth network of torch into an ONNX graph: composites in, depth maps out.

`export_checkpoint` writes a depth checkpoint as a pair for `--teacher onnx:FILE`: FILE.onnx and
FILE.json. The graph takes float32 (N, 3, h, w) RGB in 0..1 and gives (N, h', w'): metres when the
checkpoint is metric, relative inverse depth in 0..1 when not. The batch stays free; height and
width are fixed, for not every network can be exported with free ones. Then the two answers are
compared.
"""

import copy
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import pad

from dsetkit.errors import TeacherError
from dsetkit.files import write_whole
from dsetkit.teachers.checkpoint import CheckpointTeacher
from dsetkit.teachers.onnx_file import OnnxTeacher
from dsetkit.teachers.options import INSTALL, TeacherOptions
from dsetkit.teachers.repository_models import repository_models
from dsetkit.teachers.resizing import fitted_size

if TYPE_CHECKING:
    from onnx import ModelProto

MOST_APART = 1e-3  # of the greatest depth: a larger difference is no rounding
LARGEST_SIDE_PX = 8192  # of a graph whose height and width are free


def export_checkpoint(
    checkpoint: Path, output: Path, *, size: tuple[int, int] | None = None
) -> float:
    """Writes a depth checkpoint as ONNX; see `dsetkit.verbs.export_model`."""
    check_packages()
    models = repository_models("export-model")
    ours = CheckpointTeacher(checkpoint)
    height, width = size or fitted_size(1, 1, to_height=ours.height, stride=ours.network.stride)
    if height % ours.network.stride or width % ours.network.stride:
        raise TeacherError(
            f"--size {height} {width}: expected multiples of {ours.network.stride}, the stride of "
            f"{ours.network.arch}"
        )
    metadata = {
        "kind": ours.kind,
        "height": height,
        "width": width,
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        "arch": ours.network.arch,
        "weights_hash": ours.weights_hash,
    } | ({"max_depth_m": ours.max_depth_m} if ours.kind == "metric" else {"range": [0, 1]})
    scale = ours.max_depth_m if ours.kind == "metric" else 1.0
    network = folded(ours.network, models.efficientnet_lite.ConvBN)
    depth_map = DepthMap(network, answer=models.answer, scale=scale).eval()
    write_whole(output, depth_graph(depth_map, (height, width)).SerializeToString())
    write_whole(output.with_suffix(".json"), json.dumps(metadata, indent=2).encode())

    theirs = OnnxTeacher(output, device="cpu", options=TeacherOptions())
    shown = CheckpointTeacher(checkpoint, size=height)
    apart = max(
        float(np.abs(shown(one) - theirs(one)).max()) for one in drawn_composites(height, width)
    )
    if not apart <= MOST_APART * scale:
        raise TeacherError(
            f"{output} answers otherwise than {checkpoint} (by up to {apart:.3g}): do not use it, "
            "and try another version of torch, onnxscript or onnxruntime"
        )
    return apart


class DepthMap(nn.Module):
    """A network with its answer in the unit of a teacher: (N, 3, H, W) in 0..1 -> (N, h, w).

    Args:
        network: Gives depth, and maybe a mask too.
        answer: `models.answer`, which makes a share of the greatest depth of the raw output.
        scale: The greatest depth [m]; 1 when the depth is relative.
    """

    def __init__(
        self, network: nn.Module, *, answer: Callable[..., torch.Tensor], scale: float
    ) -> None:
        super().__init__()
        self.network, self._answer, self._scale = network, answer, scale

    def forward(self, composite: torch.Tensor) -> torch.Tensor:
        return self._answer(self.network, self.network(composite), "depth")[:, 0] * self._scale


class Pad(nn.Module):
    """Zeros around a picture."""

    def __init__(self, left: int, right: int, top: int, bottom: int) -> None:
        super().__init__()
        self._sides = (left, right, top, bottom)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return pad(x, self._sides)


def folded(network: nn.Module, conv_bn: type[nn.Module]) -> nn.Module:
    """A copy whose ConvBN layers are plain convolutions with the batch norm in their weights.

    A ConvBN computes its weights as it runs, and pads them. ONNX Runtime takes a weight that is
    padded in the graph for a padded picture, and fails; here the picture is padded, which it makes
    part of the convolution.

    Args:
        network: In evaluation mode.
        conv_bn: The class of those layers, `models.efficientnet_lite.ConvBN`.
    """
    network = copy.deepcopy(network)
    places = [
        (parent, name, layer)
        for parent in network.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, conv_bn)
    ]
    for parent, name, layer in places:
        setattr(parent, name, _plain_convolution(layer))
    return network


def batch_norm_scale(layer: Any) -> torch.Tensor:
    """What the batch norm of a ConvBN multiplies each channel of the weights by: (C, 1, 1, 1)."""
    scale = layer.bn.weight * torch.rsqrt(layer.bn.running_var + layer.bn.eps)
    return scale.view(-1, 1, 1, 1)


def _plain_convolution(layer: Any) -> nn.Sequential:
    conv, bn = layer.conv, layer.bn
    scale = batch_norm_scale(layer)
    half = conv.kernel_size[0] // 2
    # "Same" padding for even sizes, as ConvBN.forward explains: one less on the left and top.
    is_halving = conv.stride == (2, 2)
    plain = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        0 if is_halving else half,
        groups=conv.groups,
    )
    plain.weight = nn.Parameter(conv.weight * scale)
    plain.bias = nn.Parameter(bn.bias - bn.running_mean * scale.flatten())
    layers = [Pad(half - 1, half, half - 1, half)] if is_halving else []
    return nn.Sequential(*layers, plain, layer.activation)


def depth_graph(network: nn.Module, size: tuple[int, int], *, free_by: int = 0) -> "ModelProto":
    """A network as an ONNX graph, weights inside; the batch is free.

    Args:
        network: A DepthMap in evaluation mode.
        size: Height and width [px].
        free_by: Not 0 = height and width are free, as multiples of this.

    Raises:
        TeacherError: The network cannot be exported.
    """
    check_packages()
    example = torch.rand(2, 3, *size)  # one alone would fix the batch at 1
    free: dict[int, Any] = {0: torch.export.Dim("batch")}
    if free_by:
        most = LARGEST_SIDE_PX // free_by
        free |= {2: free_by * torch.export.Dim("rows", max=most)}
        free |= {3: free_by * torch.export.Dim("columns", max=most)}
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of torch's own deprecations
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                dynamic_shapes=(free,),
                input_names=["composite"],
                output_names=["depth"],
                verbose=False,
            )
    except Exception as error:  # of the exporter: many kinds, without a common parent of its own
        reason = " ".join(str(error).split())[:200]
        raise TeacherError(
            f"the network cannot be exported ({reason}): try another version of torch or onnxscript"
        ) from error
    assert program is not None  # it is with dynamo=True
    return program.model_proto


def drawn_composites(height: int, width: int) -> list[np.ndarray]:
    """Batches of one and of three to compare teachers with, noise over a ramp: uint8 (N,H,W,3)."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, width)[None, None, :, None]
    noises = [rng.integers(0, 56, (count, height, width, 3)) for count in (1, 3)]
    return [(ramp + noise).astype(np.uint8) for noise in noises]


def check_packages() -> None:
    """Raises TeacherError unless what writes and reads ONNX graphs is installed."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(package)
        except ImportError:
            raise TeacherError(
                f"export-model needs {package}, which is not installed: {INSTALL}"
            ) from None
