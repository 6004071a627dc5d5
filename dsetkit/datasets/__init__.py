"""Reading and writing datasets, and what a dataset was made from."""

from dsetkit.datasets.origins import MIXED, Origin, joined_splits, origins
from dsetkit.datasets.reader import Dataset, Size
from dsetkit.datasets.table import COLUMNS, SampleTable, indices_of
from dsetkit.datasets.writer import LABELLED_PER_COMMIT, SAMPLES_PER_COMMIT, DatasetWriter

__all__ = [
    "COLUMNS",
    "LABELLED_PER_COMMIT",
    "MIXED",
    "SAMPLES_PER_COMMIT",
    "Dataset",
    "DatasetWriter",
    "Origin",
    "SampleTable",
    "Size",
    "indices_of",
    "joined_splits",
    "origins",
]
