"""Bytes in and out of LMDB files: four named databases, integer keys, one writer, many readers.

Knows nothing of samples. What users of LMDB stumble over is ruled out here, once:

    fork and pickle      a reader keeps a path; it opens on first use in each process
    one path, two opens  environments are shared inside a process (LMDB refuses a second open)
    many files           the least recently used are closed, and opened again when asked
    reader slots, media  readers take no lock file (`lock=False`): nothing to fill, nothing to write
    map growth           the map doubles when full, the transaction is repeated
    truncated file       its size is compared with what LMDB's header promises *before* mapping;
                         reading past the end of a mapped file would kill the process (SIGBUS)

Sources: LMDB's `lmdb.h` and `mdb.c` (meta page layout), py-lmdb's documentation.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import lmdb

from dsetkit.errors import BusyError, DatasetError
from dsetkit.store import environments
from dsetkit.store.environments import DATABASES, Opened

FIRST_MAP_SIZE = 1 << 26  # 64 MiB; doubles as needed (sparse on disk)
LARGEST_MAP_SIZE = 1 << 44  # 16 TiB of address space

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # EIO: LMDB's word for short writes


def u32_key(number: int) -> bytes:
    """Key of an asset: big-endian, so that key order is number order."""
    return number.to_bytes(4, "big")


def u64_key(number: int) -> bytes:
    """Key of a sample: big-endian, so that key order is number order."""
    return number.to_bytes(8, "big")


class StoreWriter:
    """The one writer of a store file; use it in a `with` block.

    Args:
        path: File to create or to continue.
        map_limit: Bytes the map may grow to.

    Raises:
        DatasetError: Another process is writing, the file is damaged, or there is no room.
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
            size = environments.checked_size(self.path) if self.path.exists() else 0
            environments.make_way(self.path.resolve())
            self._env = lmdb.open(
                str(self.path),
                subdir=False,
                lock=False,  # our own lock file keeps other writers out
                max_dbs=len(DATABASES),
                map_size=min(max(FIRST_MAP_SIZE, size), map_limit),
            )
            self._databases = {name: self._env.open_db(name.encode()) for name in DATABASES}
        except (lmdb.Error, DatasetError) as error:
            self._lock.release()
            raise self._explained(error) from None

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Ends writing; what was not put is not there."""
        self._env.close()
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)

    def put(self, entries: Iterable[tuple[str, bytes, bytes]]) -> None:
        """Writes (database, key, value) entries in one transaction: all of them or none."""
        entries = list(entries)
        while True:
            try:
                with self._env.begin(write=True) as txn:
                    for database, key, value in entries:
                        txn.put(key, value, db=self._databases[database])
                return
            except lmdb.MapFullError as error:
                self._grow(error)
            except lmdb.Error as error:
                raise self._explained(error) from None

    def get(self, database: str, key: bytes) -> bytes | None:
        """The value under a key, or None."""
        with self._env.begin() as txn:
            return txn.get(key, db=self._databases[database])

    def count(self, database: str) -> int:
        """Number of entries of a database."""
        with self._env.begin() as txn:
            return txn.stat(self._databases[database])["entries"]

    def _grow(self, error: lmdb.Error) -> None:
        size = self._env.info()["map_size"]
        if size >= self._map_limit:
            raise self._explained(error) from None
        self._env.set_mapsize(min(2 * size, self._map_limit))

    def _explained(self, error: Exception) -> Exception:
        if isinstance(error, DatasetError):
            return error
        if isinstance(error, lmdb.MapFullError):
            return DatasetError(
                f"the LMDB map of {self.path} is full at its limit of {self._map_limit:,} bytes; "
                "what was committed is safe: raise the limit and run the same command again"
            )
        if any(os.strerror(code) in str(error) for code in _NO_ROOM):
            return DatasetError(
                f"no room left to write {self.path} ({error}); what was committed is safe: "
                "free some space and run the same command again"
            )
        return DatasetError(f"cannot write {self.path}: {error}")


class StoreReader:
    """Read access to a store file from any process: picklable, fork- and spawn-safe.

    Raises:
        DatasetError: The file is missing, truncated, or not an LMDB file of this project.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path).resolve()
        self._opened: Opened | None = None
        with self._reading():
            pass

    def __getstate__(self) -> dict:
        return {"path": self.path, "_opened": None}

    def get(self, database: str, key: bytes) -> bytes | None:
        """The value under a key, or None."""
        return self.get_many(database, [key])[0]

    def get_many(self, database: str, keys: Iterable[bytes]) -> list[bytes | None]:
        """The values under many keys, read in one transaction."""
        with self._reading() as (txn, databases):
            return [txn.get(key, db=databases[database]) for key in keys]

    def count(self, database: str) -> int:
        """Number of entries of a database."""
        with self._reading() as (txn, databases):
            return txn.stat(databases[database])["entries"]

    def items(self, database: str) -> Iterator[tuple[bytes, bytes]]:
        """All (key, value) pairs of a database in key order."""
        with self._reading() as (txn, databases):
            yield from txn.cursor(databases[database])

    @contextmanager
    def _reading(self) -> Iterator[tuple[lmdb.Transaction, dict]]:
        opened = self._opened = environments.acquire(self.path, self._opened)
        try:
            with opened.env.begin() as txn:
                yield txn, opened.databases
        except lmdb.Error as error:
            raise DatasetError(
                f"{self.path} is damaged ({error}): copy it again from its source, or generate it "
                "anew"
            ) from None
        finally:
            environments.release(opened)
