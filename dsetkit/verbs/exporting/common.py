"""What all formats of `export` share: the claimed folder, encoded samples, work in packs.

The samples of each split are cut into packs. A pack is what one process writes at a time, so the
memory does not depend on the number of samples. Every file with its final name is complete, and
the packs do not depend on the number of processes: an interrupted export goes on to the same bytes.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dsetkit.assets import stored_orientation
from dsetkit.datasets import Dataset, SampleTable, indices_of
from dsetkit.errors import DatasetError
from dsetkit.files import claim_folder, write_whole
from dsetkit.processes import in_jobs
from dsetkit.store import CODECS, DEFAULT_CODECS, SPLITS, Record

MARKER = "dataset.json"  # of a folder that an export has claimed
PNG_SIGNATURE = b"\x89PNG"
JPEG_SIGNATURE = b"\xff\xd8\xff"
RECORDS_AT_ONCE = 32
BACKGROUNDS_KEPT = 64
KEY_DIGITS = 6  # at least
OPTIONAL = ("instances",)  # fields that samples may lack though the dataset has them
DECODED_WITH = DEFAULT_CODECS | {"composite": "png"}  # which decodes JPEG, too

Row = dict[str, int | str]


def claim(output: Path, description: dict[str, Any]) -> None:
    """Writes dataset.json, which marks the folder as that of this export.

    Raises:
        DsetkitError: The folder belongs to another export, or holds other files.
    """
    claim_folder(
        output,
        marker=MARKER,
        description=description,
        what="an export",
        other="the export of another dataset, split or format, or with other settings",
    )


def write_new(file: Path, content: bytes) -> None:
    """Writes a file whole, unless it is there: then an earlier run has.

    Raises:
        DsetkitError: It cannot be written.
    """
    if not file.exists():
        write_whole(file, content)


# ---- encoded samples ---------------------------------------------------------------------------


def as_picture(
    dataset: Dataset, record: Record, name: str, pixels: np.ndarray | None = None
) -> bytes:
    """A field as PNG or JPEG: its own bytes if it is stored so.

    Bytes with an EXIF orientation are encoded anew without it. Readers of datasets ignore it, but
    other programs would turn the picture away from its mask and depth.

    Args:
        dataset: The dataset.
        record: The sample.
        name: The field.
        pixels: Its pixels, if they are known already.
    """
    content = record.fields.get(name, b"")
    if content.startswith((PNG_SIGNATURE, JPEG_SIGNATURE)) and stored_orientation(content) == 1:
        return content
    return CODECS[DEFAULT_CODECS[name]].encode(
        dataset.image(record, name) if pixels is None else pixels
    )


def suffix_of(encoded: bytes) -> str:
    """`.png` or `.jpg`, from the bytes: an imported dataset may hold both."""
    return ".png" if encoded.startswith(PNG_SIGNATURE) else ".jpg"


def as_png(pixels: np.ndarray) -> bytes:
    """A grey picture, uint8 or uint16 (H,W), as PNG."""
    codec = "png16" if pixels.dtype == np.uint16 else "png8"
    return CODECS[codec].encode(pixels)


@dataclass(frozen=True)
class Sample:
    """A sample on its way into an export.

    Attributes:
        key: Its index with leading zeros, as wide for all samples of the dataset.
        record: The record.
        row: Its row of the `SampleTable`.
        foregrounds: Names of its objects, the one in front last; empty where they are not known.
        pictures: Encoded fields.
    """

    key: str
    record: Record
    row: Row
    foregrounds: list[str]
    pictures: dict[str, bytes] = field(repr=False)


class SampleReader:
    """Reads samples as encoded pictures. It can be pickled.

    Args:
        dataset: The dataset.
        fields: Fields to encode: of `background`, `composite`, `mask`, `depth`, `instances`. Those
            that the dataset does not have are left out.
    """

    def __init__(self, dataset: Dataset, fields: Collection[str]) -> None:
        self.dataset = dataset
        self.fields = [name for name in dataset.manifest.fields if name in fields]
        self._digits = max(KEY_DIGITS, len(str(max(0, len(dataset) - 1))))
        self._backgrounds: dict[int, bytes] = {}

    @cached_property
    def _table(self) -> SampleTable:
        return SampleTable(self.dataset)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_table"}

    def samples(self, indices: np.ndarray) -> Iterator[Sample]:
        """The samples of some indices, in their order.

        Raises:
            DatasetError: A sample is missing, or damaged.
        """
        for start in range(0, len(indices), RECORDS_AT_ONCE):
            part = indices[start : start + RECORDS_AT_ONCE].tolist()
            for index, record in zip(part, self.dataset.records(part), strict=True):
                yield Sample(
                    key=f"{index:0{self._digits}d}",
                    record=record,
                    row=self._table.row(index, record),
                    foregrounds=self._table.foregrounds(record),
                    pictures=self._pictures(record),
                )

    def _pictures(self, record: Record) -> dict[str, bytes]:
        composited = self.dataset.composited(record, self.fields)
        pictures = {}
        for name in self.fields:
            if name in OPTIONAL and name not in {*record.fields, *composited}:
                continue
            if name != "background":
                pictures[name] = as_picture(self.dataset, record, name, composited.get(name))
            elif record.background is not None:
                pictures[name] = self._background(record.background)
        return pictures

    def _background(self, number: int) -> bytes:
        if number not in self._backgrounds:
            if len(self._backgrounds) >= BACKGROUNDS_KEPT:
                self._backgrounds.pop(next(iter(self._backgrounds)))
            self._backgrounds[number] = self.dataset.stored_asset("backgrounds", number).image
        return self._backgrounds[number]


def decoded(sample: Sample, name: str) -> np.ndarray:
    """The pixels of an encoded field: composite, mask, depth or instances.

    Raises:
        DatasetError: It cannot be decoded.
    """
    try:
        return CODECS[DECODED_WITH[name]].decode(sample.pictures[name])
    except DatasetError as error:
        raise DatasetError(f"sample {sample.row['index']}, {name}: {error}") from None


def object_masks(sample: Sample, *, least: int) -> list[tuple[str, np.ndarray]]:
    """The name and the visible pixels of each object of a sample that has a mask.

    Args:
        sample: The sample, with its mask.
        least: Mask values from here on belong to an object.

    Returns:
        (name, uint8 (H,W) of 0 and 1); the name is empty where it is not known. Objects without
        a visible pixel are left out.
    """
    covered = (decoded(sample, "mask") >= least).astype(np.uint8)
    names = sample.foregrounds
    if "instances" in sample.pictures and len(names) > 1:
        instances = decoded(sample, "instances")
        found = [
            (name, covered * (instances == number)) for number, name in enumerate(names, start=1)
        ]
    else:
        found = [(names[0] if len(names) == 1 else "", covered)]
    return [(name, visible) for name, visible in found if visible.any()]


# ---- work in packs -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Pack:
    """Consecutive samples of a split.

    Attributes:
        split: `train`, `val` or `test`.
        number: Number of the pack in its split.
        packs: How many the split has.
        indices: Indices of the samples, int64 (n,), ascending.
    """

    split: str
    number: int
    packs: int
    indices: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be exported, and how.

    Attributes:
        dataset: The dataset.
        output: The folder to write.
        split: The only split to write, or None.
        shard_size: Samples of a shard, in formats that have shards.
        jobs: Processes.
        progress: Called with (samples done, samples in all).
    """

    dataset: Dataset
    output: Path
    split: str | None
    shard_size: int
    jobs: int
    progress: Callable[[int, int], None]

    @property
    def splits(self) -> dict[str, np.ndarray]:
        """The indices of each split that is written and has samples.

        Raises:
            DatasetError: There is no sample.
        """
        indices_of(self.dataset, self.split)
        names = [self.split] if self.split else list(SPLITS)
        found = {name: self.dataset.indices(name) for name in names}
        return {name: indices for name, indices in found.items() if len(indices)}

    def packs(self, size: int) -> list[Pack]:
        """All samples in packs of at most `size`."""
        packs = []
        for name, indices in self.splits.items():
            starts = range(0, len(indices), size)
            packs += [
                Pack(name, number, len(starts), indices[start : start + size])
                for number, start in enumerate(starts)
            ]
        return packs

    def run(self, work: Callable[[Pack], None], packs: list[Pack]) -> None:
        """Has packs written, in several processes where there are several packs."""
        total = sum(len(pack.indices) for pack in packs)
        done = 0
        self.progress(done, total)
        for pack, _ in zip(packs, in_jobs(work, packs, jobs=self.jobs), strict=True):
            done += len(pack.indices)
            self.progress(done, total)
