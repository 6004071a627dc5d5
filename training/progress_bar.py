"""How far a long piece of work is: a bar on a terminal, elsewhere a log line now and then."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rich
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from training import ranks

LINE_EVERY_S = 30.0  # between two progress lines where there is no terminal

logger = logging.getLogger(__name__)


@contextmanager
def progress_report(label: str, *, total: int) -> Iterator[Callable[[int, str], None]]:
    """Shows progress: a bar on a terminal, elsewhere one log line every 30 s; on rank 0 alone.

    Yields:
        A function of (steps done, text to show beside them).
    """
    if not ranks.is_first():
        yield lambda done, text: None
        return
    if not rich.get_console().is_terminal:
        yield _line_report(label, total=total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Bar(*columns, transient=True) as bar:
        task = bar.add_task(label, total=total, text="")
        yield lambda done, text: bar.update(task, completed=done, text=text)


def _line_report(label: str, *, total: int) -> Callable[[int, str], None]:
    started_at = last_line_at = time.monotonic()
    first_done: int | None = None

    def report(done: int, text: str) -> None:
        nonlocal last_line_at, first_done
        first_done = done if first_done is None else first_done
        now = time.monotonic()
        if now - last_line_at < LINE_EVERY_S or done == first_done:
            return
        last_line_at = now
        left_s = (now - started_at) / (done - first_done) * (total - done)
        logger.info("%s  %d/%d  %s  %.0f s left", label, done, total, text, left_s)

    return report
