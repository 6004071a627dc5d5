"""The assets of several datasets as those of one: each is kept once, with one split.

Two assets are the same if their names and pixels are; their encoded bytes may differ from machine
to machine. For splits, two assets count as one picture if their pixels are the same or their names
are: a cut-out that was prepared at two sizes has the same name, but different pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xxhash
from msgspec import structs

from dsetkit.assets import Asset, decode_asset, fingerprint
from dsetkit.datasets import Dataset
from dsetkit.store import StoredAsset

KINDS = ("backgrounds", "foregrounds")


@dataclass(frozen=True)
class SharedPicture:
    """A picture that two datasets hold.

    Attributes:
        kind: `background` or `foreground`.
        name: Its name in the second dataset.
        first: Number of the dataset that held it first.
        second: Number of the other dataset.
        splits: Its splits in the first dataset and in the second.
    """

    kind: str
    name: str
    first: int
    second: int
    splits: tuple[str, str]


@dataclass(frozen=True)
class _Kept:
    """An asset of the merged dataset: the dataset it is read from, its id there, its new split."""

    source: int
    id: int
    split: str


class MergedAssets:
    """Reads the assets of several datasets, one at a time, and gives them new ids.

    Args:
        sources: The datasets, in the order of their samples.

    Attributes:
        shared: Pictures that several datasets hold, in the order they were found.
        fingerprint: See `dsetkit.assets.fingerprint`; of the assets that are kept.
    """

    def __init__(self, sources: Sequence[Dataset]) -> None:
        self._sources = list(sources)
        self.shared: list[SharedPicture] = []
        self._kept: dict[str, list[_Kept]] = {kind: [] for kind in KINDS}
        # kind -> for each dataset, the new id of every old id
        self._ids: dict[str, list[list[int]]] = {kind: [[] for _ in sources] for kind in KINDS}
        self.fingerprint = fingerprint(*map(self._each_once, KINDS))

    def count(self, kind: str) -> int:
        """Number of `backgrounds` or `foregrounds` that are kept."""
        return len(self._kept[kind])

    def new_id(self, kind: str, source: int, old: int | None) -> int | None:
        """The new id of an asset of a dataset; None stays None."""
        return None if old is None else self._ids[kind][source][old]

    def splits(self, kind: str) -> list[str]:
        """The split of each asset that is kept: that of the first dataset with the picture."""
        return [kept.split for kept in self._kept[kind]]

    def stored(self, kind: str) -> Iterator[StoredAsset]:
        """The assets that are kept, with their stored bytes, in the order of new ids."""
        split_of = {(kept.source, kept.id): kept.split for kept in self._kept[kind]}
        for number, source in enumerate(self._sources):
            for old, asset in enumerate(source.assets(kind)):
                if (number, old) in split_of:
                    yield structs.replace(asset, split=split_of[number, old])

    def _each_once(self, kind: str) -> Iterator[Asset]:
        """Gives every asset its new id; yields each asset when it is found first."""
        new_ids: dict[tuple[str, bytes], int] = {}
        holders: dict[str | bytes, tuple[int, str]] = {}  # name or pixel hash -> dataset, split
        for number, source in enumerate(self._sources):
            for old, asset in enumerate(source.assets(kind)):
                name, split, pixels = asset.name, asset.split, decode_asset(asset.image)
                pixel_hash = _pixel_hash(pixels)
                for key in (pixel_hash, name):
                    holder, first_split = holders.get(key, (number, split))
                    if holder != number:
                        splits = (first_split, split)
                        self.shared.append(
                            SharedPicture(kind.removesuffix("s"), name, holder, number, splits)
                        )
                        split = first_split
                        break
                for key in (pixel_hash, name):
                    holders.setdefault(key, (number, split))
                identity = (name, pixel_hash + (asset.depth or b""))
                new = new_ids.setdefault(identity, len(new_ids))
                self._ids[kind][number].append(new)
                if new == len(self._kept[kind]):
                    self._kept[kind].append(_Kept(number, old, split))
                    yield Asset(new, name, split, pixels)


def _pixel_hash(pixels: np.ndarray) -> bytes:
    digest = xxhash.xxh3_128(f"{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()
