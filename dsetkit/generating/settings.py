"""Scene depth, and how the work of a dataset is spread over files, processes and machines."""

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dsetkit.arguments import GPUS, SHARDS, WORKERS
from dsetkit.compositing import Nearness
from dsetkit.errors import DsetkitError
from dsetkit.labels import TeacherChoice

if TYPE_CHECKING:
    from dsetkit.importing import MeasuredBackgrounds

ENGINES = ("local", "ray")


@dataclass(frozen=True, kw_only=True)
class SceneDepth:
    """Depth by construction: the background's, and objects as planes in front of it.

    Attributes:
        nearness: How near objects are.
        measured: Measured depth of the backgrounds; None asks the teacher.
    """

    nearness: Nearness = field(default_factory=Nearness)
    measured: "MeasuredBackgrounds | None" = None

    def teacher(self, choice: TeacherChoice) -> TeacherChoice:
        """The teacher of the backgrounds, and how it is asked.

        Args:
            choice: The teacher of composites.

        Raises:
            TeacherError: There is none, and no measured depth.
        """
        if self.measured is None:
            return choice.of_backgrounds()
        return TeacherChoice(name="none", batch_size=choice.batch_size)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Who writes a dataset, into how many files. Never changes a sample.

    Attributes:
        shards: Files the dataset becomes, each a contiguous range of samples.
        shard_index: Write this shard alone; None writes all.
        workers: Processes that composite, 0 = none besides this one; with several shards the
            processes that each write one, 0 = this one writes them in turn. None = one for each
            core, on a Ray cluster as many as it has room for.
        engine: `local` processes, or `ray` for shards as tasks of a cluster.
        ray_address: Address of the cluster; None starts one on this machine.
        gpus_per_worker: Share of a GPU that each task of a cluster takes.

    Raises:
        DsetkitError: A value out of its range, or two that exclude each other.
    """

    shards: int = 1
    shard_index: int | None = None
    workers: int | None = None
    engine: str = "local"
    ray_address: str | None = None
    gpus_per_worker: float = 0

    def __post_init__(self) -> None:
        SHARDS.check(self.shards, "--shards")
        GPUS.check(self.gpus_per_worker, "--gpus-per-worker")
        if self.workers is not None:
            WORKERS.check(self.workers, "--workers")
        if self.engine not in ENGINES:
            raise DsetkitError(f"--engine {self.engine}: expected {' or '.join(ENGINES)}")
        if self.shard_index is not None and self.engine != "local":
            raise DsetkitError(
                f"--shard-index {self.shard_index} writes one shard here, --engine {self.engine} "
                "all of them elsewhere: give one of the two"
            )

    def check_shard_index(self, shards: int) -> None:
        """Raises DsetkitError unless `shard_index` is one of the `shards` that there are."""
        if self.shard_index is not None and not 0 <= self.shard_index < shards:
            raise DsetkitError(
                f"--shard-index {self.shard_index}: expected 0 to {shards - 1}, one of --shards "
                f"{shards}"
            )

    @property
    def local_workers(self) -> int:
        """Worker processes of this machine."""
        return os.cpu_count() or 1 if self.workers is None else self.workers
