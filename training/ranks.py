"""Several processes that train one network: how they start, who each is, how they end.

    torchrun --nproc-per-node 2 train_depth.py --data DATASET --output runs/depth

A rank is one of the processes, 0 .. world - 1. Without torchrun there is one process and no process
group. Only rank 0 writes files and logs. What the ranks tell each other of a batch is in
training/exchange.py; torch is loaded where there are several.
"""

import gc
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dsetkit.arguments import PORT, PROCESSES, RANK, from_environment
from dsetkit.errors import RunError
from dsetkit.stopping import SIGNALS
from dsetkit.streams import print_error

if TYPE_CHECKING:  # torch takes seconds to load, and one process does without it here
    import torch.distributed as dist

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

_store: "dist.Store | None" = None  # the launcher's, which outlives each rank
_place = (0, 1)  # rank and world of this process
_printing = threading.Lock()


# ---- start and end -----------------------------------------------------------------------------


def join() -> None:
    """Joins the process group if torchrun, or a program like it, started several processes.

    Raises:
        DsetkitError: An environment variable of theirs is no number, or too large.
    """
    global _store, _place
    needed = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    if not all(os.environ.get(name) for name in needed) or os.environ["WORLD_SIZE"] == "1":
        return
    rank, world_size = from_environment("RANK", RANK), from_environment("WORLD_SIZE", PROCESSES)
    from_environment("MASTER_PORT", PORT)
    if rank >= world_size:
        raise RunError(f"environment variable RANK: expected below {world_size}, got {rank}")
    import torch
    import torch.distributed as dist

    _store, number, count = next(iter(dist.rendezvous("env://")))
    _end_with_the_others()
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=_store, rank=number, world_size=count)
    _place = (number, count)


def leave() -> None:
    """Waits until all ranks have come to the end, and leaves the process group."""
    global _place
    if world() > 1:
        import torch.distributed as dist

        barrier()
        gc.collect()  # wrapped networks, which hold the group: at the exit its threads would abort
        dist.destroy_process_group()
        _place = (0, 1)


def world() -> int:
    """Number of processes that train together."""
    return _place[1]


def place() -> tuple[int, int]:
    """(rank, world) of this process."""
    return _place


def is_first() -> bool:
    """Whether this is the process that writes and logs."""
    return place()[0] == 0


def barrier() -> None:
    """Waits until all ranks are here."""
    if world() > 1:
        import torch
        import torch.distributed as dist

        dist.all_reduce(torch.zeros(1))  # by gloo, which needs no GPU


def print_once(line: str) -> None:
    """Prints the line that a run ends with to stderr, on the first rank that ends.

    So an error that all ranks find, as in the arguments, is printed once, and the error of a single
    rank is not buried under those of the others, which merely lost it.
    """
    with _printing:
        if _store is None or _comes_first(_store):
            print_error(line)


def _comes_first(store: "dist.Store") -> bool:
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
