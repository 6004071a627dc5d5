"""Shards in a local folder: what is there, what is being fetched, and what goes for lack of room.

    <cache>/<checksum>.lmdb             a shard, named for its content: datasets never mix, equal
                                        shards are kept once, whatever URL they came from
    <cache>/<checksum>.<random>.part    being fetched, or left behind by a process that was killed
    <cache>/locks/                      one fetch of a shard, one choice of what goes, at a time

A shard gets its name only after its size and checksum were compared with the shard list and its
bytes have reached the disk. So its size alone tells later whether it is the one wanted: hashing it
at every opening would read all of it, and each sample carries a checksum of its own.

What goes for lack of room is what was asked for longest ago, of any dataset. Another process may
have it mapped: on POSIX the content then stays readable, and its room is free once all let go.
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

from dsetkit.errors import DatasetError
from dsetkit.store.shard_list import Shard

DEFAULT_BYTES = 100 * 10**9
MOST_KEPT_FREE = 10 * 10**9  # bytes; a twentieth of a smaller disk
FULL = (errno.ENOSPC, errno.EDQUOT)


def default_cache_dir() -> Path:
    """`$DSETKIT_CACHE`, or `dsetkit` where the user's caches are."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("DSETKIT_CACHE") or Path(caches) / "dsetkit")


def parse_bytes(text: str) -> int:
    """A size as people write it: 50GB, 1.5 TB, 64GiB, 1000000.

    Raises:
        DatasetError: Not a size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?))?b?\s*", text, re.IGNORECASE)
    if not found:
        raise DatasetError(f"{text!r} is no size: expected bytes, or something like 50GB")
    number, unit, binary = found.groups()
    power = " kmgt".index((unit or " ").lower())
    return int(float(number) * (1024 if binary else 1000) ** power)


class ShardCache:
    """A folder of shards under a bound, shared by all processes of a machine.

    Args:
        directory: Made when the first shard comes.
        max_bytes: Bound of all shards together; None: see `RemoteShards`.
        take_room: Gives an open file (its descriptor) from an offset on so many bytes of the disk.
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
        """Where a shard is, or will be."""
        return self.directory / f"{shard.checksum}.lmdb"

    def has(self, shard: Shard) -> bool:
        """Whether a shard is there; then this counts as its latest use."""
        path = self.path(shard)
        try:
            if path.stat().st_size != shard.num_bytes:
                return False
        except OSError:
            return False
        try:
            os.utime(path)
        except OSError:
            pass  # a cache that somebody else filled and we may only read: nothing goes there
        return True

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Errors of the local disk, in a line.

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
        """One process and thread at a time; what a killed one held is free again."""
        with filelock.FileLock(self.directory / "locks" / name):
            yield

    def check_bound(self, what: str, num_bytes: int) -> None:
        """Raises a DatasetError where something is larger than the whole cache may be."""
        limit = self._limit()
        if num_bytes > limit:
            raise DatasetError(
                f"{what} takes {num_bytes:,} bytes, and the cache {self.directory} may hold "
                f"{max(limit, 0):,}: raise DSETKIT_CACHE_BYTES, free some space, or choose a "
                "larger disk with DSETKIT_CACHE"
            )

    @contextmanager
    def new_file(self, shard: Shard) -> Iterator[tuple[BinaryIO, Path]]:
        """A file with room for a shard, and its temporary path; gone afterwards, unless kept."""
        with self.locked("room"):
            handle, part = self._reserved(shard)
        try:
            with open(handle, "r+b", buffering=0) as file:
                yield file, part
        finally:
            part.unlink(missing_ok=True)

    def keep(self, file: BinaryIO, part: Path, shard: Shard) -> None:
        """Gives a file that was found whole its name."""
        os.fsync(file.fileno())  # after a power cut the name could outlive the bytes
        os.chmod(part, 0o644)  # others of this machine read it too
        os.replace(part, self.path(shard))

    def _reserved(self, shard: Shard) -> tuple[int, Path]:
        """An open handle and path, the room taken: a full disk shows before anything is fetched."""
        self._sweep(shard)
        taken = sum(size for _, size, _ in self._files("part"))  # others are fetching these
        self.check_bound(shard.name, shard.num_bytes + taken)
        oldest_first = sorted(self._files("lmdb"))
        used = sum(size for _, size, _ in oldest_first)
        limit = self._limit() - taken - shard.num_bytes
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
                if error.errno not in FULL or not oldest_first:
                    raise
                limit = used - 1  # one more must go

    def _sweep(self, shard: Shard) -> None:
        """Removes what killed processes left: whoever fetches holds the lock of its shard."""
        for _, _, part in self._files("part"):
            checksum = part.name.partition(".")[0]
            if checksum == shard.checksum:  # we hold this one
                part.unlink(missing_ok=True)
                continue
            lock = filelock.FileLock(self.directory / "locks" / checksum)
            try:
                with lock.acquire(timeout=0):
                    part.unlink(missing_ok=True)
            except filelock.Timeout:
                pass

    def _files(self, kind: str) -> list[tuple[int, int, Path]]:
        """(last use [ns], bytes, path) of our files of a kind; no other file is ever deleted."""
        found = []
        for path in self.directory.glob("[0-9a-f]" * 32 + f"*.{kind}"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # gone meanwhile
            found.append((status.st_mtime_ns, status.st_size, path))
        return found

    def _limit(self) -> int:
        """Bytes that all shards together may take, those that are there included."""
        if self.max_bytes is not None:
            return self.max_bytes
        used = sum(size for kind in ("lmdb", "part") for _, size, _ in self._files(kind))
        disk = shutil.disk_usage(self.directory)
        spare = disk.free - min(disk.total // 20, MOST_KEPT_FREE)
        return min(DEFAULT_BYTES, used + spare)
