"""Masks as pictures in a folder: the mask of a picture has its name, in any case and suffix."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dsetkit.assets import Picture
from dsetkit.cutting.sources import (
    Found,
    MaskOf,
    ReadsFiles,
    Shot,
    by_stem,
    flat_name,
    mask_values,
    read_picture,
    stem_of,
    turned_with,
)
from dsetkit.errors import AssetError, printable
from dsetkit.importing import pictures_below


@dataclass(frozen=True)
class MaskFolder(ReadsFiles):
    """A folder of grey pictures, 255 = foreground; pictures of 0 and 1 alone count as 0 and 255.

    Attributes:
        folder: The folder; sub-folders count as in the folder of pictures.
    """

    folder: Path
    runs_alone = False

    @property
    def folders(self) -> tuple[Path, ...]:
        return (self.folder,)

    def describe(self) -> dict[str, object]:
        return {"masks": str(self.folder.absolute())}

    def find(self, images: Path) -> Found:
        pictures = by_stem(pictures_below(images), images)
        masks = by_stem(pictures_below(self.folder), self.folder)
        shots, bad = [], []
        for stem, name in pictures.items():
            if stem not in masks:
                expected = printable(self.folder / f"{stem_of(name)}.png")
                bad.append(f"{printable(images / name)}: it has no mask: expected {expected}")
                continue
            mask = MaskOf(flat_name(stem_of(name)), self.folder / masks[stem])
            shots.append(Shot(images / name, (mask,)))
        return Found(shots, bad)

    def decode(self, picture: Picture, colours: np.ndarray, mask: MaskOf) -> np.ndarray:
        assert isinstance(mask.stored, Path)
        try:
            values = read_picture(mask.stored).upright("L")
        except AssetError as error:
            raise AssetError(f"its mask {printable(mask.stored)}: {error}") from None
        return turned_with(picture, mask_values(values))
