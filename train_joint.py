"""Trains one network for mask and depth on a dataset of `python -m dsetkit`, size after size.

    python train_joint.py --data DATASET --output runs/joint
    python train_joint.py --data DATASET --output runs/joint --arch lite_dual --img-sizes 64 128
    python train_joint.py --data DATASET --output runs/joint --mask-loss dice --mask-weight 2
    torchrun --nproc-per-node 2 train_joint.py --data DATASET --output runs/joint
    python train_joint.py --output runs/joint --resume          # after a cut, also in mid-epoch

The run folder then holds best.safetensors (lowest sum of 1 - mask IoU and depth RMSE at the last
image size), last.safetensors, log.csv, a picture per epoch, tensorboard/ and state.pt; see
training/run_dir.py.
"""

import dsetkit.openmp  # noqa: F401  (before torch)

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from dsetkit import SampleDataset, make_loader
from dsetkit.devices import pick_device, prepare_device
from dsetkit.errors import DsetkitError, RunError
from models import MODELS, ModelError, answer, create_model, load_model, save_model
from models.pretrained import load_pretrained_encoder
from training import loop, ranks, run_dir
from training.augment import make_augment
from training.chain import links
from training.checkpoint import STATE_FILE, copy_weights, save_state
from training.cli import CONTINUE, SHOWN, add_training_arguments, parse_run, run
from training.ema import AveragedWeights
from training.losses.specs import DEPTH_LOSS_HELP, MASK_LOSS_HELP, depth_loss, mask_loss
from training.schedule import Plateau, make_optimizer, make_schedule
from training.scoring.metrics import DepthMetrics, MaskMetrics, resize_to
from training.scoring.pictures import joint_grid
from training.sync_batch_norm import sync_batch_norm

SCRIPT = "train_joint.py"
PREVIEW_SAMPLES = 8

logger = logging.getLogger(SCRIPT)


def build_parser() -> argparse.ArgumentParser:
    # fmt: off
    parser = argparse.ArgumentParser(prog=SCRIPT, description="Train mask and depth in one.")
    add = parser.add_argument
    add("--arch", choices=MODELS, default="shared_unet", help=SHOWN)
    add("--mask-loss", default="bce+dice", metavar="SPEC", help=f"{MASK_LOSS_HELP} {SHOWN}")
    add("--depth-loss", default="l1", metavar="SPEC", help=f"{DEPTH_LOSS_HELP} {SHOWN}")
    add("--mask-weight", type=float, default=1.0, metavar="W", help=f"of --mask-loss {SHOWN}")
    add("--depth-weight", type=float, default=1.0, metavar="W", help=f"of --depth-loss {SHOWN}")
    # fmt: on
    add_training_arguments(parser)
    parser.set_defaults(inputs=["composite", "background"])
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_run(build_parser(), argv)
    for link in links(args, script=SCRIPT):
        train(link)


def train(args: argparse.Namespace) -> None:
    """One run: on one dataset, into one folder."""
    # ---- Data ----------------------------------------------------------------------------------
    fields = tuple(dict.fromkeys(["composite", *args.inputs, "mask", "depth"]))
    manifest = SampleDataset(args.data, split="train", fields=fields).manifest

    def open_loader(split: str, size: tuple[int, int]) -> DataLoader:
        data = SampleDataset(args.data, split=split, size=size, fields=fields, cache=args.cache)
        if args.limit_samples:
            data = Subset(data, loop.spread(len(data), args.limit_samples))
        return make_loader(
            data,
            batch_size=args.batch_size,
            workers=args.workers,
            seed=args.seed,
            shuffle=split == "train",
            shuffle_block=args.shuffle_block,
            drop_last=split == "train" and len(data) >= args.batch_size,
            place=ranks.place(),
            device=device,
        )

    # ---- Network -------------------------------------------------------------------------------
    device = prepare_device(ranks.own_device(pick_device(args.device)))
    torch.manual_seed(args.seed)
    channels = 3 * len(args.inputs)
    net = create_model(args.arch, in_channels=channels, **dict(args.arch_options))
    run_dir.check_task(args.arch, net.task, wanted="joint")
    if args.pretrained and not args.resume:
        load_pretrained_encoder(net, args.pretrained)
    if args.init_from and not args.resume:
        copy_weights(net, load_model(args.init_from)[0], args.init_from)
    memory_format = torch.channels_last if args.channels_last else torch.contiguous_format
    net.to(device, memory_format=memory_format)
    net = sync_batch_norm(net, device) if args.sync_bn else net
    average = AveragedWeights(net, args.ema) if args.ema else None
    judged = average.module if average else net  # what is validated and saved
    forward = ranks.parallel(torch.compile(net) if args.compile else net)
    precision = run_dir.mixed_precision(args.amp, device)

    # ---- Loss, optimizer, schedule -------------------------------------------------------------
    stages = run_dir.make_stages(args.img_sizes, args.epochs, stride=net.stride)
    steps_per_epoch = loop.count_steps(open_loader("train", stages[0].size), where=args.data)
    mask_loss_fn = mask_loss(args.mask_loss, head=net.heads["mask"])
    depth_loss_fn = depth_loss(args.depth_loss, head=net.heads["depth"])
    augment = make_augment(args.augment, depth_is_metric=manifest.depth_kind == "metric")
    optimizer = make_optimizer(
        net, args.opt, lr=args.lr, weight_decay=args.weight_decay, momentum=args.momentum
    )
    lr_share = make_schedule(
        args.sched,
        total_steps=steps_per_epoch * stages[-1].end,
        warmup_steps=args.warmup_steps,
        gamma_steps=steps_per_epoch * args.step_epochs,
        gamma=args.step_gamma,
    )
    clip = loop.make_clip(norm=args.clip_grad, value=args.clip_grad_value)
    plateau = Plateau(patience=args.plateau_patience, gamma=args.step_gamma)

    # ---- Start or continue ---------------------------------------------------------------------
    parts = {"network": net, "optimizer": optimizer, "plateau": plateau}
    parts |= {"average": average} if average else {}
    progress = loop.Progress()
    if args.resume:
        run_dir.continue_run(args.output, parts, vars(progress), manifest.fingerprint)
    else:
        run_dir.start_run(args.output, vars(args), script=SCRIPT, fingerprint=manifest.fingerprint)

    def save() -> None:
        save_state(args.output / STATE_FILE, parts, vars(progress))

    # ---- What happens to a batch ---------------------------------------------------------------
    scale = {"max_depth_m": manifest.max_depth_m, "depth_kind": manifest.depth_kind}

    def predict(network: torch.nn.Module, batch: loop.Batch) -> loop.Batch:
        pictures = torch.cat([batch[name] for name in args.inputs], dim=1)  # (N, 3 or 6, H, W)
        with precision:
            outputs = network(pictures.contiguous(memory_format=memory_format))
        return {name: resize_to(x.float(), pictures) for name, x in outputs.items()}  # (N, 1, H, W)

    def loss_of(batch: loop.Batch) -> torch.Tensor:
        outputs = predict(forward, batch)
        output, target = ranks.gather(outputs["mask"], batch["mask"])
        loss = args.mask_weight * mask_loss_fn(output, target)
        output, target = ranks.gather(outputs["depth"], batch["depth"])
        return loss + args.depth_weight * depth_loss_fn(output, target, target > 0)

    def train_step(batch: loop.Batch, step: int) -> torch.Tensor:
        loop.seed_step(args.seed, step)
        batch = augment(loop.prepare_batch(batch, device))
        lr = args.lr * lr_share(step) * plateau.factor
        loss = loop.update_weights(
            forward, optimizer, loss_of, batch, lr=lr, clip=clip, parts=args.accumulate
        )
        if average:
            average.update_parameters(net)
        return loss

    def validate(loader: DataLoader) -> dict[str, float]:
        ranks.share_buffers(judged)
        mask, depth = MaskMetrics(), DepthMetrics(**scale)

        def judge(batch: loop.Batch) -> None:
            batch = loop.prepare_batch(batch, device)
            outputs = predict(judged, batch)
            mask.update(answer(net, outputs, "mask"), batch["mask"])
            depth.update(answer(net, outputs, "depth"), batch["depth"])

        loop.evaluate(loader, judge, total=len(loader), label="validation")
        scores = {"mask": mask.merge_ranks().compute(), "depth": depth.merge_ranks().compute()}
        return {f"{of}_{name}": v for of, part in scores.items() for name, v in part.items()}

    @torch.inference_mode()
    def draw(data: Dataset) -> np.ndarray:
        judged.eval()
        batch = default_collate([data[i] for i in loop.spread(len(data), PREVIEW_SAMPLES)])
        outputs = predict(judged, loop.prepare_batch(batch, device))
        net.train()
        answers = {name: answer(net, outputs, name) for name in net.heads}
        return joint_grid(batch, answers, **scale)

    # ---- Training ------------------------------------------------------------------------------
    with run_dir.open_tensorboard(args.output, epoch=progress.epoch + 1) as board:
        for stage in stages:
            train_loader, val_loader = (open_loader(s, stage.size) for s in ("train", "val"))
            if len(val_loader) == 0:
                logger.info("no val samples: best.safetensors will be the newest weights")
            preview = partial(draw, (val_loader if len(val_loader) else train_loader).dataset)
            on_step = run_dir.step_pictures(args.output, board, preview, every=args.picture_every)
            while progress.epoch < stage.end:
                epoch = progress.epoch
                if epoch == stage.first and progress.batch == 0:  # sizes do not compare
                    progress.forget_best()
                    plateau.forget_best()
                size = "x".join(map(str, stage.size))
                train_loader.set_position(epoch, progress.batch)
                net.train()
                loop.train_epoch(
                    train_loader,
                    train_step,
                    progress,
                    steps_per_epoch=steps_per_epoch,
                    label=f"epoch {epoch + 1}/{stages[-1].end}, {size}",
                    save=save,
                    save_every_s=args.checkpoint_every * 60,
                    on_step=on_step,
                )
                judged.eval()
                metrics, is_best = {}, len(val_loader) == 0
                val_due = (epoch + 1) % args.val_every == 0 or epoch + 1 == stage.end
                if val_due and len(val_loader):
                    metrics = validate(val_loader)
                    score = 1 - metrics["mask_iou_per_image"] + metrics["depth_rmse_per_image"]
                    is_best = progress.take_score(score)
                    if args.sched == "plateau":
                        plateau.update(score)
                lr = optimizer.param_groups[0]["lr"]
                row = progress.end_row(stage=stage.number, img_size=size, lr=lr, metrics=metrics)
                scores = ("val_mask_iou_per_image", "val_depth_rmse_per_image")
                run_dir.log_row(row, scores, is_best=is_best)
                about = {
                    "inputs": args.inputs,
                    "img_size": stage.size,
                    **scale,
                    "dataset_fingerprint": manifest.fingerprint,
                    "epoch": epoch + 1,
                    "step": (epoch + 1) * steps_per_epoch,
                    "metrics": metrics,
                }
                if ranks.is_first():
                    save_model(args.output / "last.safetensors", judged, about)
                    if is_best:
                        save_model(args.output / "best.safetensors", judged, about)
                    run_dir.record_epoch(args.output, board, progress.rows, preview())
                progress.next_epoch(stage.end if progress.is_stale(args.patience) else epoch + 1)
                save()
    logger.info("all %d epochs are done: %s", stages[-1].end, args.output / "best.safetensors")


if __name__ == "__main__":
    sys.exit(run(main, DsetkitError, ModelError, RunError, on_interrupt=CONTINUE))
