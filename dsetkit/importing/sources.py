"""The files below folders and .zip archives, read where they lie: nothing is unpacked to disk.

A folder's or archive's own name counts as the outermost folder of what is in it, so that
`fg_bg.zip` full of bare pictures and a folder `fg_bg` are the same thing. Hidden files, Thumbs.db
and everything that is neither a picture nor a table are left alone.
"""

import os
import re
import zipfile
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

from dsetkit.errors import AssetError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe")  # in any case
TABLE_SUFFIXES = (".csv", ".txt")
ARCHIVE_SUFFIX = ".zip"
FOREIGN_FOLDER = "__MACOSX"  # doubles of all files, which one archiver adds

NUMBER_AT_END = re.compile(r"[ _-]*(?:part)?[ _-]*\d+$")


class Source(Protocol):
    """A folder or an archive."""

    name: str

    def members(self) -> Iterator[str]:
        """Names of the files in it, relative to it."""

    def read(self, member: str) -> bytes:
        """A file's bytes; raises AssetError with the reason alone."""

    def close(self) -> None:
        """Lets go of open files."""


class File(NamedTuple):
    """A file in a folder or an archive."""

    source: Source
    member: str

    @property
    def parts(self) -> tuple[str, ...]:
        """The source's name, the folders in it, the file's name."""
        return (self.source.name, *split_path(self.member))

    @property
    def path(self) -> str:
        """`parts` as one line for people, fit for any encoding."""
        return "/".join(self.parts).encode("utf-8", "backslashreplace").decode()

    @property
    def name(self) -> str:
        """File name."""
        return self.parts[-1]

    @property
    def stem(self) -> str:
        """File name without suffix."""
        return self.name.rpartition(".")[0]

    def read(self) -> bytes:
        """The file's bytes.

        Raises:
            AssetError: It cannot be read; the message is the reason, without the path.
        """
        return self.source.read(self.member)

    def folder_among(self, names: Collection[str]) -> str | None:
        """The innermost of its folders that is one of `names` (lower case).

        A number at the end of the source's own name does not count: `fg_bg_3.zip` is `fg_bg`.
        """
        source, *folders, _ = (part.lower() for part in self.parts)
        outermost = (NUMBER_AT_END.sub("", source), source)
        return next((part for part in (*folders[::-1], *outermost) if part in names), None)


class Files:
    """All files below some folders and archives; use it in a `with` block.

    Args:
        roots: Folders and .zip archives.

    Attributes:
        pictures: In no order.
        roots: The arguments, for messages.

    Raises:
        AssetError: A root is neither a folder nor an archive, or none holds a picture.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = ", ".join(str(root) for root in roots)
        self._sources: list[Source] = []
        try:
            for root in roots:
                self._sources.append(_open(Path(root)))
        except BaseException:
            self.close()
            raise
        found = [File(source, name) for source in self._sources for name in source.members()]
        usable = [file for file in found if _is_usable(file)]
        self.pictures = [f for f in usable if f.name.lower().endswith(PICTURE_SUFFIXES)]
        self._tables = [f for f in usable if f.name.lower().endswith(TABLE_SUFFIXES)]
        if not self.pictures:
            self.close()
            raise AssetError(
                f"no pictures in {self.roots}: expected files ending in "
                f"{', '.join(PICTURE_SUFFIXES)} in folders or .zip archives (archives that lie in "
                "a folder have to be named one by one)"
            )

    def __enter__(self) -> "Files":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Closes the archives."""
        for source in self._sources:
            source.close()

    def find(self, text: str, *, folders: Collection[str] = ()) -> File:
        """The one picture that a table's path means.

        File name and, if the path has one, the folder above it have to be right; what stands
        further out may differ, for tables are written on one machine and read on another.

        Args:
            text: A path or a file name, slashes either way.
            folders: Pictures in a folder of such a name (lower case) are preferred.

        Raises:
            AssetError: None is meant, or several.
        """
        wanted = split_path(text)
        candidates = self._by_name.get(wanted[-1], []) if wanted else []
        preferred = [file for file in candidates if file.folder_among(folders)]
        scores = {file: _common_tail(file.parts, wanted) for file in preferred or candidates}
        best = max(scores.values(), default=0)
        meant = [file for file, score in scores.items() if score == best]
        if best < min(2, len(wanted)) or not meant:
            raise AssetError(f"{text!r} is not there: expected it in {self.roots}")
        if len(meant) > 1:
            raise AssetError(f"{text!r} may be {meant[0].path} or {meant[1].path}: keep one")
        return meant[0]

    @cached_property
    def _by_name(self) -> dict[str, list[File]]:
        by_name = defaultdict(list)
        for file in self.pictures:
            by_name[file.name].append(file)
        return by_name

    def read_table(self, path: Path) -> str:
        """The text of a table: a file on disk, or else the one of that name below the roots.

        Raises:
            AssetError: It is not there, or is not UTF-8 text.
        """
        inside = [file for file in self._tables if file.name == path.name]
        if path.is_file() or not inside:
            content = _read_path(path)
        elif len(inside) == 1:
            content = inside[0].read()
        else:
            raise AssetError(f"{path} may be {inside[0].path} or {inside[1].path}: unpack one")
        try:
            return content.decode("utf-8-sig")  # spreadsheets put a mark before UTF-8
        except UnicodeDecodeError:
            raise AssetError(f"{path} is not UTF-8 text: expected a table") from None


def natural(text: str) -> tuple:
    """A key that sorts numbers in names by value: bg_2 comes before bg_10."""
    pieces = re.split(r"([0-9]+)", text)
    return (*(int(p) if i % 2 else p.lower() for i, p in enumerate(pieces)), text)


def split_path(text: str) -> tuple[str, ...]:
    """Folders and name of a path with slashes of either kind."""
    pieces = text.strip().replace("\\", "/").split("/")
    return tuple(piece for piece in pieces if piece not in ("", ".", ".."))


def _common_tail(one: Sequence[str], other: Sequence[str]) -> int:
    """How many parts of two paths agree, counted from their ends."""
    count = 0
    for mine, theirs in zip(reversed(one), reversed(other), strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def _is_usable(file: File) -> bool:
    inside = file.parts[1:]
    return bool(inside) and not any(p.startswith(".") or p == FOREIGN_FOLDER for p in inside)


# ---- folders and archives ----------------------------------------------------------------------


def _open(root: Path) -> Source:
    if root.is_dir():
        return _Folder(root)
    if root.suffix.lower() == ARCHIVE_SUFFIX and root.is_file():
        return _Archive(root)
    raise AssetError(f"{root} is not there: expected a folder or a .zip archive")


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root
        self.name = root.resolve().name

    def members(self) -> Iterator[str]:
        for folder, _, names in os.walk(self._root, followlinks=True):
            inside = os.path.relpath(folder, self._root)
            yield from (os.path.join(inside, name) for name in names)

    def read(self, member: str) -> bytes:
        try:
            return (self._root / member).read_bytes()
        except OSError as error:
            raise AssetError(f"cannot be read ({error.strerror})") from None

    def close(self) -> None: ...


class _Archive:
    """Several threads may read at once: the zipfile module locks each piece it reads."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise AssetError(
                f"{path} is no whole .zip archive ({error}): copy it again from its source"
            ) from None

    def members(self) -> Iterator[str]:
        # An archive that was appended to may hold a name twice; the last one counts.
        unique = dict.fromkeys(self._zip.namelist())
        return (name for name in unique if not name.endswith("/"))

    def read(self, member: str) -> bytes:
        try:
            return self._zip.read(member)
        except Exception as error:  # damaged data ends in errors of many types
            raise AssetError(f"cannot be read from its archive ({error})") from None

    def close(self) -> None:
        self._zip.close()


def _read_path(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AssetError(f"cannot read {path}: {error.strerror}") from None
