"""A cache of resized pixels: every sample of a dataset at one size, in one memory-mapped file.

Decoding and resizing take hundreds of times longer than copying the result, and training reads the
same pixels in every epoch. A cache is made once, under a temporary name until it is complete, and
shared by all processes of a machine. It holds nothing that the dataset does not: it can be deleted
at any time.

The file, integers little-endian:

| part        | size                | content                                                    |
|-------------|---------------------|------------------------------------------------------------|
| head        | 4096                | msgpack map, then zeros: version, fingerprint, size,       |
|             |                     | num_samples, num_backgrounds, fields                       |
| ids         | 4 a sample          | u32 id of the background (0 if there is none)              |
| background  | 3HW a background    | RGB, by id; this and the next parts exist if the dataset   |
|             |                     | has the field                                              |
| composite   | 3HW a sample        | RGB                                                        |
| mask        | HW a sample         | alpha                                                      |
| depth       | 2HW a sample        | u16: depth in [0, 1] times 65535, 0 = invalid              |
| instances   | HW a sample         | numbers of the objects, 0 = background                     |

Each part starts at a multiple of 4096.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import filelock
import msgpack
import numpy as np

from dsetkit.console import progress_bar
from dsetkit.datasets import Dataset, Size
from dsetkit.errors import DatasetError
from dsetkit.files import replacing
from dsetkit.processes import in_chunks, in_jobs

VERSION = 2  # version 1 held depths that were shrunk by another filter

_BLOCK = 4096
SAMPLES_PER_TASK = 256
_DEPTH_SCALE = np.float32(65535)
_VALUES_AT_ONCE = 1 << 15  # of depth, turned to float32
DEPTH_STEP = 1 / _DEPTH_SCALE  # multiplying is faster than dividing


def open_cache(
    directory: Path,
    dataset: Dataset,
    size: Size,
    *,
    jobs: int = 1,
    samples_per_task: int = SAMPLES_PER_TASK,
) -> "PlaneCache":
    """The cache of a dataset at a size; makes it first if it does not exist.

    Args:
        directory: Where caches are; created if missing.
        dataset: A complete dataset.
        size: Height and width [px].
        jobs: Processes that make it; the file does not depend on their number.
        samples_per_task: Samples that a process takes at a time.

    Raises:
        DsetkitError: No space left, a damaged sample, or a file that is not a complete cache.
    """
    path = cache_path(directory, dataset, size)
    if not path.exists():
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(f"{path}.lock"):  # one process makes it, others wait
                if not path.exists():
                    with progress_bar("cache") as progress:
                        tasks = in_chunks(range(len(dataset)), samples_per_task)
                        _build(path, dataset, size, tasks, jobs, progress)
        except OSError as error:
            raise DatasetError(f"cannot write the cache {path}: {error.strerror}") from None
    return PlaneCache(path, dataset, size)


def cache_path(directory: Path, dataset: Dataset, size: Size) -> Path:
    """The file of a cache; its name holds the dataset's fingerprint and the size."""
    fingerprint = dataset.manifest.fingerprint[:16]
    return Path(directory) / f"{fingerprint}-{size[0]}x{size[1]}.planes"


class PlaneCache:
    """Reads a cache; can be pickled, and shared by threads and processes.

    Args:
        path: The file.
        dataset: The dataset that it caches.
        size: Height and width of its pictures [px].

    Raises:
        DatasetError: The file is not a complete cache of this dataset and size.
    """

    def __init__(self, path: Path, dataset: Dataset, size: Size) -> None:
        self.path = path
        self._layout, length = _layout(dataset, size)
        head = _head(dataset, size)
        with open(path, "rb") as file:
            stored_head = file.read(_BLOCK)
        if stored_head != head or path.stat().st_size != length:
            raise DatasetError(
                f"{path} is not a complete cache of this dataset at {size[0]}x{size[1]} px: "
                "delete it, it will be made again"
            )
        self._parts = _map(path, self._layout, mode="r")

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_parts": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._parts = _map(self.path, self._layout, mode="r")

    def read(self, field: str, indices: np.ndarray) -> np.ndarray:
        """A field of many samples; see `CachedFields.read`.

        Returns:
            uint8 (N,H,W,3) RGB colours, uint8 (N,H,W) mask, uint16 (N,H,W) depth.
        """
        if field == "background":
            ids = self._parts["ids"].take(indices)
            return self._parts["background"].take(ids, axis=0)
        return self._parts[field].take(indices, axis=0)


def cached_share(stored: np.ndarray) -> np.ndarray:
    """Depth of a cache, uint16, as float32 in [0, 1] of the same shape, 0 = invalid."""
    # numpy's own product of uint16 and float32 takes twice the time of these two passes, if what
    # the first one wrote is still in the CPU's cache.
    share = np.empty(stored.shape, np.float32)
    values, shares = stored.reshape(-1), share.reshape(-1)
    for start in range(0, len(values), _VALUES_AT_ONCE):
        part = shares[start : start + _VALUES_AT_ONCE]
        part[:] = values[start : start + _VALUES_AT_ONCE]
        part *= DEPTH_STEP
    return share


# ---- making a cache ----------------------------------------------------------------------------


def _build(
    path: Path,
    dataset: Dataset,
    size: Size,
    tasks: list[range],
    jobs: int,
    progress: Callable[[int, int], None],
) -> None:
    layout, length = _layout(dataset, size)
    advice = f"the cache takes {length:,} bytes: free some space or choose another directory"
    with replacing(path, action=f"write the cache {path}", advice=advice) as part:
        with open(part, "wb") as file:
            # Space is reserved now: a full disk under a memory map would kill the process.
            os.posix_fallocate(file.fileno(), 0, length)
            file.write(_head(dataset, size))
            file.flush()
            map_parts = partial(_map, part, layout, mode="r+")
            _fill(map_parts, dataset, size, tasks, jobs, progress)
            os.fsync(file.fileno())
        os.chmod(part, 0o644)  # other users of this machine read it too


def _fill(
    map_parts: Callable[[], dict[str, np.memmap]],
    dataset: Dataset,
    size: Size,
    tasks: list[range],
    jobs: int,
    progress: Callable[[int, int], None],
) -> None:
    parts = map_parts()
    if "background" in parts:
        for number in range(len(parts["background"])):
            parts["background"][number] = dataset.compositor.background(number, size)
    count = len(dataset)
    progress(0, count)  # starts the clock of the rate
    for done in in_jobs(partial(_fill_chunk, map_parts, dataset, size), tasks, jobs=jobs):
        progress(done, count)


def _fill_chunk(
    map_parts: Callable[[], dict[str, np.memmap]], dataset: Dataset, size: Size, indices: range
) -> int:
    """Writes some samples into the file; returns the index after the last of them."""
    parts = map_parts()
    fields = [name for name in parts if name not in ("ids", "background")]
    for index, record in zip(indices, dataset.records(indices), strict=True):
        parts["ids"][index] = record.background or 0
        for name, image in dataset.images(record, fields, size).items():
            if name == "depth":
                image = np.rint(image * _DEPTH_SCALE)
            parts[name][index] = image
    return indices.stop


# ---- layout of the file ------------------------------------------------------------------------


class _Part(NamedTuple):
    """A part of the file: its offset in bytes, its shape, and the type of its numbers."""

    offset: int
    shape: tuple[int, ...]
    dtype: str


_Layout = dict[str, _Part]


def _layout(dataset: Dataset, size: Size) -> tuple[_Layout, int]:
    """The parts of a cache, and the length of the file in bytes."""
    manifest, count = dataset.manifest, len(dataset)
    shapes: dict[str, tuple[tuple[int, ...], str]] = {
        "background": ((manifest.num_backgrounds, *size, 3), "<u1"),
        "composite": ((count, *size, 3), "<u1"),
        "mask": ((count, *size), "<u1"),
        "depth": ((count, *size), "<u2"),
        "instances": ((count, *size), "<u1"),
    }
    parts: dict[str, tuple[tuple[int, ...], str]] = {"ids": ((count,), "<u4")}
    parts |= {name: shapes[name] for name in shapes if name in manifest.fields}
    layout: _Layout = {}
    offset = _BLOCK
    for name, (shape, dtype) in parts.items():
        layout[name] = _Part(offset, shape, dtype)
        length = int(np.prod(shape)) * np.dtype(dtype).itemsize
        offset += -(-length // _BLOCK) * _BLOCK
    return layout, offset


def _head(dataset: Dataset, size: Size) -> bytes:
    """The first block of the file: what it caches, padded with zeros."""
    manifest = dataset.manifest
    content = {
        "version": VERSION,
        "fingerprint": manifest.fingerprint,
        "size": list(size),
        "num_samples": len(dataset),
        "num_backgrounds": manifest.num_backgrounds,
        "fields": manifest.fields,
    }
    return msgpack.packb(content).ljust(_BLOCK, b"\0")


def _map(path: Path, layout: _Layout, *, mode: Literal["r", "r+"]) -> dict[str, np.memmap]:
    return {
        name: np.memmap(path, part.dtype, mode, part.offset, part.shape)
        for name, part in layout.items()
    }
