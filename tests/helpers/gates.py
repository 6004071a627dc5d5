"""A gate: a point in the work of other processes at which they wait until a test lets them go on.

A test that kills a process in mid-work waits for it there, so neither of them can be the faster.
The gate is a folder: a pipe tells the test who has come, and a lock, which the test holds while the
gate is shut, keeps them there. Should the test end, the lock ends with it.
"""

import fcntl
import os
import select
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from dsetkit.compositing import AssetPixels, BatchCompositor, CompositeBatch
from dsetkit.generating import ray as ray_engine
from dsetkit.generating.plan import Plan
from dsetkit.generating.ray.actor import Pixels
from tests.helpers.generating import generate


class Visitor(NamedTuple):
    """A process that has come to a gate.

    Attributes:
        process: Its id.
        place: Where in its work it is.
    """

    process: int
    place: int


class Gate:
    """The test's side: shut from the start; use it in a `with` block, which opens it at its end.

    Args:
        folder: Where to make it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        os.mkfifo(folder / "arrivals")
        self._arrivals = os.open(folder / "arrivals", os.O_RDWR | os.O_NONBLOCK)
        self._bar = os.open(folder / "bar", os.O_RDWR | os.O_CREAT)
        fcntl.flock(self._bar, fcntl.LOCK_EX)
        self._come: list[Visitor] = []

    def __enter__(self) -> "Gate":
        return self

    def __exit__(self, *_) -> None:
        self.open()
        os.close(self._bar)
        os.close(self._arrivals)

    def open(self) -> None:
        """Lets all go on, and stays open."""
        fcntl.flock(self._bar, fcntl.LOCK_UN)

    def look(self) -> list[Visitor]:
        """Who has come so far, in order; does not wait for anybody."""
        if select.select([self._arrivals], [], [], 0)[0]:
            told = os.read(self._arrivals, 1 << 16).decode().splitlines()
            self._come += [Visitor(*map(int, line.split())) for line in told]
        return self._come

    def wait_for(self, count: int, *, of: int) -> list[Visitor]:
        """Waits until so many have come; ends as well, with fewer, when the process `of` ends."""
        ended = os.pidfd_open(of)
        try:
            while len(self.look()) < count and not is_ended(ended):
                select.select([self._arrivals, ended], [], [])
        finally:
            os.close(ended)
        return self.look()


def is_ended(pidfd: int) -> bool:
    """Whether the process of a descriptor has ended."""
    return bool(select.select([pidfd], [], [], 0)[0])


def wait_for_end(pid: int) -> None:
    """Waits for a process that need not be a child."""
    try:
        ended = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([ended], [], [])
    os.close(ended)


def come_to(folder: Path, place: int) -> None:
    """The worker's side: says that this process has come, and waits while the gate is shut."""
    told = os.open(folder / "arrivals", os.O_WRONLY | os.O_NONBLOCK)
    os.write(told, f"{os.getpid()} {place}\n".encode())
    os.close(told)
    with open(folder / "bar") as bar:
        fcntl.flock(bar, fcntl.LOCK_SH)


def plan_of(**options: object) -> tuple[Plan, Pixels]:
    """What `generate` would hand to Ray, which need not be installed; the dataset is begun."""
    with pytest.MonkeyPatch.context() as patched:
        given = []
        patched.setattr(ray_engine, "write_on_ray", lambda *what, **_: given.append(what))
        generate(**options, engine="ray")
    return given[0]


@dataclass(frozen=True)
class GatedPlan(Plan):
    """A plan whose writers come to a gate in the middle of a shard, and commit every batch.

    Where they are, as a visitor's `place`, is the sample that they would composite next.

    Attributes:
        gate: The gate's folder.
        after: Batches of a shard that are composited before.
    """

    gate: Path = Path()
    after: int = 1

    @classmethod
    def of(cls, plan: Plan, gate: Gate, *, after: int) -> "GatedPlan":
        """The same plan with a gate."""
        given = {field.name: getattr(plan, field.name) for field in fields(plan)}
        given["samples_per_commit"] = 1
        return cls(**given, gate=gate.folder, after=after)

    def compositor(self, asset: AssetPixels) -> "_GatedCompositor":
        return _GatedCompositor(super().compositor(asset), self)


class _GatedCompositor:
    def __init__(self, compositor: BatchCompositor, plan: GatedPlan) -> None:
        self._compositor, self._plan, self._left = compositor, plan, plan.after

    def composite(self, indices: Sequence[int]) -> CompositeBatch:
        if not self._left:
            (place,) = np.flatnonzero(self._plan.chosen == indices[0])
            come_to(self._plan.gate, self._plan.first + place)
        self._left -= 1
        return self._compositor.composite(indices)
