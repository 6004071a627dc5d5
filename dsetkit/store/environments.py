"""The LMDB environments that a process reads from.

A pool opens each file once, checks its size before LMDB maps it, and keeps only a few files open.
"""

import os
import struct
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb

from dsetkit.errors import DatasetError, UnfinishedError

DATABASES = ("manifest", "backgrounds", "foregrounds", "samples")
ENGINE_VERSION = ".".join(map(str, lmdb.version()))

# Files that a process keeps open. Each takes a file handle and address space of the file's size.
MOST_OPEN = 64

_META = struct.Struct("<16xII16xI92xQQ")  # magic, version, page size, last page, transaction
_MAGIC = 0xBEEFC0DE
_DATA_VERSION = 1  # of LMDB 0.9; LMDB 1.0 writes another format

Identity = tuple[int, int, int, int]  # process, device, inode, size [bytes]


@dataclass(eq=False)
class OpenEnvironment:
    """An open environment.

    Attributes:
        path: Its file.
        identity: The process that opened it, and the file as it was then.
        env: The environment.
        databases: LMDB handles by name of the database.
        readers: How many threads are reading it.
    """

    path: Path
    identity: Identity
    env: lmdb.Environment
    databases: dict[str, Any]  # lmdb has no public type for a handle
    readers: int = 0


class EnvironmentPool:
    """Shares environments between the readers of a process; threads may share a pool.

    LMDB refuses to open a file twice in one process, so two pools must not read the same file.

    Args:
        max_open: Environments to keep open. Those that are being read stay open beyond it.
    """

    def __init__(self, max_open: int = MOST_OPEN) -> None:
        self._max_open = max_open
        self._lock = threading.RLock()
        # The least recently used environment comes first.
        self._environments: OrderedDict[Path, OpenEnvironment] = OrderedDict()
        _pools.add(self)

    def open_paths(self) -> list[Path]:
        """The files that are open, the least recently used first."""
        return list(self._environments)

    def acquire(self, path: Path, known: OpenEnvironment | None = None) -> OpenEnvironment:
        """The environment of a file; it stays open until `release`.

        Args:
            path: A store file, resolved.
            known: The environment that the caller acquired last. If it is still open, the file is
                not inspected again.

        Raises:
            DatasetError: The file is missing, truncated, or not an LMDB file of this project.
        """
        with self._lock:
            opened = self._environments.get(path)
            if opened is None or opened is not known or opened.identity[0] != os.getpid():
                opened = self._open(path)
            opened.readers += 1
            self._environments.move_to_end(path)
        return opened

    def release(self, opened: OpenEnvironment) -> None:
        """Ends the use of an environment that `acquire` gave."""
        with self._lock:
            opened.readers -= 1

    def close(self, path: Path) -> None:
        """Closes the environment of a file, if it is open."""
        with self._lock:
            if path in self._environments:
                self._environments.pop(path).env.close()

    def reset_after_fork(self) -> None:
        """Makes the pool usable in a forked child, which has only the thread that forked.

        In the parent, other threads may have held the lock or been reading.
        """
        self._lock = threading.RLock()
        for opened in self._environments.values():
            opened.readers = 0

    def _open(self, path: Path) -> OpenEnvironment:
        status = _stat(path)
        identity = (os.getpid(), status.st_dev, status.st_ino, status.st_size)
        if path in self._environments:
            if self._environments[path].identity == identity:
                return self._environments[path]
            # A parent process opened it, or the file was replaced or has grown since.
            self._environments.pop(path).env.close()
        env, databases = _open_environment(path)
        self._environments[path] = OpenEnvironment(path, identity, env, databases)
        self._close_unused()
        return self._environments[path]

    def _close_unused(self) -> None:
        """Closes the least recently used environments, except the newest and those being read."""
        older = list(self._environments.items())[:-1]
        unused = [path for path, opened in older if opened.readers == 0]
        for path in unused[: max(0, len(self._environments) - self._max_open)]:
            self._environments.pop(path).env.close()


_pools: weakref.WeakSet[EnvironmentPool] = weakref.WeakSet()
SHARED_POOL = EnvironmentPool()


def close_environments(path: Path) -> None:
    """Closes a file in all pools before a writer opens it; readers open it again when they read."""
    for pool in list(_pools):
        pool.close(path)


def _reset_pools() -> None:
    for pool in list(_pools):
        pool.reset_after_fork()


os.register_at_fork(after_in_child=_reset_pools)


def _open_environment(path: Path) -> tuple[lmdb.Environment, dict[str, Any]]:
    """Opens an environment for reading, and its databases by name."""
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
        return env, {name: env.open_db(name.encode(), create=False) for name in DATABASES}
    except lmdb.NotFoundError:
        has_entries = env.stat()["entries"] > 0
        env.close()
        if has_entries:
            raise DatasetError(
                f"{path} is an LMDB file of another program (no database 'manifest'): "
                "expected a dataset made by `python -m dsetkit generate`"
            ) from None
        raise UnfinishedError(
            f"{path} holds nothing yet: run the command that makes it again, it continues"
        ) from None
    except lmdb.Error as error:
        raise DatasetError(f"cannot open {path}: {error}") from None


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from None


def _physical_memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def checked_size(path: Path) -> int:
    """The size of an LMDB file in bytes.

    Raises:
        DatasetError: The file is smaller than its LMDB header says, or it is not an LMDB file.
    """
    size = _stat(path).st_size
    promised = _promised_size(path)
    if size < promised:
        raise DatasetError(
            f"{path} is truncated: {size:,} bytes, but its header promises {promised:,}; "
            "copy it again from its source, or generate it again"
        )
    return size


def _promised_size(path: Path) -> int:
    """The size in bytes that the newer of the two meta pages gives."""
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
    other_versions = [meta[1] for meta in metas if meta[1] != _DATA_VERSION]
    if other_versions:
        raise DatasetError(
            f"{path} has LMDB data version {other_versions[0]}, this LMDB {ENGINE_VERSION} reads "
            f"{_DATA_VERSION}: convert it with the LMDB that wrote it"
        )
    last_page = max(metas, key=lambda meta: meta[4])[3]
    return (last_page + 1) * page_size
