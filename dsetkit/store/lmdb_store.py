"""The store: an LMDB file with four named databases, one writer and many readers.

A store holds bytes under integer keys and knows nothing about samples. It handles these pitfalls
of LMDB:

    fork and pickle      a reader keeps a path and opens the file on first use in each process
    one path, two opens  readers of a process share environments; LMDB refuses a second open
    many files           the least recently used files are closed, and opened again on demand
    reader slots         readers use no lock file (`lock=False`), so they cannot run out of slots
                         and can read from read-only media
    map growth           when the map is full, it doubles and the transaction is repeated
    truncated file       the file's size is compared with LMDB's header *before* it is mapped;
                         reading past the end of a mapped file would kill the process (SIGBUS)
    damaged pages        all pages are checked before LMDB reads them, see `structure`; LMDB's own
                         assertions would kill the process (SIGABRT)
    a writer beside      a state of the file is safe to read until two transactions later; what was
                         read from an older one is read again

Sources: LMDB's `lmdb.h` and `mdb.c` (meta page layout), py-lmdb's documentation.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import filelock
import lmdb

from dsetkit.errors import BusyError, DatasetError
from dsetkit.files import real_path
from dsetkit.store.environments import (
    DATABASES,
    SHARED_POOL,
    EnvironmentPool,
    OpenEnvironment,
    checked_size,
    close_environments,
)
from dsetkit.store.structure import check_structure, is_unborn

FIRST_MAP_SIZE = 1 << 26  # 64 MiB; doubles as needed (sparse on disk)
LARGEST_MAP_SIZE = 1 << 44  # 16 TiB of address space
ITEMS_AT_ONCE = 16  # read in one transaction; an asset may take megabytes

Value = TypeVar("Value")

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # LMDB: EIO for short writes


def u32_key(number: int) -> bytes:
    """Key of an asset, 4 bytes, big-endian: keys sort in the order of the numbers."""
    return number.to_bytes(4, "big")


def u64_key(number: int) -> bytes:
    """Key of a sample, 8 bytes, big-endian: keys sort in the order of the numbers."""
    return number.to_bytes(8, "big")


class _Transaction(Protocol):
    """A transaction for reading, opened without buffers: LMDB then gives bytes, no memoryviews."""

    def get(self, key: bytes, *, db: Any) -> bytes | None: ...

    def cursor(self, db: Any) -> Any: ...

    def stat(self, db: Any) -> dict[str, int]: ...


class StoreWriter:
    """The one writer of a store file; use it in a `with` block.

    Args:
        path: File to create, or to continue if it exists.
        map_limit: Largest size of the map [bytes].

    Raises:
        BusyError: Another process is writing the file.
        DatasetError: The file is damaged, or the disk is full.
    """

    def __init__(self, path: Path, *, map_limit: int = LARGEST_MAP_SIZE) -> None:
        self.path = Path(path)
        self._map_limit = map_limit
        self._lock = filelock.FileLock(f"{self.path}.lock")
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise BusyError(
                f"{self.path} is being written by another process: wait for it to end"
            ) from None
        except OSError as error:
            raise DatasetError(f"cannot write {self.path}: {error.strerror}") from None
        try:
            self._prepare_file()
            close_environments(real_path(self.path))
            self._open()
        except (lmdb.Error, DatasetError) as error:
            self._lock.release()
            raise self._dataset_error(error) from None

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file and lets other writers in."""
        self._env.close()
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)

    def put(self, entries: Iterable[tuple[str, bytes, bytes]]) -> None:
        """Writes (database, key, value) entries in one transaction: all of them or none.

        Raises:
            DatasetError: The disk or the map is full, or the file cannot be written.
        """
        entries = list(entries)
        while True:
            try:
                with self._env.begin(write=True) as txn:
                    for database, key, value in entries:
                        txn.put(key, value, db=self._databases[database])
                # LMDB remembers which pages it freed, and where it looked for free ones. Each
                # transaction shall follow from the file alone, so that a run that was killed and
                # continued writes the same file.
                self._env.close()
                self._open()
                return
            except lmdb.MapFullError as error:
                self._grow(error)
            except lmdb.Error as error:
                raise self._dataset_error(error) from None

    def get(self, database: str, key: bytes) -> bytes | None:
        """The value under a key; None if the database has no such key."""
        with self._env.begin() as txn:
            return cast(_Transaction, txn).get(key, db=self._databases[database])

    def count(self, database: str) -> int:
        """Number of entries of a database."""
        with self._env.begin() as txn:
            return txn.stat(self._databases[database])["entries"]

    def _prepare_file(self) -> None:
        """Checks the file that is continued; empties one that was cut off while LMDB created it."""
        if not self.path.exists():
            return
        if is_unborn(self.path):
            os.truncate(self.path, 0)
        else:
            checked_size(self.path)
            check_structure(self.path, DATABASES, thorough=True)

    def _open(self) -> None:
        size = self.path.stat().st_size if self.path.exists() else 0
        self._env = lmdb.open(
            os.fsencode(self.path),
            subdir=False,
            lock=False,  # `self._lock` keeps other writers out
            max_dbs=len(DATABASES),
            map_size=min(max(FIRST_MAP_SIZE, 1 << (2 * size).bit_length()), self._map_limit),
        )
        # One transaction creates all databases: a reader finds all of them or none.
        with self._env.begin(write=True) as txn:
            self._databases = {
                name: self._env.open_db(name.encode(), txn=txn) for name in DATABASES
            }

    def _grow(self, error: lmdb.Error) -> None:
        size = self._env.info()["map_size"]
        if size >= self._map_limit:
            raise self._dataset_error(error) from None
        self._env.set_mapsize(min(2 * size, self._map_limit))

    def _dataset_error(self, error: lmdb.Error | DatasetError) -> DatasetError:
        if isinstance(error, DatasetError):
            return error
        if isinstance(error, lmdb.MapFullError):
            return DatasetError(
                f"the LMDB map of {self.path} is full at its limit of {self._map_limit:,} bytes; "
                "all committed samples are safe: raise the limit and run the same command again"
            )
        if any(os.strerror(code) in str(error) for code in _DISK_FULL):
            return DatasetError(
                f"no space left to write {self.path} ({error}); all committed samples are safe: "
                "free some space and run the same command again"
            )
        return DatasetError(f"cannot write {self.path}: {error}")


class StoreReader:
    """Reads a store file. It can be pickled, and it works in forked and spawned processes.

    Args:
        path: The file.
        pool: Shares open files between readers. An unpickled reader uses the process's own pool.
        check: Called with this reader when it has opened the file, and again when it opens another
            file under the same path, because the first one was replaced. It may raise. It is not
            pickled.

    Raises:
        DatasetError: The file is missing, truncated, or not an LMDB file of this project.
    """

    def __init__(
        self,
        path: Path,
        *,
        pool: EnvironmentPool = SHARED_POOL,
        check: Callable[["StoreReader"], None] = lambda reader: None,
    ) -> None:
        self.path = real_path(path)
        self._pool, self._check = pool, check
        self._opened: OpenEnvironment | None = None
        self._checked_file: tuple[int, int] | None = None
        self._read(lambda txn, handles: None)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path, self._pool, self._opened = state["path"], SHARED_POOL, None
        self._check, self._checked_file = lambda reader: None, None

    def check(self) -> None:
        """Checks all pages of the file; see `check_structure`.

        Raises:
            DatasetError: The file is damaged.
        """
        check_structure(self.path, DATABASES, thorough=True)

    def get(self, database: str, key: bytes) -> bytes | None:
        """The value under a key; None if the database has no such key."""
        return self.get_many(database, [key])[0]

    def get_many(self, database: str, keys: Iterable[bytes]) -> list[bytes | None]:
        """The values under many keys, read in one transaction; None for keys that are missing."""
        keys = list(keys)
        return self._read(lambda txn, handles: [txn.get(key, db=handles[database]) for key in keys])

    def count(self, database: str) -> int:
        """Number of entries of a database."""
        return self._read(lambda txn, handles: txn.stat(handles[database])["entries"])

    def items(self, database: str) -> Iterator[tuple[bytes, bytes]]:
        """All (key, value) pairs of a database, in the order of the keys."""

        def following(txn: _Transaction, handles: dict[str, Any]) -> list[tuple[bytes, bytes]]:
            cursor = txn.cursor(handles[database])
            if not cursor.set_range(last + b"\0" if last else b"\0"):
                return []
            return list(islice(cursor.iternext(), ITEMS_AT_ONCE))

        last = b""
        while found := self._read(following):
            yield from found
            last = found[-1][0]

    def _read(self, read: Callable[["_Transaction", dict[str, Any]], Value]) -> Value:
        """What `read` gives for a transaction and the databases by name.

        Raises:
            DatasetError: LMDB finds the file damaged.
        """
        while True:
            opened = self._opened = self._pool.acquire(self.path, self._opened)
            if self._checked_file != opened.file:
                self._pool.release(opened)
                self._check_file(opened.file)
                continue
            is_outgrown, state = False, _last_transaction(opened)
            try:
                with opened.env.begin() as txn:
                    value = read(cast(_Transaction, txn), opened.databases)
                # Otherwise a writer has begun to use the pages again that were read.
                if _last_transaction(opened) <= state + 1:
                    return value
            except lmdb.MapResizedError:
                is_outgrown = True
            except lmdb.Error as error:
                if _last_transaction(opened) <= state + 1:
                    raise DatasetError(
                        f"{self.path} is damaged ({error}): copy it again from its source, or "
                        "generate it again"
                    ) from None
            finally:
                self._pool.release(opened)
            if is_outgrown:
                self._pool.close(self.path)

    def _check_file(self, file: tuple[int, int]) -> None:
        self._checked_file = file  # `_check` reads it
        try:
            self._check(self)
        except BaseException:
            self._checked_file = None
            raise


def _last_transaction(opened: OpenEnvironment) -> int:
    """Number of the last transaction that was committed to a file."""
    return opened.env.info()["last_txnid"]
