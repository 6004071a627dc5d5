"""SampleDataset and make_loader: what every training script shares."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from dsetkit.dataset import Dataset
from dsetkit.encoding import Record
from dsetkit.errors import DatasetError
from dsetkit.manifest import CELL_NAMES

FIELDS = ("background", "composite", "mask", "depth")
BACKGROUNDS_KEPT = 512  # decoded, in memory


class SampleDataset(torch.utils.data.Dataset):
    """The samples of one split as tensors of one size.

    Args:
        path: The dataset's directory.
        split: `train`, `val`, `test`, or None for all samples in index order.
        size: Side or (height, width) of every field [px]; None keeps each field as stored.
        fields: What to give, of `background`, `composite`, `mask`, `depth`.

    Each sample is a dict: `background` and `composite` uint8 (3,H,W) RGB, `mask` uint8 (1,H,W) in
    0..255 (the placed alpha), `depth` float32 (1,H,W) in [0,1], 0 = invalid.

    Raises:
        DatasetError: As `Dataset`, or a field the dataset does not hold.
    """

    CELL_NAMES = CELL_NAMES

    def __init__(
        self,
        path: Path | str,
        split: str | None = "train",
        size: int | tuple[int, int] | None = None,
        fields: Sequence[str] = FIELDS,
    ) -> None:
        self._dataset = Dataset(Path(path))
        self.manifest = self._dataset.manifest
        self.split = split
        self.size = (size, size) if isinstance(size, int) else size
        self.fields = tuple(fields)
        missing = [name for name in self.fields if name not in self.manifest.fields]
        if missing:
            raise DatasetError(
                f"{path} holds no {', '.join(missing)}: it has {', '.join(self.manifest.fields)}"
            )
        self.indices = self._dataset.indices(split)
        self._backgrounds: dict[int, np.ndarray] = {}

    @property
    def cells(self) -> np.ndarray:
        """Split cell of every sample of this view: uint8 (len(self),), see CELL_NAMES."""
        return self._dataset.cells[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> dict[str, torch.Tensor]:
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: Sequence[int]) -> list[dict[str, torch.Tensor]]:
        """Many samples, read in one transaction (torch's fetcher calls this for a batch)."""
        records = self._dataset.records(self.indices[list(positions)])
        return [{name: self._tensor(record, name) for name in self.fields} for record in records]

    def _tensor(self, record: Record, name: str) -> torch.Tensor:
        if name == "depth":
            image = self._dataset.depth(record)
            image = image if self.size is None else resize_depth(image, self.size)
        else:
            image = (
                self._background(record.background)
                if name == "background"
                else self._sized(self._dataset.image(record, name))
            )
        image = image[..., None] if image.ndim == 2 else image
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))

    def _background(self, number: int) -> np.ndarray:
        """A background at the size asked for; few of them serve very many samples."""
        if number not in self._backgrounds:
            if len(self._backgrounds) >= BACKGROUNDS_KEPT:
                self._backgrounds.clear()
            self._backgrounds[number] = self._sized(self._dataset.background(number))
        return self._backgrounds[number]

    def _sized(self, image: np.ndarray) -> np.ndarray:
        return image if self.size is None else resize_image(image, self.size)

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_backgrounds": {}}


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image at (height, width): area filter when shrinking, linear when enlarging."""
    if image.shape[:2] == size:
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, size[::-1], interpolation=interpolation)


def resize_depth(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Depth at (height, width); invalid pixels (0) take no part in the average.

    A pixel is valid when at least half of what it averages is.
    """
    if depth.shape == size:
        return depth
    valid = (depth > 0).astype(np.float32)
    weight = resize_image(valid, size)
    total = resize_image(depth, size)
    return np.where(weight >= 0.5, total / np.maximum(weight, 1e-6), 0).astype(np.float32)


# ---- loading -----------------------------------------------------------------------------------


def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of an epoch: a permutation that depends on nothing but its arguments."""
    rng = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    return rng.permutation(count)


class EpochBatches:
    """Batch sampler whose order is a pure function of (seed, epoch) and starts anywhere."""

    def __init__(
        self, count: int, *, batch_size: int, seed: int, shuffle: bool, drop_last: bool
    ) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.shuffle, self.drop_last = shuffle, drop_last
        self.epoch, self.first_batch = 0, 0

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        whole, rest = divmod(self.count, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.arange(self.count)
        if self.shuffle:
            order = epoch_order(self.seed, self.epoch, self.count)
        for batch in range(self.first_batch, len(self)):
            yield order[batch * self.batch_size : (batch + 1) * self.batch_size].tolist()


class SampleLoader(DataLoader):
    """A DataLoader that can be set to any place of any epoch."""

    def set_position(self, epoch: int, batch: int = 0) -> None:
        """The next iteration gives this epoch's order from this batch on."""
        self.batch_sampler.epoch, self.batch_sampler.first_batch = epoch, batch


def make_loader(
    data: SampleDataset,
    batch_size: int,
    *,
    workers: int = 0,
    seed: int = 0,
    shuffle: bool = True,
    drop_last: bool = False,
) -> SampleLoader:
    """Batches of a SampleDataset as dicts of stacked tensors.

    The order is a pure function of (seed, epoch): any number of workers gives the same batches.
    Workers start anew for each epoch, so a position set between epochs always takes effect.
    """
    batches = EpochBatches(
        len(data), batch_size=batch_size, seed=seed, shuffle=shuffle, drop_last=drop_last
    )
    return SampleLoader(
        data,
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="spawn" if workers else None,
    )
