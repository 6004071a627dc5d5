"""Work cut into tasks and done by several processes, the results in the order of the tasks."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

import cv2

from dsetkit.errors import DatasetError

TASKS_AHEAD = 2  # per process: bounds the memory of what waits to be taken

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Task], Result], tasks: Sequence[Task], *, jobs: int
) -> Iterator[Result]:
    """Yields `work(task)` for each task, in order.

    Args:
        work: A function that can be pickled; each process gets it once.
        tasks: What it is called with.
        jobs: Processes, at least 1.

    Raises:
        DatasetError: A process died; besides what `work` raises.
    """
    # Spawned, not forked: this process has threads (torch, OpenCV) that a fork would break.
    with ProcessPoolExecutor(
        jobs, get_context("spawn"), initializer=_start, initargs=(work,)
    ) as pool:
        waiting: deque[Future] = deque()
        try:
            for task in tasks:
                waiting.append(pool.submit(_do, task))
                if len(waiting) > TASKS_AHEAD * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise DatasetError(
                "a worker process died; what was committed is safe: run the same command again, "
                "with fewer of them if memory is short (a script of your own must do its work "
                "below `if __name__ == '__main__':`)"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def in_jobs(
    work: Callable[[Task], Result], tasks: Sequence[Task], *, jobs: int
) -> Iterator[Result]:
    """As `in_processes`, but in this process where one is enough: one job, or one task."""
    jobs = min(jobs, len(tasks))
    return in_processes(work, tasks, jobs=jobs) if jobs > 1 else map(work, tasks)


_work: Callable | None = None  # of a process that was started here


def _start(work: Callable) -> None:
    global _work
    cv2.setNumThreads(1)  # the processes are the parallelism
    _work = work


def _do(task: Task) -> Result:
    return _work(task)
