"""Verbs that read existing datasets: parsers only, no logic."""

import argparse
import json
import os
from pathlib import Path

from dsetkit.arguments import COUNT, INDEX, JOBS, ROWS, SEED, SHARDS, SHARE, SIDE_PX
from dsetkit.cli.flags import (
    Verbs,
    add_dataset_verb,
    add_layout_flags,
    add_split_choice,
    add_verb,
)
from dsetkit.console import progress_bar
from dsetkit.files import write_json

PROBLEMS_SHOWN = 20  # lines that verify prints


def add_dataset_verbs(verbs: Verbs) -> None:
    """Adds the verbs of this module."""
    for add in (
        *(_add_info, _add_verify, _add_stats, _add_split),
        *(_add_show, _add_report, _add_export, _add_convert, _add_merge),
        *(_add_list_shards, _add_cache),
    ):
        add(verbs)


def _add_info(verbs: Verbs) -> None:
    add = add_dataset_verb(verbs, "info", _info, "describe a dataset, complete or not").add_argument
    add("--json", action="store_true", help="print JSON")


def _info(args: argparse.Namespace) -> None:
    from dsetkit.verbs import info

    facts = info.describe(args.dataset)
    print(json.dumps(facts, indent=2) if args.json else "\n".join(info.as_lines(facts)))


def _add_verify(verbs: Verbs) -> None:
    add = add_dataset_verb(
        verbs, "verify", _verify, "check every checksum, image, count and id"
    ).add_argument
    add("--quick", action="store_true", help="compare checksums alone, and decode no picture")
    add("--jobs", type=JOBS, default=os.cpu_count(), metavar="N", help="threads")
    add("--output", type=Path, metavar="FILE.json", help="also write all problems there")


def _verify(args: argparse.Namespace) -> None:
    from dsetkit.verbs.verify import as_report, raise_if_bad, verify

    with progress_bar("verify") as progress:
        problems = verify(args.dataset, quick=args.quick, jobs=args.jobs, progress=progress)
    for problem in problems[:PROBLEMS_SHOWN]:
        print(problem)
    if len(problems) > PROBLEMS_SHOWN:
        print(f"... and {len(problems) - PROBLEMS_SHOWN:,} more (--output FILE.json writes all)")
    if args.output:
        write_json(args.output, as_report(args.dataset, problems))
    raise_if_bad(args.dataset, problems)
    print(f"{args.dataset}: no problems found")


def _add_stats(verbs: Verbs) -> None:
    add = add_dataset_verb(
        verbs,
        "stats",
        _stats,
        "mean and std of each field, mask coverage, depth histogram, quality of the labels",
    ).add_argument
    add_split_choice(add)
    add("--all", action="store_true",
        help="measure every sample (default: of more than 2,000 samples, 2,000 by chance; the "
        "standard error of the mean is told)")  # fmt: skip
    add("--jobs", type=JOBS, default=os.cpu_count(), metavar="N", help="processes")
    add("--output", type=Path, metavar="FILE.json", help="also write the numbers there")


def _stats(args: argparse.Namespace) -> None:
    from dsetkit.verbs import stats

    with progress_bar("stats") as progress:
        measured = stats.measure(
            args.dataset,
            split=args.split,
            at_most=None if args.all else stats.MOST_SAMPLES,
            jobs=args.jobs,
            progress=progress,
        )
    print("\n".join(stats.as_lines(measured)))
    if args.output:
        write_json(args.output, measured)


def _add_split(verbs: Verbs) -> None:
    parser = add_dataset_verb(
        verbs,
        "split",
        _split,
        "show, change, import or export the split of each sample",
        reads_addresses=False,
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--split-by",
        choices=("asset", "sample"),
        help="asset: as generated, test assets are never seen in training; sample: by chance",
    )
    source.add_argument(
        "--import-csv",
        type=Path,
        metavar="FILE.csv",
        help="read the splits from its columns index, split and, optionally, cell",
    )
    add = parser.add_argument
    add(
        "--shares",
        type=SHARE,
        nargs=3,
        default=[0.8, 0.05, 0.15],
        metavar=("TRAIN", "VAL", "TEST"),
        help="shares of --split-by sample",
    )
    add("--seed", type=SEED, default=0, metavar="N", help="key of the choice of --split-by sample")
    add("--export", type=Path, metavar="FILE.csv", help="write one row for each sample afterwards")


def _split(args: argparse.Namespace) -> None:
    from dsetkit.datasets import Dataset
    from dsetkit.verbs import info, splits

    if args.split_by == "sample":
        splits.split_by_sample(args.dataset, shares=args.shares, seed=args.seed)
    elif args.split_by == "asset":
        with progress_bar("split") as progress:
            splits.split_by_asset(args.dataset, progress=progress)
    elif args.import_csv:
        splits.import_csv(args.dataset, args.import_csv)
    if args.export:
        with progress_bar("export") as progress:
            splits.export_csv(args.dataset, args.export, progress=progress)
    print("\n".join(info.split_lines(info.count_splits(Dataset(args.dataset)))))


def _add_show(verbs: Verbs) -> None:
    add = add_dataset_verb(
        verbs, "show", _show, "write a contact sheet: background, composite, mask and depth"
    ).add_argument
    add(
        "--output",
        type=Path,
        default=Path("contact_sheet.png"),
        metavar="FILE.png",
        help="picture to write",
    )
    add("--num", type=ROWS, default=8, metavar="N", help="number of samples, chosen by chance")
    add_split_choice(add)
    add("--seed", type=SEED, default=0, metavar="N", help="key of the choice")
    add("--indices", type=INDEX, nargs="+", metavar="I", help="show these samples instead")


def _show(args: argparse.Namespace) -> None:
    from dsetkit.datasets import Dataset
    from dsetkit.verbs import show

    dataset = Dataset(args.dataset)
    indices = args.indices or show.choose(dataset, split=args.split, count=args.num, seed=args.seed)
    show.save_png(show.contact_sheet(dataset, indices), args.output)
    print(f"{args.output}: {len(indices)} samples")


def _add_report(verbs: Verbs) -> None:
    add = add_dataset_verb(
        verbs,
        "report",
        _report,
        "write one page that shows a dataset: numbers, samples, worst labels, leaks between splits",
    ).add_argument
    add("--output", type=Path, required=True, metavar="FILE.html", help="page to write")
    add("--json", type=Path, metavar="FILE.json", help="also write the same numbers there")
    add("--samples", type=ROWS, default=200, metavar="N", help="samples in the gallery")
    add(
        "--stats-samples",
        type=COUNT,
        default=2000,
        metavar="N",
        help="samples that are measured, chosen by chance",
    )
    add(
        "--run",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="folders of trainings, whose curves, scores and predictions are shown side by side",
    )
    add("--seed", type=SEED, default=0, metavar="N", help="key of the choices")
    add("--jobs", type=JOBS, default=os.cpu_count(), metavar="N", help="processes")


def _report(args: argparse.Namespace) -> None:
    from dsetkit.verbs.report import check_places, collect, write_report

    check_places(args.output, args.json)
    with progress_bar("report") as progress:
        report = collect(
            args.dataset,
            samples=args.samples,
            stats_samples=args.stats_samples,
            runs=args.run,
            seed=args.seed,
            jobs=args.jobs,
            progress=progress,
        )
    size = write_report(report, args.output, args.json)
    count = report.facts["report"]["shown_samples"]
    print(f"{args.output}: {count:,} samples shown, {size:,} bytes")


def _add_export(verbs: Verbs) -> None:
    add = add_dataset_verb(
        verbs,
        "export",
        _export,
        "write a dataset for other programs: plain files, WebDataset, Hugging Face, COCO, YOLO, "
        "colour + depth pairs; continues",
    ).add_argument
    add("--output", type=Path, required=True, metavar="DIR", help="directory to write")
    add(
        "--format",
        default="files",
        choices=("files", "webdataset", "hf", "coco", "yolo-seg", "folder-pairs"),
        help="files: pictures, depths and index.csv; webdataset: tar shards; hf: parquet for "
        "`datasets`, with a card; coco: annotations as RLE; yolo-seg: polygons; folder-pairs: "
        "NAME_color.jpg and NAME_depth.png in millimetres",
    )
    add_split_choice(add)
    add(
        "--depth-format",
        default="png16",
        choices=("png16", "npy"),
        help="of files; png16: as stored; npy: float32, metres or inverse depth in 0..1; 0 = "
        "invalid in both",
    )
    add(
        "--shard-size",
        type=COUNT,
        metavar="N",
        help="samples of a shard of webdataset and hf (default: 1000)",
    )
    add(
        "--push-to-hub",
        metavar="REPO",
        help="of hf: then upload it to this repository of the Hugging Face Hub; a new one is "
        "private",
    )
    add(
        "--jobs",
        type=JOBS,
        default=os.cpu_count(),
        metavar="N",
        help="processes of all formats but files",
    )


def _export(args: argparse.Namespace) -> None:
    from dsetkit.verbs.export import export

    with progress_bar("export") as progress:
        count = export(
            args.dataset,
            args.output,
            output_format=args.format,
            split=args.split,
            depth_format=args.depth_format,
            shard_size=args.shard_size,
            jobs=args.jobs,
            push_to_hub=args.push_to_hub,
            progress=progress,
        )
    uploaded = f", uploaded to {args.push_to_hub}" if args.push_to_hub else ""
    print(f"{args.output}: {count:,} samples{uploaded}")


def _add_convert(verbs: Verbs) -> None:
    add = add_dataset_verb(
        verbs,
        "convert",
        _convert,
        "make or continue a dataset of the same samples in another layout or with other codecs",
    ).add_argument
    add("--output", type=Path, required=True, metavar="DATASET", help="directory to write")
    add_layout_flags(add, default=None)
    add("--jobs", type=JOBS, default=os.cpu_count(), metavar="N", help="threads")


def _convert(args: argparse.Namespace) -> None:
    from dsetkit.datasets import Dataset
    from dsetkit.verbs.convert import convert

    layout = args.layout or Dataset(args.dataset).manifest.layout
    with progress_bar("convert") as progress:
        manifest = convert(
            args.dataset,
            args.output,
            layout=layout,
            codecs=dict(args.codec or ()),
            jobs=args.jobs,
            progress=progress,
        )
    print(f"{args.output}: {manifest.num_samples:,} samples, complete")


def _add_merge(verbs: Verbs) -> None:
    add = add_verb(
        verbs,
        "merge",
        _merge,
        "make one dataset of several, or of the shards of one that lie in several directories",
    ).add_argument
    add(
        "datasets",
        type=Path,
        nargs="+",
        metavar="DATASET",
        help="directories, in the order of their samples",
    )
    add("--output", type=Path, required=True, metavar="DATASET", help="directory to write")
    add(
        "--shards",
        type=SHARDS,
        metavar="K",
        help="number of files to write (default: 1; for shards of one dataset, as many as it has)",
    )
    add(
        "--split-by",
        choices=("asset", "sample"),
        help="asset: by the splits of the assets, as the first dataset that holds an asset gives "
        "them; sample: by chance (default: samples keep their splits, which must agree)",
    )
    add(
        "--allow-mixed-teachers",
        action="store_true",
        help="accept labels of several teachers; the manifest records the teacher of each sample",
    )


def _merge(args: argparse.Namespace) -> None:
    from dsetkit.verbs.merging.merge import merge

    with progress_bar("merge") as progress:
        manifest = merge(
            args.datasets,
            args.output,
            shards=args.shards,
            split_by=args.split_by,
            allow_mixed_teachers=args.allow_mixed_teachers,
            progress=progress,
        )
    print(f"{args.output}: {manifest.num_samples:,} samples, complete")


def _add_list_shards(verbs: Verbs) -> None:
    add_dataset_verb(
        verbs,
        "list-shards",
        _list_shards,
        "write shards.json, which readers of object storage need to fetch and check the shards",
        reads_addresses=False,
    )


def _list_shards(args: argparse.Namespace) -> None:
    from dsetkit.store import list_shards

    with progress_bar("list-shards") as progress:
        made = list_shards(args.dataset, progress=progress)
    count = len(made.shards)
    print(f"{args.dataset}: {count:,} shards, {made.num_bytes:,} bytes; upload shards.json last")


def _add_cache(verbs: Verbs) -> None:
    add = add_dataset_verb(
        verbs,
        "cache",
        _cache,
        "decode and resize every sample once, for trainings with --cache",
    ).add_argument
    add("--size", type=SIDE_PX, required=True, metavar="PX", help="side of the pictures [px]")
    add("--output", type=Path, required=True, metavar="DIR", help="directory of caches")
    add("--jobs", type=JOBS, default=os.cpu_count(), metavar="N", help="processes")


def _cache(args: argparse.Namespace) -> None:
    from dsetkit.datasets import Dataset
    from dsetkit.loading import cache_path, open_cache

    dataset, size = Dataset(args.dataset), (args.size, args.size)
    open_cache(args.output, dataset, size, jobs=args.jobs)
    path = cache_path(args.output, dataset, size)
    print(f"{path}: {len(dataset):,} samples, {path.stat().st_size:,} bytes")
