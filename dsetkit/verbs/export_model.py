"""export-model: a depth checkpoint as a pair for `--teacher onnx:FILE`: FILE.onnx and FILE.json.

The graph takes float32 (N, 3, h, w) RGB in 0..1 and gives (N, h', w'): metres when the checkpoint
is metric, relative inverse depth in 0..1 when not. The batch stays free; height and width are
fixed, for not every network can be exported with free ones. Written and read back: the two answers
are compared.
"""

import json
from pathlib import Path

import numpy as np

from dsetkit.errors import TeacherError
from dsetkit.files import write_whole
from dsetkit.teachers.checkpoint import CheckpointTeacher
from dsetkit.teachers.onnx_export import (
    DepthMap,
    check_packages,
    depth_graph,
    drawn_composites,
    folded,
)
from dsetkit.teachers.onnx_file import OnnxTeacher
from dsetkit.teachers.options import TeacherOptions
from dsetkit.teachers.repository_models import repository_models
from dsetkit.teachers.resizing import fitted_size

MOST_APART = 1e-3  # of the greatest depth: a larger difference is no rounding


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
        TeacherError: A package or the repository's networks are missing, no such checkpoint, a size
            that does not fit, the network cannot be exported, or the two differ.
    """
    if output.suffix != ".onnx":
        raise TeacherError(f"--output {output}: expected a name that ends in .onnx")
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
