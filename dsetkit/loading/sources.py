"""Where samples are read from: a dataset, several as one, or a cache of resized pixels."""

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from dsetkit.datasets import Dataset, Size
from dsetkit.errors import DatasetError
from dsetkit.loading.joined import JoinedCache, JoinedDataset
from dsetkit.loading.plane_cache import open_cache
from dsetkit.store import Manifest

Location = Path | str | Sequence[Path | str]


class SampleSource(Protocol):
    """A dataset, or several read as one."""

    @property
    def manifest(self) -> Manifest:
        """The header."""

    @property
    def path(self) -> Path | str:
        """Where the samples are, for messages."""

    @property
    def cells(self) -> np.ndarray:
        """Split cell of every sample: uint8 (num_samples,), an index into CELL_NAMES."""

    def __len__(self) -> int:
        """Number of samples."""

    def indices(self, split: str | None) -> np.ndarray:
        """Ascending indices of the samples of a split (None: all): int64 (N,).

        Raises:
            DatasetError: The split is unknown.
        """

    def samples(
        self, indices: Sequence[int], fields: Sequence[str], size: Size | None
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Yields (place in `indices`, fields) of many samples, in any order.

        Args:
            indices: Indices of the samples.
            fields: Of `background`, `composite`, `mask`, `depth`.
            size: Height and width of all fields [px]; None keeps each as stored.

        Raises:
            DatasetError: A sample is missing or damaged.
        """


class CachedFields(Protocol):
    """A cache of resized pixels, of one dataset or of several read as one."""

    def read(self, field: str, indices: np.ndarray) -> np.ndarray:
        """A field of many samples, as the cache holds it.

        Args:
            field: Of `background`, `composite`, `mask`, `depth`.
            indices: int (N,), indices of the samples.

        Returns:
            uint8 (N,H,W,3) RGB colours, uint8 (N,H,W) mask, uint16 (N,H,W) depth, whose
            share is `plane_cache.cached_share`.
        """


def open_source(location: Location) -> Dataset | JoinedDataset:
    """Opens the data that a user names.

    Args:
        location: A directory, an address (`s3://...`), a pattern such as `data/night-*`, or several
            of these.

    Raises:
        DatasetError: As `Dataset`; a pattern without matches; or datasets that do not fit together.
    """
    locations = [location] if isinstance(location, Path | str) else list(location)
    places = [place for one_location in locations for place in _matches(one_location)]
    if not places:
        raise DatasetError("no dataset was named: expected at least one directory or address")
    return Dataset(places[0]) if len(places) == 1 else JoinedDataset(list(map(Dataset, places)))


def open_cached_fields(
    directory: Path, source: Dataset | JoinedDataset, size: Size
) -> CachedFields:
    """The cache of a source at a size; several datasets have a cache each.

    Args:
        directory: Where caches are; created if missing.
        source: What to cache.
        size: Height and width [px].

    Raises:
        DatasetError: As `open_cache`.
    """
    if isinstance(source, JoinedDataset):
        caches = [open_cache(directory, part, size) for part in source.parts]
        return JoinedCache(source, caches)
    return open_cache(directory, source, size)


def _matches(location: Path | str) -> Sequence[Path | str]:
    text = str(location)
    if not glob.has_magic(text) or "://" in text or Path(text).exists():
        return [location]
    matches = sorted(path for path in map(Path, glob.glob(text)) if path.is_dir())
    if not matches:
        raise DatasetError(f"no dataset matches {text}: expected directories with shard-*.lmdb")
    return matches
