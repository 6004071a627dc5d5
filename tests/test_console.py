"""Exit statuses of commands, and their progress."""

import errno
import logging
import subprocess
import sys

import pytest

from dsetkit.cli.main import ON_INTERRUPT, entry_point
from dsetkit.console import progress_bar, run
from dsetkit.errors import DsetkitError, RunError
from tests.helpers.verbs import parsers


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
    assert first == "read: 1,000 of 4,000"
    assert half == "read: 2,000 of 4,000, half"
    assert last == "read: 4,000 of 4,000, all"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(100.0, ", 4.0/s, 900 s left"), (10.0, ", 40/s, 90 s left"), (1e-4, "")]
)
def test_a_rate_is_that_since_the_first_call_once_there_is_time_to_tell(
    seconds: float,
    shown: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)
    times = iter([0.0, 0.0, 0.0, 0.0, seconds, seconds, seconds])
    monkeypatch.setattr("dsetkit.console.time.monotonic", lambda: next(times))
    with progress_bar("read", seconds_between_lines=0) as report:
        report(5000, 9000)
        report(5400, 9000)
    assert caplog.messages[1] == f"read: 5,400 of 9,000{shown}"


@pytest.mark.parametrize(
    ("verb", "line"),
    [
        *[(verb, "the same command begins anew") for verb in ("predict", "report", "stats")],
        *[(verb, "the same command goes on from here") for verb in ("generate", "export")],
        ("demo", "remove this one, or choose another --output"),
    ],
)
def test_an_interrupted_verb_says_whether_it_goes_on(
    verb: str, line: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    module = sys.modules["dsetkit.cli.main"]  # `dsetkit.cli.main` is its function
    monkeypatch.setattr(module, "main", interrupted)
    monkeypatch.setattr(module, "leave", sys.exit)
    monkeypatch.setattr(sys, "argv", ["dsetkit", verb])
    with pytest.raises(SystemExit) as caught:
        entry_point()
    assert caught.value.code == 130
    (shown,) = capsys.readouterr().err.splitlines()
    assert shown.startswith("dsetkit: interrupted; ") and shown.endswith(line)


def test_verbs_that_go_on_are_verbs() -> None:
    assert set(ON_INTERRUPT) <= set(parsers())


def test_progress_may_leave_nothing_or_not_be_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with progress_bar("read", stays=False) as report:
        report(4, 4)
    with progress_bar("read", shown=False, seconds_between_lines=0) as report:
        report(2, 4)
    assert not caplog.messages
