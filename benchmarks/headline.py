"""Times the whole job: two folders to a dataset, training of both networks, both evaluations.

    python -m benchmarks.headline --foregrounds DIR --backgrounds DIR --output runs/headline

The dataset is the full set of the two folders, with depth by the bundled teacher: 102 photographs
and 104 cut-outs make 424,320 samples at 224 px. Both full networks train by the schedule of system
002, 10 epochs at 32 px and 10 at 64 px. This takes minutes on one large GPU. `--share 50` makes a
fiftieth of the samples; the time printed for the full size is then marked as an extrapolation.
Finished stages are not repeated, so the same command continues an interrupted run.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.common import keep
from dsetkit.arguments import BATCH, COUNT, Parser
from dsetkit.assets.folders import load_backgrounds, load_foregrounds

PLACEMENTS = 20


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--foregrounds", type=Path, required=True, metavar="DIR", help="cut-outs with alpha")
    add("--backgrounds", type=Path, required=True, metavar="DIR", help="photographs")
    add("--output", type=Path, required=True, metavar="DIR", help="where dataset and runs go")
    add(
        "--share",
        type=COUNT,
        default=1,
        metavar="K",
        help="make a K-th of the full set (default: 1)",
    )
    add("--at-most", type=COUNT, metavar="N", help="make no more samples than this, for a look")
    add("--epochs", type=COUNT, default=10, metavar="N", help="of each stage (default: 10, as 002)")
    add("--batch-size", type=BATCH, default=256, metavar="N", help="of trainings (default: 256)")
    args = parser.parse_args()

    full_set = _full_set(args.foregrounds, args.backgrounds)
    count = min(full_set // args.share, args.at_most or full_set)
    share = full_set // count
    args.output.mkdir(parents=True, exist_ok=True)
    dataset, cache = args.output / "dataset", args.output / "cache"
    schedule = ["--img-sizes", "32", "64", "--epochs", str(args.epochs), str(args.epochs)]
    settings = [*schedule, "--batch-size", str(args.batch_size), "--cache", cache]
    settings += ["--clip-grad", "1", "--warmup-steps", "100"]
    folders = ["--foregrounds", args.foregrounds, "--backgrounds", args.backgrounds]
    stages = {
        "generate": [
            *("-m", "dsetkit", "generate", *folders, "--output", dataset),
            *("--num-samples", count, "--layout", "recipe", "--batch-size", 256),
        ],
        "cache 32 px": ["-m", "dsetkit", "cache", dataset, "--size", 32, "--output", cache],
        "cache 64 px": ["-m", "dsetkit", "cache", dataset, "--size", 64, "--output", cache],
    }
    for task, inputs in (("depth", ["composite"]), ("mask", ["composite", "background"])):
        run = args.output / task
        best = ["--checkpoint", run / "best.safetensors"]
        stages[f"train {task}"] = [
            *(f"train_{task}.py", "--data", dataset, "--output", run, "--inputs", *inputs),
            *settings,
        ]
        stages[f"evaluate {task}"] = [f"evaluate_{task}.py", "--data", dataset, *best]

    seconds = _timed(stages, args.output / "seconds.json")
    total = sum(seconds.values())
    for name, taken in seconds.items():
        print(f"{name:16} {taken:10.1f} s")
    print(f"{'in all':16} {total:10.1f} s, {count:,} samples")
    notes = {"samples": count, "share": share, "epochs": args.epochs}
    if share > 1:
        notes["extrapolated to the full set, in proportion [s]"] = round(total * share)
        print(
            f"in proportion the full set would take {total * share / 3600:.1f} h with as many "
            "epochs; not measured"
        )
    keep("headline", {"title": "headline", "seconds": seconds, "notes": notes}, seeds=[0])


def _full_set(foregrounds: Path, backgrounds: Path) -> int:
    """Return the number of samples in the full set of two folders."""
    numbers = [
        len(load_foregrounds(foregrounds, max_side=64).assets),
        len(load_backgrounds(backgrounds, size=64).assets),
    ]
    return numbers[0] * numbers[1] * 2 * PLACEMENTS


def _timed(stages: dict[str, list], notebook: Path) -> dict[str, float]:
    """Run the stages in turn, each as a command of its own; return the seconds of each."""
    seconds = json.loads(notebook.read_text()) if notebook.exists() else {}
    for name, command in stages.items():
        if name in seconds:
            continue
        start = time.perf_counter()
        done = subprocess.run([sys.executable, *map(str, command)])
        if done.returncode:
            sys.exit(f"{name} ended with status {done.returncode}; the same command goes on here")
        seconds[name] = time.perf_counter() - start
        notebook.write_text(json.dumps(seconds, indent=2))
    return seconds


if __name__ == "__main__":
    main()
