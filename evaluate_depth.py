r"""Scores a depth network on a split, beside two baselines: RMSE first, with its protocol.

    python evaluate_depth.py --data DATASET --checkpoint runs/depth/best.safetensors
    python evaluate_depth.py --data DATASET --checkpoint FILE --output metrics.json --grid grid.png

NYU Depth V2 as the field scores it (frames without their white border, see
training/scoring/protocols.py; NYU_TRAIN gives the mean depth map):

    python evaluate_depth.py --data NYU_TEST --checkpoint FILE --img-size 192x256 --native \
        --protocol nyu --tta flip --train-data NYU_TRAIN

A network of relative depth, its scale and shift fitted to each image:

    python evaluate_depth.py --data NYU_TEST --checkpoint FILE --protocol nyu --align scale-shift
"""

import dsetkit.openmp  # noqa: F401  (before torch)

from dsetkit.stopping import SCRIPT_NAMES, end_while_loading, leave

if __name__ in SCRIPT_NAMES:
    end_while_loading(__name__)

from collections.abc import Sequence
from functools import partial

from dsetkit.arguments import Parser
from dsetkit.console import run
from dsetkit.errors import RunError
from models import ModelError
from training.scoring.flags import add_evaluation_arguments
from training.scoring.protocols import add_protocol_arguments, read_protocol

SCRIPT = "evaluate_depth.py"


def build_parser() -> Parser:
    # fmt: off
    parser = Parser(prog=SCRIPT, description="Score a depth network on a split.")
    add_evaluation_arguments(
        parser,
        size_help="N or HxW the network sees [px] (default: as trained); scored there too",
        train_data_help="whose train split gives the mean depth map (default: that of --data)",
    )
    parser.add_argument("--native", action="store_true",
        help="score at the stored depth's own size: predictions are resized to it bilinearly")
    # fmt: on
    add_protocol_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)

    # Here and not above, so that --help and wrong arguments need not wait for torch.
    import numpy as np
    import torch

    from dsetkit import SampleDataset, make_loader
    from models import answer, load_model
    from training.loop import Batch, evaluate, prepare_batch
    from training.preflight import check_has_depth
    from training.scoring import depth_scores, evaluation, report
    from training.scoring.baselines import mean_depth_map
    from training.scoring.pictures import depth_grid, pictures_of

    # ---- Network and data ----------------------------------------------------------------------
    says = ("depth_kind", "max_depth_m")
    network = evaluation.open_network(
        args, task="depth", load_model=load_model, answer=answer, says=says
    )
    metadata, inputs, size = network.metadata, network.inputs, network.size
    pictures = SampleDataset(args.data, split=args.split, size=size, fields=inputs)
    target_size = None if args.native else size
    depths = SampleDataset(args.data, split=args.split, size=target_size, fields=("depth",))
    for samples in (pictures, depths):
        evaluation.keep_some(samples, args.limit_samples)
    manifest, scale = pictures.manifest, depth_scores.scale_of(pictures.manifest)
    is_shown = bool(args.grid or args.published)
    depth_scores.check_scales(metadata, scale, align=args.align, is_shown=is_shown, where=args.data)
    evaluation.check_has_samples(pictures, args.data, args.split)
    check_has_depth(depths, args.split, name=args.data)

    # ---- Scores of the network and of the baselines --------------------------------------------
    train_data = args.train_data or args.data
    train = SampleDataset(train_data, split="train", size=size, fields=("depth",))
    train_scale = depth_scores.scale_of(train.manifest)
    depth_scores.check_same_depth(train_data, train_scale, expected=scale)
    check_has_depth(train, "train", name=train_data)
    if args.train_data and not len(train):
        raise RunError(f"--train-data {train_data} has no train samples: give another dataset")
    loader = make_loader(train, batch_size=64, shuffle=False)
    mean_map = mean_depth_map(loader) if len(train) else None
    protocol = read_protocol(args, scale, prediction_kind=str(metadata["depth_kind"]))
    scorer = depth_scores.DepthScores(
        "model", protocol, mean_map=mean_map, published=args.published
    )

    def update(batch: Batch) -> None:
        batch = prepare_batch(batch, network.device)
        scorer.update(network.predict(batch), batch["depth"])

    # Pictures of different sizes cannot be stacked, so they come one by one.
    batch_size = 1 if args.native and 0 in manifest.size else args.batch_size
    open_loader = partial(make_loader, batch_size=batch_size, workers=args.workers, shuffle=False)
    loaders = open_loader(pictures), open_loader(depths)
    batches = (picture | depth for picture, depth in zip(*loaders, strict=True))
    evaluate(batches, update, total=len(loaders[0]), label=f"{args.split} split")

    # ---- Result --------------------------------------------------------------------------------
    evaluation.Evaluation(
        checkpoint=args.checkpoint,
        metadata=metadata,
        dataset=args.data,
        split=args.split,
        fingerprint=manifest.fingerprint,
        scores=scorer.compute(dataset=args.data, split=args.split),
        protocol=scorer.describe(
            len(pictures), inputs=network.sees, native=args.native, train_data=train_data
        ),
        cells=report.cell_scores(scorer.metrics, pictures.cells, pictures.CELL_NAMES),
        intervals=report.score_intervals(scorer.metrics, pictures.cells, pictures.CELL_NAMES),
        published=scorer.compute_published(),
    ).publish(scorer.layout(), average=args.average, output=args.output)
    if args.grid:
        fields = tuple(dict.fromkeys([*inputs, "depth"]))
        shown = SampleDataset(args.data, split=args.split, size=size, fields=fields)

        def draw(stored: Batch, depth: torch.Tensor) -> np.ndarray:
            return depth_grid(pictures_of(stored, inputs), stored["depth"], depth, **scale)

        evaluation.write_grid(args.grid, shown, network.predict, draw, device=network.device)


if __name__ == "__main__":
    leave(run(main, ModelError, name=SCRIPT))
