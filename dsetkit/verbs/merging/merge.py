"""merge: several datasets become one; so do the shards of one that were made in several places.

The samples of the datasets follow each other in the given order, unchanged but for the ids of their
assets; each asset is kept once. Only assets are decoded, so labels and pixels stay the same. What
would make the result worse than its parts is refused: depths of different units, labels of several
teachers, a picture that one part trains on and another tests on.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs

from dsetkit.compositing import cells_by_sample
from dsetkit.datasets import Dataset, DatasetWriter, joined_splits, origins
from dsetkit.errors import DatasetError
from dsetkit.files import is_same_place
from dsetkit.labels import score_labels
from dsetkit.processes import in_chunks
from dsetkit.store import Record
from dsetkit.store import manifest as m
from dsetkit.verbs.merging.assets import KINDS, MergedAssets
from dsetkit.verbs.merging.checks import check_fit, check_splits, check_teachers
from dsetkit.verbs.merging.gather import gather, is_part
from dsetkit.verbs.merging.manifests import merged_manifest
from dsetkit.verbs.splits import cells_by_asset

SAMPLES_AT_ONCE = 64
SAMPLE_SHARES = (0.8, 0.05, 0.15)  # of train, val and test under --split-by sample
SPLITS_BY = ("asset", "sample")

log = logging.getLogger(__name__)


def merge(
    paths: Sequence[Path],
    output: Path,
    *,
    shards: int | None = None,
    split_by: str | None = None,
    allow_mixed_teachers: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> m.Manifest:
    """Makes one dataset of several, or of the shards of one; continues an interrupted merge.

    Args:
        paths: Complete datasets, or directories that hold some shards of the same dataset. They are
            not changed.
        output: Directory of the new dataset.
        shards: Number of files to write; None = 1, or for shards of one dataset as many as it has.
        split_by: `asset` gives each asset the split it has in the first dataset that holds it, and
            each sample the cell that follows from its assets; `sample` splits by chance; None keeps
            the cells.
        allow_mixed_teachers: Accept labels of several teachers; the manifest records the teacher of
            each run of samples.
        progress: Called with (samples done, samples in all).

    Returns:
        The manifest of the complete dataset.

    Raises:
        DatasetError: Datasets that do not fit together, or anything that `gather`, `Dataset` and
            `DatasetWriter` raise.
    """
    if split_by not in (None, *SPLITS_BY):
        raise DatasetError(f"--split-by {split_by}: expected {' or '.join(SPLITS_BY)}")
    if shards is not None and shards < 1:
        raise DatasetError(f"--shards {shards}: expected at least 1")
    if any(is_same_place(output, path) for path in paths):
        raise DatasetError(f"--output {output} is one of the datasets: choose another directory")
    parts = [Dataset(path, allow_incomplete=True) for path in paths]
    if any(map(is_part, parts)):
        num_shards = len(parts[0].shards.ranges)
        if shards not in (None, num_shards) or split_by:
            raise DatasetError(
                f"these are parts of a dataset of {num_shards:,} shards, copied as they are: "
                "leave out --shards and --split-by, then merge the result again with them"
            )
        return gather(parts, output, progress=progress)
    return _join(
        [_checked_dataset(path) for path in paths],
        output,
        shards=shards or 1,
        split_by=split_by,
        allow_mixed_teachers=allow_mixed_teachers,
        progress=progress,
    )


def _checked_dataset(path: Path) -> Dataset:
    """A complete dataset; opens, and so checks, all its shards before anything is written."""
    dataset = Dataset(path)
    for number in range(len(dataset.shards.ranges)):
        dataset.shards.reader(number)
    return dataset


def _join(
    sources: Sequence[Dataset],
    output: Path,
    *,
    shards: int,
    split_by: str | None,
    allow_mixed_teachers: bool,
    progress: Callable[[int, int], None],
) -> m.Manifest:
    """Merges complete datasets; see `merge`."""
    for number, source in enumerate(sources):
        check_fit(sources[:number], source)
    if not allow_mixed_teachers:
        check_teachers(sources)
    assets = MergedAssets(sources)
    if split_by is None:
        check_splits(sources, assets.shared)
    cells, splits = _split(sources, assets, split_by)
    manifest = merged_manifest(sources, assets, splits=splits, shards=shards)
    were_scored = all(source.manifest.label_quality for source in sources)
    with DatasetWriter(
        output,
        manifest,
        cells,
        backgrounds=assets.stored("backgrounds"),
        foregrounds=assets.stored("foregrounds"),
    ) as writer:
        for records in _records(sources, assets, writer.count):
            writer.add(records)
            progress(writer.count, manifest.num_samples)
        finished = writer.finish()
    return (score_labels(output) if were_scored else None) or finished


def _records(
    sources: Sequence[Dataset], assets: MergedAssets, first: int
) -> Iterator[list[Record]]:
    """Yields the merged samples from index `first` on, in order, with their new asset ids."""
    start = 0
    for number, source in enumerate(sources):
        total = len(source)
        for indices in in_chunks(range(max(0, first - start), total), SAMPLES_AT_ONCE):
            yield [
                replace(
                    record,
                    background=assets.new_id("backgrounds", number, record.background),
                    objects=tuple(
                        structs.replace(
                            one, foreground=assets.new_id("foregrounds", number, one.foreground)
                        )
                        for one in record.objects
                    ),
                )
                for record in source.records(indices)
            ]
        start += total


def _split(
    sources: Sequence[Dataset], assets: MergedAssets, split_by: str | None
) -> tuple[np.ndarray, dict[str, Any]]:
    """The split cell of every sample, uint8 (N,), and the manifest's entry on splits."""
    if split_by == "sample":
        total = sum(map(len, sources))
        entry = {"by": "sample", "shares": list(SAMPLE_SHARES), "seed": 0}
        return cells_by_sample(total, shares=SAMPLE_SHARES, seed=0), entry
    if split_by is None:
        cells = np.concatenate([source.cells for source in sources])
        return cells, joined_splits([source.manifest.splits for source in sources])
    for source in sources:
        if source.manifest.num_foregrounds == 0:
            raise DatasetError(
                f"{source.path} was imported and has no assets of its own: use --split-by sample, "
                "which splits by chance"
            )
    log.info("reading the assets of each sample")
    records = (record for batch in _records(sources, assets, 0) for record in batch)
    made_from = [origin for source in sources for origin in origins(source.manifest)]
    return cells_by_asset(records, {kind: assets.splits(kind) for kind in KINDS}, made_from)
