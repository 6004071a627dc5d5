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

__all__ = [
    "DepthMeaning",
    "DepthUnits",
    "FileNaming",
    "PairNaming",
    "PairSplit",
    "Pasting",
    "SplitRule",
    "import_images",
    "import_rgbd",
]
