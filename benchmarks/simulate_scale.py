"""Simulates a dataset of a billion samples: writing shards, caching them, memory. Seeded, one core.

    python -m benchmarks.simulate_scale [--parts shards cache nodes memory] [--small]

shards   N samples are written as equal shards by workers, of which some are slow and some die. If a
         worker dies, the next free one takes its shard and resumes from the last commit, as
         `shard_jobs` and `ray_engine` do. The result is makespan over ideal (all workers write
         samples all the time), as a median over seeds.
cache    A training reads a dataset in object storage through a cache that holds a part of it.
         Batches come from `loader.EpochBatches`; eviction is that of `shard_cache.ShardCache`, and
         a test compares both. The result is what an epoch fetches, as a multiple of the dataset.
nodes    The same for several nodes, each with its own cache.
memory   The memory that this code holds per sample, counted by tracemalloc.

No time is measured, so the tables do not depend on the machine. Rates and faults are assumptions;
flags change them, and the tables name them.
"""

import heapq
import statistics
import tracemalloc
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from benchmarks.common import keep, markdown_table
from dsetkit.arguments import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, Parser
from dsetkit.compositing.recipe import Canvas, FullSet
from dsetkit.compositing.selection import select, split_cells
from dsetkit.datasets.reader import Dataset
from dsetkit.datasets.writer import LABELLED_PER_COMMIT
from dsetkit.loading.loader import EpochBatches, epoch_order

SAMPLES = 10**9
SHARD_SIZES = (10**7, 3 * 10**6, 10**6, 3 * 10**5, 10**5, 3 * 10**4, 10**4)
ROOMS = (8, 16, 24, 32, 64, 128, 192, 256)  # shards that fit into the cache
NODES = (1, 4, 16, 64)
SEEDS = 5


@dataclass(frozen=True)
class Fleet:
    """The workers that write shards.

    Attributes:
        workers: Number of workers.
        samples_per_s: Median rate of a worker.
        start_s: Time until a worker, or its replacement, is ready.
        shard_s: Time per shard besides its samples: opening, and commits that wait for the disk.
        spread: Standard deviation of the logarithm of the rates.
        slow_share: Share of the workers that have half the rate.
        deaths_per_hour: Per worker.
    """

    workers: int
    samples_per_s: float
    start_s: float
    shard_s: float
    spread: float
    slow_share: float
    deaths_per_hour: float


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    parts = ("shards", "cache", "nodes", "memory")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts, help="(default: all)")
    parser.add_argument("--small", action="store_true", help="a hundredth of it, for a look")
    add = parser.add_argument_group("of the workers").add_argument
    add("--cores", type=COUNT, default=1024, help="that draw (default: %(default)s)")
    add("--core-rate", type=POSITIVE, default=2400, help="samples/s of one (default: %(default)s)")
    add("--gpus", type=COUNT, default=64, help="that label (default: %(default)s)")
    add("--gpu-rate", type=POSITIVE, default=1000, help="samples/s of one (default: %(default)s)")
    add(
        "--start-s", type=NOT_NEGATIVE, default=20, help="until one is ready (default: %(default)s)"
    )
    add("--shard-s", type=POSITIVE, default=0.1, help="of each shard (default: %(default)s)")
    add("--spread", type=SHARE, default=0.05, help="of speeds (default: %(default)s)")
    add("--slow-share", type=SHARE, default=0.02, help="at half speed (default: %(default)s)")
    add("--deaths-per-hour", type=NOT_NEGATIVE, default=0.02, help="of one (default: %(default)s)")
    args = parser.parse_args()

    content: dict = {"title": "simulate_scale: seeded, nothing timed", "settings": vars(args)}
    common = {
        name: getattr(args, name)
        for name in ("start_s", "shard_s", "spread", "slow_share", "deaths_per_hour")
    }
    fleets = {
        "drawing": Fleet(args.cores, args.core_rate, **common),
        "labelling": Fleet(args.gpus, args.gpu_rate, **common),
    }
    if "shards" in args.parts:
        samples = SAMPLES // (100 if args.small else 1)
        content["shards"] = {name: compare_sizes(name, it, samples) for name, it in fleets.items()}
    scale = 4 if args.small else 1
    if "cache" in args.parts:
        content["cache"] = compare_caches(shards=256 // scale, per_shard=1024 // scale)
    if "nodes" in args.parts:
        content["nodes"] = compare_nodes(shards=256 // scale, per_shard=1024)
    if "memory" in args.parts:
        content["memory"] = count_memory(placements=50 // scale)
    keep("simulate_scale", content, seeds=range(SEEDS))


# ---- shards ------------------------------------------------------------------------------------


def compare_sizes(name: str, fleet: Fleet, samples: int) -> list[dict]:
    """Compute makespan over ideal by size of shard; print a table, return its figures."""
    ways = {  # name -> options of makespan_over_ideal
        "workers that stay": {},
        "a job for each shard": {"is_job": True},
        "without resuming": {"resumes": False},
    }
    rows = []
    for size in SHARD_SIZES:
        if samples < size:
            continue
        shards = samples // size
        row = {"samples_a_shard": size, "shards": shards}
        for way, options in ways.items():
            row[way] = statistics.median(
                makespan_over_ideal(samples, shards, fleet, seed, **options)
                for seed in range(SEEDS)
            )
        rows.append(row)
    print(
        f"\n{name}: {samples:,} samples, {fleet.workers:,} workers of {fleet.samples_per_s:,.0f}/s,"
        f" ideal {samples / fleet.workers / fleet.samples_per_s:,.0f} s; ready after "
        f"{fleet.start_s:g} s, {fleet.shard_s:g} s a shard, {fleet.slow_share:.0%} at half speed, "
        f"{fleet.deaths_per_hour:g} deaths a worker and hour; makespan ÷ ideal\n"
    )
    texts = []
    for row in rows:
        numbers = [f"{row['samples_a_shard']:,}", f"{row['shards']:,}"]
        numbers.append(f"{row['shards'] / fleet.workers:.1f}")
        texts.append(numbers + [f"{row[way]:.2f}" for way in ways])
    print(markdown_table(["samples a shard", "shards", "shards a worker", *ways], texts))
    return rows


def makespan_over_ideal(
    samples: int,
    shards: int,
    fleet: Fleet,
    seed: int,
    *,
    is_job: bool = False,
    resumes: bool = True,
) -> float:
    """Simulate one run and return its makespan over the ideal one.

    A free worker takes the next shard. If a worker dies, its shard becomes the next one.

    Args:
        samples: Samples of the dataset.
        shards: Number of shards, all equal.
        fleet: The workers.
        seed: Seed of the rates and deaths.
        is_job: Each shard is a job that starts its own worker; otherwise workers stay.
        resumes: A shard continues from its last commit; otherwise it starts again.
    """
    rng = np.random.default_rng([seed, shards, fleet.workers])
    speeds = fleet.samples_per_s * np.exp(fleet.spread * rng.standard_normal(fleet.workers))
    speeds[rng.random(fleet.workers) < fleet.slow_share] /= 2
    mean_life_s = 3600 / fleet.deaths_per_hour if fleet.deaths_per_hour else np.inf
    missing = deque([samples / shards] * shards)
    free = [(0.0 if is_job else fleet.start_s, worker) for worker in range(fleet.workers)]
    working: list[tuple[float, int, float]] = []  # end, worker, samples still missing then
    heapq.heapify(free)
    last = 0.0
    while missing or working:
        # The next event: a worker takes a shard, or a worker finishes or dies.
        if missing and free and (not working or free[0][0] <= working[0][0]):
            now, worker = heapq.heappop(free)
            now = max(now, last)  # it may have waited until a dead worker's shard was free
            count, speed = missing.popleft(), float(speeds[worker])
            before_s = fleet.shard_s + (fleet.start_s if is_job else 0)
            life_s = rng.exponential(mean_life_s)
            if life_s >= before_s + count / speed:
                heapq.heappush(working, (now + before_s + count / speed, worker, 0.0))
                continue
            commit_s = LABELLED_PER_COMMIT / speed
            commits = max(life_s - before_s, 0) // commit_s if resumes else 0
            left = count - commits * commit_s * speed
            heapq.heappush(working, (now + life_s, worker, left))
        else:
            last, worker, left = heapq.heappop(working)
            if left:
                missing.appendleft(left)
            heapq.heappush(free, (last + (fleet.start_s if left else 0), worker))
    return last * float(speeds.sum()) / samples


# ---- cache and nodes ---------------------------------------------------------------------------


class LeastRecent:
    """Models which of several equal shards `ShardCache` keeps and evicts, without files.

    Attributes:
        fetched: Number of requests for a shard that was not in the cache.
        asked: Number of all requests.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._there: OrderedDict[int, None] = OrderedDict()
        self.fetched = self.asked = 0

    def ask(self, shard: int) -> None:
        """Request a shard; if it is not cached, fetch it and evict the least recently requested."""
        self.asked += 1
        if shard in self._there:
            self._there.move_to_end(shard)
            return
        self.fetched += 1
        while len(self._there) >= self._room:
            self._there.popitem(last=False)
        self._there[shard] = None


def asked_shards(batches: EpochBatches, per_shard: int) -> Iterator[Iterable[int]]:
    """Yield the shards of each batch in the order in which `Shards.get_many` requests them."""
    for batch in batches:
        yield dict.fromkeys((np.array(batch) // per_shard).tolist())


def fetched_per_epoch(
    *,
    shards: int,
    per_shard: int,
    room: int,
    block: int | None,
    batch_size: int = 64,
    epochs: int = 3,
    place: tuple[int, int] = (0, 1),
) -> dict[str, float]:
    """Simulate a training whose cache is empty at first.

    Args:
        shards: Shards of the dataset.
        per_shard: Samples per shard.
        room: Number of shards that fit into the cache.
        block: Block of the shuffle [samples]; None shuffles the whole dataset.
        batch_size: Samples of all nodes together.
        epochs: Number of epochs. The first one fills the cache and is reported separately.
        place: (node, nodes); each node reads its part of every batch.

    Returns:
        Fetched shards over shards of the dataset, for the first epoch and for a later one, and the
        share of requests that the cache answers in later epochs.
    """
    cache = LeastRecent(room)
    batches = EpochBatches(
        shards * per_shard,
        batch_size=batch_size,
        seed=0,
        shuffle=True,
        drop_last=False,
        shuffle_block=block,
        place=place,
    )
    seen = []
    for batches.epoch in range(epochs):
        cache.fetched = cache.asked = 0
        for some in asked_shards(batches, per_shard):
            for shard in some:
                cache.ask(shard)
        seen.append((cache.fetched, cache.asked))
    later = np.sum(seen[1:], axis=0)
    return {
        "first": seen[0][0] / shards,
        "later": later[0] / (epochs - 1) / shards,
        "hits": 1 - later[0] / later[1],
    }


def compare_caches(*, shards: int, per_shard: int) -> list[dict]:
    """Compute what an epoch fetches by shuffle and cache; print a table, return its figures."""
    blocks = {
        "whole": None,
        "block = 1/8 shard": per_shard // 8,
        "block = 1/2 shard": per_shard // 2,
        "block = 4/5 shard": per_shard * 4 // 5,
        "block = 1 shard": per_shard,
        "block = 2 shards": 2 * per_shard,
    }
    rooms, rows = [room for room in ROOMS if room <= shards], []
    for name, block in blocks.items():
        row = {"shuffle": name}
        for room in rooms:
            row[f"{room}"] = fetched_per_epoch(
                shards=shards, per_shard=per_shard, room=room, block=block
            )
        rows.append(row)
    print(
        f"\ncache: {shards} shards of {per_shard:,} samples, batches of 64; fetched in an epoch "
        "after the first, as a multiple of the dataset (share of questions the cache answered)\n"
    )
    headings = ["shuffle", *(f"room for {room} ({room / shards:.0%})" for room in rooms)]
    cells = [[row[f"{room}"] for room in rooms] for row in rows]
    texts = [
        [row["shuffle"], *(f"{cell['later']:,.2f} ({cell['hits']:.1%})" for cell in row_cells)]
        for row, row_cells in zip(rows, cells, strict=True)
    ]
    print(markdown_table(headings, texts))
    return rows


def compare_nodes(*, shards: int, per_shard: int, batch_size: int = 1024) -> list[dict]:
    """Compute what one of several nodes and all nodes fetch; print a table, return figures."""
    rows = []
    for nodes in NODES:
        row = {"nodes": nodes}
        for block, room in ((per_shard, 24), (per_shard, shards // 2), (None, shards // 2)):
            figures = fetched_per_epoch(
                shards=shards,
                per_shard=per_shard,
                room=room,
                block=block,
                batch_size=batch_size,
                place=(0, nodes),
            )
            row[f"{'block = 1 shard' if block else 'whole'}, room for {room}"] = figures["later"]
        rows.append(row)
    print(
        f"\nnodes: {shards} shards of {per_shard:,} samples, batches of {batch_size:,} of all nodes"
        "; fetched by one node in an epoch after the first (by all), as a multiple of the dataset\n"
    )
    ways = list(rows[0])[1:]
    texts = [
        [row["nodes"], *(f"{row[way]:.2f} ({row['nodes'] * row[way]:,.1f})" for way in ways)]
        for row in rows
    ]
    print(markdown_table(["nodes", *ways], texts))
    return rows


# ---- memory ------------------------------------------------------------------------------------


def count_memory(*, placements: int) -> list[dict]:
    """Count the memory per sample, held and at its peak; print a table, return its figures."""
    full_set = FullSet(
        num_backgrounds=100,
        foreground_shapes=((100, 80),) * 100,
        canvas=Canvas(placements=placements),
        seed=0,
    )
    count, splits = len(full_set), ["train"] * 88 + ["val"] * 4 + ["test"] * 8
    cells = split_cells(full_set, splits, splits)
    opened = SimpleNamespace(cells=cells)
    settings = {"batch_size": 64, "seed": 0, "shuffle": True, "drop_last": False}
    block = max(count // 1000, 1)
    whole = EpochBatches(count, **settings)
    by_blocks = EpochBatches(count, **settings, shuffle_block=block)

    def first_of(batches: EpochBatches) -> Iterator[list[int]]:
        started = iter(batches)
        next(started)
        return started

    works: dict[str, Callable[[], object]] = {
        "generate: split cells": lambda: split_cells(full_set, splits, splits),
        "generate: choice of 9 in 10": lambda: select(cells, count * 9 // 10, seed=0),
        "read: indices of a split": lambda: Dataset.indices(opened, "train"),
        "train: order, whole": lambda: epoch_order(0, 0, count),
        "train: order, blocks": lambda: epoch_order(0, 0, count, block=block),
        "train: an epoch's batches, whole": lambda: first_of(whole),
        "train: an epoch's batches, blocks": lambda: first_of(by_blocks),
    }
    rows = []
    for name, work in works.items():
        kept, most = _bytes_held(work)
        rows.append({"what": name, "kept": kept / count, "most": most / count})
    print(f"\nmemory, counted with {count:,} samples; the last columns for {SAMPLES:,}\n")
    headings = ["in each process", "kept [bytes a sample]", "at most", "kept [GB]", "at most [GB]"]
    texts = [
        [row["what"]]
        + [f"{row[name]:.1f}" for name in ("kept", "most")]
        + [f"{row[name] * SAMPLES / 1e9:.1f}" for name in ("kept", "most")]
        for row in rows
    ]
    print(markdown_table(headings, texts) + "\n")
    return rows


def _bytes_held(work: Callable[[], object]) -> tuple[int, int]:
    """Return the bytes that a result holds, and the peak while it was computed."""
    work()  # so that imports and caches are not counted
    tracemalloc.start()
    try:
        result = work()
        kept, most = tracemalloc.get_traced_memory()
        del result
    finally:
        tracemalloc.stop()
    return kept, most


if __name__ == "__main__":
    main()
