"""stdout and stderr as users have them: closed, cut off, full, of another encoding than UTF-8."""

import errno
import io
import os
import sys
from contextlib import suppress

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


def fault_of_stdout() -> OSError | None:
    """Sends what was printed, and returns the error if stdout does not take it.

    Then what is printed from here on is dropped, so that Python's own attempt at the end is quiet.
    """
    try:
        sys.stdout.flush()
    except (AttributeError, ValueError):  # closed
        return None
    except OSError as error:
        with suppress(OSError, ValueError):  # a test's stream has no number
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None


def is_cut_off(error: BaseException | None) -> bool:
    """Whether an error means that nobody reads stdout any more, as after `| head`."""
    if isinstance(error, SystemExit):  # raised by rich
        error = error.__context__
    return isinstance(error, OSError) and error.errno == errno.EPIPE
