"""Compares the five reference systems on one dataset, split and set of scores; writes JSON.

    python -m benchmarks.compare_systems --data DATASET --output RUNS

Each system is trained twice, at the same image size and for the same number of epochs: as its
author intended (`examples/system_00X.sh`), and by one recipe for all (AdamW, cosine, BCE + Dice for
masks, L1 for depth, flips). Scores are those of test samples whose background and foreground were
not in the training data. The seconds per 1,000 samples are those of training steps alone, with both
maps and two input pictures. Finished trainings are not repeated, so the same command continues an
interrupted run.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks.common import REPOSITORY, keep, rounds
from dsetkit.arguments import BATCH, COUNT, SIDE_PX, Parser
from models import create_model

UNSEEN = "test: both unseen"
BOTH = ["composite", "background"]


@dataclass(frozen=True)
class System:
    """A reference system's networks, with their inputs and losses."""

    number: str
    inputs: tuple[str, ...]
    loss: str
    mask_arch: str
    depth_arch: str

    @property
    def is_joint(self) -> bool:
        return self.mask_arch == self.depth_arch

    def parameters(self, in_channels: int) -> int:
        nets = [create_model(name, in_channels=in_channels) for name in self.archs]
        return sum(p.numel() for net in nets for p in net.parameters())

    @property
    def archs(self) -> set[str]:
        return {self.mask_arch, self.depth_arch}


SYSTEMS = (
    System("000", tuple(BOTH), "2 SSIM + SSIM", "dual_unet", "dual_unet"),
    System("001", tuple(BOTH[::-1]), "2 Dice + Dice", "res_unet", "res_unet"),
    System("002", ("composite",), "saliency; L1 + gradient + cosine",
           "mask_autoencoder", "resnet50_upproj"),
    System("003", tuple(BOTH[::-1]), "BCE + BCE", "shared_unet", "shared_unet"),
    System("004", tuple(BOTH), "L1 + 2 L1", "lite_dual", "lite_dual"),
)  # fmt: skip


def main() -> None:
    parser = Parser(description="Score the five reference systems on one ruler.")
    add = parser.add_argument
    add("--data", required=True, type=Path, metavar="DATASET", help="with backgrounds and depth")
    add("--output", required=True, type=Path, metavar="RUNS", help="folder for the runs")
    add("--img-size", type=SIDE_PX, default=32, help="px (default: 32)")
    add("--epochs", type=COUNT, default=4, help="of each training (default: 4)")
    add("--batch-size", type=BATCH, default=16, help="samples per step (default: 16)")
    add("--limit-samples", type=COUNT, help="of each split (default: all)")
    add("--systems", nargs="+", default=[s.number for s in SYSTEMS], metavar="00X")
    add("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    args = parser.parse_args()
    common = ["--img-sizes", args.img_size, "--epochs", args.epochs]
    common += ["--batch-size", args.batch_size]
    common += ["--limit-samples", args.limit_samples] if args.limit_samples else []
    rows = []
    for form in args.forms:
        for system in SYSTEMS:
            if system.number in args.systems:
                run = args.output / f"{system.number}-{form}"
                if not (run / "done").exists():
                    FORMS[form](system, args.data, run, [str(word) for word in common])
                    (run / "done").touch()
                rows.append(_row(system, form, run, args.epochs))
                print(_line(rows[-1]), flush=True)
    speeds = _training_speeds(args.systems, size=args.img_size, batch_size=args.batch_size)
    for row in rows:
        row["seconds"] = 1000 / speeds[row["system"]]
    baselines = _baselines(args.output / f"{args.systems[0]}-{args.forms[0]}")
    print("\n".join(["", *TITLE, *map(_line, [*baselines, *rows])]))
    kept = ("img_size", "epochs", "batch_size", "limit_samples")
    settings = {name: getattr(args, name) for name in kept}
    keep(
        "_".join(["compare_systems", *args.forms]),
        {"settings": settings, "rows": [*baselines, *rows]},
        seeds=[0],
    )


# ---- the two ways of training ------------------------------------------------------------------


def as_meant(system: System, data: Path, run: Path, common: list[str]) -> None:
    """Return the author's own losses, optimizer and schedule."""
    _run("bash", REPOSITORY / "examples" / f"system_{system.number}.sh", data, run, *common)


def alike(system: System, data: Path, run: Path, common: list[str]) -> None:
    """Return the recipe for all networks, with background and composite as inputs."""
    recipe = ["--opt", "adamw", "--lr", 1e-3, "--sched", "cosine", "--warmup-steps", 50]
    recipe += ["--clip-grad", 1, "--ema", 0.99, "--augment", "flip", "--inputs", *BOTH, *common]
    if system.is_joint:
        options = ["--arch-options", "mask_head=logits"]
        _train("joint", data, run, ["--arch", system.mask_arch, *options, *recipe])
        runs = {"mask": run, "depth": run}
    else:
        runs = {task: run / task for task in ("depth", "mask")}
        _train("depth", data, runs["depth"], ["--arch", system.depth_arch, *recipe])
        _train("mask", data, runs["mask"], ["--arch", system.mask_arch, *recipe])
    for task, folder in runs.items():
        _run(sys.executable, REPOSITORY / f"evaluate_{task}.py", "--data", data,
             "--checkpoint", folder / "best.safetensors", "--output", folder / f"{task}.json",
             "--grid", folder / f"{task}.png")  # fmt: skip


FORMS = {"meant": as_meant, "alike": alike}


def _train(task: str, data: Path, run: Path, arguments: list) -> None:
    script = REPOSITORY / f"train_{task}.py"
    _run(sys.executable, script, "--data", data, "--output", run, *arguments)


def _run(*command: object) -> None:
    words = [str(word) for word in command]
    print("$", " ".join(words), flush=True)
    subprocess.run(words, check=True, env=os.environ | {"PYTHON": sys.executable})


# ---- the table ---------------------------------------------------------------------------------

TITLE = (
    "| system | form | parameters | inputs | loss | epochs | mask IoU | mask MAE "
    "| depth RMSE | depth δ1 | s / 1,000 |",
    "|---|---|--:|--:|---|--:|--:|--:|--:|--:|--:|",
)


def _row(system: System, form: str, run: Path, epochs: int) -> dict:
    scores = {}
    for task in ("mask", "depth"):
        (path,) = run.rglob(f"{task}.json")
        scores[task] = json.loads(path.read_text())["cells"][UNSEEN]["model"]
    in_channels = 3 * len(system.inputs) if form == "meant" else 6
    return {
        "system": system.number,
        "form": form,
        "parameters": system.parameters(in_channels),
        "inputs": in_channels,
        "loss": system.loss if form == "meant" else "BCE + Dice; L1",
        "epochs": epochs,
        **_told(scores["mask"], scores["depth"]),
    }


def _told(mask: dict | None, depth: dict | None) -> dict:
    return {
        "mask_iou": mask and mask["iou_per_image"],
        "mask_mae": mask and mask["mae_per_image"],
        "depth_rmse": depth and depth["rmse_pooled"],
        "depth_delta_1": depth and depth["delta_1_per_image"],
    }


def _baselines(run: Path) -> list[dict]:
    (mask,), (depth,) = (list(run.rglob(f"{task}.json")) for task in ("mask", "depth"))
    mask, depth = (json.loads(path.read_text())["cells"][UNSEEN] for path in (mask, depth))
    return [
        {"system": "difference over a threshold", **_told(mask["difference"], None)},
        {"system": "mean depth map", **_told(None, depth["mean map"])},
        {"system": "each image's own mean (oracle)", **_told(None, depth["own mean"])},
    ]


def _training_speeds(numbers: list[str], *, size: int, batch_size: int) -> dict[str, float]:
    """Return samples per second of training steps, measured in turns under equal load."""
    cases = {}
    for system in SYSTEMS:
        if system.number in numbers:
            cases[system.number] = partial(_train_step, *_nets(system), size, batch_size)
    return {number: median for number, (median, _, _) in rounds(cases, repeat=5).items()}


def _nets(system: System) -> tuple[list[torch.nn.Module], torch.optim.Optimizer]:
    nets = [create_model(name, in_channels=6).train() for name in system.archs]
    weights = [weight for net in nets for weight in net.parameters()]
    return nets, torch.optim.SGD(weights, lr=1e-4)


def _train_step(
    nets: list[torch.nn.Module], optimizer: torch.optim.Optimizer, size: int, batch_size: int
) -> int:
    for net in nets:
        outputs = net(torch.rand(batch_size, 6, size, size))
        maps = outputs.values() if isinstance(outputs, dict) else [outputs]
        sum(output.square().mean() for output in maps).backward()
    optimizer.step()
    optimizer.zero_grad()
    return batch_size


def _line(row: dict) -> str:
    def cell(name: str, form: str) -> str:
        value = row.get(name)
        return "" if value is None else format(value, form)

    formats = {
        "system": "", "form": "", "parameters": ",", "inputs": "", "loss": "", "epochs": "",
        "mask_iou": ".3f", "mask_mae": ".4f", "depth_rmse": ".4f", "depth_delta_1": ".3f",
        "seconds": ".0f",
    }  # fmt: skip
    return "| " + " | ".join(cell(name, form) for name, form in formats.items()) + " |"


if __name__ == "__main__":
    main()
