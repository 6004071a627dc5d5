"""stats: mean and std of each field, mask coverage, a depth histogram, and the label quality.

The reference systems report two different things as "mean and std", so both are given: `pooled` is
over all pixels of all images; `per_image` is the mean of the images' means and stds. Samples are
read in chunks that do not depend on the number of processes, and chunks are merged in order.

Of a large dataset some samples, drawn by chance, tell the same up to the standard error of the
mean, which is told beside it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dsetkit.assets import decode_asset
from dsetkit.datasets import Dataset, indices_of
from dsetkit.labels import SAME_DEPTH_RATIO, THRESHOLDS, LabelQuality, SampleScores
from dsetkit.numbers import evenly_spread
from dsetkit.processes import in_jobs
from dsetkit.store import Manifest, Record
from dsetkit.verbs.field_stats import (
    CHANNELS,
    COVERED_ALPHA,
    CompositeStats,
    DepthStats,
    FieldSize,
    FieldStats,
    MaskStats,
)
from dsetkit.verbs.show import choose

SAMPLES_PER_CHUNK = 256
ASSETS = ("backgrounds", "foregrounds")
MOST_ASSETS = 1000  # of each kind, that are measured
MOST_SAMPLES = 2000  # that `stats` measures unless it is told to measure all
BAR_WIDTH = 40
KINDS = {
    "backgrounds": "RGB",
    "foregrounds": "RGB + alpha",
    "composite": "RGB",
    "mask": "8-bit grey",
    "depth": "16-bit grey",
}


def measure(
    path: Path,
    *,
    split: str | None = None,
    at_most: int | None = None,
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measures the stored images of a dataset.

    Args:
        path: The dataset's directory.
        split: `train`, `val`, `test`, or None for all samples.
        at_most: Measures so many of them, drawn by chance, always the same; None measures all.
        jobs: Processes; the numbers do not depend on how many.
        progress: Called with (samples done, samples in all).

    Returns:
        JSON values: `dataset`, `split`, `samples` (how many were read), `of_samples` (how many
        there are), an entry for each stored field, `labels` (see `LabelQuality.result`) if there
        are masks and depths, and `pictures`: count, size and bytes of each field, and of
        backgrounds and foregrounds with their mean and std.

    Raises:
        DatasetError: As `Dataset`, an empty split, or a damaged sample.
    """
    dataset = Dataset(path)
    every = indices_of(dataset, split)
    indices = every
    if at_most is not None and len(every) > at_most:
        indices = np.array(choose(dataset, split=split, count=at_most, seed=0))
    starts = range(0, len(indices), SAMPLES_PER_CHUNK)
    chunks = [indices[start : start + SAMPLES_PER_CHUNK] for start in starts]
    total = DatasetStats(dataset.manifest)
    done = 0
    progress(0, len(indices))  # starts the clock of the rate
    measured = in_jobs(partial(_measure_chunk, dataset), chunks, jobs=jobs)
    for chunk, stats in zip(chunks, measured, strict=True):
        total.merge(stats)
        done += len(chunk)
        progress(done, len(indices))
    counts = {"samples": len(indices), "of_samples": len(every)}
    return (
        {"dataset": str(path), "split": split or "all"}
        | counts
        | total.result()
        | {"pictures": describe_pictures(dataset, total)}
    )


class DatasetStats:
    """Statistics of all fields of a dataset.

    Args:
        manifest: The dataset's; says which fields there are.
    """

    def __init__(self, manifest: Manifest) -> None:
        makers: dict[str, Callable[[], FieldStats]] = {
            "composite": CompositeStats,
            "mask": MaskStats,
            "depth": lambda: DepthStats(manifest),
        }
        self._fields = {name: make() for name, make in makers.items() if name in manifest.fields}
        self._sizes = {name: FieldSize() for name in self._fields}
        self._labels: LabelQuality | None = None
        if {"mask", "depth"} <= self._fields.keys():
            self._labels = LabelQuality(manifest.depth_kind)

    def add(self, images: dict[str, np.ndarray], record: Record) -> SampleScores | None:
        """Takes in a sample, as `Dataset.stored_images` gives it, and its record.

        Returns:
            The scores of its label; None without masks or depths.
        """
        for name, stats in self._fields.items():
            stats.add(images[name])
            self._sizes[name].add(images[name], len(record.fields.get(name, b"")))
        if self._labels is None:
            return None
        return self._labels.add(images["mask"], images["depth"])

    def merge(self, later: "DatasetStats") -> None:
        """Takes in the statistics of the samples that follow."""
        for name, stats in self._fields.items():
            stats.merge(later._fields[name])
            self._sizes[name].merge(later._sizes[name])
        if self._labels is not None and later._labels is not None:
            self._labels.merge(later._labels)

    def result(self) -> dict[str, Any]:
        """An entry for each field, and `labels` if there are masks and depths."""
        measured = {name: stats.result() for name, stats in self._fields.items()}
        return measured | ({"labels": self._labels.result()} if self._labels is not None else {})

    def sizes(self) -> dict[str, Any]:
        """Field -> count, size and bytes."""
        return {name: size.result() for name, size in self._sizes.items()}


def _measure_chunk(dataset: Dataset, indices: np.ndarray) -> DatasetStats:
    stats = DatasetStats(dataset.manifest)
    for index in indices:
        record = dataset.record(index)
        stats.add(dataset.stored_images(record), record)
    return stats


def describe_pictures(dataset: Dataset, total: DatasetStats) -> dict[str, Any]:
    """Count, size and bytes of each kind of picture, in the order of KINDS.

    Args:
        dataset: Its backgrounds and foregrounds are measured here, with mean and std.
        total: The statistics of its samples.
    """
    assets = {kind: found for kind in ASSETS if (found := _measure_assets(dataset, kind))}
    return assets | total.sizes()


def _measure_assets(dataset: Dataset, kind: str) -> dict[str, Any]:
    """Count, size, bytes, mean and std of `backgrounds` or `foregrounds`; nothing without any.

    The colours of a foreground count where it covers what is behind it.
    """
    counts = {
        "backgrounds": dataset.manifest.num_backgrounds,
        "foregrounds": dataset.manifest.num_foregrounds,
    }
    chosen = set(evenly_spread(counts[kind], MOST_ASSETS)) if counts[kind] else set()
    colours, size = CompositeStats(), FieldSize()
    for number, asset in enumerate(dataset.assets(kind)):
        if number in chosen:
            pixels = decode_asset(asset.image)
            size.add(pixels, len(asset.image))
            covered = pixels[..., 3:] >= COVERED_ALPHA if pixels.shape[2] == 4 else None
            shown = pixels if covered is None else pixels[covered[..., 0]][:, None]
            colours.add(shown[..., :3])
    return size.result() | {"count": counts[kind], "colours": colours.result()} if chosen else {}


# ---- as text -----------------------------------------------------------------------------------


def as_lines(measured: dict[str, Any]) -> Iterator[str]:
    """The result of `measure` as lines of text."""
    read, every = measured["samples"], measured["of_samples"]
    yield f"{measured['dataset']}: {every:,} samples, split: {measured['split']}"
    if is_sample := read < every:
        yield f"read {read:,} of them, drawn by chance (--all reads every one)"
    yield ""
    yield from _picture_lines(measured)
    yield ""
    yield f"{'':<26}{'over all pixels':<22}mean over images"
    error = f"{'':<5}standard error of the mean" if is_sample else ""
    yield f"{'':<26}{'mean':<10}{'std':<12}{'mean':<10}std{error}"
    for label, moments in _all_moments(measured):
        yield _moments_line(label, moments, with_error=is_sample)
    if "mask" in measured:
        coverage = measured["mask"]["coverage"]
        shares = ", ".join(f"{name} {share:.2%}" for name, share in coverage.items())
        yield f"\nshare of an image that the foreground (alpha >= {COVERED_ALPHA}) covers: {shares}"
    if "labels" in measured:
        yield from _label_lines(measured["labels"])
    if "depth" in measured:
        yield from _histogram_lines(measured["depth"])


def _picture_lines(measured: dict[str, Any]) -> Iterator[str]:
    """A row for each kind of picture: what there is of it, and mean and std over all pixels."""
    heads = ("field", "kind", "count", "size [px]", "bytes each")
    yield "{:<12} {:<12} {:>9}  {:<11} {:>10}  mean; std".format(*heads)
    for name, facts in measured["pictures"].items():
        size = facts["size_px"]
        shape = f"{size[1]} x {size[0]}" if size else "several"
        num_bytes = f"{facts['bytes']:,.0f}" if facts["bytes"] else "-"
        head = f"{name:<12} {KINDS[name]:<12} {facts['count']:>9,}  {shape:<11} {num_bytes:>10}"
        of_channels = facts.get("colours") or measured.get(name, {})
        if name == "mask":
            of_channels = {"mask": of_channels}
        if name == "depth":
            of_channels = {"depth": of_channels["share"]}
        pooled = [of["pooled"] for of in of_channels.values() if of]
        means = " ".join(f"{of['mean']:.4f}" for of in pooled)
        stds = " ".join(f"{of['std']:.4f}" for of in pooled)
        yield f"{head}  {means}; {stds}"


def _all_moments(measured: dict[str, Any]) -> Iterator[tuple[str, dict[str, dict[str, float]]]]:
    """What has a mean and a std, with its label."""
    for name in CHANNELS:
        yield f"composite, {name}", measured["composite"][name]
    if "mask" in measured:
        yield "mask", measured["mask"]
    depth = measured.get("depth", {"share": None, "metres": None})
    if depth["share"] is not None:
        yield "depth, target in 0..1", depth["share"]
    if depth["metres"] is not None:
        yield "depth [m]", depth["metres"]


def _moments_line(label: str, moments: dict[str, dict[str, float]], *, with_error: bool) -> str:
    pooled, per_image = moments["pooled"], moments["per_image"]
    values = (pooled["mean"], pooled["std"], per_image["mean"], per_image["std"])
    line = f"{label:<26}" + "{:<10.5f}{:<12.5f}{:<10.5f}{:.5f}".format(*values)
    return f"{line} {per_image['standard_error']:.5f}" if with_error else line


def _label_lines(labels: dict[str, Any]) -> Iterator[str]:
    if labels["boundary_recall"] is not None:
        recall, own_size = labels["boundary_recall"], labels["own_size_boundary_recall"]
        yield (
            f"\ndepth edges at mask edges, {labels['boundary_images']:,} images: SI boundary "
            f"recall {recall:.2%} at the mask's size,"
            + (f" {own_size:.2%} at the depth's size," if own_size is not None else "")
            + f" depth ratios {THRESHOLDS[0]:g} to {THRESHOLDS[-1]:g}"
        )
    if labels["same_depth_share"] is not None:
        yield (
            f"foreground in front of the background {labels['in_front_share']:.1%}, "
            f"at the background's depth {labels['same_depth_share']:.1%} "
            f"(within {SAME_DEPTH_RATIO - 1:.0%}), behind it {labels['behind_share']:.1%} "
            f"of {labels['placed_images']:,} images"
        )


def _histogram_lines(depth: dict[str, Any]) -> Iterator[str]:
    edges, counts = depth["histogram"]["edges"], depth["histogram"]["counts"]
    total, highest = max(1, sum(counts)), max(1, *counts)
    yield f"\ninvalid depth: {depth['invalid_share']:.2%} of the pixels; valid depth:"
    yield f"{'from':>8} {'to':>6}  {depth['histogram']['unit']}"
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        bar = "#" * round(BAR_WIDTH * count / highest)
        yield f"{low:8.2f} {high:6.2f}  {count / total:6.1%}  {bar}"
