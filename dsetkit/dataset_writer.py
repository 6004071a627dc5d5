"""Writing a dataset in index order: what is committed is always a clean prefix that can go on."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgpack
import numpy as np

from dsetkit import manifest as m
from dsetkit.dataset import Dataset, shard_path
from dsetkit.encoding import Record, pack_record, unpack_record
from dsetkit.errors import DatasetError
from dsetkit.lmdb_store import LARGEST_MAP_SIZE, StoreWriter, u32_key, u64_key

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

    Attributes:
        count: Samples written so far; the next one gets this index.

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
        map_limit: int = LARGEST_MAP_SIZE,
    ) -> None:
        self.path = Path(path)
        self._manifest = replace(manifest, complete=False)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatasetError(f"cannot create {path}: {error.strerror}") from None
        self._store = StoreWriter(shard_path(self.path), map_limit=map_limit)
        self._waiting: list[tuple[str, bytes, bytes]] = []
        self._last_commit = time.monotonic()
        try:
            header = self._store.get("manifest", m.MANIFEST_KEY)
            if header is None:
                self._begin(cells, backgrounds, foregrounds)
            else:
                self._continue(m.Manifest.from_bytes(header))
        except BaseException:
            self._store.close()
            raise
        self.count = self._store.count("samples")

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
            self._waiting.append(("samples", u64_key(self.count), pack_record(record)))
            self.count += 1
        waited = time.monotonic() - self._last_commit
        if waited > SECONDS_BETWEEN_COMMITS or len(self._waiting) >= SAMPLES_BETWEEN_COMMITS:
            self._commit()

    def finish(
        self, *, judge: Callable[[m.Manifest, Callable[[int], Record]], dict] | None = None
    ) -> m.Manifest:
        """Marks the dataset complete, in the same commit as the last samples.

        Args:
            judge: Called with the manifest and with what gives the sample of an index; its answer
                becomes the manifest's `label_quality`, and the samples are committed before. A
                dataset that was complete already is left as it is.
        """
        if self.count != self._manifest.num_samples:
            raise ValueError(f"{self.count} samples written, {self._manifest.num_samples} promised")
        if not self._manifest.complete:
            scores = self._manifest.label_quality
            if judge:
                scores = judge(self._manifest, self._record)
            self._manifest = replace(self._manifest, complete=True, label_quality=scores)
            self._waiting.append(("manifest", m.MANIFEST_KEY, self._manifest.to_bytes()))
            self._commit()
        return self._manifest

    def _begin(self, cells: np.ndarray, backgrounds: Iterable, foregrounds: Iterable) -> None:
        entries = [
            ("manifest", m.MANIFEST_KEY, self._manifest.to_bytes()),
            ("manifest", m.CELLS_KEY, cells.astype(np.uint8).tobytes()),
        ]
        for database, assets in (("backgrounds", backgrounds), ("foregrounds", foregrounds)):
            for number, asset in enumerate(assets):
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
        done = self._store.count("samples")
        log.info("%s: %s of %s samples are there", self.path, f"{done:,}", there.num_samples)

    def _record(self, index: int) -> Record:
        """A sample that was added, by this writer or by one before it."""
        self._commit()
        return unpack_record(self._store.get("samples", u64_key(index)))

    def _commit(self) -> None:
        if self._waiting:
            self._store.put(self._waiting)
        self._waiting = []
        self._last_commit = time.monotonic()
