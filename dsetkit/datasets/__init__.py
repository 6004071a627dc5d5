"""Reading a dataset, writing one, and what it was made from."""

from dsetkit.datasets.reader import Dataset, Size
from dsetkit.datasets.table import COLUMNS, SampleTable, indices_of
from dsetkit.datasets.writer import DatasetWriter, StoredAsset, judge_shards, stored_assets

__all__ = [
    "COLUMNS",
    "Dataset",
    "DatasetWriter",
    "SampleTable",
    "Size",
    "StoredAsset",
    "indices_of",
    "judge_shards",
    "stored_assets",
]
