"""Reads the files of a planned sample: first to check them, later to store them.

A sample is bad if one of its files cannot be read or decoded, its mask shows no foreground, its
mask or depth is not grey, its size differs from that of the other samples, or it cannot be told
which way up its mask or depth belongs (see `turning`).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import cv2
import numpy as np
import xxhash

from dsetkit.assets import BadFile
from dsetkit.errors import AssetError
from dsetkit.importing.decoding import DepthScale, Label, decode_composite, decode_mask
from dsetkit.importing.plan import PlannedSample
from dsetkit.importing.sources import File
from dsetkit.importing.turning import Size, fitted, in_px
from dsetkit.processes import in_order
from dsetkit.store import CODECS, DEFAULT_CODECS, PlacedObject, Record

AHEAD = 256  # samples that threads may work ahead

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class CheckedSample:
    """A sample whose files can be used.

    Attributes:
        index: Its number in the plan.
        planned: Its files.
        size: Height and width of the composite, upright [px].
        depth_size: Height and width of the depth, upright [px]; None without depth.
        codec: Name of the codec that encodes such composites as this one is stored.
        orientation: EXIF orientation of the composite, 1 to 8.
        composite_is_kept: Whether the composite is stored as its file's bytes.
        digest: Hash of the bytes of all its files but the background.
    """

    index: int
    planned: PlannedSample
    size: Size
    depth_size: Size | None
    codec: str
    orientation: int
    composite_is_kept: bool
    digest: bytes


class SampleReader:
    """Turns the files of a sample into fields; threads may share it.

    Args:
        scale: What depth pictures mean; None without depth.
        mask_threshold: See `decode_mask`.
    """

    def __init__(self, scale: DepthScale | None, mask_threshold: int | None) -> None:
        self._decoders: dict[str, Callable[[bytes], Label]] = {
            "mask": partial(decode_mask, threshold=mask_threshold)
        }
        if scale:
            self._decoders["depth"] = scale.stored

    def check(self, index: int, planned: PlannedSample) -> CheckedSample | list[BadFile]:
        """Decodes all files of a sample; returns the bad ones if there are any."""
        bad: list[BadFile] = []
        digest = xxhash.xxh3_64()

        def attempt(name: str, read: Callable[[bytes], Result]) -> Result | None:
            try:
                encoded = planned.files[name].read()
                digest.update(encoded)
                return read(encoded)
            except AssetError as error:
                bad.append(BadFile(planned.label(name), str(error)))
                return None

        composite = attempt("composite", decode_composite)
        sizes: dict[str, Size] = {}
        for name in _stored_fields(planned):
            if name == "composite":
                continue
            if composite is None:
                attempt(name, self._decoders[name])
                continue
            read = partial(self.label, name, size=composite.size, orientation=composite.orientation)
            pixels = attempt(name, read)
            if pixels is not None:
                height, width = pixels.shape
                sizes[name] = (height, width)
        if bad or composite is None:
            return bad
        if sizes.get("mask", composite.size) != composite.size:
            reason = (
                f"{in_px(sizes['mask'])}, but its composite is {in_px(composite.size)}: "
                "expected the same size"
            )
            return [BadFile(planned.label("mask"), reason)]
        return CheckedSample(
            index,
            planned,
            composite.size,
            sizes.get("depth"),
            composite.codec,
            composite.orientation,
            composite.is_file,
            digest.digest(),
        )

    def label(self, name: str, encoded: bytes, *, size: Size, orientation: int) -> np.ndarray:
        """Decodes the mask or the depth of a sample, the same way up as its composite.

        Args:
            name: `mask` or `depth`.
            encoded: The file's bytes.
            size: Height and width of the upright composite [px].
            orientation: EXIF orientation of the composite.

        Returns:
            Mask uint8 (H,W), or depth uint16 (h,w) as the dataset stores it.

        Raises:
            AssetError: It cannot be used.
        """
        label = self._decoders[name](encoded)
        return fitted(
            label.pixels,
            label.orientation,
            composite=orientation,
            size=size,
            may_be_scaled=name == "depth",
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
                if name == "composite":
                    if not sample.composite_is_kept:
                        encoded = decode_composite(encoded).encoded
                    fields[name] = encoded
                    continue
                image = self.label(name, encoded, size=sample.size, orientation=sample.orientation)
            except AssetError as error:
                raise AssetError(f"{planned.label(name)}: {error}") from None
            fields[name] = CODECS[DEFAULT_CODECS[name]].encode(image)
            if name == "mask":
                x, y, width, height = cv2.boundingRect(image)
                box = (x, y, width, height)
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
                f"{in_px(size_of(sample))}, but most are {in_px(most_common)}: expected one size "
                "in an import"
            )
            bad.append(BadFile(sample.planned.label(name), reason))
    return [sample for sample in samples if size_of(sample) == most_common]
