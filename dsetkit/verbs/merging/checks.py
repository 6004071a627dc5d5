"""What has to be alike in datasets that become one, and what the manifest says of them then."""

import logging
from collections.abc import Sequence

from dsetkit.datasets import MIXED, Dataset
from dsetkit.errors import DatasetError
from dsetkit.store import manifest as m
from dsetkit.verbs.merging.assets import Shared

# What has to be the same, and what to do where it is not.
SAME = {
    "layout": "`convert --layout` brings one to that of the other",
    "fields": "`relabel` gives depth to one without; or import or generate it anew",
    "codecs": "`convert --codec` brings one to those of the other",
    "size": "generate or import one of them anew at the other's --size",
    "depth_kind": "`relabel` one of them with the other's teacher",
    "max_depth_m": "`relabel` one of them with the other's teacher, or import it anew",
    "drawing": "`convert --layout rendered` both, each with the version that made it",
}

# Says nothing of where labels come from: how many at once, and what they replaced.
NOT_THE_TEACHER = ("batch_size", "relabelled")

log = logging.getLogger(__name__)


# ---- kind and unit -----------------------------------------------------------------------------


def check_fit(before: Sequence[Dataset], other: Dataset) -> None:
    """Holds a dataset against those before it.

    Raises:
        DatasetError: It is one of them, or differs from the first where it must not.
    """
    for one in before:
        if one.manifest.fingerprint == other.manifest.fingerprint:
            raise DatasetError(
                f"{one.path} and {other.path} are the same dataset: each sample would come twice, "
                "leave one out"
            )
        if _chooses_alike(one.manifest, other.manifest):
            log.warning(
                "%s and %s choose from the same full set: samples that both have come twice",
                one.path,
                other.path,
            )
    for first in before[:1]:
        for name, advice in SAME.items():
            mine, theirs = (_plain(one.manifest, name) for one in (first, other))
            if mine != theirs:
                raise DatasetError(
                    f"{other.path} has {name} {theirs}, {first.path} has {mine}: {advice}"
                )
        for kind in ("backgrounds", "foregrounds"):
            counts = [getattr(one.manifest, f"num_{kind}") for one in (first, other)]
            if (counts[0] == 0) != (counts[1] == 0):
                raise DatasetError(
                    f"{other.path} has {counts[1]:,} {kind}, {first.path} has {counts[0]:,}: "
                    "imported datasets go together, and generated ones"
                )


def _plain(manifest: m.Manifest, name: str) -> object:
    value = getattr(manifest, name)
    return sorted(value) if name == "fields" else value


def _chooses_alike(one: m.Manifest, other: m.Manifest) -> bool:
    is_generated = one.num_foregrounds > 0 and "merged" not in one.recipe
    same_assets = one.assets_fingerprint == other.assets_fingerprint
    return is_generated and same_assets and one.recipe == other.recipe


# ---- teachers ----------------------------------------------------------------------------------


def check_teachers(sources: Sequence[Dataset]) -> None:
    """Labels are of one origin and scale, or it is asked for that they are not.

    Raises:
        DatasetError: Two datasets' depths come from different teachers, or from one with different
            settings (another range of inverse depth is another scale).
    """
    first = sources[0]
    for other in sources[1:]:
        mine, theirs = _teacher(first.manifest.teacher), _teacher(other.manifest.teacher)
        names = [name for name in mine | theirs if mine.get(name) != theirs.get(name)]
        if names:
            said = names[0]
            raise DatasetError(
                f"{other.path} has labels of teacher {theirs['name']}, {first.path} of "
                f"{mine['name']} ({said} {theirs.get(said)} and {mine.get(said)}): `relabel` one "
                "of them with the other's teacher, or give --allow-mixed-teachers"
            )


def about_teachers(teachers: Sequence[dict]) -> dict:
    """What the manifest says of the teachers of runs of samples: one if they are the same."""
    first = teachers[0]
    sizes = {teacher.get("batch_size", 1) for teacher in teachers}
    batch_size = sizes.pop() if len(sizes) == 1 else 1
    if any(_teacher(teacher) != _teacher(first) for teacher in teachers):
        about = {"name": MIXED, "hash": "", "batch_size": batch_size}
        return about | {"teachers": list(teachers)}
    alike = {
        name: value
        for name, value in first.items()
        if all(teacher.get(name) == value for teacher in teachers)
    }
    return alike | {"batch_size": batch_size}


def _teacher(about: dict) -> dict:
    return {name: value for name, value in about.items() if name not in NOT_THE_TEACHER}


# ---- splits ------------------------------------------------------------------------------------


def check_honest(sources: Sequence[Dataset], shared: Sequence[Shared]) -> None:
    """No picture that one dataset keeps for testing may be trained on in another.

    Args:
        sources: The datasets.
        shared: Pictures that several of them hold.

    Raises:
        DatasetError: A picture is in another split elsewhere, or split by other rules there.
    """
    for one in shared:
        first, second = sources[one.first], sources[one.second]
        by, other_by = (source.manifest.splits.get("by") for source in (first, second))
        said, other_said = one.splits if by == "asset" else ("", "")
        if (by, said) != (other_by, other_said):
            what = f"{one.kind} {one.name}"
            told = (
                f"{what} is {other_said} in {second.path} but {said} in {first.path}"
                if by == other_by
                else f"{what} is in {second.path}, split by {other_by}, and in {first.path}, split "
                f"by {by}"
            )
            raise DatasetError(
                f"{told}: training would see what is tested; --split-by asset splits all anew, as "
                "the first dataset that holds a picture does, --split-by sample by chance"
            )
    _check_imports(sources)


def _check_imports(sources: Sequence[Dataset]) -> None:
    """The same for imported pictures, of which no assets are known."""
    split_of: dict[str, Dataset] = {}
    for source in sources:
        manifest = source.manifest
        if manifest.num_backgrounds or manifest.num_foregrounds or "merged" in manifest.recipe:
            continue
        # 32 digits tell the pairs; what was pasted in front of them follows
        pictures = manifest.recipe.get("content", manifest.assets_fingerprint[:32])
        first = split_of.setdefault(pictures, source)
        if first.manifest.splits != manifest.splits:
            raise DatasetError(
                f"{source.path} and {first.path} hold the same pictures, split otherwise: training "
                "would see what is tested; import one anew with the other's splits, or give "
                "--split-by sample"
            )
