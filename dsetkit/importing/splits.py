"""The split of every imported sample: from the table, from its assets, or by chance."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dsetkit.assets import assign_splits
from dsetkit.compositing import cells_by_sample, cells_of
from dsetkit.errors import AssetError
from dsetkit.importing.samples import CheckedSample
from dsetkit.importing.settings import SplitRule
from dsetkit.importing.sources import File
from dsetkit.store import manifest as m

SAMPLE_SHARES = (0.8, 0.05, 0.15)  # of train, val and test under --split-by sample


def split_samples(
    samples: Sequence[CheckedSample],
    background_splits: Mapping[File, str],
    rule: SplitRule,
    *,
    tables: Sequence[str],
) -> tuple[np.ndarray, dict[str, Any]]:
    """Splits imported samples.

    Args:
        samples: The samples.
        background_splits: Split of each background; empty if the samples have none.
        rule: How to split.
        tables: Names of the tables that name the samples, for the manifest.

    Returns:
        The split cell of every sample, uint8 (N,), and the manifest's entry on splits.

    Raises:
        AssetError: The rule needs a table's split, or assets, that are not known.
    """
    of_table = [sample.planned.split for sample in samples]
    table_splits = [split for split in of_table if split is not None]
    names = [sample.planned.foreground for sample in samples]
    foregrounds = [name for name in names if name is not None]
    table_splits_all = len(table_splits) == len(samples)
    foregrounds_known = len(foregrounds) == len(samples)
    assets_known = bool(background_splits) or foregrounds_known

    by = rule.by or ("table" if table_splits_all else "asset" if assets_known else "sample")
    if by == "table":
        if not table_splits_all:
            raise AssetError(
                "--split-by table, but no table gives the split of every sample: expected a column "
                "split, or for system 002 files named train.csv and test.csv"
            )
        return _cells_named(table_splits), {"by": "csv", "files": list(tables)}
    if by == "sample":
        cells = cells_by_sample(len(samples), shares=SAMPLE_SHARES, seed=rule.seed)
        return cells, {"by": "sample", "shares": list(SAMPLE_SHARES), "seed": rule.seed}
    if not assets_known:
        raise AssetError(
            "--split-by asset, but neither backgrounds nor foregrounds are known: use --split-by "
            "sample"
        )

    entry = {"by": "asset", "seed": rule.seed}
    behind, in_front = [], []
    if background_splits:
        behind = [background_splits[sample.planned.files["background"]] for sample in samples]
    if foregrounds_known:
        unique = sorted(set(foregrounds))
        split_of = dict(zip(unique, assign_splits(unique, seed=rule.seed), strict=True))
        in_front = [split_of[name] for name in foregrounds]
    if not foregrounds_known:
        return _cells_named(behind), entry | {"assets": ["background"]}
    if not background_splits:
        return _cells_named(in_front), entry | {"assets": ["foreground"]}
    index = np.array([sample.index for sample in samples])
    cells = cells_of(index, np.array(behind), np.array(in_front), seed=rule.seed)
    return cells, entry | {"assets": ["background", "foreground"]}


def _cells_named(splits: Sequence[str]) -> np.ndarray:
    """Cells where only the split is known: `test` says nothing of seen or unseen assets."""
    return np.array([m.SPLITS[split][0] for split in splits], np.uint8)
