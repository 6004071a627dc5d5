"""Batches in an order that is a pure function of (seed, epoch, position), read ahead in threads."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from dsetkit.loading.device_compositing import DeviceCompositor, Placements
from dsetkit.loading.samples import ReadBatch, SampleDataset

BATCHES_AHEAD = 2  # per thread
WINDOW_BLOCKS = 16  # of a shuffle by blocks

Batch = dict[str, torch.Tensor]


def epoch_order(seed: int, epoch: int, count: int, *, block: int | None = None) -> np.ndarray:
    """The order of an epoch: a permutation that depends on nothing but its arguments.

    Args:
        seed: Key of the order, with `epoch`.
        epoch: From 0.
        count: Samples.
        block: For data larger than the memory, which a whole shuffle (None) reads from the disk at
            random places: blocks of that many neighbouring samples come in random order, and are
            shuffled within windows of 16 blocks, so that only a window is read at a time. What is
            given up: neighbours of one block always come in the same window, so within 16 blocks'
            samples of each other, and a batch mixes samples of one window's blocks (of two where
            a window ends in it). Which blocks share a window is drawn anew for each epoch.

    Returns:
        int64 (count,)
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    if block is None:
        return rng.permutation(count)
    firsts = rng.permutation(-(-count // block)) * block
    order = [firsts[:0]]
    for number in range(0, len(firsts), WINDOW_BLOCKS):
        window = (firsts[number : number + WINDOW_BLOCKS, None] + np.arange(block)).ravel()
        order.append(rng.permutation(window[window < count]))  # the last block may be short
    return np.concatenate(order)


class EpochBatches:
    """Batch sampler whose order is a pure function of (seed, epoch) and starts anywhere.

    With a `place` other than (0, 1) it gives this process's share of each batch, a stretch of it:
    together the processes have every sample once. Shares of a last batch that is not full may
    differ by one, and one that is empty is left out.
    """

    def __init__(
        self,
        count: int,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        drop_last: bool,
        shuffle_block: int | None = None,
        place: tuple[int, int] = (0, 1),
    ) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.shuffle, self.drop_last = shuffle, drop_last
        self.shuffle_block = shuffle_block
        self.rank, self.world = place
        self.epoch, self.first_batch = 0, 0

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        whole, rest = divmod(self.count, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.arange(self.count)
        if self.shuffle:
            order = epoch_order(self.seed, self.epoch, self.count, block=self.shuffle_block)
        for number in range(self.first_batch, len(self)):
            batch = order[number * self.batch_size : (number + 1) * self.batch_size]
            share = np.array_split(batch, self.world)[self.rank]
            if len(share):
                yield share.tolist()


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
        if not self.threads:
            yield from (self._finished(self._read(positions)) for positions in self.batch_sampler)
            return
        waiting: deque[Future] = deque()
        pool = ThreadPoolExecutor(self.threads, "dsetkit-reader")
        try:
            for positions in self.batch_sampler:
                waiting.append(pool.submit(self._read, positions))
                if len(waiting) > BATCHES_AHEAD * self.threads:
                    yield self._finished(waiting.popleft().result())
            while waiting:
                yield self._finished(waiting.popleft().result())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _finished(self, batch: Batch) -> Batch:
        """What is left to do in the caller's own thread."""
        return batch

    def _read(self, positions: list[int]) -> Batch:
        many = getattr(self.dataset, "__getitems__", None)
        samples = many(positions) if many else [self.dataset[one] for one in positions]
        batch = collate(samples)
        return {n: v.pin_memory() for n, v in batch.items()} if self.pin_memory else batch


class DeviceLoader(SampleLoader):
    """Batches of recipes: composites and masks are drawn on a device, where the batches lie.

    Args:
        data: As `can_composite_on_device` accepts.
        device: Where.
        settings: As `SampleLoader`.
    """

    def __init__(
        self,
        data: Dataset,
        *,
        device: torch.device | str,
        **settings,
    ) -> None:
        self._device = torch.device(device)
        super().__init__(data, pin_memory=self._device.type == "cuda", **settings)
        self._source, self._positions = _unwrapped(data)
        self._compositor: DeviceCompositor | None = None  # when the first batch is asked for

    def _read(self, positions: list[int]) -> tuple[Placements, Batch]:
        rest = [name for name in self._source.fields if name == "depth"]
        records, read = self._source.read_recipes([self._positions[i] for i in positions], rest)
        placements = self._compositor.place(records)
        if self.pin_memory:
            placements = placements.pinned()
            read = {name: values.pin_memory() for name, values in read.items()}
        return placements, read

    def _read_ahead(self) -> Iterator[Batch]:
        self._compositor = self._compositor or self._source.device_compositor(self._device)
        return super()._read_ahead()

    def _finished(self, read: tuple[Placements, Batch]) -> Batch:
        placements, batch = read[0].to(self._device), dict(read[1])
        fields = self._source.fields
        if "composite" in fields or "mask" in fields:
            batch["composite"], batch["mask"] = self._compositor.composite(placements)
        if "background" in fields:
            batch["background"] = self._compositor.backgrounds(placements)
        return {name: batch[name].to(self._device, non_blocking=True) for name in fields}


def best_threads(data: Dataset) -> int:
    """How many threads read a dataset fastest, as measured by benchmarks/bench_read.py.

    Decoding pictures leaves Python to others, so two threads share it. Drawing recipes is many
    short calls, which two threads would only hand to and fro; copying from a cache takes less time
    than handing over.
    """
    source, _ = _unwrapped(data)
    if not isinstance(source, SampleDataset):
        return 2
    if source.is_cached:
        return 0
    return 1 if source.manifest.layout == "recipe" else 2


def can_composite_on_device(data: Dataset) -> bool:
    """Whether `DeviceLoader` can read it: a SampleDataset of recipes, or a Subset of one."""
    source, _ = _unwrapped(data)
    return isinstance(source, SampleDataset) and source.has_recipes


def _unwrapped(data: Dataset) -> tuple[Dataset, Sequence[int]]:
    """The dataset below a Subset, and the positions there."""
    if isinstance(data, Subset):
        return data.dataset, data.indices
    return data, range(len(data))


def collate(samples: Sequence[Batch]) -> Batch:
    """Samples as one batch; what was read as one costs nothing."""
    return samples.whole if isinstance(samples, ReadBatch) else default_collate(samples)


def make_loader(
    data: Dataset,
    batch_size: int,
    *,
    workers: int = 0,
    threads: int | None = None,
    seed: int = 0,
    shuffle: bool = True,
    shuffle_block: int | None = None,
    drop_last: bool = False,
    place: tuple[int, int] = (0, 1),
    device: torch.device | str | None = None,
) -> SampleLoader:
    """Batches of a SampleDataset, or a Subset of one, as dicts of stacked tensors.

    The order is a pure function of (seed, epoch): any number of workers or threads gives the same
    batches. Workers stay from epoch to epoch, with what they have opened and prepared; which
    batches they read is said here, so a position set between epochs always takes effect.

    Args:
        data: What to read.
        batch_size: Samples of a batch, of all processes together.
        workers: Processes that read; 0 leaves it to threads of this one, which cost no start and
            no copies, and hold each other up only where Python itself runs.
        threads: Threads that read ahead when there are no workers; 0 reads when a batch is asked
            for, None takes what is fastest (`best_threads`).
        seed: Key of the order.
        shuffle: False gives index order.
        shuffle_block: Shuffle blocks of that many neighbouring samples, for data larger than the
            memory; None shuffles as a whole. See `epoch_order`.
        drop_last: Leave out a last batch that is not full.
        place: (rank, world) of this process among those that share each batch: see `EpochBatches`.
        device: Where the training is: if that is a CUDA device and the dataset holds recipes,
            composites and masks are drawn there, and the batches lie there.
    """
    threads = best_threads(data) if threads is None else threads
    batches = EpochBatches(
        len(data),
        batch_size=batch_size,
        seed=seed,
        shuffle=shuffle,
        drop_last=drop_last,
        shuffle_block=shuffle_block,
        place=place,
    )
    is_cuda = device is not None and torch.device(device).type == "cuda"
    if is_cuda and not workers and can_composite_on_device(data):
        return DeviceLoader(data, device=device, threads=threads, batch_sampler=batches)
    return SampleLoader(
        data,
        threads=threads,
        batch_sampler=batches,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="spawn" if workers else None,
    )
