"""Compares training on parts of the data one after another with training on all of it at once.

    python -m benchmarks.chain_or_all --foregrounds DIR --backgrounds DIR --output DIR

It is the question of reference system 003. The foregrounds are divided into three parts and a rest.
Each part becomes a dataset over the same backgrounds, as in that project. A network is trained on
the three datasets in turn, with the learning rate restarted at each or continued. The same network
is trained for as many steps on one dataset of all three parts. Scores are those on foregrounds of
the rest over backgrounds of the test split, which no network has seen.
"""

import json
from pathlib import Path

from benchmarks.common import keep, link_into, run_python
from dsetkit.arguments import COUNT, Parser

PARTS = ("A", "B", "C", "rest")
# All foregrounds of the rest are unseen, whatever their split; these cells' backgrounds are too.
CELLS = ("test: unseen background", "test: both unseen")


def main() -> None:
    parser = Parser(description="Chained datasets against all at once.")
    add = parser.add_argument
    add("--foregrounds", required=True, type=Path, metavar="DIR")
    add("--backgrounds", required=True, type=Path, metavar="DIR")
    add("--output", required=True, type=Path, metavar="DIR")
    add("--samples", type=COUNT, default=600, help="of each part (default: 600)")
    add("--epochs", type=COUNT, default=5, help="on each part (default: 5)")
    add("--arch", default="shared_unet")
    args = parser.parse_args()

    args.output, args.backgrounds = args.output.resolve(), args.backgrounds.resolve()

    # ---- data ----------------------------------------------------------------------------------
    files = sorted(path for path in args.foregrounds.iterdir() if not path.name.startswith("."))
    dealt = {part: files[number :: len(PARTS)] for number, part in enumerate(PARTS)}
    dealt["all"] = dealt["A"] + dealt["B"] + dealt["C"]
    for part, members in dealt.items():
        folder = args.output / "foregrounds" / part
        link_into(folder, members)
        count = args.samples * (3 if part == "all" else 1)
        run_python("-m", "dsetkit", "generate", "--foregrounds", folder, "--backgrounds",
                   args.backgrounds, "--output", args.output / part, "--num-samples", count,
                   "--size", 64)  # fmt: skip

    # ---- trainings: as many steps each ---------------------------------------------------------
    recipe = ["--arch", args.arch, "--mask-loss", "bce", "--depth-loss", "bce", "--opt", "adam"]
    recipe += ["--lr", 2e-3, "--sched", "step", "--step-epochs", 3, "--batch-size", 16]
    recipe += ["--img-sizes", 32, "--epochs", args.epochs]
    parts = [args.output / part for part in PARTS[:3]]
    runs = {
        "chain, rate begun anew": [*parts, "--chain"],
        "chain, rate carried on": [*parts, "--chain", "--chain-lr", "continue"],
        "all at once": [args.output / "all"],
    }
    scores = {}
    for name, data in runs.items():
        run = args.output / "runs" / name.replace(", ", "-").replace(" ", "-")
        if not (run / "mask.json").exists():
            run_python("train_joint.py", "--output", run, *recipe, "--data", *data)
            weights = sorted(run.rglob("best.safetensors"))[
                -1
            ]  # a chain has one per dataset; use the last
            for task in ("mask", "depth"):
                run_python(f"evaluate_{task}.py", "--data", args.output / "rest", "--checkpoint",
                           weights, "--train-data", args.output / "all",
                           "--output", run / f"{task}.json")  # fmt: skip
        scores[name] = {
            "mask_iou": _unseen(run / "mask.json", "iou_per_image"),
            "depth_rmse_m": _unseen(run / "depth.json", "rmse_m_per_image"),
            "images": _images(run / "mask.json"),
        }
    for name, row in scores.items():
        print(f"| {name} | {row['mask_iou']:.3f} | {row['depth_rmse_m']:.3f} |")
    settings = {"samples": args.samples, "epochs": args.epochs, "arch": args.arch}
    keep("chain_or_all", {"settings": settings, "scores": scores}, seeds=[0])


def _unseen(path: Path, score: str) -> float:
    """Return a score over the images of CELLS; every image has the same weight."""
    cells = json.loads(path.read_text())["cells"]
    parts = [cells[cell]["model"] for cell in CELLS]
    return sum(part[score] * part["images"] for part in parts) / _images(path)


def _images(path: Path) -> int:
    cells = json.loads(path.read_text())["cells"]
    return sum(cells[cell]["model"]["images"] for cell in CELLS)


if __name__ == "__main__":
    main()
