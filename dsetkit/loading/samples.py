"""SampleDataset: the samples of a dataset as tensors, what every training script reads."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from dsetkit.datasets import Dataset
from dsetkit.errors import DatasetError
from dsetkit.loading.device_compositing import DeviceCompositor
from dsetkit.loading.joined import Source, open_caches, open_dataset
from dsetkit.store import CELL_NAMES, Record

FIELDS = ("background", "composite", "mask", "depth")


class SampleDataset(torch.utils.data.Dataset):
    """The samples of one split as tensors of one size.

    Args:
        path: A dataset's directory or address (`s3://...`), a pattern, or several of these, read
            one after the other as one.
        split: `train`, `val`, `test`, or None for all samples in index order.
        size: Side or (height, width) of every field [px]; None keeps each field as stored.
        fields: What to give, of `background`, `composite`, `mask`, `depth`.
        cache: Directory of caches of resized pixels: one of this size is made there if none is,
            then read at the speed of memory; depths differ by at most 1/131070 from uncached ones.

    Each sample is a dict: `background` and `composite` uint8 (3,H,W) RGB, `mask` uint8 (1,H,W) in
    0..255 (the placed alpha), `depth` float32 (1,H,W) in [0,1], 0 = invalid.

    Raises:
        DatasetError: As `Dataset`, or a field the dataset does not hold.
    """

    CELL_NAMES = CELL_NAMES

    def __init__(
        self,
        path: Source,
        split: str | None = "train",
        size: int | tuple[int, int] | None = None,
        fields: Sequence[str] = FIELDS,
        cache: Path | str | None = None,
    ) -> None:
        self._dataset = open_dataset(path)
        self.manifest = self._dataset.manifest
        self.split = split
        self.size = (size, size) if isinstance(size, int) else size
        self.fields = tuple(fields)
        missing = [name for name in self.fields if name not in self.manifest.fields]
        if missing:
            there = ", ".join(self.manifest.fields)
            raise DatasetError(
                f"{self._dataset.path} holds no {', '.join(missing)}: it has {there}"
            )
        self.indices = self._dataset.indices(split)
        self._cache = None
        if cache is not None:
            if self.size is None:
                raise DatasetError(f"--cache {cache} holds resized pixels: it takes a size")
            self._cache = open_caches(Path(cache), self._dataset, self.size)

    @property
    def cells(self) -> np.ndarray:
        """Split cell of every sample of this view: uint8 (len(self),), see CELL_NAMES."""
        return self._dataset.cells[self.indices]

    @property
    def is_cached(self) -> bool:
        """Whether pixels come from a cache."""
        return self._cache is not None

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> dict[str, torch.Tensor]:
        return {name: values[0] for name, values in self.read_batch([position]).items()}

    def __getitems__(self, positions: Sequence[int]) -> Sequence[dict[str, torch.Tensor]]:
        """Many samples at once (torch's fetcher calls this for a batch)."""
        try:
            return ReadBatch(self.read_batch(positions))
        except _SizesDifferError:
            return [self[position] for position in positions]

    def read_batch(self, positions: Sequence[int]) -> dict[str, torch.Tensor]:
        """Samples as a batch, read in one transaction into arrays that hold all of it.

        Returns:
            The fields of a sample, with N before their shapes; colours lie in memory as (N,H,W,3),
            which convolutions call channels-last.

        Raises:
            ValueError: Sizes differ within the batch; it takes `size` to make them equal.
        """
        indices = self.indices[list(positions)]
        if self._cache is not None:
            return self._cached(indices, self.fields)
        samples = self._dataset.samples(indices, self.fields, self.size)
        return _stacked(samples, self.fields, len(indices))

    def read_recipes(
        self, positions: Sequence[int], fields: Sequence[str]
    ) -> tuple[list[Record], dict[str, torch.Tensor]]:
        """The records of samples, still encoded, and of `fields` what `read_batch` gives."""
        indices = self.indices[list(positions)]
        records = self._dataset.records(indices)
        if self._cache is not None:
            return records, self._cached(indices, fields)
        samples = (self._dataset.images(record, fields, self.size) for record in records)
        return records, _stacked(enumerate(samples), fields, len(records))

    def _cached(self, indices: np.ndarray, fields: Sequence[str]) -> dict[str, torch.Tensor]:
        return {name: _as_tensor(self._cache.read(name, indices)) for name in fields}

    @property
    def has_recipes(self) -> bool:
        """Whether `drawer` can draw it: recipes of one dataset, at one size."""
        is_one = isinstance(self._dataset, Dataset)
        return is_one and self.manifest.layout == "recipe" and self.size is not None

    def device_compositor(self, device: torch.device | str) -> DeviceCompositor:
        """What draws the samples of a dataset of recipes on a device, at `size`."""
        manifest = self.manifest
        return DeviceCompositor(
            self._dataset.asset,
            num_backgrounds=manifest.num_backgrounds,
            num_foregrounds=manifest.num_foregrounds,
            canvas=self._dataset.compositor.canvas,
            size=self.size,
            device=device,
        )


def _stacked(
    samples: Iterable[tuple[int, dict[str, np.ndarray]]], fields: Sequence[str], count: int
) -> dict[str, torch.Tensor]:
    """(place, fields) of `count` samples, each copied into the batch as soon as it is decoded."""
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
    """Pictures of several sizes do not fit one array."""


class ReadBatch(Sequence):
    """Samples of a batch, dicts of views made when asked for, and `whole`, all as one dict."""

    def __init__(self, whole: dict[str, torch.Tensor]) -> None:
        self.whole = whole

    def __len__(self) -> int:
        return len(next(iter(self.whole.values())))

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return {name: values[place] for name, values in self.whole.items()}


def _as_tensor(images: np.ndarray) -> torch.Tensor:
    """(N,H,W) or (N,H,W,3) -> (N,1,H,W) or (N,3,H,W), the same memory."""
    tensor = torch.from_numpy(images)
    return tensor[:, None] if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2)
