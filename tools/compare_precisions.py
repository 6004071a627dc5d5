"""Compares ways to run the bundled teacher: its scores, its labels and its speed by precision.

    python -m dsetkit import-rgbd --root nyu/test_dev --output data/nyu_test --split test
    python -m tools.compare_precisions --data data/nyu_test --calibrate-with nyu/train

    torch       the checkpoint through torch, fp32
    fp32        the bundled ONNX file
    fp16        the same converted to fp16, input and output float32
    int8        quantised (8-bit activations and weights, a scale for each channel), calibrated on
                every eighth frame; the head stays in fp32
    openvino    the bundled ONNX file through OpenVINO, in bf16 where the CPU has it

Speed: 224 px squares in batches of 32, all ways in turn, medians; beside it the CPU time. Labels
are compared with those of torch on the frames of --data, without the mirrored picture.
"""

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16
from rich.console import Console
from rich.table import Table

from dsetkit import SampleDataset
from dsetkit.arguments import COUNT, JOBS, Parser
from dsetkit.teachers import Teacher, TeacherOptions, load_teacher
from dsetkit.teachers.bundled import BUNDLED
from tools.bundle_teacher import CHECKPOINT
from training.scoring.metrics import DepthMetrics
from training.scoring.protocols import Protocol

BATCH, CANVAS_PX, SHOWN = 32, 224, (192, 256)


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", required=True, metavar="DATASET", help="measured depth to score on")
    add("--calibrate-with", type=Path, required=True, metavar="DIR", help="NAME_color.jpg files")
    add("--threads", type=JOBS, default=None, metavar="N", help="(default: one a core)")
    add("--repeat", type=COUNT, default=15, metavar="N", help="batches timed (default: 15)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = {"fp32": BUNDLED} | converted(Path(folder), args.calibrate_with)
        specs = {"torch": f"checkpoint:{CHECKPOINT}"}
        specs |= {name: f"onnx:{file}" for name, file in files.items()}
        threads = args.threads or torch.get_num_threads()
        teachers = {name: _loaded(spec, threads=threads) for name, spec in specs.items()}
        teachers["openvino"] = _loaded("bundled", threads=threads, engine="openvino")
        sizes = {"torch": CHECKPOINT.stat().st_size}
        sizes |= {name: file.stat().st_size for name, file in files.items()}
        sizes["openvino"] = BUNDLED.stat().st_size
    seconds, cpu_seconds = timed(teachers, args.repeat)
    scores, apart = scored(teachers, args.data)
    table = Table(
        "way", "MB", "images/s", "CPU ms/image", "δ1", "RMSE [m]", "apart, mean [mm]", "99 %", "max"
    )
    for name in teachers:
        metrics = scores[name]
        far = np.concatenate(apart[name]) * 1000
        table.add_row(
            name,
            f"{sizes[name] / 1e6:.1f}",
            f"{BATCH / np.median(seconds[name]):.1f}",
            f"{1000 * np.median(cpu_seconds[name]) / BATCH:.2f}",
            f"{metrics['delta_1_per_image']:.4f}",
            f"{metrics['rmse_m_per_image']:.4f}",
            *(f"{value:.3g}" for value in (far.mean(), np.quantile(far, 0.99), far.max())),
        )
    Console(width=120).print(table)


def converted(folder: Path, pictures: Path) -> dict[str, Path]:
    """The other precisions of the bundled file, each with its JSON, by name."""
    plain, files = (
        folder / "plain.onnx",
        {name: folder / f"{name}.onnx" for name in ("fp16", "int8")},
    )
    quant_pre_process(BUNDLED, plain, skip_symbolic_shape=True)  # also folds what is constant
    onnx.save(convert_float_to_float16(onnx.load(plain), keep_io_types=True), files["fp16"])
    nodes = onnx.load(plain).graph.node
    convolutions = [node.name for node in nodes if node.op_type == "Conv"]
    head = [convolutions[-1], *(n.name for n in nodes if n.op_type in ("Exp", "Mul", "Sigmoid"))]
    quantize_static(
        plain,
        files["int8"],
        _Frames(pictures),
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8,
        nodes_to_exclude=head,
    )
    for file in files.values():
        file.with_suffix(".json").write_text(BUNDLED.with_suffix(".json").read_text())
    return files


class _Frames(CalibrationDataReader):
    """Every eighth frame of a folder, as the network is shown it."""

    def __init__(self, folder: Path) -> None:
        self._files = iter(sorted(folder.glob("*_color.jpg"))[::8])

    def get_next(self) -> dict[str, np.ndarray] | None:
        file = next(self._files, None)
        if file is None:
            return None
        picture = cv2.resize(cv2.imread(str(file))[..., ::-1], SHOWN[::-1])
        return {"composite": picture.transpose(2, 0, 1)[None].astype(np.float32) / 255}


def timed(teachers: dict[str, Teacher], repeat: int) -> tuple[dict, dict]:
    """Seconds and CPU seconds of each batch, by teacher."""
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 256, (BATCH, CANVAS_PX, CANVAS_PX, 3), np.uint8)
    seconds: dict = {name: [] for name in teachers}
    cpu_seconds: dict = {name: [] for name in teachers}
    for _ in range(repeat + 1):
        for name, teacher in teachers.items():
            wall, cpu = time.perf_counter(), time.process_time()
            teacher(batch)
            seconds[name].append(time.perf_counter() - wall)
            cpu_seconds[name].append(time.process_time() - cpu)
    return tuple({k: v[1:] for k, v in one.items()} for one in (seconds, cpu_seconds))


def scored(teachers: dict[str, Teacher], path: str) -> tuple[dict, dict]:
    """Scores by the protocol nyu with flip averaging, and distances from torch's labels [m]."""
    data = SampleDataset(path, split="test", size=None, fields=("composite", "depth"))
    greatest = data.manifest.max_depth_m
    protocol = Protocol(
        name="nyu", depth_kind="metric", max_depth_m=greatest, prediction_kind="metric", tta="flip"
    )
    metrics = {
        name: DepthMetrics(**protocol.options(), prediction_kind="metric") for name in teachers
    }
    apart: dict = {name: [] for name in teachers}
    for sample in data:
        picture = sample["composite"].permute(1, 2, 0).numpy()[None]
        reference = None
        for name, teacher in teachers.items():
            plain = teacher(picture)
            reference = plain if reference is None else reference
            apart[name].append(np.abs(plain - reference).ravel())
            depth = (plain + teacher(picture[:, :, ::-1])[..., ::-1]) / 2
            prediction = torch.from_numpy(depth)[:, None] / greatest
            metrics[name].update(prediction, sample["depth"][None])
    return {name: one.compute() for name, one in metrics.items()}, apart


def _loaded(spec: str, *, threads: int, engine: str = "auto") -> Teacher:
    options = TeacherOptions(engine=engine)
    teacher = load_teacher(spec, device="cpu", options=options, threads=threads)
    assert teacher is not None
    return teacher


if __name__ == "__main__":
    main()
