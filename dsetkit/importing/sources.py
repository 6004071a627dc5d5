"""Pictures and tables in folders and .zip archives; archives are never unpacked to disk.

The name of a folder or archive counts as the outermost folder of its files, so `fg_bg.zip` with
pictures at its top and a folder `fg_bg` are the same. Hidden files and files that are neither
pictures nor tables are ignored.
"""

import os
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple, Protocol

from dsetkit.assets import MAX_FILE_BYTES, NOT_UTF_8, is_utf8, read_file, too_many_bytes
from dsetkit.errors import AssetError, one_line, printable

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".webp")  # in any case
TABLE_SUFFIXES = (".csv", ".txt")
ARCHIVE_SUFFIX = ".zip"
FOREIGN_FOLDER = "__MACOSX"  # copies of all files that macOS adds to archives

MAX_SHOWN = 200  # characters of a path in a message
MAX_MEMBER_NAME = 4096  # characters of a path in an archive: what a file system allows
# Bytes of a member that are unpacked at once. Of these methods, zipfile limits what it unpacks;
# the others may turn every packed byte into thousands.
LIMITED_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
LIMITED_STEP, OTHER_STEP = 2**20, 2**12

NUMBER_AT_END = re.compile(r"[ _-]*(?:part)?[ _-]*\d+$")


class Source(Protocol):
    """A folder or an archive.

    Attributes:
        name: Name of the folder, or of the archive without suffix.
    """

    name: str

    def members(self) -> Iterator[str]:
        """Paths of its files, relative to it."""

    def read(self, member: str) -> bytes:
        """The bytes of a file.

        Raises:
            AssetError: It cannot be read; the message is the reason, without the path.
        """

    def close(self) -> None:
        """Closes open files."""


class File(NamedTuple):
    """A file in a folder or an archive.

    Attributes:
        source: The folder or archive.
        member: Path of the file, relative to the source.
    """

    source: Source
    member: str

    @property
    def parts(self) -> tuple[str, ...]:
        """Name of the source, folders in it, name of the file."""
        return (self.source.name, *split_path(self.member))

    @property
    def path(self) -> str:
        """`parts` joined by slashes, for messages: printable, in one line."""
        return printable("/".join(self.parts))

    @property
    def name(self) -> str:
        """File name."""
        return self.parts[-1]

    @property
    def stem(self) -> str:
        """File name without suffix."""
        return self.name.rpartition(".")[0]

    def read(self) -> bytes:
        """See `Source.read`; names that cannot be stored are refused, too."""
        if not is_utf8(self.member):
            raise AssetError(NOT_UTF_8)
        return self.source.read(self.member)

    def folder_among(self, names: Collection[str]) -> str | None:
        """The innermost of its folders whose lower-case name is in `names`; None if none is.

        A number at the end of the source's own name is ignored: `fg_bg_3.zip` counts as `fg_bg`.
        """
        source, *folders, _ = (part.lower() for part in self.parts)
        outermost = (NUMBER_AT_END.sub("", source), source)
        return next((part for part in (*folders[::-1], *outermost) if part in names), None)


class Files:
    """All pictures and tables in some folders and archives; use it in a `with` block.

    Args:
        roots: Folders and .zip archives.

    Attributes:
        pictures: All pictures, in no particular order.
        roots: The roots as text, for messages.

    Raises:
        AssetError: A root is neither a folder nor an archive, or none holds a picture.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = ", ".join(printable(root) for root in roots)
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
                f"{', '.join(PICTURE_SUFFIXES)} in folders or .zip archives (archives inside a "
                "folder are not searched: name each of them)"
            )

    def __enter__(self) -> "Files":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes all archives."""
        for source in self._sources:
            source.close()

    def find(self, text: str, *, folders: Collection[str] = ()) -> File:
        """The picture that a path in a table refers to.

        The file name and, if the path has one, the innermost folder must match. Outer folders may
        differ, because tables are written on one machine and read on another. Upper and lower case
        count only where files differ in nothing else.

        Args:
            text: A path or a file name; slashes or backslashes.
            folders: Folder names (lower case); pictures in such a folder are preferred.

        Raises:
            AssetError: No picture matches, or several do.
        """
        wanted, shown = split_path(text), text[:MAX_SHOWN]
        candidates = self._by_name.get(wanted[-1].lower(), []) if wanted else []
        preferred = [file for file in candidates if file.folder_among(folders)]
        lower = [part.lower() for part in wanted]
        scores = {
            file: (
                _common_tail([part.lower() for part in file.parts], lower),
                _common_tail(file.parts, wanted),
            )
            for file in preferred or candidates
        }
        best = max(scores.values(), default=(0, 0))
        matches = [file for file, score in scores.items() if score == best]
        if best[0] < min(2, len(wanted)) or not matches:
            raise AssetError(f"{shown!r} was not found in {self.roots}")
        if len(matches) > 1:
            raise AssetError(
                f"{shown!r} matches {matches[0].path} and {matches[1].path}: keep one of them, or "
                "write its folder into the table"
            )
        return matches[0]

    @cached_property
    def _by_name(self) -> dict[str, list[File]]:
        by_name = defaultdict(list)
        for file in self.pictures:
            by_name[file.name.lower()].append(file)
        return by_name

    def read_table(self, path: Path) -> str:
        """The text of a table: a file on disk, otherwise the file of that name in the roots.

        Raises:
            AssetError: The table is missing, is there twice, or is not UTF-8 text.
        """
        inside = [file for file in self._tables if file.name == path.name]
        if len(inside) > 1 and not path.exists():
            raise AssetError(
                f"{printable(path)} matches {inside[0].path} and {inside[1].path}: unpack one of "
                "them"
            )
        is_on_disk = path.exists() or not inside
        return table_text(path, partial(read_file, path) if is_on_disk else inside[0].read)


def table_text(path: Path, read: Callable[[], bytes]) -> str:
    """The text of a table.

    Args:
        path: The table, for messages.
        read: Gives its bytes.

    Raises:
        AssetError: It cannot be read, or is not UTF-8 text.
    """
    try:
        return read().decode("utf-8-sig")  # spreadsheets write a byte order mark
    except AssetError as error:
        raise AssetError(f"{printable(path)}: {error}") from None
    except UnicodeDecodeError:
        raise AssetError(f"{printable(path)} is not UTF-8 text: expected a CSV table") from None


def natural(text: str) -> tuple[int | str, ...]:
    """A sort key that orders numbers in names by value: bg_2 comes before bg_10."""
    pieces = re.split(r"([0-9]+)", text)
    return (*(int(p) if i % 2 else p.lower() for i, p in enumerate(pieces)), text)


def split_path(text: str) -> tuple[str, ...]:
    """The parts of a path with slashes or backslashes, without empty parts, `.` and `..`."""
    pieces = text.strip().replace("\\", "/").split("/")
    return tuple(piece for piece in pieces if piece not in ("", ".", ".."))


def _common_tail(parts: Sequence[str], wanted: Sequence[str]) -> int:
    """How many parts two paths share, counted from their ends."""
    count = 0
    for part, wanted_part in zip(reversed(parts), reversed(wanted), strict=False):
        if part != wanted_part:
            break
        count += 1
    return count


def _is_usable(file: File) -> bool:
    inside = file.parts[1:]
    return bool(inside) and not any(p.startswith(".") or p == FOREIGN_FOLDER for p in inside)


# ---- folders and archives ----------------------------------------------------------------------


def walk(root: Path, *, never_folders: tuple[str, ...] = PICTURE_SUFFIXES) -> Iterator[Path]:
    """Paths of everything but folders below a folder, relative to it, in the order of their names.

    Links to folders are followed, but not back into a folder that they lie in. Hidden files and
    folders, and those that macOS adds to archives, are left out.

    Args:
        root: The folder.
        never_folders: Suffixes of files. Folders named so are given, too, for `read_file` to
            refuse them by name.

    Raises:
        AssetError: A folder cannot be opened.
    """

    def below(folder: Path, inside: tuple[tuple[int, int], ...]) -> Iterator[Path]:
        try:
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
            facts = os.stat(root / folder)
        except OSError as error:
            place = printable(root / folder)
            raise AssetError(f"cannot open the folder {place} ({error.strerror})") from None
        here = (facts.st_dev, facts.st_ino)
        if here in inside:
            return
        for entry in entries:
            if entry.name.startswith(".") or entry.name == FOREIGN_FOLDER:
                continue
            if _is_folder(entry) and not entry.name.lower().endswith(never_folders):
                yield from below(folder / entry.name, (*inside, here))
            else:
                yield folder / entry.name

    return below(Path(), ())


def pictures_below(folder: Path) -> list[str]:
    """Paths of all pictures below a folder, relative to it, in the order of their names.

    Raises:
        AssetError: It is no folder, or has no pictures.
    """
    if not folder.is_dir():
        raise AssetError(f"{printable(folder)} is not a folder: expected one of pictures")
    inside = [path.as_posix() for path in walk(folder)]
    names = sorted((n for n in inside if n.lower().endswith(PICTURE_SUFFIXES)), key=natural)
    if not names:
        expected = ", ".join(PICTURE_SUFFIXES)
        raise AssetError(f"no pictures in {printable(folder)}: expected {expected}")
    return names


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def read_member(archive: zipfile.ZipFile, name: str, *, at_most: int = MAX_FILE_BYTES) -> bytes:
    """Unpacks a member of an archive in bounded memory.

    Args:
        archive: The archive.
        name: Name of the member.
        at_most: Limit of its unpacked size [bytes].

    Raises:
        AssetError: It cannot be unpacked, or is too large; the message is the reason alone.
    """
    parts, count = [], 0
    try:
        info = archive.getinfo(name)
        if info.file_size > at_most:
            raise AssetError(too_many_bytes(info.file_size, at_most))
        step = LIMITED_STEP if info.compress_type in LIMITED_METHODS else OTHER_STEP
        with archive.open(info) as member:
            while part := member.read(step):
                parts.append(part)
                count += len(part)
                if count > at_most:
                    raise AssetError(too_many_bytes(count, at_most))
    except AssetError:
        raise
    except Exception as error:  # damaged data raises errors of many types
        raise AssetError(f"cannot be read from its archive ({one_line(error)})") from None
    return b"".join(parts)


def _open(root: Path) -> Source:
    if root.is_dir():
        return _Folder(root)
    if root.suffix.lower() == ARCHIVE_SUFFIX and root.is_file():
        return _Archive(root)
    raise AssetError(f"cannot open {printable(root)}: expected a folder or a .zip archive")


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root
        self.name = root.resolve().name

    def members(self) -> Iterator[str]:
        return map(str, walk(self._root))

    def read(self, member: str) -> bytes:
        return read_file(self._root / member)

    def close(self) -> None: ...


class _Archive:
    """A .zip archive; threads may read it at once, as the zipfile module locks every read."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # damaged data raises errors of many types
            raise AssetError(
                f"{printable(path)} is not a complete .zip archive ({one_line(error)}): copy it "
                "again from its source"
            ) from None
        if any(len(name) > MAX_MEMBER_NAME for name in self._zip.namelist()):
            self.close()
            raise AssetError(
                f"{printable(path)} has a name of over {MAX_MEMBER_NAME:,} characters: pack it "
                "again with shorter names"
            )

    def members(self) -> Iterator[str]:
        # An archive that was appended to may hold a name twice; reading gives the last one.
        unique = dict.fromkeys(self._zip.namelist())
        return (name for name in unique if not name.endswith("/"))

    def read(self, member: str) -> bytes:
        return read_member(self._zip, member)

    def close(self) -> None:
        self._zip.close()
