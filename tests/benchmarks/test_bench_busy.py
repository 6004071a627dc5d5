"""bench_busy: processes spin within a block alone, and the table holds what was measured."""

import os
from pathlib import Path

import pytest

from benchmarks import bench_busy, tables
from tests.helpers.worlds import tiny_dataset


def test_processes_spin_within_the_block_and_not_after(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    popen = bench_busy.subprocess.Popen
    monkeypatch.setattr(
        bench_busy.subprocess,
        "Popen",
        lambda *words, **settings: started.append(popen(*words, **settings)) or started[-1],
    )
    with bench_busy.spinning(2):
        assert [process.poll() for process in started] == [None, None]
        for process in started:
            os.kill(process.pid, 0)
    assert all(process.returncode is not None for process in started)


def test_each_work_is_measured_beside_each_number_of_processes() -> None:
    done = list[str]()
    works = {"one": lambda: done.append("one"), "two": lambda: done.append("two")}
    times = bench_busy.measure(works, [1], rounds=2)
    assert done.count("one") == done.count("two") == 2 * (1 + 2)  # loads x rounds
    assert {name: {n: len(found) for n, found in of.items()} for name, of in times.items()} == {
        "one": {0: 2, 1: 2},
        "two": {0: 2, 1: 2},
    }


def test_the_table_has_medians_and_ratios_to_the_quiet_machine() -> None:
    times = {"work": {0: [(1.0, 2.0), (9.0, 9.0), (1.0, 2.0)], 3: [(4.0, 3.0)]}}
    lines = tables.bench_busy({"wall and CPU [s]": times}).splitlines()
    assert lines[-2:] == [
        "| work | 0 | 1.00 | 2.00 | 1.00 | 1.00 |",
        "| work | 3 | 4.00 | 3.00 | 4.00 | 1.50 |",
    ]


def test_the_works_run(tmp_path: Path) -> None:
    data = tiny_dataset(tmp_path / "d", num_samples=40)
    assert len(bench_busy.step_work(1)()) == 1
    bench_busy.read_work(data, 70)()
    for spinning in (False, True):
        (depths,) = bench_busy.teacher_work(4, spinning=spinning)()
        assert len(depths) == 4
