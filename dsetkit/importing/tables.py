"""Samples of a set that a table describes, row by row; `systems` says what the tables look like."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from dsetkit.assets import BadFile
from dsetkit.errors import AssetError, printable
from dsetkit.importing.names import NamedFiles
from dsetkit.importing.plan import Plan, PlannedSample
from dsetkit.importing.sources import File, Files, split_path
from dsetkit.importing.systems import FIELDS, PER_BACKGROUND, SYSTEMS, NamingRule, TableForm
from dsetkit.store import SPLITS

# File name of a table of system 002 -> split of its samples
SPLIT_OF_TABLE = {"train": "train", "test": "test", "val": "val", "valid": "val"}

MAX_ROW = 100_000  # characters
MAX_SHOWN = 200  # characters of a table's text in a message

Row = tuple[str, dict[str, str]]  # line for messages; field, `foreground` or `split` -> value


def plan_by_table(files: Files, system: str, tables: Sequence[Path]) -> Plan:
    """Reads which files make which sample from one or more tables.

    Args:
        files: Where the pictures are.
        system: A key of SYSTEMS that has a table form.
        tables: CSV files, on disk or among `files`.

    Raises:
        AssetError: A table cannot be read, or its columns are not the expected ones.
    """
    form, rule = SYSTEMS[system].table, SYSTEMS[system].naming
    assert form is not None
    samples: list[PlannedSample] = []
    bad: list[BadFile] = []
    first_line: dict[File, str] = {}  # of each composite
    planner: _Planner
    if system == "002":
        assert rule is not None
        planner = _PairPlanner(files, rule)
    else:
        planner = _RowPlanner(files, rule)
    for table in tables:
        split = SPLIT_OF_TABLE.get(table.stem.lower()) if system == "002" else None
        for where, row in _rows(files, table, form, bad):
            try:
                sample = planner.sample(where, row | ({"split": split} if split else {}))
                first = first_line.setdefault(sample.files["composite"], where)
                if first != where:
                    raise AssetError(f"the composite {_shown(row['composite'])} is also in {first}")
                samples.append(sample)
            except AssetError as error:
                bad.append(BadFile(where, str(error)))
    return Plan(samples, bad, [table.name for table in tables])


class _Planner(Protocol):
    def sample(self, where: str, row: dict[str, str]) -> PlannedSample:
        """The sample of a row.

        Raises:
            AssetError: A file is missing, or the row contradicts itself.
        """


class _RowPlanner:
    """Rows that name every file of a sample."""

    def __init__(self, files: Files, rule: NamingRule | None) -> None:
        self._files = files
        self._folders = {name: rule.folders_of(name) if rule else [] for name in FIELDS}

    def sample(self, where: str, row: dict[str, str]) -> PlannedSample:
        if row.get("split", "train") not in SPLITS:
            raise AssetError(f"split {_shown(row['split'])!r}: expected {', '.join(SPLITS)}")
        found = {
            name: self._files.find(row[name], folders=self._folders[name])
            for name in FIELDS
            if name in row
        }
        return PlannedSample(
            found,
            where,
            foreground=row.get("foreground"),
            split=row.get("split"),
            path="/".join(split_path(row["composite"])),
        )


class _PairPlanner:
    """Rows of system 002: they name composite and depth; the composite's name tells the rest."""

    def __init__(self, files: Files, rule: NamingRule) -> None:
        self._rows = _RowPlanner(files, rule)
        self._named = NamedFiles(files, rule, per_background=PER_BACKGROUND)

    def sample(self, where: str, row: dict[str, str]) -> PlannedSample:
        pair = self._rows.sample(where, row)
        composite, depth = pair.files["composite"], pair.files["depth"]
        if composite.stem != depth.stem:
            raise AssetError(
                f"input_path is {printable(composite.name)}, depth_path is "
                f"{printable(depth.name)}: expected the same "
                "name in both (the two folders may have been listed in different orders)"
            )
        key = self._named.key_of(composite)
        problem = self._named.problem(key)
        if problem:
            raise AssetError(f"{printable(composite.name)}: {problem}")
        named = self._named.sample(key)
        return PlannedSample(
            named.files | pair.files, where, named.foreground, named.flip, split=pair.split
        )


# ---- rows --------------------------------------------------------------------------------------


def csv_rows(text: str, table: str, *, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV table, in bounded memory.

    Args:
        text: The table.
        table: Its name, for messages.
        delimiter: Character between two values.

    Yields:
        The number of the last line of each row, from 1 on, and the row's values.

    Raises:
        AssetError: It is no CSV table, or a row is too long.
    """
    pending = 0  # characters of the row that is being read

    def lines() -> Iterator[str]:
        nonlocal pending
        for line in io.StringIO(text, newline=""):
            pending += len(line)
            if pending > MAX_ROW:
                raise AssetError(
                    f"{table}, line {reader.line_num + 1}: a row of over {MAX_ROW:,} characters, "
                    "expected a CSV table (is a quotation mark left open?)"
                )
            yield line

    reader = csv.reader(lines(), delimiter=delimiter, skipinitialspace=True)
    try:
        for values in reader:
            pending = 0
            yield reader.line_num, [value.strip() for value in values]
    except csv.Error as error:
        raise AssetError(
            f"{table}, line {reader.line_num}: {error}; expected a CSV table"
        ) from None


def _rows(files: Files, table: Path, form: TableForm, bad: list[BadFile]) -> Iterator[Row]:
    """Yields the rows of a table; appends incomplete rows to `bad`."""
    shown = printable(table.name)
    lines = csv_rows(files.read_table(table), shown, delimiter=form.delimiter)
    names = list(form.columns)
    if form.has_header:
        names = _header(next(lines, (1, []))[1], table, form)
    for number, (line, values) in enumerate(lines):
        repeats_names = [value.lower() for value in values] == [name.lower() for name in names]
        if not any(values) or (number == 0 and repeats_names):
            continue
        where = f"{shown}, line {line}"
        row = dict(zip(names, values, strict=False))
        if len(values) != len(names) or not all(row.values()):
            bad.append(
                BadFile(
                    where,
                    f"{len(values)} values ({_shown(form.delimiter.join(values))}): expected one "
                    f"value for each of {', '.join(names)}",
                )
            )
        else:
            yield where, {form.columns[name]: value for name, value in row.items()}


def _header(values: list[str], table: Path, form: TableForm) -> list[str]:
    """The column names of a table's header.

    Raises:
        AssetError: A required column is missing, or a column is unknown or repeated.
    """
    names = [value.strip() for value in values]
    found = _shown(", ".join(names)) or "empty"
    known = ", ".join(form.columns)
    for name in form.required:
        if name not in names:
            raise AssetError(
                f"{printable(table)} has no column {name}: its header is {found}; expected {known}"
            )
    for name in names:
        if name not in form.columns or names.count(name) > 1:
            raise AssetError(
                f"{printable(table)} has a column {_shown(name)!r}: expected each of {known} once"
            )
    return names


def _shown(text: str) -> str:
    """A table's text for messages, in one line that is not too long."""
    return printable(text[:MAX_SHOWN]) + "…" * (len(text) > MAX_SHOWN)
