"""Checks that datasets fit together before they are merged."""

import logging
from collections.abc import Sequence

from dsetkit.datasets import Dataset
from dsetkit.errors import DatasetError
from dsetkit.store import manifest as m
from dsetkit.verbs.merging.assets import SharedPicture
from dsetkit.verbs.merging.manifests import teacher_identity

# Manifest entries that must be the same, and what to do if they are not.
SAME = {
    "layout": "`convert --layout` brings one to the layout of the other",
    "fields": "`relabel` adds depth to a dataset without; otherwise import or generate it again",
    "codecs": "`convert --codec` brings one to the codecs of the other",
    "size": "generate or import one of them again at the other's --size",
    "depth_kind": "`relabel` one of them with the other's teacher",
    "max_depth_m": "`relabel` one of them with the other's teacher, or import it again",
    "has_scene_depth": "`relabel --depth-of` one of them as the other",
    "compositing": "`convert --layout rendered` both, each with the version that made it",
}

PICTURES_DIGITS = 32  # of the fingerprint of imported pairs; the digits of pasted cut-outs follow

log = logging.getLogger(__name__)


# ---- kind and unit -----------------------------------------------------------------------------


def check_fit(before: Sequence[Dataset], other: Dataset) -> None:
    """Compares a dataset with those before it.

    Args:
        before: The datasets before it.
        other: The dataset.

    Raises:
        DatasetError: It is one of them, or differs from the first in an entry of SAME.
    """
    for dataset in before:
        if dataset.manifest.fingerprint == other.manifest.fingerprint:
            raise DatasetError(
                f"{dataset.path} and {other.path} are the same dataset: each sample would be there "
                "twice, leave one out"
            )
        if _same_full_set(dataset.manifest, other.manifest):
            log.warning(
                "%s and %s choose samples from the same full set: samples that both hold will be "
                "there twice",
                dataset.path,
                other.path,
            )
    if not before:
        return
    first = before[0]
    for name, advice in SAME.items():
        value, first_value = (_comparable(d.manifest, name) for d in (other, first))
        if value != first_value:
            raise DatasetError(
                f"{other.path} has {name} {value}, {first.path} has {first_value}: {advice}"
            )
    for kind in ("backgrounds", "foregrounds"):
        count, first_count = (getattr(d.manifest, f"num_{kind}") for d in (other, first))
        if (count == 0) != (first_count == 0):
            raise DatasetError(
                f"{other.path} has {count:,} {kind}, {first.path} has {first_count:,}: expected "
                "only imported datasets, or only generated ones"
            )


def _comparable(manifest: m.Manifest, name: str) -> object:
    value = getattr(manifest, name)
    return sorted(value) if name == "fields" else value


def _same_full_set(one: m.Manifest, other: m.Manifest) -> bool:
    is_generated = one.num_foregrounds > 0 and "merged" not in one.recipe
    same_assets = one.assets_fingerprint == other.assets_fingerprint
    return is_generated and same_assets and one.recipe == other.recipe


# ---- teachers ----------------------------------------------------------------------------------


def check_teachers(sources: Sequence[Dataset]) -> None:
    """Checks that all labels come from one teacher with the same settings.

    Args:
        sources: The datasets.

    Raises:
        DatasetError: Two datasets' depths come from different teachers, or from one teacher with
            different settings (another range of inverse depth is another scale).
    """
    first = sources[0]
    first_teacher = teacher_identity(first.manifest.teacher)
    for other in sources[1:]:
        teacher = teacher_identity(other.manifest.teacher)
        differing = [
            name for name in first_teacher | teacher if first_teacher.get(name) != teacher.get(name)
        ]
        if differing:
            name = differing[0]
            raise DatasetError(
                f"{other.path} has labels of teacher {teacher['name']}, {first.path} of "
                f"{first_teacher['name']} ({name} {teacher.get(name)} and "
                f"{first_teacher.get(name)}): `relabel` one of them with the other's teacher, or "
                "give --allow-mixed-teachers"
            )


# ---- splits ------------------------------------------------------------------------------------


def check_splits(sources: Sequence[Dataset], shared: Sequence[SharedPicture]) -> None:
    """Checks that no picture which one dataset tests on is trained on in another.

    Args:
        sources: The datasets.
        shared: Pictures that several of them hold.

    Raises:
        DatasetError: A picture is in different splits, or datasets that share one were split by
            different rules.
    """
    for picture in shared:
        first, second = sources[picture.first], sources[picture.second]
        first_rule, second_rule = (d.manifest.splits.get("by") for d in (first, second))
        first_split, second_split = picture.splits if first_rule == "asset" else ("", "")
        if (first_rule, first_split) == (second_rule, second_split):
            continue
        name = f"{picture.kind} {picture.name}"
        if first_rule == second_rule:
            problem = f"{name} is {second_split} in {second.path} but {first_split} in {first.path}"
        else:
            problem = (
                f"{name} is in {second.path}, split by {second_rule}, and in {first.path}, split "
                f"by {first_rule}"
            )
        raise DatasetError(
            f"{problem}: training would see test pictures; --split-by asset splits all samples "
            "again by the splits of the first dataset that holds a picture, --split-by sample "
            "splits them by chance"
        )
    _check_imports(sources)


def _check_imports(sources: Sequence[Dataset]) -> None:
    """Checks the splits of imported pictures, which are no assets of the dataset."""
    split_of: dict[str, Dataset] = {}
    for source in sources:
        manifest = source.manifest
        if manifest.num_backgrounds or manifest.num_foregrounds or "merged" in manifest.recipe:
            continue
        fingerprint = manifest.assets_fingerprint[:PICTURES_DIGITS]
        first = split_of.setdefault(manifest.recipe.get("content", fingerprint), source)
        if first.manifest.splits != manifest.splits:
            raise DatasetError(
                f"{source.path} and {first.path} hold the same pictures with different splits: "
                "training would see test pictures; import one again with the other's splits, or "
                "give --split-by sample"
            )
