"""Turns a depth network of torch into an ONNX graph: composites in, depth maps out."""

import copy
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import pad

from dsetkit.errors import TeacherError
from dsetkit.teachers.options import INSTALL

if TYPE_CHECKING:
    from onnx import ModelProto

LARGEST_SIDE_PX = 8192  # of a graph whose height and width are free


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
