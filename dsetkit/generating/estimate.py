"""Says once, early in a long run, how long it will take and how large the dataset will be."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from dsetkit.compositing import FullSet
from dsetkit.console import format_bytes, format_duration

SECONDS_BEFORE = 5.0  # of work, until the rate is known
SAMPLES_BEFORE = 256
SHORTEST = 60.0  # shorter runs need no words [s]

log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]


def with_estimate(
    progress: Progress, output: Path, *, clock: Callable[[], float] = time.monotonic
) -> Progress:
    """Progress that also logs an estimate, once the rate of a long run is known.

    Args:
        progress: Called with (samples done, samples in all).
        output: The dataset's directory, for its size.
        clock: Gives the time [s].
    """
    start: tuple[float, int, int] | None = None
    is_said = False

    def report(done: int, total: int) -> None:
        nonlocal start, is_said
        progress(done, total)
        if is_said:
            return
        # What was done before a restart says nothing of the rate, and what is written before the
        # first sample, the assets, nothing of the size of a sample.
        start = start or (clock(), done, _num_bytes(output))
        seconds, count = clock() - start[0], done - start[1]
        if seconds < SECONDS_BEFORE or count < SAMPLES_BEFORE:
            return
        written = _num_bytes(output)
        if written == start[2]:
            return
        is_said = True
        left = seconds / count * (total - done)
        if left >= SHORTEST:
            num_bytes = written + (written - start[2]) / count * (total - done)
            log.info(
                "about %s left for %s samples, about %s in all; a smaller --num-samples takes less "
                "of both, and what a stopped run has written is kept",
                format_duration(left),
                f"{total - done:,}",
                format_bytes(num_bytes),
            )

    return report


def _num_bytes(output: Path) -> int:
    return sum(path.stat().st_size for path in output.glob("*.lmdb"))


def describe_full_set(full_set: FullSet, *, making: int) -> str:
    """How many samples there are, from what, and how many of them are made."""
    total = len(full_set)
    return (
        f"{full_set.num_backgrounds:,} backgrounds x {len(full_set.foreground_shapes):,} "
        f"foregrounds x 2 (plain and mirrored) x {full_set.canvas.placements:,} placements are "
        f"{total:,} samples; making {'all of them' if making == total else f'{making:,}'}"
    )
