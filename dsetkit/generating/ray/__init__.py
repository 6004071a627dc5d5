"""Writing the shards of a plan on a Ray cluster: what one machine's processes do, on many nodes.

Each worker is an actor: it loads the teacher once and writes shard after shard. The assets lie in
Ray's object store, once for each node, and are read there without a copy. An actor that dies, or
whose node does, is replaced, and its shard goes on from what was committed. Who wrote a shard never
changes a byte.

What the nodes need: the same dsetkit and Ray (the folder of this dsetkit is put on their path,
which serves those that see it), the files of the teacher, and the dataset's directory, all under
the paths they have here, in a file system they share. That a shard has one writer at a time is
up to a lock of that file system (`flock`): NFS keeps it between machines from version 4 on. Should
the head node die, the run ends; the same command goes on.

    cluster.py     joining Ray, or starting it
    actor.py       what runs on the nodes
    crew.py        who writes which shard, and what happens when one dies

Sources: Ray's documentation, "Actors", "Actor fault tolerance", "Serialization" (arrays without
copies), https://docs.ray.io/en/latest/ray-core/
"""

import logging
import time
from dataclasses import replace
from pathlib import Path

from dsetkit.datasets import Dataset
from dsetkit.errors import DsetkitError
from dsetkit.generating.plan import Plan
from dsetkit.generating.ray.actor import Pixels
from dsetkit.generating.ray.cluster import describe_need, installed_ray, joined, room_for
from dsetkit.generating.ray.crew import Crew
from dsetkit.generating.shard_jobs import Progress, raise_if_failed
from dsetkit.store import Manifest, shard_ranges

log = logging.getLogger(__name__)


def write_on_ray(
    plan: Plan,
    pixels: Pixels,
    *,
    address: str | None,
    workers: int | None,
    gpus_per_worker: float,
    progress: Progress,
) -> Manifest:
    """Writes all shards, each by an actor of a Ray cluster; `begin` came before.

    Args:
        plan: What to make.
        pixels: Of `backgrounds` and `foregrounds`, uint8 (h,w,c) in id order.
        address: Of the cluster: `auto`, HOST:PORT or ray://HOST:PORT; None starts Ray on this
            machine, for this run. A Ray that this process has joined already is used as it is.
        workers: Actors, each of one CPU; None = as many as the cluster has room for. At least one,
            never more than shards.
        gpus_per_worker: GPUs of each, a share of one or a whole number.
        progress: Called with (samples done, samples in all) of the whole dataset.

    Returns:
        The manifest of the complete dataset.

    Raises:
        DsetkitError: Ray is not installed or not reached, or no node has room for a worker.
        DatasetError: A shard could not be written; the others are finished.
    """
    _check_gpus(gpus_per_worker)
    ray = installed_ray()
    plan = _with_absolute_paths(plan)
    shards = len(shard_ranges(plan.manifest))
    most = shards if workers is None else min(max(workers, 1), shards)
    num_bytes = sum(image.nbytes for images in pixels.values() for image in images)
    with joined(ray, address, cpus=most, asset_bytes=num_bytes):
        room = room_for(ray, gpus_per_worker)
        if not room:
            raise DsetkitError(f"no node of the Ray cluster has {describe_need(gpus_per_worker)}")
        start = time.monotonic()
        with Crew(ray, plan, pixels, gpus_per_worker) as crew:
            crew.work(min(most, room) if workers is None else most, progress)
        seconds = time.monotonic() - start
    log.info(
        "%s of %s shards are complete: %s samples written on Ray in %s s, %s/s; retries: %s",
        f"{shards - len(crew.failed):,}",
        f"{shards:,}",
        f"{crew.written:,}",
        f"{seconds:,.0f}",
        f"{crew.written / seconds:,.0f}",
        f"{crew.retries:,}",
    )
    raise_if_failed(crew.failed, shards)
    return Dataset(plan.output).manifest  # raises if a node wrote into a folder of its own


def _check_gpus(gpus_per_worker: float) -> None:
    if gpus_per_worker < 0 or (gpus_per_worker > 1 and gpus_per_worker % 1):  # Ray's own rule
        raise DsetkitError(
            f"--gpus-per-worker {gpus_per_worker:g}: expected 0, a share of one (0.25), or a whole "
            "number"
        )


def _with_absolute_paths(plan: Plan) -> Plan:
    """The same plan for processes that have another current directory."""
    name, _, file = plan.teacher.name.partition(":")
    teacher = plan.teacher
    if file and Path(file).exists():  # else it is a name that a hub knows
        teacher = replace(teacher, name=f"{name}:{Path(file).absolute()}")
    return replace(plan, output=Path(plan.output).absolute(), teacher=teacher)
