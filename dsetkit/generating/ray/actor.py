"""What runs on the nodes of a cluster: an actor that writes shards."""

import platform
import time
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from dsetkit.errors import BusyError, DatasetError, DsetkitError
from dsetkit.generating.plan import Plan
from dsetkit.generating.shard_jobs import load_plan_teacher, write
from dsetkit.store import shard_path

SECONDS_BETWEEN_TRIES = 0.5

Pixels = Mapping[str, Sequence[np.ndarray]]


class ShardWriter:
    """Writes shards, one after another; a plain class, which the crew makes an actor of.

    Args:
        plan: What to make; its paths are absolute.
        pixels: Of `backgrounds` and `foregrounds`, uint8 (h,w,c) in id order: arrays that lie in
            the node's object store.
        clock: Tells the time [s].
        sleep: Waits for so long [s].
    """

    def __init__(
        self,
        plan: Plan,
        pixels: Pixels,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._plan, self._pixels = plan, pixels
        self._progress = (-1, 0)  # shard, samples done
        self._clock, self._sleep = clock, sleep

    def prepare(self) -> None:
        """Loads the teacher.

        Raises:
            DsetkitError: This node does not see the dataset, or cannot use the teacher.
        """
        cv2.setNumThreads(1)  # the actors are the parallelism
        try:
            if not shard_path(self._plan.output).exists():
                raise DatasetError(
                    f"{self._plan.output} is not there: expected the dataset's directory, under "
                    "the same path on all nodes, in a file system that they share"
                )
            self._network = load_plan_teacher(self._plan, threads=1)
        except DsetkitError as error:
            raise type(error)(f"on node {platform.node()}: {error}") from None

    def write(self, number: int, *, patience_s: float) -> int:
        """Writes what is missing of a shard.

        Args:
            number: Of the shard.
            patience_s: How long to wait for another process that is writing it [s].

        Returns:
            Samples written.
        """
        written = 0

        def report(done: int, total: int) -> None:
            nonlocal written
            self._progress = (number, done)
            written += (done - 1) % self._plan.batch_size + 1  # a shard's last batch may be short

        until = self._clock() + patience_s
        while True:
            try:
                write(self._plan, self._asset, self._network, only=number, progress=report)
                return written
            except BusyError:
                if self._clock() > until:
                    raise
            self._sleep(SECONDS_BETWEEN_TRIES)

    def progress(self) -> tuple[int, int]:
        """The shard last written to, and how many of its samples are done; works during `write`."""
        return self._progress

    def _asset(self, kind: str, number: int) -> np.ndarray:
        return self._pixels[kind][number]
