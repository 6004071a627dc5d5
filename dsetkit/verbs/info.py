"""info: describes a dataset, complete or not, from its manifest."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dsetkit.datasets import Dataset
from dsetkit.errors import DatasetError
from dsetkit.numbers import evenly_spread
from dsetkit.store import CELL_NAMES, SPLITS
from dsetkit.teachers import licence_of_labels

SAMPLES_MEASURED = 200  # whose bytes are counted
DEPTH_UNITS = {
    "metric": "millimetres, 0 = invalid",
    "relative": "inverse depth scaled to 1..65535, 0 = invalid",
    "none": "",
}


def describe(path: Path) -> dict[str, Any]:
    """Everything that `info` prints, as JSON values.

    Raises:
        DatasetError: As `Dataset`.
    """
    dataset = Dataset(path, allow_incomplete=True)
    manifest = dataset.manifest
    file_bytes = dataset.shards.num_bytes()
    return {
        "dataset": str(path),
        "fingerprint": manifest.fingerprint,
        "samples": len(dataset),
        "num_samples": manifest.num_samples,
        "complete": dataset.shards.is_complete(),
        "shards": manifest.shard["shards"],
        "size_px": manifest.size,
        "layout": manifest.layout,
        "fields": manifest.fields,
        "codecs": manifest.codecs,
        "depth": {
            "kind": manifest.depth_kind,
            "unit": DEPTH_UNITS[manifest.depth_kind],
            "max_depth_m": manifest.max_depth_m,
        },
        "teacher": manifest.teacher,
        "licence_of_labels": licence_of_labels(manifest.teacher),
        "label_quality": manifest.label_quality,
        "recipe": manifest.recipe,
        "splits": manifest.splits | {"counts": count_splits(dataset)},
        "assets": {
            "backgrounds": manifest.num_backgrounds,
            "foregrounds": manifest.num_foregrounds,
            "fingerprint": manifest.assets_fingerprint,
            "skipped": manifest.skipped,
        },
        "file_bytes": file_bytes,
        "bytes_per_sample": file_bytes / max(1, len(dataset)),
        "bytes_per_field": bytes_per_field(dataset),
        "versions": {
            "format": manifest.format_version,
            "dsetkit": manifest.dsetkit_version,
            "lmdb": manifest.engine,
        },
    }


def bytes_per_field(dataset: Dataset) -> dict[str, float]:
    """Stored field -> bytes of a sample, the mean of some; nothing if they cannot be read."""
    some = evenly_spread(len(dataset), SAMPLES_MEASURED) if len(dataset) else []
    try:
        records = dataset.records(some)
    except DatasetError:  # damaged, which is for `verify` to tell
        return {}
    names = [name for name in dataset.manifest.codecs if records]
    return {
        name: sum(len(record.fields.get(name, b"")) for record in records) / len(records)
        for name in names
    }


def count_splits(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Split -> cell -> number of samples; cells without samples are left out."""
    cells_there = [dataset.cells[held.start : held.stop] for held in dataset.shards.stored_ranges()]
    counts = np.bincount(np.concatenate(cells_there), minlength=len(CELL_NAMES)).tolist()
    return {
        split: {CELL_NAMES[cell]: counts[cell] for cell in cells if counts[cell]}
        for split, cells in SPLITS.items()
    }


def as_lines(facts: dict[str, Any]) -> Iterator[str]:
    """The result of `describe` as aligned lines of text."""
    for label, text in as_rows(facts):
        yield f"{label:<13} {text}"
        if label == "splits":
            yield from split_lines(facts["splits"]["counts"])


def as_rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The result of `describe`, but for the counts of the splits, as labels and texts."""
    height, width = facts["size_px"]
    splits, assets, versions = facts["splits"], facts["assets"], facts["versions"]
    yield "dataset", facts["dataset"]
    yield "samples", _progress(facts)
    yield "size", f"{width} x {height} px" if width else "each picture's own"
    yield "fields", ", ".join(_field(name, facts["codecs"]) for name in facts["fields"])
    yield "depth", _depth(facts["depth"])
    yield "teacher", _settings(facts["teacher"])
    if facts["licence_of_labels"]:
        yield "licence", f"of the weights that gave the depth: {facts['licence_of_labels']}"
    if facts["label_quality"]:
        yield "labels", _labels(facts["label_quality"])
    yield "layout", facts["layout"]
    if facts["recipe"]:
        yield "recipe", _settings(facts["recipe"])
    yield "splits", _settings({key: splits[key] for key in splits if key != "counts"})
    counts = {kind: assets[kind] for kind in ("backgrounds", "foregrounds")}
    yield "assets", ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    yield "", f"fingerprint {assets['fingerprint']}"
    yield "fingerprint", f"{facts['fingerprint']} of the samples"
    for name, reason in assets["skipped"]:
        yield "skipped", f"{name}: {reason}"
    sizes = facts["file_bytes"], round(facts["bytes_per_sample"])
    files = "file" if facts["shards"] == 1 else f"{facts['shards']:,} shards"
    yield files, "{:,} bytes, {:,} bytes a sample".format(*sizes)
    if facts["bytes_per_field"]:
        of_fields = facts["bytes_per_field"].items()
        yield "", ", ".join(f"{name} {size:,.0f} bytes" for name, size in of_fields)
    yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items())


def split_lines(counts: dict[str, dict[str, int]]) -> Iterator[str]:
    """Counts and shares of the splits, and of the cells of a split with several cells."""
    total = max(1, sum(sum(cells.values()) for cells in counts.values()))
    for split, cells in counts.items():
        yield _count_line(split, sum(cells.values()), total)
        if len(cells) > 1:
            for cell, count in cells.items():
                yield _count_line("  " + cell.removeprefix(f"{split}: "), count, total)


def _count_line(label: str, count: int, total: int) -> str:
    return f"  {label:<36} {count:>11,}  {count / total:6.1%}"


def _progress(facts: dict[str, Any]) -> str:
    if facts["complete"]:
        return f"{facts['samples']:,}, complete"
    return f"{facts['samples']:,} of {facts['num_samples']:,}: incomplete"


def _field(name: str, codecs: dict[str, str]) -> str:
    return f"{name} ({codecs[name]})" if name in codecs else name


def _depth(depth: dict[str, Any]) -> str:
    if depth["kind"] == "none":
        return "none"
    scale = f"; a target of 1 is {depth['max_depth_m']:g} m" if depth["kind"] == "metric" else ""
    return f"{depth['kind']}: {depth['unit']}{scale}"


def _labels(scores: dict[str, Any]) -> str:
    """The scores of `label_quality`; scores that no sample could be given are left out."""
    named = {
        "SI boundary recall": scores.get("boundary_recall"),
        "foreground in front": scores.get("in_front_share"),
        "at the background's depth": scores.get("same_depth_share"),
        "behind": scores.get("behind_share"),
    }
    shares = [f"{name} {share:.1%}" for name, share in named.items() if share is not None]
    return ", ".join([*shares, f"of {scores.get('samples', 0):,} samples"])


def _settings(settings: dict[str, Any]) -> str:
    """{"seed": 0, "placements": 20} -> "seed 0, placements 20"; empty values are left out."""
    named = {name.replace("_", " "): value for name, value in settings.items() if value != ""}
    return ", ".join(f"{name} {_value(value)}" for name, value in named.items())


def _value(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(_value, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
