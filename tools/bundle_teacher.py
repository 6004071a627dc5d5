"""Makes the bundled teacher of a training's weights, in two files that answer alike.

    python -m tools.bundle_teacher runs/teacher/best.safetensors

    models/checkpoints/bundled_teacher.safetensors  where trainings can start from, float16
    dsetkit/teachers/bundled.onnx, bundled.json     what the package runs

The graph computes in float32 and keeps each weight as the checkpoint does, in float16; ONNX Runtime
widens it and folds the batch norm into it when it opens the file, bit for bit as torch does. Given
the checkpoint that is bundled already, it writes the same graph again.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import nn

from dsetkit.arguments import Parser
from dsetkit.networks.checkpoint import CheckpointNetwork
from dsetkit.networks.onnx_export import (
    Answers,
    batch_norm_scale,
    drawn_composites,
    folded,
    network_graph,
)
from dsetkit.teachers.bundled import BUNDLED, STRIDE
from dsetkit.teachers.checkpoint import CheckpointTeacher
from dsetkit.teachers.onnx_file import OnnxTeacher
from dsetkit.teachers.options import TeacherOptions
from models import answer, load_model, save_model
from models.efficientnet_lite import ConvBN

CHECKPOINT = Path(__file__).parents[1] / "models" / "checkpoints" / "bundled_teacher.safetensors"
MOST_APART_M = 1e-4
SIZES = ((192, 192), (192, 256), (224, 224), (100, 224))  # compared at, height and width [px]


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="weights written by train_depth.py")
    args = parser.parse_args()
    net, metadata = load_model(args.checkpoint, needs="depth")
    if args.checkpoint.resolve() != CHECKPOINT:
        save_model(CHECKPOINT, net, metadata, dtype="float16")
        net, _ = load_model(CHECKPOINT)
    BUNDLED.write_bytes(bundled_graph(net, metadata).SerializeToString())
    BUNDLED.with_suffix(".json").write_text(json.dumps(told_of(metadata), indent=2) + "\n")
    for path in (CHECKPOINT, BUNDLED):
        print(f"{path}: {path.stat().st_size:,} bytes")
    apart = largest_difference()
    print(f"largest difference between the two: {apart:.2g} m")
    if not apart <= MOST_APART_M:
        raise SystemExit(f"expected at most {MOST_APART_M:g} m: do not commit these files")


def bundled_graph(net: nn.Module, metadata: dict) -> ModelProto:
    """The graph, of any batch and of sides that are multiples of the network's stride."""
    assert metadata["depth_kind"] == "metric" and net.stride == STRIDE
    scale = metadata["max_depth_m"]
    answers = Answers(folded(net, ConvBN), answer=answer, maps=("depth",), scale=scale).eval()
    facts = CheckpointNetwork(CHECKPOINT, device="cpu").facts
    model = network_graph(answers, tuple(metadata["img_size"]), facts=facts, free_by=STRIDE)
    double_by_factor(model)
    keep_weights_in_half(model, net)
    model.producer_name, model.producer_version = "dsetkit", ""
    model.doc_string = "dsetkit's bundled depth teacher; research use, see BUNDLED.md"
    onnx.checker.check_model(model, full_check=True)
    return model


def told_of(metadata: dict) -> dict:
    """The JSON beside the graph, as `dsetkit.teachers.onnx_file` reads it."""
    return {
        "kind": metadata["depth_kind"],
        "max_depth_m": metadata["max_depth_m"],
        "height": metadata["img_size"][0],
        "width": None,
        "stride": STRIDE,
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        "licence": "research use, as NYU Depth V2",
    }


def double_by_factor(model: ModelProto) -> None:
    """Says of each Resize that it doubles, in place of the size of the skip that it is added to.

    Both are the same, sides being multiples of the stride; but by a factor ONNX Runtime resizes in
    the layout of its convolutions, four times faster.
    """
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.float32([1, 1, 2, 2]), "doubled"))
    for node in graph.node:
        if node.op_type == "Resize":
            del node.input[1:]
            node.input.extend(["", "doubled"])
    _drop_unused(model)


def keep_weights_in_half(model: ModelProto, net: nn.Module) -> None:
    """Stores weights of the checkpoint's precision in it: float16, with what widens and scales.

    Args:
        model: Its initializers are named as the parameters of the folded network.
        net: The network before it was folded.
    """
    scales = {  # weight in the graph -> (weight of the checkpoint, scale of the batch norm)
        f"network.{name}.{1 if layer.conv.stride == (2, 2) else 0}.weight": (
            layer.conv.weight,
            batch_norm_scale(layer),
        )
        for name, layer in net.named_modules()
        if isinstance(layer, ConvBN)
    }
    graph, nodes = model.graph, []
    weights = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    for stored in [one for one in graph.initializer if one.name in weights]:
        values = numpy_helper.to_array(stored)
        name, scale = stored.name, None
        if name in scales:
            weight, scale = (tensor.detach().numpy() for tensor in scales.pop(name))
            assert np.array_equal(weight * scale, values), name
            values = weight
        half = values.astype(np.float16)
        assert np.array_equal(half.astype(np.float32), values), f"{name} is not float16"
        graph.initializer.remove(stored)
        graph.initializer.append(numpy_helper.from_array(half, f"{name}.half"))
        wide = name if scale is None else f"{name}.wide"
        nodes.append(helper.make_node("Cast", [f"{name}.half"], [wide], to=TensorProto.FLOAT))
        if scale is not None:
            graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
            nodes.append(helper.make_node("Mul", [wide, f"{name}.scale"], [name]))
    assert not scales, f"not in the graph: {sorted(scales)}"
    for node in reversed(nodes):
        graph.node.insert(0, node)


def largest_difference() -> float:
    """Between the two files' answers for drawn composites of several sizes [m]."""
    ours = CheckpointTeacher(CHECKPOINT)
    theirs = OnnxTeacher(BUNDLED, device="cpu", options=TeacherOptions())
    shown = [batch for size in SIZES for batch in drawn_composites(*size)]
    return max(float(np.abs(ours(batch) - theirs(batch)).max()) for batch in shown)


def _drop_unused(model: ModelProto) -> None:
    """Removes nodes and constants that nothing reads."""
    graph = model.graph
    results = {output.name for output in graph.output}
    while True:
        read = results | {name for node in graph.node for name in node.input}
        unread = [node for node in graph.node if not read & set(node.output)]
        for node in unread:
            graph.node.remove(node)
        if not unread:
            break
    for stored in list(graph.initializer):
        if stored.name not in read:
            graph.initializer.remove(stored)


if __name__ == "__main__":
    main()
