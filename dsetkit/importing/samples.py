"""Reads image files sample by sample: first to check every one of them, later to store them.

A sample is bad if one of its files cannot be read or decoded, shows no mask, is no grey where grey
is expected, or has another size than the others.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import cv2
import numpy as np
import xxhash

from dsetkit.assets import Asset, BadFile
from dsetkit.errors import AssetError
from dsetkit.importing.conventions import Planned
from dsetkit.importing.decoding import DepthScale, composite_facts, decode_background, decode_mask
from dsetkit.importing.sources import File, natural
from dsetkit.store import CODECS, DEFAULT_CODECS, Record

AHEAD = 256  # samples that threads may be ahead of the one that is asked for
FOREIGN_LEVELS = 25  # mean difference to its background, of a composite made on another one

Item, Result = TypeVar("Item"), TypeVar("Result")
Size = tuple[int, int]  # height, width [px]


@dataclass(frozen=True, slots=True)
class Checked:
    """A sample whose files can be used.

    Attributes:
        index: Place in the plan.
        size: Of the composite.
        depth_size: None without depth.
        composite_format: `PNG` or `JPEG`.
        digest: Hash over the bytes of its files.
    """

    index: int
    planned: Planned
    size: Size
    depth_size: Size | None
    composite_format: str
    digest: bytes


class SampleReader:
    """Turns the files of a sample into fields.

    Args:
        scale: What depth pictures mean; None without depth.
        mask_threshold: See `decode_mask`.
    """

    def __init__(self, scale: DepthScale | None, mask_threshold: int | None) -> None:
        self._scale = scale
        self._decoders: dict[str, Callable[[bytes], np.ndarray]] = {
            "mask": partial(decode_mask, threshold=mask_threshold)
        }
        if scale:
            self._decoders["depth"] = scale.stored

    def check(self, index: int, planned: Planned) -> Checked | list[BadFile]:
        """Decodes all files of a sample; gives what is wrong with them, if anything is."""
        bad: list[BadFile] = []
        sizes: dict[str, Size] = {}
        composite_format, digest = "", xxhash.xxh3_64()
        for name in (name for name in planned.files if name != "background"):
            try:
                encoded = planned.files[name].read()
                digest.update(encoded)
                if name == "composite":
                    sizes[name], composite_format = composite_facts(encoded)
                else:
                    sizes[name] = self._decoders[name](encoded).shape
            except AssetError as error:
                bad.append(BadFile(planned.place(name), str(error)))
        if not bad and sizes.get("mask", sizes["composite"]) != sizes["composite"]:
            text = (
                f"{_px(sizes['mask'])}, its composite {_px(sizes['composite'])}: expected one size"
            )
            bad.append(BadFile(planned.place("mask"), text))
        if bad:
            return bad
        return Checked(
            index,
            planned,
            sizes["composite"],
            sizes.get("depth"),
            composite_format,
            digest.digest(),
        )

    def record(self, checked: Checked, *, background_ids: Mapping[File, int]) -> Record:
        """A sample as the dataset keeps it.

        Raises:
            AssetError: A file has gone bad since it was checked.
        """
        planned, fields = checked.planned, {}
        recipe = {"index": checked.index, "name": planned.name}
        for name in (name for name in planned.files if name != "background"):
            try:
                encoded = planned.files[name].read()
                image = self._decoders[name](encoded) if name in self._decoders else None
            except AssetError as error:
                raise AssetError(f"{planned.place(name)}: {error}") from None
            if image is not None:
                encoded = CODECS[DEFAULT_CODECS[name]].encode(image)
            if name == "mask":
                recipe["box"] = list(cv2.boundingRect(image))
            fields[name] = encoded
        told = {"foreground": planned.foreground, "flip": planned.flip}
        recipe |= {name: value for name, value in told.items() if value is not None}
        background = planned.files.get("background")
        number = None if background is None else background_ids[background]
        return Record(background=number, foreground=None, recipe=recipe, fields=fields)


def check_samples(
    samples: Sequence[Planned],
    reader: SampleReader,
    pool: Executor,
    progress: Callable[[int], None],
) -> tuple[list[Checked], list[BadFile]]:
    """Decodes all files of all samples: those that can be used, and why others cannot.

    `progress` is called with the number of samples done.
    """
    good: list[Checked] = []
    bad: list[BadFile] = []
    outcomes = in_order(pool, lambda numbered: reader.check(*numbered), enumerate(samples))
    for done, outcome in enumerate(outcomes, start=1):
        if isinstance(outcome, Checked):
            good.append(outcome)
        else:
            bad += outcome
        progress(done)
    good = _of_one_size(good, bad, "composite", lambda one: one.size)
    return _of_one_size(good, bad, "depth", lambda one: one.depth_size), bad


def _of_one_size(
    samples: list[Checked], bad: list[BadFile], name: str, size_of: Callable[[Checked], Size | None]
) -> list[Checked]:
    """Those of the size that most have; the others go to `bad`."""
    if not samples:
        return []
    most = Counter(map(size_of, samples)).most_common(1)[0][0]
    for one in (one for one in samples if size_of(one) != most):
        text = f"{_px(size_of(one))}, most are {_px(most)}: expected one size in one import"
        bad.append(BadFile(one.planned.place(name), text))
    return [one for one in samples if size_of(one) == most]


# ---- backgrounds -------------------------------------------------------------------------------


def load_backgrounds(
    samples: Sequence[Checked], size: Size, pool: Executor
) -> tuple[dict[File, np.ndarray], list[BadFile]]:
    """Pixels of the backgrounds that samples have, in order of names, and those that are bad.

    Returns:
        uint8 (height,width,3) RGB of each, and the unusable files.
    """
    used = {one.planned.files["background"] for one in samples if "background" in one.planned.files}
    ordered = sorted(used, key=lambda file: (natural(file.name), natural(file.path)))

    def read(file: File) -> np.ndarray | str:
        try:
            return decode_background(file.read(), size=size)
        except AssetError as error:
            return str(error)

    outcomes = dict(zip(ordered, in_order(pool, read, ordered), strict=True))
    bad = [BadFile(file.path, text) for file, text in outcomes.items() if isinstance(text, str)]
    return {file: one for file, one in outcomes.items() if not isinstance(one, str)}, bad


def foreign_composites(samples: Sequence[Checked], pixels: Mapping[File, np.ndarray]) -> list[str]:
    """Composites that do not show their background: one is looked at for each background.

    A list in the wrong order, or a background too many in it, gives every sample a wrong one
    without any file being bad.
    """
    first = {}
    for one in samples:
        first.setdefault(one.planned.files.get("background"), one.planned)
    return [
        planned.place("composite")
        for background, planned in first.items()
        if background in pixels and "mask" in planned.files
        if _difference(planned, pixels[background]) > FOREIGN_LEVELS
    ]


def _difference(planned: Planned, background: np.ndarray) -> float:
    """Mean difference of composite and background outside the mask [grey levels]."""
    composite = decode_background(planned.files["composite"].read(), size=background.shape[:2])
    outside = decode_mask(planned.files["mask"].read(), threshold=None) < 16
    return float(cv2.absdiff(composite, background)[outside].mean()) if outside.any() else 0.0


def name_backgrounds(files: Iterable[File]) -> list[str]:
    """File names without suffix; with their folders, or a number, where these are not unique."""
    files = list(files)
    names = [file.stem for file in files]
    if len(set(names)) < len(names):
        names = ["/".join((*file.parts[1:-1], file.stem)) for file in files]
    if len(set(names)) < len(names):
        names = [f"{number}-{file.stem}" for number, file in enumerate(files)]
    return names


def as_assets(
    pixels: Mapping[File, np.ndarray], names: Sequence[str], splits: Sequence[str]
) -> list[Asset]:
    """Backgrounds as the dataset's assets, in the order they come in."""
    rows = zip(names, splits, pixels.values(), strict=True)
    return [Asset(number, *row) for number, row in enumerate(rows)]


# ---- threads -----------------------------------------------------------------------------------


def in_order(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """Results in the order of the items, a bounded number of them made ahead."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _px(size: Size) -> str:
    return f"{size[1]} x {size[0]} px"
