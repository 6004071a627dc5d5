"""Pictures and RGB-D of others to datasets."""

from dsetkit.importing.images import import_images
from dsetkit.importing.rgbd import import_rgbd

__all__ = [
    "import_images",
    "import_rgbd",
]
