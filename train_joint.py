"""Trains one network for mask and depth on a dataset of `python -m dsetkit`, size after size.

    python train_joint.py --data DATASET --output runs/joint
    python train_joint.py --data DATASET --output runs/joint --preset small
    python train_joint.py --data DATASET --output runs/joint --arch lite_dual --img-sizes 64 128
    torchrun --nproc-per-node 2 train_joint.py --data DATASET --output runs/joint
    python train_joint.py --output runs/joint --resume          # after a cut, also in mid-epoch

The run folder then holds best.safetensors (lowest sum of 1 - mask IoU and depth RMSE at the last
image size), last.safetensors, log.csv, a picture per epoch, tensorboard/ and state.pt; see
training/run_dir.py. The loop is in training/fit.py.
"""

import dsetkit.openmp  # noqa: F401  (before torch)

from dsetkit.stopping import SCRIPT_NAMES, end_while_loading, leave

if __name__ in SCRIPT_NAMES:
    end_while_loading(__name__)

import argparse
from collections.abc import Iterable, Sequence
from functools import partial

from dsetkit.arguments import WEIGHT, Parser
from models import MODELS, ModelError, create_model
from training.chain import links
from training.cli import SHOWN, add_training_arguments, parse_run, run_training
from training.losses.specs import DEPTH_LOSS_HELP, MASK_LOSS_HELP, depth_loss, mask_loss
from training.settings import fit_settings

SCRIPT = "train_joint.py"


def build_parser() -> Parser:
    # fmt: off
    parser = Parser(prog=SCRIPT, description="Train mask and depth in one.")
    add = parser.add_argument
    add("--arch", choices=MODELS, default="shared_unet", help=SHOWN)
    add("--mask-loss", metavar="SPEC",
        help=f"{MASK_LOSS_HELP} (default: bce+dice, or l1+dice for a network without logits)")
    add("--depth-loss", default="l1", metavar="SPEC", help=f"{DEPTH_LOSS_HELP} {SHOWN}")
    add("--mask-weight", type=WEIGHT, default=1.0, metavar="W", help=f"of --mask-loss {SHOWN}")
    add("--depth-weight", type=WEIGHT, default=1.0, metavar="W", help=f"of --depth-loss {SHOWN}")
    # fmt: on
    add_training_arguments(parser)
    parser.set_defaults(inputs=["composite", "background"])
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
    from training.scoring.metrics import DepthMetrics, MaskMetrics, resize_to
    from training.scoring.pictures import joint_grid, pictures_of

    # ---- Data ----------------------------------------------------------------------------------
    fields = tuple(dict.fromkeys(["composite", *args.inputs, "mask", "depth"]))
    samples = partial(SampleDataset, args.data, fields=fields)
    source = DataSource(samples, make_loader, args.cache, name=str(args.data))
    scale = scale_of(source.manifest)

    # ---- Network and loss ----------------------------------------------------------------------
    device = open_device(args.device)
    torch.manual_seed(args.seed)
    net = create_model(args.arch, in_channels=3 * len(args.inputs), **dict(args.arch_options))
    check_task(net, wanted="joint")
    start_from(args, net, load_model=load_model, load_pretrained_encoder=load_pretrained_encoder)
    mask_loss_fn = mask_loss(args.mask_loss, head=heads_of(net)["mask"])
    depth_loss_fn = depth_loss(args.depth_loss, head=heads_of(net)["depth"])

    # ---- What happens to a batch ---------------------------------------------------------------
    def predict(forward: Forward, batch: Batch) -> Batch:
        pictures = torch.cat([batch[name] for name in args.inputs], dim=1)  # (N, 3 or 6, H, W)
        outputs = forward(pictures)
        return {name: resize_to(x.float(), pictures) for name, x in outputs.items()}  # (N, 1, H, W)

    def loss_of(outputs: Batch, batch: Batch) -> torch.Tensor:
        output, target = exchange.gather(outputs["mask"], batch["mask"])
        loss = args.mask_weight * mask_loss_fn(output, target)
        output, target = exchange.gather(outputs["depth"], batch["depth"])
        return loss + args.depth_weight * depth_loss_fn(output, target, target > 0)

    def validate(predictions: Iterable[tuple[Batch, Batch]]) -> dict[str, float]:
        mask, depth = MaskMetrics(), DepthMetrics(**scale)
        for outputs, batch in predictions:
            mask.update(answer(net, outputs, "mask"), batch["mask"])
            depth.update(answer(net, outputs, "depth"), batch["depth"])
        scores = {"mask": mask.merge_ranks().compute(), "depth": depth.merge_ranks().compute()}
        return {f"{of}_{name}": v for of, part in scores.items() for name, v in part.items()}

    def draw(outputs: Batch, stored: Batch) -> np.ndarray:
        answers = {name: answer(net, outputs, name) for name in heads_of(net)}
        return joint_grid(pictures_of(stored, args.inputs), stored, answers, **scale)

    task = Task(
        predict=predict,
        loss_of=loss_of,
        validate=validate,
        score_of=lambda scores: 1 - scores["mask_iou_per_image"] + scores["depth_rmse_per_image"],
        logged_scores=("mask_iou_per_image", "depth_rmse_per_image"),
        draw=draw,
        num_pictures=8,
        metadata=scale,
        check_samples=partial(check_has_depth, name=source.name),
    )
    settings = fit_settings(args, script=SCRIPT)
    fit(settings, net, task, source, device=device, save_model=save_model)


if __name__ == "__main__":
    leave(run_training(main, ModelError, script=SCRIPT))
