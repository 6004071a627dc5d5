"""Work cut into tasks and done side by side; the results come in the order of the tasks."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

import cv2

from dsetkit.errors import DatasetError

TASKS_AHEAD = 2  # per process; limits the memory of finished results

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_chunks(indices: range, size: int) -> list[range]:
    """Cuts a range of sample indices into consecutive ranges of at most `size` samples."""
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def in_order(
    pool: Executor, work: Callable[[Task], Result], tasks: Iterable[Task], *, ahead: int
) -> Iterator[Result]:
    """Yields `work(task)` for each task, in order, while the pool works on the next ones.

    Args:
        pool: Threads or processes that do the work.
        work: A function of one task.
        tasks: What it is called with; taken one by one as results are consumed.
        ahead: How many tasks may be submitted beyond the one whose result is yielded.
    """
    waiting: deque[Future[Result]] = deque()
    for task in tasks:
        waiting.append(pool.submit(work, task))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def in_processes(
    work: Callable[[Task], Result], tasks: Sequence[Task], *, jobs: int
) -> Iterator[Result]:
    """Yields `work(task)` for each task, in order; worker processes do the work.

    Args:
        work: A function that can be pickled. Each process gets it once.
        tasks: The arguments of the calls.
        jobs: Number of processes, at least 1.

    Raises:
        DatasetError: A process died. Errors of `work` are raised unchanged.
    """
    # The processes are spawned, because a fork would break the threads of torch and OpenCV.
    with ProcessPoolExecutor(
        jobs, get_context("spawn"), initializer=_start, initargs=(work,)
    ) as pool:
        try:
            yield from in_order(pool, _do, tasks, ahead=TASKS_AHEAD * jobs)
        except BrokenProcessPool:
            raise DatasetError(
                "a worker process died; all committed samples are safe: run the same command "
                "again, with fewer processes if memory is short (a script of your own must do its "
                "work below `if __name__ == '__main__':`)"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def in_jobs(
    work: Callable[[Task], Result], tasks: Sequence[Task], *, jobs: int
) -> Iterator[Result]:
    """Like `in_processes`, but one job or one task runs in this process."""
    jobs = min(jobs, len(tasks))
    return in_processes(work, tasks, jobs=jobs) if jobs > 1 else map(work, tasks)


_work: Callable[[Any], Any] | None = None  # of a worker process; `_start` sets it


def _start(work: Callable[[Any], Any]) -> None:
    global _work
    cv2.setNumThreads(1)  # the processes already use all cores
    _work = work


def _do(task: Any) -> Any:
    assert _work is not None, "`_start` runs first in each worker process"
    return _work(task)
