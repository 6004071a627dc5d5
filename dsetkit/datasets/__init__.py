"""Reading and writing datasets, and what a dataset was made from."""

from dsetkit.datasets.origins import MIXED, Origin, joined_splits, origins
from dsetkit.datasets.reader import Dataset, Size
from dsetkit.datasets.table import COLUMNS, SampleTable, indices_of
from dsetkit.datasets.writer import DatasetWriter, StoredAsset, stored_assets

__all__ = [
    "COLUMNS",
    "MIXED",
    "Dataset",
    "DatasetWriter",
    "Origin",
    "SampleTable",
    "Size",
    "StoredAsset",
    "indices_of",
    "joined_splits",
    "origins",
    "stored_assets",
]
