"""Compares settings for a small depth teacher: short trainings that differ in one setting each.

    python -m benchmarks.teacher_levers --pairs nyu/train --others rgbd --foregrounds DIR \
        --photographs DIR --encoders efficientnet-lite*.pth --output runs/levers

One of every four stretches of 25 neighbouring frames is held out for scoring, so that few rooms are
on both sides. All trainings take about as many steps: a tenth of those of the bundled teacher, at
half its size. Settings that pay off late (more augmentation, a larger encoder) show less here. The
first setting is trained twice with different seeds, which shows how much the scores vary by chance.
"""

import argparse
import json
from pathlib import Path

from benchmarks.common import keep, link_into, markdown_table, run_python, run_training
from dsetkit.arguments import COUNT, Parser
from dsetkit.demo.scenes import write_rgbd

STRETCH = 25  # neighbouring frames, which often show one room
HELD_OUT = 4  # one stretch of so many
DRAWN_ROOMS = 600
COMPOSITES = 600

BASE = {  # as the bundled teacher's recipe, shortened
    "--arch": ["depth_lite"],
    "--arch-options": ["encoder=lite0"],
    "--img-sizes": ["96x128"],
    "--epochs": [6],
    "--batch-size": [8],
    "--loss": ["silog+log_l1"],
    "--augment": ["full"],
    "--lr": [7e-4],
    "--weight-decay": [0.02],
    "--warmup-steps": [50],
    "--clip-grad": [1],
    "--ema": [0.99],
    "--amp": ["none"],
    "--no-channels-last": [],
}


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--pairs", type=Path, required=True, metavar="DIR", help="NYU's training frames")
    add("--others", type=Path, metavar="DIR", help="pairs of other cameras")
    add("--foregrounds", type=Path, metavar="DIR", help="cut-outs to paste")
    add("--photographs", type=Path, metavar="DIR", help="without depth, for self-training")
    add("--encoders", type=Path, nargs="+", required=True, metavar="FILE",
        help="ImageNet weights of EfficientNet-Lite, named as published")  # fmt: skip
    add("--output", type=Path, required=True, metavar="DIR", help="what is there is kept")
    add("--only", nargs="+", metavar="NAME", help="these settings alone")
    add("--limit-samples", type=COUNT, metavar="N", help="of trainings and scores, for a look")
    args = parser.parse_args()

    encoders = {f"lite{path.name.split('-lite')[1][0]}": path for path in args.encoders}
    frames = _dealt(args.pairs, args.output / "pairs")
    data = {side: args.output / side for side in frames}
    for side, folder in frames.items():
        _import(folder, data[side], split=side)

    rows = {}
    for name, changed in settings(encoders).items():
        if args.only and name not in args.only:
            continue
        trained_on = _trained_on(changed.pop("data", None), args, data["train"])
        if not trained_on:
            print(f"{name}: left out, no pictures for it")
            continue
        run = args.output / "runs" / name.replace(" ", "-").replace(",", "")
        flags = BASE | changed
        rows[name] = _score(run, flags, trained_on, encoders, data["test"], args.limit_samples)
        print(f"{name}: δ1 {rows[name]['delta_1']:.3f}, RMSE {rows[name]['rmse_m']:.3f} m")
    table = [(name, f"{row['delta_1']:.3f}", f"{row['rmse_m']:.3f}") for name, row in rows.items()]
    print(markdown_table(["setting", "δ1", "RMSE [m]"], table))
    keep("teacher_levers", {"title": "teacher_levers", "scores": rows}, seeds=[0, 1])


def settings(encoders: dict[str, Path]) -> dict[str, dict[str, list]]:
    """Name -> what differs from BASE; `data` names further or other training data."""
    found = {
        "base": {},
        "base, another seed": {"--seed": [1]},
        "loss l1": {"--loss": ["l1"]},
        "loss berhu": {"--loss": ["berhu"]},
        "loss silog": {"--loss": ["silog"]},
        "loss with multi-scale gradients": {"--loss": ["silog+log_l1+grad:0.2"]},
        "augment none": {"--augment": ["none"]},
        "augment flip": {"--augment": ["flip"]},
        "augment flip+scale": {"--augment": ["flip+scale"]},
        "augment flip+colour": {"--augment": ["flip+colour"]},
        "augment full+cutdepth": {"--augment": ["full+cutdepth"]},
        "head linear": {"--arch-options": ["encoder=lite0", "head=linear"]},
        "head inverse": {"--arch-options": ["encoder=lite0", "head=inverse"]},
        "no EMA": {"--ema": [0]},
        "twice as long": {"--epochs": [12]},
        "pasted cut-outs": {"data": "pasted", "--epochs": [3]},
        "pairs of other cameras": {"data": "others", "--epochs": [4]},
        "drawn rooms": {"data": "drawn", "--epochs": [3]},
        "self-training": {"data": "composites", "--epochs": [3]},
    }
    for encoder in sorted(encoders.keys() - {"lite0"}):
        found[f"encoder {encoder}"] = {"--arch-options": [f"encoder={encoder}"]}
    return found


# ---- data --------------------------------------------------------------------------------------


def _dealt(pairs: Path, output: Path) -> dict[str, Path]:
    """Create folders of links to the frames of either side: `train` and `test`."""
    files: dict[str, list[Path]] = {"train": [], "test": []}
    for number, colour in enumerate(sorted(pairs.glob("*_color.*"))):
        held_out = number // STRETCH % HELD_OUT == HELD_OUT - 1
        depth = colour.with_name(colour.name.split("_color")[0] + "_depth.png")
        files["test" if held_out else "train"] += [colour, depth]
    for side, members in files.items():
        link_into(output / side, members)
    return {side: output / side for side in files}


def _trained_on(kind: str | None, args: argparse.Namespace, train: Path) -> list[Path]:
    """Return the datasets of a setting; none if their pictures were not given."""
    if kind is None:
        return [train]
    more, base = args.output / kind, args.output / "runs/base/last.safetensors"
    photos = ["--foregrounds", args.foregrounds, "--backgrounds", args.photographs]
    if kind == "others" and args.others:
        _import(args.others, more)
    elif kind == "drawn":
        rooms = args.output / "rooms"
        if not rooms.exists():
            write_rgbd(rooms, DRAWN_ROOMS)
        _import(rooms, more)
    elif kind == "pasted" and args.foregrounds:
        _import(args.output / "pairs/train", more, "--foregrounds", args.foregrounds, "--pastes", 1)
        return [more]  # the frames as they are stand there too
    elif kind == "composites" and None not in photos and base.exists():
        run_python("-m", "dsetkit", "generate", *photos, "--output", more,
                   "--num-samples", COMPOSITES, "--teacher", f"checkpoint:{base}")  # fmt: skip
    else:
        return []
    return [train, more]


def _import(pairs: Path, dataset: Path, *flags: object, split: str = "train") -> None:
    run_python("-m", "dsetkit", "import-rgbd", "--root", pairs, "--output", dataset,
               "--split", split, *flags)  # fmt: skip


# ---- training and scoring ----------------------------------------------------------------------


def _score(
    run: Path,
    flags: dict[str, list],
    data: list[Path],
    encoders: dict[str, Path],
    test: Path,
    at_most: int | None,
) -> dict[str, float]:
    scores = run / "scores.json"
    limit = ["--limit-samples", at_most] if at_most else []
    if not scores.exists():
        encoder = flags["--arch-options"][0].split("=")[1]
        words = [word for flag, values in flags.items() for word in (flag, *values)]
        begin = ["--data", *data, "--pretrained", encoders[encoder], *words, *limit]
        run_training("train_depth.py", "--output", run, *begin)
        run_python("evaluate_depth.py", "--data", test, "--train-data", data[0], "--checkpoint",
                   run / "last.safetensors", "--native", "--protocol", "nyu", "--output", scores,
                   *limit)  # fmt: skip
    model = json.loads(scores.read_text())["scores"]["model"]
    return {"delta_1": model["delta_1_per_image"], "rmse_m": model["rmse_m_per_image"]}


if __name__ == "__main__":
    main()
