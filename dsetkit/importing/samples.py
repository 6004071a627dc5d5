"""Reads the files of a planned sample: first to check them, later to store them.

A sample is bad if one of its files cannot be read or decoded, its mask shows no foreground, its
mask or depth is not grey, or its size differs from that of the other samples.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import xxhash

from dsetkit.assets import BadFile
from dsetkit.errors import AssetError
from dsetkit.importing.decoding import DepthScale, composite_facts, decode_mask
from dsetkit.importing.plan import PlannedSample
from dsetkit.importing.sources import File
from dsetkit.processes import in_order
from dsetkit.store import CODECS, DEFAULT_CODECS, PlacedObject, Record

AHEAD = 256  # samples that threads may work ahead

Size = tuple[int, int]  # height, width [px]


@dataclass(frozen=True, slots=True)
class CheckedSample:
    """A sample whose files can be used.

    Attributes:
        index: Its number in the plan.
        planned: Its files.
        size: Height and width of the composite [px].
        depth_size: Height and width of the depth [px]; None without depth.
        composite_format: `PNG` or `JPEG`.
        digest: Hash of the bytes of all its files but the background.
    """

    index: int
    planned: PlannedSample
    size: Size
    depth_size: Size | None
    composite_format: str
    digest: bytes


class SampleReader:
    """Turns the files of a sample into fields; threads may share it.

    Args:
        scale: What depth pictures mean; None without depth.
        mask_threshold: See `decode_mask`.
    """

    def __init__(self, scale: DepthScale | None, mask_threshold: int | None) -> None:
        self._decoders: dict[str, Callable[[bytes], np.ndarray]] = {
            "mask": partial(decode_mask, threshold=mask_threshold)
        }
        if scale:
            self._decoders["depth"] = scale.stored

    def check(self, index: int, planned: PlannedSample) -> CheckedSample | list[BadFile]:
        """Decodes all files of a sample; returns the bad ones if there are any."""
        bad: list[BadFile] = []
        sizes: dict[str, Size] = {}
        composite_format, digest = "", xxhash.xxh3_64()
        for name in _stored_fields(planned):
            try:
                encoded = planned.files[name].read()
                digest.update(encoded)
                if name == "composite":
                    sizes[name], composite_format = composite_facts(encoded)
                else:
                    height, width = self._decoders[name](encoded).shape
                    sizes[name] = (height, width)
            except AssetError as error:
                bad.append(BadFile(planned.label(name), str(error)))
        if not bad and sizes.get("mask", sizes["composite"]) != sizes["composite"]:
            reason = (
                f"{_in_px(sizes['mask'])}, but its composite is {_in_px(sizes['composite'])}: "
                "expected the same size"
            )
            bad.append(BadFile(planned.label("mask"), reason))
        if bad:
            return bad
        return CheckedSample(
            index,
            planned,
            sizes["composite"],
            sizes.get("depth"),
            composite_format,
            digest.digest(),
        )

    def record(self, sample: CheckedSample, *, background_ids: Mapping[File, int]) -> Record:
        """A sample as the dataset stores it.

        Raises:
            AssetError: A file can no longer be used, though it could when it was checked.
        """
        planned = sample.planned
        fields: dict[str, bytes] = {}
        box: tuple[int, int, int, int] | None = None
        for name in _stored_fields(planned):
            try:
                encoded = planned.files[name].read()
                image = self._decoders[name](encoded) if name in self._decoders else None
            except AssetError as error:
                raise AssetError(f"{planned.label(name)}: {error}") from None
            if image is not None:
                encoded = CODECS[DEFAULT_CODECS[name]].encode(image)
                if name == "mask":
                    x, y, width, height = cv2.boundingRect(image)
                    box = (x, y, width, height)
            fields[name] = encoded
        placed = PlacedObject(name=planned.foreground or "", flip=planned.flip, box=box)
        background = planned.files.get("background")
        background_id = None if background is None else background_ids[background]
        return Record(
            background=background_id,
            objects=(placed,) if placed != PlacedObject() else (),
            fields=fields,
            index=sample.index,
            name=planned.name,
        )


def check_samples(
    samples: Sequence[PlannedSample],
    reader: SampleReader,
    pool: Executor,
    progress: Callable[[int], None],
) -> tuple[list[CheckedSample], list[BadFile]]:
    """Decodes all files of all samples.

    Args:
        samples: What to check.
        reader: Decodes the files.
        pool: Threads that check samples.
        progress: Called with the number of samples checked so far.

    Returns:
        The samples that can be used, and the files that cannot.
    """
    good: list[CheckedSample] = []
    bad: list[BadFile] = []

    def check(numbered: tuple[int, PlannedSample]) -> CheckedSample | list[BadFile]:
        return reader.check(*numbered)

    outcomes = in_order(pool, check, enumerate(samples), ahead=AHEAD)
    for done, outcome in enumerate(outcomes, start=1):
        if isinstance(outcome, CheckedSample):
            good.append(outcome)
        else:
            bad += outcome
        progress(done)
    good = _of_most_common_size(good, bad, "composite", lambda sample: sample.size)
    good = _of_most_common_size(good, bad, "depth", lambda sample: sample.depth_size)
    return good, bad


def _stored_fields(planned: PlannedSample) -> list[str]:
    """The fields that a record stores; backgrounds are assets of the dataset."""
    return [name for name in planned.files if name != "background"]


def _of_most_common_size(
    samples: list[CheckedSample],
    bad: list[BadFile],
    name: str,
    size_of: Callable[[CheckedSample], Size | None],
) -> list[CheckedSample]:
    """The samples of the most common size of a field; appends the others' files to `bad`."""
    if not samples:
        return []
    most_common = Counter(map(size_of, samples)).most_common(1)[0][0]
    for sample in samples:
        if size_of(sample) != most_common:
            reason = (
                f"{_in_px(size_of(sample))}, but most are {_in_px(most_common)}: expected one size "
                "in an import"
            )
            bad.append(BadFile(sample.planned.label(name), reason))
    return [sample for sample in samples if size_of(sample) == most_common]


def _in_px(size: Size | None) -> str:
    return f"{size[1]} x {size[0]} px" if size else "missing"
