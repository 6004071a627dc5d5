"""The verb predict, which `predict.py` of a clone is, too: a parser only, no logic."""

import argparse
from pathlib import Path

from dsetkit.arguments import BATCH, COUNT, device, image_size
from dsetkit.cli.flags import Verbs, add_verb, print_left_out
from dsetkit.console import progress_bar


def add_predict_verb(verbs: Verbs) -> None:
    """Adds predict."""
    parser = add_verb(
        verbs,
        "predict",
        _predict,
        "masks, cut-outs and depths of pictures, by trained networks",
    )
    add = parser.add_argument_group("networks").add_argument
    add(
        "--checkpoint",
        "--model",
        dest="networks",
        nargs="+",
        metavar="FILE",
        help="one or two networks: .safetensors of a training (in a clone), or .onnx of "
        "export-model (needs no torch); or those that come with dsetkit, bundled:mask and "
        "bundled:depth (default: these, the mask only with backgrounds)",
    )
    add(
        "--img-size",
        type=image_size,
        metavar="SIZE",
        help="N or HxW that the networks see [px] (default: as they were trained, in the shape of "
        "the picture)",
    )
    add(
        "--no-register",
        dest="register",
        action="store_false",
        help="leave backgrounds where they lie (default: each is moved to where its composite "
        "shows the scene)",
    )
    add("--batch-size", type=BATCH, default=8, metavar="N", help="pictures seen at once")
    add("--device", type=device, default="auto", help="where they run: auto, cpu, cuda or cuda:N")

    add = parser.add_argument_group("pictures").add_argument
    add(
        "--composite",
        type=Path,
        nargs="+",
        default=[],
        metavar="PICTURE",
        help="pictures with something in front: files, folders, patterns, or one video",
    )
    add(
        "--background",
        type=Path,
        nargs="+",
        default=[],
        metavar="PICTURE",
        help="the same views without it, in the same shape: one for all pictures, or one of the "
        "same name for each",
    )
    add(
        "--pairs",
        type=Path,
        metavar="FILE.csv",
        help="a table in place of both, with the columns composite and background",
    )
    add(
        "--system",
        choices=("001", "002", "003", "004"),
        help="the numbers in the names tell which background is whose, as this reference system "
        "has them; see import-images",
    )
    add(
        "--per-background",
        type=COUNT,
        default=800,
        metavar="N",
        help="pictures of each background in a set of system 003",
    )
    add("--every", type=COUNT, default=1, metavar="N", help="of a video, take each N-th frame")
    add("--skip-bad", action="store_true", help="leave out pictures that cannot be used")

    add = parser.add_argument_group("results").add_argument
    add("--output", type=Path, required=True, metavar="DIR", help="folder to write into")
    add(
        "--write",
        nargs="+",
        metavar="WHAT",
        help="any of mask, cut-out, depth (16-bit PNG in mm), depth-npy (float32 in metres) and "
        "depth-colour (default: all that the networks give, without depth-npy)",
    )


def _predict(args: argparse.Namespace) -> None:
    from dsetkit.importing import FileNaming
    from dsetkit.predicting import Predictor, bundled_networks
    from dsetkit.verbs.predict import predict

    has_backgrounds = bool(args.background or args.pairs)
    predictor = Predictor(
        *(args.networks or bundled_networks(with_background=has_backgrounds)),
        device=args.device,
        size=tuple(args.img_size) if args.img_size else None,
        batch_size=args.batch_size,
        register=args.register,
    )
    naming = None
    if args.system:
        naming = FileNaming(system=args.system, per_background=args.per_background)
    with progress_bar("predict") as progress:
        done = predict(
            predictor,
            args.output,
            args.composite,
            backgrounds=args.background,
            table=args.pairs,
            naming=naming,
            every=args.every,
            formats=args.write,
            skip_bad=args.skip_bad,
            progress=progress,
        )
    print_left_out(done.skipped)
    if done.other_views:
        first, *others = done.other_views
        more = f" and {len(others):,} more" if others else ""
        print(
            f"the background of {first}{more} shows another view: the mask was made without it; "
            "--no-register shows it to the network all the same"
        )
    rate = done.count / max(done.seconds, 1e-9)
    pictures = "1 picture" if done.count == 1 else f"{done.count:,} pictures"
    print(
        f"{args.output}: {', '.join(done.formats)} of {pictures}, {rate:,.1f} pictures/s; "
        f"look at {done.sheet}"
    )
