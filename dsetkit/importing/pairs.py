"""Which colour picture and which depth file make a pair: by suffix, by pattern, or by a table.

| way     | a pair is                                                                             |
|---------|---------------------------------------------------------------------------------------|
| suffix  | `NAME_color.jpg` and `NAME_depth.png` in one folder, in any case                      |
| pattern | two files whose paths match the patterns with the same text in place of the wildcards |
| table   | a row of a CSV table with the columns color and depth: paths below the root           |
"""

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from dsetkit.assets import NOT_UTF_8, BadFile, is_utf8, read_file
from dsetkit.errors import AssetError, printable
from dsetkit.importing.depth_files import DEPTH_SUFFIXES
from dsetkit.importing.settings import LITERALS, WILDCARDS, PairNaming
from dsetkit.importing.sources import PICTURE_SUFFIXES, split_path, table_text, walk
from dsetkit.importing.tables import csv_rows

COLOUR_TAG, DEPTH_TAG = "_color", "_depth"
TABLE_COLUMNS = ("color", "depth")
EXPECTED = f"NAME{COLOUR_TAG}.jpg (or .png, .webp), NAME{DEPTH_TAG}.png (or .npy, .npz, .pfm)"

log = logging.getLogger(__name__)

Key = tuple[str, ...]  # what the two files of a pair share


@dataclass(frozen=True)
class Pair:
    """The two files of a sample.

    Attributes:
        root: The folder that was searched.
        colour: Path of the colour picture below it.
        depth: Path of the depth file below it.
    """

    root: Path
    colour: str
    depth: str

    def read(self, file: str) -> bytes:
        """The bytes of one of the two files.

        Raises:
            AssetError: It cannot be read, or its name cannot be stored; the reason alone.
        """
        if not is_utf8(file):
            raise AssetError(NOT_UTF_8)
        return read_file(self.root / file)


def find_pairs(root: Path, naming: PairNaming) -> tuple[list[Pair], list[BadFile]]:
    """The pairs below a folder, in the order of their names or of the table's rows.

    Args:
        root: The folder; its sub-folders are searched too.
        naming: How the files of a pair are found.

    Returns:
        The pairs, and the files that make no pair though they should.

    Raises:
        AssetError: The folder or the table cannot be used, or there is no pair.
    """
    if not root.is_dir():
        raise AssetError(f"{printable(root)} is not a folder: expected one with {EXPECTED}")
    if naming.table:
        pairs, bad = _by_table(root, naming.table)
    else:
        files = walk(root, never_folders=(*PICTURE_SUFFIXES, *DEPTH_SUFFIXES))
        paths = [path.as_posix() for path in files]
        if naming.color_glob and naming.depth_glob:
            colours = _matching(paths, naming.color_glob)
            depths = _matching(paths, naming.depth_glob)
            expected = f"{naming.color_glob} and {naming.depth_glob}"
        else:
            colours = tagged(paths, COLOUR_TAG, PICTURE_SUFFIXES)
            depths = tagged(paths, DEPTH_TAG, DEPTH_SUFFIXES)
            expected = EXPECTED
        pairs, bad = _by_key(root, colours, depths, expected)
    if not pairs and not bad:
        raise AssetError(
            f"no pairs in {printable(root)}: expected {expected}"
            if not naming.table
            else f"no pairs in {printable(naming.table)}: expected a row for each"
        )
    return pairs, bad


def tagged(paths: Iterable[str], tag: str, suffixes: tuple[str, ...]) -> Iterator[tuple[Key, str]]:
    """(What stands before the tag, path) of the paths with a tag and one of some suffixes."""
    for path in paths:
        stem, dot, suffix = path.rpartition(".")
        if dot and f".{suffix.lower()}" in suffixes and stem.lower().endswith(tag):
            yield (stem[: -len(tag)],), path


def _matching(paths: Iterable[str], pattern: str) -> Iterator[tuple[Key, str]]:
    wanted = glob_as_regex(pattern)
    for path in paths:
        match = wanted.fullmatch(path)
        if match:
            yield match.groups(), path


def glob_as_regex(pattern: str) -> re.Pattern[str]:
    """A pattern of paths as an expression with one group for each wildcard; case does not count.

    `*` and `?` stand for text without slashes, `**/` for any number of folders, `[abc]` for one of
    some characters, `[!abc]` for one of the others.

    Raises:
        AssetError: Its brackets mean nothing.
    """
    text, at = "", 0
    for piece in WILDCARDS.finditer(pattern):
        text += _literal(pattern[at : piece.start()])
        folders, star, one, choice = piece.groups()
        if folders:
            text += r"((?:[^/]+/)*)"
        elif star:
            text += r"([^/]*)"
        elif one:
            text += r"([^/])"
        else:
            others, inside = choice[1] == "!", choice[1:-1].removeprefix("!")
            text += f"([{'^/' * others}{_with_ranges(inside)}])"
        at = piece.end()
    try:
        return re.compile(text + _literal(pattern[at:]), re.IGNORECASE)
    except re.error as error:
        raise AssetError(f"{printable(pattern)} is not a pattern of paths ({error})") from None


def _literal(text: str) -> str:
    return re.escape(LITERALS.sub(r"\1", text))


def _with_ranges(characters: str) -> str:
    return re.escape(characters).replace(r"\-", "-")


def _by_key(
    root: Path,
    colours: Iterable[tuple[Key, str]],
    depths: Iterable[tuple[Key, str]],
    expected: str,
) -> tuple[list[Pair], list[BadFile]]:
    bad: list[BadFile] = []
    colour_of, depth_of = _unique(colours, bad), _unique(depths, bad)
    pairs = []
    for key, colour in colour_of.items():
        if key not in depth_of:
            reason = f"no depth belongs to it: expected {expected}"
            bad.append(BadFile(printable(colour), reason))
        else:
            pairs.append(Pair(root, colour, depth_of[key]))
    alone = [depth for key, depth in depth_of.items() if key not in colour_of]
    if alone:
        log.warning(
            "%s depth files have no colour picture and are left out, for example %s",
            f"{len(alone):,}",
            printable(alone[0]),
        )
    return pairs, bad


def _unique(found: Iterable[tuple[Key, str]], bad: list[BadFile]) -> dict[Key, str]:
    first: dict[Key, str] = {}
    for key, path in found:
        if first.setdefault(key, path) != path:
            reason = f"belongs to the same pair as {printable(first[key])}: keep one of them"
            bad.append(BadFile(printable(path), reason))
    return first


def _by_table(root: Path, table: Path) -> tuple[list[Pair], list[BadFile]]:
    shown = printable(table)
    rows = csv_rows(table_text(table, partial(read_file, table)), shown, delimiter=",")
    names = [name.lower() for name in next(rows, (1, []))[1]]
    if sorted(names) != sorted(TABLE_COLUMNS):
        raise AssetError(
            f"{shown} has the columns {printable(', '.join(names))[:200] or '(none)'}: expected "
            f"{' and '.join(TABLE_COLUMNS)} in its first line"
        )
    pairs, bad = [], []
    line_of: dict[str, int] = {}  # of a colour picture
    for line, values in rows:
        if not any(values):
            continue
        where = f"{shown}, line {line}"
        files = [str(PurePosixPath(*split_path(value))) for value in values]
        if len(values) != len(names) or not all(values):
            bad.append(BadFile(where, f"{len(values)} values: expected a path for each column"))
            continue
        row = dict(zip(names, files, strict=True))
        if line_of.setdefault(row["color"], line) != line:
            first = line_of[row["color"]]
            bad.append(BadFile(where, f"{printable(row['color'])} is also in line {first}"))
            continue
        pairs.append(Pair(root, row["color"], row["depth"]))
    return pairs, bad
