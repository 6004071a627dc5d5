"""However a command is stopped, it says so in one line, and nothing of it is left."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dsetkit.stopping import interruptible
from tests.helpers.gates import Gate, Visitor, wait_for_end
from tests.helpers.waiting_command import WAYS

REPOSITORY = Path(__file__).parents[1]
STOPPED = "tool: stopped\n"
ALONE = ("here", "in_a_long_call", "as_another_error")
WITH_WORKERS = ("in_workers", pytest.param("in_a_loader", marks=pytest.mark.slow))


class Command:
    """A command that has come to a gate, in a process group of its own; see waiting_command.py."""

    def __init__(self, how: str, gate: Gate) -> None:
        words = [sys.executable, "-m", "tests.helpers.waiting_command", how, str(gate.folder)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(words, cwd=REPOSITORY, start_new_session=True, **pipes)
        expected = 2 if how in ("in_workers", "in_a_loader") else 1
        self.come = gate.wait_for(expected, of=self.process.pid)
        assert len(self.come) == expected, self.process.communicate()[1]

    def ended(self) -> tuple[int, str]:
        """Waits until all its processes have ended: all hold the end of its stderr."""
        _, shown = self.process.communicate()
        for visitor in self.come:
            wait_for_end(visitor.process)
        return self.process.returncode, shown


def to_all(command: Command, number: signal.Signals) -> None:
    os.killpg(command.process.pid, number)


def to_the_main_process(command: Command, number: signal.Signals) -> None:
    os.kill(command.process.pid, number)


def to_the_workers(command: Command, number: signal.Signals) -> None:
    for visitor in command.come:
        os.kill(visitor.process, number)


def open_semaphores(visitor: Visitor) -> list[str]:
    """Semaphores with a name that a process has mapped; they outlive all processes."""
    return [line for line in Path(f"/proc/{visitor.process}/maps").open() if "/dev/shm/sem" in line]


@pytest.mark.parametrize("how", ALONE)
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_a_command_in_one_line_whatever_it_is_in(
    how: str, name: str, status: int, tmp_path: Path
) -> None:
    with Gate(tmp_path / "gate") as gate:
        command = Command(how, gate)
        to_the_main_process(command, signal.Signals[name])
        assert command.ended() == (status, STOPPED)


@pytest.mark.parametrize("how", WITH_WORKERS)
@pytest.mark.parametrize("send", [to_all, to_the_main_process])
@pytest.mark.parametrize(
    ("name", "expected"), [("SIGINT", (130, STOPPED)), ("SIGTERM", (143, STOPPED)),
    ("SIGKILL", (-signal.SIGKILL, ""))],
)  # fmt: skip
def test_workers_end_with_the_main_process_and_say_nothing(
    how: str, send: Callable, name: str, expected: tuple[int, str], tmp_path: Path
) -> None:
    with Gate(tmp_path / "gate") as gate:
        command = Command(how, gate)
        send(command, signal.Signals[name])
        assert command.ended() == expected


@pytest.mark.parametrize("how", WITH_WORKERS)
def test_workers_leave_signals_to_the_main_process(how: str, tmp_path: Path) -> None:
    with Gate(tmp_path / "gate") as gate:
        command = Command(how, gate)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            to_the_workers(command, number)
        gate.open()
        assert command.ended() == (0, "")


@pytest.mark.parametrize("how", WITH_WORKERS)
def test_workers_use_nothing_that_a_kill_of_all_processes_would_leave(
    how: str, tmp_path: Path
) -> None:
    with Gate(tmp_path / "gate") as gate:
        command = Command(how, gate)
        main = Visitor(command.process.pid, 0)
        assert not any(map(open_semaphores, [main, *command.come]))
        gate.open()
        assert command.ended() == (0, "")


def test_a_command_that_runs_another_one_does_not_leave_it(tmp_path: Path) -> None:
    """As the demo does."""
    with Gate(tmp_path / "gate") as gate:
        command = Command("in_another_command", gate)
        to_the_main_process(command, signal.SIGKILL)
        assert command.ended() == (-signal.SIGKILL, "")


def test_every_way_is_tested() -> None:
    assert set(WAYS) == {*ALONE, "in_workers", "in_a_loader", "in_another_command"}


def test_handlers_are_restored_and_ignored_signals_stay_ignored() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        with interruptible(seconds=None) as received:
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) not in before
        assert received.signal is None
        assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    finally:
        signal.signal(signal.SIGHUP, former)
