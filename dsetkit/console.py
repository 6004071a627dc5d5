"""What every verb shares on the terminal: progress, and errors as one line with status 2."""

import errno
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dsetkit.errors import DsetkitError

SECONDS_BETWEEN_LINES = 10.0  # where there is no terminal


def run(main: Callable[[], None]) -> int:
    """Runs a command: 0 done, 2 the user can mend it (one line), 130 interrupted.

    Anything else is a fault of ours and goes on as a traceback, status 1.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        main()
    except DsetkitError as error:
        print(f"dsetkit: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"dsetkit: error: no room left on the disk: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dsetkit: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A callable (done, total): a bar with rate and time left; plain lines without a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_lines(what)
        return
    rate = TextColumn("{task.fields[rate]:,.0f}/s")
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=None, rate=0.0)
        meter = _Meter()

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, rate=meter.rate(done))

        yield progress


class _Meter:
    """Rate since the first call (what was there before a resume does not count)."""

    def __init__(self) -> None:
        self._start: tuple[float, int] | None = None

    def rate(self, done: int) -> float:
        now = time.monotonic()
        if self._start is None:
            self._start = (now, done)
        return (done - self._start[1]) / max(now - self._start[0], 1e-9)


def _plain_lines(what: str) -> Callable[[int, int], None]:
    meter, last = _Meter(), time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        rate = meter.rate(done)
        if done == total or time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            left = f", {(total - done) / rate:,.0f} s left" if rate and done < total else ""
            print(f"{what}: {done:,} of {total:,}, {rate:,.0f}/s{left}", file=sys.stderr)

    return progress
