"""The pictures of several datasets as those of one: each kept once, with one split.

Two assets are the same when name and pixels are: how the pixels are packed depends on the machine
that packed them. For splits more counts as one picture: the same pixels under two names, and two
pixels under one name, since one cut-out prepared at two sizes has other pixels at each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xxhash

from dsetkit.assets import Asset, decode_asset, fingerprint
from dsetkit.datasets import Dataset, StoredAsset

KINDS = ("backgrounds", "foregrounds")


@dataclass(frozen=True)
class Shared:
    """A picture that two datasets hold.

    Attributes:
        kind: "background" or "foreground".
        name: What the second calls it.
        first: Number of the dataset that held it before.
        second: Number of the other.
        splits: What each says of it.
    """

    kind: str
    name: str
    first: int
    second: int
    splits: tuple[str, str]


@dataclass(frozen=True)
class _Kept:
    """Where an asset of the merged dataset lies, and the split it has there."""

    source: int
    id: int
    split: str


class MergedAssets:
    """Reads the assets of several datasets, one at a time, and gives them new ids.

    Args:
        sources: The datasets, in the order of their samples.

    Attributes:
        shared: Pictures that several of them hold, in the order they were met.
        fingerprint: As `assets.fingerprint` of what is kept.
    """

    def __init__(self, sources: Sequence[Dataset]) -> None:
        self._sources = list(sources)
        self.shared: list[Shared] = []
        self._kept: dict[str, list[_Kept]] = {kind: [] for kind in KINDS}
        # by kind: of each dataset the new id of every old one
        self._ids: dict[str, list[list[int]]] = {kind: [[] for _ in sources] for kind in KINDS}
        self.fingerprint = fingerprint(*map(self._each_once, KINDS))

    def count(self, kind: str) -> int:
        """How many `backgrounds` or `foregrounds` are kept."""
        return len(self._kept[kind])

    def new_id(self, kind: str, source: int, old: int | None) -> int | None:
        """The id of an asset of a dataset among those of all; None stays None."""
        return None if old is None else self._ids[kind][source][old]

    def splits(self, kind: str) -> list[str]:
        """Of each asset that is kept: the first dataset to hold a picture says its split."""
        return [one.split for one in self._kept[kind]]

    def pixels(self, kind: str, number: int) -> np.ndarray:
        """Pixels by new id, as `Dataset.asset`."""
        kept = self._kept[kind][number]
        return self._sources[kept.source].asset(kind, kept.id)

    def stored(self, kind: str) -> Iterator[StoredAsset]:
        """What is kept, as it lies, in the order of new ids."""
        kept = {(one.source, one.id): one.split for one in self._kept[kind]}
        for number, source in enumerate(self._sources):
            for old, one in enumerate(source.assets(kind)):
                if (number, old) in kept:
                    yield StoredAsset(one["name"], kept[number, old], one["image"])

    def _each_once(self, kind: str) -> Iterator[Asset]:
        """Gives every asset its new id, and yields it when it is met first."""
        seen: dict[tuple[str, bytes], int] = {}
        holders: dict[str | bytes, tuple[int, str]] = {}  # name or pixels -> dataset, split
        for number, source in enumerate(self._sources):
            for old, one in enumerate(source.assets(kind)):
                name, split, pixels = one["name"], one["split"], decode_asset(one["image"])
                digest = xxhash.xxh3_128(f"{pixels.shape}".encode())
                digest.update(np.ascontiguousarray(pixels))
                same_pixels = digest.digest()
                for key in (same_pixels, name):
                    holder, there = holders.get(key, (number, split))
                    if holder != number:
                        says = (there, split)
                        self.shared.append(
                            Shared(kind.removesuffix("s"), name, holder, number, says)
                        )
                        split = there
                        break
                for key in (same_pixels, name):
                    holders.setdefault(key, (number, split))
                new = seen.setdefault((name, same_pixels), len(seen))
                self._ids[kind][number].append(new)
                if new == len(self._kept[kind]):
                    self._kept[kind].append(_Kept(number, old, split))
                    yield Asset(new, name, split, pixels)
