"""Nothing in a training step or in a validation reads a tensor back: the CPU never waits for a GPU.

Checked on the CPU, where the same operations run. A value read into Python, or a shape that depends
on values, is what a GPU would have to be waited for.
"""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from training import loop
from training.augment import AUGMENTATIONS, make_augment
from training.ema import AveragedWeights
from training.losses.saliency import saliency_loss
from training.losses.specs import DEPTH_LOSSES, MASK_LOSSES, depth_loss, mask_loss
from training.optimizer import make_optimizer
from training.scoring.metrics import DepthMetrics, MaskMetrics

READS_BACK = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique2")
ON_THE_CPU_BY_NATURE = ("jpeg", "some_jpeg")  # their coder


class NoReadingBack(TorchDispatchMode):
    """Raises where a value of a tensor, or a shape that hangs on values, reaches Python."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        by_bools = name == "index" and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]
        )
        assert name not in READS_BACK and not by_bools, f"{name} reads a tensor back"
        return func(*args, **(kwargs or {}))


def batch() -> loop.Batch:
    picture = torch.randint(0, 256, (2, 3, 16, 24), dtype=torch.uint8)
    depth = torch.rand(2, 1, 16, 24)
    depth[:, :, :2] = 0  # invalid
    return {"composite": picture, "background": picture, "mask": picture[:, :1], "depth": depth}


def test_the_guard_sees_what_reads_back() -> None:
    x = torch.rand(3)
    for read in (lambda: x.sum().item(), lambda: bool(x[0] > 0), lambda: x[x > 0.5]):
        with pytest.raises(AssertionError, match="reads a tensor back"), NoReadingBack():
            read()


@pytest.mark.parametrize(
    "name", [name for name in AUGMENTATIONS if name not in ON_THE_CPU_BY_NATURE]
)
def test_batches_and_augmentations_do_not_wait(name: str) -> None:
    augment, given = make_augment(name), batch()
    with NoReadingBack():
        augment(loop.prepare_batch(given, torch.device("cpu")))


@pytest.mark.parametrize("name", DEPTH_LOSSES)
def test_depth_losses_do_not_wait(name: str) -> None:
    output, target = torch.rand(2, 1, 16, 24, requires_grad=True), batch()["depth"]
    loss = depth_loss(name, head="logits")
    with NoReadingBack():
        loss(output, target, target > 0).backward()


@pytest.mark.parametrize("name", MASK_LOSSES)
def test_mask_losses_do_not_wait(name: str) -> None:
    output, target = torch.rand(2, 1, 16, 24, requires_grad=True), torch.rand(2, 1, 16, 24)
    loss = mask_loss(name, head="logits")
    with NoReadingBack():
        loss(output, target).backward()


def test_the_saliency_objective_does_not_wait() -> None:
    mask, picture = torch.rand(2, 1, 16, 24, requires_grad=True), torch.rand(2, 3, 16, 24)
    objective = saliency_loss(nn.Conv2d(3, 1, 3, padding=1))
    with NoReadingBack():
        objective(mask, picture).backward()


def test_a_step_does_not_wait() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 3))
    average = AveragedWeights(net, 0.9)
    optimizer = make_optimizer(net, "adamw", lr=1e-3, weight_decay=1e-2, momentum=0.9)
    clip = loop.make_clip(norm=1.0, value=0.1)
    x = torch.rand(2, 3, 8, 8)

    def loss_of(batch: loop.Batch) -> torch.Tensor:
        return net(batch["x"]).square().mean()

    for _ in range(2):
        with NoReadingBack():
            loop.update_weights(net, optimizer, loss_of, {"x": x}, lr=1e-3, clip=clip)
        average.update_parameters(net)  # reads its counter, which stays on the CPU


@pytest.mark.parametrize("kind", ["metric", "relative"])
@pytest.mark.parametrize("align", ["none", "scale-shift"])
def test_depth_scores_do_not_wait_while_they_sum(kind: str, align: str) -> None:
    metrics = DepthMetrics(10.0, depth_kind=kind, align=align)
    prediction, target = torch.rand(2, 1, 8, 12), batch()["depth"]
    with NoReadingBack():
        metrics.update(prediction, target)
    assert metrics.compute()["images"] == 2


def test_mask_scores_do_not_wait_while_they_sum() -> None:
    metrics, masks = MaskMetrics(), torch.rand(2, 1, 16, 24)
    with NoReadingBack():
        metrics.update(masks, masks)
    assert metrics.compute()["iou_per_image"] == 1
