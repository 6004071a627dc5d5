"""A dataset directory: its shards, manifest, split cells, assets and records. No torch here."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import msgpack
import numpy as np

from dsetkit import manifest as m
from dsetkit.assets import decode_asset
from dsetkit.encoding import CODECS, Record, depth_share, unpack_record
from dsetkit.errors import DatasetError
from dsetkit.lmdb_store import StoreReader, u32_key, u64_key

SHARD_NAME = "shard-{:05d}.lmdb"


def shard_path(dataset: Path, number: int = 0) -> Path:
    """The file of a shard."""
    return Path(dataset) / SHARD_NAME.format(number)


class Dataset:
    """Read access to a dataset; picklable, safe under fork and spawn.

    Args:
        path: The dataset's directory.
        allow_incomplete: Also open a dataset whose generation was cut off.

    Raises:
        DatasetError: Nothing there, not a dataset, a newer format, or not complete.
    """

    def __init__(self, path: Path, *, allow_incomplete: bool = False) -> None:
        self.path = Path(path)
        self._store = StoreReader(_only_shard(self.path))
        packed = self._store.get("manifest", m.MANIFEST_KEY)
        if packed is None:
            raise DatasetError(f"{self.path} has no manifest: generate it anew")
        self.manifest = m.Manifest.from_bytes(packed)
        if not (self.manifest.complete or allow_incomplete):
            raise DatasetError(
                f"{self.path} is not complete: {len(self):,} of {self.manifest.num_samples:,} "
                "samples; run the command that makes it again, it continues where it stopped"
            )

    def __len__(self) -> int:
        return self._store.count("samples")

    @cached_property
    def cells(self) -> np.ndarray:
        """Split cell of every sample: uint8 (num_samples,), an index into CELL_NAMES."""
        return np.frombuffer(self._store.get("manifest", m.CELLS_KEY), np.uint8)

    def indices(self, split: str | None) -> np.ndarray:
        """Ascending indices of the samples of a split (None: all of them)."""
        if split is None:
            return np.arange(len(self))
        if split not in m.SPLITS:
            raise DatasetError(f"no split {split!r}: expected one of {', '.join(m.SPLITS)}")
        return np.flatnonzero(np.isin(self.cells[: len(self)], m.SPLITS[split]))

    def record(self, index: int) -> Record:
        """One sample, still encoded, its checksum verified."""
        return self.records([index])[0]

    def records(self, indices: Sequence[int]) -> list[Record]:
        """Many samples, read in one transaction."""
        packed = self._store.get_many("samples", [u64_key(int(index)) for index in indices])
        return [
            self._unpacked(index, content) for index, content in zip(indices, packed, strict=True)
        ]

    def _unpacked(self, index: int, packed: bytes | None) -> Record:
        if packed is None:
            raise DatasetError(f"{self.path} has no sample {index}: it holds {len(self):,}")
        try:
            return unpack_record(packed)
        except DatasetError as error:
            raise DatasetError(f"{self.path}, sample {index}: {error}") from None

    def image(self, record: Record, field: str) -> np.ndarray:
        """A decoded field: composite uint8 (H,W,3), mask uint8 (H,W), depth uint16 (h,w)."""
        return CODECS[self.manifest.codecs[field]].decode(record.fields[field])

    def depth(self, record: Record) -> np.ndarray:
        """Depth as float32 (h, w) in [0, 1], 0 = invalid; see `encoding.depth_share`."""
        stored = self.image(record, "depth")
        manifest = self.manifest
        return depth_share(stored, kind=manifest.depth_kind, max_depth_m=manifest.max_depth_m)

    def background(self, number: int) -> np.ndarray:
        """Pixels of a background: uint8 (H, W, 3) RGB."""
        packed = self._store.get("backgrounds", u32_key(number))
        return decode_asset(msgpack.unpackb(packed)["image"])

    def assets(self, database: str) -> Iterator[dict]:
        """The `backgrounds` or `foregrounds` in id order, as maps: name, split, image (encoded)."""
        for _, packed in self._store.items(database):
            yield msgpack.unpackb(packed)


def _only_shard(path: Path) -> Path:
    if not path.exists():
        raise DatasetError(f"no dataset at {path}: expected a directory with shard-*.lmdb")
    shards = sorted(path.glob("shard-*.lmdb")) if path.is_dir() else []
    if not shards:
        raise DatasetError(
            f"{path} is not a dataset: expected a directory with shard-*.lmdb, "
            "as `python -m dsetkit generate` makes it"
        )
    return shards[0]
