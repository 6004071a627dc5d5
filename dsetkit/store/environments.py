"""The LMDB environments that a process reads from.

A pool opens each file once, checks its size and its pages before LMDB maps it, and keeps only a few
files open. A file may grow while it is read: its writer appends. LMDB maps more than the file's
size, so that this rarely matters; when the file outgrows the map, it is opened again.
"""

import os
import threading
import weakref
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb

from dsetkit.errors import DatasetError, UnfinishedError
from dsetkit.memory import physical_memory
from dsetkit.store.structure import check_structure, promised_size, transaction_of

DATABASES = ("manifest", "backgrounds", "foregrounds", "samples")
ENGINE_VERSION = ".".join(map(str, lmdb.version()))

# Files that a process keeps open. Each takes a file handle and address space of the file's size.
MOST_OPEN = 64

_ROOM_TO_GROW = 1 << 26  # bytes that are mapped beyond the file's size, or its size if that is more

Identity = tuple[int, int, int]  # process, device, inode


@dataclass(eq=False)
class OpenEnvironment:
    """An open environment.

    Attributes:
        path: Its file.
        identity: The process that opened it, and the file as it was then.
        size: The file's size then [bytes].
        env: The environment.
        databases: LMDB handles by name of the database.
        readers: How many threads are reading it.
    """

    path: Path
    identity: Identity
    size: int
    env: lmdb.Environment
    databases: dict[str, Any]  # lmdb has no public type for a handle
    readers: int = 0

    @property
    def file(self) -> tuple[int, int]:
        """Device and inode of the file that was opened."""
        return self.identity[1:]


class EnvironmentPool:
    """Shares environments between the readers of a process; threads may share a pool.

    LMDB refuses to open a file twice in one process, so two pools must not read the same file.

    Args:
        max_open: Environments to keep open. Those that are being read stay open beyond it.
    """

    def __init__(self, max_open: int = MOST_OPEN) -> None:
        self._max_open = max_open
        self._lock = threading.Condition(threading.RLock())
        # The least recently used environment comes first.
        self._environments: OrderedDict[Path, OpenEnvironment] = OrderedDict()
        _pools.add(self)

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
            self._lock.notify_all()

    def close(self, path: Path) -> None:
        """Closes the environment of a file, if it is open, once nobody is reading it."""
        with self._lock:
            while (opened := self._environments.get(path)) and opened.readers:
                self._lock.wait()
            if opened:
                self._environments.pop(path).env.close()

    def reset_after_fork(self) -> None:
        """Makes the pool usable in a forked child, which has only the thread that forked.

        In the parent, other threads may have held the lock or been reading.
        """
        self._lock = threading.Condition(threading.RLock())
        for opened in self._environments.values():
            opened.readers = 0

    def _open(self, path: Path) -> OpenEnvironment:
        status = _stat(path)
        identity = (os.getpid(), status.st_dev, status.st_ino)
        if opened := self._environments.get(path):
            if opened.identity == identity and opened.size <= status.st_size:
                return opened
            # A parent process opened it, or the file was replaced or has shrunk since.
            self.close(path)
        env, databases = _open_environment(path)
        opened = OpenEnvironment(path, identity, status.st_size, env, databases)
        self._environments[path] = opened
        self._close_unused()
        return opened

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
    _check_structure(path)
    memory = physical_memory()
    try:
        env = lmdb.open(
            os.fsencode(path),  # also a name that is not UTF-8
            subdir=False,
            readonly=True,
            lock=False,
            max_dbs=len(DATABASES),
            readahead=memory is None or size < memory // 2,
            map_size=size + max(size, _ROOM_TO_GROW),
        )
        return env, {name: env.open_db(name.encode(), create=False) for name in DATABASES}
    except lmdb.NotFoundError:
        with env.begin() as txn:  # one state of the file, for a writer may be at work
            fault = _what_is_missing(path, env, txn)
        env.close()
        if fault is None:  # a writer has made them in the meantime
            return _open_environment(path)
        raise fault from None
    except lmdb.Error as error:
        raise DatasetError(f"cannot open {path}: {error}") from None


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from None


def checked_size(path: Path) -> int:
    """The size of an LMDB file in bytes.

    Raises:
        UnfinishedError: The file is empty.
        DatasetError: The file is smaller than its LMDB header says, or it is not an LMDB file.
    """
    promised = promised_size(path)  # first: a writer lets the file grow before it says so
    size = _stat(path).st_size
    if size < promised:
        raise DatasetError(
            f"{path} is truncated: {size:,} bytes, but its header promises {promised:,}; "
            "copy it again from its source, or generate it again"
        )
    return size


def _check_structure(path: Path) -> None:
    """As `check_structure`, of a file that a writer may be changing."""
    while True:
        before = transaction_of(path)
        try:
            check_structure(path, DATABASES)
            return
        except DatasetError:
            # A writer uses the pages of a state again two transactions later.
            if transaction_of(path) <= before + 1:
                raise


def _what_is_missing(
    path: Path, env: lmdb.Environment, txn: lmdb.Transaction
) -> DatasetError | None:
    """The error for a file without some of its databases; None if it has them all."""
    there = {}
    for name in DATABASES:
        with suppress(lmdb.Error):
            there[name] = txn.stat(env.open_db(name.encode(), txn=txn, create=False))["entries"]
    missing = [name for name in DATABASES if name not in there]
    if not missing:
        return None
    if any(there.values()):
        return DatasetError(
            f"{path} is damaged (no database {', '.join(missing)}): copy it again from its source, "
            "or generate it again"
        )
    if txn.stat()["entries"] > len(there):
        return DatasetError(
            f"{path} is an LMDB file of another program (no database 'manifest'): expected a "
            "dataset made by `python -m dsetkit generate`"
        )
    # A writer makes all databases before it puts anything into them.
    return UnfinishedError(
        f"{path} holds nothing yet: run the command that makes it again, it continues"
    )
