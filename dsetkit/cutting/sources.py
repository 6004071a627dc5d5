"""What a source of masks gives: pictures, and the masks of each.

A mask belongs to the pixels as they are stored in the file, or to the picture that is turned
upright as its EXIF data says. Its size tells which; where both have that size, the stored pixels.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from dsetkit.assets import Picture, decode_picture, read_file, turn, turned_size
from dsetkit.errors import AssetError, printable

NO_NAME = re.compile(r"[^\w.+-]+")  # characters that do not go into file names


@dataclass(frozen=True)
class MaskOf:
    """A mask that is not decoded yet.

    Attributes:
        name: File name of the cut-out, without suffix.
        stored: What its source needs to decode it: a file, a segmentation, or None.
    """

    name: str
    stored: object = field(default=None, repr=False)


@dataclass(frozen=True)
class Shot:
    """A picture with its masks.

    Attributes:
        path: The picture: a file, or what messages call it.
        masks: Its masks.
    """

    path: Path
    masks: tuple[MaskOf, ...]


@dataclass(frozen=True)
class Found:
    """What there is to cut out.

    Attributes:
        shots: The pictures.
        bad: Reasons, with the file, for what should be there and is not.
        crowds: Masks of crowds, which are left out.
    """

    shots: list[Shot]
    bad: list[str]
    crowds: int = 0


class MaskSource(Protocol):
    """Where masks come from. It can be pickled.

    Attributes:
        runs_alone: Whether it takes all cores itself.
        folders: Folders that it reads all pictures of.
    """

    runs_alone: bool

    @property
    def folders(self) -> tuple[Path, ...]: ...

    def describe(self) -> dict[str, object]:
        """Settings that decide the cut-outs, as JSON values."""

    def find(self, images: Path) -> Found:
        """The pictures in a place, as of `cut_outs`, and their masks.

        Raises:
            DsetkitError: There are none, or the source cannot be used.
        """

    def read(self, shot: Shot) -> Picture:
        """Decodes the picture of a shot.

        Raises:
            AssetError: It cannot be used; the message is the reason alone.
        """

    def decode(self, picture: Picture, colours: np.ndarray, mask: MaskOf) -> np.ndarray:
        """A mask as uint8 (H,W), upright.

        Args:
            picture: The picture.
            colours: Its pixels, upright: uint8 (H,W,3) RGB.
            mask: Which of its masks.

        Raises:
            AssetError: The mask cannot be used; the message is the reason alone.
        """


class ReadsFiles:
    """What a source has in common whose pictures are files."""

    def read(self, shot: Shot) -> Picture:
        """See `MaskSource.read`."""
        return read_picture(shot.path)


def stem_of(name: str) -> str:
    """A relative path without its suffix."""
    return name.rpartition(".")[0]


def by_stem(names: list[str], folder: Path) -> dict[str, str]:
    """Relative paths by their stems in lower case.

    Raises:
        AssetError: Two files have the same stem.
    """
    found: dict[str, str] = {}
    for name in names:
        first = found.setdefault(stem_of(name).lower(), name)
        if first != name:
            raise AssetError(
                f"{printable(folder / first)} and {printable(folder / name)} have the same name "
                "but for suffix or case: leave one out"
            )
    return found


def flat_name(stem: str) -> str:
    """A file name of a relative path: `generate` reads one folder."""
    return stem.replace("/", "-")


def file_name(text: str) -> str:
    """A text from outside as a part of a file name."""
    return NO_NAME.sub("-", text) or "unnamed"


def mask_values(values: np.ndarray) -> np.ndarray:
    """A grey mask, uint8: one of 0 and 1 alone counts as one of 0 and 255."""
    return values * np.uint8(255) if values.max() == 1 else values


def read_picture(path: Path) -> Picture:
    """Decodes a picture.

    Raises:
        AssetError: It cannot be used; the message is the reason alone.
    """
    return decode_picture(read_file(path))


def turned_with(picture: Picture, mask: np.ndarray) -> np.ndarray:
    """The mask of a picture, upright: uint8 (H,W); see the top of this file.

    Raises:
        AssetError: Their sizes differ; the message is the reason alone.
    """
    if picture.size == mask.shape:
        return turn(mask, picture.orientation)
    if turned_size(picture.size, picture.orientation) == mask.shape:
        return mask
    (height, width), (mask_height, mask_width) = picture.size, mask.shape
    raise AssetError(
        f"{width} x {height} px, but its mask is {mask_width} x {mask_height} px: expected the "
        "same size"
    )


def unique(shots: list[Shot]) -> Iterator[Shot]:
    """The shots, after a look at the names of their cut-outs.

    Raises:
        AssetError: Two cut-outs would be the same file.
    """
    first: dict[str, Path] = {}
    for shot in shots:
        for mask in shot.masks:
            other = first.get(mask.name.lower())
            first[mask.name.lower()] = shot.path
            if other == shot.path:
                raise AssetError(
                    f"{printable(other)} has two masks for {printable(mask.name)}.png: expected "
                    "annotations with different ids"
                )
            if other is not None:
                raise AssetError(
                    f"{printable(other)} and {printable(shot.path)} would both become "
                    f"{printable(mask.name)}.png: rename one"
                )
        yield shot
