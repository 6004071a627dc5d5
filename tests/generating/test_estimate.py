"""A long run says early, and once, how long it will take and how large its dataset will be."""

import logging
from pathlib import Path

import pytest

from dsetkit.console import format_bytes
from dsetkit.generating.estimate import with_estimate


def said(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    *,
    rate: float,
    total: int,
    first: int = 0,
    bytes_of_assets: int = 0,
    bytes_per_sample: int = 1,
) -> list[str]:
    """The lines of a run that does `rate` samples a second, ten at a time."""
    now = 0.0
    seen = []
    report = with_estimate(lambda *done: seen.append(done), tmp_path, clock=lambda: now)
    with caplog.at_level(logging.INFO, logger="dsetkit"):
        for done in range(first, min(total, first + 20_000) + 1, 10):
            num_bytes = bytes_of_assets + done * bytes_per_sample
            with open(tmp_path / "shard-00000.lmdb", "wb") as file:
                file.truncate(num_bytes)
            report(done, total)
            now += 10 / rate
    assert seen[-1][0] >= min(total, first + 20_000) - 10  # the bar is told, too
    return [record.message for record in caplog.records]


def test_a_long_run_says_once_how_long_and_how_large(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (line,) = said(tmp_path, caplog, rate=100, total=424_320)
    assert "71 min left" in line and "MB in all" in line and "--num-samples" in line


def test_what_was_done_before_a_restart_does_not_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (line,) = said(tmp_path, caplog, rate=100, total=424_320, first=400_000)
    assert "4 min left" in line


def test_the_size_counts_assets_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sizes = {"bytes_of_assets": 16_000_000, "bytes_per_sample": 100}
    (line,) = said(tmp_path, caplog, rate=1000, total=400_000, **sizes)
    assert "about 56 MB in all" in line


def test_a_short_run_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert said(tmp_path, caplog, rate=1000, total=20_000) == []


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 MB"), (47e6, "47 MB"), (999e6, "999 MB"), (15.23e9, "15.2 GB")]
)
def test_sizes_are_for_people(count: float, text: str) -> None:
    assert format_bytes(count) == text
