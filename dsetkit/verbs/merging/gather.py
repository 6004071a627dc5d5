"""gather(...): the shards of one dataset, made in several places, in one directory.

All is checked before anything is copied. Shards are copied as they are, each under a temporary name
first; one that is there already with the same content is kept, so the same command goes on.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path

from dsetkit.datasets import Dataset
from dsetkit.errors import DatasetError
from dsetkit.files import replacing
from dsetkit.labels import score_labels
from dsetkit.store import SHARD_NAME, FolderShards, StoreReader, shard_number, shard_path
from dsetkit.store import manifest as m

CONTENT = ("samples", "backgrounds", "foregrounds")  # the databases that are never written again
OF_A_SHARD = ("shard", "splits")  # a new split is written into the first shard alone

Progress = Callable[[int, int], None]  # (samples done, samples in all)


def is_part(dataset: Dataset) -> bool:
    """Whether some of the dataset's shards are not there."""
    if not isinstance(dataset.path, Path):  # an address lists all of them
        return False
    return len(FolderShards(dataset.path).numbers()) < len(dataset.shards.ranges)


def gather(
    parts: Sequence[Dataset],
    output: Path,
    *,
    progress: Progress = lambda done, total: None,
) -> m.Manifest:
    """Copies the shards of all parts into one directory, and scores the labels of the whole.

    Args:
        parts: Directories that hold some of the shards each, opened with `allow_incomplete`.
        output: Directory of the whole.
        progress: Called with (samples done, samples in all).

    Returns:
        The manifest of the complete dataset.

    Raises:
        DatasetError: Parts of several datasets, a shard that comes twice, is missing or not
            complete, another dataset in `output`, or a file that cannot be copied.
    """
    output = Path(output)
    first = parts[0]
    for other in parts[1:]:
        _check_same(first, other)
    places = _places(parts)
    _check_output(first, output)
    done, total = 0, first.manifest.num_samples
    for number, part in enumerate(places):
        source, target = shard_path(part.path, number), shard_path(output, number)
        if not _is_there(source, target):
            _copy(source, target)
        done += len(first.shards.ranges[number])
        progress(done, total)
    return score_labels(output) or Dataset(output).manifest


# ---- checks ------------------------------------------------------------------------------------


def _check_same(first: Dataset, other: Dataset) -> None:
    mine, theirs = asdict(first.manifest), asdict(other.manifest)
    mine["shards"], theirs["shards"] = (len(one.shards.ranges) for one in (first, other))
    for name in mine:
        if name not in {*m.TOOLING, *OF_A_SHARD} and mine[name] != theirs[name]:
            raise DatasetError(
                f"{other.path} holds shards of another dataset than {first.path} ({name}: "
                f"{theirs[name]}, not {mine[name]}): give the parts of one dataset only, and merge "
                "whole datasets afterwards"
            )


def _places(parts: Sequence[Dataset]) -> list[Dataset]:
    """The part that holds each shard, in the order of their numbers."""
    places: dict[int, Dataset] = {}
    for part in parts:
        for number in FolderShards(part.path).numbers():
            name = SHARD_NAME.format(number)
            if number in places:
                raise DatasetError(
                    f"{name} lies in {places[number].path} and in {part.path}: take it away from "
                    "one of them, or leave that one out"
                )
            reader = part.shards.reader(number)
            if not _manifest(reader).complete:
                raise DatasetError(
                    f"{part.path}/{name} is not complete: {reader.count('samples'):,} of "
                    f"{len(part.shards.ranges[number]):,} samples; run the command that makes it "
                    "again, it continues where it stopped"
                )
            places[number] = part
    shards = len(parts[0].shards.ranges)
    missing = [number for number in range(shards) if number not in places]
    if missing:
        names = ", ".join(SHARD_NAME.format(number) for number in missing[:3])
        more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
        folders = ", ".join(str(part.path) for part in parts)
        raise DatasetError(
            f"of {shards:,} shards {names}{more} lies in none of {folders}: give the directory it "
            f"is in too, or make it with --shards {shards} --shard-index {missing[0]}"
        )
    return [places[number] for number in range(shards)]


def _check_output(first: Dataset, output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"cannot create {output}: {error.strerror}") from None
    if all(shard_number(file.name) is None for file in output.iterdir()):
        return
    there = Dataset(output, allow_incomplete=True)
    differences = there.manifest.differences(first.manifest, ignoring=OF_A_SHARD)
    if differences or len(there.shards.ranges) != len(first.shards.ranges):
        what = differences[0] if differences else f"of {len(there.shards.ranges):,} shards"
        raise DatasetError(
            f"{output} holds another dataset ({what}): choose another --output, or take it away"
        )


# ---- files -------------------------------------------------------------------------------------


def _manifest(reader: StoreReader) -> m.Manifest:
    return m.Manifest.from_bytes(reader.get("manifest", m.MANIFEST_KEY))


def _is_there(source: Path, target: Path) -> bool:
    """Whether a shard was copied before; its scores, or a new split, do not make it another."""
    if not target.exists():
        return False
    try:
        there, here = StoreReader(target), StoreReader(source)
        return _manifest(there).complete and all(
            one == other
            for database in CONTENT
            for one, other in zip_longest(there.items(database), here.items(database))
        )
    except DatasetError:
        return False


def _copy(source: Path, target: Path) -> None:
    advice = "what was copied is kept, mend it and run the same command again"
    with replacing(target, action=f"copy {source} to {target}", advice=advice) as temporary:
        shutil.copyfile(source, temporary)
