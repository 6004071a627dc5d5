"""Existing image files, and colour + depth pairs, become datasets."""

from dsetkit.importing.images import import_images
from dsetkit.importing.rgbd import import_rgbd
from dsetkit.importing.settings import (
    DepthMeaning,
    DepthUnits,
    FileNaming,
    PairNaming,
    PairSplit,
    Pasting,
    SplitRule,
)
from dsetkit.importing.sources import PICTURE_SUFFIXES, natural, table_text, walk
from dsetkit.importing.tables import csv_rows

__all__ = [
    "PICTURE_SUFFIXES",
    "DepthMeaning",
    "DepthUnits",
    "FileNaming",
    "PairNaming",
    "PairSplit",
    "Pasting",
    "SplitRule",
    "csv_rows",
    "import_images",
    "import_rgbd",
    "natural",
    "table_text",
    "walk",
]
