"""Scores a mask network on a split, beside a baseline without learning: RMSE first, then IoU.

    python evaluate_mask.py --data DATASET --checkpoint runs/mask/best.safetensors
    python evaluate_mask.py --data DATASET --checkpoint FILE --output metrics.json --grid grid.png

The baseline calls foreground what differs from the background picture by more than a threshold in
some channel; the threshold is the best one on the train split.
"""

import dsetkit.openmp  # noqa: F401  (before torch)

from dsetkit.stopping import SCRIPT_NAMES, end_while_loading, leave

if __name__ in SCRIPT_NAMES:
    end_while_loading(__name__)

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Subset

from dsetkit import SampleDataset, make_loader
from dsetkit.arguments import SHARE, Parser
from dsetkit.console import run
from dsetkit.devices import pick_device, prepare_device
from dsetkit.numbers import evenly_spread
from models import ModelError, answer, load_model
from training.loop import Batch, evaluate, prepare_batch
from training.scoring import evaluation, report
from training.scoring.baselines import best_difference, describe_difference, difference
from training.scoring.metrics import MaskMetrics
from training.scoring.pictures import mask_grid
from training.scoring.published_scores import score_published

SCRIPT = "evaluate_mask.py"
BOUNDARY_PX = 2
TUNING_SAMPLES = 1000


def build_parser() -> Parser:
    # fmt: off
    parser = Parser(prog=SCRIPT, description="Score a mask network on a split.")
    evaluation.add_evaluation_arguments(
        parser,
        size_help="N or HxW the network sees and is scored at [px] (default: as trained)",
        train_data_help="whose train split tunes the baseline's threshold (default: --data)",
    )
    parser.add_argument("--threshold", type=SHARE, default=0.5, metavar="T",
        help="probability and soft target from which a pixel is foreground (default: 0.5)")
    # fmt: on
    report.add_average_arguments(parser.add_argument)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    device = prepare_device(pick_device(args.device))

    # ---- Network and data ----------------------------------------------------------------------
    net, metadata = load_model(args.checkpoint, device=device, needs="mask")
    inputs, size = evaluation.network_input(metadata, args.img_size, checkpoint=args.checkpoint)
    evaluation.check_memory(size, device, batch_size=args.batch_size, inputs=inputs)
    needed = (*inputs, "mask")
    manifest = SampleDataset(args.data, split=args.split, size=size, fields=needed).manifest
    pair = [name for name in ("composite", "background") if name in manifest.fields]
    fields = tuple(dict.fromkeys([*needed, *pair]))
    samples = SampleDataset(args.data, split=args.split, size=size, fields=fields)
    evaluation.check_has_samples(samples, args.data, args.split)

    def predict(batch: Batch) -> torch.Tensor:
        """(N, 1, H, W): probability of foreground."""
        return evaluation.predict(lambda x: answer(net, net(x), "mask"), batch, inputs, args.tta)

    # ---- Scores of the network and of the baseline ---------------------------------------------
    train_data, limit = args.train_data or args.data, None
    if len(pair) == 2:
        limit = tune_difference(train_data, size, threshold=args.threshold)
    names = ("model",) if limit is None else ("model", "difference")
    metrics = {n: MaskMetrics(threshold=args.threshold, boundary_px=BOUNDARY_PX) for n in names}
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []  # for --published

    def update(batch: Batch) -> None:
        batch = prepare_batch(batch, device)
        mask = predict(batch)
        metrics["model"].update(mask, batch["mask"])
        if args.published:
            pairs.append((mask.cpu(), batch["mask"].cpu()))
        if limit is not None:
            differs = difference(batch["composite"], batch["background"]) > limit
            metrics["difference"].update(differs, batch["mask"])

    loader = make_loader(samples, batch_size=args.batch_size, workers=args.workers, shuffle=False)
    evaluate(loader, update, total=len(loader), label=f"{args.split} split")

    # ---- Result --------------------------------------------------------------------------------
    evaluation.Evaluation(
        checkpoint=args.checkpoint,
        metadata=metadata,
        dataset=args.data,
        split=args.split,
        fingerprint=manifest.fingerprint,
        protocol={
            "images": str(len(samples)),
            "input": f"{' + '.join(inputs)} at {size[0]}x{size[1]} px, scored at that size",
            **report.describe_mask_scores(args.threshold, BOUNDARY_PX, tta=args.tta),
            "difference": describe_difference(limit, train_data, at_most=TUNING_SAMPLES),
        },
        scores={name: metric.compute() for name, metric in metrics.items()},
        cells=report.cell_scores(metrics, samples.cells, samples.CELL_NAMES),
        published=score_published(pairs) if pairs else {},
    ).publish(report.MASK_LAYOUT, average=args.average, output=args.output)
    if args.grid:

        def draw(stored: Batch, mask: torch.Tensor) -> np.ndarray:
            return mask_grid(stored[fields[0]], stored["mask"] / 255, mask)

        evaluation.write_grid(args.grid, samples, predict, draw, device=device)


def tune_difference(dataset: str, size: tuple[int, int], *, threshold: float) -> float | None:
    """The baseline's threshold, best on train samples; None when the dataset has none."""
    fields = ("composite", "background", "mask")
    data = SampleDataset(dataset, split="train", size=size, fields=fields)
    if len(data) == 0:
        return None
    some = Subset(data, evenly_spread(len(data), TUNING_SAMPLES))
    loader = make_loader(some, batch_size=32, shuffle=False)
    return best_difference(loader, target_threshold=threshold)


if __name__ == "__main__":
    leave(run(main, ModelError, name=SCRIPT))
