"""What a dataset was made from: its own making, or that of the datasets it was merged from."""

from collections.abc import Sequence
from dataclasses import dataclass

from dsetkit.store import Manifest

MIXED = "mixed"  # name of several teachers, or of several ways to split


@dataclass(frozen=True)
class Origin:
    """A dataset that was not merged itself, as a run of the samples of one that may be.

    Attributes:
        fingerprint: Its manifest's.
        num_samples: How many it has.
        recipe: Its manifest's.
        teacher: Its manifest's.
    """

    fingerprint: str
    num_samples: int
    recipe: dict
    teacher: dict


def origins(manifest: Manifest) -> list[Origin]:
    """What a dataset was merged from, in the order of its samples; itself if it was not."""
    recipe, teacher = manifest.recipe, manifest.teacher
    if "merged" not in recipe:
        return [Origin(manifest.fingerprint, manifest.num_samples, recipe, teacher)]
    fingerprints = recipe["merged"]
    teachers = teacher.get("teachers", [teacher] * len(fingerprints))
    columns = (fingerprints, recipe["samples"], recipe["recipes"], teachers)
    return [Origin(*one) for one in zip(*columns, strict=True)]


def joined_splits(splits: Sequence[dict]) -> dict:
    """What the manifest says of the splits of several datasets in one."""
    each = [one for about in splits for one in about.get("merged", [about])]
    if all(one == each[0] for one in each):
        return each[0]
    ways = {one.get("by") for one in each}
    return {"by": ways.pop() if len(ways) == 1 else MIXED, "merged": each}
