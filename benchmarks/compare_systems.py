"""Compares the five reference systems on one dataset, split and set of scores; writes JSON.

    python -m benchmarks.compare_systems --data DATASET --output RUNS

Each system is trained twice, at the same image size and for the same number of epochs: as its
author intended (`examples/system_00X.sh`; schedules count epochs, so all of their steps are taken),
and by one recipe for all (AdamW, cosine, BCE + Dice for masks, L1 for depth, flips). Each training
is repeated with several seeds; 002 and 004 cost most and take one. Scores are kept for all four
cells of the test split, with 95 % intervals by the choice of images. The seconds per 1,000 samples
are those of training steps alone, with both maps and two input pictures.

The JSON is written after each training. Finished trainings are not repeated, so the same command
continues an interrupted run. With --add, trainings that the JSON has from elsewhere stay in it: so
several machines or days can share the work.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import torch

from benchmarks import tables
from benchmarks.common import REPOSITORY, add_row, earlier, keep, mark_done, rounds
from dsetkit.arguments import BATCH, COUNT, SIDE_PX, Parser
from models import create_model

NAME = "compare_systems"  # of the JSON
BOTH = ["composite", "background"]
RECIPE = "--opt adamw --lr 1e-3 --sched cosine --warmup-steps 50 --clip-grad 1 --ema 0.99".split()
SCORES = {"mask": ("iou", "mae"), "depth": ("rmse_m", "delta_1")}  # of evaluate_*.py


@dataclass(frozen=True)
class System:
    """A reference system's networks, with their inputs and losses.

    Attributes:
        seeds: With how many its trainings are repeated.
    """

    number: str
    inputs: tuple[str, ...]
    loss: str
    mask_arch: str
    depth_arch: str
    seeds: int = 3

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
           "mask_autoencoder", "resnet50_upproj", seeds=1),
    System("003", tuple(BOTH[::-1]), "BCE + BCE", "shared_unet", "shared_unet"),
    System("004", tuple(BOTH), "L1 + 2 L1", "lite_dual", "lite_dual", seeds=1),
)  # fmt: skip


def main() -> None:
    parser = Parser(description="Score the five reference systems on one ruler.")
    add = parser.add_argument
    add("--data", required=True, type=Path, metavar="DATASET", help="with backgrounds and depth")
    add("--output", required=True, type=Path, metavar="RUNS", help="folder for the runs")
    add("--img-size", type=SIDE_PX, default=32, help="px (default: 32)")
    add("--epochs", type=COUNT, default=10, help="of each training (default: 10)")
    add("--batch-size", type=BATCH, default=16, help="samples per step (default: 16)")
    add("--limit-samples", type=COUNT, help="of each split (default: all)")
    add("--systems", nargs="+", default=[s.number for s in SYSTEMS], metavar="00X")
    add("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    add("--seeds", type=COUNT, default=3, help="of each system at most (default: 3)")
    add("--add", action="store_true", help="keep the trainings that the JSON has already")
    args = parser.parse_args()
    common = ["--img-sizes", args.img_size, "--epochs", args.epochs]
    common += ["--batch-size", args.batch_size]
    common += ["--limit-samples", args.limit_samples] if args.limit_samples else []
    systems = [system for system in SYSTEMS if system.number in args.systems]
    kept = ("img_size", "epochs", "batch_size", "limit_samples")
    settings = {name: getattr(args, name) for name in kept}
    content = earlier(NAME, settings) if args.add else {"settings": settings, "rows": []}
    speeds = _training_speeds(systems, size=args.img_size, batch_size=args.batch_size)
    seconds = {number: 1000 / speed for number, speed in speeds.items()}
    content["seconds"] = content.get("seconds", {}) | seconds
    rows = content["rows"]
    for seed, form, system in product(range(args.seeds), args.forms, systems):
        if seed >= system.seeds:
            continue
        run = args.output / f"{system.number}-{form}-{seed}"
        if not (run / "done").exists():
            shutil.rmtree(run, ignore_errors=True)
            words = [str(word) for word in (*common, "--seed", seed)]
            FORMS[form](system, args.data, run, words)
            mark_done(run)
        row = {"form": form, "seed": seed, **_row(system, form, run)}
        add_row(rows, row, keys=("form", "system", "seed"), run=run)
        rows.sort(key=lambda row: ([*FORMS].index(row["form"]), row["system"], row["seed"]))
        keep(NAME, content, seeds=sorted({row["seed"] for row in rows}))
    print(tables.compare_systems(content), tables.compare_systems_cells(content), sep="\n\n")


# ---- the two ways of training ------------------------------------------------------------------


def as_meant(system: System, data: Path, run: Path, common: list[str]) -> None:
    """Return the author's own losses, optimizer and schedule."""
    _run("bash", REPOSITORY / "examples" / f"system_{system.number}.sh", data, run, *common)


def alike(system: System, data: Path, run: Path, common: list[str]) -> None:
    """Return the recipe for all networks, with background and composite as inputs."""
    recipe = [*RECIPE, "--augment", "flip", "--inputs", *BOTH, *common]
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


def _row(system: System, form: str, run: Path) -> dict:
    in_channels = 3 * len(system.inputs) if form == "meant" else 6
    return {
        "system": system.number,
        "parameters": system.parameters(in_channels),
        "inputs": in_channels,
        "loss": system.loss if form == "meant" else "BCE + Dice; L1",
        "cells": _cells(run),
    }


def _cells(run: Path) -> dict:
    """Cell -> "who: score" -> value, low and high end of its interval, of all images too.

    Args:
        run: With mask.json and depth.json somewhere below.
    """
    found: dict[str, dict] = {}
    for task, scores in SCORES.items():
        (path,) = run.rglob(f"{task}.json")
        evaluation = json.loads(path.read_text())
        for cell, by_name in {"all": evaluation["scores"], **evaluation["cells"]}.items():
            for name, values in by_name.items():
                for score in scores:
                    key = f"{score}_per_image"
                    ends = evaluation["intervals"][cell][name][key]
                    found.setdefault(cell, {})[f"{name}: {score}"] = [values[key], *ends]
    return found


def _training_speeds(systems: Sequence[System], *, size: int, batch_size: int) -> dict[str, float]:
    """Return samples per second of training steps, measured in turns under equal load."""
    cases = {
        system.number: partial(_train_step, *_nets(system), size, batch_size) for system in systems
    }
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


if __name__ == "__main__":
    main()
