"""Verbs that make a dataset from pictures, and the demo: parsers only, no logic."""

import argparse
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dsetkit.arguments import (
    CANVAS_PX,
    COPIES,
    COUNT,
    CUT_OUT_PX,
    DEPTH_M,
    FEATHER_PX,
    GPUS,
    INDEX,
    JOBS,
    MARGIN_PX,
    OBJECTS,
    PIXEL_MEAN,
    PIXEL_STD,
    PLACEMENTS,
    POSITIVE,
    SCALE,
    SEED,
    SHARDS,
    SHARE,
    SIDE_PX,
    UNITS_PER_M,
    WORKERS,
    device,
)
from dsetkit.cli.flags import Verbs, add_layout_flags, add_verb, print_left_out, refuse_flags
from dsetkit.cli.teacher_verbs import (
    add_label_flags,
    add_scene_flags,
    add_teacher_flags,
    nearness_of,
    require_teacher,
    teacher_choice,
)
from dsetkit.console import progress_bar
from dsetkit.errors import AssetError
from dsetkit.store import HARMONISED

if TYPE_CHECKING:
    from dsetkit.compositing import Standing
    from dsetkit.generating import SceneDepth


def add_making_verbs(verbs: Verbs) -> None:
    """Adds demo, cut-outs, generate, import-rgbd and import-images."""
    for add in (_add_demo, _add_cut_outs, _add_generate, _add_import_rgbd, _add_import_images):
        add(verbs)


def _add_demo(verbs: Verbs) -> None:
    add = add_verb(
        verbs,
        "demo",
        _demo,
        "draw pictures, make a dataset of them, train and evaluate both networks, show the result",
    ).add_argument
    add("--output", type=Path, default=Path("demo"), metavar="DIR", help="new folder for all files")
    add("--samples", type=COUNT, default=900, metavar="N", help="samples of the dataset")
    add("--epochs", type=COUNT, default=8, metavar="N", help="epochs of each training")


def _demo(args: argparse.Namespace) -> None:
    from dsetkit.demo import demo

    demo(args.output, samples=args.samples, epochs=args.epochs)


def _add_cut_outs(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "cut-outs",
        _cut_outs,
        "make foregrounds with clean edges from pictures and their masks, or with a matting model",
    )
    add = parser.add_argument
    add("--images", type=Path, metavar="DIR", help="pictures; --hf has its own")
    masks = parser.add_mutually_exclusive_group(required=True)
    masks.add_argument(
        "--coco", type=Path, metavar="FILE.json", help="annotations of instances: one file for each"
    )
    masks.add_argument(
        "--masks",
        type=Path,
        metavar="DIR",
        help="grey pictures with the names of the pictures, 255 = foreground",
    )
    masks.add_argument(
        "--model",
        type=Path,
        metavar="FILE.onnx",
        help="a network as rembg uses them: float32 (N, 3, S, S) in, a map out",
    )
    masks.add_argument(
        "--hf",
        type=Path,
        metavar="NAME_OR_DIR",
        help="a dataset of Hugging Face with pictures and masks: its name on the Hub, or a folder "
        "(of save_to_disk, or of parquet)",
    )
    add("--image-column", default="image", metavar="NAME", help="of --hf: the pictures")
    add("--mask-column", default="mask", metavar="NAME", help="of --hf: their masks")
    add("--split", metavar="NAME", help="of --hf: only this split (default: all)")
    add("--output", type=Path, required=True, metavar="DIR", help="folder to write")
    add("--min-side", type=CUT_OUT_PX, default=32, metavar="PX", help="leave out smaller ones [px]")
    add("--margin", type=MARGIN_PX, default=2, metavar="PX", help="transparent border [px]")
    add(
        "--feather",
        type=FEATHER_PX,
        default=0.7,
        metavar="PX",
        help="blur of edges that are hard in the mask, as a standard deviation [px]",
    )
    add(
        "--size",
        type=SIDE_PX,
        metavar="PX",
        help="side of the square that the model sees [px] (default: the model's own, else 320)",
    )
    rgb = ("R", "G", "B")
    add(
        "--mean",
        type=PIXEL_MEAN,
        nargs=3,
        default=[0.485, 0.456, 0.406],
        metavar=rgb,
        help="of the model: subtracted from RGB in 0..1 (IS-Net: 0.5 0.5 0.5)",
    )
    add(
        "--std",
        type=PIXEL_STD,
        nargs=3,
        default=[0.229, 0.224, 0.225],
        metavar=rgb,
        help="of the model: what it is then divided by (IS-Net: 1 1 1)",
    )
    add("--device", type=device, default="auto", help="of the model: auto, cpu, cuda or cuda:N")
    add("--jobs", type=JOBS, default=os.cpu_count(), metavar="N", help="processes, without a model")
    add("--skip-bad", action="store_true", help="leave out pictures that cannot be used")


def _cut_outs(args: argparse.Namespace) -> None:
    from dsetkit.cutting import (
        CocoMasks,
        Cutting,
        HuggingFaceMasks,
        MaskFolder,
        MattingModel,
        cut_outs,
    )

    if args.images is not None and args.hf is not None:
        raise AssetError("--hf has pictures of its own: leave --images out")
    images = args.images if args.hf is None else args.hf
    if images is None:
        raise AssetError("--images is missing: expected the folder of pictures")
    source: CocoMasks | HuggingFaceMasks | MaskFolder | MattingModel
    if args.hf is not None:
        source = HuggingFaceMasks(args.image_column, args.mask_column, args.split)
    elif args.coco:
        source = CocoMasks(args.coco)
    elif args.masks:
        source = MaskFolder(args.masks)
    else:
        source = MattingModel(
            args.model,
            mean=tuple(args.mean),
            std=tuple(args.std),
            side=args.size,
            device=args.device,
        )
    with progress_bar("cut-outs") as progress:
        done = cut_outs(
            args.output,
            images,
            source,
            cutting=Cutting(
                margin_px=args.margin, min_side_px=args.min_side, feather_px=args.feather
            ),
            jobs=args.jobs,
            skip_bad=args.skip_bad,
            progress=progress,
        )
    print_left_out(done.bad)
    counts = {"already there": done.kept, f"under {args.min_side} px": done.small}
    counts |= {"crowds": done.crowds}
    others = "".join(f", {count:,} {what}" for what, count in counts.items() if count)
    print(f"{args.output}: {done.written:,} cut-outs{others}")


def _add_generate(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "generate",
        _generate,
        "make a dataset from foreground cut-outs and background photographs, continue one, or let "
        "one grow",
    )
    add = parser.add_argument_group("pictures").add_argument
    add("--foregrounds", type=Path, required=True, metavar="DIR", help="cut-outs with alpha")
    add("--backgrounds", type=Path, required=True, metavar="DIR", help="photographs")
    add("--output", type=Path, required=True, metavar="DATASET", help="directory to write")
    add("--skip-bad", action="store_true", help="leave out pictures that cannot be used")

    add = parser.add_argument_group("samples").add_argument
    add(
        "--num-samples",
        type=COUNT,
        metavar="N",
        help="make N samples, an even, seeded choice of the full set: every background x every "
        "foreground x 2 x --placements (default: the full set)",
    )
    add("--size", type=CANVAS_PX, default=224, metavar="PX", help="side of the square canvas [px]")
    add(
        "--placements",
        type=PLACEMENTS,
        default=20,
        metavar="N",
        help="placements of each background, foreground and flip",
    )
    add(
        "--scale-range",
        type=SCALE,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="longer side of the foreground as a share of the canvas; scene: what lies outside is "
        "not placed there (default: 0.3 0.7, scene: 0.1 1)",
    )
    add(
        "--placement",
        default="uniform",
        choices=("uniform", "grid", "scene"),
        help="uniform: anywhere inside the canvas; grid: 5 x 4 places; scene: upright on the floor "
        "that the depth shows, in its size there, hidden by what is nearer (soft edges in the "
        "depth are soft there too); needs --depth-of scene in metres",
    )
    add(
        "--height-range",
        type=DEPTH_M,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="placement scene: height of the foregrounds [m] (default: 0.3 1.8)",
    )
    add(
        "--heights",
        type=Path,
        metavar="FILE.csv",
        help="placement scene: table of name (of the file, without suffix) and height_m; what it "
        "does not name has a height in --height-range",
    )
    add(
        "--field-of-view",
        type=POSITIVE,
        metavar="DEGREES",
        help="placement scene: angle across the canvas, the central square of a photograph "
        "(default: 50, about that of the NYU camera; main cameras of telephones have 53)",
    )
    add(
        "--harmonise",
        nargs="+",
        default=(),
        choices=HARMONISED,
        help="match foregrounds to their surroundings: brightness and colour (half of the way), "
        "blur, noise, and with placement scene a shadow on the floor (default: none)",
    )
    add(
        "--objects",
        type=OBJECTS,
        nargs=2,
        default=(1, 1),
        metavar=("LOW", "HIGH"),
        help="foregrounds of a sample; with more than one, the field `instances` tells them apart",
    )
    add("--seed", type=SEED, default=0, metavar="N", help="key of every random choice")

    add = parser.add_argument_group("depth").add_argument
    add_scene_flags(add, default="composite")
    add(
        "--background-depth",
        type=Path,
        metavar="DIR",
        help="scene: measured depth in place of a teacher, NAME.png or NAME_depth.png in mm (or "
        ".npy, .npz, .pfm, .exr in m) for each background",
    )
    add(
        "--depth-scale",
        type=UNITS_PER_M,
        metavar="UNITS",
        help="units per metre in the files of --background-depth, as of import-rgbd",
    )
    add_teacher_flags(add, default="bundled")
    add_label_flags(add)
    add_layout_flags(parser.add_argument_group("storage").add_argument, default="rendered")

    add = parser.add_argument_group("processes and machines").add_argument
    add(
        "--workers",
        type=WORKERS,
        metavar="N",
        help="processes that composite, 0 = only this one; with --shards, how many shards are "
        "written at a time (default: one for each core)",
    )
    add(
        "--shards",
        type=SHARDS,
        default=1,
        metavar="K",
        help="number of files that the dataset is split into",
    )
    add(
        "--shard-index",
        type=INDEX,
        metavar="I",
        help="write only this shard, 0 to K-1: one job of an array (default: all shards)",
    )
    add(
        "--engine",
        default="local",
        choices=("local", "ray"),
        help="what writes the shards: processes on this machine, or tasks of a Ray cluster",
    )
    add(
        "--ray-address",
        metavar="ADDRESS",
        help="address of the cluster; auto = the one this machine is in (default: start one here)",
    )
    add("--gpus-per-worker", type=GPUS, default=0, metavar="F", help="GPUs of each Ray task")


def _generate(args: argparse.Namespace) -> None:
    from dsetkit.compositing import SCALE_RANGES, Canvas
    from dsetkit.generating import Spread, generate
    from dsetkit.verbs.teacher_check import check_teacher

    standing = _standing(args)
    canvas = Canvas(
        size=args.size,
        placements=args.placements,
        scale_range=tuple(args.scale_range or SCALE_RANGES[args.placement]),
        placement=args.placement,
        objects=tuple(args.objects),
        standing=standing,
        harmonise=tuple(name for name in HARMONISED if name in args.harmonise),
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
        scene=_scene_depth(args),
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
        print(f"{args.teacher_check}: {count} samples; omit --teacher-check to make the dataset")
        return
    with progress_bar("generate") as progress:
        manifest = make(output=args.output, spread=spread, progress=progress)
    part = f"shard {args.shard_index} of " if args.shard_index is not None else ""
    print(f"{args.output}: {part}{manifest.num_samples:,} samples, complete")


def _standing(args: argparse.Namespace) -> "Standing | None":
    """What the flags of --placement scene say; None with another placement."""
    from dsetkit.compositing import Standing
    from dsetkit.generating import read_heights

    names = ("height_range", "heights", "field_of_view")
    if args.placement != "scene":
        refuse_flags(args, names, without="--placement scene")
        return None
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    if "height_range" in given:
        given["height_range"] = tuple(given["height_range"])
    if "heights" in given:
        given["heights"] = read_heights(given["heights"])
    return Standing(**given)


def _scene_depth(args: argparse.Namespace) -> "SceneDepth | None":
    """What the flags on scene depth say; None with --depth-of composite."""
    from dsetkit.generating import SceneDepth
    from dsetkit.importing import MeasuredBackgrounds

    nearness = nearness_of(args, is_scene=args.depth_of == "scene")
    if args.depth_of == "composite":
        refuse_flags(args, ("background_depth", "depth_scale"), without="--depth-of scene")
        return None
    if args.background_depth is None:
        refuse_flags(args, ("depth_scale",), without="--background-depth")
    measured = None
    if args.background_depth is not None:
        max_depth = {"max_depth_m": args.teacher_max_depth} if args.teacher_max_depth else {}
        measured = MeasuredBackgrounds(
            folder=args.background_depth, units_per_m=args.depth_scale, **max_depth
        )
    return SceneDepth(measured=measured, nearness=nearness)


def _add_import_rgbd(verbs: Verbs) -> None:
    add = add_verb(
        verbs,
        "import-rgbd",
        _import_rgbd,
        "make a dataset of colour + depth pairs (NAME_color.jpg, NAME_depth.png in mm)",
    ).add_argument
    add("--root", type=Path, required=True, metavar="DIR", help="folder of pairs")
    add(
        "--color-glob",
        metavar="PATTERN",
        help="other names: pattern of the colour pictures below the folder, as in 'rgb/*.jpg'",
    )
    add(
        "--depth-glob",
        metavar="PATTERN",
        help="pattern of the depth files, as in 'depth/*.png'; the files of a pair have the same "
        "text in place of the wildcards",
    )
    add(
        "--table",
        type=Path,
        metavar="FILE.csv",
        help="or a table with the columns color and depth: paths below the folder",
    )
    add("--output", type=Path, required=True, metavar="DATASET", help="directory to write")
    add(
        "--split",
        default="auto",
        choices=("auto", "train", "val", "test"),
        help="split of all pairs; auto = train, except for a share kept for val",
    )
    add("--val-share", type=SHARE, default=0.05, metavar="SHARE", help="of val, --split auto")
    add(
        "--depth-scale",
        type=UNITS_PER_M,
        metavar="UNITS",
        help="units per metre in the depth files: 5000 TUM, 256 KITTI, 100 centimetres (default: "
        "1000 for whole numbers, 1 for floating point)",
    )
    add(
        "--max-depth", type=DEPTH_M, default=10.0, metavar="M", help="larger depths are invalid [m]"
    )
    add("--seed", type=SEED, default=0, metavar="N", help="key of --split auto and of pasting")
    add(
        "--foregrounds",
        type=Path,
        metavar="DIR",
        help="cut-outs: also write copies of each pair with a cut-out pasted in front, nearer than "
        "what it hides (default: only the pairs)",
    )
    add("--pastes", type=COPIES, default=3, metavar="N", help="such copies of each pair")
    add("--jobs", type=JOBS, metavar="N", help="threads (default: one for each core, up to 8)")
    add("--skip-bad", action="store_true", help="leave out pairs that cannot be used")


def _import_rgbd(args: argparse.Namespace) -> None:
    from dsetkit.importing import DepthUnits, PairNaming, PairSplit, Pasting, import_rgbd

    pasting = None
    if args.foregrounds:
        pasting = Pasting(foregrounds=args.foregrounds, copies=args.pastes)
    with progress_bar("import-rgbd") as progress:
        count = import_rgbd(
            args.root,
            args.output,
            naming=PairNaming(
                color_glob=args.color_glob, depth_glob=args.depth_glob, table=args.table
            ),
            units=DepthUnits(units_per_m=args.depth_scale, max_depth_m=args.max_depth),
            split=PairSplit(split=args.split, val_share=args.val_share),
            pasting=pasting,
            seed=args.seed,
            jobs=args.jobs,
            skip_bad=args.skip_bad,
            progress=progress,
        )
    print(f"{args.output}: {count:,} samples, complete")


def _add_import_images(verbs: Verbs) -> None:
    add = add_verb(
        verbs,
        "import-images",
        _import_images,
        "make a dataset of existing composites, masks, depths and backgrounds",
    ).add_argument
    add(
        "--system",
        required=True,
        choices=("000", "001", "002", "003", "004", "table"),
        help="the reference system that named the files; table = a CSV names them",
    )
    add(
        "--root",
        type=Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="folders and .zip archives that hold the files",
    )
    add(
        "--table",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="CSV files that name the samples: required by 000 and table, optional for 002 and 003",
    )
    add("--output", type=Path, required=True, metavar="DATASET", help="directory to write")
    add(
        "--depth-polarity",
        choices=("far-bright", "near-bright"),
        help="what bright grey means in depth pictures (default: the system's own; required with "
        "table)",
    )
    add(
        "--max-depth-m",
        type=DEPTH_M,
        metavar="M",
        help="depth of the whole grey range, if it is known [m] (default: depth is relative)",
    )
    add(
        "--split-by",
        choices=("asset", "sample", "table"),
        help="default: the table's splits if it has any, otherwise by asset as far as assets are "
        "known",
    )
    add(
        "--per-background",
        type=COUNT,
        default=800,
        metavar="N",
        help="samples of each background in a set of system 003",
    )
    add("--seed", type=SEED, default=0, metavar="N", help="key of the choice of splits")
    add("--jobs", type=JOBS, metavar="N", help="threads (default: one for each core, up to 8)")
    add("--skip-bad", action="store_true", help="leave out samples that cannot be used")


def _import_images(args: argparse.Namespace) -> None:
    from dsetkit.importing import DepthMeaning, FileNaming, SplitRule, import_images

    with progress_bar("import-images") as progress:
        manifest = import_images(
            args.root,
            args.output,
            naming=FileNaming(
                system=args.system,
                tables=args.table or (),
                per_background=args.per_background,
            ),
            depth=DepthMeaning(polarity=args.depth_polarity, max_depth_m=args.max_depth_m),
            splits=SplitRule(by=args.split_by, seed=args.seed),
            jobs=args.jobs,
            skip_bad=args.skip_bad,
            progress=progress,
        )
    print(f"{args.output}: {manifest.num_samples:,} samples, complete")
