"""The whole run from two folders to a dataset: here, in processes, on a Ray cluster."""

from dsetkit.generating.heights import read_heights
from dsetkit.generating.pipeline import generate
from dsetkit.generating.settings import SceneDepth, Spread

__all__ = ["SceneDepth", "Spread", "generate", "read_heights"]
