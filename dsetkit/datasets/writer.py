"""Writing a dataset, in the order of the sample indices.

The committed samples are always a prefix of the dataset, so an interrupted writer can be continued.
"""

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
SAMPLES_BETWEEN_COMMITS = 2048  # limits the memory of the uncommitted samples

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredAsset:
    """An asset as a dataset stores it.

    Attributes:
        name: Its name, unique among the assets of its kind.
        split: `train`, `val` or `test`.
        image: The picture, encoded by `encode_asset`.
    """

    name: str
    split: str
    image: bytes


def stored_assets(source: Dataset, database: str) -> Iterator[StoredAsset]:
    """The `backgrounds` or `foregrounds` of a dataset, still encoded, in the order of their ids."""
    for asset in source.assets(database):
        yield StoredAsset(asset["name"], asset["split"], asset["image"])


class DatasetWriter:
    """Creates a dataset, or continues an incomplete one. Use it in a `with` block.

    Args:
        path: The dataset's directory.
        manifest: The dataset's manifest. `shard["shards"]` is the number of shards to write; see
            `store.shard_ranges`.
        cells: The split cell of every sample of the dataset, uint8 (num_samples,).
        backgrounds: The backgrounds in the order of their ids. They go into the first shard.
        foregrounds: The foregrounds in the order of their ids. They go into the first shard.
        only: The number of the only shard to write, while other writers may write other shards.
            None writes all shards, one after another.
        map_limit: Largest size of a shard's map [bytes].
        commit_every_s: Longest time between commits [s]; 0 commits after each `add`; None means
            SECONDS_BETWEEN_COMMITS.

    Attributes:
        count: The index of the next sample. All samples before it that belong to the shards of this
            writer have been added.
        stop: The index after the last sample of this writer.

    Raises:
        DatasetError: The directory holds another dataset or cannot be written to, or the disk is
            full.
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
        commit_every_s: float | None = None,
    ) -> None:
        self.path = Path(path)
        self._incomplete_manifest = replace(manifest, complete=False)
        self._cells = cells
        self._assets = {"backgrounds": backgrounds, "foregrounds": foregrounds}
        self._map_limit = map_limit
        self._commit_every_s = SECONDS_BETWEEN_COMMITS if commit_every_s is None else commit_every_s
        self._ranges = shard_ranges(manifest)
        self._last = len(self._ranges) - 1 if only is None else only
        self.stop = self._ranges[self._last].stop
        self._uncommitted: list[tuple[str, bytes, bytes]] = []
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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            self._store.close()

    def add(self, records: Sequence[Record]) -> None:
        """Appends samples. They are committed together with later ones, every few seconds.

        Raises:
            DatasetError: The disk is full or cannot be written to.
        """
        for record in records:
            if self.count == self._ranges[self._number].stop and self._number < self._last:
                self._complete()
                self._open_next()
            self._uncommitted.append(("samples", u64_key(self.count), pack_record(record)))
            self.count += 1
        elapsed_s = time.monotonic() - self._last_commit
        if elapsed_s >= self._commit_every_s or len(self._uncommitted) >= SAMPLES_BETWEEN_COMMITS:
            self._commit()

    def finish(self) -> m.Manifest:
        """Marks the shards of this writer complete, in the same commit as the last samples.

        Returns:
            The manifest of the last shard of this writer.

        Raises:
            ValueError: Fewer samples were added than the manifest says.
        """
        if self.count != self.stop:
            raise ValueError(f"{self.count} samples were added, expected {self.stop}")
        self._complete()
        return self._manifest

    # ---- one shard after another ---------------------------------------------------------------

    def _open(self, number: int) -> None:
        self._number = number
        shard = {"number": number, "shards": len(self._ranges)}
        self._manifest = replace(self._incomplete_manifest, shard=shard)
        self._store = StoreWriter(shard_path(self.path, number), map_limit=self._map_limit)
        try:
            stored = self._store.get("manifest", m.MANIFEST_KEY)
            if stored is None:
                self._begin()
            else:
                self._continue(m.Manifest.from_bytes(stored))
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
            self._uncommitted.append(m.manifest_entry(self._manifest))
            self._commit()

    def _begin(self) -> None:
        """Writes the manifest of a new shard; into the first shard also cells and assets."""
        entries = [m.manifest_entry(self._manifest)]
        if self._number == 0:
            entries.append(("manifest", m.CELLS_KEY, self._cells.astype(np.uint8).tobytes()))
            for database, assets in self._assets.items():
                for number, asset in enumerate(assets):
                    content = {"name": asset.name, "split": asset.split, "image": asset.image}
                    entries.append((database, u32_key(number), msgpack.packb(content)))
        self._store.put(entries)

    def _continue(self, stored: m.Manifest) -> None:
        """Continues an existing shard, whose manifest is `stored`."""
        differences = stored.differences(self._manifest)
        if differences:
            raise DatasetError(
                f"{self.path} holds a dataset with other settings ({'; '.join(differences)}): "
                "repeat the command that made it, or choose another --output"
            )
        self._manifest = stored
        done, size = self._store.count("samples"), len(self._ranges[self._number])
        if done and not stored.complete:
            log.info("%s: has %s of %s samples", self._store.path, f"{done:,}", f"{size:,}")

    def _check_surplus(self) -> None:
        numbers = [shard_number(file.name) for file in self.path.iterdir()]
        surplus = [n for n in numbers if n is not None and n >= len(self._ranges)]
        if surplus:
            raise DatasetError(
                f"{self.path} contains {shard_path(self.path, min(surplus)).name}, which belongs "
                f"to a dataset of more than {len(self._ranges):,} shards: repeat the command that "
                "made it, or choose another --output"
            )

    def _commit(self) -> None:
        if self._uncommitted:
            self._store.put(self._uncommitted)
        self._uncommitted = []
        self._last_commit = time.monotonic()
