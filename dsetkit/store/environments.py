"""The LMDB files that a process reads: opened once, checked before mapping, few at a time."""

import os
import struct
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import lmdb

from dsetkit.errors import DatasetError, UnfinishedError

DATABASES = ("manifest", "backgrounds", "foregrounds", "samples")
ENGINE_VERSION = ".".join(map(str, lmdb.version()))

MOST_OPEN = 64  # files a process keeps open: each takes a handle and address space of its size

_META = struct.Struct("<16xII16xI92xQQ")  # magic, version, page size, last page, transaction
_MAGIC = 0xBEEFC0DE
_DATA_VERSION = 1  # LMDB 0.9; 1.0 writes another format


@dataclass(eq=False)
class Opened:
    """An open environment.

    Attributes:
        path: Its file.
        identity: Process and file it belongs to.
        env: The environment.
        databases: Handles by name.
        pid: The process that opened it.
        readers: Threads that read it now.
    """

    path: Path
    identity: tuple
    env: lmdb.Environment
    databases: dict
    pid: int
    readers: int = 0


_environments: OrderedDict[Path, Opened] = OrderedDict()  # the least recently used first
_lock = threading.RLock()


def _forget_threads() -> None:
    """After a fork: the other threads, which may have held the lock and been reading, are gone."""
    global _lock
    _lock = threading.RLock()
    for opened in _environments.values():
        opened.readers = 0


os.register_at_fork(after_in_child=_forget_threads)


def acquire(path: Path, known: Opened | None = None) -> Opened:
    """The one environment of this process for a path; it stays open until `release`.

    Args:
        path: A store file, resolved.
        known: What the caller got last time: while it is in use, the file is not looked at again.

    Raises:
        DatasetError: The file is missing, truncated, or not an LMDB file of this project.
    """
    with _lock:
        opened = _environments.get(path)
        if opened is None or opened is not known or opened.pid != os.getpid():
            opened = _shared_environment(path)
        opened.readers += 1
        _environments.move_to_end(path)
    return opened


def release(opened: Opened) -> None:
    """Ends what `acquire` began."""
    with _lock:
        opened.readers -= 1


def make_way(path: Path) -> None:
    """Closes a file for a writer in this process; readers open it anew at their next read."""
    with _lock:
        if path in _environments:
            _environments.pop(path).env.close()


def _shared_environment(path: Path) -> Opened:
    status = _stat(path)
    identity = (os.getpid(), status.st_dev, status.st_ino, status.st_size)
    if path in _environments:
        if _environments[path].identity == identity:
            return _environments[path]
        # inherited by a fork, or of a file that was replaced or has grown since
        _environments.pop(path).env.close()
    size = checked_size(path)
    try:
        env = lmdb.open(
            str(path),
            subdir=False,
            readonly=True,
            lock=False,
            max_dbs=len(DATABASES),
            readahead=size < _physical_memory() // 2,
            map_size=size,
        )
        databases = {name: env.open_db(name.encode(), create=False) for name in DATABASES}
    except lmdb.NotFoundError:
        foreign = env.stat()["entries"] > 0
        env.close()
        if foreign:
            raise DatasetError(
                f"{path} is an LMDB file of another program (no database 'manifest'): "
                "expected a dataset made by `python -m dsetkit generate`"
            ) from None
        raise UnfinishedError(
            f"{path} holds nothing yet: run the command that makes it again, it continues"
        ) from None
    except lmdb.Error as error:
        raise DatasetError(f"cannot open {path}: {error}") from None
    _environments[path] = Opened(path, identity, env, databases, os.getpid())
    _close_unused()
    return _environments[path]


def _close_unused() -> None:
    """Keeps MOST_OPEN environments; those that are being read stay, and the newest."""
    unused = [path for path, opened in list(_environments.items())[:-1] if opened.readers == 0]
    for path in unused[: max(0, len(_environments) - MOST_OPEN)]:
        _environments.pop(path).env.close()


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from None


def _physical_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def checked_size(path: Path) -> int:
    """Size of an LMDB file in bytes, after comparing it with what its header promises."""
    size = _stat(path).st_size
    promised = _promised_size(path)
    if size < promised:
        raise DatasetError(
            f"{path} is truncated: {size:,} bytes, but its header promises {promised:,}; "
            "copy it again from its source, or generate it anew"
        )
    return size


def _promised_size(path: Path) -> int:
    """Bytes the newer of the two meta pages accounts for."""
    try:
        with open(path, "rb") as file:
            first = file.read(_META.size)
            page_size = _META.unpack(first)[2] if len(first) == _META.size else 0
            file.seek(page_size)
            second = file.read(_META.size)
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from None
    if not first:
        raise UnfinishedError(
            f"{path} is empty, not an LMDB file: run the command that makes it again"
        )
    metas = [_META.unpack(page) for page in (first, second) if len(page) == _META.size]
    if len(metas) < 2 or any(meta[0] != _MAGIC for meta in metas):
        raise DatasetError(f"{path} is not an LMDB file (no LMDB header): expected a dataset shard")
    foreign = [meta[1] for meta in metas if meta[1] != _DATA_VERSION]
    if foreign:
        raise DatasetError(
            f"{path} has LMDB data version {foreign[0]}, this LMDB {ENGINE_VERSION} reads "
            f"{_DATA_VERSION}: convert it with the LMDB that wrote it"
        )
    last_page = max(metas, key=lambda meta: meta[4])[3]
    return (last_page + 1) * page_size
