"""The samples of a training: how many of each split, and in which batches they come."""

from collections.abc import Callable, Sized
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.utils.data import Subset, default_collate

from dsetkit.errors import RunError
from training import ranks
from training.loop import Batch, Batches

Size = tuple[int, int]  # height, width [px]


class Manifest(Protocol):
    """What a training has to know of a dataset."""

    @property
    def fingerprint(self) -> str:
        """Identifies the dataset's content."""

    @property
    def depth_kind(self) -> str:
        """ "metric", "relative" or "none"."""

    @property
    def max_depth_m(self) -> float:
        """What a metric depth of 1 means [m]."""


class Samples(Sized, Protocol):
    """A dataset of samples: dicts of fields (C, H, W), uint8 0..255 or float32 depth in 0..1."""

    manifest: Any  # a `Manifest`

    def __getitem__(self, index: int, /) -> Batch: ...


class Loader(Batches, Protocol):
    """Batches of samples, from any place of any epoch on."""

    dataset: Any

    def set_position(self, epoch: int, batch: int = 0) -> None:
        """The next iteration gives this epoch's order, from this batch on."""


@dataclass(frozen=True)
class DataSource:
    """Where a training reads its samples.

    Attributes:
        open_samples: opens samples, with the arguments `split`, `size` and `cache` of
            `dsetkit.SampleDataset`.
        make_loader: `dsetkit.make_loader`, or a function with its arguments.
        cache: directory of caches of resized samples; None = no cache.
        name: the dataset, for messages.
    """

    open_samples: Callable[..., Samples]
    make_loader: Callable[..., Loader]
    cache: Path | None
    name: str

    @cached_property
    def manifest(self) -> Manifest:
        return self.open_samples(split="train").manifest


def open_loader(
    source: DataSource,
    split: str,
    size: Size,
    *,
    batch_size: int,
    workers: int,
    seed: int,
    shuffle_block: int | None,
    limit_samples: int | None,
    device: torch.device,
) -> Loader:
    """Opens this rank's batches of a split; those of "train" are shuffled and all of one size.

    Args:
        source: Where the samples are.
        split: "train" or "val".
        size: (height, width) of the samples [px].
        batch_size: Samples of a batch, of all ranks together.
        workers: Processes that load samples; 0 = threads of this one.
        seed: Key of the order.
        shuffle_block: Shuffle blocks of so many neighbouring samples; None = a whole shuffle.
        limit_samples: Use so many samples of the split; None = all.
        device: Where the training is.
    """
    data: Any = source.open_samples(split=split, size=size, cache=source.cache)
    if limit_samples:
        data = Subset(data, strided(len(data), limit_samples))
    is_train = split == "train"
    return source.make_loader(
        data,
        batch_size=batch_size,
        workers=workers,
        seed=seed,
        shuffle=is_train,
        shuffle_block=shuffle_block,
        drop_last=is_train and len(data) >= batch_size,
        place=ranks.place(),
        device=device,
    )


def check_enough_samples(count: int, *, batch_size: int, name: str) -> None:
    """Raises RunError when there is nothing to train on, or no sample for some of the ranks.

    Args:
        count: Train samples.
        batch_size: Samples of a batch, of all ranks together.
        name: The dataset, for messages.
    """
    if count == 0:
        raise RunError(f"{name} has no train samples: see `python -m dsetkit info`")
    if count < batch_size and ranks.world() > 1:
        raise RunError(
            f"{count} train samples are fewer than --batch-size {batch_size}, of which "
            f"{ranks.world()} processes take equal shares: give a smaller one, or start one process"
        )


def strided(count: int, at_most: int) -> range:
    """At most `at_most` numbers below `count`: the first ones of an equal stride.

    Runs that were started with --limit-samples depend on this choice, so it is not that of
    `dsetkit.numbers.evenly_spread`.
    """
    return range(count)[:: max(1, count // at_most)][:at_most]


def some_samples(data: Samples, count: int) -> Batch:
    """A batch of at most `count` samples of a dataset, as stored."""
    return default_collate([data[i] for i in strided(len(data), count)])
