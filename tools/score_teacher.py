"""Scores a teacher's labels against measured depth, to choose one before a long run.

    python -m dsetkit import-rgbd --root PICTURES --output RGBD_DATASET --split test
    python -m tools.score_teacher --teacher bundled --data RGBD_DATASET --protocol nyu
    python -m tools.score_teacher --teacher checkpoint:FILE --data RGBD_DATASET --protocol nyu \\
        --align scale-shift --output teacher.json

The teacher labels pictures as in `python -m dsetkit generate`, and its labels are compared with the
stored depth at that depth's own size. Labels that are not usable (not finite, or one value
everywhere) end the scoring. Teachers of relative depth need --align scale-shift. Compare teachers
under the same protocol and the same alignment only.
"""

from dsetkit.stopping import SCRIPT_NAMES, end_while_loading, leave

if __name__ in SCRIPT_NAMES:
    end_while_loading(__name__)

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from dsetkit import SampleDataset, make_loader
from dsetkit.arguments import WORKERS, Parser
from dsetkit.cli.teacher_verbs import add_teacher_flags, teacher_choice
from dsetkit.console import run
from dsetkit.errors import RunError
from dsetkit.files import write_json
from dsetkit.teachers import Teacher, checked_depth, load_teacher
from models import ModelError
from training.loop import Batch, evaluate
from training.scoring.alignment import check_comparable
from training.scoring.depth_scores import DepthScores, scale_of
from training.scoring.evaluation import check_has_samples
from training.scoring.protocols import add_protocol_arguments, read_protocol
from training.scoring.report import DEPTH_ROWS, protocol_table, score_table, show

SCRIPT = "score_teacher"


def build_parser() -> Parser:
    # fmt: off
    parser = Parser(prog=SCRIPT, description="Score a teacher on measured depth.")
    add = parser.add_argument
    add("--data", required=True, metavar="DATASET", help="with measured depth, see import-rgbd")
    add("--split", choices=("train", "val", "test"), default="test", help="(default: test)")
    add("--workers", type=WORKERS, default=0, metavar="N", help="processes that load (default: 0)")
    add("--output", type=Path, metavar="FILE", help="write everything as JSON")
    # fmt: on
    add_teacher_flags(parser.add_argument_group("teacher").add_argument, default=None)
    add_protocol_arguments(parser)
    parser.set_defaults(teacher_edges=None)  # labels are scored as the teacher gives them
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)

    # ---- Teacher and data ----------------------------------------------------------------------
    teacher = load_teacher(args.teacher, device=args.device, options=teacher_choice(args).options)
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
    check_has_samples(data, args.data, args.split)
    protocol = read_protocol(args, scale_of(manifest), prediction_kind=teacher.kind)
    # The teacher predicts metres, targets are shares of the dataset's largest depth.
    unit = manifest.max_depth_m if teacher.kind == "metric" else 1

    # ---- Scores --------------------------------------------------------------------------------
    scorer = DepthScores("teacher", protocol)
    seconds, labelled = 0.0, 0

    def update(batch: Batch) -> None:
        nonlocal seconds, labelled
        composites = batch["composite"].permute(0, 2, 3, 1).contiguous().numpy()
        started = time.perf_counter()
        depths = label(teacher, composites, first=labelled, flip=args.tta == "flip")
        seconds += time.perf_counter() - started
        labelled += len(composites)
        scorer.update(torch.from_numpy(depths)[:, None] / unit, batch["depth"])

    # Pictures of different sizes cannot be stacked, so they come one by one.
    batch_size = 1 if 0 in manifest.size else args.batch_size
    loader = make_loader(data, batch_size, workers=args.workers, shuffle=False)
    evaluate(loader, update, total=len(loader), label=f"{args.split} split")
    scores = scorer.compute(dataset=args.data, split=args.split)

    # ---- Result --------------------------------------------------------------------------------
    lines = scorer.describe(
        len(data), inputs="composite as stored; the teacher resizes it itself", native=True
    )
    speed = f"{labelled / seconds:.1f} images/s in batches of {batch_size} on {args.device}"
    lines["speed"] = speed + (", each labelled twice" if args.tta == "flip" else "")
    show(f"teacher {args.teacher} ({teacher.kind}) on {args.data}, {args.split} split")
    show(protocol.headline())
    show(score_table(scores, DEPTH_ROWS[manifest.depth_kind], average=args.average))
    show(protocol_table(lines))
    if args.output:
        content = {
            "teacher": {"name": args.teacher, "kind": teacher.kind, "hash": teacher.weights_hash},
            "dataset": {"path": str(args.data), "split": args.split},
            "dataset_fingerprint": manifest.fingerprint,
            "protocol": lines,
            "scores": scores,
        }
        write_json(args.output, content)


def label(teacher: Teacher, composites: np.ndarray, *, first: int, flip: bool) -> np.ndarray:
    """The teacher's depth of composites: float32 (N, h, w) in the teacher's own unit.

    Args:
        teacher: what gives depth.
        composites: uint8 (N, H, W, 3) RGB.
        first: number of the first picture, for messages.
        flip: whether to take the mean with the labels of the mirrored pictures.

    Raises:
        TeacherError: a label that is not usable; it names the picture.
    """
    ways = (composites, composites[:, :, ::-1].copy()) if flip else (composites,)
    limit, name = teacher.max_depth_m, teacher.name
    depths = [
        checked_depth(teacher(x), len(x), teacher=name, first=first, max_depth_m=limit)
        for x in ways
    ]
    return (depths[0] + depths[1][:, :, ::-1]) / 2 if flip else depths[0]


if __name__ == "__main__":
    leave(run(main, ModelError, name=SCRIPT))
