"""The shard list, `shards.json`, which names the shards of a complete dataset.

It lies beside the shards. Each object store lists and checks files in its own way, and some web
servers do neither; a shard list works with all of them. It is written last and read first:

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
from typing import Any

import xxhash

from dsetkit.errors import DatasetError
from dsetkit.files import write_whole

FILE_NAME = "shards.json"
FORMAT = "dsetkit-shards"
VERSION = 1

Progress = Callable[[int, int], None]  # (done, total) [bytes]

_BLOCK = 1 << 22  # bytes hashed at once; other threads run while xxhash works
_THREADS = 4
LARGEST_SHARD = 1 << 50  # bytes
MOST_SHARDS = 100_000  # their names have five digits
_NAME = re.compile(r"\w[\w.-]*", re.ASCII)  # a file name without folder; needs no quoting in URLs
_CHECKSUM = re.compile(r"[0-9a-f]{32}")

LIST_AGAIN = "run `dsetkit list-shards` again and upload shards.json beside the shards"


@dataclass(frozen=True)
class Shard:
    """One shard in a shard list.

    Attributes:
        name: Its file name, without a folder.
        num_bytes: Its size.
        checksum: xxh3-128 of its content, 32 hex digits.
    """

    name: str
    num_bytes: int
    checksum: str


@dataclass(frozen=True)
class ShardList:
    """The shards of a complete dataset.

    Attributes:
        fingerprint: `Manifest.fingerprint` of the dataset.
        shards: The shards in the order of their numbers.
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
        """The shard with a name.

        Raises:
            DatasetError: The list has no shard with this name.
        """
        if name not in self._by_name:
            raise DatasetError(
                f"no shard {name!r}: the shard list has {len(self.shards)}, from "
                f"{self.shards[0].name} to {self.shards[-1].name}"
            )
        return self._by_name[name]

    def to_json(self) -> str:
        """The content of `shards.json`; equal lists give equal text."""
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
        """Parses a shard list and checks every entry, because names become paths on this machine.

        Args:
            content: The content of the file.
            source: Its path or URL, for messages.

        Raises:
            DatasetError: It is not JSON, it is from another program or a newer dsetkit, or it is
                damaged.
        """
        try:
            parsed = json.loads(content)
        except (ValueError, RecursionError):
            raise DatasetError(
                f"{source} is not JSON: expected the shard list of a dataset; {LIST_AGAIN}"
            ) from None
        if not isinstance(parsed, dict) or parsed.get("format") != FORMAT:
            raise DatasetError(
                f"{source} is JSON of another program (no format {FORMAT!r}): expected the shard "
                f"list of a dataset; {LIST_AGAIN}"
            )
        version = parsed.get("version")
        if type(version) is int and version > VERSION:
            raise DatasetError(
                f"{source} has version {version}, this dsetkit reads {VERSION}: update dsetkit"
            )
        fault = _find_fault(parsed)
        if fault:
            raise DatasetError(f"{source} is damaged ({fault}): {LIST_AGAIN}")
        shards = (Shard(row["name"], row["bytes"], row["xxh3_128"]) for row in parsed["shards"])
        return cls(parsed["fingerprint"], tuple(shards))

    def write(self, directory: Path) -> Path:
        """Writes `shards.json` into the dataset's directory; a failed write leaves no part of it.

        Returns:
            The path of the file.

        Raises:
            DsetkitError: The directory cannot be written to, or the disk is full.
        """
        path = Path(directory) / FILE_NAME
        write_whole(path, self.to_json().encode())
        return path


def _find_fault(parsed: dict[str, Any]) -> str:
    """Describes the first fault of a shard list in a few words; empty if there is none."""
    if set(parsed) != {"format", "version", "fingerprint", "shards"} or parsed["version"] != 1:
        return "expected format, version, fingerprint and shards, and nothing else"
    if not isinstance(parsed["fingerprint"], str) or len(parsed["fingerprint"]) > 64:
        return "the fingerprint is not a short text"
    rows = parsed["shards"]
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_SHARDS:
        return f"it lists no shards, or more than {MOST_SHARDS:,}"
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or set(row) != {"name", "bytes", "xxh3_128"}:
            return f"shard {number}: expected name, bytes and xxh3_128"
        if not isinstance(row["name"], str) or not _NAME.fullmatch(row["name"]):
            return f"shard {number}: {row['name']!r} is not a plain file name"
        if type(row["bytes"]) is not int or not 0 < row["bytes"] <= LARGEST_SHARD:
            return f"{row['name']}: {row['bytes']!r} is not a size in bytes"
        if not isinstance(row["xxh3_128"], str) or not _CHECKSUM.fullmatch(row["xxh3_128"]):
            return f"{row['name']}: {row['xxh3_128']!r} is not a checksum of 32 hex digits"
    if len({row["name"] for row in rows}) != len(rows):
        return "two shards have the same name"
    return ""


def make_shard_list(
    files: Sequence[Path],
    *,
    fingerprint: str,
    threads: int = _THREADS,
    progress: Progress | None = None,
) -> ShardList:
    """Makes the shard list of a dataset. This reads all shards to compute their checksums.

    Args:
        files: The shards in the order of their numbers; at least one.
        fingerprint: `Manifest.fingerprint` of the dataset.
        threads: Files to hash at once.
        progress: Called with (bytes done, bytes in all) after each block.

    Raises:
        DatasetError: A file cannot be read, is empty, or has a name that needs quoting in a URL.
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
    # Parsing the list again checks its names and sizes.
    return ShardList.from_json(made.to_json(), source="the list of these files")


def checksum_of(path: Path, advance: Callable[[int], None] | None = None) -> str:
    """xxh3-128 of a file's content, 32 hex digits.

    Args:
        path: The file.
        advance: Called with the number of bytes of each block.

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
