"""Trains a depth network on a dataset of `python -m dsetkit`, one image size after another.

    python train_depth.py --data DATASET --output runs/depth
    python train_depth.py --data DATASET --output runs/depth --preset small
    python train_depth.py --data DATASET --output runs/depth --img-sizes 64 128 --epochs 10 20
    python train_depth.py --data DATASET --output runs/depth --inputs composite background
    torchrun --nproc-per-node 2 train_depth.py --data DATASET --output runs/depth
    python train_depth.py --output runs/depth --resume          # after a cut, also in mid-epoch

The run folder then holds best.safetensors (lowest validation RMSE at the last image size),
last.safetensors, log.csv, a picture per epoch, tensorboard/ and state.pt; see
training/run_files.py. The loop is in training/fit.py.
"""

import dsetkit.openmp  # noqa: F401  (before torch)

from dsetkit.stopping import SCRIPT_NAMES, end_while_loading, leave

if __name__ in SCRIPT_NAMES:
    end_while_loading(__name__)

import argparse
from collections.abc import Iterable, Sequence
from functools import partial

from dsetkit.arguments import Parser
from models import MODELS, ModelError, create_model
from training.chain import links
from training.cli import SHOWN, add_training_arguments, parse_run, run_training
from training.losses.specs import DEPTH_LOSS_HELP, depth_loss
from training.settings import fit_settings

SCRIPT = "train_depth.py"


def build_parser() -> Parser:
    # fmt: off
    parser = Parser(prog=SCRIPT, description="Train a depth network.")
    add = parser.add_argument
    add("--arch", choices=MODELS, default="resnet50_upproj", help=SHOWN)
    add("--loss", default="l1", metavar="SPEC", help=f"{DEPTH_LOSS_HELP} {SHOWN}")
    # fmt: on
    add_training_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_run(build_parser(), argv)
    for link in links(args, script=SCRIPT):
        train(link)


def train(args: argparse.Namespace) -> None:
    """Trains on one dataset, into one folder."""
    # Here and not above, so that --help and wrong arguments need not wait for torch.
    import numpy as np
    import torch

    from dsetkit import SampleDataset, make_loader
    from models import answer, load_model, load_pretrained_encoder, save_model
    from training import exchange
    from training.data import DataSource
    from training.fit import Task, fit
    from training.loop import Batch
    from training.network import Forward, check_task, heads_of, open_device, start_from
    from training.preflight import check_has_depth
    from training.scoring.depth_scores import scale_of
    from training.scoring.metrics import DepthMetrics, resize_to
    from training.scoring.pictures import depth_grid, pictures_of

    # ---- Data ----------------------------------------------------------------------------------
    fields = tuple(dict.fromkeys(["composite", *args.inputs, "depth"]))
    samples = partial(SampleDataset, args.data, fields=fields)
    source = DataSource(samples, make_loader, args.cache, name=str(args.data))
    scale = scale_of(source.manifest)

    # ---- Network and loss ----------------------------------------------------------------------
    device = open_device(args.device)
    torch.manual_seed(args.seed)
    net = create_model(args.arch, in_channels=3 * len(args.inputs), **dict(args.arch_options))
    check_task(net, wanted="depth")
    start_from(args, net, load_model=load_model, load_pretrained_encoder=load_pretrained_encoder)
    loss_fn = depth_loss(args.loss, head=heads_of(net)["depth"])

    # ---- What happens to a batch ---------------------------------------------------------------
    def predict(forward: Forward, batch: Batch) -> torch.Tensor:
        pictures = torch.cat([batch[name] for name in args.inputs], dim=1)  # (N, 3 or 6, H, W)
        return resize_to(forward(pictures).float(), pictures)  # (N, 1, H, W)

    def loss_of(output: torch.Tensor, batch: Batch) -> torch.Tensor:
        output, depth = exchange.gather(output, batch["depth"])
        return loss_fn(output, depth, depth > 0)

    def validate(predictions: Iterable[tuple[torch.Tensor, Batch]]) -> dict[str, float]:
        metrics = DepthMetrics(**scale)
        for output, batch in predictions:
            metrics.update(answer(net, output, "depth"), batch["depth"])
        return metrics.merge_ranks().compute()

    def draw(output: torch.Tensor, stored: Batch) -> np.ndarray:
        depth = answer(net, output, "depth")
        return depth_grid(pictures_of(stored, args.inputs), stored["depth"], depth, **scale)

    task = Task(
        predict=predict,
        loss_of=loss_of,
        validate=validate,
        score_of=lambda scores: scores["rmse_per_image"],
        logged_scores=("rmse_per_image", "delta_1_per_image"),
        draw=draw,
        num_pictures=4,
        metadata=scale,
        check_samples=partial(check_has_depth, name=source.name),
    )
    settings = fit_settings(args, script=SCRIPT)
    fit(settings, net, task, source, device=device, save_model=save_model)


if __name__ == "__main__":
    leave(run_training(main, ModelError, script=SCRIPT))
