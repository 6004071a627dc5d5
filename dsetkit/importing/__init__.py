"""Existing image files, and colour + depth pairs, become datasets."""

from dsetkit.importing.background_depth import MeasuredBackgrounds
from dsetkit.importing.images import import_images
from dsetkit.importing.numbering import backgrounds_by_names
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
from dsetkit.importing.sources import natural, pictures_below, table_text
from dsetkit.importing.tables import csv_rows

__all__ = [
    "DepthMeaning",
    "DepthUnits",
    "FileNaming",
    "MeasuredBackgrounds",
    "PairNaming",
    "PairSplit",
    "Pasting",
    "SplitRule",
    "backgrounds_by_names",
    "csv_rows",
    "import_images",
    "import_rgbd",
    "natural",
    "pictures_below",
    "table_text",
]
