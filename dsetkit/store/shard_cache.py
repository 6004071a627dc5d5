"""The cache of shards: the local folder that keeps shards fetched from elsewhere.

    <cache>/<checksum>.lmdb             a shard. Its name is the checksum of its content, so shards
                                        of different datasets cannot be mixed up, and equal shards
                                        from different URLs are kept once.
    <cache>/<checksum>.<random>.part    a shard that is being fetched, or that a killed process left
    <cache>/locks/                      one lock for each shard that is being fetched, and one for
                                        reserving and freeing space

A shard gets its name only after its size and checksum match the shard list and its bytes are on
the disk. Later, its size alone is checked. A checksum would read the whole file each time it is
opened, and each sample has its own checksum.

When the cache is full, it deletes the shards that were requested longest ago, from any dataset.
Another process may still have such a shard mapped. On POSIX that process can go on reading, and
the space is free once no process has the file open.
"""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import filelock

from dsetkit.arguments import shown
from dsetkit.errors import DatasetError
from dsetkit.store.shard_list import Shard

DEFAULT_BYTES = 100 * 10**9
MOST_KEPT_FREE = 10 * 10**9  # bytes; on disks below 200 GB, a twentieth of the disk
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def default_cache_dir() -> Path:
    """`$DSETKIT_CACHE`; if it is not set, `dsetkit` in `$XDG_CACHE_HOME` or `~/.cache`."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("DSETKIT_CACHE") or Path(caches) / "dsetkit")


def parse_bytes(text: str) -> int:
    """Parses a size in bytes, such as 50GB, 1.5 TB, 64GiB or 1000000.

    Raises:
        DatasetError: The text is not a size.
    """
    size = r"\s*([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*(?:([kmgt])(i?))?b?\s*"
    found = re.fullmatch(size, text, re.IGNORECASE)
    if not found:
        raise DatasetError(f"{shown(text)} is no size: expected bytes, or something like 50GB")
    number, unit, binary = found.groups()
    power = " kmgt".index((unit or " ").lower())
    return int(float(number) * (1024 if binary else 1000) ** power)


class ShardCache:
    """A folder of shards with a size limit, which all processes of a machine share.

    Args:
        directory: The folder. The first fetch creates it.
        max_bytes: Limit of all shards together; None means the default limit of `RemoteShards`.
        take_room: (file descriptor, offset, bytes): reserves disk space for the file [bytes].
    """

    def __init__(
        self,
        directory: Path,
        max_bytes: int | None,
        *,
        take_room: Callable[[int, int, int], None] = os.posix_fallocate,
    ) -> None:
        self.directory = directory.expanduser().absolute()
        self.max_bytes = max_bytes
        self._take_room = take_room

    def path(self, shard: Shard) -> Path:
        """The path of a shard, whether or not the cache has it."""
        return self.directory / f"{shard.checksum}.lmdb"

    def has(self, shard: Shard) -> bool:
        """Whether the cache has a shard. If so, this marks the shard as used now."""
        path = self.path(shard)
        try:
            if path.stat().st_size != shard.num_bytes:
                return False
        except OSError:
            return False
        try:
            os.utime(path)
        except OSError:
            pass  # the cache is read-only for this user, so this process deletes nothing from it
        return True

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Creates the folder, and turns each OSError in the block into a DatasetError.

        Raises:
            DatasetError: The folder cannot be written to, or its disk is full.
        """
        try:
            (self.directory / "locks").mkdir(parents=True, exist_ok=True)
            yield
        except OSError as error:
            raise DatasetError(
                f"cannot write the cache {self.directory} ({error.strerror}): free some space, or "
                "choose another folder with DSETKIT_CACHE"
            ) from None

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Lets one thread of one process into the block at a time.

        The operating system releases the lock of a process that was killed.
        """
        with filelock.FileLock(self.directory / "locks" / name):
            yield

    def check_fits(self, what: str, num_bytes: int) -> None:
        """Raises a DatasetError if `num_bytes` is more than the limit of the whole cache.

        Args:
            what: What takes the bytes, for the message.
            num_bytes: Its size.
        """
        limit = self._limit()
        if num_bytes > limit:
            raise DatasetError(
                f"{what} takes {num_bytes:,} bytes, and the cache {self.directory} may hold "
                f"{max(limit, 0):,}: raise DSETKIT_CACHE_BYTES, free some space, or choose a "
                "larger disk with DSETKIT_CACHE"
            )

    @contextmanager
    def new_file(self, shard: Shard) -> Iterator[tuple[BinaryIO, Path]]:
        """A file with reserved space for a shard, and its temporary path.

        The file is deleted after the block, unless `keep` renamed it.
        """
        with self.locked("room"):  # all versions of dsetkit use this name
            handle, part = self._reserve(shard)
        try:
            with open(handle, "r+b", buffering=0) as file:
                yield file, part
        finally:
            part.unlink(missing_ok=True)

    def keep(self, file: BinaryIO, part: Path, shard: Shard) -> None:
        """Gives a complete file its final name."""
        os.fsync(file.fileno())  # without this, a power cut could keep the name and lose the bytes
        os.chmod(part, 0o644)  # lets other users of this machine read it
        os.replace(part, self.path(shard))

    def _reserve(self, shard: Shard) -> tuple[int, Path]:
        """Reserves disk space for a shard before it is fetched: an open file handle and its path.

        Deletes older shards as far as needed.
        """
        self._delete_leftovers(shard)
        reserved = sum(size for _, size, _ in self._files("part"))  # other processes fetch these
        self.check_fits(shard.name, shard.num_bytes + reserved)
        oldest_first = sorted(self._files("lmdb"))
        used = sum(size for _, size, _ in oldest_first)
        limit = self._limit() - reserved - shard.num_bytes
        while True:
            while used > limit and oldest_first:
                _, size, path = oldest_first.pop(0)
                path.unlink(missing_ok=True)
                used -= size
            handle, part = tempfile.mkstemp(".part", f"{shard.checksum}.", self.directory)
            try:
                self._take_room(handle, 0, shard.num_bytes)
                return handle, Path(part)
            except OSError as error:
                os.close(handle)
                os.unlink(part)
                if error.errno not in DISK_FULL or not oldest_first:
                    raise
                limit = used - 1  # delete one more shard and try again

    def _delete_leftovers(self, shard: Shard) -> None:
        """Deletes the temporary files of killed processes.

        A process that is fetching a shard holds its lock. The caller holds the lock of `shard`.
        """
        for _, _, part in self._files("part"):
            checksum = part.name.partition(".")[0]
            if checksum == shard.checksum:
                part.unlink(missing_ok=True)
                continue
            lock = filelock.FileLock(self.directory / "locks" / checksum)
            try:
                with lock.acquire(timeout=0):
                    part.unlink(missing_ok=True)
            except filelock.Timeout:
                pass

    def _files(self, kind: str) -> list[tuple[int, int, Path]]:
        """(last use [ns], bytes, path) of the cache's files that end in `kind`.

        The cache deletes only files that this lists.
        """
        found = []
        for path in self.directory.glob("[0-9a-f]" * 32 + f"*.{kind}"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # another process has just deleted or renamed it
            found.append((status.st_mtime_ns, status.st_size, path))
        return found

    def _limit(self) -> int:
        """Limit of all shards together [bytes]."""
        if self.max_bytes is not None:
            return self.max_bytes
        used = sum(size for kind in ("lmdb", "part") for _, size, _ in self._files(kind))
        disk = shutil.disk_usage(self.directory)
        spare = disk.free - min(disk.total // 20, MOST_KEPT_FREE)
        return min(DEFAULT_BYTES, used + spare)
