"""Backgrounds of imported samples: pixels, names, and a check that they match the composites."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

import cv2
import numpy as np

from dsetkit.assets import Asset, BadFile
from dsetkit.errors import AssetError
from dsetkit.importing.decoding import decode_background, decode_mask
from dsetkit.importing.plan import PlannedSample
from dsetkit.importing.samples import AHEAD, CheckedSample, Size
from dsetkit.importing.sources import File, natural
from dsetkit.processes import in_order

# Mean difference [grey levels] between composite and background, outside the mask, from which on
# the composite was probably made on another background.
MISMATCH_LEVELS = 25
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
    used = {
        sample.planned.files["background"]
        for sample in samples
        if "background" in sample.planned.files
    }
    ordered = sorted(used, key=lambda file: (natural(file.name), natural(file.path)))

    def read(file: File) -> np.ndarray | str:
        try:
            return decode_background(file.read(), size=size)
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
    first: dict[File, PlannedSample] = {}
    for sample in samples:
        files = sample.planned.files
        if "background" in files and "mask" in files:
            first.setdefault(files["background"], sample.planned)
    mismatches = [
        planned.label("composite")
        for background, planned in first.items()
        if background in backgrounds
        and _difference(planned, backgrounds[background]) > MISMATCH_LEVELS
    ]
    if mismatches:
        log.warning(
            "%s of %s backgrounds do not look like their composites outside the mask, for example "
            "in %s: is a background missing, or is there one too many?",
            len(mismatches),
            len(backgrounds),
            mismatches[0],
        )


def _difference(planned: PlannedSample, background: np.ndarray) -> float:
    """Mean difference of composite and background outside the mask [grey levels]."""
    height, width = background.shape[:2]
    composite = decode_background(planned.files["composite"].read(), size=(height, width))
    outside = decode_mask(planned.files["mask"].read(), threshold=None) < OUTSIDE_ALPHA
    return float(cv2.absdiff(composite, background)[outside].mean()) if outside.any() else 0.0


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
