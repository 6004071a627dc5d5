"""What commands share on the terminal: exit statuses, errors in one line, and progress."""

import errno
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import rich
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dsetkit import stopping, streams
from dsetkit.errors import DsetkitError, printable
from dsetkit.spawning import end_children
from dsetkit.streams import print_error

SECONDS_BETWEEN_LINES = 10.0  # where there is no terminal
SECONDS_TO_STOP = 1.5
SECONDS_OF_A_RATE = 0.05  # what is measured for less is no rate
OUR_PACKAGES = ("dsetkit", "training")
# What an interrupted command ends with: it has kept what it did, or it has not.
GOES_ON = "interrupted; the same command goes on from here"
BEGINS_ANEW = "interrupted; the same command begins anew"

logger = logging.getLogger(__name__)


class ProgressReport(Protocol):
    """Shows how far a piece of work is."""

    def __call__(self, done: int, total: int, text: str = "") -> None:
        """Shows `done` of `total`, with `text` (default: the rate) beside it."""


@dataclass(frozen=True)
class _Outcome:
    """How a command has ended.

    Attributes:
        status: The exit status.
        text: What to print to stderr.
        error_of_files: Whether the system's answer to reading or writing a file, or stdout, has
            ended it.
    """

    status: int
    text: str = ""
    error_of_files: bool = False


def run(
    main: Callable[[], None],
    *user_errors: type[Exception],
    name: str = "dsetkit",
    on_interrupt: str = BEGINS_ANEW,
    seconds_to_stop: float | None = SECONDS_TO_STOP,
    log_format: str = "%(message)s",
    print_line: Callable[[str], None] = print_error,
    explain: Callable[[Exception], str | None] = lambda error: None,
) -> int:
    """Runs a command and turns what it raises into an exit status.

    Ctrl-C, SIGTERM and SIGHUP raise `stopping.Interrupted` in the command.

    Args:
        main: The command; it parses its own arguments.
        user_errors: Exceptions that the user can mend, besides DsetkitError.
        name: Name of the command, the start of every error line.
        on_interrupt: The line that an interrupted command ends with.
        seconds_to_stop: How long an interrupted command may take to end [s]; then the process is
            ended. None waits for the command.
        log_format: Format of log lines where there is no terminal.
        print_line: Prints the line that the command ends with.
        explain: Gives the line for any other exception that the user can mend, None for a bug.

    Returns:
        0 done, 2 an error that the user can mend (one line), 1 a bug (with its traceback), 130
        stopped by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP, 141 nobody reads stdout any more.
    """
    streams.prepare()
    rich.reconfigure(stderr=True)  # bars and log lines share one console, stdout stays free
    is_terminal = rich.get_console().is_terminal
    handler = RichHandler(show_path=False) if is_terminal else logging.StreamHandler()
    handler.addFilter(_is_for_users)
    logging.basicConfig(
        level=logging.INFO,
        format="%(message)s" if is_terminal else log_format,
        datefmt="%H:%M:%S",
        handlers=[handler],
    )
    is_first_word = threading.Lock()  # the last line comes once, from here or at the deadline

    def say_stopped() -> None:
        if is_first_word.acquire(blocking=False):
            rich.get_console().show_cursor()
            print_line(f"{name}: {on_interrupt}")

    def guarded() -> None:
        streams.check()
        main()

    try:
        with stopping.interruptible(seconds=seconds_to_stop, at_the_end=say_stopped) as received:
            outcome = _outcome(guarded, user_errors, name, explain)
            fault = streams.fault_of_stdout(after_a_fault=outcome.error_of_files)
            if outcome.status and received.signal:  # the error is how a library took it
                raise stopping.Interrupted(received.signal)
    except KeyboardInterrupt as interrupt:
        say_stopped()
        end_children()  # before the loaders that wait for them are deleted
        return stopping.status_of(interrupt)
    if fault and (outcome.status == 0 or outcome.error_of_files):
        outcome = _Outcome(2, f"{name}: error: cannot write to stdout: {fault.strerror}")
        if streams.is_cut_off(fault):
            outcome = _Outcome(streams.STATUS_OF_CUT_OFF)
    if outcome.text:
        (print_error if outcome.status == 1 else print_line)(outcome.text)
    return outcome.status


def _is_for_users(record: logging.LogRecord) -> bool:
    """Whether a log line is shown: of other packages, only warnings and errors."""
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] in OUR_PACKAGES


def _outcome(
    main: Callable[[], None],
    user_errors: tuple[type[Exception], ...],
    name: str,
    explain: Callable[[Exception], str | None],
) -> _Outcome:
    """Runs a command; see `run`.

    Raises:
        KeyboardInterrupt: It was stopped.
        SystemExit: Raised by argparse, which has printed what there is to say.
    """
    try:
        main()
    except SystemExit as error:
        fault = streams.fault_of_stdout(after_a_fault=False)
        if streams.is_cut_off(error) or streams.is_cut_off(fault):
            return _Outcome(streams.STATUS_OF_CUT_OFF)
        raise
    except Exception as error:
        is_users = isinstance(error, (DsetkitError, *user_errors))
        reason = str(error) if is_users else _reason_of_system(error) or explain(error)
        of_files = isinstance(error, OSError)
        if reason is None:
            return _Outcome(1, traceback.format_exc().rstrip(), of_files)
        return _Outcome(2, printable(f"{name}: error: {reason}"), of_files)
    return _Outcome(0)


def _reason_of_system(error: Exception) -> str | None:
    """What the system says of a file or a disk; None for errors that tell nothing to the user."""
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({error}): make room"
    if error.errno == errno.EFBIG:
        return f"a file would become larger than this account may write ({error}): see `ulimit -f`"
    if error.filename is None:
        return None
    return f"{error.filename}: {error.strerror}"


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
            bar.update(task, completed=done, total=total, text=text or _rate_text(rate))

        yield report


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Shows on a terminal what is being done before there is progress to show."""
    console = rich.get_console()
    if not (console.stderr and console.is_terminal):
        yield
        return
    with console.status(what):
        yield


class _Meter:
    """Measures a rate since the first call."""

    def __init__(self) -> None:
        self._start: tuple[float, int] | None = None

    def rate(self, done: int) -> float | None:
        """Pieces per second [1/s]; None before there is time to tell."""
        now = time.monotonic()
        if self._start is None:
            self._start = (now, done)
        seconds = now - self._start[0]
        return (done - self._start[1]) / seconds if seconds >= SECONDS_OF_A_RATE else None


def _rate_text(rate: float | None) -> str:
    if rate is None:
        return ""
    return f"{rate:,.1f}/s" if rate < 10 else f"{rate:,.0f}/s"


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
        beside = text or _rate_text(rate)
        logger.info(
            "%s: %s of %s%s%s", what, f"{done:,}", f"{total:,}", beside and f", {beside}", left
        )

    return report


def format_duration(seconds: float) -> str:
    """A duration for people: "4.2 s", "45 s", "12 min", "3 h 20 min", "2 d 4 h".

    Args:
        seconds: The duration [s].
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} d {hours % 24} h"


def format_bytes(num_bytes: float) -> str:
    """A size for people: "47 MB", "15.2 GB"."""
    return f"{num_bytes / 1e6:,.0f} MB" if num_bytes < 1e9 else f"{num_bytes / 1e9:,.1f} GB"
