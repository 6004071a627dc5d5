"""Helpers of the benchmarks: the name of the machine, interleaved rounds, tables, JSON."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"


def machine() -> dict:
    """Return the machine, and the versions of the libraries that matter."""
    import cv2
    import lmdb
    import numpy
    import torch

    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":")[1].strip()
            break
    versions = {module.__name__: module.__version__ for module in (torch, cv2, lmdb, numpy)}
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        **versions,
    }


def run_python(*words: object) -> None:
    """Print a command of the repository and run it as `python WORDS` in a new process."""
    command = [sys.executable, *map(str, words)]
    print("$", " ".join(command[1:]), flush=True)
    subprocess.run(command, check=True, cwd=REPOSITORY)


def link_into(folder: Path, files: Iterable[Path]) -> None:
    """Create a folder of links to files; existing links stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        link = folder / file.name
        if not link.exists():
            link.symlink_to(file.resolve())


def rounds(
    cases: dict[str, Callable[[], int | tuple[int, float]]], *, repeat: int, warm_up: int = 1
) -> dict[str, tuple[float, float, float]]:
    """Run all cases in turn, round after round, so that a slow moment affects all alike.

    Args:
        cases: Name -> function that does the work. It returns the number of samples, or that number
            and the seconds to count.
        repeat: Measured rounds.
        warm_up: Rounds before them that are not measured; 0 if each case warms up by itself.

    Returns:
        Name -> (median, lowest, highest) samples per second.
    """
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(warm_up + repeat):
        for name, work in cases.items():
            start = time.perf_counter()
            done = work()
            seconds = time.perf_counter() - start
            count, seconds = done if isinstance(done, tuple) else (done, seconds)
            if number >= warm_up:
                rates[name].append(count / seconds)
    return {
        name: (statistics.median(found), min(found), max(found)) for name, found in rates.items()
    }


def report(
    title: str,
    rates: dict[str, tuple[float, float, float]],
    notes: dict[str, str],
    *,
    columns: dict[str, dict[str, str]] | None = None,
) -> None:
    """Print a table of rates with the machine, and write both as JSON to results/.

    Args:
        title: Title of the table; the part before its colon names the file.
        rates: The result of `rounds`.
        notes: Name -> text, printed below the table.
        columns: Heading -> name in `rates` -> text, further columns on the right.
    """
    columns = columns or {}
    table = Table(title=title)
    for heading in ("what", "samples/s (median)", "lowest..highest", "µs/sample", *columns):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for name, (median, low, high) in rates.items():
        more = [texts.get(name, "") for texts in columns.values()]
        numbers = (f"{median:,.0f}", f"{low:,.0f}..{high:,.0f}", f"{1e6 / median:,.0f}")
        table.add_row(name, *numbers, *more)
    console = Console(width=160)
    console.print(table)
    for name, text in notes.items():
        console.print(f"{name}: {text}")
    content = {"title": title, "samples_per_s": rates, **columns, "notes": notes}
    keep(title.split(":", maxsplit=1)[0].strip().replace(" ", "_"), content)


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format a table for the documents: first column left-aligned, others right-aligned."""
    lines = [headings, ["---"] + ["--:"] * (len(headings) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def keep(name: str, content: dict) -> None:
    """Write results and the machine as JSON to results/, and print the path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {"machine": machine(), **content}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    print("machine: " + ", ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"kept in {path}")
