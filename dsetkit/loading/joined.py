"""Several datasets, and their caches, read as one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from dsetkit.datasets import Dataset, Size
from dsetkit.errors import DatasetError
from dsetkit.loading.plane_cache import PlaneCache
from dsetkit.store import manifest as m

# Manifest entries that must be the same, because they give depth its unit.
DEPTH_UNIT = ("depth_kind", "max_depth_m")


class JoinedDataset:
    """Several datasets read as one: the samples of the first, then those of the second, and so on.

    Args:
        parts: At least two datasets; their assets and codecs may differ.

    Attributes:
        parts: The datasets.
        manifest: The first one's manifest, with the fields that all datasets have and the number of
            all samples.

    Raises:
        DatasetError: Their depths have different kinds or units.
    """

    def __init__(self, parts: Sequence[Dataset]) -> None:
        self.parts = list(parts)
        first = self.parts[0].manifest
        others = [part.manifest for part in self.parts[1:]]
        for part in self.parts[1:]:
            for name in DEPTH_UNIT:
                value, first_value = getattr(part.manifest, name), getattr(first, name)
                if value != first_value:
                    raise DatasetError(
                        f"{part.path} has {name} {value}, {self.parts[0].path} has {first_value}: "
                        "expected depth of the same unit in all datasets, relabel one of them"
                    )
        self._starts = np.cumsum([0, *map(len, self.parts)])
        self.manifest = replace(
            first,
            num_samples=len(self),
            size=first.size if all(other.size == first.size for other in others) else [0, 0],
            fields=[name for name in first.fields if all(name in o.fields for o in others)],
            recipe={"joined": [part.manifest.fingerprint for part in self.parts]},
            shard=m.ONLY_SHARD,
            label_quality={},
        )

    @property
    def path(self) -> str:
        """The paths of all parts, for messages."""
        return ", ".join(str(part.path) for part in self.parts)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def cells(self) -> np.ndarray:
        """See `SampleSource.cells`."""
        return np.concatenate([part.cells for part in self.parts])

    def indices(self, split: str | None) -> np.ndarray:
        """See `SampleSource.indices`."""
        of_parts = [part.indices(split) for part in self.parts]
        starts = self._starts[:-1]
        return np.concatenate([a + start for a, start in zip(of_parts, starts, strict=True)])

    def samples(
        self, indices: Sequence[int], fields: Sequence[str], size: Size | None
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """See `SampleSource.samples`; the samples come part by part."""
        for number, places, local in self.by_part(np.asarray(indices)):
            for place, sample in self.parts[number].samples(local.tolist(), fields, size):
                yield int(places[place]), sample

    def by_part(self, indices: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Groups indices by the part that holds their samples.

        Args:
            indices: int (N,), indices of this dataset.

        Yields:
            Number of a part, places in `indices` (M,), indices within the part (M,).
        """
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        for number in np.unique(numbers):
            places = np.flatnonzero(numbers == number)
            yield int(number), places, indices[places] - self._starts[number]


class JoinedCache:
    """The caches of several datasets, read as one.

    Args:
        dataset: The datasets.
        caches: The cache of each part.
    """

    def __init__(self, dataset: JoinedDataset, caches: Sequence[PlaneCache]) -> None:
        self._dataset, self._caches = dataset, list(caches)

    def read(self, field: str, indices: np.ndarray) -> np.ndarray:
        """See `CachedFields.read`."""
        values: np.ndarray | None = None
        for number, places, local in self._dataset.by_part(indices):
            of_part = self._caches[number].read(field, local)
            if values is None:
                values = np.empty((len(indices), *of_part.shape[1:]), of_part.dtype)
            values[places] = of_part
        return self._caches[0].read(field, indices) if values is None else values
