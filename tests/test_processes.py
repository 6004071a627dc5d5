"""Work in worker processes: its results, its errors, and processes that die."""

import os
import platform
import resource
import signal
from pathlib import Path

import numpy as np
import pytest

from dsetkit.errors import DatasetError
from dsetkit.processes import WorkerDiedError, Workers, in_jobs, in_processes, send_news
from tests.helpers.gates import Gate, come_to


class OddError(Exception):
    """An error that cannot be unpickled from its arguments."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


def work(task: object) -> object:
    if task == "bad input":
        raise DatasetError("expected something else")
    if task == "bug":
        return 1 / 0
    if task == "odd":
        raise OddError("an", "error")
    if task == "no result":
        return lambda: None
    if task == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def page_faults(size: int) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(size, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_a_task_gets_the_memory_that_the_last_one_freed() -> None:
    *_, last = in_processes(page_faults, [1 << 26] * 3, jobs=1)
    assert last < 16  # the first takes 16,384 pages, or 32 huge pages


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_results_come_in_the_order_of_the_tasks(jobs: int) -> None:
    tasks = list(range(5))
    assert list(in_processes(work, tasks, jobs=jobs)) == tasks
    assert list(in_jobs(work, tasks, jobs=jobs)) == tasks


def test_errors_of_the_work_come_back_and_say_where_they_were_raised() -> None:
    with Workers(work, 1) as workers:
        error = workers.submit("bad input").exception()
        assert isinstance(error, DatasetError) and str(error) == "expected something else"
        bug = workers.submit("bug").exception()
        assert isinstance(bug, ZeroDivisionError)
        assert "return 1 / 0" in bug.__notes__[0]
        for task in ("odd", "no result"):
            assert workers.submit(task).exception() is not None
        assert workers.submit("next").result() == "next"


def test_a_process_that_dies_fails_its_own_task_alone() -> None:
    with Workers(work, 1) as workers:
        killed, after = workers.submit("killed"), workers.submit("next")
        assert isinstance(killed.exception(), WorkerDiedError)
        assert after.result() == "next"


class Told:
    """Tells how far it is, at a gate, until it is asked to stop; then leaves a note."""

    def __init__(self, gate: Path) -> None:
        self._gate = gate

    def __call__(self, task: Path) -> None:
        try:
            come_to(self._gate, 0)
            while True:
                send_news("going on")
        except KeyboardInterrupt:
            task.write_text("stopped")


def test_a_task_that_sends_news_is_asked_to_stop(tmp_path: Path) -> None:
    """It can keep what it has done; see DatasetWriter."""
    news = set()
    with Gate(tmp_path / "gate") as gate, pytest.raises(ZeroDivisionError):
        with Workers(Told(gate.folder), 1, on_news=news.add, seconds_to_stop=600) as workers:
            workers.submit(tmp_path / "note")
            gate.wait_for(1, of=os.getpid())
            gate.open()
            raise ZeroDivisionError
    assert (tmp_path / "note").read_text() == "stopped"
