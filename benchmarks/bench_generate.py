"""Measures where `generate` spends its time: compositing, encoding, teacher, writing, all together.

    python -m benchmarks.bench_generate --foregrounds DIR --backgrounds DIR [--samples 512]

First each stage runs alone in one process. Then whole runs of `generate` with the teacher are
compared with the teacher alone, in the same rounds. Runs without the teacher are fast, so they make
--plain-samples; they are compared with the method of student projects (`seeds_way`).
"""

import shutil
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import seeds_way
from benchmarks.common import report, rounds
from dsetkit.arguments import BATCH, COUNT, SIDE_PX, WORKERS, Parser
from dsetkit.assets.folders import Asset
from dsetkit.compositing.batches import BatchCompositor
from dsetkit.compositing.compositor import COMPOSITED, Compositor
from dsetkit.compositing.recipe import Canvas, FullSet
from dsetkit.datasets.reader import Dataset
from dsetkit.datasets.writer import DatasetWriter
from dsetkit.generating import Spread, generate
from dsetkit.generating.plan import AssetSet
from dsetkit.labels import TeacherChoice
from dsetkit.store.codecs import CODECS, DEFAULT_CODECS, LAYOUT_CODECS
from dsetkit.teachers import load_teacher

SEEDS_WAY = "the seeds' way: Pillow, JPEG files, zip"


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--foregrounds", type=Path, required=True, metavar="DIR")
    parser.add_argument("--backgrounds", type=Path, required=True, metavar="DIR")
    parser.add_argument("--teacher", default="bundled", help="(default: %(default)s)")
    parser.add_argument(
        "--size", type=SIDE_PX, default=224, help="canvas [px] (default: %(default)s)"
    )
    parser.add_argument("--samples", type=COUNT, default=512, help="(default: %(default)s)")
    parser.add_argument(
        "--plain-samples", type=COUNT, default=4096, metavar="N",
        help="of the runs without a teacher (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--workers", type=WORKERS, nargs="+", default=[1, 2], help="of those runs")
    parser.add_argument("--batch-size", type=BATCH, default=32, help="(default: %(default)s)")
    parser.add_argument("--repeat", type=COUNT, default=5, help="rounds (default: %(default)s)")
    args = parser.parse_args()

    folders = {"foregrounds": args.foregrounds, "backgrounds": args.backgrounds}
    canvas = Canvas(size=args.size)
    assets = AssetSet.load(**folders, canvas=canvas, seed=0, skip_bad=True)
    full_set = FullSet(
        num_backgrounds=len(assets.backgrounds),
        foreground_shapes=tuple(asset.pixels.shape[:2] for asset in assets.foregrounds),
        canvas=canvas,
        seed=0,
    )
    codecs = {name: DEFAULT_CODECS[name] for name in COMPOSITED}
    rendered = BatchCompositor(full_set, assets.pixels, codecs, keep_composites=True)
    recipes = BatchCompositor(full_set, assets.pixels, {}, keep_composites=False)  # no teacher
    compositor = Compositor(assets.pixels, (args.size, args.size), kept=None)
    teacher = load_teacher(args.teacher)
    indices = np.linspace(0, len(full_set) - 1, args.samples).astype(int)
    batches = [indices[i : i + args.batch_size] for i in range(0, len(indices), args.batch_size)]
    images = [rendered.composite(batch).composites for batch in batches]
    records = [record for batch in batches for record in rendered.composite(batch).records]
    drawn = [compositor.composite(record) for record in records]
    depth = np.full((args.size // 2, args.size // 2), 1234, np.uint16)
    depth += np.arange(depth.size, dtype=np.uint16).reshape(depth.shape) % 4000
    root = Path(tempfile.mkdtemp())

    def draw_all() -> int:
        for record in records:
            compositor.composite(record)
        return len(records)

    def encode(field: str, pick) -> int:
        for sample in drawn:
            CODECS[DEFAULT_CODECS[field]].encode(pick(sample))
        return len(drawn)

    def label_all() -> int:
        return sum(len(teacher(batch)) for batch in images)

    def write_all() -> int:
        shutil.rmtree(root / "write", ignore_errors=True)
        with DatasetWriter(root / "write", manifest, np.zeros(len(records))) as writer:
            writer.add(records)
            writer.finish()
        return len(records)

    def run(
        name: str,
        *,
        num_samples: int = args.samples,
        layout: str = "rendered",
        teacher: str = "none",
        workers: int | None = None,
    ) -> tuple[int, float]:
        """Return samples and seconds from the first batch on, without the time to start."""
        shutil.rmtree(root / name, ignore_errors=True)
        seen: list[tuple[int, float]] = []
        generate(
            **folders,
            output=root / name,
            num_samples=num_samples,
            canvas=canvas,
            teacher=TeacherChoice(name=teacher, batch_size=args.batch_size),
            layout=layout,
            spread=Spread(workers=workers),
            skip_bad=True,
            progress=lambda done, total: seen.append((done, time.perf_counter())),
        )
        if teacher == "none":  # run to the end; with a teacher, the labels are scored there
            seen.append((seen[-1][0], time.perf_counter()))
        return seen[-1][0] - seen[0][0], seen[-1][1] - seen[0][1]

    run("none")
    manifest = Dataset(root / "none").manifest
    run("plain", num_samples=args.plain_samples)
    plain = Dataset(root / "plain").records(range(args.plain_samples))
    backgrounds = seeds_way.open_backgrounds(
        _files(args.backgrounds, assets.backgrounds), args.size
    )
    foregrounds = seeds_way.open_foregrounds(_files(args.foregrounds, assets.foregrounds))
    plain_runs = {
        f"generate, no teacher, {layout}, {workers} worker{'s' * (workers > 1)}": partial(
            run, "plain", num_samples=args.plain_samples, layout=layout, workers=workers
        )
        for layout in LAYOUT_CODECS
        for workers in args.workers
    }
    cases = {
        "composite": draw_all,
        "encode composite": lambda: encode("composite", lambda sample: sample[0]),
        "encode mask": lambda: encode("mask", lambda sample: sample[1]),
        "encode depth": lambda: encode("depth", lambda sample: depth),
        "write": write_all,
        "no teacher, this process": lambda: sum(
            len(rendered.composite(b).records) for b in batches
        ),
        "teacher alone": label_all,
        "no teacher, this process, recipe": lambda: sum(
            len(recipes.composite(b).records) for b in batches
        ),
        SEEDS_WAY: lambda: seeds_way.make(plain, backgrounds, foregrounds, root / "seeds"),
        **plain_runs,
        "generate, teacher, 2 workers": lambda: run("all", teacher=args.teacher, workers=2),
    }
    rates = rounds(cases, repeat=args.repeat)
    share = rates["generate, teacher, 2 workers"][0] / rates["teacher alone"][0]
    size = sum(path.stat().st_size for path in (root / "all").iterdir()) / args.samples
    report(
        f"bench_generate: {args.samples} samples at {args.size} px",
        rates,
        {
            "whole pipeline ÷ teacher alone": f"{share:.2f}",
            "bytes per sample, assets included": f"{size:,.0f}",
            "the seeds' way": "no depth; starting and opening pictures left out, as of ours",
            "note": "generate: from its first batch on, reading the pictures and starting left out",
        },
        seeds=[0],
        columns={
            "÷ the seeds' way": {
                name: f"{rates[name][0] / rates[SEEDS_WAY][0]:.1f}" for name in plain_runs
            }
        },
    )
    shutil.rmtree(root)


def _files(folder: Path, assets: list[Asset]) -> list[Path]:
    """Return the file that each asset was made from."""
    by_name = {path.stem: path for path in folder.iterdir()}
    return [by_name[asset.name] for asset in assets]


if __name__ == "__main__":
    main()
