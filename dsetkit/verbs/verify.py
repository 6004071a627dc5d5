"""verify: checks every page, checksum, image, count and id of a dataset, and lists all problems."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dsetkit.assets import Asset, decode_asset, fingerprint
from dsetkit.compositing import check_box, pixels_checksum
from dsetkit.datasets import Dataset
from dsetkit.errors import DatasetError
from dsetkit.processes import in_chunks
from dsetkit.store import (
    BACKGROUND_DEPTH_CODEC,
    CODECS,
    SHARD_NAME,
    Manifest,
    Record,
    Shards,
    StoredAsset,
    StoreReader,
    u32_key,
    u64_key,
    unpack_asset,
    unpack_record,
)

SAMPLES_PER_JOB = 64

IMAGE_LAYOUTS = {
    "composite": (np.uint8, 3),
    "mask": (np.uint8, 2),
    "depth": (np.uint16, 2),
    "instances": (np.uint8, 2),
}

Box = tuple[int, int, int, int]  # x, y, width, height [px]

# Errors that unexpected bytes may raise; any other error is a bug.
READ_ERRORS = (DatasetError, cv2.error, ValueError, TypeError, LookupError)


@dataclass(frozen=True)
class Problem:
    """Something that is wrong.

    Attributes:
        where: `dataset`, `background`, `foreground` or `sample`.
        number: Id of the asset, or index of the sample; None for the dataset.
        reason: What is wrong.
    """

    where: str
    number: int | None
    reason: str

    def __str__(self) -> str:
        number = "" if self.number is None else f" {self.number}"
        return f"{self.where}{number}: {self.reason}"


def verify(
    path: Path,
    *,
    quick: bool = False,
    jobs: int = 2,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Problem]:
    """Checks a whole dataset; a problem does not stop the check.

    Args:
        path: The dataset's directory.
        quick: Whether to compare checksums alone, and decode no picture.
        jobs: Threads.
        progress: Called with (samples done, samples in all).

    Returns:
        All problems, those of samples last and in index order. If the pages of a file are damaged,
        those problems alone.

    Raises:
        DatasetError: The dataset cannot be opened; see `Dataset`.
    """
    dataset = Dataset(path)
    manifest = dataset.manifest
    shards = dataset.shards
    if problems := list(_check_pages(shards)):
        return problems
    problems = [
        *_check_counts(shards),
        *_check_cells(dataset),
        *_check_assets(shards.first, manifest, quick=quick),
    ]
    total = manifest.num_samples
    progress(0, total)  # starts the clock of the rate
    chunks = in_chunks(range(total), SAMPLES_PER_JOB)
    check = unpack_record if quick else partial(_check_sample, dataset=dataset)
    with ThreadPoolExecutor(jobs) as pool:
        found = pool.map(partial(_check_samples, shards, check), chunks)
        for chunk, bad in zip(chunks, found, strict=True):
            problems += bad
            progress(chunk.stop, total)
    return problems


def raise_if_bad(path: Path, problems: list[Problem]) -> None:
    """Raises an error if there are problems.

    Raises:
        DatasetError: Says how many there are, and what can be done.
    """
    if problems:
        samples = sum(problem.where == "sample" for problem in problems)
        raise DatasetError(
            f"{path}: {len(problems):,} problems, {samples:,} of them in samples: "
            "copy it again from its source, or generate it again"
        )


def as_report(path: Path, problems: list[Problem]) -> dict[str, Any]:
    """The problems as JSON values."""
    return {"dataset": str(path), "problems": [asdict(problem) for problem in problems]}


# ---- the dataset as a whole --------------------------------------------------------------------


def _check_pages(shards: Shards) -> Iterator[Problem]:
    for number in range(len(shards.ranges)):
        try:
            shards.reader(number).check()
        except DatasetError as error:
            yield Problem("dataset", None, str(error))


def _check_counts(shards: Shards) -> Iterator[Problem]:
    """Shards with too many samples; missing samples are found one by one."""
    stored = zip(shards.stored_ranges(), shards.ranges, strict=True)
    for number, (held, expected) in enumerate(stored):
        if len(held) > len(expected):
            name = "it" if len(shards.ranges) == 1 else SHARD_NAME.format(number)
            counts = f"{name} has {len(held):,} samples, the manifest says {len(expected):,}"
            yield Problem("dataset", None, counts)


def _check_cells(dataset: Dataset) -> Iterator[Problem]:
    try:
        dataset.indices("train")
    except DatasetError as error:
        yield Problem("dataset", None, str(error))


def _check_assets(store: StoreReader, manifest: Manifest, *, quick: bool) -> Iterator[Problem]:
    """Each asset has a checksum; the manifest's fingerprint covers the pixels of all of them."""
    height, width = manifest.size
    assets: dict[str, list[Asset]] = {}
    is_bad = False
    for database, count, channels, size in (
        ("backgrounds", manifest.num_backgrounds, 3, (height, width)),
        ("foregrounds", manifest.num_foregrounds, 4, None),
    ):
        assets[database] = []
        for number in range(count):
            try:
                stored = _stored_asset(store, database, number)
                if not quick:
                    asset = _decoded_asset(
                        stored,
                        number,
                        channels,
                        size,
                        has_scene_depth=manifest.has_scene_depth,
                    )
                    assets[database].append(asset)
            except READ_ERRORS as error:
                is_bad = True
                yield Problem(database.removesuffix("s"), number, _reason(error))
        if (held := store.count(database)) > count:
            yield Problem("dataset", None, f"{held} {database}, the manifest says {count}")
    if quick or is_bad or not any(assets.values()):
        return
    if fingerprint(assets["backgrounds"], assets["foregrounds"]) != manifest.assets_fingerprint:
        yield Problem("dataset", None, "the assets are not those it was made from (fingerprint)")


def _stored_asset(store: StoreReader, database: str, number: int) -> StoredAsset:
    packed = store.get(database, u32_key(number))
    if packed is None:
        raise DatasetError("missing")
    return unpack_asset(packed, database=database, key=u32_key(number))


def _decoded_asset(
    stored: StoredAsset,
    number: int,
    channels: int,
    size: tuple[int, int] | None,
    *,
    has_scene_depth: bool,
) -> Asset:
    pixels = decode_asset(stored.image)
    if pixels.shape[2] != channels or (size and pixels.shape[:2] != size):
        expected = f"({size[0]}, {size[1]}, {channels})" if size else f"(h, w, {channels})"
        raise DatasetError(f"its picture has shape {pixels.shape}, expected {expected}")
    if stored.depth is not None:
        depth = _decoded(stored.depth, "depth", BACKGROUND_DEPTH_CODEC)
        if size and depth.shape != size:
            raise DatasetError(f"its depth has shape {depth.shape}, expected {size}")
        if not depth.any():
            raise DatasetError("its depth has no valid pixel")
    elif channels == 3 and has_scene_depth:
        raise DatasetError("it has no depth, which the depth of samples is made of")
    return Asset(number, stored.name, stored.split, pixels)


# ---- one sample --------------------------------------------------------------------------------


def _check_samples(
    shards: Shards, check: Callable[[bytes, bytes], object], indices: range
) -> list[Problem]:
    """The problems of some samples; `check` is called with (packed record, key)."""
    try:
        records = shards.get_many(indices)  # at once: a transaction costs more than a checksum
    except READ_ERRORS as error:
        if len(indices) == 1:
            return [Problem("sample", indices[0], _reason(error))]
        alone = (_check_samples(shards, check, range(index, index + 1)) for index in indices)
        return [problem for found in alone for problem in found]
    problems: list[Problem] = []
    for index, packed in zip(indices, records, strict=True):
        try:
            if packed is None:
                raise DatasetError("missing")
            check(packed, u64_key(index))
        except READ_ERRORS as error:
            problems.append(Problem("sample", index, _reason(error)))
    return problems


def _check_sample(packed: bytes, key: bytes, *, dataset: Dataset) -> None:
    manifest, record = dataset.manifest, unpack_record(packed, key)
    if record.fields.keys() != manifest.codecs.keys():
        found, expected = ", ".join(record.fields), ", ".join(manifest.codecs)
        raise DatasetError(f"it has {found}; expected {expected}")
    images = {
        name: _decoded(encoded, name, manifest.codecs[name])
        for name, encoded in record.fields.items()
    }
    if manifest.composited:
        _check_ids(record, manifest)
        images |= _composited(record, dataset)
    shape = images["composite"].shape[:2]
    if manifest.size != [0, 0] and list(shape) != manifest.size:
        raise DatasetError(f"composite is {shape[0]} x {shape[1]} px, expected {manifest.size}")
    if "depth" in images:
        _check_depth(images["depth"], manifest)
    if "background" in manifest.fields:
        _check_ids(record, manifest)
    needs_box = manifest.num_foregrounds or "mask" in images  # else an import without mask
    boxes = [one.box for one in record.objects if one.box is not None]
    if needs_box and not boxes:
        raise DatasetError("it has no placed object with a box")
    for box in boxes:
        check_box(box, shape)
    if "mask" in images:
        _check_mask(images["mask"], shape, boxes)
    if "instances" in images:
        _check_instances(images["instances"], shape, len(record.objects))


def _decoded(encoded: bytes, name: str, codec: str) -> np.ndarray:
    """The pixels of a stored field."""
    try:
        image = CODECS[codec].decode(encoded)
    except DatasetError as error:
        raise DatasetError(f"{name} cannot be decoded: {error}") from None
    dtype, ndim = IMAGE_LAYOUTS[name]
    if image.dtype != dtype or image.ndim != ndim:
        expected = f"{np.dtype(dtype)} with {ndim} axes"
        raise DatasetError(f"{name} is {image.dtype} {image.shape}, expected {expected}")
    return image


def _composited(record: Record, dataset: Dataset) -> dict[str, np.ndarray]:
    """The fields that a recipe gives; see `Compositor.fields`."""
    fields = dataset.compositor.fields(record, dataset.manifest.composited)
    pixels = pixels_checksum(fields["composite"], fields["mask"])
    if record.pixels is not None and record.pixels != pixels:
        raise DatasetError("compositing it gives other pixels than the teacher saw")
    return fields


def _check_depth(depth: np.ndarray, manifest: Manifest) -> None:
    largest = round(manifest.max_depth_m * 1000)
    if manifest.depth_kind == "metric" and depth.max() > largest:
        raise DatasetError(f"depth reaches {depth.max()} mm, beyond the maximum of {largest} mm")


def _check_ids(record: Record, manifest: Manifest) -> None:
    foregrounds = [("foreground", one.foreground) for one in record.objects]
    for kind, number in [("background", record.background), *foregrounds]:
        count = manifest.num_backgrounds if kind == "background" else manifest.num_foregrounds
        if kind == "foreground" and count == 0:  # imported datasets have no foregrounds
            if number is not None:
                raise DatasetError(f"foreground {number}: expected none")
        elif number not in range(count):
            raise DatasetError(f"{kind} {number}: expected 0 to {count - 1}")


def _check_mask(mask: np.ndarray, shape: tuple[int, int], boxes: list[Box]) -> None:
    if mask.shape != shape:
        raise DatasetError(f"mask is {mask.shape}, but composite is {shape}")
    if mask.max() <= 1:
        raise DatasetError(
            f"the mask's largest value is {mask.max()}: expected a foreground, alpha 0..255"
        )
    outside = mask.copy()
    for x, y, width, height in boxes:
        outside[y : y + height, x : x + width] = 0
    if outside.any():
        shown = " and ".join(str(list(box)) for box in boxes)
        raise DatasetError(f"mask reaches outside its box {shown}")


def _check_instances(instances: np.ndarray, shape: tuple[int, int], objects: int) -> None:
    if instances.shape != shape:
        raise DatasetError(f"instances are {instances.shape}, but composite is {shape}")
    if instances.max() > objects:
        raise DatasetError(f"instance {instances.max()}: expected 0 to {objects}")


def _reason(error: Exception) -> str:
    if isinstance(error, DatasetError):
        return str(error)
    return f"cannot be read ({type(error).__name__}: {error})"
