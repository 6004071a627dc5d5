"""The workers of a run on Ray: who writes which shard, and what happens when one of them dies."""

import contextlib
import logging
import os
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from dsetkit.errors import DatasetError
from dsetkit.generating.plan import Plan
from dsetkit.generating.ray.actor import Pixels, ShardWriter
from dsetkit.generating.ray.cluster import describe_need, one_line, room_for
from dsetkit.generating.shard_jobs import Progress
from dsetkit.store import shard_ranges

RETRIES = 3  # of a shard whose worker dies, and of a worker that dies before it is ready
SECONDS_BETWEEN_NEWS = 0.5
SECONDS_FOR_A_LOST_WRITER = 60.0  # a node that was given up may write on until it notices
SECONDS_WITHOUT_ROOM = 60.0  # a node may come back
_SECONDS_OF_SILENCE = 30.0

_TREE = Path(__file__).parents[3]  # where this dsetkit lies

log = logging.getLogger(__name__)


@dataclass
class _Worker:
    """An actor, or after its death the next in its place.

    Attributes:
        actor: Ray's handle.
        job: The pending call: `prepare`, or `write` of `shard`; None when it is idle.
        shard: Number of the shard it writes.
        progress: The pending call that asks how far it is.
        deaths: How often it died since it was last ready.
    """

    actor: Any
    job: Any
    shard: int | None = None
    progress: Any = None
    deaths: int = 0


class Crew:
    """Writes the shards of a plan; use it in a `with` block, which ends all workers.

    Args:
        ray: The package; this process belongs to a cluster.
        plan: What to make.
        pixels: As `write_on_ray`; put into the object store once.
        gpus_per_worker: GPUs of each worker.

    Attributes:
        failed: The error of each shard that failed for good, by its number.
        written: Samples written.
        retries: How often a shard was started again because its worker had died.

    Raises:
        DatasetError: The object store has no room for the assets.
    """

    def __init__(self, ray: ModuleType, plan: Plan, pixels: Pixels, gpus_per_worker: float) -> None:
        self._ray, self._gpus = ray, gpus_per_worker
        self._sizes = [len(indices) for indices in shard_ranges(plan.manifest)]
        self._done = [0] * len(self._sizes)
        self._deaths = [0] * len(self._sizes)
        self._waiting = deque(range(len(self._sizes)))
        self._workers: list[_Worker] = []
        self.failed: dict[int, Exception] = {}
        self.written = self.retries = 0
        try:
            self._arguments = (ray.put(plan), ray.put(dict(pixels)))
        except ray.exceptions.RayError as error:
            raise DatasetError(
                f"the assets do not fit into Ray's object store ({one_line(error)}): start Ray "
                "with a larger --object-store-memory"
            ) from None
        path = os.pathsep.join([str(_TREE), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._actor = ray.remote(
            num_cpus=1,
            num_gpus=gpus_per_worker,
            max_concurrency=2,  # it answers how far it is while it writes
            runtime_env={"env_vars": {"PYTHONPATH": path}},
        )(ShardWriter)

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_: object) -> None:
        while self._workers:
            self._dismiss(self._workers[0])

    def work(self, count: int, progress: Progress) -> None:
        """Writes all shards that can be written.

        Args:
            count: Workers.
            progress: Called with (samples done, samples in all) of the whole dataset.
        """
        self._workers = [_Worker(*self._start_actor()) for _ in range(count)]
        self._last_activity = self._last_room = time.monotonic()
        while self._waiting or any(worker.shard is not None for worker in self._workers):
            jobs = {worker.job: worker for worker in self._workers if worker.job is not None}
            ended, _ = self._ray.wait(list(jobs), timeout=SECONDS_BETWEEN_NEWS)
            for job in ended:
                self._take_result(jobs[job])
            self._assign()
            self._collect_progress()
            progress(sum(self._done), sum(self._sizes))
            self._check_for_room()

    # ---- shards --------------------------------------------------------------------------------

    def _assign(self) -> None:
        for worker in self._workers:
            if worker.job is None and self._waiting:
                worker.shard = self._waiting.popleft()
                patience_s = SECONDS_FOR_A_LOST_WRITER if self._deaths[worker.shard] else 0.0
                worker.job = worker.actor.write.remote(worker.shard, patience_s=patience_s)

    def _take_result(self, worker: _Worker) -> None:
        """Takes the result of a worker's call, or its error."""
        job, worker.job = worker.job, None
        shard, worker.shard = worker.shard, None
        try:
            result = self._ray.get(job)
        except self._ray.exceptions.RayTaskError as error:  # raised by our own code
            cause = error.cause
            cause.__cause__ = error  # tells where it was raised
            if shard is None:
                self._give_up(worker, cause)
            else:
                self.failed[shard] = cause
        except self._ray.exceptions.RayError as error:  # the worker is gone, or its node
            self._replace(worker, shard, one_line(error))
        else:
            worker.deaths = 0
            if shard is not None:
                self.written += result
                self._done[shard] = self._sizes[shard]

    def _collect_progress(self) -> None:
        """Collects how far shards are, without waiting."""
        pending = [worker.progress for worker in self._workers if worker.progress is not None]
        ready = []
        if pending:
            ready, _ = self._ray.wait(pending, num_returns=len(pending), timeout=0)
        for worker in self._workers:
            if worker.progress in ready:
                # A worker that has died is noticed by its job, not here.
                with contextlib.suppress(self._ray.exceptions.RayError):
                    number, done = self._ray.get(worker.progress)
                    if number == worker.shard:
                        self._done[number] = done
                worker.progress = None
            if worker.shard is not None and worker.progress is None:
                worker.progress = worker.actor.progress.remote()

    # ---- workers -------------------------------------------------------------------------------

    def _start_actor(self) -> tuple[Any, Any]:
        """A new actor, and its pending `prepare`."""
        actor = self._actor.remote(*self._arguments)
        return actor, actor.prepare.remote()

    def _replace(self, worker: _Worker, shard: int | None, reason: str) -> None:
        """Starts an actor in place of a dead one, and puts its shard back into the queue."""
        if shard is not None:
            self._deaths[shard] += 1
            if self._deaths[shard] > RETRIES:
                times = self._deaths[shard]
                self.failed[shard] = DatasetError(f"its worker died {times} times, last: {reason}")
            else:
                self.retries += 1
                self._waiting.appendleft(shard)
        worker.deaths += 1
        if worker.deaths > RETRIES:
            self._give_up(worker, DatasetError(f"a worker cannot start: {reason}"))
            return
        what = "before it was ready" if shard is None else f"while it wrote shard {shard}"
        log.warning("a Ray worker died %s, another takes its place (%s)", what, reason)
        self._end(worker)
        worker.actor, worker.job = self._start_actor()
        worker.progress = None

    def _give_up(self, worker: _Worker, reason: Exception) -> None:
        """Goes on without a worker that cannot start; the other workers write its shards."""
        self._dismiss(worker)
        log.warning("going on without a Ray worker: %s", one_line(reason))
        if not self._workers:
            self._fail_waiting(reason)

    def _fail_waiting(self, reason: Exception) -> None:
        self.failed |= dict.fromkeys(self._waiting, reason)
        self._waiting.clear()

    def _check_for_room(self) -> None:
        """Fails the waiting shards when no node has room for a worker; reports a long wait."""
        now = time.monotonic()
        if any(worker.shard is not None for worker in self._workers):
            self._last_activity = self._last_room = now
        elif room_for(self._ray, self._gpus):
            self._last_room = now
        elif now - self._last_room > SECONDS_WITHOUT_ROOM:
            need = describe_need(self._gpus)
            self._fail_waiting(DatasetError(f"no node of the Ray cluster has {need}"))
        if self._waiting and now - self._last_activity > _SECONDS_OF_SILENCE:
            self._last_activity = now
            log.info("waiting for a Ray worker: it loads the teacher, or the cluster is busy")

    def _dismiss(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self._end(worker)

    def _end(self, worker: _Worker) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(worker.actor)
