"""Writing a dataset, in the order of the sample indices.

The committed samples are always a prefix of the dataset, so an interrupted writer can be continued.
"""

import logging
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from dsetkit.errors import DatasetError
from dsetkit.store import (
    LARGEST_MAP_SIZE,
    Record,
    StoredAsset,
    StoreWriter,
    cells_entry,
    manifest_entry,
    pack_asset,
    pack_record,
    shard_number,
    shard_path,
    shard_ranges,
    u32_key,
    u64_key,
)
from dsetkit.store import manifest as m

# Commits go by counts, not by the clock, so that equal runs write equal files.
SAMPLES_PER_COMMIT = 2048
LABELLED_PER_COMMIT = 128  # where a teacher labels them, which takes a second or more
BYTES_PER_COMMIT = 1 << 26  # limits the memory of the uncommitted samples

log = logging.getLogger(__name__)


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
        samples_per_commit: Samples after which `add` commits; fewer if they take more than
            BYTES_PER_COMMIT.

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
        samples_per_commit: int = SAMPLES_PER_COMMIT,
    ) -> None:
        self.path = Path(path)
        self._incomplete_manifest = replace(manifest, complete=False)
        self._cells = cells
        self._assets = {"backgrounds": backgrounds, "foregrounds": foregrounds}
        self._map_limit = map_limit
        self._samples_per_commit = samples_per_commit
        self._ranges = shard_ranges(manifest)
        self._last = len(self._ranges) - 1 if only is None else only
        self.stop = self._ranges[self._last].stop
        self._uncommitted: list[tuple[str, bytes, bytes]] = []
        self._uncommitted_bytes = 0
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
            # What was added is whole, also when the user or a teacher ended the run.
            with suppress(DatasetError) if kind else nullcontext():
                self._commit()
        finally:
            self._store.close()

    def add(self, records: Sequence[Record]) -> None:
        """Appends samples. They are committed together with later ones.

        An interrupted run keeps either all samples of a call or none, unless they belong to two
        shards.

        Raises:
            DatasetError: The disk is full or cannot be written to.
        """
        records = list(records)
        while records:
            if self.count == self._ranges[self._number].stop and self._number < self._last:
                self._complete()
                self._open_next()
            room = self._ranges[self._number].stop - self.count
            if room <= 0:
                raise ValueError(f"more samples than the {self.stop} of the manifest")
            entries = []
            for index, record in enumerate(records[:room], start=self.count):
                key = u64_key(index)
                entries.append(("samples", key, pack_record(record, key)))
            records = records[room:]
            self._uncommitted += entries
            self._uncommitted_bytes += sum(len(value) for _, _, value in entries)
            self.count += len(entries)
        if (
            len(self._uncommitted) >= self._samples_per_commit
            or self._uncommitted_bytes >= BYTES_PER_COMMIT
        ):
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
            self._uncommitted.append(manifest_entry(self._manifest))
            self._commit()

    def _begin(self) -> None:
        """Writes the manifest of a new shard; into the first shard also cells and assets."""
        entries = [manifest_entry(self._manifest)]
        if self._number == 0:
            entries.append(cells_entry(self._cells))
            for database, assets in self._assets.items():
                for number, asset in enumerate(assets):
                    key = u32_key(number)
                    entries.append((database, key, pack_asset(asset, database=database, key=key)))
        self._store.put(entries)

    def _continue(self, stored: m.Manifest) -> None:
        """Continues an existing shard, whose manifest is `stored`, or lets a dataset grow."""
        if stored.complete and stored.num_samples in self._manifest.grown_from:
            stored = self._grow(stored)
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

    def _grow(self, stored: m.Manifest) -> m.Manifest:
        """Opens a complete dataset again for the samples that this manifest has besides."""
        before = replace(
            self._manifest,
            num_samples=stored.num_samples,
            recipe=m.grown_recipe(self._manifest.recipe, self._manifest.grown_from[:-1]),
        )
        if stored.differences(before):
            return stored  # for which the caller names the differences
        log.info("%s: grows from %s samples", self._store.path, f"{stored.num_samples:,}")
        self._store.put([manifest_entry(self._manifest), cells_entry(self._cells)])
        return self._manifest

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
        self._uncommitted, self._uncommitted_bytes = [], 0
