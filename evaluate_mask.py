"""Scores a mask network on a split, beside a baseline without learning: RMSE first, then IoU.

    python evaluate_mask.py --data DATASET --checkpoint runs/mask/best.safetensors
    python evaluate_mask.py --data DATASET --checkpoint FILE --output metrics.json --grid grid.png

The baseline calls foreground what differs from the background picture by more than a threshold in
some channel; the threshold is the best one on the train split.
"""

import dsetkit.openmp  # noqa: F401  (before torch)

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.data import Subset, default_collate

from dsetkit import SampleDataset, make_loader
from dsetkit.devices import pick_device, prepare_device
from dsetkit.errors import DsetkitError, RunError
from models import ModelError, answer, load_model
from training.cli import image_size, positive_int, run
from training.loop import Batch, evaluate, prepare_batch
from training.scoring.baselines import BestThreshold, difference
from training.scoring.metrics import MaskMetrics
from training.scoring.pictures import mask_grid
from training.scoring.published_scores import score_published
from training.scoring.report import (
    AVERAGES,
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

SCRIPT = "evaluate_mask.py"
GRID_SAMPLES = 6
BOUNDARY_PX = 2
TUNING_SAMPLES = 1000
TUNING_THRESHOLDS = [level / 255 for level in range(2, 130, 4)]
ROWS = (
    ("RMSE", "rmse"),
    ("MAE", "mae"),
    ("IoU", "iou"),
    ("Dice", "dice"),
    ("soft Dice", "dice_soft"),
    ("boundary F", "boundary_f"),
)


def build_parser() -> argparse.ArgumentParser:
    # fmt: off
    parser = argparse.ArgumentParser(prog=SCRIPT, description="Score a mask network on a split.")
    add = parser.add_argument
    add("--data", required=True, metavar="DATASET", help="dataset to score on")
    add("--checkpoint", required=True, type=Path, metavar="FILE", help=".safetensors of a training")
    add("--split", choices=("train", "val", "test"), default="test", help="(default: test)")
    add("--batch-size", type=positive_int, default=32, metavar="N", help="(default: 32)")
    add("--workers", type=int, default=0, metavar="N", help="processes that load (default: 0)")
    add("--img-size", type=image_size, metavar="SIZE",
        help="N or HxW the network sees and is scored at [px] (default: what it was trained at)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: auto)")
    add("--threshold", type=float, default=0.5, metavar="T",
        help="probability and soft target from which a pixel is foreground (default: 0.5)")
    add("--tta", choices=("none", "flip"), default="none",
        help="flip: mean of the answers to the picture and to its mirror image (default: none)")
    add("--average", choices=AVERAGES, default="image",
        help="printed first: mean over images, or all pixels as one image (default: image)")
    add("--train-data", metavar="DATASET",
        help="whose train split tunes the baseline's threshold (default: that of --data)")
    add("--published", action="store_true",
        help="also the odd scores that reference systems printed; see training/published_scores.py")
    add("--output", type=Path, metavar="FILE", help="write everything as JSON")
    add("--grid", type=Path, metavar="FILE", help="write a picture of predictions (PNG)")
    # fmt: on
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    device = prepare_device(pick_device(args.device))

    # ---- Network and data ----------------------------------------------------------------------
    net, about = load_model(args.checkpoint, device=device, needs="mask")
    size = tuple(args.img_size or about["img_size"])
    needed = (*about["inputs"], "mask")
    manifest = SampleDataset(args.data, split=args.split, size=size, fields=needed).manifest
    pair = [name for name in ("composite", "background") if name in manifest.fields]
    fields = tuple(dict.fromkeys([*needed, *pair]))
    data = SampleDataset(args.data, split=args.split, size=size, fields=fields)
    if len(data) == 0:
        raise RunError(f"{args.data} has no {args.split} samples: choose another --split")

    def predict(batch: Batch) -> torch.Tensor:
        """(N, 1, H, W): probability of foreground."""
        x = torch.cat([batch[name] for name in about["inputs"]], dim=1)
        mask = answer(net, net(x), "mask")
        if args.tta == "flip":
            return (mask + answer(net, net(x.flip(-1)), "mask").flip(-1)) / 2
        return mask

    # ---- Scores of the network and of the baseline ---------------------------------------------
    limit = None
    if len(pair) == 2:
        limit = best_difference(args.train_data or args.data, size, threshold=args.threshold)
    names = ("model",) if limit is None else ("model", "difference")
    settings = {"threshold": args.threshold, "boundary_px": BOUNDARY_PX}
    metrics = {name: MaskMetrics(**settings) for name in names}

    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []  # for --published

    def judge(batch: Batch) -> None:
        batch = prepare_batch(batch, device)
        mask = predict(batch)
        metrics["model"].update(mask, batch["mask"])
        if args.published:
            pairs.append((mask.cpu(), batch["mask"].cpu()))
        if limit is not None:
            differs = difference(batch["composite"], batch["background"]) > limit
            metrics["difference"].update(differs, batch["mask"])

    loader = make_loader(data, batch_size=args.batch_size, workers=args.workers, shuffle=False)
    evaluate(loader, judge, total=len(loader), label=f"{args.split} split")
    scores = {name: metric.compute() for name, metric in metrics.items()}
    published = score_published(pairs) if pairs else {}
    cells = cell_scores(metrics, data.cells, data.CELL_NAMES)

    # ---- Answer --------------------------------------------------------------------------------
    protocol = {
        "images": str(len(data)),
        "input": f"{' + '.join(about['inputs'])} at {size[0]}x{size[1]} px, scored at that size",
        "unit": "RMSE and MAE: probability against soft target, 0..1",
        "threshold": f"IoU, Dice, boundary F: foreground from {args.threshold:g}",
        "boundary F": f"boundary pixels match within {BOUNDARY_PX} px",
        "augmentation": "mean with the mirrored picture" if args.tta == "flip" else "none",
        "per image": "mean over images of each image's score",
        "pooled": "score of all pixels as if of one image",
        "difference": describe_difference(limit, args.train_data or args.data),
    }
    show(f"{args.checkpoint} on {args.data}, {args.split} split")
    columns = {"model": scores["model"], "difference": None} | scores
    show(score_table(columns, ROWS, average=args.average))
    if cells:
        show(cell_table("IoU", cells, "iou", average=args.average))
    show(protocol_table(protocol))
    if published:
        show(published_table(published))
    if args.output:
        content = {
            "checkpoint": {"path": str(args.checkpoint), **about},
            "dataset": {"path": str(args.data), "split": args.split},
            "dataset_fingerprint": manifest.fingerprint,
            "protocol": protocol,
            "scores": scores,
            "cells": cells,
            "published": published,
        }
        write_json(args.output, content)
    if args.grid:
        batch = default_collate([data[i] for i in spread(len(data), GRID_SAMPLES)])
        floats = prepare_batch(batch, device)
        with torch.inference_mode():
            probability = predict(floats)
        write_picture(args.grid, mask_grid(batch[fields[0]], floats["mask"], probability))


def best_difference(dataset: str, size: tuple[int, int], *, threshold: float) -> float | None:
    """The baseline's threshold, best on train samples; None when the dataset has none."""
    fields = ("composite", "background", "mask")
    data = SampleDataset(dataset, split="train", size=size, fields=fields)
    if len(data) == 0:
        return None
    best = BestThreshold(TUNING_THRESHOLDS)

    def judge(batch: Batch) -> None:
        batch = prepare_batch(batch, torch.device("cpu"))
        values = difference(batch["composite"], batch["background"])
        best.update(values, batch["mask"] >= threshold)

    some = Subset(data, spread(len(data), TUNING_SAMPLES))
    loader = make_loader(some, batch_size=32, shuffle=False)
    evaluate(loader, judge, total=len(loader), label="baseline on the train split")
    return best.compute()


def describe_difference(limit: float | None, dataset: str) -> str:
    if limit is None:
        return f"n/a: {dataset} has no train samples with their backgrounds; give --train-data"
    return (
        f"foreground where max_c |composite - background| > {limit:.3f}; best IoU on up to "
        f"{TUNING_SAMPLES} train samples of {dataset}"
    )


if __name__ == "__main__":
    sys.exit(run(main, RunError, DsetkitError, ModelError))
