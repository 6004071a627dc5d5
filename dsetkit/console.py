"""What commands share on the terminal: exit statuses, errors in one line, and progress."""

import errno
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import rich
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dsetkit.errors import DsetkitError

SECONDS_BETWEEN_LINES = 10.0  # where there is no terminal

logger = logging.getLogger(__name__)


class ProgressReport(Protocol):
    """Shows how far a piece of work is."""

    def __call__(self, done: int, total: int, text: str = "") -> None:
        """Shows `done` of `total`, with `text` (default: the rate) beside it."""


def print_error(line: str) -> None:
    """Prints a line to stderr."""
    print(line, file=sys.stderr, flush=True)


def run(
    main: Callable[[], None],
    *user_errors: type[Exception],
    name: str = "dsetkit",
    on_interrupt: str = "interrupted; the same command goes on from here",
    log_format: str = "%(message)s",
    print_line: Callable[[str], None] = print_error,
    explain: Callable[[Exception], str | None] = lambda error: None,
) -> int:
    """Runs a command and turns what it raises into an exit status.

    Args:
        main: The command; it parses its own arguments.
        user_errors: Exceptions that the user can mend, besides DsetkitError.
        name: Name of the command, the start of every error line.
        on_interrupt: The line that Ctrl-C ends with.
        log_format: Format of log lines where there is no terminal.
        print_line: Prints the line that the command ends with.
        explain: Gives the line for any other exception that the user can mend, None for a bug.

    Returns:
        0 done, 2 an error that the user can mend (one line), 130 stopped by Ctrl-C, 1 a bug (with
        its traceback).
    """
    rich.reconfigure(stderr=True)  # bars and log lines share one console, stdout stays free
    is_terminal = rich.get_console().is_terminal
    logging.basicConfig(
        level=logging.INFO,
        format="%(message)s" if is_terminal else log_format,
        datefmt="%H:%M:%S",
        handlers=[RichHandler(show_path=False) if is_terminal else logging.StreamHandler()],
    )
    try:
        main()
    except KeyboardInterrupt:
        print_line(f"{name}: {on_interrupt}")
        return 130
    except Exception as error:
        is_users = isinstance(error, (DsetkitError, *user_errors))
        reason = str(error) if is_users else _disk_is_full(error) or explain(error)
        if reason is None:
            traceback.print_exc()
            return 1
        print_line(f"{name}: error: {reason}")
        return 2
    return 0


def _disk_is_full(error: Exception) -> str | None:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({error}): make room"
    return None


@contextmanager
def progress_bar(
    what: str,
    *,
    shown: bool = True,
    stays: bool = True,
    seconds_between_lines: float = SECONDS_BETWEEN_LINES,
) -> Iterator[ProgressReport]:
    """Shows progress: a bar on a terminal, log lines elsewhere.

    Args:
        what: Name of the work.
        shown: False shows nothing.
        stays: Whether the finished bar stays on the screen, or a last line in the log.
        seconds_between_lines: Time between two log lines [s].

    Yields:
        A function of (done, total, text). The rate counts from its first call, so that what was
        done before a resume does not count.
    """
    if not shown:
        yield lambda done, total, text="": None
        return
    shared = rich.get_console()
    console = shared if shared.stderr else Console(stderr=True)
    if not console.is_terminal:
        yield _line_report(what, stays=stays, seconds_between_lines=seconds_between_lines)
        return
    text_column = TextColumn("{task.fields[text]}")
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), text_column)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=not stays) as bar:
        task = bar.add_task(what, total=None, text="")
        meter = _Meter()

        def report(done: int, total: int, text: str = "") -> None:
            rate = meter.rate(done)
            bar.update(task, completed=done, total=total, text=text or f"{rate:,.0f}/s")

        yield report


class _Meter:
    """Measures a rate since the first call."""

    def __init__(self) -> None:
        self._start: tuple[float, int] | None = None

    def rate(self, done: int) -> float:
        """Pieces per second [1/s]."""
        now = time.monotonic()
        if self._start is None:
            self._start = (now, done)
        return (done - self._start[1]) / max(now - self._start[0], 1e-9)


def _line_report(what: str, *, stays: bool, seconds_between_lines: float) -> ProgressReport:
    meter, last = _Meter(), time.monotonic()

    def report(done: int, total: int, text: str = "") -> None:
        nonlocal last
        rate = meter.rate(done)
        is_due = time.monotonic() - last >= seconds_between_lines
        if not (stays if done == total else is_due):
            return
        last = time.monotonic()
        left = f", {(total - done) / rate:,.0f} s left" if rate and done < total else ""
        logger.info(
            "%s: %s of %s, %s%s", what, f"{done:,}", f"{total:,}", text or f"{rate:,.0f}/s", left
        )

    return report
