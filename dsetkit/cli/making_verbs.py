"""The verbs that make a dataset from pictures, and the demo: parsing only, no logic."""

import argparse
from functools import partial
from pathlib import Path

from dsetkit.cli.flags import Verbs, add_layout_flags, add_verb, at_least_1
from dsetkit.cli.teacher_verbs import (
    add_label_flags,
    add_teacher_flags,
    require_teacher,
    teacher_choice,
)
from dsetkit.console import progress_bar


def add_making_verbs(verbs: Verbs) -> None:
    """Adds demo, generate, import-rgbd, import-images."""
    for add in (_add_demo, _add_generate, _add_import_rgbd, _add_import_images):
        add(verbs)


def _add_demo(verbs: Verbs) -> None:
    add = add_verb(
        verbs,
        "demo",
        _demo,
        "the whole chain on drawn pictures: dataset, both trainings, both evaluations, a picture",
    ).add_argument
    add("--output", type=Path, default=Path("demo"), metavar="DIR", help="new folder for all of it")
    add("--samples", type=int, default=900, metavar="N", help="samples of the dataset")
    add("--epochs", type=int, default=8, metavar="N", help="epochs of each training")


def _demo(args: argparse.Namespace) -> None:
    from dsetkit.demo import demo

    demo(args.output, samples=args.samples, epochs=args.epochs)


def _add_generate(verbs: Verbs) -> None:
    add = add_verb(
        verbs,
        "generate",
        _generate,
        "make a dataset from foreground cut-outs and background photographs, or continue one",
    ).add_argument
    add("--foregrounds", type=Path, required=True, metavar="DIR", help="cut-outs with alpha")
    add("--backgrounds", type=Path, required=True, metavar="DIR", help="photographs")
    add("--output", type=Path, required=True, metavar="DATASET", help="directory to write")
    add("--num-samples", type=int, metavar="N", help="even, seeded choice of the full set")
    add("--size", type=int, default=224, metavar="PX", help="side of the square canvas [px]")
    add("--placements", type=int, default=20, help="placements of each pair and flip")
    add(
        "--scale-range",
        type=float,
        nargs=2,
        default=(0.3, 0.7),
        metavar=("LOW", "HIGH"),
        help="longer side of the foreground as a share of the canvas",
    )
    add("--placement", default="uniform", choices=("uniform", "grid"), help="grid is 5 x 4")
    add_layout_flags(add, default="rendered")
    add_teacher_flags(add, default="bundled")
    add_label_flags(add)
    add(
        "--workers",
        type=int,
        help="drawing processes, 0 = none; with --shards, shards written at a time "
        "(default: one for each core)",
    )
    add("--shards", type=at_least_1, default=1, metavar="K", help="files the dataset becomes")
    add(
        "--shard-index",
        type=int,
        metavar="I",
        help="write this shard of 0..K-1 alone: one job of an array (default: all)",
    )
    add(
        "--engine",
        default="local",
        choices=("local", "ray"),
        help="who writes the shards: processes of this machine, or tasks of a Ray cluster",
    )
    add(
        "--ray-address",
        metavar="ADDRESS",
        help="of the cluster, auto = the one this machine is in (default: start one here)",
    )
    add("--gpus-per-worker", type=float, default=0, metavar="F", help="GPUs of each Ray task")
    add("--seed", type=int, default=0, help="key of every random choice")
    add("--skip-bad", action="store_true", help="go on without unusable pictures")


def _generate(args: argparse.Namespace) -> None:
    from dsetkit.compositing import Canvas
    from dsetkit.generating import Spread, generate
    from dsetkit.verbs.teacher_check import check_teacher

    canvas = Canvas(
        size=args.size,
        placements=args.placements,
        scale_range=tuple(args.scale_range),
        placement=args.placement,
    )
    spread = Spread(
        shards=args.shards,
        shard_index=args.shard_index,
        workers=args.workers,
        engine=args.engine,
        ray_address=args.ray_address,
        gpus_per_worker=args.gpus_per_worker,
    )
    make = partial(
        generate,
        foregrounds=args.foregrounds,
        backgrounds=args.backgrounds,
        num_samples=args.num_samples,
        canvas=canvas,
        teacher=teacher_choice(args),
        layout=args.layout,
        codecs=dict(args.codec or ()),
        seed=args.seed,
        skip_bad=args.skip_bad,
    )
    if args.teacher_check:
        require_teacher(args.teacher)
        count = check_teacher(
            args.teacher_check,
            name=args.output.name,
            # In this process: for so few samples, workers would take longer to start.
            make=lambda output, most: make(output=output, at_most=most, spread=Spread(workers=0)),
        )
        print(f"{args.teacher_check}: {count} samples; without --teacher-check all are made")
        return
    with progress_bar("generate") as progress:
        manifest = make(output=args.output, spread=spread, progress=progress)
    part = f"shard {args.shard_index} of " if args.shard_index is not None else ""
    print(f"{args.output}: {part}{manifest.num_samples:,} samples, complete")


def _add_import_rgbd(verbs: Verbs) -> None:
    add = add_verb(
        verbs,
        "import-rgbd",
        _import_rgbd,
        "make a dataset of colour + depth pairs (NAME_color.jpg, NAME_depth.png in mm)",
    ).add_argument
    add("--root", type=Path, required=True, metavar="DIR", help="folder of pairs")
    add("--output", type=Path, required=True, metavar="DATASET", help="directory to write")
    add(
        "--split",
        default="auto",
        choices=("auto", "train", "val", "test"),
        help="split of all pairs; auto = train, with a share kept for val",
    )
    add("--val-share", type=float, default=0.05, help="share of val under --split auto")
    add("--max-depth", type=float, default=10.0, metavar="M", help="beyond it is invalid [m]")
    add("--seed", type=int, default=0, help="key of the choice under --split auto, and of pasting")
    add(
        "--foregrounds",
        type=Path,
        metavar="DIR",
        help="also write each pair with cut-outs pasted in front, their depth nearer than what "
        "they hide (default: pairs alone)",
    )
    add("--pastes", type=at_least_1, default=3, metavar="N", help="such copies of each pair")


def _import_rgbd(args: argparse.Namespace) -> None:
    from dsetkit.importing import import_rgbd

    with progress_bar("import-rgbd") as progress:
        count = import_rgbd(
            args.root,
            args.output,
            split=args.split,
            val_share=args.val_share,
            max_depth_m=args.max_depth,
            seed=args.seed,
            foregrounds=args.foregrounds,
            pastes=args.pastes,
            progress=progress,
        )
    print(f"{args.output}: {count:,} samples, complete")


def _add_import_images(verbs: Verbs) -> None:
    add = add_verb(
        verbs,
        "import-images",
        _import_images,
        "make a dataset of composites, masks, depths and backgrounds that are files already",
    ).add_argument
    add(
        "--system",
        required=True,
        choices=("000", "001", "002", "003", "004", "table"),
        help="whose naming rules hold; table = a CSV names the files",
    )
    add(
        "--root",
        type=Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="folders and .zip archives that the files are in",
    )
    add(
        "--table",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="CSV files that name the samples: of 000 and table, maybe of 002 and 003",
    )
    add("--output", type=Path, required=True, metavar="DATASET", help="directory to write")
    add(
        "--depth-polarity",
        choices=("far-bright", "near-bright"),
        help="what bright grey means in depths (default: the system's; needed with table)",
    )
    add(
        "--max-depth-m",
        type=float,
        metavar="M",
        help="depth of the whole grey range, if known [m] (default: depth is relative)",
    )
    add(
        "--split-by",
        choices=("asset", "sample", "table"),
        help="default: as the table says; if it does not, by asset as far as assets are known",
    )
    add("--per-background", type=int, default=800, metavar="N", help="of 003: samples in a set")
    add("--seed", type=int, default=0, help="key of the choice of splits")
    add("--jobs", type=at_least_1, metavar="N", help="threads (default: one a core, up to 8)")
    add("--skip-bad", action="store_true", help="go on without samples that cannot be used")


def _import_images(args: argparse.Namespace) -> None:
    from dsetkit.importing import import_images

    with progress_bar("import-images") as progress:
        manifest = import_images(
            args.root,
            args.output,
            system=args.system,
            tables=args.table or (),
            depth_polarity=args.depth_polarity,
            max_depth_m=args.max_depth_m,
            split_by=args.split_by,
            per_background=args.per_background,
            seed=args.seed,
            jobs=args.jobs,
            skip_bad=args.skip_bad,
            progress=progress,
        )
    print(f"{args.output}: {manifest.num_samples:,} samples, complete")
