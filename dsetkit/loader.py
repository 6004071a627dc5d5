"""Batches in an order that is a pure function of (seed, epoch, position), read ahead in threads."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from dsetkit.torch_dataset import ReadBatch

BATCHES_AHEAD = 2  # per thread

Batch = dict[str, torch.Tensor]


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
    """A DataLoader that can be set to any place of any epoch, and reads ahead without workers."""

    def __init__(self, data: Dataset, *, threads: int, **settings) -> None:
        super().__init__(data, collate_fn=collate, **settings)
        self.threads = threads

    def set_position(self, epoch: int, batch: int = 0) -> None:
        """The next iteration gives this epoch's order from this batch on."""
        self.batch_sampler.epoch, self.batch_sampler.first_batch = epoch, batch

    def __iter__(self) -> Iterator[Batch]:
        return super().__iter__() if self.num_workers else self._read_ahead()

    def _read_ahead(self) -> Iterator[Batch]:
        """The batches in order; threads read the next ones while the caller uses this one."""
        waiting: deque[Future] = deque()
        pool = ThreadPoolExecutor(self.threads, "dsetkit-reader")
        try:
            for positions in self.batch_sampler:
                waiting.append(pool.submit(self._read, positions))
                if len(waiting) > BATCHES_AHEAD * self.threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _read(self, positions: list[int]) -> Batch:
        many = getattr(self.dataset, "__getitems__", None)
        samples = many(positions) if many else [self.dataset[one] for one in positions]
        batch = collate(samples)
        return {n: v.pin_memory() for n, v in batch.items()} if self.pin_memory else batch


def collate(samples: list[Batch]) -> Batch:
    """Samples as one batch; what was read as one costs nothing."""
    return samples.whole if isinstance(samples, ReadBatch) else default_collate(samples)


def make_loader(
    data: Dataset,
    batch_size: int,
    *,
    workers: int = 0,
    threads: int = 2,
    seed: int = 0,
    shuffle: bool = True,
    drop_last: bool = False,
) -> SampleLoader:
    """Batches of a SampleDataset, or a Subset of one, as dicts of stacked tensors.

    The order is a pure function of (seed, epoch): any number of workers or threads gives the same
    batches. Workers start anew for each epoch, so a position set between epochs always takes
    effect.

    Args:
        data: What to read.
        batch_size: Samples of a batch.
        workers: Processes that read; 0 leaves it to threads of this one, which cost no start and
            no copies, and hold each other up only where Python itself runs.
        threads: Threads that read ahead when there are no workers.
        seed: Key of the order.
        shuffle: False gives index order.
        drop_last: Leave out a last batch that is not full.
    """
    batches = EpochBatches(
        len(data), batch_size=batch_size, seed=seed, shuffle=shuffle, drop_last=drop_last
    )
    return SampleLoader(
        data,
        threads=threads,
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="spawn" if workers else None,
    )
