"""The shard list: `shards.json`, beside the shards of a dataset, tells what a whole copy is.

Object stores and web servers list and check files each in a way of their own, or not at all. This
file is the same everywhere; it is written last and read first:

    {"format": "dsetkit-shards", "version": 1, "fingerprint": "...",
     "shards": [{"name": "shard-00000.lmdb", "bytes": 1048576, "xxh3_128": "32 hex digits"}, ...]}
"""

import json
import os
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import xxhash

from dsetkit.errors import DatasetError
from dsetkit.files import write_whole

FILE_NAME = "shards.json"
FORMAT = "dsetkit-shards"
VERSION = 1

Progress = Callable[[int, int], None]  # (done, total) [bytes]

_BLOCK = 1 << 22  # bytes hashed at once: xxhash lets other threads run meanwhile
_THREADS = 4
_NAME = re.compile(r"\w[\w.-]*", re.ASCII)  # a plain file name: no folder, nothing to quote
_CHECKSUM = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Shard:
    """One file of a dataset.

    Attributes:
        name: Its file name, without any folder.
        num_bytes: Its size.
        checksum: xxh3-128 of its content, 32 hex digits.
    """

    name: str
    num_bytes: int
    checksum: str


@dataclass(frozen=True)
class ShardList:
    """What a whole copy of a dataset consists of.

    Attributes:
        fingerprint: The dataset's, as its maker gave it.
        shards: In the order of their numbers.
    """

    fingerprint: str
    shards: tuple[Shard, ...]

    @property
    def num_bytes(self) -> int:
        """Size of all shards together."""
        return sum(shard.num_bytes for shard in self.shards)

    @cached_property
    def _by_name(self) -> dict[str, Shard]:
        return {shard.name: shard for shard in self.shards}

    def shard(self, name: str) -> Shard:
        """The shard of a name.

        Raises:
            DatasetError: The list has no such shard.
        """
        if name not in self._by_name:
            raise DatasetError(
                f"no shard {name!r}: the shard list has {len(self.shards)}, from "
                f"{self.shards[0].name} to {self.shards[-1].name}"
            )
        return self._by_name[name]

    def to_json(self) -> str:
        """The content of `shards.json`; the same list gives the same text."""
        rows = [
            {"name": shard.name, "bytes": shard.num_bytes, "xxh3_128": shard.checksum}
            for shard in self.shards
        ]
        content = {
            "format": FORMAT,
            "version": VERSION,
            "fingerprint": self.fingerprint,
            "shards": rows,
        }
        return json.dumps(content, indent=1) + "\n"

    @classmethod
    def from_json(cls, content: bytes | str, *, source: str = FILE_NAME) -> "ShardList":
        """Reads a shard list, and takes nothing on trust: names become paths, sizes become room.

        Args:
            content: What the file holds.
            source: Its path or URL, for messages.

        Raises:
            DatasetError: Not JSON, of another program, of a newer dsetkit, or damaged.
        """
        try:
            parsed = json.loads(content)
        except (ValueError, RecursionError):
            raise DatasetError(
                f"{source} is not JSON: expected the shard list of a dataset; {_AGAIN}"
            ) from None
        if not isinstance(parsed, dict) or parsed.get("format") != FORMAT:
            raise DatasetError(
                f"{source} is JSON of another program (no format {FORMAT!r}): expected the shard "
                f"list of a dataset; {_AGAIN}"
            )
        version = parsed.get("version")
        if type(version) is int and version > VERSION:
            raise DatasetError(
                f"{source} has version {version}, this dsetkit reads {VERSION}: update dsetkit"
            )
        fault = _fault(parsed)
        if fault:
            raise DatasetError(f"{source} is damaged ({fault}): {_AGAIN}")
        shards = (Shard(row["name"], row["bytes"], row["xxh3_128"]) for row in parsed["shards"])
        return cls(parsed["fingerprint"], tuple(shards))

    def write(self, directory: Path) -> Path:
        """Writes `shards.json` into the dataset's directory, whole or not at all.

        Returns:
            The file.

        Raises:
            DsetkitError: The place cannot be written to, or has no room left.
        """
        path = Path(directory) / FILE_NAME
        write_whole(path, self.to_json().encode())
        return path


_AGAIN = "write it again and upload it beside the shards"


def _fault(parsed: dict) -> str:
    """What is wrong with a list of this format, in a few words; empty if nothing."""
    if set(parsed) != {"format", "version", "fingerprint", "shards"} or parsed["version"] != 1:
        return "other entries than format, version, fingerprint and shards"
    if not isinstance(parsed["fingerprint"], str):
        return "the fingerprint is no text"
    rows = parsed["shards"]
    if not isinstance(rows, list) or not rows:
        return "no shards"
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or set(row) != {"name", "bytes", "xxh3_128"}:
            return f"shard {number}: expected name, bytes and xxh3_128"
        if not isinstance(row["name"], str) or not _NAME.fullmatch(row["name"]):
            return f"shard {number}: {row['name']!r} is no plain file name"
        if type(row["bytes"]) is not int or row["bytes"] <= 0:
            return f"{row['name']}: {row['bytes']!r} is no size in bytes"
        if not isinstance(row["xxh3_128"], str) or not _CHECKSUM.fullmatch(row["xxh3_128"]):
            return f"{row['name']}: {row['xxh3_128']!r} is no checksum of 32 hex digits"
    if len({row["name"] for row in rows}) != len(rows):
        return "two shards of one name"
    return ""


def make_shard_list(
    files: Sequence[Path],
    *,
    fingerprint: str,
    threads: int = _THREADS,
    progress: Progress | None = None,
) -> ShardList:
    """Hashes the shards of a dataset.

    Args:
        files: The shards, in the order of their numbers; at least one.
        fingerprint: The dataset's.
        threads: Files hashed at once.
        progress: Told of the bytes done and their total after each block.

    Raises:
        DatasetError: A file cannot be read, is empty, or has a name that no URL can take as it is.
    """
    sizes = [_size(path) for path in files]
    total, done, lock = sum(sizes), 0, threading.Lock()

    def advance(num_bytes: int) -> None:
        nonlocal done
        with lock:
            done += num_bytes
            if progress:
                progress(done, total)

    with ThreadPoolExecutor(max(1, min(threads, len(files)))) as pool:
        checksums = list(pool.map(lambda path: checksum_of(path, advance), files))
    shards = map(Shard, (Path(path).name for path in files), sizes, checksums)
    made = ShardList(fingerprint, tuple(shards))
    # What nobody could read back is not handed out.
    return ShardList.from_json(made.to_json(), source="the list of these files")


def checksum_of(path: Path, advance: Callable[[int], None] | None = None) -> str:
    """xxh3-128 of a file's content, 32 hex digits.

    Args:
        path: The file.
        advance: Told of the bytes of each block.

    Raises:
        DatasetError: The file cannot be read.
    """
    digest = xxhash.xxh3_128()
    buffer = memoryview(bytearray(_BLOCK))
    try:
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
                if advance:
                    advance(count)
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from None
    return digest.hexdigest()


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from None
