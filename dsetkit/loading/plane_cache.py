"""A cache of resized pixels: every sample of a dataset at one size, in one memory-mapped file.

Decoding and resizing take hundreds of times longer than copying the result, and a training asks
for the same pixels in every epoch. A cache is made once, whole and under a temporary name, and
shared by all processes of a machine. It holds nothing that the dataset does not: delete it freely.

The file, integers little-endian:

| part        | size                | content                                                    |
|-------------|---------------------|------------------------------------------------------------|
| head        | 4096                | msgpack map, then zeros: version, fingerprint, size,       |
|             |                     | num_samples, num_backgrounds, fields                       |
| ids         | 4 a sample          | u32 id of the background (0 where there is none)           |
| backgrounds | 3HW a background    | RGB, by id; this part and the next where the field is held |
| composite   | 3HW a sample        | RGB                                                        |
| mask        | HW a sample         | alpha                                                      |
| depth       | 2HW a sample        | u16: the share of depth times 65535, 0 = invalid           |

Each part begins at a multiple of 4096.
"""

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import filelock
import msgpack
import numpy as np

from dsetkit.console import progress_bar
from dsetkit.datasets import Dataset, Size
from dsetkit.errors import DatasetError
from dsetkit.processes import in_jobs

VERSION = 2  # 1 held depths shrunk by another filter

_BLOCK = 4096
_SAMPLES_AT_ONCE = 256
_DEPTH_SCALE = np.float32(65535)
_DEPTH_STEP = 1 / _DEPTH_SCALE  # multiplying takes less time than dividing


def open_cache(directory: Path, dataset: Dataset, size: Size, *, jobs: int = 1) -> "PlaneCache":
    """The cache of a dataset at a size, made first if it is not there.

    Args:
        directory: Where caches are; created if missing.
        dataset: What to cache, complete.
        size: Height and width [px].
        jobs: Processes that make it; they never change a byte.

    Raises:
        DatasetError: No room, or the pictures of the dataset cannot be cached.
    """
    path = cache_path(directory, dataset, size)
    if not path.exists():
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(f"{path}.lock"):  # the first makes it, the others wait
                if not path.exists():
                    with progress_bar("cache") as progress:
                        _build(path, dataset, size, jobs, progress)
        except OSError as error:
            raise DatasetError(
                f"cannot write the cache {path} ({error.strerror}): it takes "
                f"{_layout(dataset, size)[1]:,} bytes; free some space or choose another directory"
            ) from None
    return PlaneCache(path, dataset, size)


def cache_path(directory: Path, dataset: Dataset, size: Size) -> Path:
    """The file of a cache: named for the dataset's fingerprint and the size."""
    fingerprint = dataset.manifest.fingerprint[:16]
    return Path(directory) / f"{fingerprint}-{size[0]}x{size[1]}.planes"


class PlaneCache:
    """Reads a cache; picklable, shared by threads and processes.

    Raises:
        DatasetError: The file is not a whole cache of this dataset and size.
    """

    def __init__(self, path: Path, dataset: Dataset, size: Size) -> None:
        self.path = path
        self._layout, length = _layout(dataset, size)
        head = _head(dataset, size)
        with open(path, "rb") as file:
            there = file.read(_BLOCK)
        if there != head or path.stat().st_size != length:
            raise DatasetError(
                f"{path} is not a whole cache of this dataset at {size[0]}x{size[1]} px: "
                "delete it, it will be made anew"
            )
        self._parts = _map(path, self._layout, mode="r")

    def __getstate__(self) -> dict:
        return vars(self) | {"_parts": None}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self._parts = _map(self.path, self._layout, mode="r")

    def read(self, field: str, indices: np.ndarray) -> np.ndarray:
        """A field of many samples: uint8 (N,H,W,3) colours or (N,H,W) mask, float32 depth."""
        if field == "background":
            ids = self._parts["ids"].take(indices)
            return self._parts["background"].take(ids, axis=0)
        values = self._parts[field].take(indices, axis=0)
        return values * _DEPTH_STEP if field == "depth" else values


# ---- making one --------------------------------------------------------------------------------


def _build(
    path: Path, dataset: Dataset, size: Size, jobs: int, progress: Callable[[int, int], None]
) -> None:
    layout, length = _layout(dataset, size)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            # Reserved now: a full disk under a memory map would kill the process.
            os.posix_fallocate(file.fileno(), 0, length)
            file.write(_head(dataset, size))
            file.flush()
            map_parts = partial(_map, Path(temporary), layout, mode="r+")
            _fill(map_parts, dataset, size, jobs, progress)
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # others of this machine read it too
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _fill(
    map_parts: Callable[[], dict[str, np.memmap]],
    dataset: Dataset,
    size: Size,
    jobs: int,
    progress: Callable[[int, int], None],
) -> None:
    backgrounds = map_parts().get("background", ())
    for number in range(len(backgrounds)):
        backgrounds[number] = dataset.compositor.background(number, size)
    count = len(dataset)
    starts = range(0, count, _SAMPLES_AT_ONCE)
    chunks = [range(start, min(start + _SAMPLES_AT_ONCE, count)) for start in starts]
    progress(0, count)  # the rate counts from here
    for done in in_jobs(partial(_fill_chunk, map_parts, dataset, size), chunks, jobs=jobs):
        progress(done, count)


def _fill_chunk(
    map_parts: Callable[[], dict[str, np.memmap]], dataset: Dataset, size: Size, indices: range
) -> int:
    """Writes some samples into the file; gives the index after the last of them."""
    parts = map_parts()
    fields = [name for name in parts if name not in ("ids", "background")]
    for index, record in zip(indices, dataset.records(indices), strict=True):
        parts["ids"][index] = record.background or 0
        for name, image in dataset.images(record, fields, size).items():
            if name == "depth":
                image = np.rint(image * _DEPTH_SCALE)
            parts[name][index] = image
    return indices.stop


# ---- what lies where ---------------------------------------------------------------------------

_Layout = dict[str, tuple[int, tuple[int, ...], str]]  # part -> (offset, shape, dtype)


def _layout(dataset: Dataset, size: Size) -> tuple[_Layout, int]:
    """Where each part of a cache lies, and the length of the file in bytes."""
    manifest, count = dataset.manifest, len(dataset)
    shapes = {
        "background": ((manifest.num_backgrounds, *size, 3), "<u1"),
        "composite": ((count, *size, 3), "<u1"),
        "mask": ((count, *size), "<u1"),
        "depth": ((count, *size), "<u2"),
    }
    parts = {"ids": ((count,), "<u4")}
    parts |= {name: shapes[name] for name in shapes if name in manifest.fields}
    layout, offset = {}, _BLOCK
    for name, (shape, dtype) in parts.items():
        layout[name] = (offset, shape, dtype)
        length = int(np.prod(shape)) * np.dtype(dtype).itemsize
        offset += -(-length // _BLOCK) * _BLOCK
    return layout, offset


def _head(dataset: Dataset, size: Size) -> bytes:
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


def _map(path: Path, layout: _Layout, *, mode: str) -> dict[str, np.memmap]:
    return {
        name: np.memmap(path, dtype, mode, offset, shape)
        for name, (offset, shape, dtype) in layout.items()
    }
