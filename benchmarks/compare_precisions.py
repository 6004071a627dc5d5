"""Whether networks that are trained in bf16 are as good as in float32: the same trainings in both.

    python -m benchmarks.compare_precisions --data DATASET --work DIR

Trains `resnet50_upproj` and `mask_autoencoder` with their scripts' defaults on the same samples, in
both precisions and with several seeds, and scores them on the test split. Finished trainings are
not repeated, and what was interrupted goes on.
"""

import csv
import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks import tables
from benchmarks.common import keep, run_python, run_training
from dsetkit.arguments import BATCH, COUNT, SIDE_PX, Parser

PRECISIONS = {"float32": "none", "bf16": "bf16"}  # shown -> --amp
NETWORKS = {
    "resnet50_upproj": ("depth", ("rmse_m", "abs_rel", "delta_1")),
    "mask_autoencoder": ("mask", ("rmse", "iou", "boundary_f")),
}


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DATASET", help="with depth")
    add("--work", type=Path, required=True, metavar="DIR", help="for the runs")
    add("--img-size", type=SIDE_PX, default=32, help="[px] (default: %(default)s)")
    add("--epochs", type=COUNT, default=3, help="(default: %(default)s)")
    add("--batch-size", type=BATCH, default=16, help="(default: %(default)s)")
    add("--seeds", type=int, nargs="+", default=[0, 1], help="(default: 0 1)")
    add("--limit-samples", type=COUNT, metavar="N", help="of each split (default: all)")
    args = parser.parse_args()
    limit = ["--limit-samples", args.limit_samples] if args.limit_samples else []
    settings = ["--img-sizes", args.img_size, "--epochs", args.epochs]
    settings += ["--batch-size", args.batch_size, *limit]
    rows = [
        train(arch, precision, seed, args.data, args.work, settings, limit)
        for arch in NETWORKS
        for seed in args.seeds
        for precision in PRECISIONS
    ]
    kept = {name: getattr(args, name) for name in ("img_size", "epochs", "batch_size")}
    content = {"settings": kept, "rows": rows}
    print(tables.compare_precisions(content))
    keep("compare_precisions", content, seeds=args.seeds)


def train(
    arch: str, precision: str, seed: int, data: Path, work: Path, settings: list, limit: list
) -> dict[str, Any]:
    """Trains and scores one network, unless that is done; returns its scores and seconds."""
    task, scores = NETWORKS[arch]
    run = work / f"{arch}-{precision}-{seed}"
    result = run / "scores.json"
    if not result.exists():
        run_training(
            *(f"train_{task}.py", "--data", data, "--output", run, "--arch", arch),
            *("--seed", seed, *settings, "--amp", PRECISIONS[precision]),
        )
        run_python(
            *(f"evaluate_{task}.py", "--data", data, "--checkpoint", run / "best.safetensors"),
            *("--output", result, *limit),
        )
    found = json.loads(result.read_text())["scores"]["model"]
    with (run / "log.csv").open(newline="") as file:
        rates = [float(row["samples_per_s"]) for row in csv.DictReader(file)]
    row = {"network": arch, "precision": precision, "seed": seed}
    row["samples_per_s"] = statistics.median(rates)
    return row | {name: found[f"{name}_per_image"] for name in scores}


if __name__ == "__main__":
    main()
