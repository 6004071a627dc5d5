"""Makes the bundled mask network from pictures, and scores it on other pictures.

    python -m tools.bundle_mask --foregrounds DIR --backgrounds DIR --work DIR

    dsetkit/predicting/bundled_mask.onnx, bundled_mask.json     what `bundled:mask` is
    benchmarks/results/bundled_mask.json                        its scores

Pictures whose names match --train-on are those that the network may be given away for; it is
trained on pieces of them, and tested on all the others. It is put together from two trainings: of
a network that compares composite and background, and of one that sees the composite alone. Given
the same --work, what is done is not done again. The trainings take about two hours of one core.
"""

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from benchmarks.common import link_into, run_python, run_training
from benchmarks.compare_labels import cut_pieces
from dsetkit.arguments import COUNT, Parser
from dsetkit.predicting.bundled import FILES, MASK
from models import create_model, load_model, save_model

TRAIN_ON = ("*_tux_*", "indoor_*", "outdoor_*", "opencv_*")  # see BUNDLED_MASK.md
SIDE_PX = 160
LIMIT = ("--limit-samples", 32)


def main() -> None:
    # fmt: off
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--foregrounds", type=Path, required=True, metavar="DIR", help="cut-outs with alpha")
    add("--backgrounds", type=Path, required=True, metavar="DIR", help="photographs")
    add("--train-on", nargs="+", default=TRAIN_ON, metavar="PATTERN",
        help=f"names of pictures to train on (default: {' '.join(TRAIN_ON)})")
    add("--work", type=Path, required=True, metavar="DIR", help="what is made on the way")
    add("--output", type=Path, default=FILES[MASK], metavar="FILE.onnx",
        help="(default: the bundled file)")
    add("--samples", type=COUNT, default=80_000, metavar="N", help="composites (default: 80000)")
    add("--test-samples", type=COUNT, default=2000, metavar="N", help="(default: 2000)")
    add("--quick", action="store_true", help="a few steps, to see that all of it runs")
    # fmt: on
    args = parser.parse_args()
    work: Path = args.work
    for kind in ("foregrounds", "backgrounds"):
        for file in sorted(getattr(args, kind).iterdir()):
            is_for_training = any(fnmatch(file.name, pattern) for pattern in args.train_on)
            link_into(work / ("train" if is_for_training else "test") / kind, [file])
    pieces = work / "pieces"
    if not pieces.exists():
        cut_pieces(sorted((work / "train" / "backgrounds").iterdir()), work / "pieces-new")
        (work / "pieces-new").rename(pieces)
    generate(work / "data", work / "train" / "foregrounds", pieces, args.samples)
    test = work / "test-data"
    if not test.exists():
        made = work / "test-data-new"
        others = work / "test"
        generate(made, others / "foregrounds", others / "backgrounds", args.test_samples)
        run_python("-m", "dsetkit", "split", made, "--split-by", "sample", "--shares", 0, 0, 1)
        made.rename(test)
    comparing, alone = (
        train(work / name, work / "data", inputs=inputs, is_quick=args.quick)
        for name, inputs in (("run", ("composite", "background")), ("alone", ("composite",)))
    )
    best = work / "mask.safetensors"
    save_pair(best, comparing, alone)
    run_python("-m", "dsetkit", "export-model", best, "--any-size", "--output", args.output)
    scores = work / "scores.json"
    run_python(
        *("evaluate_mask.py", "--data", test, "--train-data", work / "data", "--stress"),
        *("--checkpoint", best, "--output", scores, *(LIMIT if args.quick else ())),
    )
    run_python("-m", "benchmarks.keep_scores", "bundled_mask", f"mask={scores}")


def generate(output: Path, foregrounds: Path, backgrounds: Path, samples: int) -> None:
    """Makes a dataset of recipes without depth."""
    run_python(
        *("-m", "dsetkit", "generate", "--foregrounds", foregrounds, "--backgrounds", backgrounds),
        *("--output", output, "--num-samples", samples, "--size", SIDE_PX, "--teacher", "none"),
        *("--layout", "recipe"),
    )


def train(run: Path, data: Path, *, inputs: Sequence[str], is_quick: bool) -> Path:
    """Trains a network, or goes on where a training was cut off; returns its weights."""
    epochs, limit = ((1, 1), LIMIT) if is_quick else ((1, 2), ())
    run_training(
        *("-m", "torch.distributed.run", "--nproc-per-node", 2, "train_mask.py"),
        *("--data", data, "--output", run, "--arch", "mask_slim"),
        *("--inputs", *inputs, "--batch-size", 16, "--clip-grad", 1),
        *("--img-sizes", 64, 128, "--epochs", *epochs, "--lr", 3e-3, "--warmup-steps"),
        *(1 if is_quick else 200, "--ema", 0.999, "--amp", "none", *limit),
    )
    return run / "best.safetensors"


def save_pair(path: Path, comparing: Path, alone: Path) -> None:
    """Writes a `mask_slim_pair` of two networks."""
    pair = create_model("mask_slim_pair", in_channels=6)
    first, about = load_model(comparing)
    second, _ = load_model(alone)
    pair.comparing.load_state_dict(first.state_dict())
    pair.alone.load_state_dict(second.state_dict())
    save_model(path, pair, {name: about[name] for name in ("inputs", "img_size")})


if __name__ == "__main__":
    main()
