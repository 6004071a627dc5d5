"""What a reader may be given: one dataset, several, a pattern, or an address; all read as one."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dsetkit.datasets import Dataset, Size
from dsetkit.errors import DatasetError
from dsetkit.loading.plane_cache import PlaneCache, open_cache
from dsetkit.store import manifest as m

Source = Path | str | Sequence[Path | str]

# What has to be the same for targets of one unit.
SAME = ("depth_kind", "max_depth_m")


def open_dataset(source: Source) -> "Dataset | JoinedDataset":
    """Opens what a user names as data.

    Args:
        source: A directory, an address (`s3://...`), a pattern such as `data/night-*`, or several
            of these.

    Raises:
        DatasetError: As `Dataset`, a pattern that nothing matches, or datasets that do not fit
            together.
    """
    sources = [source] if isinstance(source, Path | str) else list(source)
    places = [place for one in sources for place in _matches(one)]
    if not places:
        raise DatasetError("no dataset was named: expected at least one directory or address")
    return Dataset(places[0]) if len(places) == 1 else JoinedDataset(list(map(Dataset, places)))


def _matches(source: Path | str) -> list[Path | str]:
    text = str(source)
    if not glob.has_magic(text) or "://" in text or Path(text).exists():
        return [source]
    matches = sorted(path for path in map(Path, glob.glob(text)) if path.is_dir())
    if not matches:
        raise DatasetError(f"no dataset matches {text}: expected directories with shard-*.lmdb")
    return matches


class JoinedDataset:
    """Several datasets as one: the samples of the first, then those of the second, and on.

    Args:
        parts: At least two; their assets and codecs may differ.

    Attributes:
        manifest: The first's, with the fields that all have and the samples of all.

    Raises:
        DatasetError: Their depths are of different kinds or units.
    """

    def __init__(self, parts: Sequence[Dataset]) -> None:
        self.parts = list(parts)
        first, *others = (part.manifest for part in self.parts)
        for part, manifest in zip(self.parts[1:], others, strict=True):
            for name in SAME:
                if getattr(manifest, name) != getattr(first, name):
                    raise DatasetError(
                        f"{part.path} has {name} {getattr(manifest, name)}, {self.parts[0].path} "
                        f"{getattr(first, name)}: depths of one unit can be read as one, relabel "
                        "one of them"
                    )
        self._starts = np.cumsum([0, *map(len, self.parts)])
        self.manifest = replace(
            first,
            num_samples=len(self),
            size=first.size if all(o.size == first.size for o in others) else [0, 0],
            fields=[name for name in first.fields if all(name in o.fields for o in others)],
            recipe={"joined": [part.manifest.fingerprint for part in self.parts]},
            shard=m.ONLY_SHARD,
            label_quality={},
        )

    @property
    def path(self) -> str:
        """For messages."""
        return ", ".join(str(part.path) for part in self.parts)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def cells(self) -> np.ndarray:
        """As `Dataset.cells`."""
        return np.concatenate([part.cells for part in self.parts])

    def indices(self, split: str | None) -> np.ndarray:
        """As `Dataset.indices`."""
        found = [part.indices(split) for part in self.parts]
        return np.concatenate([a + b for a, b in zip(found, self._starts[:-1], strict=True)])

    def samples(
        self, indices: Sequence[int], fields: Sequence[str], size: Size | None
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """As `Dataset.samples`; part by part."""
        for number, places, local in self.by_part(indices):
            for place, sample in self.parts[number].samples(local, fields, size):
                yield int(places[place]), sample

    def by_part(self, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """(part, places in `indices`, indices within the part) of every part that has some."""
        indices = np.asarray(indices)
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        for number in np.unique(numbers):
            places = np.flatnonzero(numbers == number)
            yield int(number), places, indices[places] - self._starts[number]


class JoinedCache:
    """The caches of the parts, read as one."""

    def __init__(self, dataset: JoinedDataset, caches: Sequence[PlaneCache]) -> None:
        self._dataset, self._caches = dataset, list(caches)

    def read(self, field: str, indices: np.ndarray) -> np.ndarray:
        """As `PlaneCache.read`."""
        found: np.ndarray | None = None
        for number, places, local in self._dataset.by_part(indices):
            some = self._caches[number].read(field, local)
            if found is None:
                found = np.empty((len(indices), *some.shape[1:]), some.dtype)
            found[places] = some
        return found


def open_caches(
    directory: Path, dataset: Dataset | JoinedDataset, size: Size
) -> PlaneCache | JoinedCache:
    """As `open_cache`; of several datasets each has a cache of its own."""
    if isinstance(dataset, JoinedDataset):
        caches = [open_cache(directory, part, size) for part in dataset.parts]
        return JoinedCache(dataset, caches)
    return open_cache(directory, dataset, size)
