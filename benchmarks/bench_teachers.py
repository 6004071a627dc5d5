"""Measures images per second and the size of teachers, at 224 px and at each teacher's own size.

    python -m benchmarks.bench_teachers [--teachers bundled densedepth ...] [--batch-size 4]

The networks of other projects are built at their published sizes with random weights. So nothing is
downloaded, and speed does not depend on the weights. Only speed is measured; the labels are
meaningless. The time is that for which `generate` waits: from uint8 composites to float32 depth,
with all preprocessing and postprocessing.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from unittest import mock

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.common import keep, rounds
from dsetkit.arguments import BATCH, COUNT, POSITIVE, Parser
from dsetkit.devices import pick_device
from dsetkit.teachers import (
    Teacher,
    TeacherOptions,
    densedepth,
    huggingface,
    load_teacher,
)
from dsetkit.teachers.densedepth_network import DenseDepth

CANVAS_PX = 224
RANDOM = "random weights: only speed is measured"


@dataclass(frozen=True)
class Candidate:
    """A teacher to measure.

    Attributes:
        spec: Value of `--teacher`.
        sizes: Heights of the composites it is shown [px]. These are the height of the canvas and
            None for its own; for teachers that take any size, the one they were trained at.
        build: Builds processor (None if there is none) and network with random weights. None: the
            teacher has its own weights.
    """

    spec: str
    sizes: tuple[int | None, ...]
    build: Callable[[], tuple[object, nn.Module]] | None = None


# ---- the networks, at their published sizes ----------------------------------------------------
# From the scripts with which `transformers` converted the published weights.


def _densedepth() -> tuple[None, nn.Module]:
    return None, DenseDepth()


def _depth_anything_small() -> tuple[object, nn.Module]:
    import transformers as tf

    size = {"height": 518, "width": 518}
    processor = tf.DPTImageProcessor(size=size, keep_aspect_ratio=True, ensure_multiple_of=14)
    return processor, tf.DepthAnythingForDepthEstimation(tf.DepthAnythingConfig())


def _glpn() -> tuple[object, nn.Module]:
    import transformers as tf

    config = tf.GLPNConfig(
        hidden_sizes=[64, 128, 320, 512], depths=[3, 8, 27, 3], decoder_hidden_size=64
    )
    return tf.GLPNImageProcessor(), tf.GLPNForDepthEstimation(config)


def _dpt_hybrid() -> tuple[object, nn.Module]:
    import transformers as tf

    config = tf.DPTConfig(
        is_hybrid=True, reassemble_factors=[1, 1, 1, 0.5], neck_hidden_sizes=[256, 512, 768, 768]
    )
    return _dpt_processor(), tf.DPTForDepthEstimation(config)


def _dpt_large() -> tuple[object, nn.Module]:
    import transformers as tf

    config = tf.DPTConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        backbone_out_indices=[5, 11, 17, 23],
        neck_hidden_sizes=[256, 512, 1024, 1024],
    )
    return _dpt_processor(), tf.DPTForDepthEstimation(config)


def _dpt_processor() -> object:
    import transformers as tf

    return tf.DPTImageProcessor(size={"height": 384, "width": 384})


def _zoedepth() -> tuple[object, nn.Module]:
    import transformers as tf

    config = tf.ZoeDepthConfig(neck_hidden_sizes=[256, 512, 1024, 1024])
    return tf.ZoeDepthImageProcessor(), tf.ZoeDepthForDepthEstimation(config)


BUNDLED_PARAMETERS = 3_379_073  # as its card says

CANDIDATES = {
    "bundled": Candidate("bundled", (CANVAS_PX, None)),
    "densedepth": Candidate("densedepth:nyu.h5", (CANVAS_PX, 480), _densedepth),
    "depth-anything-v2-small": Candidate(
        "hf:depth-anything/Depth-Anything-V2-Small-hf", (CANVAS_PX, None), _depth_anything_small
    ),
    "glpn-nyu": Candidate("hf:vinvino02/glpn-nyu", (CANVAS_PX, 480), _glpn),
    "dpt-hybrid": Candidate("hf:Intel/dpt-hybrid-midas", (None,), _dpt_hybrid),
    "dpt-large": Candidate("hf:Intel/dpt-large", (CANVAS_PX, None), _dpt_large),
    "zoedepth-nyu": Candidate("hf:Intel/zoedepth-nyu", (CANVAS_PX, None), _zoedepth),
}


# ---- measuring ---------------------------------------------------------------------------------


class Case:
    """A loaded teacher that is shown composites of one height."""

    def __init__(
        self,
        candidate: Candidate,
        size: int | None,
        network: tuple | None,
        args: argparse.Namespace,
    ) -> None:
        options = TeacherOptions(
            size=size, precision=args.teacher_precision, compiled=args.teacher_compile
        )
        self.teacher = load_with(candidate.spec, network, device=args.device, options=options)
        self.network = network[1] if network else None  # bundled runs in ONNX Runtime
        self.composites = np.random.default_rng(0).integers(
            0, 256, (args.batch_size, CANVAS_PX, CANVAS_PX, 3), np.uint8
        )

    def label(self) -> int:
        """Label the batch and return the number of composites."""
        return len(self.teacher(self.composites))

    def shown(self) -> tuple[str, float]:
        """Return the width x height that the network sees [px], and the seconds of a batch."""
        if self.network is None:
            start = time.perf_counter()
            self.label()
            height, width = self.teacher.shown_size(CANVAS_PX, CANVAS_PX)
            return f"{width} x {height}", time.perf_counter() - start
        sizes: list[torch.Size] = []
        hook = self.network.register_forward_pre_hook(
            lambda _, inputs, named: sizes.append((*inputs, *named.values())[0].shape),
            with_kwargs=True,
        )
        start = time.perf_counter()
        self.label()
        hook.remove()
        return f"{sizes[0][3]} x {sizes[0][2]}", time.perf_counter() - start


def load_with(spec: str, network: tuple | None, *, device: str, options: TeacherOptions) -> Teacher:
    """Call `load_teacher` with a given (processor, network) instead of files."""
    if network is None:
        return load_teacher(spec, device=device, options=options)
    processor, model = network
    with (
        mock.patch.object(huggingface, "_load", lambda source, name: (processor, model)),
        mock.patch.object(huggingface, "weights_hash", lambda model: ""),
        mock.patch.object(densedepth, "load_network", lambda path, file_name: model.eval()),
        mock.patch.object(densedepth, "_sha256", lambda path: ""),
    ):
        return load_teacher(spec, device=device, options=options)


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--teachers", nargs="+", choices=CANDIDATES, default=list(CANDIDATES), metavar="NAME",
        help=f"of {', '.join(CANDIDATES)} (default: all)")  # fmt: skip
    add("--batch-size", type=BATCH, default=4, help="composites at once (default: %(default)s)")
    add("--repeat", type=COUNT, default=5, help="rounds (default: %(default)s)")
    add("--at-most", type=POSITIVE, default=60, metavar="SECONDS",
        help="left out is what takes longer for a batch (default: %(default)g)")  # fmt: skip
    add("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    add("--teacher-precision", default="auto", choices=("auto", "fp32", "bf16", "fp16"))
    add("--teacher-compile", action="store_true")
    args = parser.parse_args()

    torch.manual_seed(0)
    cases: dict[str, Case] = {}
    properties: dict[str, dict] = {}
    left_out: dict[str, str] = {}
    for name in args.teachers:
        candidate = CANDIDATES[name]
        network = candidate.build() if candidate.build else None
        for size in candidate.sizes:
            case = Case(candidate, size, network, args)
            title = f"{name}, {f'{size} px' if size else 'its own size'}"
            sees, seconds = case.shown()
            if seconds > args.at_most:
                left_out[title] = f"{seconds:.0f} s for the first batch"
                continue
            cases[title] = case
            properties[title] = {
                "parameters": sum(weight.numel() for weight in case.network.parameters())
                if case.network
                else BUNDLED_PARAMETERS,
                "network_sees_px": sees,
                "weights": "its own" if network is None else RANDOM,
            }
    rates = rounds({title: case.label for title, case in cases.items()}, repeat=args.repeat)
    heading = f"bench_teachers: {CANVAS_PX} px composites, {args.batch_size} at once"
    print_table(heading, rates, properties)
    notes = {f"left out: {title}": reason for title, reason in left_out.items()} | {
        "weights": f"{RANDOM}, but of bundled",
        "precision": args.teacher_precision + (", compiled" if args.teacher_compile else ""),
        "rounds": f"{args.repeat}, all cases in turn; device {pick_device(args.device)}, "
        f"{torch.get_num_threads()} threads",
    }
    for name, text in notes.items():
        print(f"{name}: {text}")
    keep(
        "bench_teachers",
        {"title": heading, "images_per_s": rates, "about": properties, "notes": notes},
        seeds=[0],
    )


def print_table(title: str, rates: dict[str, tuple], properties: dict[str, dict]) -> None:
    """Print one row per case."""
    table = Table(title=f"{title}; {RANDOM}, but of bundled")
    for heading in ("teacher, shown at", "parameters", "it sees [px]", "images/s (median)",
                    "lowest..highest", "ms/image"):  # fmt: skip
        table.add_column(heading, justify="left" if heading.startswith("teacher") else "right")
    for name, (median, low, high) in rates.items():
        parameters = f"{properties[name]['parameters']:,}"
        sees = properties[name]["network_sees_px"]
        speed = (f"{median:.3g}", f"{low:.3g}..{high:.3g}", f"{1000 / median:,.0f}")
        table.add_row(name, parameters, sees, *speed)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
