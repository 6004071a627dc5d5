"""Writes dsetkit/networks/resize.onnx, the graph that brings composites to a network's size.

    python -m tools.resize_graph

    composites  uint8 (N, H, W, 3) RGB       size   int64 (2,), height and width [px]
    scale       float32 (1, 3, 1, 1)         shift  float32 (1, 3, 1, 1)
    batch       float32 (N, 3, h, w) = resized composites * scale + shift

The filter is that of `torch.nn.functional.interpolate(mode="bilinear", antialias=True)`.
"""

from onnx import ModelProto, TensorProto, checker, helper

from dsetkit.networks.resizing import RESIZE_GRAPH


def resize_graph() -> ModelProto:
    """The graph."""
    nodes = [
        helper.make_node("Transpose", ["composites"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node(
            "Resize",
            ["pixels", "", "", "size"],
            ["resized"],
            mode="linear",
            axes=[2, 3],
            antialias=1,
            exclude_outside=1,  # weights of taps outside the picture go to those inside, as torch's
            coordinate_transformation_mode="half_pixel",
        ),
        helper.make_node("Mul", ["resized", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["batch"]),
    ]
    channels = [1, 3, 1, 1]
    inputs = [
        helper.make_tensor_value_info("composites", TensorProto.UINT8, ["n", "height", "width", 3]),
        helper.make_tensor_value_info("size", TensorProto.INT64, [2]),
        helper.make_tensor_value_info("scale", TensorProto.FLOAT, channels),
        helper.make_tensor_value_info("shift", TensorProto.FLOAT, channels),
    ]
    output = helper.make_tensor_value_info("batch", TensorProto.FLOAT, ["n", 3, "h", "w"])
    graph = helper.make_graph(nodes, "resize", inputs, [output])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8, producer_name="dsetkit"
    )
    checker.check_model(model)
    return model


def main() -> None:
    RESIZE_GRAPH.write_bytes(resize_graph().SerializeToString())
    print(f"{RESIZE_GRAPH}: {RESIZE_GRAPH.stat().st_size} bytes")


if __name__ == "__main__":
    main()
