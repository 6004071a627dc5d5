"""Batches whose order is a pure function of (seed, epoch, position), read ahead by threads."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from dsetkit.loading.device_compositing import DeviceCompositor, Placements
from dsetkit.loading.plane_cache import DEPTH_STEP
from dsetkit.loading.samples import Batch, ReadBatch, Sample, SampleDataset
from dsetkit.processes import in_order
from dsetkit.spawning import SPAWN, main_is_guarded

log = logging.getLogger(__name__)

BATCHES_AHEAD = 2  # per thread
WINDOW_BLOCKS = 16  # blocks that a shuffle by blocks mixes at a time

Part = TypeVar("Part")


def epoch_order(seed: int, epoch: int, count: int, *, block: int | None = None) -> np.ndarray:
    """The order of an epoch: a permutation that depends only on the arguments.

    A shuffle of the whole reads samples at random places of the disk. If the data do not fit into
    memory, give a `block`: blocks of neighbouring samples come in random order, and samples are
    shuffled within windows of 16 blocks, so that only one window is read at a time. The price is
    that neighbours of one block always come in the same window, and that a batch mixes samples of
    one window only (of two where a window ends within it). Every epoch puts other blocks into a
    window.

    Args:
        seed: Key of the order, with `epoch`.
        epoch: Number of the epoch, from 0.
        count: Number of samples.
        block: Samples of a block; None shuffles all samples as a whole.

    Returns:
        int64 (count,)
    """
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, epoch], np.uint64)))
    if block is None:
        return rng.permutation(count)
    firsts = rng.permutation(-(-count // block)) * block
    order = [firsts[:0]]
    for number in range(0, len(firsts), WINDOW_BLOCKS):
        window = (firsts[number : number + WINDOW_BLOCKS, None] + np.arange(block)).ravel()
        order.append(rng.permutation(window[window < count]))  # the last block may be short
    return np.concatenate(order)


class EpochBatches:
    """Batch sampler whose order is a pure function of (seed, epoch) and can start at any batch.

    If several processes share each batch, every process gets a contiguous share of it, and together
    they get every sample once. Shares of an incomplete last batch may differ by one sample; an
    empty share is left out.

    Args:
        count: Number of samples.
        batch_size: Samples of a batch, of all processes together.
        seed: Key of the order.
        shuffle: False gives index order.
        drop_last: Leave out an incomplete last batch.
        shuffle_block: See `epoch_order`.
        place: (rank, world size) of this process.

    Attributes:
        epoch: The epoch that the next iteration gives.
        first_batch: The batch at which it starts.
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


class SampleLoader(DataLoader[Sample]):
    """A DataLoader that can start at any batch of any epoch, and reads ahead without workers.

    Each iteration that comes to its end is an epoch, and the next one gives the next epoch, in
    another order. One that is left early is repeated.

    Args:
        data: What to read.
        batches: Which samples make which batch.
        threads: Threads that read ahead if there are no workers; 0 reads a batch when it is asked
            for.
        workers: Processes that read; 0 leaves it to threads.
        pin_memory: Put batches into memory that a GPU copies from without waiting.
    """

    def __init__(
        self,
        data: Dataset[Sample],
        batches: EpochBatches,
        *,
        threads: int,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        super().__init__(
            data,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pin_memory,
            multiprocessing_context=SPAWN if workers else None,
        )
        self.threads = threads
        self._batches = batches

    def set_position(self, epoch: int, batch: int = 0) -> None:
        """Makes the next iteration start at a batch of an epoch."""
        self._batches.epoch, self._batches.first_batch = epoch, batch

    # torch declares its private iterator class as the return type; callers need only an iterator.
    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        yield from super().__iter__() if self.num_workers else self._read_epoch()
        self.set_position(self._batches.epoch + 1)

    def _read_epoch(self) -> Iterator[Batch]:
        """The batches from the position on, read in this process."""
        return _read_ahead(self._read, lambda batch: batch, self._batches, threads=self.threads)

    def _read(self, positions: list[int]) -> Batch:
        read_many = getattr(self.dataset, "__getitems__", None)
        if read_many is not None:
            samples = read_many(positions)
        else:
            samples = [self.dataset[position] for position in positions]
        batch = collate(samples)
        return _pinned(batch) if self.pin_memory else batch


class _ToDevice(SampleLoader):
    """Reads batches of a SampleDataset; they end up on a device.

    Args:
        data: A SampleDataset, or a Subset of one.
        batches: Which samples make which batch.
        device: Where to.
        threads: Threads that read ahead.
    """

    def __init__(
        self,
        data: Dataset[Sample],
        batches: EpochBatches,
        *,
        device: torch.device | str,
        threads: int,
    ) -> None:
        self._device = torch.device(device)
        super().__init__(data, batches, threads=threads, pin_memory=self._device.type == "cuda")
        self._source, self._positions = _our_source(data)

    def _places(self, positions: Iterable[int]) -> list[int]:
        """Positions in the SampleDataset of positions in the data."""
        return [self._positions[position] for position in positions]


class CacheToDevice(_ToDevice):
    """Reads batches from a cache and moves them to a device; see `is_cached`.

    Depth goes there as the cache holds it, in half the bytes, and becomes float32 there.
    """

    def _read_epoch(self) -> Iterator[Batch]:
        def read(positions: list[int]) -> Batch:
            batch = self._source.read_cached(self._places(positions))
            return _pinned(batch) if self.pin_memory else batch

        def move(batch: Batch) -> Batch:
            return _moved(batch, self._device)

        return _read_ahead(read, move, self._batches, threads=self.threads)


class DeviceLoader(_ToDevice):
    """Composites batches of recipes on a device; see `can_composite_on_device`."""

    _compositor: DeviceCompositor | None = None  # made when the first batch is asked for

    def _read_epoch(self) -> Iterator[Batch]:
        compositor = self._compositor or self._source.device_compositor(self._device)
        self._compositor = compositor
        fields = self._source.fields
        composited = [name for name in fields if name in self._source.manifest.composited]
        other_fields = [name for name in fields if name not in ("background", *composited)]

        def read(positions: list[int]) -> tuple[Placements, Batch]:
            records, batch = self._source.read_recipes(self._places(positions), other_fields)
            placements = compositor.place(records)
            return (placements.pinned(), _pinned(batch)) if self.pin_memory else (placements, batch)

        def composite(part: tuple[Placements, Batch]) -> Batch:
            placements, batch = part[0].to(self._device), dict(part[1])
            if composited:
                batch |= compositor.composite(placements, composited)
            if "background" in fields:
                batch["background"] = compositor.backgrounds(placements)
            return _moved({name: batch[name] for name in fields}, self._device)

        return _read_ahead(read, composite, self._batches, threads=self.threads)


def _read_ahead(
    read: Callable[[list[int]], Part],
    finish: Callable[[Part], Batch],
    batches: Iterable[list[int]],
    *,
    threads: int,
) -> Iterator[Batch]:
    """Yields batches in order; threads read the next ones while the caller uses one.

    Args:
        read: Reads the samples at some positions; called in the threads.
        finish: Makes the batch of what was read; called in the caller's thread.
        batches: The positions of each batch.
        threads: Number of threads; 0 reads in the caller's thread.
    """
    if not threads:
        yield from (finish(read(positions)) for positions in batches)
        return
    pool = ThreadPoolExecutor(threads, "dsetkit-reader")
    try:
        for part in in_order(pool, read, batches, ahead=BATCHES_AHEAD * threads):
            yield finish(part)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _moved(batch: Batch, device: torch.device) -> Batch:
    """A batch on a device, where depth of a cache becomes float32."""
    moved = {name: values.to(device, non_blocking=True) for name, values in batch.items()}
    if "depth" in moved and moved["depth"].dtype == torch.uint16:
        moved["depth"] = moved["depth"].float().mul_(float(DEPTH_STEP))  # as `cached_share`
    return moved


def _pinned(batch: Batch) -> Batch:
    return {name: values.pin_memory() for name, values in batch.items()}


def best_threads(data: Dataset[Any]) -> int:
    """How many threads read a dataset fastest, as measured by benchmarks/bench_read.py.

    Decoding pictures releases Python's lock, so two threads can share it. Copying from a cache
    takes less time than handing a batch from thread to thread. Recipes: see `composites_pixels`.
    """
    source, _ = _unwrapped(data)
    if isinstance(source, SampleDataset) and source.is_cached:
        return 0
    return 1 if composites_pixels(data) else 2


def composites_pixels(data: Dataset[Any]) -> bool:
    """Whether reading composites recipes, which one thread does faster than two.

    Compositing is many short calls, between which threads would hand Python's lock to and fro: two
    of them take twice the CPU time of one.
    """
    source, _ = _unwrapped(data)
    if not isinstance(source, SampleDataset):
        return False
    return source.manifest.layout == "recipe" and not source.is_cached


def can_composite_on_device(data: Dataset[Any]) -> bool:
    """Whether `DeviceLoader` can read `data`: a SampleDataset with recipes, or a Subset of one."""
    source, _ = _unwrapped(data)
    return isinstance(source, SampleDataset) and source.has_recipes


def is_cached(data: Dataset[Any]) -> bool:
    """Whether `CacheToDevice` can read `data`: a SampleDataset with a cache, or a Subset of one."""
    source, _ = _unwrapped(data)
    return isinstance(source, SampleDataset) and source.is_cached


def _our_source(data: Dataset[Any]) -> tuple[SampleDataset, Sequence[int]]:
    """The SampleDataset below a Subset, and the positions in it."""
    source, positions = _unwrapped(data)
    if not isinstance(source, SampleDataset):
        raise TypeError(f"{type(source).__name__}: expected a SampleDataset")
    return source, positions


def _unwrapped(data: Dataset[Any]) -> tuple[Dataset[Any], Sequence[int]]:
    """The dataset below a Subset, and the positions in it."""
    if isinstance(data, Subset):
        return data.dataset, data.indices
    return data, range(_length(data))


def _length(data: Dataset[Any]) -> int:
    # torch's Dataset declares no length, because some datasets are streams; these have one.
    return len(data)  # type: ignore[arg-type]


def collate(samples: Sequence[Sample]) -> Batch:
    """Stacks samples to a batch; a batch that was read as a whole is not copied."""
    if isinstance(samples, ReadBatch):
        return samples.whole
    return default_collate(list(samples))


def make_loader(
    data: Dataset[Sample],
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
    """Batches of a SampleDataset, or of a Subset of one, as dicts of stacked tensors.

    The order is a pure function of (seed, epoch): any number of workers or threads gives the same
    batches. Each whole iteration is one epoch; `set_position` chooses another. Workers stay alive
    from epoch to epoch and keep open files and prepared assets.

    Args:
        data: What to read.
        batch_size: Samples of a batch, of all processes together.
        workers: Processes that read. 0 leaves it to threads of this process: they need no start and
            no copies, and block each other only while Python code runs. A script that starts
            processes must do its work below `if __name__ == "__main__":`; threads read for others.
        threads: Threads that read ahead if there are no workers; 0 reads a batch when it is asked
            for, None takes the fastest number (`best_threads`). Recipes take one at most.
        seed: Key of the order.
        shuffle: False gives index order.
        shuffle_block: Shuffle blocks of that many neighbouring samples, for data that do not fit
            into memory; None shuffles as a whole. See `epoch_order`.
        drop_last: Leave out an incomplete last batch.
        place: (rank, world size) of this process among those that share each batch; see
            `EpochBatches`.
        device: Where the network is. If it is a CUDA device, batches of a cache lie there. So do
            those of recipes, which are composited there.
    """
    if workers and not main_is_guarded():
        log.warning(
            'workers=%d: this script has no `if __name__ == "__main__":` above its work, which '
            "processes need; threads read in their place",
            workers,
        )
        workers = 0
    threads = best_threads(data) if threads is None else threads
    if composites_pixels(data):
        threads = min(threads, 1)
    batches = EpochBatches(
        _length(data),
        batch_size=batch_size,
        seed=seed,
        shuffle=shuffle,
        drop_last=drop_last,
        shuffle_block=shuffle_block,
        place=place,
    )
    on_cuda = device is not None and torch.device(device).type == "cuda"
    if device is not None and on_cuda and not workers:
        if can_composite_on_device(data):
            return DeviceLoader(data, batches, device=device, threads=threads)
        if is_cached(data):
            return CacheToDevice(data, batches, device=device, threads=threads)
    return SampleLoader(
        data, batches, threads=threads, workers=workers, pin_memory=torch.cuda.is_available()
    )
