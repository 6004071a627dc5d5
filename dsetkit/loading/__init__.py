"""Samples as tensors and batches to train on: SampleDataset, make_loader, caches.

Names are loaded when they are asked for: making a cache needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsetkit.loading.loader import make_loader
    from dsetkit.loading.plane_cache import cache_path, open_cache
    from dsetkit.loading.samples import SampleDataset

_MODULES = {
    "SampleDataset": "samples",
    "cache_path": "plane_cache",
    "make_loader": "loader",
    "open_cache": "plane_cache",
}

__all__ = ["SampleDataset", "cache_path", "make_loader", "open_cache"]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(f"dsetkit.loading.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'dsetkit.loading' has no attribute {name!r}")
