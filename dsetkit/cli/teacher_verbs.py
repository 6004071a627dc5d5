"""Verbs and flags about teachers: parsers only, no logic."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dsetkit.arguments import (
    BATCH,
    DEPTH_M,
    INVERSE_DEPTH,
    NEARNESS,
    PIXEL_MEAN,
    PIXEL_STD,
    REACH,
    SIDE_PX,
    device,
)
from dsetkit.cli.flags import AddArgument, Verbs, add_verb, refuse_flags
from dsetkit.console import progress_bar
from dsetkit.errors import TeacherError

if TYPE_CHECKING:
    from dsetkit.compositing import Nearness
    from dsetkit.labels import TeacherChoice
    from dsetkit.teachers import TeacherOptions


def add_teacher_verbs(verbs: Verbs) -> None:
    """Adds relabel and export-model."""
    for add in (_add_relabel, _add_export_model):
        add(verbs)


def add_teacher_flags(add: AddArgument, *, default: str | None) -> None:
    """Adds `--teacher` and its options; a `default` of None makes `--teacher` required."""
    add(
        "--teacher",
        default=default,
        required=default is None,
        metavar="NAME",
        help="the depth network: bundled, checkpoint:FILE, densedepth:FILE, densedepth-kitti:FILE, "
        "hf:MODEL_OR_DIR, onnx:FILE or none",
    )
    add(
        "--teacher-kind",
        choices=("metric", "relative"),
        help="kind of depth that hf and onnx models answer, if the model does not say",
    )
    add(
        "--teacher-max-depth",
        type=DEPTH_M,
        metavar="M",
        help="hf and onnx: larger depths are invalid [m] (default: the model's)",
    )
    add(
        "--teacher-range",
        type=INVERSE_DEPTH,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="relative hf and onnx: inverse depths that become 0 and 1 (default: measured)",
    )
    add(
        "--teacher-size",
        type=SIDE_PX,
        metavar="PX",
        help="height of the composites that the teacher sees [px] (default: the model's)",
    )
    add("--teacher-flip", action="store_true", help="average with the depth of the mirror image")
    for name, kind, what in (
        ("mean", PIXEL_MEAN, "subtracted from pixels"),
        ("std", PIXEL_STD, "pixels are divided by it"),
    ):
        add(
            f"--teacher-{name}",
            type=kind,
            nargs=3,
            metavar=("R", "G", "B"),
            help=f"onnx: {what} in 0..1 (default: from its .json)",
        )
    add(
        "--teacher-precision",
        default="auto",
        choices=("auto", "fp32", "bf16", "fp16"),
        help="number format of torch networks; auto is fp32, on CUDA too: bf16 rounds depth to "
        "steps of up to 0.8 %%, fp16 (CUDA only) of up to 0.1 %%",
    )
    add(
        "--teacher-compile",
        action="store_true",
        help="run torch networks through torch.compile: starts later; last bits of depth differ",
    )
    add(
        "--teacher-engine",
        default="auto",
        choices=("auto", "onnxruntime", "openvino"),
        help="what runs bundled and onnx teachers; openvino (CPU) computes in bf16 where the CPU "
        "can: faster, other last digits; auto: openvino for bundled where it is installed and the "
        "CPU can, else onnxruntime",
    )
    add("--batch-size", type=BATCH, default=32, metavar="N", help="samples seen at once")
    add("--device", type=device, default="auto", help="where the teacher runs: auto, cpu or cuda")


def add_scene_flags(add: AddArgument, *, default: str | None) -> None:
    """Adds --depth-of and --nearness; a `default` of None keeps what a dataset has."""
    add(
        "--depth-of",
        default=default,
        choices=("composite", "scene"),
        help="composite: the teacher sees every composite; scene: it sees each background once, "
        "and foregrounds are planes in front of what they hide"
        + ("" if default else " (default: as the dataset was labelled)"),
    )
    add(
        "--nearness",
        type=NEARNESS,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="scene: depth of a foreground as a share of the nearest depth that it hides (default: "
        "0.45 0.75)",
    )
    add(
        "--nearness-by",
        choices=("size", "chance"),
        help="scene: what places a foreground in that range; size: the larger it is in the "
        "picture, the nearer it is; chance: it is drawn (default: size)",
    )


def nearness_of(args: argparse.Namespace, *, is_scene: bool) -> "Nearness":
    """What `--nearness` and `--nearness-by` say.

    Raises:
        DsetkitError: One is given without scene depth.
    """
    from dsetkit.compositing import Nearness

    if not is_scene:
        refuse_flags(args, ("nearness", "nearness_by"), without="--depth-of scene")
    settings = {"by": args.nearness_by} if args.nearness_by else {}
    if args.nearness:
        settings |= dict(zip(("low", "high"), args.nearness, strict=True))
    return Nearness(**settings)


def add_label_flags(add: AddArgument) -> None:
    """Adds --teacher-edges and --teacher-check."""
    add(
        "--teacher-edges",
        type=REACH,
        metavar="SHARE",
        help="correct depth within this distance of the alpha's edges, a share of the shorter "
        "side: it is taken from farther inside the foreground or the background, so that depth "
        "edges lie at the alpha's; 0 = no correction (default: bundled 0.0625, others 0)",
    )
    add(
        "--teacher-check",
        type=Path,
        metavar="FILE.png",
        help="only label 16 samples and write a contact sheet of them there",
    )


def teacher_choice(args: argparse.Namespace) -> "TeacherChoice":
    """The teacher that the flags of `add_teacher_flags` and `add_label_flags` choose."""
    from dsetkit.labels import TeacherChoice

    return TeacherChoice(
        name=args.teacher,
        options=teacher_options(args),
        edge_reach=args.teacher_edges,
        batch_size=args.batch_size,
        device=args.device,
    )


def teacher_options(args: argparse.Namespace) -> "TeacherOptions":
    """The options that the flags of `add_teacher_flags` give."""
    from dsetkit.teachers import TeacherOptions

    return TeacherOptions(
        kind=args.teacher_kind,
        max_depth_m=args.teacher_max_depth,
        size=args.teacher_size,
        flip=args.teacher_flip,
        value_range=tuple(args.teacher_range) if args.teacher_range else None,
        mean=tuple(args.teacher_mean) if args.teacher_mean else None,
        std=tuple(args.teacher_std) if args.teacher_std else None,
        precision=args.teacher_precision,
        compiled=args.teacher_compile,
        engine=args.teacher_engine,
    )


def require_teacher(name: str) -> None:
    """Makes sure that --teacher-check has depth to show.

    Raises:
        TeacherError: `--teacher none`.
    """
    if name == "none":
        raise TeacherError("--teacher-check with --teacher none: there is no depth to show")


def _add_relabel(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "relabel",
        _relabel,
        "make or continue a dataset of the same samples with the depth of another teacher",
    )
    add = parser.add_argument
    add("dataset", type=Path, metavar="DATASET", help="the dataset's directory; it is not changed")
    add("--output", type=Path, required=True, metavar="NEW", help="directory to write")
    add_scene_flags(add, default=None)
    add_teacher_flags(add, default=None)
    add_label_flags(add)


def _relabel(args: argparse.Namespace) -> None:
    from dsetkit.datasets import Dataset
    from dsetkit.generating import SceneDepth
    from dsetkit.verbs.relabel import relabel
    from dsetkit.verbs.teacher_check import check_teacher

    is_scene = args.depth_of == "scene"
    if args.depth_of is None:
        is_scene = Dataset(args.dataset).manifest.has_scene_depth
    nearness = nearness_of(args, is_scene=is_scene)
    scene = SceneDepth(nearness=nearness) if is_scene else None
    make = partial(relabel, args.dataset, teacher=teacher_choice(args), scene=scene)
    if args.teacher_check:
        require_teacher(args.teacher)
        count = check_teacher(
            args.teacher_check,
            name=args.output.name,
            make=lambda output, most: make(output, at_most=most),
        )
        print(f"{args.teacher_check}: {count} samples; omit --teacher-check to relabel all")
        return
    with progress_bar("relabel") as progress:
        manifest = make(args.output, progress=progress)
    print(f"{args.output}: {manifest.num_samples:,} samples, complete")


def _add_export_model(verbs: Verbs) -> None:
    add = add_verb(
        verbs,
        "export-model",
        _export_model,
        "write a checkpoint as ONNX with a .json, for predict.py and --teacher onnx:FILE",
    ).add_argument
    add("checkpoint", type=Path, metavar="CHECKPOINT", help="a .safetensors of a training")
    add("--output", type=Path, required=True, metavar="FILE.onnx", help="file to write")
    add(
        "--size",
        type=SIDE_PX,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="size of its input [px] (default: the size it was trained at)",
    )
    add(
        "--any-size",
        action="store_true",
        help="leave height and width free, so that pictures keep their shape; not every network "
        "can be exported so",
    )


def _export_model(args: argparse.Namespace) -> None:
    from dsetkit.verbs.export_model import export_model

    size = tuple(args.size) if args.size else None
    apart = export_model(args.checkpoint, args.output, size=size, any_size=args.any_size)
    differences = ", ".join(f"{name} {difference:.2g}" for name, difference in apart.items())
    print(f"{args.output}: differs from {args.checkpoint} by at most: {differences}")
