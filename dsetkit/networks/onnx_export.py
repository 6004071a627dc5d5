"""Turns a network of torch into an ONNX graph: pictures in, masks and depths out.

`export_checkpoint` writes a checkpoint as a pair, FILE.onnx and FILE.json; see `onnx_network`. The
batch stays free. Height and width are fixed unless asked for: not every network can be exported
with free ones. Then the two answers are compared.
"""

import copy
import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import pad

from dsetkit.errors import NetworkError, one_line, printable
from dsetkit.extras import extra_module
from dsetkit.files import replacing, write_json
from dsetkit.networks.checkpoint import CheckpointNetwork
from dsetkit.networks.network import NetworkFacts
from dsetkit.networks.onnx_network import OnnxNetwork, read_facts
from dsetkit.networks.repository_models import repository_models

if TYPE_CHECKING:
    from onnx import ModelProto

MOST_APART = 1e-3  # of the greatest depth, or of a mask: a larger difference is no rounding
LARGEST_SIDE_PX = 8192  # of a graph whose height and width are free


def export_checkpoint(
    checkpoint: Path,
    output: Path,
    *,
    size: tuple[int, int] | None = None,
    any_size: bool = False,
) -> dict[str, float]:
    """Writes a checkpoint as ONNX; see `dsetkit.verbs.export_model`."""
    check_packages()
    models = repository_models("export-model")
    ours = CheckpointNetwork(checkpoint, device="cpu")
    facts = ours.facts
    height, width = size or facts.size
    if height % facts.stride or width % facts.stride:
        raise NetworkError(
            f"--size {height} {width}: expected multiples of {facts.stride}, the stride of "
            f"{ours.module.arch}"
        )
    about = {
        "inputs": list(facts.inputs),
        "maps": list(facts.maps),
        "height": height,
        "width": None if any_size else width,
        "stride": facts.stride,
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        "arch": ours.module.arch,
        "weights_hash": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
    }
    if facts.depth_kind == "metric":
        about |= {"kind": "metric", "max_depth_m": facts.max_depth_m}
    if facts.depth_kind == "relative":
        about |= {"kind": "relative", "range": [0.0, 1.0]}
    network = folded(ours.module, models.efficientnet_lite.ConvBN)
    answers = Answers(network, answer=models.answer, maps=facts.maps, scale=facts.max_depth_m or 1)
    with replacing(output) as place:
        place.touch()  # fails before the work where nothing can be written
        free_by = facts.stride if any_size else 0
        graph = network_graph(answers.eval(), (height, width), facts=facts, free_by=free_by)
        content = graph.SerializeToString()
        theirs = OnnxNetwork(content, read_facts(about), name=str(output), device="cpu")
        apart = _differences(ours, theirs, height, width)
        for name, difference in apart.items():
            most = MOST_APART * (facts.max_depth_m or 1 if name == "depth" else 1)
            if not difference <= most:
                raise NetworkError(
                    f"the exported network gives another {name} than {checkpoint} (by up to "
                    f"{difference:.3g}): try another version of torch, onnxscript or onnxruntime"
                )
        place.write_bytes(content)
    write_json(output.with_suffix(".json"), about)
    return apart


def _differences(
    ours: CheckpointNetwork, theirs: OnnxNetwork, height: int, width: int
) -> dict[str, float]:
    """Map -> largest difference between two networks, in the unit of the map."""
    largest = dict.fromkeys(ours.facts.maps, 0.0)
    for pictures in drawn_composites(height, width):
        shown = {name: np.roll(pictures, i, axis=2) for i, name in enumerate(ours.facts.inputs)}
        expected, found = ours(shown), theirs(shown)
        for name in largest:
            difference = float(np.abs(expected[name] - found[name]).max())
            largest[name] = max(largest[name], difference)
    return largest


class Answers(nn.Module):
    """A network with its answers in their units: pictures (N, 3, H, W) in 0..1 -> maps (N, h, w).

    Args:
        network: Gives the maps.
        answer: `models.answer`, which makes a share 0..1 of a raw output.
        maps: Which maps it answers, `mask`, `depth` or both.
        scale: The greatest depth [m]; 1 when the depth is relative.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        answer: Callable[..., torch.Tensor],
        maps: tuple[str, ...],
        scale: float,
    ) -> None:
        super().__init__()
        self.network, self._answer, self._maps, self._scale = network, answer, maps, scale

    def forward(self, *pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = self.network(torch.cat(pictures, dim=1) if len(pictures) > 1 else pictures[0])
        scales = {"mask": 1.0, "depth": self._scale}
        return tuple(
            self._answer(self.network, outputs, name)[:, 0] * scales[name] for name in self._maps
        )


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


def network_graph(
    answers: Answers, size: tuple[int, int], *, facts: NetworkFacts, free_by: int = 0
) -> "ModelProto":
    """A network as an ONNX graph, weights inside; the batch is free.

    Args:
        answers: In evaluation mode.
        size: Height and width [px].
        facts: Of the network: what the inputs and outputs are called.
        free_by: Not 0 = height and width are free, as multiples of this.

    Raises:
        NetworkError: The network cannot be exported.
    """
    check_packages()
    free: dict[int, Any] = {0: torch.export.Dim("batch")}
    if free_by:
        most = LARGEST_SIDE_PX // free_by
        free |= {2: free_by * torch.export.Dim("rows", max=most)}
        free |= {3: free_by * torch.export.Dim("columns", max=most)}
    examples = tuple(torch.rand(2, 3, *size) for _ in facts.inputs)  # one would fix the batch at 1
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of torch's own deprecations
            program = torch.onnx.export(
                answers,
                examples,
                dynamo=True,
                dynamic_shapes=((free,) * len(examples),),
                input_names=list(facts.inputs),
                output_names=list(facts.maps),
                verbose=False,
            )
    except Exception as error:  # of the exporter: many kinds, without a common parent of its own
        advice = "leave --any-size out, or " if free_by else ""
        raise NetworkError(
            f"the network cannot be exported ({printable(one_line(error))}): {advice}try another "
            "version of torch or onnxscript"
        ) from error
    assert program is not None  # it is with dynamo=True
    model = program.model_proto
    _forget_source(model)
    return model


def _forget_source(model: "ModelProto") -> None:
    """Removes where in the source code each node was, with paths of the machine."""
    graph = model.graph
    for part in (*graph.node, *graph.input, *graph.output, graph, model):
        del part.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
    del graph.value_info[:]


def drawn_composites(height: int, width: int) -> list[np.ndarray]:
    """Batches of one and of three to compare networks with, noise over a ramp: uint8 (N,H,W,3)."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, width)[None, None, :, None]
    noises = [rng.integers(0, 56, (count, height, width, 3)) for count in (1, 3)]
    return [(ramp + noise).astype(np.uint8) for noise in noises]


def check_packages() -> None:
    """Raises NetworkError unless what writes and reads ONNX graphs is installed."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        extra_module(package, extra="teachers", purpose="export-model", error=NetworkError)
