"""Reads one store in this process alone: a warm epoch, then at least a second that is measured.

    python -m benchmarks.read_once STORE --size 64 --threads 2                 a dataset of ours
    python -m benchmarks.read_once STORE --size 64 --workers 2 --peer ffcv_beton
    python -m benchmarks.read_once STORE --size 64 --peer files --decoder Pillow
    python -m benchmarks.read_once STORE --peer ffcv_beton --build DATASET     writes that store
    python -m benchmarks.read_once STORE --facts DATASET       what a reader gives besides speed

`bench_read` starts it for every figure. The clock starts when each worker has delivered its first
batch; the time to start workers is reported separately. Freed memory is kept for all readers, as
the trainings on a CPU do (dsetkit/devices.py). It prints one line of JSON.
"""

import importlib
import json
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from benchmarks.peers.shared import BATCH, DECODERS, FIELDS, START_METHODS, EncodedSamples
from benchmarks.reader_facts import facts
from dsetkit import SampleDataset, make_loader
from dsetkit.arguments import JOBS, SIDE_PX, WORKERS, Parser
from dsetkit.datasets.reader import Dataset
from dsetkit.devices import keep_freed_memory

SECONDS = 1.0  # least measured time: some tiers read thousands of samples in milliseconds


def our_batches(
    store: Path, *, size: int, workers: int, threads: int, fields: Iterable[str], cache: Path | None
) -> Iterable[dict]:
    """Return our batches in random order; each iteration is one epoch."""
    data = SampleDataset(store, split=None, size=size, fields=tuple(fields), cache=cache)
    return make_loader(data, BATCH, workers=workers, threads=threads)


def peer_batches(
    peer: str, store: Path, *, size: int, workers: int, decoder: str = "OpenCV"
) -> Iterable[dict]:
    """Return the batches of a peer; see `benchmarks.peers` for their content."""
    decode = DECODERS.get(decoder)  # None for a peer that decodes by itself
    module = importlib.import_module(f"benchmarks.peers.{peer}")
    return module.batches(store, workers, size, decode)


def build(peer: str, dataset: Path, store: Path) -> dict:
    """Write the store of a peer and return the seconds that it took."""
    module = importlib.import_module(f"benchmarks.peers.{peer}")
    start = time.perf_counter()
    module.build(EncodedSamples(dataset), store)
    return {"seconds": time.perf_counter() - start}


def measure(batches: Iterable[dict], *, workers: int, seconds: float = SECONDS) -> dict:
    """Read a warm epoch, then epochs until the measured time is long enough.

    Args:
        batches: Each iteration is one epoch.
        workers: Number of processes that read.
        seconds: Least measured time [s].

    Returns:
        `samples` and `seconds` that were measured, and `cpu_s`, the CPU time of this process in
        them; `epoch`, the samples of an epoch; `start_s`, the median time until the clock started.
    """
    for _ in batches:
        pass
    lead = max(1, workers)
    counted, spent, cpu_s, starts, epochs = 0, 0.0, 0.0, [], 0
    while spent < seconds:
        begin, samples, before = time.perf_counter(), 0, 0
        started = None
        for number, batch in enumerate(batches, start=1):
            samples += len(batch["composite"])
            if number == lead:
                started, before = time.perf_counter(), samples
                cpu_started = time.process_time()
        end = time.perf_counter()
        if started is None or samples == before:
            raise ValueError(f"{samples} samples are no more than {lead} batches: it takes more")
        counted, spent, epochs = counted + samples - before, spent + end - started, epochs + 1
        cpu_s += time.process_time() - cpu_started
        starts.append(started - begin)
    return {
        "samples": counted,
        "seconds": spent,
        "cpu_s": cpu_s,
        "epoch": samples,
        "start_s": sorted(starts)[epochs // 2],
    }


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--size", type=SIDE_PX, default=64, help="[px]")
    parser.add_argument("--workers", type=WORKERS, default=0)
    parser.add_argument("--start-method", choices=START_METHODS, help="of a peer's workers")
    parser.add_argument("--threads", type=JOBS, default=1)
    parser.add_argument("--fields", nargs="+", default=FIELDS)
    parser.add_argument("--cache", type=Path, metavar="DIR")
    parser.add_argument("--peer")
    parser.add_argument("--decoder", choices=DECODERS, help="of a peer that stores encoded bytes")
    parser.add_argument("--build", type=Path, metavar="DATASET")
    parser.add_argument("--facts", type=Path, metavar="DATASET", help="of which STORE was made")
    args = parser.parse_args()

    keep_freed_memory()
    if args.start_method:  # torch takes that of the process; our loader names its own
        multiprocessing.set_start_method(args.start_method)
    if args.build:
        print(json.dumps(build(args.peer, args.build, args.store)))
        return

    def open_batches(store: Path, cache: Path | None, *, size: int) -> Iterable[dict]:
        if args.peer:
            return peer_batches(
                args.peer, store, size=size, workers=args.workers, decoder=args.decoder
            )
        return our_batches(
            store, size=size, workers=args.workers, threads=args.threads,
            fields=args.fields, cache=cache,
        )  # fmt: skip

    if not args.facts:
        batches = open_batches(args.store, args.cache, size=args.size)
        print(json.dumps(measure(batches, workers=args.workers)))
        return
    if args.peer:  # here, once, and not in each of the processes that read
        importlib.import_module(f"benchmarks.peers.{args.peer}")
    with tempfile.TemporaryDirectory() as folder:  # of a copy: its bytes will be changed
        store = shutil.copytree(args.store, Path(folder) / "store")
        cache = Path(folder) / "cache" if args.cache else None
        found = facts(partial(open_batches, store, cache), cache or store, Dataset(args.facts))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
