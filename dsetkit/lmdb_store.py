"""Bytes in and out of LMDB files: four named databases, integer keys, one writer, many readers.

Knows nothing of samples. What users of LMDB stumble over is ruled out here, once:

    fork and pickle      a reader keeps a path; it opens on first use in each process
    one path, two opens  environments are shared inside a process (LMDB refuses a second open)
    reader slots, media  readers take no lock file (`lock=False`): nothing to fill, nothing to write
    map growth           the map doubles when full, the transaction is repeated
    truncated file       its size is compared with what LMDB's header promises *before* mapping;
                         reading past the end of a mapped file would kill the process (SIGBUS)

Sources: LMDB's `lmdb.h` and `mdb.c` (meta page layout), py-lmdb's documentation.
"""

import errno
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import lmdb

from dsetkit.errors import DatasetError

DATABASES = ("manifest", "backgrounds", "foregrounds", "samples")
ENGINE_VERSION = ".".join(map(str, lmdb.version()))

FIRST_MAP_SIZE = 1 << 26  # 64 MiB; doubles as needed (sparse on disk)
LARGEST_MAP_SIZE = 1 << 44  # 16 TiB of address space

_META = struct.Struct("<16xII16xI92xQQ")  # magic, version, page size, last page, transaction
_MAGIC = 0xBEEFC0DE
_DATA_VERSION = 1  # LMDB 0.9; 1.0 writes another format
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
            raise DatasetError(
                f"{self.path} is being written by another process: wait for it to end"
            ) from None
        except OSError as error:
            raise DatasetError(f"cannot write {self.path}: {error.strerror}") from None
        try:
            size = _checked_size(self.path) if self.path.exists() else 0
            _close_shared_environment(self.path.resolve())
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
        self._opened: tuple[int, lmdb.Environment, dict] | None = None
        self._environment()

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
        env, databases = self._environment()
        try:
            with env.begin() as txn:
                yield txn, databases
        except lmdb.Error as error:
            raise DatasetError(
                f"{self.path} is damaged ({error}): copy it again from its source, or generate it "
                "anew"
            ) from None

    def _environment(self) -> tuple[lmdb.Environment, dict]:
        shared = _open_environments.get(self.path)
        is_ours = self._opened and shared and self._opened[1] is shared[1]
        if not is_ours or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), *_shared_environment(self.path))
        return self._opened[1:]


_open_environments: dict[Path, tuple[tuple, lmdb.Environment, dict]] = {}


def _shared_environment(path: Path) -> tuple[lmdb.Environment, dict]:
    """The one environment of this process for a path."""
    status = _stat(path)
    identity = (os.getpid(), status.st_dev, status.st_ino, status.st_size)
    if path in _open_environments:
        opened_as, env, databases = _open_environments[path]
        if opened_as == identity:
            return env, databases
        env.close()  # inherited by a fork, or of a file that was replaced or has grown since
    size = _checked_size(path)
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
        env.close()
        raise DatasetError(
            f"{path} is an LMDB file of another program (no database 'manifest'): "
            "expected a dataset made by `python -m dsetkit generate`"
        ) from None
    except lmdb.Error as error:
        raise DatasetError(f"cannot open {path}: {error}") from None
    _open_environments[path] = (identity, env, databases)
    return env, databases


def _close_shared_environment(path: Path) -> None:
    """Makes way for a writer in this process; readers open anew at their next read."""
    if path in _open_environments:
        _open_environments.pop(path)[1].close()


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from None


def _physical_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _checked_size(path: Path) -> int:
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
