"""The origins of a merged dataset: the datasets that it was merged from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dsetkit.store import Manifest

MIXED = "mixed"  # stands in a manifest for several teachers or several kinds of splits


@dataclass(frozen=True)
class Origin:
    """A dataset that was not merged. Its samples are consecutive in the dataset it is part of.

    Attributes:
        fingerprint: `Manifest.fingerprint`.
        num_samples: `Manifest.num_samples`.
        recipe: `Manifest.recipe`.
        teacher: `Manifest.teacher`.
    """

    fingerprint: str
    num_samples: int
    recipe: dict[str, Any]
    teacher: dict[str, Any]


def origins(manifest: Manifest) -> list[Origin]:
    """The datasets that a dataset was merged from, in the order of its samples.

    The list holds the dataset itself if it was not merged.
    """
    recipe, teacher = manifest.recipe, manifest.teacher
    if "merged" not in recipe:
        return [Origin(manifest.fingerprint, manifest.num_samples, recipe, teacher)]
    fingerprints = recipe["merged"]
    teachers = teacher.get("teachers", [teacher] * len(fingerprints))
    columns = (fingerprints, recipe["samples"], recipe["recipes"], teachers)
    return [Origin(*row) for row in zip(*columns, strict=True)]


def joined_splits(splits: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`Manifest.splits` of a merged dataset.

    Args:
        splits: `Manifest.splits` of the datasets to merge, at least one.
    """
    parts = [part for entry in splits for part in entry.get("merged", [entry])]
    if all(part == parts[0] for part in parts):
        return parts[0]
    kinds = {part.get("by") for part in parts}
    return {"by": kinds.pop() if len(kinds) == 1 else MIXED, "merged": parts}
