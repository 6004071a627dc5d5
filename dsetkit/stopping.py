"""How a command is stopped: Ctrl-C, SIGTERM and SIGHUP raise KeyboardInterrupt in it.

A signal waits while the command is in a long call of C, such as a network's. So the process is
ended after a while, whatever it does; what it has committed is safe, as after a kill.
"""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from dsetkit.spawning import bind_while_loading

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, SIGTERM or SIGHUP.

    Args:
        number: The signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def status_of(interrupt: KeyboardInterrupt) -> int:
    """The exit status of a command that was stopped: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP."""
    return 128 + getattr(interrupt, "number", signal.SIGINT)


def handled_signals() -> list[signal.Signals]:
    """Those of SIGNALS that nobody has chosen to ignore, as `nohup` does."""
    return [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]


@dataclass
class Received:
    """What has reached a block.

    Attributes:
        signal: Number of the first signal; None before one comes.
    """

    signal: int | None = None


@contextmanager
def interruptible(
    *, seconds: float | None, at_the_end: Callable[[], None] = lambda: None
) -> Iterator[Received]:
    """Within the block, signals raise `Interrupted`.

    Python sets handlers in the main thread alone; in another one nothing changes.

    Args:
        seconds: How long the block may go on after a signal, and the signals after the first one
            are ignored; then `at_the_end` is called and the process ends. None lets it go on, and
            each signal raises.
        at_the_end: See above; called in another thread.

    Yields:
        The signal that came: a library may turn `Interrupted` into an error of its own.
    """
    received = Received()
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def handle(number: int, frame: FrameType | None) -> None:
        is_first = received.signal is None
        if is_first:
            received.signal = number
        if is_first or seconds is None:
            raise Interrupted(number)

    former = {number: signal.signal(number, handle) for number in handled_signals()}
    try:
        if seconds is None:
            yield received
        else:
            with _deadline(seconds, at_the_end):
                yield received
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def kept_handlers() -> Iterator[None]:
    """Restores the handlers of signals after a block in which a library sets its own."""
    former = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in former.items():
                signal.signal(number, handler)


@contextmanager
def _deadline(seconds: float, at_the_end: Callable[[], None]) -> Iterator[None]:
    """Ends the process when the block has not ended `seconds` after the first signal."""
    reader, writer = os.pipe()  # Python writes the numbers of signals to it as they arrive
    os.set_blocking(writer, False)

    def watch() -> None:
        number = 0
        while number not in SIGNALS:
            if not (told := os.read(reader, 1)):
                return  # the block has ended
            (number,) = told
        end = select.poll()
        end.register(reader, 0)  # a closed pipe is reported always
        if not end.poll(1000 * seconds):
            at_the_end()
            os._exit(128 + number)

    former = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    thread = threading.Thread(target=watch, name="dsetkit-deadline", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(former)
        os.close(writer)
        thread.join()
        os.close(reader)


def leave(status: int) -> NoReturn:
    """Ends the process.

    A process that was stopped does not wait for what its threads do.
    """
    if status > 128:
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, OSError, ValueError):  # closed, or nobody reads it
                stream.flush()
        os._exit(status)
    sys.exit(status)


# Names of a script in the process that runs it, and in those that multiprocessing starts for it.
SCRIPT_NAMES = ("__main__", "__mp_main__")


def end_while_loading(name: str) -> None:
    """Makes a script that still imports end with its starter, and at Ctrl-C without a traceback.

    Args:
        name: The script's `__name__`, one of SCRIPT_NAMES.
    """
    bind_while_loading()
    if name == "__main__" and signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `interruptible` takes over
