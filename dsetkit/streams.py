"""stdout and stderr as users have them: closed, cut off, full, of another encoding than UTF-8."""

import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import TextIO

from dsetkit.errors import DsetkitError

STATUS_OF_CUT_OFF = 141  # as shells show it for a program that SIGPIPE has ended


def prepare() -> None:
    """Makes stdout and stderr safe to print to.

    Characters that they cannot show become "?". A file that is opened later does not take the
    number of a stream that is closed, for then a library's messages would be written into it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # the number was given to another kind of file
                stream.reconfigure(errors="replace")


def check() -> None:
    """Raises DsetkitError if stdout is closed, for then nobody sees the command's answer."""
    if sys.stdout is None:
        raise DsetkitError(
            "stdout is closed: expected a place for the answer; `> /dev/null` drops it"
        )


def print_error(line: str) -> None:
    """Prints a line to stderr, if there is one."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # the terminal was closed, or nobody reads the pipe
            print(line, file=sys.stderr, flush=True)


def fault_of_stdout(*, after_a_fault: bool) -> OSError | None:
    """Sends what was printed, and returns the error if stdout does not take it.

    Then what is printed from here on is dropped, so that Python's own attempt at the end is quiet.

    Args:
        after_a_fault: Whether some file or stream has failed. Without a buffer, printing may have.
    """
    try:
        sys.stdout.flush()
        if not (after_a_fault and _has_no_reader(sys.stdout)):
            return None
        fault: OSError = BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    except (AttributeError, ValueError):  # closed
        return None
    except OSError as error:
        fault = error
    with suppress(OSError, ValueError):  # a test's stream has no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return fault


def _has_no_reader(stream: TextIO) -> bool:
    try:
        number = stream.fileno()
    except OSError:  # a test's stream
        return False
    state = select.poll()
    state.register(number, 0)
    return any(event & select.POLLERR for _, event in state.poll(0))


def is_cut_off(error: BaseException | None) -> bool:
    """Whether an error means that nobody reads stdout any more, as after `| head`."""
    if isinstance(error, SystemExit):  # raised by rich
        error = error.__context__
    return isinstance(error, OSError) and error.errno == errno.EPIPE
