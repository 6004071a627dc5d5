"""Measures the cost of the number of samples: seconds, bytes, memory, opening; both layouts.

    python -m benchmarks.bench_scale --foregrounds DIR --backgrounds DIR [--layout both]
                                     [--sizes 1000 10000 100000 424320] [--work DIR]

There is no teacher, and the canvas is small, so that the number of samples matters and not their
pixels. Each generation and each opening is a process of its own. Memory is the largest resident set
that `getrusage` reports, including pages of the mapped file. Opening is `Dataset(path)` and the
pixels of the first sample, without imports; `info` is the whole command. Both are medians with a
warm page cache.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children, get_context
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.common import REPOSITORY, keep
from benchmarks.make_once import settings_objects
from dsetkit.arguments import CANVAS_PX, COUNT, WORKERS, Parser
from dsetkit.datasets.reader import Dataset
from dsetkit.generating import generate
from dsetkit.store.codecs import LAYOUT_CODECS

COLUMNS = {  # of the table -> how it is written
    "layout": "{layout}",
    "samples": "{samples:,}",
    "seconds": "{seconds:,.1f}",
    "samples/s": "{samples_per_s:,.0f}",
    "MB": "{megabytes:,.1f}",
    "bytes a sample": "{bytes_per_sample:,.0f}",
    "peak MB": "{peak_mb:,.0f}",
    "of a worker": "{worker_peak_mb:,.0f}",
    "open [ms]": "{open_ms:.1f}",
    "info [ms]": "{info_ms:.0f}",
}


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--foregrounds", type=Path, required=True, metavar="DIR")
    parser.add_argument("--backgrounds", type=Path, required=True, metavar="DIR")
    parser.add_argument("--sizes", type=COUNT, nargs="+", default=[1000, 10_000, 100_000],
                        help="of datasets [samples] (default: %(default)s)")  # fmt: skip
    parser.add_argument("--layout", default="both", choices=["both", *LAYOUT_CODECS])
    parser.add_argument("--canvas", type=CANVAS_PX, default=64, help="[px] (default: %(default)s)")
    parser.add_argument("--workers", type=WORKERS, default=2, help="(default: %(default)s)")
    parser.add_argument("--repeat", type=COUNT, default=5, help="openings (default: %(default)s)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="where datasets are, for a while")
    args = parser.parse_args()

    layouts = list(LAYOUT_CODECS) if args.layout == "both" else [args.layout]
    rows = []
    for samples in args.sizes:
        for layout in layouts:
            with tempfile.TemporaryDirectory(dir=args.work) as folder:
                path = Path(folder) / "dataset"
                settings = {
                    "foregrounds": args.foregrounds, "backgrounds": args.backgrounds,
                    "output": path, "num_samples": samples, "size": args.canvas,
                    "layout": layout, "workers": args.workers, "skip_bad": True,
                }  # fmt: skip
                generated = in_fresh_process(make, settings)
                opened = [in_fresh_process(open_one, path) for _ in range(args.repeat)]
                info_s = [info_seconds(path) for _ in range(args.repeat)]
                disk = sum(file.stat().st_blocks * 512 for file in path.iterdir())
            rows.append(
                {
                    "layout": layout,
                    "samples": samples,
                    **generated,
                    "samples_per_s": samples / generated["seconds"],
                    "megabytes": disk / 1e6,
                    "bytes_per_sample": disk / samples,
                    "open_ms": 1e3 * statistics.median(opened),
                    "info_ms": 1e3 * statistics.median(info_s),
                }
            )
            print(f"{layout}, {samples:,} samples: {generated['seconds']:.1f} s", flush=True)

    title = f"bench_scale: canvas {args.canvas} px, no teacher, {args.workers} workers"
    table = Table(title=title)
    for heading in COLUMNS:
        table.add_column(heading, justify="left" if heading == "layout" else "right")
    for row in rows:
        table.add_row(*(text.format(**row) for text in COLUMNS.values()))
    Console(width=120).print(table)
    notes = "seconds and bytes with the pictures read and kept; a whole run of generate"
    print(f"note: {notes}")
    keep("bench_scale", {"title": title, "rows": rows, "note": notes}, seeds=[0])


# ---- each in a process of its own --------------------------------------------------------------


def in_fresh_process(work: Callable, *arguments: object):
    """Call a function in a new process and return its result."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def make(settings: dict) -> dict[str, float]:
    """Generate a dataset; return the seconds and the largest resident sets [MB]."""
    start = time.perf_counter()
    generate(**settings_objects(settings))
    seconds = time.perf_counter() - start
    for worker in active_children():  # getrusage counts only children that have ended
        worker.join()
    own, workers = (
        resource.getrusage(who).ru_maxrss / 1e3  # kilobytes, on Linux
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {"seconds": seconds, "peak_mb": own, "worker_peak_mb": workers}


def open_one(path: Path) -> float:
    """Return the seconds until a dataset is open and the pixels of its first sample are read."""
    start = time.perf_counter()
    dataset = Dataset(path)
    dataset.images(dataset.record(0), ("composite", "mask"), None)
    return time.perf_counter() - start


def info_seconds(path: Path) -> float:
    """Return the seconds of `dsetkit info`."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "dsetkit", "info", str(path)],
        cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
