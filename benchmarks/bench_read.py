"""How fast samples are read as training batches: our tiers, and on request other libraries.

    python -m benchmarks.bench_read --data DATASET [--sizes 64 224] [--work DIR]
    python -m benchmarks.bench_read --data DATASET --peers         also says which are not installed

From a dataset it makes, in a temporary folder or in --work DIR, the tiers: the rendered layout as
`generate` makes it and with zstd for masks and Pco for depths, the recipe layout, and a cache at
each size; and the peers' stores (`benchmarks/peers`). What lies in DIR is not made again.

Every figure comes from a process of its own (`read_once`) that reads one warm epoch before the one
that counts; readers take turns, round after round. The page cache is warm, the order random, the
checksums of ours are checked. Libraries run one thread a process, so that "1 thread" is one core;
only where threads are asked for (make_loader(threads=2), and FFCV, which has no workers) are there
more.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.common import REPOSITORY, report, rounds
from benchmarks.peers import PEERS
from benchmarks.peers.shared import BATCH, FIELDS
from dsetkit import SampleDataset
from dsetkit.datasets.reader import Dataset
from dsetkit.loading.plane_cache import cache_path
from dsetkit.store.codecs import DEFAULT_CODECS
from dsetkit.verbs.convert import convert

TIERS = {  # name -> settings of `convert`
    "rendered": {"layout": "rendered", "codecs": DEFAULT_CODECS},
    "rendered, zstd and pco": {
        "layout": "rendered",
        "codecs": DEFAULT_CODECS | {"mask": "zstd8", "depth": "pco16"},
    },
    "recipe": {"layout": "recipe"},
}
ONE_THREAD = {  # of each library; Numba's is a ceiling, FFCV takes as many of them as it is told
    "OMP_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "NUMBA_NUM_THREADS": str(max(8, os.cpu_count() or 1)),
    "NUMBA_THREADING_LAYER": "omp",  # with its own choice, TBB, a process may hang when it ends
}


@dataclass(frozen=True)
class Reader:
    """Something to measure.

    Attributes:
        name: Its row.
        store: What it reads.
        arguments: For `read_once`, besides size and workers.
        is_peer: Whether it is one of the others.
    """

    name: str
    store: Path
    arguments: tuple[str, ...] = ()
    is_peer: bool = False


@dataclass(frozen=True)
class Case:
    """A reader at a size with workers, or with threads of one process."""

    reader: Reader
    size: int
    workers: int
    threads: int

    @property
    def title(self) -> str:
        how = f"{self.workers} workers"
        if not self.workers:
            how = {0: "in place", 1: "1 thread"}.get(self.threads, f"{self.threads} threads")
        return f"{self.size} px, {how}: {self.reader.name}"

    @property
    def rivals(self) -> tuple[int, int]:
        """Size and cores: what is compared with each other."""
        return self.size, self.workers or self.threads or 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DATASET")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 224], help="[px]")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="processes")
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[0, 1, 2], help="where workers = 0; 0 = in place"
    )
    parser.add_argument("--tiers", nargs="+", default=[*TIERS, "cache"], choices=[*TIERS, "cache"])
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, metavar="NAME",
        help=f"compare with these, or, without a name, with all: {', '.join(PEERS)}",
    )  # fmt: skip
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep what is made, for next time")
    parser.add_argument("--repeat", type=int, default=5, help="rounds (default: %(default)s)")
    args = parser.parse_args()

    wanted = () if args.peers is None else args.peers or tuple(PEERS)
    with tempfile.TemporaryDirectory() as temporary:
        work = (args.work or Path(temporary)) / Dataset(args.data).manifest.fingerprint[:16]
        work.mkdir(parents=True, exist_ok=True)
        notes: dict[str, str] = {}
        rendered, ours = make_tiers(args.data, work, args.tiers, args.sizes, notes)
        others = make_peers(rendered, work, wanted, notes)
        cases = [
            Case(reader, size, workers, threads)
            for size in args.sizes
            for workers in args.workers
            for threads in ([1] if workers else args.threads)
            for reader in (*ours, *others)
            if threads == 1 or not reader.is_peer
        ]
        failed: dict[str, str] = {}
        starts: dict[str, list[float]] = {}
        rates = rounds(
            {case.title: partial(one_figure, case, failed, starts) for case in cases},
            repeat=args.repeat, warm_up=0,
        )  # fmt: skip

    notes |= {f"{title} failed": why for title, why in failed.items()}
    notes["fields"] = "composite, mask, depth, but where a row says more"
    notes["start"] = "until each worker has given a batch, every epoch anew; not in the samples/s"
    cases = [case for case in cases if case.title not in failed]
    report(
        f"bench_read: {len(Dataset(args.data)):,} samples, batches of {BATCH}, random order",
        {case.title: rates[case.title] for case in cases},
        notes,
        columns={
            "start [s]": {title: f"{statistics.median(one):.2f}" for title, one in starts.items()},
            **({"÷ fastest peer": shares(cases, rates)} if others else {}),
        },
    )


# ---- the stores --------------------------------------------------------------------------------


def make_tiers(
    data: Path, work: Path, names: Iterable[str], sizes: Iterable[int], notes: dict[str, str]
) -> tuple[Path, list[Reader]]:
    """Makes the tiers that are not there yet, and notes the bytes each takes for a sample.

    Returns:
        The rendered dataset in `generate`'s own codecs, and the readers of the tiers.
    """
    there = Dataset(data)
    rendered, readers = work / "rendered", []
    if there.manifest.layout == "rendered" and there.manifest.codecs == DEFAULT_CODECS:
        rendered = data
    else:
        convert(data, rendered, **TIERS["rendered"])
    for name in names:
        store = rendered if name == "rendered" else work / name.replace(",", "").replace(" ", "-")
        if name == "cache":
            for size in sizes:
                SampleDataset(rendered, split=None, size=size, cache=store)
                taken = cache_path(store, Dataset(rendered), (size, size)).stat().st_size
                notes[f"bytes a sample, cache, {size} px"] = f"{taken / len(there):,.0f}"
            readers.append(Reader(name, rendered, ("--cache", str(store))))
            continue
        if name != "rendered":
            convert(data, store, **TIERS[name])
        notes[f"bytes a sample, {name}"] = f"{disk_bytes(store) / len(there):,.0f}"
        readers.append(Reader(name, store))
        if name == "rendered" and "background" in there.manifest.fields:
            fields = ("--fields", "background", *FIELDS)
            readers.append(Reader("rendered, with background", store, fields))
    assets = sum(
        len(one["image"]) for kind in ("backgrounds", "foregrounds") for one in there.assets(kind)
    )
    notes["bytes a sample"] = f"with the assets, {assets:,} bytes in each tier but the cache"
    return rendered, readers


def make_peers(
    dataset: Path, work: Path, names: Iterable[str], notes: dict[str, str]
) -> list[Reader]:
    """Builds the stores of the peers that are installed, each in a process of its own."""
    readers, samples = [], len(Dataset(dataset))
    for name in names:
        peer, store = PEERS[name], work / name
        if importlib.util.find_spec(peer.library) is None:
            notes[f"{peer.title} skipped"] = f"not installed: {peer.install}"
            continue
        if not store.exists():
            part = work / f"{name}.{os.getpid()}.part"  # cut off, it is not taken for the whole
            try:
                run_once(part, "--peer", name, "--build", str(dataset))
            except RuntimeError as error:
                notes[f"{peer.title} skipped"] = f"its store cannot be built: {error}"
                continue
            part.rename(store)
        notes[f"bytes a sample, {peer.title}"] = f"{disk_bytes(store) / samples:,.0f}"
        readers.append(Reader(peer.title, store, ("--peer", name), is_peer=True))
    return readers


def disk_bytes(store: Path) -> int:
    """What a store takes from the disk: whole blocks, not lengths."""
    return sum(path.stat().st_blocks * 512 for path in store.rglob("*"))


# ---- the figures -------------------------------------------------------------------------------


def one_figure(
    case: Case, failed: dict[str, str], starts: dict[str, list[float]]
) -> tuple[int, float]:
    """Samples and seconds of one fresh process.

    Args:
        case: What to read.
        failed: Title -> why; a peer that fails is noted here and asked no more.
        starts: Title -> the seconds each process took to start an epoch; added to.
    """
    if case.title in failed:
        return 0, 1.0
    arguments = [*case.reader.arguments, "--size", case.size, "--workers", case.workers]
    try:
        found = run_once(case.reader.store, *arguments, "--threads", case.threads)
    except RuntimeError as error:
        if not case.reader.is_peer:
            raise
        failed[case.title] = str(error)
        return 0, 1.0
    starts.setdefault(case.title, []).append(found["start_s"])
    return found["samples"], found["seconds"]


def run_once(store: Path, *arguments: object) -> dict:
    """The answer of `read_once`, in a fresh process with one thread a library."""
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.read_once", str(store), *map(str, arguments)],
        cwd=REPOSITORY, env=os.environ | ONE_THREAD, capture_output=True, text=True,
    )  # fmt: skip
    if ended.returncode:
        last = ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"]
        raise RuntimeError(last[-1])
    return json.loads(ended.stdout.strip().splitlines()[-1])


def shares(cases: list[Case], rates: dict[str, tuple[float, float, float]]) -> dict[str, str]:
    """Each median over that of the fastest peer on as many cores at the same size."""
    fastest: dict[tuple[int, int], float] = {}
    for case in cases:
        if case.reader.is_peer:
            median = rates[case.title][0]
            fastest[case.rivals] = max(median, fastest.get(case.rivals, 0.0))
    return {
        case.title: f"{rates[case.title][0] / fastest[case.rivals]:.2f}"
        for case in cases
        if case.rivals in fastest
    }


if __name__ == "__main__":
    main()
