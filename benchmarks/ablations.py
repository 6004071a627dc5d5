"""Changes one thing at a time in the training of one network; writes JSON.

    python -m benchmarks.ablations --data DATASET --output RUNS

The network is `shared_unet`, which gives mask and depth, trained as `compare_systems` trains all
systems alike. One training changes one setting (`CHANGES`): the pictures that go in, the trunk, a
loss, the sizes, the augmentation. The base is repeated with several seeds, which says how much
chance moves a score; every change is trained with the first seed. Scores are of test samples whose
background and foreground are both unseen, and of the same with a background shifted by 1 px.
Finished trainings are not repeated, and what was interrupted goes on. The JSON is written after
each of them. With --add, trainings that the JSON has from elsewhere stay in it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import tables
from benchmarks.common import add_row, earlier, keep, mark_done, run_python, run_training
from benchmarks.compare_systems import RECIPE
from benchmarks.tables import UNSEEN_BOTH
from dsetkit.arguments import BATCH, COUNT, SIDE_PX, Parser

NAME = "ablations"  # of the JSON
SHIFTED = "shifted 1 px"
DEFAULTS = {
    "--inputs": "composite background",
    "--augment": "flip",
    "--mask-loss": "bce+dice",
    "--depth-loss": "l1",
    "--img-sizes": "{size}",
    "--epochs": "{epochs}",
}


@dataclass(frozen=True)
class Change:
    """A setting of a training that differs from the base.

    Attributes:
        question: What it answers.
        flags: Flag -> value, in place of DEFAULTS.
        networks: The networks in place of `shared_unet`, one for each map.
    """

    question: str
    flags: dict[str, str]
    networks: tuple[str, ...] = ("shared_unet",)


def loss_changes(flag: str, question: str, losses: Sequence[str]) -> dict[str, Change]:
    task = flag.removeprefix("--").removesuffix("-loss")
    return {f"{task} loss {loss}": Change(question, {flag: loss}) for loss in losses}


CHANGES: dict[str, Change] = {
    "composite alone": Change("one picture or two", {"--inputs": "composite"}),
    "two networks": Change(
        "a shared trunk or two networks", {}, networks=("mask_unet", "depth_unet")
    ),
    **loss_changes(
        *("--mask-loss", "which loss for masks"),
        ("bce", "dice", "dice_squared", "l1", "smooth_l1", "ssim11"),
    ),
    **loss_changes(
        *("--depth-loss", "which loss for depth"),
        ("bce", "smooth_l1", "ssim11", "l1+cosine", "l1+grad", "berhu", "silog"),
    ),
    "twice the size": Change("one size or two, scored at twice", {"--img-sizes": "{double}"}),
    "twice the size in the second half": Change(
        "one size or two, scored at twice",
        {"--img-sizes": "{size} {double}", "--epochs": "{first} {rest}"},
    ),
    "no augmentation": Change("which augmentation", {"--augment": "none"}),
    "flip+camera": Change("which augmentation", {"--augment": "flip+camera"}),
}


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", required=True, type=Path, metavar="DATASET", help="with backgrounds and depth")
    add("--output", required=True, type=Path, metavar="RUNS", help="folder for the runs")
    add("--img-size", type=SIDE_PX, default=32, help="[px] (default: 32)")
    add("--epochs", type=COUNT, default=10, help="of each training (default: 10)")
    add("--batch-size", type=BATCH, default=16, help="samples per step (default: 16)")
    add("--limit-samples", type=COUNT, metavar="N", help="of each split (default: all)")
    add("--seeds", type=COUNT, default=3, metavar="N", help="of the base (default: 3)")
    add("--add", action="store_true", help="keep the trainings that the JSON has already")
    add("--only", nargs="+", choices=CHANGES, metavar="CHANGE", help="(default: all)")
    args = parser.parse_args()
    amounts = {
        "size": args.img_size,
        "double": 2 * args.img_size,
        "epochs": args.epochs,
        "first": max(1, args.epochs // 2),
        "rest": max(1, args.epochs - args.epochs // 2),
    }
    common = ["--batch-size", args.batch_size, *RECIPE]
    limit = ["--limit-samples", args.limit_samples] if args.limit_samples else []
    base = Change("", {})
    works = [("base", base, seed) for seed in range(args.seeds)]
    works += [(name, CHANGES[name], 0) for name in args.only or CHANGES]
    kept = ("img_size", "epochs", "batch_size", "limit_samples")
    settings = {key: getattr(args, key) for key in kept}
    content = earlier(NAME, settings) if args.add else {"settings": settings, "rows": []}
    rows, names = content["rows"], ["base", *CHANGES]
    for name, change, seed in works:
        run = args.output / f"{name}-{seed}".replace(" ", "-").replace("+", "-")
        flags = DEFAULTS | change.flags
        words = " ".join(f"{flag} {value}" for flag, value in flags.items())
        words = words.format(**amounts).split()
        scores = train_and_score(
            run, args.data, change, [*words, *common, *limit, "--seed", seed], limit
        )
        row = {"change": name, "question": change.question, "seed": seed, **scores}
        add_row(rows, row, keys=("change", "seed"), run=run / change.networks[0])
        rows.sort(key=lambda row: (names.index(row["change"]), row["seed"]))
        keep(NAME, content, seeds=sorted({row["seed"] for row in rows}))
    print(tables.ablations(content))


def train_and_score(
    run: Path, data: Path, change: Change, words: list, limit: list
) -> dict[str, Any]:
    """Trains the networks of a change, unless that is done; returns their scores."""
    for arch in change.networks:
        folder = run / arch
        task = "joint" if arch == "shared_unet" else arch.removesuffix("_unet")
        if not (folder / "done").exists():
            start = ["--data", data, "--output", folder, "--arch", arch]
            run_training(f"train_{task}.py", *start, *_of_task(words, task))
            mark_done(folder)
    folders = [run / arch for arch in change.networks]
    sees_background = change.flags.get("--inputs") != "composite"
    mask = _evaluated(
        "mask", folders[0], data, [*limit, *(["--stress", "--no-register"] * sees_background)]
    )
    depth = _evaluated("depth", folders[-1], data, limit)
    scores = {"iou": _score(mask, "iou"), "rmse_m": _score(depth, "rmse_m")}
    if sees_background:
        shifted = mask["stress_cells"][SHIFTED].get(UNSEEN_BOTH) or mask["stress"][SHIFTED]
        scores["iou_shifted"] = [shifted["model"]["iou_per_image"]]
    return scores


def _of_task(words: list, task: str) -> list:
    """The arguments of a training of one map: `--mask-loss bce` becomes `--loss bce`."""
    if task == "joint":
        return words
    other = "depth" if task == "mask" else "mask"
    place = words.index(f"--{other}-loss")
    own = [*words[:place], *words[place + 2 :]]
    return ["--loss" if word == f"--{task}-loss" else word for word in own]


def _evaluated(task: str, folder: Path, data: Path, words: list) -> dict[str, Any]:
    result = folder / f"{task}.json"
    if not result.exists():
        weights = ("--checkpoint", folder / "best.safetensors")
        run_python(f"evaluate_{task}.py", "--data", data, *weights, "--output", result, *words)
    return json.loads(result.read_text())


def _score(evaluation: dict[str, Any], score: str) -> list[float]:
    """Value and interval of a score on samples that are new in both, or on all without such."""
    cell = UNSEEN_BOTH if UNSEEN_BOTH in evaluation["cells"] else "all"
    values = evaluation["cells"].get(cell) or evaluation["scores"]
    key = f"{score}_per_image"
    return [values["model"][key], *evaluation["intervals"][cell]["model"][key]]


if __name__ == "__main__":
    main()
