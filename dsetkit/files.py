"""Files that are written whole or not at all, and JSON that is read with bounds."""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from dsetkit.errors import DsetkitError

LARGEST_JSON = 2**20  # that is read [bytes]
LONGEST_NAME = 255  # bytes, in all common file systems


def real_path(path: Path) -> Path:
    """The path behind all links; the path itself where links lead in a circle."""
    return Path(os.path.realpath(path))


def is_same_place(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same place."""
    return real_path(one) == real_path(other)


@contextmanager
def replacing(path: Path, *, action: str = "", advice: str = "") -> Iterator[Path]:
    """Gives a temporary path beside `path`, and renames what was written there at the end.

    When the block raises, `path` is as it was before and the temporary file is gone. A process
    that is killed leaves the temporary file; the next write of the same file overwrites it.

    A link is followed. What is no regular file, such as /dev/null, /dev/stdout or a named pipe, is
    never replaced: the block writes into it.

    Args:
        path: The file to write. Its folder is made if it is missing.
        action: What failed, for the error message (default: "write PATH").
        advice: What the user can do, for the end of the error message.

    Raises:
        DsetkitError: The place cannot be written to, or has no room left.
    """
    temporary: Path | None = None
    try:
        if _is_special(path):
            yield path
            return
        target = real_path(path) if path.is_symlink() else path
        temporary = _temporary(target)
        _make_folder(target.parent)
        yield temporary
        os.replace(temporary, target)
    except BaseException as error:
        if temporary is not None:
            with suppress(OSError):  # the first error is the one to report
                temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if is_full else error.strerror or str(error)
        message = f"cannot {action or f'write {path}'}: {reason}"
        raise DsetkitError(f"{message}; {advice}" if advice else message) from error


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, f"{path} is not a folder") from None


def _is_special(path: Path) -> bool:
    """Whether there is something that is neither a file nor a folder."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _temporary(path: Path) -> Path:
    """Where a file is written before it is renamed: always the same place for the same file.

    Raises:
        DsetkitError: The path names no file.
    """
    if path.name in ("", ".."):
        raise DsetkitError(f"cannot write {str(path)!r}: expected the name of a file")
    name = path.name
    if len(os.fsencode(name)) > LONGEST_NAME - len("..part"):
        name = hashlib.sha1(os.fsencode(name)).hexdigest()
    return path.with_name(f".{name}.part")


def write_whole(
    path: Path,
    content: bytes | Callable[[BinaryIO], object],
    *,
    sync: bool = False,
    advice: str = "",
) -> None:
    """Writes a file under a temporary name, then renames it.

    Args:
        path: The file to write. Its folder is made if it is missing.
        content: The bytes, or a function that writes them to an open file.
        sync: Wait until the bytes are on the disk, so that a power cut cannot leave an empty file.
        advice: What the user can do, for the end of the error message.

    Raises:
        DsetkitError: The place cannot be written to, or has no room left; an older file is intact.
    """
    with replacing(path, advice=advice) as temporary, open(temporary, "wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content(file)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON for people and programs, whole or not at all.

    Raises:
        DsetkitError: The place cannot be written to, or has no room left.
    """
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())


def claim_folder(
    folder: Path, *, marker: str, description: Mapping[str, Any], what: str, other: str
) -> None:
    """Marks a folder as that of one piece of work, which may go on in it later.

    Args:
        folder: The folder; made if it is missing.
        marker: Name of the file that marks it.
        description: What decides the content of the folder, as JSON values.
        what: What it is called in messages: "an export".
        other: What a folder with another description holds: "the export of another dataset".

    Raises:
        DsetkitError: The folder holds something else, or cannot be written to.
    """
    file = folder / marker
    content = json.dumps(description, indent=2).encode()
    if file.is_file():
        if file.read_bytes() == content:
            return
        if any(path.name != marker for path in folder.iterdir()):
            raise DsetkitError(f"{folder} holds {other}: choose another --output")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DsetkitError(f"{folder} exists and is not {what}: choose another --output")
    write_whole(file, content)


def check_apart(output: Path, *folders: Path) -> None:
    """Refuses to write into folders that are read, or below them: the next run would read that too.

    Args:
        output: The folder that will be written.
        folders: What is read; what is no folder does not count.

    Raises:
        DsetkitError: It is one of them, or lies in one.
    """
    place = real_path(output)
    for folder in folders:
        if folder.is_dir() and real_path(folder) in (place, *place.parents):
            raise DsetkitError(
                f"{output} lies in {folder}, whose pictures are read: the next run would take its "
                "results for pictures; choose another --output"
            )


def read_json(path: Path, *, at_most: int = LARGEST_JSON) -> dict[str, Any]:
    """Reads a small JSON file of unknown origin that holds an object.

    Args:
        path: The file.
        at_most: The largest size that is read [bytes].

    Raises:
        ValueError: It cannot be read, is larger, is not JSON, or holds no object. The text has the
            reason alone.
    """
    try:
        if not path.is_file():  # a pipe would wait for its other end
            raise ValueError("it is not a file")
        with path.open("rb") as file:
            text = file.read(at_most + 1)
        if len(text) > at_most:
            raise ValueError(f"it has more than {at_most:,} bytes")
        content = json.loads(text)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    if not isinstance(content, dict):
        raise ValueError("it holds no JSON object")
    return content
