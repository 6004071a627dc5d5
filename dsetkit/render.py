"""Indices to drawn and encoded samples, here or in worker processes, always in order."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from dsetkit.assets import decode_asset
from dsetkit.compositing import ForegroundPyramid, composite
from dsetkit.dataset import Dataset
from dsetkit.encoding import CODECS, DEFAULT_CODECS, Record
from dsetkit.errors import DatasetError
from dsetkit.recipe import FullSet

BATCHES_AHEAD = 2  # per worker: bounds the memory of what waits for the teacher


@dataclass(frozen=True)
class DrawnBatch:
    """Samples with composite and mask encoded; `pixels` uint8 (N,S,S,3) RGB for a teacher."""

    records: list[Record]
    pixels: np.ndarray | None


class Renderer:
    """Draws samples of a full set.

    Args:
        full_set: What sample `index` is.
        backgrounds: uint8 (S,S,3) RGB, by id.
        foregrounds: straight RGBA uint8 (h,w,4), by id.
        keep_pixels: Give the composites' pixels along (a teacher wants them).
    """

    def __init__(
        self,
        full_set: FullSet,
        backgrounds: list[np.ndarray],
        foregrounds: list[np.ndarray],
        *,
        keep_pixels: bool,
    ) -> None:
        self.full_set, self.keep_pixels = full_set, keep_pixels
        self.backgrounds = backgrounds
        self.pyramids = [ForegroundPyramid.build(foreground) for foreground in foregrounds]

    def draw(self, indices: Iterable[int]) -> DrawnBatch:
        """Draws and encodes the samples with these indices of the full set."""
        drawn = [self._draw_one(int(index)) for index in indices]
        records, images = zip(*drawn, strict=True)
        return DrawnBatch(list(records), np.stack(images) if self.keep_pixels else None)

    def _draw_one(self, index: int) -> tuple[Record, np.ndarray]:
        recipe = self.full_set.recipe(index)
        image, mask = composite(
            self.backgrounds[recipe.background], self.pyramids[recipe.foreground], recipe
        )
        record = Record(
            background=recipe.background,
            foreground=recipe.foreground,
            recipe={"index": index, "flip": recipe.flip, "box": list(recipe.box)},
            fields={
                "composite": CODECS[DEFAULT_CODECS["composite"]].encode(image),
                "mask": CODECS[DEFAULT_CODECS["mask"]].encode(mask),
            },
        )
        return record, image


def draw_in_workers(
    dataset: Path,
    full_set: FullSet,
    batches: list[np.ndarray],
    *,
    workers: int,
    keep_pixels: bool,
) -> Iterator[DrawnBatch]:
    """Draws batches of indices in worker processes and yields them in order, a few ahead.

    Args:
        dataset: Where each worker reads the assets; they must be committed by now.
        full_set: What sample `index` is.
        batches: Index arrays, one for each batch.
        workers: Processes, at least 1.
        keep_pixels: As `Renderer`.

    Raises:
        DatasetError: A worker died.
    """
    # Spawned, not forked: this process has threads (torch, OpenCV) that a fork would break.
    with ProcessPoolExecutor(
        workers,
        get_context("spawn"),
        initializer=_start_worker,
        initargs=(dataset, full_set, keep_pixels),
    ) as pool:
        waiting: deque[Future] = deque()
        try:
            for batch in batches:
                waiting.append(pool.submit(_draw_in_worker, batch))
                if len(waiting) > BATCHES_AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise DatasetError(
                "a drawing worker died; what was committed is safe: run the same command again, "
                "with fewer --workers if memory is short (a script of your own must call "
                "generate() below `if __name__ == '__main__':`)"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_renderer: Renderer | None = None  # of a worker process


def _start_worker(path: Path, full_set: FullSet, keep_pixels: bool) -> None:
    global _renderer
    cv2.setNumThreads(1)  # the processes are the parallelism
    dataset = Dataset(path, allow_incomplete=True)
    backgrounds, foregrounds = (
        [decode_asset(asset["image"]) for asset in dataset.assets(database)]
        for database in ("backgrounds", "foregrounds")
    )
    _renderer = Renderer(full_set, backgrounds, foregrounds, keep_pixels=keep_pixels)


def _draw_in_worker(batch: np.ndarray) -> DrawnBatch:
    return _renderer.draw(batch)
