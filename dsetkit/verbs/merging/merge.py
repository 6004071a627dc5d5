"""merge(...): several datasets become one; so do the parts of one that was made in several places.

The samples of different datasets follow each other in the order given, as they lie, under new
numbers; their assets are kept once each. Nothing is decoded but assets, so labels and pixels stay
what they were. What would make the result less than its parts is refused: other units, labels of
several teachers, a picture that one part trains on and another tests.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xxhash

from dsetkit.compositing import cells_by_sample, cells_of
from dsetkit.datasets import Dataset, DatasetWriter, joined_splits, origins
from dsetkit.errors import DatasetError
from dsetkit.labels import score_labels
from dsetkit.store import Record
from dsetkit.store import manifest as m
from dsetkit.verbs.merging.assets import KINDS, MergedAssets
from dsetkit.verbs.merging.checks import about_teachers, check_fit, check_honest, check_teachers
from dsetkit.verbs.merging.gather import gather, is_part

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
    """Makes one dataset of several, or of the parts of one; continues what was cut off.

    Args:
        paths: Complete datasets, or directories that hold some shards each of the same one. They
            are only read.
        output: Directory of the new one.
        shards: Files it becomes; None = one, or those that the parts are.
        split_by: `asset` gives each picture the split it has in the first dataset that holds it,
            and each sample the cell that follows; `sample` splits by chance; None keeps the cells.
        allow_mixed_teachers: Accept labels of several teachers; the manifest tells which samples
            have which.
        progress: Called with (samples done, samples in all).

    Returns:
        The manifest of the complete dataset.

    Raises:
        DatasetError: Datasets that do not fit together, or anything `gather`, `Dataset` and
            `DatasetWriter` raise.
    """
    if split_by not in (None, *SPLITS_BY):
        raise DatasetError(f"--split-by {split_by}: expected {' or '.join(SPLITS_BY)}")
    if shards is not None and shards < 1:
        raise DatasetError(f"--shards {shards}: expected at least 1")
    if any(Path(output).resolve() == Path(path).resolve() for path in paths):
        raise DatasetError(f"--output {output} is one of the datasets: choose another directory")
    found = [Dataset(path, allow_incomplete=True) for path in paths]
    if any(map(is_part, found)):
        there = len(found[0].shards.ranges)
        if shards not in (None, there) or split_by:
            raise DatasetError(
                f"these are parts of a dataset of {there:,} shards, gathered as they are: leave "
                "--shards and --split-by out, and merge what comes out once more"
            )
        return gather(found, output, progress=progress)
    sources = [_whole(path) for path in paths]
    return _join(
        sources,
        output,
        shards=shards or 1,
        split_by=split_by,
        allow_mixed_teachers=allow_mixed_teachers,
        progress=progress,
    )


def _whole(path: Path) -> Dataset:
    """A dataset all of whose shards were opened, and so checked, before anything is written."""
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
    for number, other in enumerate(sources):
        check_fit(sources[:number], other)
    if not allow_mixed_teachers:
        check_teachers(sources)
    assets = MergedAssets(sources)
    if split_by is None:
        check_honest(sources, assets.shared)
    cells, splits = _split(sources, assets, split_by)
    manifest = _describe(sources, assets, splits, shards)
    were_scored = all(source.manifest.label_quality for source in sources)
    stored = {kind: assets.stored(kind) for kind in KINDS}
    with DatasetWriter(output, manifest, cells, **stored) as writer:
        for records in _records(sources, assets, writer.count):
            writer.add(records)
            progress(writer.count, manifest.num_samples)
        finished = writer.finish()
    return (score_labels(output) if were_scored else None) or finished


def _records(
    sources: Sequence[Dataset], assets: MergedAssets, first: int
) -> Iterator[list[Record]]:
    """The samples from index `first` of the merged dataset on, in order, with new asset ids."""
    start = 0
    for number, source in enumerate(sources):
        total = len(source)
        for begin in range(max(0, first - start), total, SAMPLES_AT_ONCE):
            indices = range(begin, min(begin + SAMPLES_AT_ONCE, total))
            yield [
                replace(
                    record,
                    background=assets.new_id("backgrounds", number, record.background),
                    foreground=assets.new_id("foregrounds", number, record.foreground),
                )
                for record in source.records(indices)
            ]
        start += total


# ---- the header --------------------------------------------------------------------------------


def _describe(
    sources: Sequence[Dataset], assets: MergedAssets, splits: dict, shards: int
) -> m.Manifest:
    """The merged manifest; of one dataset alone it stays its own."""
    manifests = [source.manifest for source in sources]
    new = replace(
        manifests[0],
        complete=False,
        label_quality={},
        splits=splits,
        shard=m.ONLY_SHARD | {"shards": shards},
    )
    if len(sources) == 1:
        return new
    each = [origin for source in sources for origin in origins(source.manifest)]
    return replace(
        new,
        num_samples=sum(map(len, sources)),
        teacher=about_teachers([origin.teacher for origin in each]),
        recipe={
            "merged": [origin.fingerprint for origin in each],
            "samples": [origin.num_samples for origin in each],
            "recipes": [origin.recipe for origin in each],
        },
        assets_fingerprint=_assets_fingerprint(manifests, assets),
        skipped=[skipped for manifest in manifests for skipped in manifest.skipped],
        num_backgrounds=assets.count("backgrounds"),
        num_foregrounds=assets.count("foregrounds"),
    )


def _assets_fingerprint(manifests: Sequence[m.Manifest], assets: MergedAssets) -> str:
    if any(map(assets.count, KINDS)):
        return assets.fingerprint
    of_each = "\0".join(manifest.assets_fingerprint for manifest in manifests)  # imported pictures
    return xxhash.xxh3_128_hexdigest(of_each.encode())


# ---- splits ------------------------------------------------------------------------------------


def _split(
    sources: Sequence[Dataset], assets: MergedAssets, split_by: str | None
) -> tuple[np.ndarray, dict]:
    """The split cell of every sample, uint8 (N,), and the manifest's word on it."""
    if split_by == "sample":
        total = sum(map(len, sources))
        about = {"by": "sample", "shares": list(SAMPLE_SHARES), "seed": 0}
        return cells_by_sample(total, shares=SAMPLE_SHARES, seed=0), about
    if split_by is None:
        cells = np.concatenate([source.cells for source in sources])
        return cells, joined_splits([source.manifest.splits for source in sources])
    for source in sources:
        if source.manifest.num_foregrounds == 0:
            raise DatasetError(
                f"{source.path} was imported and has no assets of its own: --split-by sample splits"
                " by chance"
            )
    log.info("reading which assets each sample shows")
    seeds = [origin.recipe["seed"] for one in sources for origin in origins(one.manifest)]
    counts = [origin.num_samples for one in sources for origin in origins(one.manifest)]
    index, backgrounds, foregrounds = (np.empty(sum(counts), np.int64) for _ in range(3))
    place = 0
    for records in _records(sources, assets, 0):
        for record in records:
            index[place] = record.recipe["index"]
            backgrounds[place], foregrounds[place] = record.background, record.foreground
            place += 1
    behind = np.array(assets.splits("backgrounds"))[backgrounds]
    in_front = np.array(assets.splits("foregrounds"))[foregrounds]
    borders = np.cumsum(counts)[:-1]
    columns = (np.split(column, borders) for column in (index, behind, in_front))
    cells = [cells_of(*some, seed=seed) for *some, seed in zip(*columns, seeds, strict=True)]
    return np.concatenate(cells), joined_splits([{"by": "asset", "seed": seed} for seed in seeds])
