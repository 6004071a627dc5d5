"""Work cut into tasks and done side by side; the results come in the order of the tasks."""

import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, Generic, Self, TypeVar

import cv2

from dsetkit.devices import keep_freed_memory
from dsetkit.errors import DatasetError
from dsetkit.spawning import SPAWN, BoundProcess

TASKS_AHEAD = 2  # per process; limits the memory of finished results
SECONDS_TO_STOP = 1.0

_DIED = (
    "a worker process died; all committed samples are safe: run the same command again, with fewer "
    "processes if memory is short (a script of your own must do its work below "
    "`if __name__ == '__main__':`)"
)

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
        pool: Threads that do the work.
        work: A function of one task.
        tasks: What it is called with; taken one by one as results are consumed.
        ahead: How many tasks may be submitted beyond the one whose result is yielded.
    """
    return _in_order(lambda task: pool.submit(work, task), tasks, ahead=ahead)


def _in_order(
    submit: Callable[[Task], Future[Result]], tasks: Iterable[Task], *, ahead: int
) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(submit(task))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def in_processes(
    work: Callable[[Task], Result], tasks: Sequence[Task], *, jobs: int
) -> Iterator[Result]:
    """Yields `work(task)` for each task, in order; worker processes do the work.

    Args:
        work: A function that can be pickled. Each process gets it once.
        tasks: The arguments of the calls.
        jobs: Number of processes, at least 1.

    Raises:
        WorkerDiedError: A process died. Errors of `work` are raised unchanged.
    """
    with Workers(work, jobs) as workers:
        yield from _in_order(workers.submit, tasks, ahead=TASKS_AHEAD * jobs)


def in_jobs(
    work: Callable[[Task], Result], tasks: Sequence[Task], *, jobs: int
) -> Iterator[Result]:
    """Like `in_processes`, but one job or one task runs in this process."""
    jobs = min(jobs, len(tasks))
    return in_processes(work, tasks, jobs=jobs) if jobs > 1 else map(work, tasks)


# ---- worker processes --------------------------------------------------------------------------


class WorkerDiedError(DatasetError):
    """A worker process was killed, or could not start."""

    def __init__(self, message: str = _DIED) -> None:
        super().__init__(message)


class Workers(Generic[Task, Result]):
    """Processes that do tasks; use it in a `with` block, which ends them.

    Each process has a thread here, which starts it, hands it one task after another, and starts
    another one in place of one that has died. Only the pipe between the two connects them, so
    nothing has to be cleaned up when one of them is killed (see spawning.py).

    Args:
        work: A function of one task that can be pickled. Each process gets it once.
        count: Number of processes; each is started when there is a task for it.
        on_news: Called, in those threads, with what a task hands to `send_news`.
        seconds_to_stop: How long tasks that send news may go on when the block is left by an error
            [s]; other tasks are stopped at once.
    """

    def __init__(
        self,
        work: Callable[[Task], Result],
        count: int,
        *,
        on_news: Callable[[Any], None] | None = None,
        seconds_to_stop: float = SECONDS_TO_STOP,
    ) -> None:
        self._work, self._on_news, self._seconds_to_stop = work, on_news, seconds_to_stop
        # Spawned, because a fork would break the threads of torch and OpenCV.
        self._threads = ThreadPoolExecutor(count, "dsetkit-workers")
        self._of_thread = threading.local()
        self._started: dict[BoundProcess, Connection] = {}
        self._lock, self._is_over = threading.Lock(), False

    def submit(self, task: Task) -> "Future[Result]":
        """Has a process do a task, as soon as one is free."""
        return self._threads.submit(self._ask, task)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._is_over = True
            started = dict(self._started)
        if kind is not None and self._on_news:
            _ask_to_stop(started, self._seconds_to_stop)
        for process in started:
            process.kill()  # it has nothing to do, or its result is not wanted
        self._threads.shutdown()
        for process, connection in started.items():
            process.join()
            connection.close()

    def _ask(self, task: Task) -> Result:
        """Runs in the thread of a process: one task, there and back."""
        connection = getattr(self._of_thread, "connection", None) or self._start()
        self._of_thread.connection = connection
        try:
            connection.send(("task", task))
            while (answer := connection.recv())[0] == "news":
                if self._on_news:
                    self._on_news(answer[1])
        except (EOFError, ConnectionError):
            self._of_thread.connection = None
            raise WorkerDiedError from None
        kind, value = answer
        if kind == "error":
            raise value
        return value

    def _start(self) -> Connection:
        ours, theirs = Pipe()
        process = SPAWN.Process(target=_serve, args=(self._work, theirs), daemon=True)
        process.start()
        theirs.close()
        with self._lock:
            self._started[process] = ours
            if self._is_over:  # the block has ended meanwhile
                process.kill()
        return ours


def _ask_to_stop(processes: dict[BoundProcess, Connection], seconds: float) -> None:
    for connection in processes.values():
        try:
            connection.send(("stop", None))
        except OSError:  # it has ended already
            pass
    waiting = [process.sentinel for process in processes]
    while waiting and (ended := wait(waiting, seconds)):
        waiting = [sentinel for sentinel in waiting if sentinel not in ended]


_connection: Connection | None = None  # of a worker process, to the thread that started it


def _serve(work: Callable[[Any], Any], connection: Connection) -> None:
    """What a worker process does: tasks, until nobody has one."""
    global _connection
    _connection = connection
    cv2.setNumThreads(1)  # the processes already use all cores
    keep_freed_memory()  # tasks are alike: each takes as much as the last
    try:
        while (asked := connection.recv())[0] == "task":
            connection.send_bytes(_answer(work, asked[1]))
    except (EOFError, ConnectionError, KeyboardInterrupt):
        pass  # the process that started this one has ended, or asked it to stop


def _answer(work: Callable[[Any], Any], task: Any) -> memoryview:
    """The result of a task, or its error, as `Connection.recv` reads it."""
    try:
        return ForkingPickler.dumps(("result", work(task)))
    except Exception as error:
        error.add_note(f"in a worker process: {traceback.format_exc()}")
        try:
            return ForkingPickler.dumps(("error", error))
        except Exception:  # an error that cannot be pickled
            return ForkingPickler.dumps(("error", RuntimeError(traceback.format_exc())))


def send_news(news: Any) -> None:
    """Tells `Workers.on_news` how far a task is; called within `work`.

    Raises:
        KeyboardInterrupt: The block of `Workers` was left, so that nobody waits for the result.
    """
    assert _connection is not None, "only worker processes call this"
    if _connection.poll():  # there is no other task before this one has ended
        raise KeyboardInterrupt
    _connection.send(("news", news))
