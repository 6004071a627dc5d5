"""Measures scene depth against datasets without depth: generation, reading, and their size.

    python -m benchmarks.bench_scene --foregrounds DIR --backgrounds DIR [--samples 4096]

The cases take turns. The rate of a generation counts the samples alone: the depth of the
backgrounds is asked for once, before, and loading the pictures is not counted either.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.common import report, rounds
from dsetkit.arguments import COUNT, SIDE_PX, WORKERS, Parser
from dsetkit.compositing.recipe import Canvas
from dsetkit.datasets.reader import Dataset
from dsetkit.generating import SceneDepth, Spread, generate
from dsetkit.labels import TeacherChoice

READ_SIZES = (64, 224)


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--foregrounds", type=Path, required=True, metavar="DIR")
    add("--backgrounds", type=Path, required=True, metavar="DIR")
    add("--size", type=SIDE_PX, default=224, help="canvas [px] (default: %(default)s)")
    add("--samples", type=COUNT, default=4096, help="(default: %(default)s)")
    add("--workers", type=WORKERS, default=0, help="processes that composite (default: 0)")
    add("--repeat", type=COUNT, default=5, help="rounds (default: %(default)s)")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        make = partial(
            timed_generate,
            foregrounds=args.foregrounds,
            backgrounds=args.backgrounds,
            num_samples=args.samples,
            canvas=Canvas(size=args.size),
            spread=Spread(workers=args.workers),
        )
        cases: dict[str, Callable[[], tuple[int, float]]] = {}
        notes = {}
        for layout in ("recipe", "rendered"):
            for name, scene in (("no depth", None), ("scene depth", SceneDepth())):
                cases[f"generate {layout}, {name}"] = partial(
                    make, output=place / f"{layout}-{name[0]}", layout=layout, scene=scene
                )
        rates = rounds(cases, repeat=args.repeat)
        readers: dict[str, Callable[[], int]] = {}
        for layout in ("recipe", "rendered"):
            for name in ("no depth", "scene depth"):
                path = place / f"{layout}-{name[0]}"
                size = sum(file.stat().st_size for file in path.iterdir())
                notes[f"bytes of {args.samples:,} samples, {layout}, {name}"] = f"{size:,}"
                for side in READ_SIZES:
                    readers[f"read {layout}, {name}, {side} px"] = partial(
                        read, Dataset(path), side, count=min(1024, args.samples)
                    )
        rates |= rounds(readers, repeat=args.repeat)
    for layout in ("recipe", "rendered"):
        first = f"generate {layout}, scene depth"
        notes[f"{first} ÷ no depth"] = ratio(rates, first, f"generate {layout}, no depth")
        for side in READ_SIZES:
            first = f"read {layout}, scene depth, {side} px"
            notes[f"{first} ÷ no depth"] = ratio(
                rates, first, f"read {layout}, no depth, {side} px"
            )
    title = "scene: generation and reading with scene depth and without depth"
    report(title, rates, notes, seeds=[0])


def ratio(rates: dict[str, tuple[float, float, float]], one: str, other: str) -> str:
    return f"{rates[one][0] / rates[other][0]:.2f}"


def timed_generate(*, output: Path, scene: SceneDepth | None, **settings: object) -> tuple:
    """Makes a dataset anew; returns samples and seconds from the first batch to the end."""
    shutil.rmtree(output, ignore_errors=True)
    times: list[tuple[int, float]] = []
    generate(
        output=output,
        scene=scene,
        teacher=TeacherChoice(name="bundled" if scene else "none"),
        progress=lambda done, total: times.append((done, time.perf_counter())),
        **settings,
    )
    (first, start), (last, end) = times[0], times[-1]
    return last - first, end - start


def read(dataset: Dataset, side: int, *, count: int) -> int:
    """Reads samples in an order of chance, in batches of 32; returns how many."""
    fields = [name for name in dataset.manifest.fields if name != "background"]
    indices = np.random.default_rng(0).permutation(len(dataset))[:count].tolist()
    for start in range(0, count, 32):
        for _ in dataset.samples(indices[start : start + 32], fields, (side, side)):
            pass
    return count


if __name__ == "__main__":
    main()
