"""verify: checks every checksum, image, count and id of a dataset, and lists all problems."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import msgpack
import numpy as np

from dsetkit.assets import Asset, decode_asset, fingerprint
from dsetkit.compositing import Compositor, has_recipe, pixels_checksum
from dsetkit.datasets import Dataset
from dsetkit.errors import DatasetError
from dsetkit.processes import in_chunks
from dsetkit.store import (
    CELL_NAMES,
    CELLS_KEY,
    CODECS,
    SPLITS,
    Manifest,
    Record,
    Shards,
    StoreReader,
    shard_path,
    u32_key,
    unpack_record,
)

SAMPLES_PER_JOB = 64

IMAGE_LAYOUTS = {"composite": (np.uint8, 3), "mask": (np.uint8, 2), "depth": (np.uint16, 2)}

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
    jobs: int = 2,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Problem]:
    """Checks a whole dataset; a problem does not stop the check.

    Args:
        path: The dataset's directory.
        jobs: Threads.
        progress: Called with (samples done, samples in all).

    Returns:
        All problems, those of samples last and in index order.

    Raises:
        DatasetError: The dataset cannot be opened; see `Dataset`.
    """
    dataset = Dataset(path)
    manifest = dataset.manifest
    shards = dataset.shards
    problems = [
        *_check_counts(shards),
        *_check_cells(shards.first, manifest),
        *_check_assets(shards.first, manifest),
    ]
    total = manifest.num_samples
    chunks = in_chunks(range(total), SAMPLES_PER_JOB)
    with ThreadPoolExecutor(jobs) as pool:
        found = pool.map(partial(_check_samples, dataset), chunks)
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


def _check_counts(shards: Shards) -> Iterator[Problem]:
    """Shards with too many samples; missing samples are found one by one."""
    stored = zip(shards.stored_ranges(), shards.ranges, strict=True)
    for number, (held, expected) in enumerate(stored):
        if len(held) > len(expected):
            name = "it" if len(shards.ranges) == 1 else shard_path(Path(), number)
            counts = f"{name} has {len(held):,} samples, the manifest says {len(expected):,}"
            yield Problem("dataset", None, counts)


def _check_cells(store: StoreReader, manifest: Manifest) -> Iterator[Problem]:
    cells = np.frombuffer(store.get("manifest", CELLS_KEY) or b"", np.uint8)
    if len(cells) != manifest.num_samples:
        counts = f"{len(cells):,} split cells for {manifest.num_samples:,} samples"
        yield Problem("dataset", None, counts)
    unknown = np.flatnonzero(cells >= len(CELL_NAMES))
    if len(unknown):
        yield Problem("dataset", None, f"unknown split cell {cells[unknown[0]]}")


def _check_assets(store: StoreReader, manifest: Manifest) -> Iterator[Problem]:
    """Assets have no checksums of their own; the manifest's fingerprint covers all of them."""
    height, width = manifest.size
    problems: list[Problem] = []
    backgrounds = _read_assets(
        store, "backgrounds", manifest.num_backgrounds, 3, (height, width), problems
    )
    foregrounds = _read_assets(store, "foregrounds", manifest.num_foregrounds, 4, None, problems)
    yield from problems
    if not (backgrounds or foregrounds) or problems:
        return
    if fingerprint(backgrounds, foregrounds) != manifest.assets_fingerprint:
        yield Problem("dataset", None, "the assets are not those it was made from (fingerprint)")


def _read_assets(
    store: StoreReader,
    database: str,
    count: int,
    channels: int,
    size: tuple[int, int] | None,
    problems: list[Problem],
) -> list[Asset]:
    """The assets of a database that can be read; appends what is wrong to `problems`."""
    assets: list[Asset] = []
    for number in range(count):
        try:
            packed = store.get(database, u32_key(number))
            assets.append(_read_asset(packed, number, channels, size))
        except READ_ERRORS as error:
            problems.append(Problem(database.removesuffix("s"), number, _reason(error)))
    if store.count(database) > count:
        surplus = f"{store.count(database)} {database}, the manifest says {count}"
        problems.append(Problem("dataset", None, surplus))
    return assets


def _read_asset(
    packed: bytes | None, number: int, channels: int, size: tuple[int, int] | None
) -> Asset:
    if packed is None:
        raise DatasetError("missing")
    content = msgpack.unpackb(packed)
    if content["split"] not in SPLITS:
        raise DatasetError(f"unknown split {content['split']!r}")
    pixels = decode_asset(content["image"])
    if pixels.shape[2] != channels or (size and pixels.shape[:2] != size):
        expected = f"({size[0]}, {size[1]}, {channels})" if size else f"(h, w, {channels})"
        raise DatasetError(f"its picture has shape {pixels.shape}, expected {expected}")
    return Asset(number, content["name"], content["split"], pixels)


# ---- one sample --------------------------------------------------------------------------------


def _check_samples(dataset: Dataset, indices: range) -> list[Problem]:
    problems: list[Problem] = []
    for index in indices:
        try:
            _check_sample(dataset.shards.get_many([index])[0], dataset)
        except READ_ERRORS as error:
            problems.append(Problem("sample", index, _reason(error)))
    return problems


def _check_sample(packed: bytes | None, dataset: Dataset) -> None:
    if packed is None:
        raise DatasetError("missing")
    manifest, record = dataset.manifest, unpack_record(packed)
    if record.fields.keys() != manifest.codecs.keys():
        found, expected = ", ".join(record.fields), ", ".join(manifest.codecs)
        raise DatasetError(f"it has {found}; expected {expected}")
    images = {name: _decoded(record, name, manifest) for name in record.fields}
    if manifest.layout == "recipe":
        _check_ids(record, manifest)
        images["composite"], images["mask"] = _composited(record, dataset.compositor)
    height, width = images["composite"].shape[:2]
    if manifest.size != [0, 0] and [height, width] != manifest.size:
        raise DatasetError(f"composite is {height} x {width} px, expected {manifest.size}")
    if "depth" in images:
        _check_depth(images["depth"], manifest)
    if "background" in manifest.fields:
        _check_ids(record, manifest)
    if manifest.num_foregrounds or "mask" in images:  # imported samples without mask have no box
        _check_box(record.recipe["box"], height, width)
    if "mask" in images:
        _check_mask(images["mask"], (height, width), record.recipe["box"])


def _decoded(record: Record, name: str, manifest: Manifest) -> np.ndarray:
    """The pixels of a stored field."""
    try:
        image = CODECS[manifest.codecs[name]].decode(record.fields[name])
    except (DatasetError, cv2.error):
        raise DatasetError(f"{name} cannot be decoded") from None
    dtype, ndim = IMAGE_LAYOUTS[name]
    if image.dtype != dtype or image.ndim != ndim:
        expected = f"{np.dtype(dtype)} with {ndim} axes"
        raise DatasetError(f"{name} is {image.dtype} {image.shape}, expected {expected}")
    return image


def _composited(record: Record, compositor: Compositor) -> tuple[np.ndarray, np.ndarray]:
    """The composite and mask of a recipe; see `Compositor.composite`."""
    if not has_recipe(record):
        raise DatasetError("its recipe has no flip and box")
    _check_box(record.recipe["box"], *compositor.canvas)
    image, mask = compositor.composite(record)
    if record.drawn is not None and record.drawn != pixels_checksum(image, mask):
        raise DatasetError("compositing it gives other pixels than the teacher saw")
    return image, mask


def _check_depth(depth: np.ndarray, manifest: Manifest) -> None:
    largest = round(manifest.max_depth_m * 1000)
    if manifest.depth_kind == "metric" and depth.max() > largest:
        raise DatasetError(f"depth reaches {depth.max()} mm, beyond the maximum of {largest} mm")


def _check_ids(record: Record, manifest: Manifest) -> None:
    for name, number, count in (
        ("background", record.background, manifest.num_backgrounds),
        ("foreground", record.foreground, manifest.num_foregrounds),
    ):
        if name == "foreground" and count == 0:  # imported datasets have no foregrounds
            if number is not None:
                raise DatasetError(f"foreground {number}: expected none")
        elif number not in range(count):
            raise DatasetError(f"{name} {number}: expected 0 to {count - 1}")


def _check_box(box: list[int], height: int, width: int) -> None:
    x, y, box_width, box_height = box
    reaches_canvas = -box_width < x < width and -box_height < y < height
    if box_width < 1 or box_height < 1 or not reaches_canvas:
        raise DatasetError(f"box {box} is outside the canvas of {width} x {height} px")


def _check_mask(mask: np.ndarray, shape: tuple[int, int], box: list[int]) -> None:
    if mask.shape != shape:
        raise DatasetError(f"mask is {mask.shape}, but composite is {shape}")
    if mask.max() <= 1:
        raise DatasetError(
            f"the mask's largest value is {mask.max()}: expected a foreground, alpha 0..255"
        )
    left, top, width, height = cv2.boundingRect(mask)
    x, y, box_width, box_height = box
    inside = x <= left and left + width <= x + box_width
    if not (inside and y <= top and top + height <= y + box_height):
        raise DatasetError(f"mask reaches outside its box {box}")


def _reason(error: Exception) -> str:
    if isinstance(error, DatasetError):
        return str(error)
    return f"cannot be read ({type(error).__name__}: {error})"
