"""FFCV: composites as its JPEG field, masks and depths as raw arrays, compiled batches.

FFCV encodes the drawn pixels itself, at the same quality, and it decodes and resizes colour
pictures itself. It has no field and no resize for pictures of one channel. So these are stored raw,
and the resize in this module is compiled into its pipeline. FFCV uses threads where others use
worker processes.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from ffcv.fields import NDArrayField, RGBImageField
from ffcv.fields.decoders import CenterCropRGBImageDecoder, NDArrayDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.compiler import Compiler
from ffcv.pipeline.operation import Operation
from ffcv.pipeline.state import State
from ffcv.transforms import ToTensor
from ffcv.writer import DatasetWriter

from benchmarks.peers.shared import BATCH, FIELDS, Batch, EncodedSamples

FILE = "samples.beton"


def build(samples: EncodedSamples, root: Path) -> None:
    root.mkdir()
    first = samples.pixels(0)
    fields = {
        "composite": RGBImageField(write_mode="jpg", jpeg_quality=95),
        "mask": NDArrayField(first["mask"].dtype, first["mask"].shape),
        "depth": NDArrayField(first["depth"].dtype, first["depth"].shape),
    }
    writer = DatasetWriter(str(root / FILE), fields, num_workers=1)
    writer.from_indexed_dataset(_Rows(samples))


def batches(root: Path, workers: int, size: int, decode: None) -> "_Batches":
    loader = Loader(
        str(root / FILE),
        batch_size=BATCH,
        num_workers=max(1, workers),
        os_cache=True,
        order=OrderOption.RANDOM,
        drop_last=False,
        pipelines={
            "composite": [CenterCropRGBImageDecoder((size, size), ratio=1), ToTensor()],
            "mask": [NDArrayDecoder(), Resize(size, np.dtype(np.uint8)), ToTensor()],
            "depth": [NDArrayDecoder(), Resize(size, np.dtype(np.float32)), ToTensor()],
        },
    )
    return _Batches(loader)


class _Rows:
    def __init__(self, samples: EncodedSamples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        pixels = self.samples.pixels(index)
        return tuple(np.ascontiguousarray(pixels[name]) for name in FIELDS)


class _Batches:
    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Batch]:
        for tensors in self.loader:
            yield dict(zip(FIELDS, tensors, strict=True))


class Resize(Operation):
    """Resizes one channel, by area or, if it grows, linearly: (N,h,w) -> (N,S,S).

    Args:
        size: S [px].
        dtype: Of the result; integers are rounded.
    """

    def __init__(self, size: int, dtype: np.dtype) -> None:
        super().__init__()
        self.size, self.dtype = size, dtype
        self.source: tuple[int, int] = (0, 0)

    def generate_code(self) -> Callable:
        size, (height, width) = self.size, self.source
        each = Compiler.get_iterator()
        half = 0.5 if self.dtype.kind == "u" else 0.0
        top, weight_y = taps(height, size)
        left, weight_x = taps(width, size)
        taps_y, taps_x = weight_y.shape[1], weight_x.shape[1]

        def copy(images: np.ndarray, result: np.ndarray) -> np.ndarray:
            for n in each(images.shape[0]):
                result[n] = images[n]
            return result[: images.shape[0]]

        def resize(images: np.ndarray, result: np.ndarray) -> np.ndarray:
            for n in each(images.shape[0]):
                row = np.empty(width, np.float32)
                for y in range(size):
                    row[:] = 0
                    for k in range(taps_y):
                        for x in range(width):
                            row[x] += weight_y[y, k] * images[n, top[y] + k, x]
                    for x in range(size):
                        total = np.float32(half)
                        for k in range(taps_x):
                            total += weight_x[x, k] * row[left[x] + k]
                        result[n, y, x] = total
            return result[: images.shape[0]]

        code = copy if self.source == (size, size) else resize
        code.is_parallel = True
        return code

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, AllocationQuery]:
        self.source = tuple(map(int, previous_state.shape))  # FFCV stores them as unsigned
        shape = (self.size, self.size)
        state = replace(previous_state, shape=shape, dtype=self.dtype)
        return state, AllocationQuery(shape, self.dtype)


def taps(source: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights with which a row is resized.

    Returns:
        The first source pixel of each target pixel, int64 (target,), and the weights of that pixel
        and the following ones, float32 (target, K).
    """
    places = np.arange(target)
    if target < source:  # the share of each source pixel that the target pixel covers
        scale = source / target
        low, high = places * scale, (places + 1) * scale
        covered = np.arange(source)[None]
        share = np.minimum(covered + 1, high[:, None]) - np.maximum(covered, low[:, None])
        share = np.maximum(share, 0) / scale
    else:
        at = np.clip((places + 0.5) * source / target - 0.5, 0, source - 1)
        share = np.maximum(1 - np.abs(np.arange(source)[None] - at[:, None]), 0)
    used = share > 1e-9
    count = int(used.sum(axis=1).max())
    first = np.minimum(used.argmax(axis=1), source - count)
    weights = np.take_along_axis(share, first[:, None] + np.arange(count)[None], axis=1)
    return first, weights.astype(np.float32)
