"""How a dataset is divided into shards, and reading the shards as one store.

A dataset is a folder of shards: `shard-00000.lmdb`, `shard-00001.lmdb` and so on. Each shard holds
the manifest and a contiguous range of the samples. A sample's key is its index in the whole
dataset. The manifest alone decides the ranges, so any one shard tells which shard holds a sample.
The first shard also holds the split cells, the backgrounds and the foregrounds of the dataset.
"""

import itertools
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dsetkit.errors import DatasetError, UnfinishedError
from dsetkit.store import manifest as m
from dsetkit.store.lmdb_store import StoreReader, u64_key
from dsetkit.store.remote import RemoteShards
from dsetkit.store.shard_list import LIST_AGAIN, ShardList, make_shard_list

SHARD_NAME = "shard-{:05d}.lmdb"
_SHARD_PATTERN = re.compile(r"shard-(\d{5,})\.lmdb")


def shard_path(dataset: Path, number: int = 0) -> Path:
    """The path of a shard in a dataset's directory."""
    return Path(dataset) / SHARD_NAME.format(number)


def shard_number(name: str) -> int | None:
    """The number in a shard's file name; None if the name is not a shard's."""
    matched = _SHARD_PATTERN.fullmatch(name)
    return int(matched[1]) if matched else None


def shard_ranges(manifest: m.Manifest) -> list[range]:
    """The range of sample indices of each shard.

    The ranges consist of whole teacher batches and are as even as that allows. The last bit of a
    network's output can depend on the batch. So that the number of shards does not change any
    sample, no batch is split between two shards.

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
    return [range(first, stop) for first, stop in itertools.pairwise(borders)]


class ShardFiles(Protocol):
    """The files of a dataset's shards."""

    def numbers(self) -> list[int]:
        """The numbers of the shards that exist, ascending."""

    def local(self, number: int) -> Path:
        """The path of a shard on this machine. Call it right before the shard is read."""

    def num_bytes(self, number: int) -> int:
        """The size of a shard."""


class FolderShards:
    """The shards in a local folder.

    Raises:
        DatasetError: The folder does not exist or has no shards.
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


class UrlShards:
    """The shards at a URL. `local` fetches a shard; see `remote`.

    Raises:
        DatasetError: As `RemoteShards`, or the shard list has a name that is not a shard's.
    """

    def __init__(self, url: str) -> None:
        self._remote = RemoteShards(url)
        self._sizes: dict[int, int] = {}
        for shard in self._remote.shard_list.shards:
            number = shard_number(shard.name)
            if number is None:
                raise DatasetError(
                    f"the shard list at {url} has {shard.name}: expected names like "
                    f"{SHARD_NAME.format(0)}; {LIST_AGAIN}"
                )
            self._sizes[number] = shard.num_bytes

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
    """Reads the shards of a dataset as one store.

    It opens a shard when it is first used, and compares its manifest with that of the first shard.
    It does so again when a shard was replaced by another file meanwhile.

    Args:
        files: The files of the shards.
        name: The dataset's path or URL, for messages.
        allow_incomplete: Whether to accept a dataset with missing or incomplete shards.

    Attributes:
        manifest: The manifest of the existing shard with the lowest number.
        ranges: The sample indices of each shard, see `shard_ranges`.

    Raises:
        DatasetError: It is not a dataset, its format is newer, or a shard is missing, surplus,
            incomplete or from another dataset.
    """

    def __init__(self, files: ShardFiles, name: str, *, allow_incomplete: bool = False) -> None:
        self._files, self._name, self._allow_incomplete = files, name, allow_incomplete
        self._numbers = files.numbers()
        self._readers: dict[int, StoreReader] = {}
        lowest = StoreReader(files.local(self._numbers[0]))
        self.manifest = self._read_manifest(lowest)
        self.ranges = shard_ranges(self.manifest)
        self._starts = [indices.start for indices in self.ranges]
        self._check_numbers()
        self.reader(self._numbers[0])

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_readers": {}}

    def __len__(self) -> int:
        """The number of stored samples. For a complete dataset this opens no further shards."""
        if not self._allow_incomplete:
            return self.manifest.num_samples
        return sum(len(indices) for indices in self.stored_ranges())

    @property
    def first(self) -> StoreReader:
        """The first shard, which holds the split cells, the backgrounds and the foregrounds."""
        return self.reader(0)

    def reader(self, number: int) -> StoreReader:
        """The store of a shard.

        Raises:
            DatasetError: The shard is missing, incomplete, damaged or from another dataset.
        """
        if number not in self._numbers:
            raise DatasetError(
                f"{self._name} has no {SHARD_NAME.format(number)}: make it with the command that "
                "makes the dataset, or copy it from its source"
            )
        path = self._files.local(number)  # fetches the shard again if the cache deleted it
        if number not in self._readers:
            self._readers[number] = StoreReader(path, check=partial(self._check, number))
        return self._readers[number]

    def number_of(self, index: int) -> int:
        """The number of the shard that holds a sample."""
        return bisect_right(self._starts, index) - 1

    def get_many(self, indices: Sequence[int] | np.ndarray) -> list[bytes | None]:
        """The packed records of some samples, read in one transaction for each shard.

        Returns:
            A list as long as `indices`, with None for samples that are missing.
        """
        if len(self.ranges) == 1:
            return self.reader(0).get_many("samples", [u64_key(int(i)) for i in indices])
        places: dict[int, list[int]] = {}
        for place, index in enumerate(indices):
            places.setdefault(self.number_of(index), []).append(place)
        found: list[bytes | None] = [None] * len(indices)
        for number, shard_places in places.items():
            keys = [u64_key(int(indices[place])) for place in shard_places]
            records = self.reader(number).get_many("samples", keys)
            for place, packed in zip(shard_places, records, strict=True):
                found[place] = packed
        return found

    def stored_ranges(self) -> Iterator[range]:
        """The sample indices that each shard holds at present. This opens all shards."""
        for number in self._numbers:
            start = self.ranges[number].start
            yield range(start, start + self.reader(number).count("samples"))

    def is_complete(self) -> bool:
        """Whether all shards exist and are complete. This opens all shards."""
        return len(self._numbers) == len(self.ranges) and all(
            self._read_manifest(self.reader(number)).complete for number in self._numbers
        )

    def num_bytes(self) -> int:
        """The size of all shards together."""
        return sum(map(self._files.num_bytes, self._numbers))

    # ---- checks --------------------------------------------------------------------------------

    def _check_numbers(self) -> None:
        shards = len(self.ranges)
        missing = sorted(set(range(shards)) - set(self._numbers))
        if missing and not self._allow_incomplete:
            names = ", ".join(SHARD_NAME.format(number) for number in missing[:3])
            more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
            raise DatasetError(
                f"{self._name} is not complete: it has {len(self._numbers):,} of {shards:,} shards "
                f"and lacks {names}{more}; run the command that makes it again, or copy them from "
                "their source"
            )
        surplus = [number for number in self._numbers if number >= shards]
        if surplus:
            raise DatasetError(
                f"{self._name} has {shards:,} shards, but it also contains "
                f"{SHARD_NAME.format(surplus[0])}, which belongs to another dataset: remove it"
            )

    def _check(self, number: int, reader: StoreReader) -> None:
        manifest, shards = self._read_manifest(reader), len(self.ranges)
        name = self._name if shards == 1 else f"{self._name}/{SHARD_NAME.format(number)}"
        # `dsetkit split` writes new splits into the first shard only.
        differences = manifest.differences(self.manifest, ignoring=("shard", "splits"))
        if differences:
            raise DatasetError(
                f"{name} belongs to another dataset ({differences[0]}): replace it by this "
                "dataset's shard"
            )
        if manifest.shard != {"number": number, "shards": shards}:
            found = "shard {number} of {shards}".format(**manifest.shard)
            raise DatasetError(
                f"{name} is {found}, expected {number} of {shards}: rename the files"
            )
        if not (manifest.complete or self._allow_incomplete):
            raise DatasetError(
                f"{name} is not complete: {reader.count('samples'):,} of "
                f"{len(self.ranges[number]):,} samples; run the command that makes it again, and "
                "it continues where it stopped"
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
    """Writes the shard list of a dataset. Readers of object storage need it.

    Args:
        path: The directory of a complete dataset.
        progress: Called with (bytes done, bytes in all).

    Returns:
        The shard list.

    Raises:
        DatasetError: As `Shards`, or a shard is incomplete.
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
