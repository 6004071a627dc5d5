"""What the processes of a training tell each other: gradients, outputs, scores, random numbers.

Without torchrun there is one process, and every function here returns what it was given. What
several ranks (training/ranks.py) do:

| what | how it equals the same run in one process |
|---|---|
| batch | flags mean the global batch; a rank reads its share of each (`ranks.place`) |
| augmentation | drawn for the global batch; a rank takes its rows (`own_rows`) |
| loss | of the global batch: outputs and targets of all ranks are gathered (`gather`), so terms
that look at all samples at once, or count valid pixels, are exact |
| gradients | of a rank's own outputs, averaged by DistributedDataParallel (`parallel`) |
| batch norm | with training/sync_batch_norm.py over the global batch, else over each rank's share |
| scores | one rank scores each sample; the rows of all ranks are put in order (`gather_objects`) |
| dropout | differs: each rank draws its own (`draw_apart`) |
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dsetkit.arguments import RANK, from_environment
from dsetkit.errors import RunError
from training.ranks import place, world


def own_device(device: torch.device) -> torch.device:
    """The device of this rank: its own GPU of the machine, or the CPU.

    Raises:
        RunError: there are more ranks on the machine than GPUs.
        DsetkitError: LOCAL_RANK is no number.
    """
    if world() == 1 or device.type != "cuda":
        return device
    own = from_environment("LOCAL_RANK", RANK)
    number, count = place()[0] if own is None else own, torch.cuda.device_count()
    if number >= count:
        raise RunError(
            f"process {number + 1} of this machine finds {count} GPUs: expected one for each; "
            f"give --nproc-per-node {count}, or --device cpu"
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


# ---- the network -------------------------------------------------------------------------------


def parallel(net: nn.Module) -> nn.Module:
    """A network whose gradients are the mean over ranks; alone, the network itself."""
    if world() == 1:
        return net
    device = next(net.parameters()).device
    return DistributedDataParallel(net, device_ids=None if device.type == "cpu" else [device])


@contextmanager
def averaging(net: nn.Module, *, now: bool) -> Iterator[None]:
    """Says whether the gradients of a block are averaged over ranks.

    Args:
        net: A network from `parallel`.
        now: True averages them, False adds them up on each rank until a later block does.
    """
    if now or not isinstance(net, DistributedDataParallel):
        yield
        return
    with net.no_sync():
        yield


def share_buffers(net: nn.Module) -> None:
    """Copies rank 0's buffers to all ranks: statistics of batch norm, where each kept its own."""
    for buffer in net.buffers() if world() > 1 else ():
        dist.broadcast(buffer, src=0)


# ---- data that ranks exchange ------------------------------------------------------------------


def gather(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Joins each tensor (n, ...) of all ranks to one (world * n, ...), in the order of the ranks.

    The gradient reaches this rank's own rows only. On each rank, the loss of the whole batch has
    that rank's part of the gradient; the sum of the parts is the gradient (`loop.update_weights`).
    """
    if world() == 1:
        return tensors
    return tuple(_gather_one(tensor) for tensor in tensors)


def _gather_one(tensor: torch.Tensor) -> torch.Tensor:
    number, count = place()
    rows = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(count)]
    dist.all_gather(rows, tensor.detach().contiguous())
    rows[number] = tensor
    return torch.cat(rows)


def mean(own: torch.Tensor) -> torch.Tensor:
    """The mean over ranks of a scalar, with a gradient as in `gather`."""
    return gather(own[None])[0].mean() if world() > 1 else own


def gather_objects(own: Any) -> list[Any]:
    """The objects of all ranks, in the order of the ranks."""
    if world() == 1:
        return [own]
    every: list[Any] = [None] * world()
    dist.all_gather_object(every, own)
    return every


def own_rows(count: int, draw: Callable[[int], torch.Tensor]) -> torch.Tensor:
    """Draws random rows for the global batch and returns this rank's share.

    Each rank draws the rows of all ranks, because the generators of all are in the same state.

    Args:
        count: rows of this rank.
        draw: number of rows -> random rows.
    """
    number, processes = place()
    return draw(count * processes)[count * number : count * (number + 1)]


def draw_apart() -> None:
    """From here on each rank draws its own numbers, a function of the last seed and the rank."""
    number, count = place()
    if count > 1:
        torch.manual_seed((torch.initial_seed() + (number + 1) * 2_654_435_769) % 2**63)


def sum_over_ranks(x: torch.Tensor) -> torch.Tensor:
    """The sum of all ranks' tensors of one shape; its gradient is the sum of their gradients."""
    return _Sum.apply(x)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return _summed(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _summed(gradient)


def _summed(x: torch.Tensor) -> torch.Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total
