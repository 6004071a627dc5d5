"""Several processes that train one network: everything about torch.distributed is here.

    torchrun --nproc-per-node 2 train_depth.py --data DATASET --output runs/depth

A rank is one of the processes, 0 .. world - 1. Without torchrun there is one process and no process
group, and every function here returns what it was given. What several ranks do:

| what | how it equals the same run in one process |
|---|---|
| batch | flags mean the global batch; a rank reads its share of each (`place`) |
| augmentation | drawn for the global batch; a rank takes its rows (`own_rows`) |
| loss | of the global batch: outputs and targets of all ranks are gathered (`gather`), so terms
that look at all samples at once, or count valid pixels, are exact |
| gradients | of a rank's own outputs, averaged by DistributedDataParallel (`parallel`) |
| batch norm | with training/sync_batch_norm.py over the global batch, else over each rank's share |
| scores | one rank scores each sample; the rows of all ranks are put in order (`gather_objects`) |
| dropout | differs: each rank draws its own (`draw_apart`) |

Only rank 0 writes files and logs.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dsetkit.arguments import PORT, PROCESSES, RANK, from_environment
from dsetkit.errors import RunError
from dsetkit.stopping import SIGNALS
from dsetkit.streams import print_error

ENDED = (
    "another process of this run has died or was stopped: see above for its own message (none if "
    "it was killed, as for want of memory), and continue from the last saved state with the "
    "same --output and --resume, on any number of processes"
)
# What gloo, NCCL and the store say when the other end of a connection is gone.
LOST_PEER = ("gloo", "NCCL", "Connection closed", "Connection reset", "Broken pipe", "TCPStore")

SECONDS_TO_STOP = 20.0  # after SIGTERM; torchrun kills after 30
SECONDS_BETWEEN_LOOKS = 0.2
_PRINTED = "printed"  # key of the store

_store: dist.Store | None = None  # the launcher's, which outlives each rank
_printing = threading.Lock()


# ---- start and end -----------------------------------------------------------------------------


def join() -> None:
    """Joins the process group if torchrun, or a program like it, started several processes.

    Raises:
        DsetkitError: An environment variable of theirs is no number, or too large.
    """
    global _store
    needed = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    if not all(os.environ.get(name) for name in needed) or os.environ["WORLD_SIZE"] == "1":
        return
    rank, world_size = from_environment("RANK", RANK), from_environment("WORLD_SIZE", PROCESSES)
    from_environment("MASTER_PORT", PORT)
    if rank >= world_size:
        raise RunError(f"environment variable RANK: expected below {world_size}, got {rank}")
    _store, number, count = next(iter(dist.rendezvous("env://")))
    _end_with_the_others()
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=_store, rank=number, world_size=count)


def leave() -> None:
    """Waits until all ranks have come to the end, and leaves the process group."""
    if dist.is_initialized():
        barrier()
        dist.destroy_process_group()


def world() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def place() -> tuple[int, int]:
    """(rank, world) of this process."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def is_first() -> bool:
    """Whether this is the process that writes and logs."""
    return place()[0] == 0


def barrier() -> None:
    """Waits until all ranks are here."""
    if world() > 1:
        dist.all_reduce(torch.zeros(1))  # by gloo, which needs no GPU


def print_once(line: str) -> None:
    """Prints the line that a run ends with to stderr, on the first rank that ends.

    So an error that all ranks find, as in the arguments, is printed once, and the error of a single
    rank is not buried under those of the others, which merely lost it.
    """
    with _printing:
        if _store is None or _comes_first(_store):
            print_error(line)


def _comes_first(store: dist.Store) -> bool:
    try:
        return store.add(_PRINTED, 1) == 1
    except RuntimeError:  # the launcher is gone: a second line is better than none
        return True


def explain_lost_peer(error: Exception) -> str | None:
    """The line for an error that means that this rank lost another one; None for other errors."""
    is_lost_peer = isinstance(error, RuntimeError) and any(w in str(error) for w in LOST_PEER)
    if world() == 1 or not is_lost_peer:
        return None
    return f"{ENDED} ({str(error).splitlines()[0][:160]})"


def _end_with_the_others() -> None:
    """Ends this process when the launcher is gone, or does not need it any more.

    torchrun sends SIGTERM to all ranks when one has died, and when it is stopped itself. The first
    rank then ends after its step (see interrupts.py). Any other one, and the first one too when it
    waits for a dead rank, may be in a collective that never returns, and Python runs signal
    handlers only after it. So a thread ends the process: once a rank has said why the run ends, or
    after a while.
    """
    launcher = os.getppid()
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def watch(writer: socket.socket = writer) -> None:  # keeps the other end open
        reader.settimeout(SECONDS_BETWEEN_LOOKS)
        number = 0
        while number not in SIGNALS and os.getppid() == launcher:
            with suppress(TimeoutError):
                (number,) = reader.recv(1)
        last_words = f"{Path(sys.argv[0]).name}: error: {ENDED}"
        if number not in SIGNALS:  # and the launcher's store is gone with it
            if is_first():
                print_error(last_words)
            os._exit(2)
        until = time.monotonic() + SECONDS_TO_STOP
        while time.monotonic() < until and not _has_been_said():
            time.sleep(SECONDS_BETWEEN_LOOKS)
        print_once(last_words)
        os._exit(2)

    threading.Thread(target=watch, daemon=True).start()


def _has_been_said() -> bool:
    """Whether a rank has printed the line that the run ends with."""
    assert _store is not None  # `join` sets it before anything can be printed
    try:
        return _store.check([_PRINTED])
    except RuntimeError:  # the launcher is gone
        return True


# ---- what the flags must be --------------------------------------------------------------------


def check_batch_size(batch_size: int, *, accumulate: int) -> None:
    """Raises RunError unless a global batch splits into equal parts, one or more for each rank."""
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
    number, ranks = place()
    return draw(count * ranks)[count * number : count * (number + 1)]


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
