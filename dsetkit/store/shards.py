"""Which samples lie in which file of a dataset, and reading the files as if they were one.

A dataset is a folder of shards, `shard-00000.lmdb` and on. Each holds a contiguous range of the
samples under their numbers in the whole dataset, and the manifest; where the borders lie follows
from the manifest alone, so any one shard tells where every sample is. The first shard holds besides
what belongs to the whole: the split cells, the backgrounds and the foregrounds.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from dsetkit.errors import DatasetError, UnfinishedError
from dsetkit.store import manifest as m
from dsetkit.store.lmdb_store import StoreReader, u64_key
from dsetkit.store.remote import RemoteShards
from dsetkit.store.shard_list import ShardList, make_shard_list

SHARD_NAME = "shard-{:05d}.lmdb"
_SHARD_PATTERN = re.compile(r"shard-(\d{5,})\.lmdb")


def shard_path(dataset: Path, number: int = 0) -> Path:
    """The file of a shard."""
    return Path(dataset) / SHARD_NAME.format(number)


def shard_number(name: str) -> int | None:
    """The number in the name of a shard's file; None for any other name."""
    matched = _SHARD_PATTERN.fullmatch(name)
    return int(matched[1]) if matched else None


def shard_ranges(manifest: m.Manifest) -> list[range]:
    """The indices of each shard's samples: as even as whole teacher batches allow.

    A network's answer can depend in its last bit on the batch it is asked in. With borders between
    batches, the same samples come out whatever the number of shards.

    Raises:
        DatasetError: There are more shards than batches.
    """
    shards, batch = manifest.shard["shards"], manifest.teacher.get("batch_size", 1)
    batches = -(-manifest.num_samples // batch)
    if not 1 <= shards <= max(batches, 1):
        raise DatasetError(
            f"{shards:,} shards: expected 1 to {max(batches, 1):,}, one for each batch of {batch} "
            f"of the {manifest.num_samples:,} samples"
        )
    borders = [min(k * batches // shards * batch, manifest.num_samples) for k in range(shards + 1)]
    return [range(first, stop) for first, stop in zip(borders[:-1], borders[1:], strict=True)]


class ShardFiles(Protocol):
    """Where the shards of a dataset come from."""

    def numbers(self) -> list[int]:
        """The numbers of the shards that are there, ascending."""

    def local(self, number: int) -> Path:
        """A file of this machine that holds a shard; asked for right before it is read."""

    def num_bytes(self, number: int) -> int:
        """The size of a shard."""


class FolderShards:
    """The shards of a folder.

    Raises:
        DatasetError: There are none.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise DatasetError(f"no dataset at {path}: expected a directory with shard-*.lmdb")
        if not self.numbers():
            raise DatasetError(
                f"{path} is not a dataset: expected a directory with shard-*.lmdb, "
                "as `python -m dsetkit generate` makes it"
            )

    def numbers(self) -> list[int]:
        """See `ShardFiles`."""
        names = (file.name for file in self.path.iterdir()) if self.path.is_dir() else ()
        return sorted(n for n in map(shard_number, names) if n is not None)

    def local(self, number: int) -> Path:
        """See `ShardFiles`."""
        return shard_path(self.path, number)

    def num_bytes(self, number: int) -> int:
        """See `ShardFiles`."""
        return self.local(number).stat().st_size


class AddressShards:
    """The shards at an address, fetched when they are asked for; see `remote`.

    Raises:
        DatasetError: As `RemoteShards`.
    """

    def __init__(self, address: str) -> None:
        self._remote = RemoteShards(address)
        self._sizes = {
            shard_number(shard.name): shard.num_bytes for shard in self._remote.shard_list.shards
        }

    def numbers(self) -> list[int]:
        """See `ShardFiles`."""
        return sorted(self._sizes)

    def local(self, number: int) -> Path:
        """See `ShardFiles`."""
        return self._remote.local(SHARD_NAME.format(number))

    def num_bytes(self, number: int) -> int:
        """See `ShardFiles`."""
        return self._sizes[number]


class Shards:
    """The shards of a dataset as one store; each is opened, and held against the first, when asked.

    Args:
        files: Where they come from.
        allow_incomplete: Accept shards that are not there or not whole yet.

    Attributes:
        manifest: That of the first shard that is there.

    Raises:
        DatasetError: Not a dataset, a newer format, a shard that is missing, too much, of another
            dataset or not complete.
    """

    def __init__(self, files: ShardFiles, name: str, *, allow_incomplete: bool = False) -> None:
        self._files, self._name, self._allow_incomplete = files, name, allow_incomplete
        self._there = files.numbers()
        self._readers: dict[int, StoreReader] = {}
        first = StoreReader(files.local(self._there[0]))
        self.manifest = self._read_manifest(first)
        self.ranges = shard_ranges(self.manifest)
        self._starts = [indices.start for indices in self.ranges]
        self._check_numbers()
        self.reader(self._there[0])

    def __getstate__(self) -> dict:
        return vars(self) | {"_readers": {}}

    def __len__(self) -> int:
        """Samples that are there; of a whole dataset no other shard needs to be opened for it."""
        if not self._allow_incomplete:
            return self.manifest.num_samples
        return sum(len(indices) for indices in self.there())

    @property
    def whole(self) -> StoreReader:
        """The shard that holds what belongs to the whole dataset."""
        return self.reader(0)

    def reader(self, number: int) -> StoreReader:
        """The store of a shard."""
        if number not in self._there:
            raise DatasetError(
                f"{self._name} has no {SHARD_NAME.format(number)}: make it with the command that "
                "makes the dataset, or copy it from its source"
            )
        path = self._files.local(number)  # may have to be fetched again
        if number not in self._readers:
            reader = StoreReader(path)
            self._check(number, reader)
            self._readers[number] = reader
        return self._readers[number]

    def number_of(self, index: int) -> int:
        """The shard of a sample."""
        return bisect_right(self._starts, index) - 1

    def get_many(self, indices: Sequence[int]) -> list[bytes | None]:
        """The stored samples of some indices, one transaction for each shard; None = not there."""
        if len(self.ranges) == 1:
            return self.reader(0).get_many("samples", [u64_key(int(i)) for i in indices])
        places: dict[int, list[int]] = {}
        for place, index in enumerate(indices):
            places.setdefault(self.number_of(index), []).append(place)
        found: list[bytes | None] = [None] * len(indices)
        for number, some in places.items():
            keys = [u64_key(int(indices[place])) for place in some]
            packed = self.reader(number).get_many("samples", keys)
            for place, one in zip(some, packed, strict=True):
                found[place] = one
        return found

    def there(self) -> Iterator[range]:
        """The indices of the samples that each shard holds by now; opens all of them."""
        for number in self._there:
            first = self.ranges[number].start
            yield range(first, first + self.reader(number).count("samples"))

    def is_complete(self) -> bool:
        """Whether every shard is there and whole; opens all of them."""
        return len(self._there) == len(self.ranges) and all(
            self._read_manifest(self.reader(number)).complete for number in self._there
        )

    def num_bytes(self) -> int:
        """Size of all files together."""
        return sum(map(self._files.num_bytes, self._there))

    # ---- checks --------------------------------------------------------------------------------

    def _check_numbers(self) -> None:
        shards = len(self.ranges)
        missing = sorted(set(range(shards)) - set(self._there))
        if missing and not self._allow_incomplete:
            names = ", ".join(SHARD_NAME.format(number) for number in missing[:3])
            more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
            raise DatasetError(
                f"{self._name} is not complete: of {shards:,} shards there are {len(self._there):,}"
                f", {names}{more} missing; run the command that makes it again, or copy them from "
                "their source"
            )
        surplus = [number for number in self._there if number >= shards]
        if surplus:
            raise DatasetError(
                f"{self._name} has {shards:,} shards, but {SHARD_NAME.format(surplus[0])} lies "
                "there too: it belongs to another dataset, take it away"
            )

    def _check(self, number: int, reader: StoreReader) -> None:
        manifest, shards = self._read_manifest(reader), len(self.ranges)
        name = self._name if shards == 1 else f"{self._name}/{SHARD_NAME.format(number)}"
        # Splits are the whole dataset's: a new one is written into the first shard alone.
        differences = self.manifest.differences(manifest, ignoring=("shard", "splits"))
        if differences:
            raise DatasetError(
                f"{name} belongs to another dataset ({differences[0]}): put the dataset's own "
                "shard there"
            )
        if manifest.shard != {"number": number, "shards": shards}:
            says = "shard {number} of {shards}".format(**manifest.shard)
            raise DatasetError(
                f"{name} is {says}, expected {number} of {shards}: give the files their own names"
            )
        if not (manifest.complete or self._allow_incomplete):
            raise DatasetError(
                f"{name} is not complete: {reader.count('samples'):,} of "
                f"{len(self.ranges[number]):,} samples; run the command that makes it again, it "
                "continues where it stopped"
            )

    def _read_manifest(self, reader: StoreReader) -> m.Manifest:
        packed = reader.get("manifest", m.MANIFEST_KEY)
        if packed is None:
            raise UnfinishedError(
                f"{self._name} has no manifest: run the command that makes it again"
            )
        return m.Manifest.from_bytes(packed)


def list_shards(
    path: Path, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> ShardList:
    """Writes the shard list of a dataset, which readers of object storage go by.

    Args:
        path: The directory of a complete dataset.
        progress: Called with (bytes done, bytes in all).

    Raises:
        DatasetError: As `Shards`, or a shard is not complete.
    """
    files = FolderShards(path)
    shards = Shards(files, str(path))
    if not shards.is_complete():
        raise DatasetError(f"{path} is not complete: run the command that makes it again first")
    made = make_shard_list(
        [files.local(number) for number in files.numbers()],
        fingerprint=shards.manifest.fingerprint,
        progress=progress,
    )
    made.write(Path(path))
    return made
