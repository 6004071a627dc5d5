"""A command that comes to a gate in one of several ways, to be stopped there.

    python -m tests.helpers.waiting_command HOW GATE

Where it is, as a visitor's `place`, is 0 for the command and 1, 2, ... for its workers.
"""

import ctypes
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

from dsetkit.console import run
from dsetkit.processes import in_processes
from dsetkit.spawning import bound_command
from dsetkit.stopping import end_while_loading, leave
from tests.helpers.gates import come_to

SECONDS_TO_STOP = 0.2


def here(gate: Path) -> None:
    """In Python: a signal is noticed at once."""
    come_to(gate, 0)


def in_a_long_call(gate: Path) -> None:
    """In C: Python's handler of a signal does not run until the call returns, which is never."""
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    libc.pthread_mutex_lock(mutex)
    is_entering = threading.Event()
    sys.setswitchinterval(1000)  # the thread runs when the call lets it, not before
    threading.Thread(target=lambda: is_entering.wait() and come_to(gate, 0), daemon=True).start()
    is_entering.set()
    libc.pthread_mutex_lock(mutex)


def as_another_error(gate: Path) -> None:
    """In a library that turns what is raised into an error of its own."""
    try:
        come_to(gate, 0)
    except KeyboardInterrupt:
        raise ImportError("a part of the library is missing") from None


def in_workers(gate: Path) -> None:
    list(in_processes(partial(come_to, gate), [1, 2], jobs=2))


def in_a_loader(gate: Path) -> None:
    from dsetkit.loading.loader import make_loader  # loads torch

    list(make_loader(Gated(gate), 1, workers=2, shuffle=False))


def in_another_command(gate: Path) -> None:
    words = [sys.executable, "-m", "tests.helpers.waiting_command", "here", str(gate)]
    subprocess.run(words, **bound_command())


class Gated:
    def __init__(self, gate: Path) -> None:
        self._gate = gate

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict[str, int]:
        come_to(self._gate, index + 1)
        return {"index": index}


ALONE = (here, in_a_long_call, as_another_error)
WAYS = {way.__name__: way for way in (*ALONE, in_workers, in_a_loader, in_another_command)}

if __name__ == "__main__":
    end_while_loading("__main__")
    how, gate = sys.argv[1:]
    main = partial(WAYS[how], Path(gate))
    leave(run(main, name="tool", on_interrupt="stopped", seconds_to_stop=SECONDS_TO_STOP))
