"""Exit statuses of commands, and their progress."""

import errno
import logging
import subprocess
import sys

import pytest

from dsetkit.console import progress_bar, run
from dsetkit.errors import DsetkitError, RunError


class OtherError(Exception):
    """An error that only some commands know."""


@pytest.mark.parametrize(
    ("raised", "status", "message"),
    [
        (DsetkitError("no such thing"), 2, "tool: error: no such thing"),
        (RunError("no such thing"), 2, "tool: error: no such thing"),
        (OtherError("bad weights"), 2, "tool: error: bad weights"),
        (KeyboardInterrupt(), 130, "tool: continue with --resume"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "tool: error: the disk is full"),
        (RuntimeError("a lost peer"), 2, "tool: error: explained"),
        (ZeroDivisionError("ours"), 1, "Traceback"),
    ],
)
def test_the_exit_status_tells_what_users_can_mend_from_bugs(
    raised: BaseException, status: int, message: str, capsys: pytest.CaptureFixture
) -> None:
    def main() -> None:
        raise raised

    def explain(error: Exception) -> str | None:
        return "explained" if isinstance(error, RuntimeError) else None

    options = {"on_interrupt": "continue with --resume", "explain": explain}
    assert run(main, OtherError, name="tool", **options) == status
    shown = capsys.readouterr().err
    assert message in shown
    assert (shown.count("\n") == 1) == (status != 1)


def test_an_error_is_one_line_whatever_the_names_in_it(capsys: pytest.CaptureFixture) -> None:
    def main() -> None:
        raise RunError("no file a\nb\udcff\x1b[2J.png")

    assert run(main, name="tool") == 2
    assert capsys.readouterr().err == "tool: error: no file a\\nb\\udcff\\x1b[2J.png\n"


def test_log_lines_of_other_packages_are_shown_only_if_they_warn() -> None:
    program = (
        "import logging, sys; from dsetkit.console import run\n"
        "def main():\n"
        "    for name in ('dsetkit.a', 'training.b', 'other.c'):\n"
        "        logging.getLogger(name).info('told by %s', name)\n"
        "    logging.getLogger('other.d').warning('warned')\n"
        "sys.exit(run(main))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.splitlines() == ["told by dsetkit.a", "told by training.b", "warned"]


def test_without_a_terminal_progress_is_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with progress_bar("read", seconds_between_lines=0) as report:
        report(1000, 4000)  # what was there before: the rate counts from here
        report(2000, 4000, "half")
        report(4000, 4000, "all")
    first, half, last = caplog.messages
    assert first == "read: 1,000 of 4,000, 0/s"
    assert half.startswith("read: 2,000 of 4,000, half, ") and half.endswith(" s left")
    assert last == "read: 4,000 of 4,000, all"


def test_progress_may_leave_nothing_or_not_be_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with progress_bar("read", stays=False) as report:
        report(4, 4)
    with progress_bar("read", shown=False, seconds_between_lines=0) as report:
        report(2, 4)
    assert not caplog.messages
