"""SampleDataset: the samples of a dataset as tensors, for training and evaluation."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import torch

from dsetkit.datasets import Dataset
from dsetkit.errors import DatasetError
from dsetkit.loading.device_compositing import EFFECTS, DeviceCompositor
from dsetkit.loading.plane_cache import cached_share
from dsetkit.loading.sources import (
    CachedFields,
    Location,
    SampleSource,
    open_cached_fields,
    open_source,
)
from dsetkit.store import CELL_NAMES, Record

FIELDS = ("background", "composite", "mask", "depth")

Sample = dict[str, torch.Tensor]  # field -> (C,H,W)
Batch = dict[str, torch.Tensor]  # field -> (N,C,H,W)


class SampleDataset(torch.utils.data.Dataset[Sample]):
    """The samples of one split as tensors of one size.

    Each sample is a dict: `background` and `composite` uint8 (3,H,W) RGB, `mask` uint8 (1,H,W) in
    0..255 (the alpha of all placed foregrounds), `depth` float32 (1,H,W) in [0,1], 0 = invalid, and
    `instances` uint8 (1,H,W), 0 = background, k = the k-th foreground, the last one in front.

    Args:
        path: A dataset's directory or address (`s3://...`), a pattern, or several of these, which
            are read as one dataset.
        split: `train`, `val`, `test`, or None for all samples in index order.
        size: Side or (height, width) of every field [px]; None keeps each field as stored.
        fields: The fields to read, of `background`, `composite`, `mask`, `depth`, `instances`.
        cache: Directory of caches of resized pixels. A cache of this size is made if there is none,
            then read at the speed of memory. Cached depths differ by at most 1/131070.

    Attributes:
        manifest: The dataset's header.
        split: As given.
        size: (height, width) of every field [px], or None.
        fields: As given.
        indices: Indices of the samples in the dataset: int64 (len(self),).

    Raises:
        DatasetError: As `Dataset`; a field that the dataset does not have; or a cache without a
            size.
    """

    CELL_NAMES = CELL_NAMES

    def __init__(
        self,
        path: Location,
        split: str | None = "train",
        size: int | tuple[int, int] | None = None,
        fields: Sequence[str] = FIELDS,
        cache: Path | str | None = None,
    ) -> None:
        source = open_source(path)
        self._source: SampleSource = source
        self.manifest = source.manifest
        self.split = split
        self.size = (size, size) if isinstance(size, int) else size
        self.fields = tuple(fields)
        missing = [name for name in self.fields if name not in self.manifest.fields]
        if missing:
            known = ", ".join(self.manifest.fields)
            raise DatasetError(f"{source.path} has no {', '.join(missing)}: it has {known}")
        self.indices = source.indices(split)
        self._cache: CachedFields | None = None
        if cache is not None:
            if self.size is None:
                raise DatasetError(f"--cache {cache} without a size: a cache holds resized pixels")
            self._cache = open_cached_fields(Path(cache), source, self.size)

    @property
    def cells(self) -> np.ndarray:
        """Split cell of every sample of this view: uint8 (len(self),), see CELL_NAMES."""
        return self._source.cells[self.indices]

    @property
    def is_cached(self) -> bool:
        """Whether pixels come from a cache."""
        return self._cache is not None

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Sample:
        return {name: values[0] for name, values in self.read_batch([position]).items()}

    def __getitems__(self, positions: Sequence[int]) -> Sequence[Sample]:
        """Many samples at once; torch's fetcher calls this for a batch."""
        try:
            return ReadBatch(self.read_batch(positions))
        except _SizesDifferError:
            return [self[position] for position in positions]

    def read_batch(self, positions: Sequence[int]) -> Batch:
        """Reads samples as a batch, in one transaction, each straight into its place.

        Args:
            positions: Positions in this view.

        Returns:
            The fields of a sample with a leading axis N. Colours are channels-last in memory.

        Raises:
            ValueError: Pictures of several sizes; `size` makes them equal.
        """
        indices = self.indices[list(positions)]
        if self._cache is not None:
            batch = _cached(self._cache, indices, self.fields)
            if "depth" in batch:
                batch["depth"] = torch.from_numpy(cached_share(batch["depth"].numpy()))
            return batch
        samples = self._source.samples(indices.tolist(), self.fields, self.size)
        return _stacked(samples, self.fields, len(indices))

    def read_cached(self, positions: Sequence[int]) -> Batch:
        """Reads samples as `read_batch`, but for depth, which stays uint16 as the cache holds it.

        Args:
            positions: Positions in this view.

        Raises:
            ValueError: `is_cached` is false.
        """
        if self._cache is None:
            raise ValueError("expected a cache")
        return _cached(self._cache, self.indices[list(positions)], self.fields)

    # ---- recipes -------------------------------------------------------------------------------

    @property
    def has_recipes(self) -> bool:
        """Whether samples can be composited on a device: recipes of one dataset, at one size."""
        is_single = isinstance(self._source, Dataset) and self.size is not None
        is_known = EFFECTS.issuperset(self.manifest.effects)  # harmonised ones are left to the CPU
        return is_single and is_known and self.manifest.layout == "recipe"

    def read_recipes(
        self, positions: Sequence[int], fields: Sequence[str]
    ) -> tuple[list[Record], Batch]:
        """Reads the records of samples without compositing them.

        Args:
            positions: Positions in this view.
            fields: Fields to decode besides.

        Returns:
            The records, and `fields` as `read_batch` gives them; depth of a cache stays uint16.
        """
        dataset, size = self._recipe_dataset()
        indices = self.indices[list(positions)]
        records = dataset.records(indices.tolist())
        if self._cache is not None:
            return records, _cached(self._cache, indices, fields)
        samples = (dataset.images(record, fields, size) for record in records)
        return records, _stacked(enumerate(samples), fields, len(records))

    def device_compositor(self, device: torch.device | str) -> DeviceCompositor:
        """A compositor of this dataset's recipes on a device, at `size`."""
        dataset, size = self._recipe_dataset()
        return DeviceCompositor(
            dataset.asset,
            num_backgrounds=self.manifest.num_backgrounds,
            num_foregrounds=self.manifest.num_foregrounds,
            canvas=dataset.compositor.canvas,
            size=size,
            device=device,
            depth=dataset.depth_share if "depth" in self.manifest.composited else None,
            effects=self.manifest.effects,
        )

    def _recipe_dataset(self) -> tuple[Dataset, tuple[int, int]]:
        """The dataset of recipes, and the size to composite at.

        Raises:
            ValueError: `has_recipes` is false.
        """
        if not self.has_recipes or not isinstance(self._source, Dataset) or self.size is None:
            raise ValueError("expected one dataset of plain recipes, and a size")
        return self._source, self.size


def _cached(cache: CachedFields, indices: np.ndarray, fields: Sequence[str]) -> Batch:
    """Samples of a cache; their depth is uint16, as the cache holds it."""
    return {name: _as_tensor(cache.read(name, indices)) for name in fields}


def _stacked(
    samples: Iterable[tuple[int, dict[str, np.ndarray]]], fields: Sequence[str], count: int
) -> Batch:
    """Copies each of `count` samples, (place, fields), into a batch as soon as it is decoded.

    Raises:
        _SizesDifferError: Pictures of several sizes.
    """
    batch: dict[str, np.ndarray] = {}
    for place, sample in samples:
        for name, image in sample.items():
            if name not in batch:
                batch[name] = np.empty((count, *image.shape), image.dtype)
            if batch[name].shape[1:] != image.shape:
                raise _SizesDifferError(f"{name} of {image.shape} and {batch[name].shape[1:]}")
            batch[name][place] = image
    return {name: _as_tensor(batch[name]) for name in fields}


class _SizesDifferError(ValueError):
    """Pictures of several sizes do not fit into one array."""


class ReadBatch(Sequence[Sample]):
    """The samples of a batch, as views that are made on access.

    Args:
        whole: The batch.

    Attributes:
        whole: As given.
    """

    def __init__(self, whole: Batch) -> None:
        self.whole = whole

    def __len__(self) -> int:
        return len(next(iter(self.whole.values())))

    @overload
    def __getitem__(self, place: int) -> Sample: ...

    @overload
    def __getitem__(self, place: slice) -> list[Sample]: ...

    def __getitem__(self, place: int | slice) -> Sample | list[Sample]:
        if isinstance(place, slice):
            return [self[number] for number in range(len(self))[place]]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return {name: values[place] for name, values in self.whole.items()}


def _as_tensor(images: np.ndarray) -> torch.Tensor:
    """(N,H,W) or (N,H,W,3) -> (N,1,H,W) or (N,3,H,W), in the same memory."""
    tensor = torch.from_numpy(images)
    return tensor[:, None] if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2)
