"""Folders of trainings, as a report shows them: curves, last scores, the newest prediction picture.

The files may come from anywhere: a table is read with bounds, and a picture that cannot be used is
left out, with the reason.
"""

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dsetkit.assets import decode_picture, pillow_warnings_ignored, read_file
from dsetkit.errors import AssetError, DsetkitError, RunError, one_line, printable
from dsetkit.files import read_json
from dsetkit.importing import natural

LOG_FILE, ARGUMENTS_FILE = "log.csv", "args.json"
LARGEST_LOG = 2**24  # [bytes]
LARGEST_PICTURE = 2**26  # [bytes]
PICTURE_NAME = re.compile(r"(epoch|step)-[0-9]{1,12}\.png")
LOSS, EPOCH = "train_loss", "epoch"
NOT_SCORES = {"val_images", "val_pixels"}
MOST_SCORES = 24  # columns
MOST_POINTS = 400  # of a curve
LARGEST_VALUE = 1e30


@dataclass(frozen=True)
class Run:
    """A training.

    Attributes:
        name: Name of its folder; of a chain, with the folder of the chain.
        facts: For the JSON twin: `folder`, `script`, `arguments`, `epochs`, `last`, `curves`,
            `picture`, and `same_dataset`, None if the run does not say.
        picture: uint8 (h,w,3) RGB, its newest prediction picture; None if there is none.
    """

    name: str
    facts: dict[str, Any]
    picture: np.ndarray | None


def read_runs(folder: Path, *, fingerprint: str) -> list[Run]:
    """Reads the folder of a training, or the runs below that of a training with --chain.

    Args:
        folder: As of `read_run`.
        fingerprint: As of `read_run`.

    Raises:
        RunError: As `read_run`.
    """
    if not (folder / LOG_FILE).exists():
        sets = [path for path in folder.glob("set-*") if (path / LOG_FILE).exists()]
        if sets:
            chain = sorted(sets, key=lambda path: natural(path.name))
            runs = [read_run(path, fingerprint=fingerprint) for path in chain]
            name = printable(folder.absolute().name)
            return [replace(run, name=f"{name}/{run.name}") for run in runs]
    return [read_run(folder, fingerprint=fingerprint)]


def read_run(folder: Path, *, fingerprint: str) -> Run:
    """Reads the folder of a training.

    Args:
        folder: The folder.
        fingerprint: Of the dataset that is reported on.

    Raises:
        RunError: It has no log.csv that can be read, with at least one epoch.
    """
    rows = _read_log(folder)
    script, arguments, trained_on = _read_arguments(folder)
    picture, picture_name, why_not = _newest_picture(folder)
    names = [name for name in rows[0] if name == LOSS or _is_score(name)][: MOST_SCORES + 1]
    curves = {name: _curve(rows, name) for name in names}
    last = {name: line[-1][1] for name, line in curves.items() if line}
    facts = {
        "folder": printable(folder),
        "script": script,
        "arguments": arguments,
        "same_dataset": trained_on == fingerprint if trained_on else None,
        "epochs": len(rows),
        "last": last,
        "curves": {name: _thinned(line) for name, line in curves.items() if line},
        "picture": picture_name,
        "picture_unusable": why_not,
    }
    return Run(printable(folder.absolute().name), facts, picture)


def _is_score(name: str) -> bool:
    return name.startswith("val_") and name not in NOT_SCORES


# ---- log.csv -----------------------------------------------------------------------------------


def _read_log(folder: Path) -> list[dict[str, float]]:
    """The finite numbers of each epoch, by column."""
    path = folder / LOG_FILE
    try:
        text = read_file(path, at_most=LARGEST_LOG).decode()
        rows = [_numbers(row) for row in csv.DictReader(io.StringIO(text, newline=""))]
    except (AssetError, ValueError, csv.Error) as error:
        raise RunError(
            f"{printable(path)} cannot be read: {one_line(error)}; expected the folder of a "
            "training that has finished an epoch"
        ) from error
    rows = [row for row in rows if EPOCH in row]
    if not rows:
        raise RunError(
            f"{printable(path)} has no epoch: expected the folder of a training that has finished "
            "an epoch"
        )
    columns = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name, math.nan) for name in columns} for row in rows]


def _numbers(row: dict[str | Any, str | Any]) -> dict[str, float]:
    found = {}
    for name, text in row.items():
        if not isinstance(name, str) or not isinstance(text, str):  # a row of another length
            continue
        try:
            value = float(text)
        except ValueError:
            continue
        if abs(value) < LARGEST_VALUE:  # neither nan nor infinity
            found[printable(name)[:60]] = value
    return found


def _curve(rows: Sequence[dict[str, float]], name: str) -> list[tuple[float, float]]:
    points = [(row[EPOCH], row[name]) for row in rows]
    return [(x, y) for x, y in points if math.isfinite(y)]


def _thinned(line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST_POINTS points, the last one among them."""
    step = math.ceil(len(line) / MOST_POINTS)
    return [*line[: len(line) - 1 : step], line[-1]]


# ---- args.json and pictures --------------------------------------------------------------------


def _read_arguments(folder: Path) -> tuple[str, dict[str, Any], str]:
    """Script, arguments and the fingerprint of the dataset; empty where they cannot be read."""
    try:
        content = read_json(folder / ARGUMENTS_FILE)
    except ValueError:
        return "", {}, ""
    script, arguments = content.get("script"), content.get("arguments")
    trained_on = content.get("dataset_fingerprint")
    return (
        printable(script)[:60] if isinstance(script, str) else "",
        arguments if isinstance(arguments, dict) else {},
        trained_on if isinstance(trained_on, str) else "",
    )


def _newest_picture(folder: Path) -> tuple[np.ndarray | None, str, str]:
    """The newest picture, its name, and why it cannot be shown."""
    try:
        files = [path for path in folder.iterdir() if PICTURE_NAME.fullmatch(path.name)]
        newest = max(files, key=lambda path: (path.stat().st_mtime_ns, path.name), default=None)
    except OSError as error:
        return None, "", one_line(error)
    if newest is None:
        return None, "", "no prediction picture yet"
    try:
        with pillow_warnings_ignored():
            image = decode_picture(read_file(newest, at_most=LARGEST_PICTURE)).image
            return np.asarray(image.convert("RGB")), newest.name, ""
    except DsetkitError as error:
        return None, newest.name, one_line(error)
