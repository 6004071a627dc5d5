"""Scores a mask network on a split, beside a baseline without learning: RMSE first, then IoU.

    python evaluate_mask.py --data DATASET --checkpoint runs/mask/best.safetensors
    python evaluate_mask.py --data DATASET --checkpoint FILE --output metrics.json --grid grid.png
    python evaluate_mask.py --data DATASET --checkpoint FILE --stress

The baseline calls foreground what differs from the background picture by more than a threshold in
some channel; the threshold is the best one on the train split.
"""

import dsetkit.openmp  # noqa: F401  (before torch)

from dsetkit.stopping import SCRIPT_NAMES, end_while_loading, leave

if __name__ in SCRIPT_NAMES:
    end_while_loading(__name__)

import argparse
from collections.abc import Sequence

from dsetkit.arguments import SHARE, Parser
from dsetkit.console import run
from dsetkit.errors import RunError
from models import ModelError
from training.scoring.flags import add_average_arguments, add_evaluation_arguments

SCRIPT = "evaluate_mask.py"
TUNING_SAMPLES = 1000


def build_parser() -> Parser:
    # fmt: off
    parser = Parser(prog=SCRIPT, description="Score a mask network on a split.")
    add_evaluation_arguments(
        parser,
        size_help="N or HxW the network sees and is scored at [px] (default: as trained)",
        train_data_help="whose train split tunes the baseline's threshold (default: --data)",
    )
    parser.add_argument("--threshold", type=SHARE, default=0.5, metavar="T",
        help="probability and soft target from which a pixel is foreground (default: 0.5)")
    parser.add_argument("--stress", action="store_true",
        help="score again with changed backgrounds: shifted, brighter, noisy, compressed, wrong")
    parser.add_argument("--register", action=argparse.BooleanOptionalAction,
        help="register backgrounds with the composites first, as predict.py does (default: with "
        "--stress)")
    # fmt: on
    add_average_arguments(parser.add_argument)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)

    # Here and not above, so that --help and wrong arguments need not wait for torch.
    import numpy as np
    import torch

    from dsetkit import SampleDataset, make_loader
    from models import answer, load_model
    from training.loop import Batch, evaluate, prepare_batch
    from training.scoring import evaluation, report
    from training.scoring.baselines import best_differences, describe_difference
    from training.scoring.mask_scores import BOUNDARY_PX, MaskScores
    from training.scoring.pictures import mask_grid, pictures_of
    from training.scoring.stress import EXACT, STRESSES

    # ---- Network and data ----------------------------------------------------------------------
    network = evaluation.open_network(args, task="mask", load_model=load_model, answer=answer)
    inputs, size = network.inputs, network.size
    needed = (*inputs, "mask")
    manifest = SampleDataset(args.data, split=args.split, size=size, fields=needed).manifest
    pair = [name for name in ("composite", "background") if name in manifest.fields]
    fields = tuple(dict.fromkeys([*needed, *pair]))
    samples = SampleDataset(args.data, split=args.split, size=size, fields=fields)
    evaluation.keep_some(samples, args.limit_samples)
    evaluation.check_has_samples(samples, args.data, args.split)

    # ---- Scores of the network and of the baseline ---------------------------------------------
    backgrounds = tuple(STRESSES) if args.stress else (EXACT,)
    if args.stress and len(pair) < 2:
        raise RunError(f"--stress changes backgrounds: {args.data} has none")
    register = args.stress if args.register is None else args.register
    if register and len(pair) < 2:
        raise RunError(f"--register moves backgrounds: {args.data} has none")
    train_data, limits = args.train_data or args.data, dict[str, float]()
    if len(pair) == 2:
        train = SampleDataset(train_data, split="train", size=size, fields=(*pair, "mask"))
        evaluation.keep_some(train, TUNING_SAMPLES)
        limits = best_differences(
            make_loader(train, batch_size=32, shuffle=False),
            target_threshold=args.threshold,
            backgrounds=backgrounds,
            register=register,
        )
    scorer = MaskScores(
        network.predict,
        threshold=args.threshold,
        backgrounds=backgrounds,
        limits=limits,
        register=register,
        published=args.published,
    )
    loader = make_loader(samples, batch_size=args.batch_size, workers=args.workers, shuffle=False)
    evaluate(
        loader,
        lambda batch: scorer.update(prepare_batch(batch, network.device)),
        total=len(loader),
        label=f"{args.split} split",
    )

    # ---- Result --------------------------------------------------------------------------------
    limit = limits.get(EXACT)
    evaluation.Evaluation(
        checkpoint=args.checkpoint,
        metadata=network.metadata,
        dataset=args.data,
        split=args.split,
        fingerprint=manifest.fingerprint,
        protocol={
            "images": str(len(samples)),
            "input": f"{network.sees}, scored at that size",
            "backgrounds": "registered with the composites" if register else "as they are",
            **report.describe_mask_scores(args.threshold, BOUNDARY_PX, tta=args.tta),
            "difference": describe_difference(limit, train_data, at_most=TUNING_SAMPLES),
        },
        scores=scorer.compute(),
        cells=report.cell_scores(scorer.metrics, samples.cells, samples.CELL_NAMES),
        intervals=report.score_intervals(scorer.metrics, samples.cells, samples.CELL_NAMES),
        published=scorer.compute_published(),
        stress=scorer.compute_stress(),
        stress_cells=scorer.compute_stress_cells(samples.cells, samples.CELL_NAMES),
    ).publish(report.MASK_LAYOUT, average=args.average, output=args.output)
    if args.grid:

        def draw(stored: Batch, mask: torch.Tensor) -> np.ndarray:
            return mask_grid(pictures_of(stored, inputs), stored["mask"] / 255, mask)

        evaluation.write_grid(args.grid, samples, network.predict, draw, device=network.device)


if __name__ == "__main__":
    leave(run(main, ModelError, name=SCRIPT))
