"""Sets of images that a table describes: which files make which sample, row by row.

| system | table                                                                                |
|--------|--------------------------------------------------------------------------------------|
| 000    | `;`: background; composite; mask; depth, no header                                   |
| 002    | `,`: input_path,depth_path; mask and background by name; file `train` or `test`      |
| 003    | tab: Background, Foreground, fg-bg, mask, depth, with or without these words on top  |
| table  | `,`: header of composite and any of background, mask, depth, foreground, split       |
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsetkit.assets import BadFile
from dsetkit.errors import AssetError
from dsetkit.importing.conventions import (
    FIELDS,
    NAMINGS,
    PER_BACKGROUND,
    NamedFiles,
    Plan,
    Planned,
)
from dsetkit.importing.sources import File, Files, split_path
from dsetkit.store import SPLITS

SPLIT_OF_FILE = {"train": "train", "test": "test", "val": "val", "valid": "val"}


@dataclass(frozen=True)
class Form:
    """What a table looks like.

    Attributes:
        columns: Name of a column -> what stands in it.
        has_header: Its first row names the columns; else they come in this order.
        needed: Columns that have to be there, where the header says which are.
    """

    delimiter: str
    columns: dict[str, str]
    has_header: bool
    needed: tuple[str, ...] = ()


PLAIN = {name: name for name in (*FIELDS, "foreground", "split")}
FORMS = {
    "000": Form(
        ";", {"bg": "background", "fgbg": "composite", "mask": "mask", "depth": "depth"}, False
    ),
    "002": Form(
        ",",
        {"input_path": "composite", "depth_path": "depth"},
        True,
        ("input_path", "depth_path"),
    ),
    "003": Form(
        "\t",
        {
            "Background": "background",
            "Foreground": "foreground",
            "fg-bg": "composite",
            "mask": "mask",
            "depth": "depth",
        },
        False,
    ),
    "table": Form(",", PLAIN, True, ("composite",)),
}

Row = tuple[str, dict[str, str]]  # line for messages, what stands in it


def plan_by_table(files: Files, system: str, tables: Sequence[Path]) -> Plan:
    """Which files make which sample, after one or more tables.

    Args:
        files: Where the pictures are.
        system: A key of FORMS.
        tables: CSV files; on disk or among `files`.

    Raises:
        AssetError: A table cannot be read, or lacks a column.
    """
    form = FORMS[system]
    samples, bad = [], []
    seen: dict[File, str] = {}
    planner = _PairPlanner(files) if system == "002" else _RowPlanner(files, system)
    for table in tables:
        split = SPLIT_OF_FILE.get(table.stem.lower()) if system == "002" else None
        for where, row in _rows(files, table, form, bad):
            try:
                sample = planner.sample(where, row | ({"split": split} if split else {}))
                first = seen.setdefault(sample.files["composite"], where)
                if first != where:
                    raise AssetError(f"the composite {row['composite']} is that of {first}")
                samples.append(sample)
            except AssetError as error:
                bad.append(BadFile(where, str(error)))
    return Plan(samples, bad, [table.name for table in tables])


class _RowPlanner:
    """Rows that name every file of a sample."""

    def __init__(self, files: Files, system: str) -> None:
        self._files = files
        folders = NAMINGS[system].folders if system in NAMINGS else {}
        self._folders = {
            name: [folder for folder, its_field in folders.items() if its_field == name]
            for name in FIELDS
        }

    def sample(self, where: str, row: dict[str, str]) -> Planned:
        if row.get("split", "train") not in SPLITS:
            raise AssetError(f"split {row['split']!r}: expected {', '.join(SPLITS)}")
        found = {
            name: self._files.find(row[name], folders=self._folders[name])
            for name in FIELDS
            if name in row
        }
        return Planned(
            found,
            where,
            foreground=row.get("foreground"),
            split=row.get("split"),
            path="/".join(split_path(row["composite"])),
        )


class _PairPlanner:
    """System 002's rows of two files: the mask has the composite's name, which tells the rest."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._rows = _RowPlanner(files, "002")
        self._named = NamedFiles(files, NAMINGS["002"], per_background=PER_BACKGROUND)

    def sample(self, where: str, row: dict[str, str]) -> Planned:
        pair = self._rows.sample(where, row)
        composite, depth = pair.files["composite"], pair.files["depth"]
        if composite.stem != depth.stem:
            raise AssetError(
                f"input_path is {composite.name}, depth_path {depth.name}: expected one name in "
                "both (listings of the two folders may have been put side by side unsorted)"
            )
        key = self._named.key_of(composite)
        reason = self._named.what_is_wrong(key)
        if reason:
            raise AssetError(f"{composite.name}: {reason}")
        named = self._named.sample(key)
        return Planned(
            named.files | pair.files, where, named.foreground, named.flip, split=pair.split
        )


# ---- rows --------------------------------------------------------------------------------------


def _rows(files: Files, table: Path, form: Form, bad: list[BadFile]) -> Iterator[Row]:
    """The rows of a table; what is no row goes to `bad`."""
    text = io.StringIO(files.read_table(table), newline="")
    lines = csv.reader(text, delimiter=form.delimiter, skipinitialspace=True)
    names = list(form.columns)
    if form.has_header:
        names = _header(next(lines, []), table, form)
    for number, values in enumerate(lines):
        values = [value.strip() for value in values]
        repeats_names = [value.lower() for value in values] == [name.lower() for name in names]
        if not any(values) or (number == 0 and repeats_names):
            continue
        where = f"{table.name}, line {lines.line_num}"
        row = dict(zip(names, values, strict=False))
        if len(values) != len(names) or not all(row.values()):
            bad.append(BadFile(where, f"{len(values)} values ({form.delimiter.join(values)}): "
                                      f"expected one each of {', '.join(names)}"))  # fmt: skip
        else:
            yield where, {form.columns[name]: value for name, value in row.items()}


def _header(values: list[str], table: Path, form: Form) -> list[str]:
    names = [value.strip() for value in values]
    found = ", ".join(names) or "nothing"
    known = ", ".join(form.columns)
    for name in form.needed:
        if name not in names:
            raise AssetError(f"{table} has no column {name}: its header is {found}, not {known}")
    for name in names:
        if name not in form.columns or names.count(name) > 1:
            raise AssetError(f"{table} has a column {name!r}: expected, once each, of {known}")
    return names
