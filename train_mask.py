"""Trains a mask network on a dataset of `python -m dsetkit`, one image size after another.

    python train_mask.py --data DATASET --output runs/mask
    python train_mask.py --data DATASET --output runs/mask --preset small
    python train_mask.py --data DATASET --output runs/mask --img-sizes 64 128 --epochs 10 20
    python train_mask.py --data DATASET --output runs/mask --inputs composite background
    torchrun --nproc-per-node 2 train_mask.py --data DATASET --output runs/mask
    python train_mask.py --output runs/mask --resume          # after a cut, also in mid-epoch

The run folder then holds best.safetensors (highest validation IoU at the last image size),
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
from dsetkit.errors import RunError
from models import MODELS, ModelError, create_model
from training.chain import links
from training.cli import SHOWN, add_training_arguments, parse_run, run_training
from training.losses.specs import MASK_LOSS_HELP, mask_loss
from training.settings import fit_settings

SCRIPT = "train_mask.py"


def build_parser() -> Parser:
    # fmt: off
    parser = Parser(prog=SCRIPT, description="Train a mask network.")
    add = parser.add_argument
    add("--arch", choices=MODELS, default="mask_autoencoder", help=SHOWN)
    add("--loss", default="bce+dice", metavar="SPEC", help=f"{MASK_LOSS_HELP} {SHOWN}")
    add("--depth-checkpoint", metavar="FILE",
        help="depth network for --loss saliency, which needs no masks (.safetensors)")
    # fmt: on
    add_training_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_run(build_parser(), argv)
    if args.loss == "saliency" and args.depth_checkpoint is None:
        raise RunError("--loss saliency needs a depth network: give its --depth-checkpoint FILE")
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
    from training.losses.saliency import saliency_loss
    from training.network import Forward, check_task, heads_of, open_device, start_from
    from training.scoring.metrics import MaskMetrics
    from training.scoring.pictures import mask_grid, pictures_of

    # ---- Data ----------------------------------------------------------------------------------
    fields = tuple(dict.fromkeys(["composite", *args.inputs, "mask"]))
    samples = partial(SampleDataset, args.data, fields=fields)
    source = DataSource(samples, make_loader, args.cache, name=str(args.data))

    # ---- Network and loss ----------------------------------------------------------------------
    device = open_device(args.device)
    torch.manual_seed(args.seed)
    net = create_model(args.arch, in_channels=3 * len(args.inputs), **dict(args.arch_options))
    check_task(net, wanted="mask")
    start_from(args, net, load_model=load_model, load_pretrained_encoder=load_pretrained_encoder)
    if args.loss == "saliency":
        looks_at = saliency_loss(load_model(args.depth_checkpoint, device=device, needs="depth")[0])
    else:
        loss_fn = mask_loss(args.loss, head=heads_of(net)["mask"])

    # ---- What happens to a batch ---------------------------------------------------------------
    def predict(forward: Forward, batch: Batch) -> torch.Tensor:
        pictures = torch.cat([batch[name] for name in args.inputs], dim=1)  # (N, 3 or 6, H, W)
        return forward(pictures).float()  # (N, 1, H, W)

    def loss_of(output: torch.Tensor, batch: Batch) -> torch.Tensor:
        if args.loss == "saliency":
            return exchange.mean(looks_at(answer(net, output, "mask"), batch["composite"]))
        return loss_fn(*exchange.gather(output, batch["mask"]))

    def validate(predictions: Iterable[tuple[torch.Tensor, Batch]]) -> dict[str, float]:
        metrics = MaskMetrics()
        for output, batch in predictions:
            metrics.update(answer(net, output, "mask"), batch["mask"])
        return metrics.merge_ranks().compute()

    def draw(output: torch.Tensor, stored: Batch) -> np.ndarray:
        mask = answer(net, output, "mask")
        return mask_grid(pictures_of(stored, args.inputs), stored["mask"] / 255, mask)

    task = Task(
        predict=predict,
        loss_of=loss_of,
        validate=validate,
        score_of=lambda scores: 1 - scores["iou_per_image"],
        logged_scores=("iou_per_image", "rmse_per_image"),
        draw=draw,
        num_pictures=4,
        metadata={},
    )
    settings = fit_settings(args, script=SCRIPT)
    fit(settings, net, task, source, device=device, save_model=save_model)


if __name__ == "__main__":
    leave(run_training(main, ModelError, script=SCRIPT))
