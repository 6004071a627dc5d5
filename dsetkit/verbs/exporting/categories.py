"""The categories of `coco` and `yolo-seg`: the names of the foregrounds."""

from dsetkit.datasets import Dataset, SampleTable
from dsetkit.verbs.exporting.common import RECORDS_AT_ONCE

UNKNOWN = "foreground"  # the category of an object whose foreground is not known


def category_names(dataset: Dataset) -> list[str]:
    """The categories of a dataset, of all its splits.

    Names of stored foregrounds come in the order of their ids. A dataset without stored
    foregrounds was imported; its samples are read for the names in them, which are sorted.
    """
    names = list(dict.fromkeys(asset.name for asset in dataset.assets("foregrounds")))
    if names and not dataset.manifest.recipe.get("merged"):
        return names
    table = SampleTable(dataset)
    found: set[str] = set()
    for start in range(0, len(dataset), RECORDS_AT_ONCE):
        part = range(start, min(start + RECORDS_AT_ONCE, len(dataset)))
        for record in dataset.records(part):
            of_sample = table.foregrounds(record)
            found.update(of_sample if len(of_sample) == 1 or "instances" in record.fields else [""])
    others = sorted({name or UNKNOWN for name in found} - set(names))
    return names + others


def category_of(name: str, names: list[str]) -> int:
    """The place of a foreground's category in `category_names`."""
    return names.index(name or UNKNOWN)
