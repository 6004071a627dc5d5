"""Copies the shards of one dataset that were made in several places into one directory.

Everything is checked before anything is copied. Each shard is copied under a temporary name first;
an existing shard with the same content is kept, so an interrupted copy can be continued.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path

from dsetkit.datasets import Dataset
from dsetkit.errors import DatasetError, UnfinishedError
from dsetkit.files import replacing
from dsetkit.labels import score_labels
from dsetkit.store import SHARD_NAME, FolderShards, StoreReader, shard_number, shard_path
from dsetkit.store import manifest as m

CONTENT = ("samples", "backgrounds", "foregrounds")  # databases that do not change once written
OF_A_SHARD = ("shard", "splits")  # entries that differ between shards: a new split changes only one


def is_part(dataset: Dataset) -> bool:
    """Whether some of the dataset's shards are missing."""
    if not isinstance(dataset.path, Path):  # an address lists all of them
        return False
    return len(FolderShards(dataset.path).numbers()) < len(dataset.shards.ranges)


def gather(
    parts: Sequence[Dataset],
    output: Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> m.Manifest:
    """Copies the shards of all parts into one directory, and scores the labels of the dataset.

    Args:
        parts: Directories that hold some of the shards each, opened with `allow_incomplete`.
        output: Directory of the dataset.
        progress: Called with (samples done, samples in all).

    Returns:
        The manifest of the complete dataset.

    Raises:
        DatasetError: Parts of different datasets; a shard that is there twice, missing or
            incomplete; another dataset in `output`; or a file that cannot be copied.
    """
    output = Path(output)
    first = parts[0]
    for other in parts[1:]:
        _check_same(first, other)
    holders = _holders(parts)
    _check_output(first, output)
    done, total = 0, first.manifest.num_samples
    for number, folder in enumerate(holders):
        source, target = shard_path(folder, number), shard_path(output, number)
        if not _has_same_content(target, source):
            _copy(source, target)
        done += len(first.shards.ranges[number])
        progress(done, total)
    return score_labels(output) or Dataset(output).manifest


# ---- checks ------------------------------------------------------------------------------------


def _check_same(first: Dataset, other: Dataset) -> None:
    """Checks that two directories hold shards of the same dataset."""
    entries, other_entries = asdict(first.manifest), asdict(other.manifest)
    entries["shards"] = len(first.shards.ranges)
    other_entries["shards"] = len(other.shards.ranges)
    for name, value in entries.items():
        if name not in {*m.TOOLING, *OF_A_SHARD} and value != other_entries[name]:
            raise DatasetError(
                f"{other.path} holds shards of another dataset than {first.path} ({name}: "
                f"{other_entries[name]}, not {value}): gather the parts of one dataset at a time, "
                "then merge the complete datasets"
            )


def _holders(parts: Sequence[Dataset]) -> list[Path]:
    """The directory that holds each shard, in the order of their numbers."""
    holders: dict[int, Path] = {}
    for part in parts:
        folder = Path(part.path)
        for number in FolderShards(folder).numbers():
            name = SHARD_NAME.format(number)
            if number in holders:
                raise DatasetError(
                    f"{name} is in {holders[number]} and in {folder}: remove it from one of them, "
                    "or leave one out"
                )
            reader = part.shards.reader(number)
            if not _manifest(reader).complete:
                raise DatasetError(
                    f"{folder}/{name} is not complete: {reader.count('samples'):,} of "
                    f"{len(part.shards.ranges[number]):,} samples; run the command that makes it "
                    "again, it continues where it stopped"
                )
            holders[number] = folder
    shards = len(parts[0].shards.ranges)
    missing = [number for number in range(shards) if number not in holders]
    if missing:
        names = ", ".join(SHARD_NAME.format(number) for number in missing[:3])
        more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
        folders = ", ".join(str(part.path) for part in parts)
        raise DatasetError(
            f"{names}{more} of {shards:,} shards not found in {folders}: give the directory that "
            f"holds it too, or make it with --shards {shards} --shard-index {missing[0]}"
        )
    return [holders[number] for number in range(shards)]


def _check_output(first: Dataset, output: Path) -> None:
    """Creates the output directory; checks that it holds no other dataset."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"cannot create {output}: {error.strerror}") from None
    if all(shard_number(file.name) is None for file in output.iterdir()):
        return
    existing = Dataset(output, allow_incomplete=True)
    num_shards = len(existing.shards.ranges)
    differences = existing.manifest.differences(first.manifest, ignoring=OF_A_SHARD)
    if differences or num_shards != len(first.shards.ranges):
        difference = differences[0] if differences else f"it has {num_shards:,} shards"
        raise DatasetError(
            f"{output} holds another dataset ({difference}): choose another --output, or remove it"
        )


# ---- files -------------------------------------------------------------------------------------


def _manifest(reader: StoreReader) -> m.Manifest:
    packed = reader.get("manifest", m.MANIFEST_KEY)
    if packed is None:
        raise UnfinishedError(f"{reader.path} has no manifest: run the command that makes it again")
    return m.Manifest.from_bytes(packed)


def _has_same_content(target: Path, source: Path) -> bool:
    """Whether a shard was copied before; label scores and a new split do not count."""
    if not target.exists():
        return False
    try:
        copy, original = StoreReader(target), StoreReader(source)
        return _manifest(copy).complete and all(
            entry == original_entry
            for database in CONTENT
            for entry, original_entry in zip_longest(copy.items(database), original.items(database))
        )
    except DatasetError:
        return False


def _copy(source: Path, target: Path) -> None:
    """Copies a shard, completely or not at all."""
    advice = "copied shards are kept, solve this and run the same command again"
    with replacing(target, action=f"copy {source} to {target}", advice=advice) as temporary:
        shutil.copyfile(source, temporary)
