"""Helpers of the benchmarks: commands, interleaved rounds, tables, and results as JSON."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.provenance import REPOSITORY, machine, made, without_folders
from dsetkit.errors import RunError
from dsetkit.files import write_whole

# `reproduce --quick` keeps its figures elsewhere: they say that the code runs, no more.
RESULTS = Path(os.environ.get("DSETKIT_RESULTS") or Path(__file__).parent / "results")


def run_python(*words: object) -> None:
    """Print a command of the repository and run it as `python WORDS` in a new process."""
    command = [sys.executable, *map(str, words)]
    print("$", " ".join(command[1:]), flush=True)
    subprocess.run(command, check=True, cwd=REPOSITORY)


def continued(words: list[str]) -> list[str]:
    """Return a command, or, of a training that was cut off, the one that goes on with it."""
    for place, word in enumerate(words):
        if word.startswith("train_") and word.endswith(".py"):
            output = words[words.index("--output") + 1]
            if (Path(output) / "state.pt").exists():
                return [*words[: place + 1], "--output", output, "--resume"]
    return words


def run_training(*words: object) -> None:
    """Run a command that trains, as `run_python`; it goes on if it was cut off before."""
    run_python(*continued([str(word) for word in words]))


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
    seeds: Sequence[int],
    name: str | None = None,
    columns: dict[str, dict[str, str]] | None = None,
) -> None:
    """Print a table of rates, and keep it as JSON.

    Args:
        title: Title of the table.
        rates: The result of `rounds`.
        notes: Name -> text, printed below the table.
        seeds: See `keep`.
        name: Of the file; None takes the part of the title before its colon.
        columns: Heading -> name in `rates` -> text, further columns on the right.
    """
    columns = columns or {}
    table = Table(title=title)
    for heading in ("what", "samples/s (median)", "lowest..highest", "µs/sample", *columns):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for case, (median, low, high) in rates.items():
        more = [texts.get(case, "") for texts in columns.values()]
        numbers = (f"{median:,.0f}", f"{low:,.0f}..{high:,.0f}", f"{1e6 / median:,.0f}")
        table.add_row(case, *numbers, *more)
    console = Console(width=160)
    console.print(table)
    for note, text in notes.items():
        console.print(f"{note}: {text}")
    content = {"title": title, "samples_per_s": rates, **columns, "notes": notes}
    name = name or title.split(":", maxsplit=1)[0].strip().replace(" ", "_")
    keep(name, content, seeds=seeds)


def markdown_table(
    headings: Sequence[str], rows: Iterable[Sequence[object]], *, left: int = 1
) -> str:
    """Format a table for the documents: the first columns left-aligned, others right-aligned."""
    rule = ["---"] * left + ["--:"] * (len(headings) - left)
    lines = [headings, rule, *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def keep(name: str, content: dict, *, seeds: Sequence[int]) -> None:
    """Write results as JSON to results/, with the machine and how they were made.

    Args:
        name: Of the file, without `.json`.
        content: JSON values. Absolute paths in them are cut to their last part.
        seeds: Those that decide samples, trainings and choices.
    """
    RESULTS.mkdir(exist_ok=True, parents=True)
    path = RESULTS / f"{name}.json"
    content = {"machine": machine(), "made": made(seeds=seeds), **_plain(content)}
    write_whole(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
    print("machine: " + ", ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"kept in {path}")


def earlier(name: str, settings: dict) -> dict:
    """Return the rows that results/ has under a name, to add to them; none if there is no file.

    Args:
        name: Of the file, without `.json`.
        settings: Those of the rows to come. Rows of other settings cannot stand beside them.

    Raises:
        RunError: The rows there were made with other settings.
    """
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return {"settings": settings, "rows": []}
    found = json.loads(path.read_text("utf-8"))
    if found["settings"] != settings:
        raise RunError(f"{path} has rows of {found['settings']}, which differs from {settings}")
    return {key: value for key, value in found.items() if key not in ("machine", "made")}


def add_row(rows: list[dict], row: dict, *, keys: Sequence[str], run: Path) -> None:
    """Put a row among others, in place of the one that agrees with it in `keys`.

    It gets the commit that `mark_done` noted for its run, because rows may be of several.
    """
    rows[:] = [one for one in rows if any(one[key] != row[key] for key in keys)]
    rows.append({**row, "made": json.loads((run / "done").read_text())})


def mark_done(run: Path) -> None:
    """Note in the folder of a training that it is done, and at which commit."""
    by = made(seeds=[])
    text = json.dumps({"commit": by["commit"], "dirty": by["dirty"]})
    write_whole(run / "done", text.encode())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return without_folders(value) if isinstance(value, str) else value
