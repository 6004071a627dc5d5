"""Writing a dataset in index order: what is committed is always a clean prefix that can go on."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgpack
import numpy as np

from dsetkit.datasets.reader import Dataset
from dsetkit.errors import DatasetError
from dsetkit.store import (
    LARGEST_MAP_SIZE,
    Record,
    StoreWriter,
    pack_record,
    shard_number,
    shard_path,
    shard_ranges,
    u32_key,
    u64_key,
)
from dsetkit.store import manifest as m

SECONDS_BETWEEN_COMMITS = 2.0
SAMPLES_BETWEEN_COMMITS = 2048  # bounds the memory of what waits

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredAsset:
    """An asset as the dataset keeps it: `image` is an encoded RGB or RGBA picture."""

    name: str
    split: str
    image: bytes


def stored_assets(source: Dataset, database: str) -> Iterator[StoredAsset]:
    """The `backgrounds` or `foregrounds` of another dataset, as they lie, in id order."""
    for one in source.assets(database):
        yield StoredAsset(one["name"], one["split"], one["image"])


class DatasetWriter:
    """Creates a dataset, or continues one that was cut off; use it in a `with` block.

    Args:
        path: The dataset's directory.
        manifest: Says with `shard["shards"]` how many files it becomes; see `shards.shard_ranges`.
        cells: Split cell of every sample of the whole dataset, uint8 (num_samples,).
        backgrounds: Kept in the first shard, for all.
        foregrounds: Likewise.
        only: Write this shard alone (others may be written elsewhere); None writes one after
            another.
        map_limit: Bytes the map of a shard may grow to.
        seconds_between_commits: 0 commits whatever is added; None = `SECONDS_BETWEEN_COMMITS`.

    Attributes:
        count: The next sample gets this index; those before it, in the shards written here, are
            there.
        stop: The index at which this writer's part ends.

    Raises:
        DatasetError: The directory holds another dataset, or there is no room.
    """

    def __init__(
        self,
        path: Path,
        manifest: m.Manifest,
        cells: np.ndarray,
        *,
        backgrounds: Iterable[StoredAsset] = (),
        foregrounds: Iterable[StoredAsset] = (),
        only: int | None = None,
        map_limit: int = LARGEST_MAP_SIZE,
        seconds_between_commits: float | None = None,
    ) -> None:
        self.path = Path(path)
        self._blank = replace(manifest, complete=False)
        self._whole = (cells, backgrounds, foregrounds)
        self._map_limit = map_limit
        self._pause = (
            SECONDS_BETWEEN_COMMITS if seconds_between_commits is None else seconds_between_commits
        )
        self._ranges = shard_ranges(manifest)
        self._last = len(self._ranges) - 1 if only is None else only
        self.stop = self._ranges[self._last].stop
        self._waiting: list[tuple[str, bytes, bytes]] = []
        self._last_commit = time.monotonic()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatasetError(f"cannot create {path}: {error.strerror}") from None
        self._check_surplus()
        self._open(0 if only is None else only)
        while self._number < self._last and self._manifest.complete:
            self._open_next()

    def __enter__(self) -> "DatasetWriter":
        return self

    def __exit__(self, kind: type | None, *_) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            self._store.close()

    def add(self, records: Sequence[Record]) -> None:
        """Appends samples; they are committed together with others every few seconds."""
        for record in records:
            if self.count == self._ranges[self._number].stop and self._number < self._last:
                self._complete()
                self._open_next()
            self._waiting.append(("samples", u64_key(self.count), pack_record(record)))
            self.count += 1
        waited = time.monotonic() - self._last_commit
        if waited >= self._pause or len(self._waiting) >= SAMPLES_BETWEEN_COMMITS:
            self._commit()

    def finish(self) -> m.Manifest:
        """Marks what was written here complete, in the same commit as the last samples.

        Returns:
            The manifest of the last shard written here.
        """
        if self.count != self.stop:
            raise ValueError(f"{self.count} samples written, {self.stop} promised")
        self._complete()
        return self._manifest

    # ---- one shard after another ---------------------------------------------------------------

    def _open(self, number: int) -> None:
        self._number = number
        here = {"number": number, "shards": len(self._ranges)}
        self._manifest = replace(self._blank, shard=here)
        self._store = StoreWriter(shard_path(self.path, number), map_limit=self._map_limit)
        try:
            header = self._store.get("manifest", m.MANIFEST_KEY)
            if header is None:
                self._begin()
            else:
                self._continue(m.Manifest.from_bytes(header))
        except BaseException:
            self._store.close()
            raise
        self.count = self._ranges[number].start + self._store.count("samples")

    def _open_next(self) -> None:
        self._store.close()
        self._open(self._number + 1)

    def _complete(self) -> None:
        """Marks the open shard complete, in the same commit as its last samples."""
        if not self._manifest.complete:
            self._manifest = replace(self._manifest, complete=True)
            self._waiting.append(m.manifest_entry(self._manifest))
            self._commit()

    def _begin(self) -> None:
        entries = [m.manifest_entry(self._manifest)]
        if self._number == 0:
            cells, *assets = self._whole
            entries.append(("manifest", m.CELLS_KEY, cells.astype(np.uint8).tobytes()))
            for database, some in zip(("backgrounds", "foregrounds"), assets, strict=True):
                for number, asset in enumerate(some):
                    content = {"name": asset.name, "split": asset.split, "image": asset.image}
                    entries.append((database, u32_key(number), msgpack.packb(content)))
        self._store.put(entries)

    def _continue(self, there: m.Manifest) -> None:
        differences = there.differences(self._manifest)
        if differences:
            raise DatasetError(
                f"{self.path} holds a dataset made otherwise ({'; '.join(differences)}): "
                "repeat the command it was made with, or choose another --output"
            )
        self._manifest = there
        done, size = self._store.count("samples"), len(self._ranges[self._number])
        if done and not there.complete:
            log.info("%s: %s of %s samples are there", self._store.path, f"{done:,}", f"{size:,}")

    def _check_surplus(self) -> None:
        there = [shard_number(file.name) for file in self.path.iterdir()]
        surplus = [n for n in there if n is not None and n >= len(self._ranges)]
        if surplus:
            raise DatasetError(
                f"{self.path} holds {shard_path(self.path, min(surplus)).name}, of a dataset of "
                f"more than {len(self._ranges):,} shards: repeat the command it was made with, or "
                "choose another --output"
            )

    def _commit(self) -> None:
        if self._waiting:
            self._store.put(self._waiting)
        self._waiting = []
        self._last_commit = time.monotonic()
