"""dsetkit: foreground cut-outs over backgrounds, with masks and depth, as an LMDB dataset."""

from dsetkit.store.manifest import VERSION

__version__ = VERSION

__all__ = ["SampleDataset", "make_loader", "__version__"]


def __getattr__(name: str):
    """Loads torch only when the training side is asked for: drawing workers start without it."""
    if name == "SampleDataset":
        from dsetkit.loading.samples import SampleDataset

        return SampleDataset
    if name == "make_loader":
        from dsetkit.loading.loader import make_loader

        return make_loader
    raise AttributeError(f"module 'dsetkit' has no attribute {name!r}")
