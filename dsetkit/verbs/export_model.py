"""export-model: a depth checkpoint as a pair for `--teacher onnx:FILE`: FILE.onnx and FILE.json.

The graph takes float32 (N, 3, h, w) RGB in 0..1 and gives (N, h', w'): metres when the checkpoint
is metric, relative inverse depth in 0..1 when not. The batch stays free; height and width are
fixed, for not every network can be exported with free ones. Written and read back: the two answers
are compared.
"""

import copy
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import pad

from dsetkit.errors import TeacherError
from dsetkit.files import write_whole
from dsetkit.teachers.checkpoint import CheckpointTeacher
from dsetkit.teachers.onnx_file import OnnxTeacher
from dsetkit.teachers.options import INSTALL, TeacherOptions
from dsetkit.teachers.resizing import fitted_size
from models import answer
from models.efficientnet_lite import ConvBN

MOST_APART = 1e-3  # of the greatest depth: a larger difference is no rounding


class _DepthMap(nn.Module):
    """A checkpoint's network with its answer in the unit of the teacher."""

    def __init__(self, net: nn.Module, scale: float) -> None:
        super().__init__()
        self.net, self.scale = net, scale

    def forward(self, composite: torch.Tensor) -> torch.Tensor:
        return answer(self.net, self.net(composite), "depth")[:, 0] * self.scale


def export_model(checkpoint: Path, output: Path, *, size: tuple[int, int] | None = None) -> float:
    """Writes a depth checkpoint as ONNX, with the JSON that tells how to use it.

    Args:
        checkpoint: A `.safetensors` of train_depth.py or train_joint.py that sees the composite.
        output: The `.onnx` file to write; the `.json` gets the same stem.
        size: Height and width at which the network sees composites [px], multiples of its stride;
            None = a square of the height it was trained at, as the checkpoint sees a dataset's.

    Returns:
        The largest difference between the two teachers' answers for drawn composites [m, or share
        of the range when relative].

    Raises:
        TeacherError: No such checkpoint, a size that does not fit, a package is missing, the
            network cannot be exported, or the two differ.
    """
    if output.suffix != ".onnx":
        raise TeacherError(f"--output {output}: expected a name that ends in .onnx")
    _check_packages()
    ours = CheckpointTeacher(checkpoint)
    height, width = size or fitted_size(1, 1, to_height=ours.height, stride=ours.network.stride)
    if height % ours.network.stride or width % ours.network.stride:
        raise TeacherError(
            f"--size {height} {width}: expected multiples of {ours.network.stride}, the stride of "
            f"{ours.network.arch}"
        )
    about = {
        "kind": ours.kind,
        "height": height,
        "width": width,
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        "arch": ours.network.arch,
        "weights_hash": ours.weights_hash,
    } | ({"max_depth_m": ours.max_depth_m} if ours.kind == "metric" else {"range": [0, 1]})
    scale = ours.max_depth_m if ours.kind == "metric" else 1.0
    write_whole(output, _graph(_DepthMap(_folded(ours.network), scale).eval(), height, width))
    write_whole(output.with_suffix(".json"), json.dumps(about, indent=2).encode())

    theirs = OnnxTeacher(output, device="cpu", options=TeacherOptions())
    shown = CheckpointTeacher(checkpoint, size=height)
    apart = max(float(np.abs(shown(one) - theirs(one)).max()) for one in _drawn(height, width))
    if not apart <= MOST_APART * scale:
        raise TeacherError(
            f"{output} answers otherwise than {checkpoint} (by up to {apart:.3g}): do not use it, "
            "and try another version of torch, onnxscript or onnxruntime"
        )
    return apart


def _folded(net: nn.Module) -> nn.Module:
    """A copy whose ConvBN layers are plain convolutions: weights that are constants, not computed.

    ONNX Runtime takes a weight that is padded in the graph for a padded picture, and fails.
    """
    net = copy.deepcopy(net)
    places = [
        (parent, name, layer)
        for parent in net.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, ConvBN)
    ]
    for parent, name, layer in places:
        bn = layer.bn
        share = bn.weight * torch.rsqrt(bn.running_var + bn.eps)
        weight, bias = (
            layer.conv.weight * share.view(-1, 1, 1, 1),
            bn.bias - bn.running_mean * share,
        )
        if layer.conv.stride == (2, 2):  # "same" padding, as ConvBN.forward explains
            weight = pad(weight, (1, 0, 1, 0))
        conv = nn.Conv2d(
            layer.conv.in_channels,
            layer.conv.out_channels,
            tuple(weight.shape[2:]),
            layer.conv.stride,
            layer.conv.kernel_size[0] // 2,
            groups=layer.conv.groups,
        )
        conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(bias)
        setattr(parent, name, nn.Sequential(conv, layer.activation))
    return net


def _graph(net: nn.Module, height: int, width: int) -> bytes:
    """The network as a whole ONNX file, weights inside."""
    example = torch.rand(2, 3, height, width)  # one alone would fix the batch at 1
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of torch's own deprecations
            program = torch.onnx.export(
                net,
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=["composite"],
                output_names=["depth"],
                verbose=False,
            )
    except Exception as error:  # of the exporter: many kinds, without a common parent of its own
        reason = " ".join(str(error).split())[:200]
        raise TeacherError(
            f"the network cannot be exported ({reason}): try another version of torch or onnxscript"
        ) from error
    return program.model_proto.SerializeToString()


def _drawn(height: int, width: int) -> list[np.ndarray]:
    """Batches of one and of three, noise over a ramp: uint8 (N, H, W, 3)."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, width)[None, None, :, None]
    noises = [rng.integers(0, 56, (count, height, width, 3)) for count in (1, 3)]
    return [(ramp + noise).astype(np.uint8) for noise in noises]


def _check_packages() -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(package)
        except ImportError:
            raise TeacherError(
                f"export-model needs {package}, which is not installed: {INSTALL}"
            ) from None
