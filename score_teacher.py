"""Scores a teacher's labels against measured depth, to choose one before a long run.

    python -m dsetkit import-rgbd --root PICTURES --output RGBD_DATASET --split test
    python score_teacher.py --teacher bundled --data RGBD_DATASET --protocol nyu
    python score_teacher.py --teacher checkpoint:FILE --data RGBD_DATASET --protocol nyu \\
        --align scale-shift --output teacher.json

The teacher is asked as `python -m dsetkit generate` asks it, and its answers are held against the
stored depth at that depth's own size. Answers that are no labels (not finite, or one value all
over) stop it. Teachers of relative depth are scored with --align scale-shift; compare teachers by
one protocol and one alignment only.
"""

import dsetkit.openmp  # noqa: F401  (before torch)

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from dsetkit import SampleDataset, make_loader
from dsetkit.cli.teacher_verbs import add_teacher_flags, teacher_options
from dsetkit.errors import DsetkitError, RunError
from dsetkit.teachers import Teacher, checked_depth, load_teacher
from models import ModelError
from training.cli import run
from training.loop import Batch, evaluate
from training.scoring.alignment import check_comparable
from training.scoring.baselines import own_mean
from training.scoring.metrics import DepthMetrics
from training.scoring.protocols import Protocol, add_protocol_arguments
from training.scoring.report import DEPTH_ROWS, protocol_table, score_table, show, write_json

SCRIPT = "score_teacher.py"


def build_parser() -> argparse.ArgumentParser:
    # fmt: off
    parser = argparse.ArgumentParser(prog=SCRIPT, description="Score a teacher on measured depth.")
    add = parser.add_argument
    add("--data", required=True, metavar="DATASET", help="with measured depth, see import-rgbd")
    add("--split", choices=("train", "val", "test"), default="test", help="(default: test)")
    add("--workers", type=int, default=0, metavar="N", help="processes that load (default: 0)")
    add("--output", type=Path, metavar="FILE", help="write everything as JSON")
    # fmt: on
    add_teacher_flags(parser.add_argument_group("teacher").add_argument, default=None)
    add_protocol_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)

    # ---- Teacher and data ----------------------------------------------------------------------
    teacher = load_teacher(args.teacher, device=args.device, options=teacher_options(args))
    if teacher is None:
        raise RunError(f"--teacher {args.teacher} gives no depth to score: name another")
    data = SampleDataset(args.data, split=args.split, size=None, fields=("composite", "depth"))
    manifest = data.manifest
    check_comparable(teacher.kind, manifest.depth_kind, how=args.align, where=args.data)
    if getattr(teacher, "needs_range", False) and args.align != "scale-shift":
        raise RunError(
            f"teacher {args.teacher} answers in a unit of its own: give --align scale-shift, or "
            "--teacher-range LOW HIGH"
        )
    if len(data) == 0:
        raise RunError(f"{args.data} has no {args.split} samples: choose another --split")
    protocol = Protocol(
        name=args.protocol,
        depth_kind=manifest.depth_kind,
        max_depth_m=manifest.max_depth_m,
        prediction_kind=teacher.kind,
        other_crop=args.crop,
        align=args.align,
        tta=args.tta,
    )
    # the teacher answers in metres, targets are shares of the dataset's largest depth
    unit = manifest.max_depth_m if teacher.kind == "metric" else 1

    # ---- Scores --------------------------------------------------------------------------------
    metrics = {
        "teacher": DepthMetrics(**protocol.options(), prediction_kind=teacher.kind),
        "own mean": DepthMetrics(**protocol.options()),
    }
    seconds, asked = 0.0, 0
    target_sizes = set()

    def judge(batch: Batch) -> None:
        nonlocal seconds, asked
        composites = batch["composite"].permute(0, 2, 3, 1).contiguous().numpy()
        started = time.perf_counter()
        answers = ask(teacher, composites, first=asked, flip=args.tta == "flip")
        seconds += time.perf_counter() - started
        asked += len(composites)
        target = batch["depth"]
        target_sizes.add(tuple(target.shape[-2:]))
        metrics["teacher"].update(torch.from_numpy(answers)[:, None] / unit, target)
        metrics["own mean"].update(own_mean(target), target)

    # pictures of different sizes cannot be stacked, so they come one by one
    batch_size = 1 if 0 in manifest.size else args.batch_size
    loader = make_loader(data, batch_size, workers=args.workers, shuffle=False)
    evaluate(loader, judge, total=len(loader), label=f"{args.split} split")
    scores = {name: metric.compute() for name, metric in metrics.items()}
    images = scores["teacher"]["images"]
    if images == 0:
        raise RunError(f"{args.data}: no {args.split} sample has a valid depth pixel to score")

    # ---- Answer --------------------------------------------------------------------------------
    about = {
        "images": f"{images} of {len(data)} (those with a valid pixel)",
        "input": "composite as stored; the teacher brings it to its own size",
        "target": f"{', '.join(f'{h}x{w}' for h, w in sorted(target_sizes))} px, as stored; "
        "answers are resized to it bilinearly",
        **protocol.lines(min(target_sizes)),
        "own mean": "each target's own mean depth: an oracle, it has seen the target",
        "speed": f"{asked / seconds:.1f} images/s in batches of {batch_size} on {args.device}"
        + (", each asked twice" if args.tta == "flip" else ""),
    }
    show(f"teacher {args.teacher} ({teacher.kind}) on {args.data}, {args.split} split")
    show(protocol.headline())
    show(score_table(scores, DEPTH_ROWS[manifest.depth_kind], average=args.average))
    show(protocol_table(about))
    if args.output:
        content = {
            "teacher": {"name": args.teacher, "kind": teacher.kind, "hash": teacher.weights_hash},
            "dataset": {"path": str(args.data), "split": args.split},
            "dataset_fingerprint": manifest.fingerprint,
            "protocol": about,
            "scores": scores,
        }
        write_json(args.output, content)


def ask(teacher: Teacher, composites: np.ndarray, *, first: int, flip: bool) -> np.ndarray:
    """The teacher's depth of composites, uint8 (N, H, W, 3): float32 (N, h, w) in its own unit.

    Args:
        first: number of the first picture, for messages.
        flip: whether to take the mean with the answers to the mirrored pictures.

    Raises:
        TeacherError: an answer that is no label; it names the picture.
    """
    ways = (composites, composites[:, :, ::-1].copy()) if flip else (composites,)
    expected = {"teacher": teacher.name, "first": first, "max_depth_m": teacher.max_depth_m}
    answers = [checked_depth(teacher(pictures), len(pictures), **expected) for pictures in ways]
    return (answers[0] + answers[1][:, :, ::-1]) / 2 if flip else answers[0]


if __name__ == "__main__":
    sys.exit(run(main, RunError, DsetkitError, ModelError))
