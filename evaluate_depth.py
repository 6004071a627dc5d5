"""Scores a depth network on a split, beside two baselines: RMSE first, with its protocol.

    python evaluate_depth.py --data DATASET --checkpoint runs/depth/best.safetensors
    python evaluate_depth.py --data DATASET --checkpoint FILE --output metrics.json --grid grid.png

NYU Depth V2 as the field scores it (frames without their white border, see
training/protocols.py; NYU_TRAIN gives the mean depth map):

    python evaluate_depth.py --data NYU_TEST --checkpoint FILE --img-size 192x256 --native \\
        --protocol nyu --tta flip --train-data NYU_TRAIN

A network of relative depth, its scale and shift fitted to each image:

    python evaluate_depth.py --data NYU_TEST --checkpoint FILE --protocol nyu --align scale-shift
"""

import dsetkit.openmp  # noqa: F401  (before torch)

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.data import default_collate

from dsetkit import SampleDataset, make_loader
from dsetkit.devices import pick_device, prepare_device
from dsetkit.errors import DsetkitError, RunError
from dsetkit.store import Manifest
from models import ModelError, answer, load_model
from training.cli import image_size, positive_int, run
from training.loop import Batch, evaluate, prepare_batch
from training.scoring.alignment import check_comparable
from training.scoring.baselines import MeanDepthMap, own_mean
from training.scoring.metrics import DepthMetrics
from training.scoring.pictures import depth_grid
from training.scoring.protocols import Protocol, add_protocol_arguments
from training.scoring.published_scores import score_published
from training.scoring.report import (
    DEPTH_ROWS,
    cell_scores,
    cell_table,
    protocol_table,
    published_table,
    score_table,
    show,
    spread,
    write_json,
    write_picture,
)

SCRIPT = "evaluate_depth.py"
GRID_SAMPLES = 6


def build_parser() -> argparse.ArgumentParser:
    # fmt: off
    parser = argparse.ArgumentParser(prog=SCRIPT, description="Score a depth network on a split.")
    add = parser.add_argument
    add("--data", required=True, metavar="DATASET", help="dataset to score on")
    add("--checkpoint", required=True, type=Path, metavar="FILE", help=".safetensors of a training")
    add("--split", choices=("train", "val", "test"), default="test", help="(default: test)")
    add("--batch-size", type=positive_int, default=32, metavar="N", help="(default: 32)")
    add("--workers", type=int, default=0, metavar="N", help="processes that load (default: 0)")
    add("--img-size", type=image_size, metavar="SIZE",
        help="N or HxW the network sees [px] (default: what it was trained at); scored there too")
    add("--native", action="store_true",
        help="score at the stored depth's own size: predictions are resized to it bilinearly")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: auto)")
    add("--train-data", metavar="DATASET",
        help="whose train split gives the mean depth map (default: that of --data)")
    add("--published", action="store_true",
        help="also the odd scores that reference systems printed; see training/published_scores.py")
    add("--output", type=Path, metavar="FILE", help="write everything as JSON")
    add("--grid", type=Path, metavar="FILE", help="write a picture of predictions (PNG)")
    # fmt: on
    add_protocol_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    device = prepare_device(pick_device(args.device))

    # ---- Network and data ----------------------------------------------------------------------
    net, about = load_model(args.checkpoint, device=device, needs="depth")
    size = tuple(args.img_size or about["img_size"])
    target_size = None if args.native else size
    pictures = SampleDataset(args.data, split=args.split, size=size, fields=about["inputs"])
    depths = SampleDataset(args.data, split=args.split, size=target_size, fields=("depth",))
    manifest = pictures.manifest
    scale = {"depth_kind": manifest.depth_kind, "max_depth_m": manifest.max_depth_m}
    check_comparable(about["depth_kind"], manifest.depth_kind, how=args.align, where=args.data)
    check_same_unit(about, manifest, where=args.data)
    if about["depth_kind"] != manifest.depth_kind and (args.grid or args.published):
        raise RunError(
            f"{args.checkpoint} predicts {about['depth_kind']} depth, --grid and --published "
            f"expect {manifest.depth_kind} depth as in {args.data}: leave them out"
        )
    protocol = Protocol(
        name=args.protocol,
        **scale,
        prediction_kind=about["depth_kind"],
        other_crop=args.crop,
        align=args.align,
        tta=args.tta,
    )
    if len(pictures) == 0:
        raise RunError(f"{args.data} has no {args.split} samples: choose another --split")

    def predict(batch: Batch) -> torch.Tensor:
        """(N, 1, h, w): depth as a share of the largest depth, at the network's own size."""
        x = torch.cat([batch[name] for name in about["inputs"]], dim=1)
        depth = answer(net, net(x), "depth")
        if args.tta == "flip":
            return (depth + answer(net, net(x.flip(-1)), "depth").flip(-1)) / 2
        return depth

    # ---- Scores of the network and of the baselines --------------------------------------------
    mean_map = train_mean_map(args.train_data or args.data, size, manifest)
    if mean_map is None and args.train_data:
        raise RunError(f"--train-data {args.train_data} has no train samples: give another dataset")
    names = ("model", "mean map", "own mean") if mean_map is not None else ("model", "own mean")
    metrics = {name: DepthMetrics(**protocol.options()) for name in names}
    metrics["model"] = DepthMetrics(**protocol.options(), prediction_kind=protocol.prediction_kind)
    target_sizes = set()

    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []  # for --published

    def judge(batch: Batch) -> None:
        batch = prepare_batch(batch, device)
        target = batch["depth"]
        target_sizes.add(tuple(target.shape[-2:]))
        depth = predict(batch)
        metrics["model"].update(depth, target)
        if args.published:
            pairs.append((depth.cpu(), target.cpu()))
        metrics["own mean"].update(own_mean(target), target)
        if mean_map is not None:
            metrics["mean map"].update(mean_map.to(device).expand(len(target), -1, -1, -1), target)

    # pictures of different sizes cannot be stacked, so they come one by one
    batch_size = 1 if args.native and 0 in manifest.size else args.batch_size
    options = {"batch_size": batch_size, "workers": args.workers, "shuffle": False}
    loaders = make_loader(pictures, **options), make_loader(depths, **options)
    batches = (picture | depth for picture, depth in zip(*loaders, strict=True))
    evaluate(batches, judge, total=len(loaders[0]), label=f"{args.split} split")
    scores = {name: metric.compute() for name, metric in metrics.items()}
    published = score_published(pairs) if pairs else {}
    cells = cell_scores(metrics, pictures.cells, pictures.CELL_NAMES)
    if scores["model"]["images"] == 0:
        raise RunError(f"{args.data}: no {args.split} sample has a valid depth pixel to score")

    # ---- Answer --------------------------------------------------------------------------------
    is_metric = manifest.depth_kind == "metric"
    rows = DEPTH_ROWS[manifest.depth_kind]
    about_scores = {
        "images": f"{scores['model']['images']} of {len(pictures)} (those with a valid pixel)",
        "input": f"{' + '.join(about['inputs'])} at {size[0]}x{size[1]} px",
        "target": f"{', '.join(f'{h}x{w}' for h, w in sorted(target_sizes))} px, "
        f"{'as stored' if args.native else 'resized'}; predictions are resized to it bilinearly",
        **protocol.lines(min(target_sizes)),
        "mean map": f"mean depth at each pixel of the train split of {args.train_data or args.data}"
        if mean_map is not None
        else f"n/a: {args.data} has no train samples; give --train-data",
        "own mean": "each target's own mean depth: an oracle, it has seen the target",
    }
    show(f"{args.checkpoint} on {args.data}, {args.split} split")
    show(protocol.headline())
    columns = {"model": scores["model"], "mean map": None} | scores
    show(score_table(columns, rows, average=args.average))
    if cells:
        label, score = rows[1] if is_metric else rows[0]
        show(cell_table(label, cells, score, average=args.average))
    show(protocol_table(about_scores))
    if published:
        show(published_table(published))
    if args.output:
        content = {
            "checkpoint": {"path": str(args.checkpoint), **about},
            "dataset": {"path": str(args.data), "split": args.split},
            "dataset_fingerprint": manifest.fingerprint,
            "protocol": about_scores,
            "scores": scores,
            "cells": cells,
            "published": published,
        }
        write_json(args.output, content)
    if args.grid:
        fields = tuple(dict.fromkeys([*about["inputs"], "depth"]))
        data = SampleDataset(args.data, split=args.split, size=size, fields=fields)
        batch = default_collate([data[i] for i in spread(len(data), GRID_SAMPLES)])
        with torch.inference_mode():
            prediction = predict(prepare_batch(batch, device))
        picture = depth_grid(batch[about["inputs"][0]], batch["depth"], prediction, **scale)
        write_picture(args.grid, picture)


def check_same_unit(about: dict, manifest: Manifest, *, where: str) -> None:
    """Raises RunError unless metric network and dataset mean the same by a depth of 1."""
    largest_m = about["max_depth_m"]
    if about["depth_kind"] == "metric" and largest_m != manifest.max_depth_m:
        raise RunError(
            f"{where} has depth up to {manifest.max_depth_m:g} m, the network up to "
            f"{largest_m:g} m: score it on a dataset made with that largest depth"
        )


def train_mean_map(dataset: str, size: tuple[int, int], like: Manifest) -> torch.Tensor | None:
    """(1, 1, H, W) mean depth of a dataset's train split; None when it has no train samples."""
    data = SampleDataset(dataset, split="train", size=size, fields=("depth",))
    found = data.manifest
    if (found.depth_kind, found.max_depth_m) != (like.depth_kind, like.max_depth_m):
        raise RunError(
            f"{dataset} has {found.depth_kind} depth up to {found.max_depth_m:g} m: expected "
            f"{like.depth_kind} up to {like.max_depth_m:g} m as in --data; give another "
            "--train-data"
        )
    if len(data) == 0:
        return None
    mean_map = MeanDepthMap()
    loader = make_loader(data, batch_size=64, shuffle=False)
    evaluate(
        loader,
        lambda batch: mean_map.update(batch["depth"]),
        total=len(loader),
        label="mean map of the train split",
    )
    return mean_map.compute()


if __name__ == "__main__":
    sys.exit(run(main, RunError, DsetkitError, ModelError))
