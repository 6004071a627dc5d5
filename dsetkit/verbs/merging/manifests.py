"""The manifest of a merged dataset."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import xxhash

from dsetkit.datasets import MIXED, Dataset, origins
from dsetkit.store import manifest as m
from dsetkit.verbs.merging.assets import KINDS, MergedAssets

# Entries on a teacher that do not say where labels come from: how many samples it saw at once, and
# which dataset was relabelled.
NOT_IDENTITY = ("batch_size", "relabelled")


def merged_manifest(
    sources: Sequence[Dataset], assets: MergedAssets, *, splits: dict[str, Any], shards: int
) -> m.Manifest:
    """The manifest of several datasets in one; of a single dataset it stays the same.

    Args:
        sources: The datasets, in the order of their samples.
        assets: Their assets, each kept once.
        splits: The entry on splits.
        shards: Number of files to write.
    """
    manifests = [source.manifest for source in sources]
    manifest = replace(
        manifests[0],
        complete=False,
        label_quality={},
        splits=splits,
        shard=m.ONLY_SHARD | {"shards": shards},
    )
    if len(sources) == 1:
        return manifest
    made_from = [origin for source in manifests for origin in origins(source)]
    return replace(
        manifest,
        num_samples=sum(map(len, sources)),
        teacher=merged_teachers([origin.teacher for origin in made_from]),
        recipe={
            "merged": [origin.fingerprint for origin in made_from],
            "samples": [origin.num_samples for origin in made_from],
            "recipes": [origin.recipe for origin in made_from],
        },
        assets_fingerprint=_assets_fingerprint(manifests, assets),
        skipped=[skipped for source in manifests for skipped in source.skipped],
        num_backgrounds=assets.count("backgrounds"),
        num_foregrounds=assets.count("foregrounds"),
    )


def merged_teachers(teachers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The entry on the teachers of several datasets: one teacher if all are the same."""
    first = teachers[0]
    sizes = {teacher.get("batch_size", 1) for teacher in teachers}
    batch_size = sizes.pop() if len(sizes) == 1 else 1
    if any(teacher_identity(teacher) != teacher_identity(first) for teacher in teachers):
        return {"name": MIXED, "hash": "", "batch_size": batch_size, "teachers": list(teachers)}
    common = {
        name: value
        for name, value in first.items()
        if all(teacher.get(name) == value for teacher in teachers)
    }
    return common | {"batch_size": batch_size}


def teacher_identity(teacher: dict[str, Any]) -> dict[str, Any]:
    """The part of a manifest's `teacher` that says where labels come from."""
    return {name: value for name, value in teacher.items() if name not in NOT_IDENTITY}


def _assets_fingerprint(manifests: Sequence[m.Manifest], assets: MergedAssets) -> str:
    if any(map(assets.count, KINDS)):
        return assets.fingerprint
    # Imported pairs have no assets: their manifests hold fingerprints of the picture files.
    fingerprints = "\0".join(manifest.assets_fingerprint for manifest in manifests)
    return xxhash.xxh3_128_hexdigest(fingerprints.encode())
