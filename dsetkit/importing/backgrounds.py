"""Backgrounds of imported samples: pixels, names, and a check that they match the composites."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

import cv2
import numpy as np

from dsetkit.assets import Asset, BadFile, Picture, decode_picture
from dsetkit.errors import AssetError
from dsetkit.importing.decoding import decode_mask, stretched
from dsetkit.importing.samples import AHEAD, CheckedSample
from dsetkit.importing.sources import File, natural
from dsetkit.importing.turning import Size, fitted
from dsetkit.numbers import evenly_spread
from dsetkit.processes import in_order

# Mean difference [grey levels] between composite and background, outside the mask, from which on
# the composite was probably made on another background.
MISMATCH_LEVELS = 25
MOST_COMPARED = 16  # composites of a background that are asked which way up it is
OUTSIDE_ALPHA = 16  # pixels of a smaller alpha are outside the mask

log = logging.getLogger(__name__)


def load_backgrounds(
    samples: Sequence[CheckedSample], size: Size, pool: Executor
) -> tuple[dict[File, np.ndarray], list[BadFile]]:
    """Reads the backgrounds that samples use.

    Args:
        samples: The samples.
        size: Height and width to stretch backgrounds to [px].
        pool: Threads that read files.

    Returns:
        uint8 (height,width,3) RGB of each background, in the order of their names, and the files
        that cannot be used.
    """
    users: dict[File, list[CheckedSample]] = defaultdict(list)
    for sample in samples:
        if "background" in sample.planned.files:
            users[sample.planned.files["background"]].append(sample)
    ordered = sorted(users, key=lambda file: (natural(file.name), natural(file.path)))

    def read(file: File) -> np.ndarray | str:
        try:
            picture = decode_picture(file.read())
            return stretched(picture, _orientation(picture, users[file], size), size)
        except AssetError as error:
            return str(error)

    pixels: dict[File, np.ndarray] = {}
    bad: list[BadFile] = []
    for file, outcome in zip(ordered, in_order(pool, read, ordered, ahead=AHEAD), strict=True):
        if isinstance(outcome, str):
            bad.append(BadFile(file.path, outcome))
        else:
            pixels[file] = outcome
    return pixels, bad


def _orientation(picture: Picture, users: Sequence[CheckedSample], size: Size) -> int:
    """Which way up a background is in its composites: see `turning`.

    Args:
        picture: The background.
        users: The samples that use it.
        size: Height and width of the composites [px].

    Raises:
        AssetError: Two composites show it in two ways.
    """
    own = picture.orientation
    ways: dict[int, CheckedSample] = {}  # orientation of the background -> who shows it so
    for number in evenly_spread(len(users), MOST_COMPARED):
        sample = users[number]
        way = own
        if sample.orientation != own:
            by_itself, with_composite = (
                _difference(sample, stretched(picture, one, size))
                for one in (own, sample.orientation)
            )
            way = own if by_itself <= with_composite else sample.orientation
            if by_itself == with_composite:  # it looks the same either way
                continue
        ways.setdefault(way, sample)
    if len(ways) > 1:
        one, other = (sample.planned.label("composite") for sample in list(ways.values())[:2])
        raise AssetError(
            f"it has EXIF orientation {own}, and is not the same way up in {one} and {other}: turn "
            "the pixels of all pictures (mogrify -auto-orient), or remove the orientation from all "
            "(exiftool -Orientation=)"
        )
    return next(iter(ways), own)


def warn_of_mismatches(
    samples: Sequence[CheckedSample], backgrounds: Mapping[File, np.ndarray]
) -> None:
    """Warns if composites do not show their backgrounds; looks at one composite of each.

    If a list of backgrounds is in the wrong order or has one too many, every sample gets a wrong
    background, though no single file is bad.

    Args:
        samples: The samples.
        backgrounds: uint8 (height,width,3) RGB of each background.
    """
    first: dict[File, CheckedSample] = {}
    for sample in samples:
        files = sample.planned.files
        if "background" in files and "mask" in files:
            first.setdefault(files["background"], sample)
    mismatches = [
        sample.planned.label("composite")
        for background, sample in first.items()
        if background in backgrounds
        and _difference(sample, backgrounds[background]) > MISMATCH_LEVELS
    ]
    if mismatches:
        log.warning(
            "%s of %s backgrounds do not look like their composites outside the mask, for example "
            "in %s: is a background missing, or is there one too many?",
            len(mismatches),
            len(backgrounds),
            mismatches[0],
        )


def _difference(sample: CheckedSample, background: np.ndarray) -> float:
    """Mean difference of composite and background outside the mask, if any [grey levels]."""
    files = sample.planned.files
    picture = decode_picture(files["composite"].read())
    composite = stretched(picture, picture.orientation, sample.size)
    difference = cv2.absdiff(composite, background)
    if "mask" in files:
        mask = decode_mask(files["mask"].read(), threshold=None)
        upright = fitted(
            mask.pixels, mask.orientation, composite=sample.orientation, size=sample.size
        )
        difference = difference[upright < OUTSIDE_ALPHA]
    return float(difference.mean()) if difference.size else 0.0


def background_names(files: Sequence[File]) -> list[str]:
    """Unique names: file names without suffix, if need be with folders or with a number."""
    names = [file.stem for file in files]
    if len(set(names)) < len(names):
        names = ["/".join((*file.parts[1:-1], file.stem)) for file in files]
    if len(set(names)) < len(names):
        names = [f"{number}-{file.stem}" for number, file in enumerate(files)]
    return names


def as_assets(
    backgrounds: Mapping[File, np.ndarray], names: Sequence[str], splits: Sequence[str]
) -> list[Asset]:
    """Backgrounds as the dataset's assets, in the same order."""
    rows = zip(names, splits, backgrounds.values(), strict=True)
    return [Asset(number, name, split, pixels) for number, (name, split, pixels) in enumerate(rows)]
