"""Pictures and masks in two columns of a dataset of Hugging Face: a folder, or a name on the Hub.

A folder holds what `save_to_disk` wrote, or files that `load_dataset` reads, such as parquet. The
pictures are decoded here, not by `datasets`, with the same limits as files.
"""

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from dsetkit.assets import Picture, decode_picture, read_file
from dsetkit.cutting.sources import (
    Found,
    MaskOf,
    Shot,
    file_name,
    mask_values,
    turned_with,
)
from dsetkit.errors import AssetError, one_line, printable
from dsetkit.extras import extra_module

NAME_ON_THE_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?")
SAVED_TO_DISK = ("dataset_dict.json", "state.json")  # files of `save_to_disk`


@dataclass(frozen=True)
class Row:
    """A row of a dataset.

    Attributes:
        place: The dataset, as of `cut_outs`.
        split: Its split.
        number: The row, from 0.
    """

    place: Path
    split: str
    number: int


@dataclass(frozen=True)
class HuggingFaceMasks:
    """A dataset with a column of pictures and one of masks.

    Attributes:
        image_column: The pictures.
        mask_column: Their masks, grey, 255 (or 1) = foreground.
        split: Only this split; None takes all.
    """

    image_column: str = "image"
    mask_column: str = "mask"
    split: str | None = None
    runs_alone = False
    folders = ()

    def describe(self) -> dict[str, object]:
        return {"columns": [self.image_column, self.mask_column], "split": self.split}

    def find(self, images: Path) -> Found:
        splits = _opened(images)
        shown = printable(images)
        if self.split is not None and self.split not in splits:
            raise AssetError(
                f"{shown} has no split {printable(self.split)}: it has {_listed(splits)}"
            )
        shots = []
        for split in [self.split] if self.split else list(splits):
            for column in (self.image_column, self.mask_column):
                _check_column(splits[split], column, shown)
            for number in range(len(splits[split])):
                name = file_name(f"{split}-{number:06d}")
                path = images / split / str(number)
                shots.append(Shot(path, (MaskOf(name, Row(images, split, number)),)))
        return Found(shots, [])

    def read(self, shot: Shot) -> Picture:
        return _picture(shot.masks[0], self.image_column)

    def decode(self, picture: Picture, colours: np.ndarray, mask: MaskOf) -> np.ndarray:
        try:
            values = _picture(mask, self.mask_column).upright("L")
        except AssetError as error:
            raise AssetError(f"its mask: {error}") from None
        return turned_with(picture, mask_values(values))


@lru_cache(maxsize=1)
def _opened(place: Path) -> dict[str, Any]:
    """The splits of a dataset.

    Raises:
        AssetError: It cannot be opened, or has no rows.
        DsetkitError: `datasets` is not installed.
    """
    # A missing folder is no name to ask the Hub for.
    is_name = NAME_ON_THE_HUB.fullmatch(str(place)) is not None
    if not place.is_dir() and (place.exists() or not is_name):
        raise AssetError(f"{printable(place)}: expected a folder, or a name on the Hub")
    datasets = extra_module("datasets", extra="hub", purpose="cut-outs --hf")
    datasets.disable_progress_bars()
    is_saved = any((place / name).is_file() for name in SAVED_TO_DISK)
    try:
        found = (datasets.load_from_disk if is_saved else datasets.load_dataset)(str(place))
    except Exception as error:  # its errors share no parent but Exception
        raise AssetError(
            f"{printable(place)} cannot be opened by `datasets`: {one_line(error)[:300]}"
        ) from None
    splits = dict(found) if isinstance(found, dict) else {str(found.split or "rows"): found}
    if not any(len(rows) for rows in splits.values()):
        raise AssetError(f"{printable(place)} has no rows")
    return splits


def _check_column(rows: Any, column: str, shown: str) -> None:
    """Raises AssetError unless a column holds pictures."""
    if column not in rows.features:
        raise AssetError(
            f"{shown} has no column {printable(column)}: it has {_listed(rows.features)}; "
            "--image-column and --mask-column name the pictures and their masks"
        )
    kind = type(rows.features[column]).__name__
    if kind != "Image":
        raise AssetError(f"{shown}: column {printable(column)} holds {kind}: expected Image")


def _listed(names: Any) -> str:
    return printable(", ".join(names)[:300])


def _picture(mask: MaskOf, column: str) -> Picture:
    """The picture in a column of the row that a mask belongs to.

    Raises:
        AssetError: It cannot be used; the message is the reason alone.
    """
    assert isinstance(mask.stored, Row)
    cell = _column(mask.stored.place, mask.stored.split, column)[mask.stored.number][column]
    if not cell:
        raise AssetError(f"no picture in column {printable(column)}")
    if cell["bytes"] is not None:
        return decode_picture(cell["bytes"])
    return decode_picture(read_file(Path(os.fspath(cell["path"]))))


@lru_cache(maxsize=8)
def _column(place: Path, split: str, column: str) -> Any:
    """A column of pictures, as bytes or paths of files."""
    datasets = extra_module("datasets", extra="hub", purpose="cut-outs --hf")
    rows = _opened(place)[split].select_columns([column])
    return rows.cast_column(column, datasets.Image(decode=False))
