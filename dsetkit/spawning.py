"""Processes that end with the one that started them, however that one ends.

`SPAWN` is used like `multiprocessing.get_context("spawn")`. What its processes do otherwise:

| what happens | what they do |
|---|---|
| the process that started them dies, of SIGKILL too | end at once, in the middle of their work |
| Ctrl-C, SIGTERM or SIGHUP reaches the whole group | go on: the process that started them decides |
| SIGTERM from that process, as when it exits | end |
| all of them are killed with it | leave nothing in /dev/shm: their locks are pipes, not files |
"""

import ast
import os
import re
import select
import signal
import sys
import threading
import time
from multiprocessing import active_children, resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess, assert_spawning
from multiprocessing.reduction import DupFd
from pathlib import Path
from types import TracebackType
from typing import Any

LEFT_TO_THE_STARTER = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


# ---- their end ---------------------------------------------------------------------------------


class BoundProcess(SpawnProcess):
    """A spawned process that ends with the process that started it."""

    def start(self) -> None:
        # Children inherit the signals that this thread blocks. The tracker is started before,
        # because its start unblocks them.
        resource_tracker.ensure_running()
        former = signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_THE_STARTER)
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)

    def __reduce__(self) -> tuple[Any, ...]:
        # What is called in the new process before it unpickles its task, which can take seconds,
        # because that imports what the task needs.
        return _bound_to, (DupFd(_lifeline()),), vars(self)


def end_children() -> None:
    """Kills the processes that this one has started: nobody wants their results any more."""
    # torch's handler raises an error when a process of a DataLoader is killed.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for process in active_children():
        if isinstance(process, BoundProcess):
            process.kill()


def bound_command() -> dict[str, Any]:
    """Options of `subprocess.run` for a command of ours that is to end with this process."""
    lifeline = _lifeline()
    return {"env": os.environ | {_LIFELINE: str(lifeline)}, "pass_fds": (lifeline,)}


def bind_while_loading() -> None:
    """Makes a process that begins to import the main script end with the one that started it.

    A spawned process does that first, and only then unpickles the `BoundProcess` that it is.
    """
    lifeline = os.environ.pop(_LIFELINE, "")
    if given := re.search(r"spawn_main\(.*pipe_handle=(\d+)", " ".join(sys.orig_argv)):
        lifeline = given[1]  # what the other process writes to it is read elsewhere
    if lifeline.isdecimal() and len(lifeline) < 7:
        threading.Thread(target=_end_with_writer_of, args=(int(lifeline),), daemon=True).start()


def _end_with_writer_of(pipe: int) -> None:
    closing = select.poll()
    closing.register(pipe, 0)  # a pipe without a writer is reported always
    if any(event & select.POLLHUP for _, event in closing.poll()):
        os._exit(1)


_LIFELINE = "DSETKIT_LIFELINE"  # environment variable: number of the open file
_lifelines: dict[int, int] = {}  # by process, because a fork inherits this dict


def _lifeline() -> int:
    """A pipe whose only writer is this process, so that it ends with it."""
    if os.getpid() not in _lifelines:
        _lifelines[os.getpid()], _ = os.pipe()  # nothing is written; the end closes it
    return _lifelines[os.getpid()]


def _bound_to(lifeline: Any) -> BoundProcess:
    starter = os.getppid()
    for watch, given in ((_end_with_writer_of, lifeline.detach()), (_end_on_sigterm_of, starter)):
        threading.Thread(target=watch, args=(given,), daemon=True).start()
    return BoundProcess.__new__(BoundProcess)


def _end_on_sigterm_of(starter: int) -> None:
    if sys.platform == "linux":
        while signal.sigwaitinfo([signal.SIGTERM]).si_pid != starter:
            pass
    else:  # the sender is not known
        signal.sigwait([signal.SIGTERM])
    os._exit(128 + signal.SIGTERM)


# ---- their locks -------------------------------------------------------------------------------

_LARGEST_COUNT = 4096  # what any pipe holds; queues without a limit ask for billions


class _PipeSemaphore:
    """A semaphore whose count is the number of bytes in a pipe.

    Those of multiprocessing are files in /dev/shm. A tracker process removes them, but when it is
    killed with the others, as by `kill -9` of a process group, they stay until the next boot.
    """

    def __init__(self, count: int = 1) -> None:
        self._open(*os.pipe())
        os.write(self._writer, bytes(count))

    def _open(self, reader: int, writer: int) -> None:
        self._reader, self._writer = reader, writer
        os.set_blocking(reader, False)  # others may be faster after `wait`

    def __getstate__(self) -> tuple[Any, Any]:
        assert_spawning(self)
        return DupFd(self._reader), DupFd(self._writer)

    def __setstate__(self, ends: tuple[Any, Any]) -> None:
        self._open(*(end.detach() for end in ends))

    def __del__(self) -> None:
        os.close(self._reader)
        os.close(self._writer)

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        until = None if timeout is None else time.monotonic() + max(0.0, timeout)
        while True:
            try:
                return bool(os.read(self._reader, 1))
            except BlockingIOError:
                left = None if until is None else until - time.monotonic()
                if not block or (left is not None and left <= 0):
                    return False
                wait([self._reader], left)

    def release(self) -> None:
        os.write(self._writer, b"\0")

    def is_free(self) -> bool:
        return bool(wait([self._reader], 0))

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


class _Unlimited:
    """The semaphore of a queue without a largest size."""

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        return True

    def release(self) -> None:
        pass


class _PipeEvent:
    """An event: a pipe that holds a byte once it is set."""

    def __init__(self) -> None:
        self._byte = _PipeSemaphore(0)

    def is_set(self) -> bool:
        return self._byte.is_free()

    def set(self) -> None:
        self._byte.release()


class _Context(SpawnContext):
    """See the top of this file. It has what `Queue` and torch's DataLoader ask for."""

    Process = BoundProcess

    def Lock(self) -> Any:  # noqa: N802  (multiprocessing's names)
        return _PipeSemaphore()

    def BoundedSemaphore(self, value: int = 1) -> Any:  # noqa: N802
        return _PipeSemaphore(value) if value <= _LARGEST_COUNT else _Unlimited()

    def Event(self) -> Any:  # noqa: N802
        return _PipeEvent()


SPAWN = _Context()


def main_is_guarded() -> bool:
    """Whether processes can be started although they import the main script again.

    A spawned process runs the main script up to the end, but for what stands below
    `if __name__ == "__main__":`. A script without that line would start processes from each
    process that it starts, which Python refuses. Notebooks and `python -c` have no script.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script is None:
        return True
    try:
        statements = ast.parse(Path(script).read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return True  # no script of Python: a zip file, say
    return any(
        isinstance(name, ast.Name) and name.id == "__name__"
        for statement in statements
        if isinstance(statement, ast.If)
        for name in ast.walk(statement.test)
    )
