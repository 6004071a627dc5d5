"""Measures how fast samples are read as training batches, by our formats and by other libraries.

    python -m benchmarks.bench_read --data DATASET [--sizes 64 224] [--work DIR]
    python -m benchmarks.bench_read --data DATASET --peers     also lists those not installed

It converts the dataset to all formats ("tiers"), in a temporary folder or in --work DIR. These are
the rendered layout as `generate` writes it, the rendered layout with zstd for masks and Pco for
depths, the same with composites also stored at half the size, the recipe layout, a cache at each
size, and the stores of the peers (`benchmarks/peers`). A format that exists in DIR is not made
again.

Peers that store encoded bytes have two rows: with the decoder that their users take, and with
dsetkit's. Three columns say what else a reader gives; each is found out by a trial on a small
dataset that is drawn for it (`reader_facts`), and none is asserted.

Each figure comes from a process of its own (`read_once`), which reads a warm epoch and then a
measured one. The readers take turns, round after round. The page cache is warm, the order is
random, and our checksums are verified. Libraries run one thread per process, so "1 thread" is one
core. Only two readers use more: make_loader(threads=2), and FFCV, which has no workers.

Workers of peers are forked, as PyTorch does on Linux up to Python 3.13, or spawned: new processes,
as on other systems. --start-methods takes either or both. Our workers are always spawned.
"""

import importlib.metadata
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
from benchmarks.peers.shared import BATCH, FIELDS, OURS, START_METHODS
from dsetkit import SampleDataset
from dsetkit.arguments import COUNT, SIDE_PX, WORKERS, Parser
from dsetkit.datasets.reader import Dataset
from dsetkit.loading.plane_cache import cache_path
from dsetkit.store.codecs import DEFAULT_CODECS
from dsetkit.verbs.convert import convert
from tests.helpers.worlds import tiny_dataset

FAST = DEFAULT_CODECS | {"mask": "zstd8", "depth": "pco16"}
TIERS = {  # name -> settings of `convert`
    "rendered": {"layout": "rendered", "codecs": DEFAULT_CODECS},
    "rendered, zstd and pco": {"layout": "rendered", "codecs": FAST},
    "rendered, half, zstd and pco": {
        "layout": "rendered",
        "codecs": FAST | {"composite": "jpeg95+half"},
    },
    "recipe": {"layout": "recipe"},
}
ONE_THREAD = {  # FFCV uses as many of Numba's threads as it is asked to
    "OMP_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "NUMBA_NUM_THREADS": str(max(8, os.cpu_count() or 1)),
    "NUMBA_THREADING_LAYER": "omp",  # with Numba's default, TBB, a process may hang when it ends
}

FORK, SPAWN = START_METHODS
FACTS = ("exact pixels", "flipped bytes noticed", "resumes in an epoch")


@dataclass(frozen=True)
class Reader:
    """A format and a way to read it.

    Attributes:
        name: Its row in the table.
        store: The file or folder that it reads.
        arguments: Arguments of `read_once`, besides size and workers.
        is_peer: Whether it is another library.
        forks: Whether its workers can be forked as well as spawned.
    """

    name: str
    store: Path
    arguments: tuple[str, ...] = ()
    is_peer: bool = False
    forks: bool = False


@dataclass(frozen=True)
class Case:
    """A reader at one size, with a number of workers or of threads in one process.

    Attributes:
        start_method: How the workers of a peer start.
    """

    reader: Reader
    size: int
    workers: int
    threads: int
    start_method: str = FORK

    @property
    def title(self) -> str:
        how = f"{self.workers} workers" + ", spawned" * (self.start_method == SPAWN)
        if not self.workers:
            how = {0: "in place", 1: "1 thread"}.get(self.threads, f"{self.threads} threads")
        return f"{self.size} px, {how}: {self.reader.name}"

    @property
    def rivals(self) -> tuple[int, int]:
        """Return size and cores; cases that agree in both are compared."""
        return self.size, self.workers or self.threads or 1


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DATASET")
    parser.add_argument("--sizes", type=SIDE_PX, nargs="+", default=[64, 224], help="[px]")
    parser.add_argument("--workers", type=WORKERS, nargs="+", default=[0, 2], help="processes")
    parser.add_argument(
        "--threads",
        type=WORKERS,
        nargs="+",
        default=[0, 1, 2],
        help="where workers = 0; 0 = in place",
    )
    parser.add_argument(
        "--start-methods", nargs="+", choices=START_METHODS, default=[FORK],
        help="of the workers of peers (default: fork)",
    )  # fmt: skip
    parser.add_argument("--tiers", nargs="+", default=[*TIERS, "cache"], choices=[*TIERS, "cache"])
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, metavar="NAME",
        help=f"compare with these, or, without a name, with all: {', '.join(PEERS)}",
    )  # fmt: skip
    parser.add_argument(
        "--no-facts", action="store_true", help="leave out the columns that are found by trials"
    )
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep what is made, for next time")
    parser.add_argument("--repeat", type=COUNT, default=5, help="rounds (default: %(default)s)")
    parser.add_argument("--name", default="bench_read", help="of the JSON (default: %(default)s)")
    args = parser.parse_args()

    wanted = () if args.peers is None else args.peers or tuple(PEERS)
    with tempfile.TemporaryDirectory() as temporary:
        work = (args.work or Path(temporary)) / Dataset(args.data).manifest.fingerprint[:16]
        work.mkdir(parents=True, exist_ok=True)
        notes: dict[str, str] = {}
        rendered, ours = make_tiers(args.data, work, args.tiers, args.sizes, notes)
        others = make_peers(rendered, work, wanted, notes)
        tried = {} if args.no_facts else facts_of_all(Path(temporary), args.tiers, wanted)
        cases = [
            Case(reader, size, workers, threads, start_method)
            for size in args.sizes
            for workers in args.workers
            for threads in ([1] if workers else args.threads)
            for reader in (*ours, *others)
            for start_method in (args.start_methods if workers and reader.forks else [FORK])
            if threads == 1 or not reader.is_peer
        ]
        failed: dict[str, str] = {}
        starts: dict[str, list[float]] = {}
        cpus: dict[str, list[float]] = {}
        rates = rounds(
            {case.title: partial(one_figure, case, failed, starts, cpus) for case in cases},
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
        seeds=[0],
        name=args.name,
        columns={
            "start [s]": {
                title: f"{statistics.median(seconds):.2f}" for title, seconds in starts.items()
            },
            "CPU µs/sample": {
                title: f"{1e6 * statistics.median(seconds):,.0f}" for title, seconds in cpus.items()
            },
            **({"÷ fastest peer": shares(cases, rates)} if others else {}),
            **{
                heading: {
                    case.title: tried.get(case.reader.name, {}).get(heading, "") for case in cases
                }
                for heading in (FACTS if tried else ())
            },
        },
    )


# ---- the stores --------------------------------------------------------------------------------


def make_tiers(
    data: Path, work: Path, names: Iterable[str], sizes: Iterable[int], notes: dict[str, str]
) -> tuple[Path, list[Reader]]:
    """Make the formats that do not exist yet, and note how many bytes each takes per sample.

    Returns:
        The rendered dataset with the codecs of `generate`, and the readers of our formats.
    """
    source = Dataset(data)
    rendered, readers = work / "rendered", []
    if (
        source.manifest.layout == "rendered"
        and source.manifest.codecs.items() <= DEFAULT_CODECS.items()
    ):
        rendered = data
    else:
        convert(data, rendered, **TIERS["rendered"])
    for name in names:
        store = rendered if name == "rendered" else work / name.replace(",", "").replace(" ", "-")
        if name == "cache":
            for size in sizes:
                SampleDataset(rendered, split=None, size=size, cache=store)
                taken = cache_path(store, Dataset(rendered), (size, size)).stat().st_size
                notes[f"bytes a sample, cache, {size} px"] = f"{taken / len(source):,.0f}"
            readers.append(Reader(name, rendered, ("--cache", str(store))))
            continue
        if name != "rendered":
            convert(data, store, **TIERS[name])
        notes[f"bytes a sample, {name}"] = f"{disk_bytes(store) / len(source):,.0f}"
        readers.append(Reader(name, store))
        if name == "rendered" and "background" in source.manifest.fields:
            fields = ("--fields", "background", *FIELDS)
            readers.append(Reader("rendered, with background", store, fields))
    assets = sum(
        len(asset.image) for kind in ("backgrounds", "foregrounds") for asset in source.assets(kind)
    )
    notes["bytes a sample"] = f"with the assets, {assets:,} bytes in each tier but the cache"
    return rendered, readers


def make_peers(
    dataset: Path, work: Path, names: Iterable[str], notes: dict[str, str]
) -> list[Reader]:
    """Build the stores of the installed peers, each in a process of its own."""
    readers, samples = [], len(Dataset(dataset))
    for name in names:
        peer, store = PEERS[name], work / name
        if importlib.util.find_spec(peer.library) is None:
            notes[f"{peer.title} skipped"] = f"not installed: {peer.install}"
            continue
        if not store.exists():
            part = (
                work / f"{name}.{os.getpid()}.part"
            )  # a partial store is not mistaken for a complete one
            try:
                run_once(part, "--peer", name, "--build", str(dataset))
            except RuntimeError as error:
                notes[f"{peer.title} skipped"] = f"its store cannot be built: {error}"
                continue
            part.rename(store)
        if peer.distribution:
            notes[f"version, {peer.title}"] = importlib.metadata.version(peer.distribution)
        notes[f"bytes a sample, {peer.title}"] = f"{disk_bytes(store) / samples:,.0f}"
        for decoder in dict.fromkeys((peer.decoder, OURS)) if peer.decoder else ("",):
            title = f"{peer.title}, {decoder}" if decoder else peer.title
            chosen = ("--decoder", decoder) if decoder else ()
            arguments = ("--peer", name, *chosen)
            readers.append(Reader(title, store, arguments, is_peer=True, forks=peer.has_workers))
    return readers


def facts_of_all(
    folder: Path, tiers: Iterable[str], peers: Iterable[str]
) -> dict[str, dict[str, str]]:
    """Try each reader on a small dataset; return name of the reader -> heading -> text."""
    data = tiny_dataset(folder / "tiny")
    work = folder / "tiny-stores"
    work.mkdir()
    _, ours = make_tiers(data, work, tiers, [], {})
    found = {}
    for reader in (*ours, *make_peers(data, work, peers, {})):
        try:
            facts = run_once(reader.store, *reader.arguments, "--facts", data)
        except RuntimeError as error:
            found[reader.name] = dict.fromkeys(FACTS, f"not found out: {error}")
            continue
        flips, exact = facts["flips"], facts["exact"]
        seen = f"{flips['noticed']} of {sum(flips.values())}"
        found[reader.name] = {
            "exact pixels": "all" if exact == list(FIELDS) else ", ".join(exact) or "none",
            "flipped bytes noticed": seen + f", {flips['died']} died" * (flips["died"] > 0),
            "resumes in an epoch": "yes" if facts["resumes"] else "no",
        }
    return found


def disk_bytes(store: Path) -> int:
    """Return the disk space of a store in whole blocks, not the lengths of its files."""
    return sum(path.stat().st_blocks * 512 for path in store.rglob("*"))


# ---- the figures -------------------------------------------------------------------------------


def one_figure(
    case: Case,
    failed: dict[str, str],
    starts: dict[str, list[float]],
    cpus: dict[str, list[float]],
) -> tuple[int, float]:
    """Return the samples and seconds of one new process.

    Args:
        case: What to read.
        failed: Title -> reason. A peer that fails is added here and not run again.
        starts: Title -> the seconds that each process took to start an epoch; added to.
        cpus: Title -> the seconds of CPU time that each process took for a sample; added to, where
            no others read for it.
    """
    if case.title in failed:
        return 0, 1.0
    arguments = [*case.reader.arguments, "--size", case.size, "--workers", case.workers]
    arguments += ["--threads", case.threads, "--start-method", case.start_method]
    try:
        result = run_once(case.reader.store, *arguments)
    except RuntimeError as error:
        if not case.reader.is_peer:
            raise
        failed[case.title] = str(error)
        return 0, 1.0
    starts.setdefault(case.title, []).append(result["start_s"])
    if not case.workers:
        cpus.setdefault(case.title, []).append(result["cpu_s"] / result["samples"])
    return result["samples"], result["seconds"]


def run_once(store: Path, *arguments: object) -> dict:
    """Run `read_once` in a new process with one thread per library, and return its result."""
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.read_once", str(store), *map(str, arguments)],
        cwd=REPOSITORY, env=os.environ | ONE_THREAD, capture_output=True, text=True,
    )  # fmt: skip
    if ended.returncode:
        last = ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"]
        raise RuntimeError(last[-1])
    return json.loads(ended.stdout.strip().splitlines()[-1])


def shares(cases: list[Case], rates: dict[str, tuple[float, float, float]]) -> dict[str, str]:
    """Divide each median by that of the fastest peer with as many cores at the same size."""
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
