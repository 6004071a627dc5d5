"""Measures the cost and the gain of shards: written in parallel, opened and read by the thousand.

    python -m benchmarks.bench_shards --foregrounds DIR --backgrounds DIR
           [--samples 20000] [--recipe-samples 400000] [--repeat 3] [--no-ray] [--work DIR]

Writing: no teacher, 224 px, each case in a process of its own. Two times are measured:

- The whole command, from the start of Python to the complete dataset on the disk. It includes
  reading the pictures, and starting and ending the workers (and Ray).
- From the first sample to the last, which is nearly all of a long run. If several processes write,
  each reports its progress twice a second.

One core is `1 shard, no worker`: one process draws and writes. With `1 shard, 1 worker` one process
draws and another writes. `2 commands` are independent of each other, as in an array of jobs; they
show the limit of the machine. After each run the content of the dataset, i.e. the samples of all
shards in order, is compared.

Reading: the same few small samples as 1 to 1000 shards. Each figure comes from a process of its
own, with a warm page cache.
"""

import importlib.metadata
import importlib.util
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import xxhash

from benchmarks.bench_scale import in_fresh_process
from benchmarks.common import keep, markdown_table, rounds
from benchmarks.make_once import Run
from dsetkit.arguments import COUNT, Parser
from dsetkit.datasets.reader import Dataset
from dsetkit.loading.loader import epoch_order
from dsetkit.store.codecs import LAYOUT_CODECS
from dsetkit.store.environments import MOST_OPEN
from dsetkit.store.remote import RemoteShards
from dsetkit.store.shards import list_shards

ONE, TWO, RAY = "1 shard, no worker", "2 shards, 2 workers", "2 shards, Ray, 2 workers"
BESIDE = "2 shards, 2 commands"
CASES = {
    ONE: {"shards": 1, "workers": 0},
    "1 shard, 1 worker": {"shards": 1, "workers": 1},
    "1 shard, 2 workers": {"shards": 1, "workers": 2},
    TWO: {"shards": 2, "workers": 2},
    BESIDE: {"shards": 2, "workers": 0},
    RAY: {"shards": 2, "workers": 2, "engine": "ray"},
}
GOALS = ((TWO, ONE, 1.8), (RAY, TWO, 0.9))
SMALL_CANVAS = 64  # px
READ_AT_ONCE = 64  # samples
MAKING = (
    "{}, {:,} samples", "whole [s]", "samples/s", "÷ one core", "start [s]",
    "then samples/s", "lowest..highest", "÷ one core", "CPU [s]", "bytes equal",
)  # fmt: skip
READING = {  # heading -> what it shows, and how
    "shards": ("shards", "{:,}"),
    "make [s]": ("make_s", "{:.1f}"),
    "open [ms]": ("open_ms", "{:.1f}"),
    "a new shard's first sample [ms]": ("first_ms", "{:.2f}"),
    "its next [ms]": ("next_ms", "{:.3f}"),
    "handles a shard": ("handles", "{:.1f}"),
    "memory a shard [kB]": ("memory_kb", "{:.0f}"),
    "address space a shard [kB]": ("address_kb", "{:.0f}"),
    "handles, all read": ("handles_of_all", "{:.0f}"),
    "random reads/s": ("random_per_s", "{:,.0f}"),
    "in blocks/s": ("in_blocks_per_s", "{:,.0f}"),
    "list [ms]": ("list_ms", "{:.1f}"),
}


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--foregrounds", type=Path, required=True, metavar="DIR")
    parser.add_argument("--backgrounds", type=Path, required=True, metavar="DIR")
    parser.add_argument("--samples", type=COUNT, default=20_000, help="(default: %(default)s)")
    parser.add_argument(
        "--recipe-samples", type=COUNT, default=400_000, metavar="N",
        help="of the recipe layout, which is quick (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--shards", type=COUNT, nargs="+", default=[1, 10, 100, 1000],
                        help="of the datasets that are read (default: %(default)s)")  # fmt: skip
    parser.add_argument("--read-samples", type=COUNT, default=16_000, metavar="N",
                        help="of each of those (default: %(default)s)")  # fmt: skip
    parser.add_argument("--parts", nargs="+", default=["making", "reading"],
                        choices=["making", "reading"], help="(default: both)")  # fmt: skip
    parser.add_argument("--no-ray", action="store_true", help="leave Ray out")
    parser.add_argument("--repeat", type=COUNT, default=3, help="rounds (default: %(default)s)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="where datasets are, for a while")
    args = parser.parse_args()

    pictures = {"foregrounds": args.foregrounds, "backgrounds": args.backgrounds, "skip_bad": True}
    has_ray = not args.no_ray and importlib.util.find_spec("ray") is not None
    cases = {name: case for name, case in CASES.items() if has_ray or name != RAY}
    content: dict = {"title": "bench_shards: making and reading shards, no teacher"}
    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        if "making" in args.parts:
            for layout in LAYOUT_CODECS:
                samples = args.recipe_samples if layout == "recipe" else args.samples
                settings = {**pictures, "layout": layout, "at_most": samples}
                content[f"making, {layout}"] = compare_making(
                    cases, settings, Path(folder), repeat=args.repeat
                )
        if "reading" in args.parts:
            content["reading"] = compare_reading(
                pictures, Path(folder), args.shards, args.read_samples, repeat=args.repeat
            )
            large = {**pictures, "at_most": args.samples, "shards": 2, "workers": 2}
            content["bytes"] = whole_files(large, Path(folder), repeat=args.repeat)
    if has_ray:
        content["ray"] = importlib.metadata.version("ray")
    keep("bench_shards", content, seeds=[0])


# ---- making ------------------------------------------------------------------------------------


def compare_making(
    cases: dict[str, dict], settings: dict, folder: Path, *, repeat: int
) -> dict[str, dict]:
    """Run all cases of one layout in turn, print a table and return its figures."""
    runs: dict[str, list[Run]] = {name: [] for name in cases}
    contents: dict[str, set[str]] = {name: set() for name in cases}
    sizes: dict[str, int] = {}

    def work(name: str) -> tuple[int, float]:
        path = folder / "made"
        start = time.perf_counter()
        run = _run(name, settings | cases[name] | {"output": path})
        seconds = time.perf_counter() - start
        contents[name].add(in_fresh_process(content_of, path))
        sizes[name] = sum(file.stat().st_blocks * 512 for file in path.iterdir())
        shutil.rmtree(path)
        runs[name].append(run)
        print(f"{settings['layout']}, {name}: {seconds:.1f} s", flush=True)
        return run.samples, seconds

    whole = rounds({name: partial(work, name) for name in cases}, repeat=repeat)
    results = {}
    for name in cases:
        counted = runs[name][-repeat:]
        rates = [run.samples_per_s for run in counted]
        samples, rate = counted[0].samples, statistics.median(rates)
        results[name] = {
            "samples": samples,
            "whole_s": samples / whole[name][0],
            "whole_samples_per_s": whole[name],
            "start_s": samples / whole[name][0] - samples / rate,
            "then_samples_per_s": (rate, min(rates), max(rates)),
            # Ray's workers are not our children, so we cannot wait for them.
            "cpu_s": None if name == RAY else statistics.median(run.cpu_s for run in counted),
            "bytes_on_disk": sizes[name],
            "bytes_equal": contents[name] == contents[ONE] and len(contents[name]) == 1,
        }
    _show_making(settings["layout"], results)
    return results


def _run(name: str, settings: dict) -> Run:
    if name != BESIDE:
        return _make(settings)
    with ThreadPoolExecutor(2) as pool:
        orders = [settings | {"shard_index": number} for number in range(settings["shards"])]
        both = list(pool.map(_make, orders))
    return Run(
        min((run.first for run in both), key=lambda first: first[1]),
        max(run.last for run in both),
        max(run.ended for run in both),
        sum(run.cpu_s for run in both),
        both[0].samples,
    )


def _make(settings: dict) -> Run:
    """Generate one dataset in a new process, which imports no more than the command does."""
    arguments = json.dumps({name: _plain(value) for name, value in settings.items()})
    command = [sys.executable, "-m", "benchmarks.make_once", arguments]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        raise SystemExit(f"{' '.join(command)}: {made.stderr}")
    first, *rest = json.loads(made.stdout.splitlines()[-1])
    return Run(tuple(first), *rest)


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def content_of(path: Path) -> str:
    """Return a checksum over all of a dataset except its manifest.

    It covers the samples of all shards in order, with their numbers, the cells and the assets.
    """
    shards, digest = Dataset(path).shards, xxhash.xxh3_128()
    digest.update(Dataset(path).cells)
    stores = [(shards.first, name) for name in ("backgrounds", "foregrounds")]
    stores += [(shards.reader(number), "samples") for number in range(len(shards.ranges))]
    for store, database in stores:
        for key, value in store.items(database):
            digest.update(key)
            digest.update(value)
    return digest.hexdigest()


def _show_making(layout: str, results: dict[str, dict]) -> None:
    base, rows = results[ONE], []
    for name, result in results.items():
        rate, low, high = result["then_samples_per_s"]
        rows.append([
            name, f"{result['whole_s']:.1f}", f"{result['whole_samples_per_s'][0]:,.0f}",
            f"{base['whole_s'] / result['whole_s']:.2f}", f"{result['start_s']:.1f}",
            f"{rate:,.0f}", f"{low:,.0f}..{high:,.0f}",
            f"{rate / base['then_samples_per_s'][0]:.2f}",
            "" if result["cpu_s"] is None else f"{result['cpu_s']:.1f}",
            "yes" if result["bytes_equal"] else "NO",
        ])  # fmt: skip
    headings = [text.format(layout, base["samples"]) for text in MAKING]
    print("\n" + markdown_table(headings, rows) + "\n")
    mean = base["bytes_on_disk"] / base["samples"]
    print(f"bytes a sample as they lie on the disk, assets included: {mean:,.0f}")
    for name, other, goal in GOALS:
        if {name, other} <= results.keys():
            print(_judged(name, other, goal, results))
    if not all(result["bytes_equal"] for result in results.values()):
        raise SystemExit("datasets differ: see the last column")


def _judged(name: str, other: str, goal: float, results: dict[str, dict]) -> str:
    """Describe a ratio of medians, its goal, and the run length at which the command meets it."""
    first, second = results[name], results[other]
    whole = second["whole_s"] / first["whole_s"]
    first_rate, second_rate = (result["then_samples_per_s"][0] for result in (first, second))
    ratio = first_rate / second_rate
    text = f"{name} ÷ {other}: whole {whole:.2f}, from the first sample to the last {ratio:.2f}"
    text += f" (goal {goal})"
    if ratio > goal:  # start + n / rate of both
        missing = goal * first["start_s"] - second["start_s"]
        enough = max(missing / (1 / second_rate - goal / first_rate), 0)
        text += f"; by these figures the whole command reaches it from {enough:,.0f} samples on"
    return text


# ---- reading -----------------------------------------------------------------------------------


def compare_reading(
    pictures: dict, folder: Path, counts: list[int], samples: int, *, repeat: int
) -> list[dict]:
    """Read the same samples as different numbers of shards; print a table, return figures."""
    batch = samples // max(counts)
    made, paths = {}, {}
    for shards in counts:
        paths[shards] = folder / f"of-{shards}"
        settings = {"output": paths[shards], "size": SMALL_CANVAS, "at_most": samples,
                    "batch_size": batch, "shards": shards, "workers": 0}  # fmt: skip
        start = time.perf_counter()
        _make(pictures | settings)
        made[shards] = time.perf_counter() - start
    looks: dict[int, list[dict]] = {shards: [] for shards in counts}
    for number in range(1 + repeat):
        for shards, path in paths.items():
            figures = {}
            for look in (open_shards, read_at_random, read_in_blocks, list_them):
                figures |= in_fresh_process(look, path)
            if number:  # the first round warms up
                looks[shards].append(figures)
    rows = [
        {"shards": shards, "make_s": made[shards]}
        | {
            name: statistics.median(look[name] for look in looks[shards])
            for name in looks[shards][0]
        }
        for shards in counts
    ]
    texts = [
        [form.format(row[name]) if name in row else "" for name, form in READING.values()]
        for row in rows
    ]
    print("\n" + markdown_table(list(READING), texts) + "\n")
    if len(counts) > 1:
        low, high = min(counts), max(counts)
        more_s = (made[high] - made[low]) / (high - low)
        print(f"making a shard more: {1e3 * more_s:.1f} ms (commits that wait for the disk)")
    return rows


def open_shards(path: Path) -> dict[str, float]:
    """Time opening a dataset, and then each of its shards for the first time."""
    start = time.perf_counter()
    dataset = Dataset(path)
    dataset.record(0)
    figures = {"open_ms": 1e3 * (time.perf_counter() - start)}
    ranges, held = dataset.shards.ranges, _held()
    first_s, next_s = [], []
    for indices in ranges[1:MOST_OPEN]:
        first_s.append(_seconds(dataset.record, indices[0]))
        next_s.append(_seconds(dataset.record, indices[-1]))
    if first_s:
        names = ("handles", "memory_kb", "address_kb")
        for name, a, b in zip(names, held, _held(), strict=True):
            figures[name] = (b - a) / len(first_s) / (1e3 if name.endswith("kb") else 1)
        figures["first_ms"] = 1e3 * statistics.median(first_s)
        figures["next_ms"] = 1e3 * statistics.median(next_s)
    for indices in ranges[MOST_OPEN:]:
        dataset.record(indices[0])
    return figures | {"handles_of_all": _held()[0] - held[0] + 1}


def _seconds(act: Callable, *arguments: object) -> float:
    start = time.perf_counter()
    act(*arguments)
    return time.perf_counter() - start


def _held() -> tuple[int, int, int]:
    """Return the file handles, resident memory and address space of this process [bytes]."""
    address, resident = map(int, Path("/proc/self/statm").read_text().split()[:2])
    page = resource.getpagesize()
    return len(os.listdir("/proc/self/fd")), resident * page, address * page


def read_at_random(path: Path) -> dict[str, float]:
    """Time reading records in batches with checksums verified, as a full shuffle does."""
    return {"random_per_s": _read(Dataset(path), block=None)}


def read_in_blocks(path: Path) -> dict[str, float]:
    """Time the same in blocks of the size of a shard."""
    dataset = Dataset(path)
    return {"in_blocks_per_s": _read(dataset, block=len(dataset.shards.ranges[0]))}


def _read(dataset: Dataset, *, block: int | None) -> float:
    order = epoch_order(0, 0, len(dataset), block=block)
    start = time.perf_counter()
    for number in range(0, len(order), READ_AT_ONCE):
        dataset.records(order[number : number + READ_AT_ONCE])
    return len(order) / (time.perf_counter() - start)


def list_them(path: Path) -> dict[str, float]:
    """Time writing the shard list."""
    return {"list_ms": 1e3 * _seconds(list_shards, path)}


# ---- large files -------------------------------------------------------------------------------


def whole_files(settings: dict, folder: Path, *, repeat: int) -> dict:
    """Time what is done to every byte of a shard: writing the list, copying into the cache."""
    path = folder / "large"
    _make(settings | {"output": path})
    looks: list[dict] = []
    for _ in range(1 + repeat):
        figures = in_fresh_process(list_them, path)
        if importlib.util.find_spec("fsspec"):
            figures |= in_fresh_process(fetch, path, folder / "cache")
        looks.append(figures)
    size = sum(file.stat().st_size for file in path.glob("*.lmdb")) / 1e9
    shutil.rmtree(path)
    medians = {name: statistics.median(look[name] for look in looks[1:]) for name in looks[0]}
    rows = [["hash for the shard list", f"{medians['list_ms'] / 1e3 / size:.2f}", ""]]
    if "fetch_s" in medians:
        per_gb = [f"{medians[name] / size:.2f}" for name in ("fetch_s", "fetch_cpu_s")]
        rows.append(["into the cache, from a folder in place of a network", *per_gb])
    print(f"\nfiles of {size:.2f} GB in all:\n")
    print(markdown_table(["what", "s/GB", "CPU s/GB"], rows) + "\n")
    return {"gigabytes": size, **medians}


def fetch(path: Path, cache: Path) -> dict[str, float]:
    """Fetch all shards through fsspec into an empty cache, hashed and synced; no network."""
    shards = RemoteShards(f"local://{path}", cache, max_bytes=1 << 60)
    cpu_s = time.process_time()
    seconds = _seconds(shards.local_all)
    cpu_s = time.process_time() - cpu_s
    shutil.rmtree(cache)
    return {"fetch_s": seconds, "fetch_cpu_s": cpu_s}


if __name__ == "__main__":
    main()
