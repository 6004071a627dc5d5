"""dsetkit: foreground cut-outs over backgrounds, with masks and depth, as an LMDB dataset."""

import dsetkit.openmp  # noqa: F401  (before anything loads torch)

from typing import TYPE_CHECKING

from dsetkit import version

if TYPE_CHECKING:
    from dsetkit.loading import SampleDataset, make_loader
    from dsetkit.predicting import Predictor

__version__ = version.VERSION

__all__ = ["Predictor", "SampleDataset", "__version__", "make_loader"]


def __getattr__(name: str) -> object:
    """Loads torch only when the training side is asked for: drawing workers start without it."""
    if name in ("SampleDataset", "make_loader"):
        from dsetkit import loading

        return getattr(loading, name)
    if name == "Predictor":
        from dsetkit import predicting

        return predicting.Predictor
    raise AttributeError(f"module 'dsetkit' has no attribute {name!r}")
