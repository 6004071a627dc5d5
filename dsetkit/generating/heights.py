"""Reads how high cut-outs are: a table with the columns name and height_m."""

import argparse
from functools import partial
from pathlib import Path

from dsetkit.arguments import DEPTH_M, shown
from dsetkit.assets import read_file
from dsetkit.errors import AssetError, printable

COLUMNS = ["name", "height_m"]


def read_heights(path: Path) -> dict[str, float]:
    """The height of each cut-out that a table names [m], by its name without suffix.

    Args:
        path: A CSV file with a header.

    Raises:
        AssetError: It cannot be read, lacks a column, names a cut-out twice, or has a height that
            is none.
    """
    from dsetkit.importing import csv_rows, table_text  # here: few commands read a table

    table = printable(path)
    rows = csv_rows(table_text(path, partial(read_file, path)), table, delimiter=",")
    _, header = next(rows, (1, []))
    for column in COLUMNS:
        if header.count(column) != 1:
            found = printable(", ".join(header)) or "empty"
            raise AssetError(
                f"{table}: its header is {shown(found)}; expected {' and '.join(COLUMNS)}"
            )
    heights: dict[str, float] = {}
    for line, values in rows:
        if not any(values):
            continue
        where = f"{table}, line {line}"
        if len(values) != len(header):
            raise AssetError(f"{where}: {len(values)} values, expected {len(header)}")
        row = dict(zip(header, values, strict=True))
        if row["name"] in heights:
            raise AssetError(f"{where}: {shown(row['name'])} is there a second time")
        heights[row["name"]] = _height(row["height_m"], where)
    return heights


def _height(text: str, where: str) -> float:
    try:
        return DEPTH_M(text)
    except argparse.ArgumentTypeError as error:
        raise AssetError(f"{where}: {error}") from None
