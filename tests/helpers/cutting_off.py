"""Cuts runs off in the middle, as a crash would, at a number of samples."""

from collections.abc import Callable


class CutOffError(Exception):
    """Cuts a run off."""


def stop_at(count: int) -> Callable[[int, int], None]:
    """A `progress` that cuts its run off when at least `count` samples are done."""

    def progress(done: int, total: int) -> None:
        if done >= count:
            raise CutOffError

    return progress
