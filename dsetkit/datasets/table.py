"""The sample table: one row of plain values per sample, for CSV and captions."""

import numpy as np

from dsetkit.datasets.reader import Dataset
from dsetkit.errors import DatasetError
from dsetkit.store import CELL_NAMES, SPLITS, PlacedObject, Record

COLUMNS = ("index", "split", "cell", "background", "foreground", "flip", "box", "name")

CELL_SPLIT = {cell: split for split, cells in SPLITS.items() for cell in cells}


class SampleTable:
    """Gives the row of each sample of a dataset.

    | column                     | value                                                          |
    |----------------------------|----------------------------------------------------------------|
    | `index`                    | index of the sample in the dataset                             |
    | `split`, `cell`            | train, val or test; one of CELL_NAMES                          |
    | `background`, `foreground` | names of the assets; empty if an import does not know them     |
    | `flip`, `box`              | 0 or 1; `x y w h` [px]; empty if an import does not know them  |
    |                            | (of several objects: each value, separated by `;`)             |
    | `name`                     | name of the colour file; empty in generated datasets           |
    """

    def __init__(self, dataset: Dataset) -> None:
        self._cells = dataset.cells
        self._backgrounds = [asset.name for asset in dataset.assets("backgrounds")]
        self._foregrounds = [asset.name for asset in dataset.assets("foregrounds")]

    def row(self, index: int, record: Record) -> dict[str, int | str]:
        """The row of a sample. Its keys are COLUMNS, in this order."""
        cell = int(self._cells[index])
        row: dict[str, int | str] = dict.fromkeys(COLUMNS, "")
        row |= {"index": index, "split": CELL_SPLIT[cell], "cell": CELL_NAMES[cell]}
        if record.background is not None:
            row["background"] = self._backgrounds[record.background]
        of_objects = {
            "foreground": self.foregrounds(record),
            "flip": ["" if one.flip is None else str(int(one.flip)) for one in record.objects],
            "box": [" ".join(map(str, one.box or ())) for one in record.objects],
        }
        row |= {column: ";".join(values) for column, values in of_objects.items()}
        return row | {"name": record.name}

    def foregrounds(self, record: Record) -> list[str]:
        """The names of a sample's objects, the one in front last; empty where it is not known."""
        return [self._name(one) for one in record.objects]

    def _name(self, placed: PlacedObject) -> str:
        return placed.name if placed.foreground is None else self._foregrounds[placed.foreground]


def indices_of(dataset: Dataset, split: str | None) -> np.ndarray:
    """The indices of the samples of a split, int64 (N,), ascending; None means all samples.

    Raises:
        DatasetError: The split is unknown or has no samples.
    """
    indices = dataset.indices(split)
    if len(indices) == 0:
        raise DatasetError(f"{dataset.path} has no {split or ''} samples: choose another --split")
    return indices
