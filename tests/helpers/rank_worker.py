"""What a process of several and a process alone compute from the same global batch.

    torchrun --nproc-per-node 2 tests/helpers/rank_worker.py RESULT

Rank 0 writes what the ranks found together; tests/training/test_ranks.py holds it against
`measure()` in a process of its own. In float64, so that what differs is wrong and not rounded.
"""

import sys
from functools import partial
from pathlib import Path

import torch
from torch import nn

from training import exchange, loop, ranks
from training.augment import AUGMENTATIONS, make_augment
from training.losses.specs import DEPTH_LOSSES, MASK_LOSSES, depth_loss, mask_loss
from training.scoring.metrics import DepthMetrics, MaskMetrics
from training.sync_batch_norm import sync_batch_norm

BATCH = 8
FIELDS = {"composite": 3, "background": 3, "mask": 1, "depth": 1}
Result = dict[str, torch.Tensor]


def global_batch(count: int) -> loop.Batch:
    """Pictures, masks and depths; the first half of the depths has more invalid pixels."""
    rng = torch.Generator().manual_seed(1)
    batch = {name: torch.rand(count, n, 24, 32, generator=rng) for name, n in FIELDS.items()}
    batch["depth"][: count // 2, :, :9] = 0
    return batch


def own_share(batch: loop.Batch) -> loop.Batch:
    """This rank's stretch of each field."""
    rank, world = ranks.place()
    return {name: values.tensor_split(world)[rank] for name, values in batch.items()}


def network(*, norm: bool) -> nn.Module:
    torch.manual_seed(2)
    middle = nn.BatchNorm2d(6) if norm else nn.Identity()
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), middle, nn.ReLU(), nn.Conv2d(6, 1, 3, padding=1)
    ).double()


def weights_after_steps(kind: str, spec: str, *, norm: bool, parts: int) -> Result:
    """Weights, statistics and loss after two steps of gradient descent."""
    net = network(norm=norm)
    net = sync_batch_norm(net, torch.device("cpu"))
    forward = exchange.parallel(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    loss_fn = mask_loss(spec) if kind == "mask" else depth_loss(spec)

    def loss_of(batch: loop.Batch) -> torch.Tensor:
        output, target = exchange.gather(forward(batch["composite"].double()), batch[kind])
        return loss_fn(output, target) if kind == "mask" else loss_fn(output, target, target > 0)

    clip = loop.make_clip(norm=1.0, value=None)
    step = partial(loop.update_weights, forward, optimizer, loss_of, lr=0.1, clip=clip, parts=parts)
    batch = own_share(global_batch(BATCH))
    step(batch)
    return {"loss": step(batch), **{n: x.detach().clone() for n, x in net.state_dict().items()}}


def augmented() -> Result:
    """The global batch after every augmentation, put together from the ranks."""
    found = {}
    for name in AUGMENTATIONS:
        loop.seed_step(3, 4)
        batch = make_augment(name)(own_share(global_batch(BATCH)))
        whole = exchange.gather(*batch.values())
        found |= {f"{name}/{field}": x for field, x in zip(batch, whole, strict=True)}
    return found


def scores() -> dict[str, float]:
    """Scores of 13 images in batches of 4, of which the last has one."""
    every, found = global_batch(13), {}
    mask, depth = MaskMetrics(), DepthMetrics(10.0)
    for first in range(0, 13, 4):
        batch = own_share({name: x[first : first + 4] for name, x in every.items()})
        if len(batch["mask"]):
            mask.update(batch["composite"][:, :1], batch["mask"])
            depth.update(batch["composite"][:, :1], batch["depth"])
    for name, metrics in (("mask", mask), ("depth", depth)):
        found |= {f"{name}_{k}": v for k, v in metrics.merge_ranks().compute().items()}
    return found


def drawn_apart() -> list[float]:
    """What each rank draws within a step."""
    loop.seed_step(0, 0)
    exchange.draw_apart()
    return exchange.gather_objects(torch.rand(()).item())


def measure() -> dict[str, object]:
    found: dict[str, object] = {
        "scores": scores(),
        "drawn": drawn_apart(),
        "augmented": augmented(),
    }
    for kind, known in (("depth", DEPTH_LOSSES), ("mask", MASK_LOSSES)):
        for spec in known:
            if (kind, spec) != ("depth", "bce"):  # of logits
                after = weights_after_steps(kind, spec, norm=True, parts=1)
                found[f"{kind} {spec}"] = after
    found["in parts"] = weights_after_steps("depth", "l1", norm=False, parts=2)
    return found


if __name__ == "__main__":
    ranks.join()
    result = measure()
    if ranks.is_first():
        torch.save(result, Path(sys.argv[1]))
    ranks.leave()
