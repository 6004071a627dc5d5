"""Several processes that train one network: all that knows torch.distributed is here.

    torchrun --nproc-per-node 2 train_depth.py --data DATASET --output runs/depth

A rank is one of the processes, 0 .. world - 1. A script started without torchrun is alone: there is
no process group, and every function here gives back what it got. What ranks agree on:

| what | how it equals the same run in one process |
|---|---|
| batch | the flags speak of the global one; a rank reads its share of each (`place`) |
| augmentation | drawn for the global batch; a rank takes its rows (`own_rows`) |
| loss | of the global batch, to which all ranks' outputs and targets are gathered (`gather`): terms
that look at all samples at once, or count valid pixels, are exact |
| gradients | of a rank's own outputs, averaged by DistributedDataParallel (`parallel`) |
| batch norm | with training/sync_batch_norm.py over the global batch, else over each rank's share |
| scores | each sample is judged once, by one rank; rows come together in order (`gather_objects`) |
| dropout | differs: each rank draws its own (`draw_apart`) |

Rank 0 alone writes and logs.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dsetkit.errors import RunError

ENDED = (
    "another process of this run has died or was stopped: see above for its own message (none if "
    "it was killed, as for want of memory), and continue from the last saved state with the "
    "same --output and --resume, on any number of processes"
)
# How gloo, NCCL and the store put it when the other end of a connection is gone.
LOST_PEER = ("gloo", "NCCL", "Connection closed", "Connection reset", "Broken pipe", "TCPStore")

_store: dist.Store | None = None  # the launcher's, which outlives each rank
_telling = threading.Lock()


# ---- coming and going --------------------------------------------------------------------------


def join() -> None:
    """Meets the other processes when torchrun, or what sets its variables, started several."""
    global _store
    needed = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    if not all(name in os.environ for name in needed) or os.environ["WORLD_SIZE"] == "1":
        return
    _end_when_asked()
    _store, number, count = next(iter(dist.rendezvous("env://")))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=_store, rank=number, world_size=count)


def leave() -> None:
    """Parts when all have come to the end."""
    if dist.is_initialized():
        barrier()
        dist.destroy_process_group()


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def place() -> tuple[int, int]:
    """(rank, world) of this process."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def is_first() -> bool:
    """Whether this process is the one that writes and logs."""
    return place()[0] == 0


def barrier() -> None:
    """Waits until all ranks are here."""
    if world() > 1:
        dist.all_reduce(torch.zeros(1))  # of gloo, which no GPU has to be ready for


def tell(line: str) -> None:
    """Prints the line that a run ends with: of all ranks, only what the first to fail has to say.

    An error that all find, as in the arguments, is told once; one of a single rank is not buried
    under those of the others, who merely lose it.
    """
    with _telling:
        if _store is None or _comes_first(_store):
            print(line, file=sys.stderr, flush=True)


def _comes_first(store: dist.Store) -> bool:
    try:
        return store.add("told", 1) == 1
    except RuntimeError:  # the launcher is gone: better twice than never
        return True


def is_lost_peer(error: Exception) -> bool:
    """Whether an error of this process means that it lost another."""
    return (
        world() > 1 and isinstance(error, RuntimeError) and any(w in str(error) for w in LOST_PEER)
    )


def _end_when_asked() -> None:
    """Ends this process with one line on SIGTERM, which torchrun sends when a rank has died.

    From a thread: the main one may sit in a collective that never comes back, and Python would
    run a handler only after it.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def watch(writer: socket.socket = writer) -> None:  # holds the other end open
        while reader.recv(1) != bytes([signal.SIGTERM]):  # Ctrl-C comes here too
            pass
        tell(f"{Path(sys.argv[0]).name}: error: {ENDED}")
        os._exit(2)

    threading.Thread(target=watch, daemon=True).start()


# ---- what the flags must be --------------------------------------------------------------------


def check_batch_size(batch_size: int, *, accumulate: int) -> None:
    """Raises RunError unless a global batch falls into equal parts, one or more for each rank."""
    count = world()
    if batch_size % (count * accumulate):
        raise RunError(
            f"--batch-size {batch_size} does not fall into {count} (processes) x {accumulate} "
            f"(--accumulate) equal parts: expected a multiple of {count * accumulate}"
        )


def own_device(device: torch.device) -> torch.device:
    """The device of this rank: its own GPU of the machine, or the CPU.

    Raises:
        RunError: there are more ranks on the machine than GPUs.
    """
    if world() == 1 or device.type != "cuda":
        return device
    number, count = int(os.environ.get("LOCAL_RANK", place()[0])), torch.cuda.device_count()
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
    """What `parallel` made averages the gradients within, or, if not `now`, lets them add up."""
    if now or not isinstance(net, DistributedDataParallel):
        yield
        return
    with net.no_sync():
        yield


def share_buffers(net: nn.Module) -> None:
    """Gives every rank rank 0's buffers: batch norm's statistics, where each rank kept its own."""
    for buffer in net.buffers() if world() > 1 else ():
        dist.broadcast(buffer, src=0)


# ---- what ranks give each other ----------------------------------------------------------------


def gather(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Each tensor (n, ...) of all ranks as one (world * n, ...), in the order of the ranks.

    The gradient reaches this rank's own rows: a loss of the whole has, on each rank, that rank's
    part of the gradient; all parts add up to it (see `loop.update_weights`).
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
    """The mean over ranks of a scalar, with a gradient as `gather` gives."""
    return gather(own[None])[0].mean() if world() > 1 else own


def gather_objects(own: Any) -> list[Any]:
    """What each rank gives, in the order of the ranks."""
    if world() == 1:
        return [own]
    every = [None] * world()
    dist.all_gather_object(every, own)
    return every


def own_rows(count: int, draw: Callable[[int], torch.Tensor]) -> torch.Tensor:
    """Draws rows for the global batch, of which `count` are this rank's, and gives those.

    Each rank draws the rows of all, for the generator stands the same on each.
    """
    number, ranks = place()
    return draw(count * ranks)[count * number : count * (number + 1)]


def draw_apart() -> None:
    """From here on a rank draws numbers of its own, a function of the last seed and the rank."""
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
