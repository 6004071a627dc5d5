"""The categories of `coco` and `yolo-seg`: the names of the foregrounds."""

from dsetkit.datasets import Dataset, SampleTable
from dsetkit.verbs.exporting.common import RECORDS_AT_ONCE

UNKNOWN = "foreground"  # the category of an object whose foreground is not known


def category_names(dataset: Dataset) -> list[str]:
    """The categories of a dataset, of all its splits; UNKNOWN is the last.

    Names of stored foregrounds come in the order of their ids. The samples of a dataset that has
    none were imported: they are read for the names in them, which are sorted.
    """
    names = dict.fromkeys(asset.name for asset in dataset.assets("foregrounds"))
    if not names or dataset.manifest.recipe.get("merged"):
        names |= dict.fromkeys(sorted(_names_in_samples(dataset)))
    names.pop(UNKNOWN, None)
    return [*names, UNKNOWN]


def _names_in_samples(dataset: Dataset) -> set[str]:
    table = SampleTable(dataset)
    found: set[str] = set()
    for start in range(0, len(dataset), RECORDS_AT_ONCE):
        part = range(start, min(start + RECORDS_AT_ONCE, len(dataset)))
        for record in dataset.records(part):
            found.update(table.foregrounds(record))
    return found - {""}


def category_of(name: str, names: list[str]) -> int:
    """The place of a foreground's category in `category_names`."""
    return names.index(name or UNKNOWN)
