"""A dataset: its manifest, split cells, assets and records. No torch here."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import msgpack
import numpy as np

from dsetkit.assets import decode_asset
from dsetkit.compositing import (
    COMPOSITED,
    Compositor,
    compositing_fingerprint,
    resize_depth,
    resize_image,
)
from dsetkit.errors import DatasetError
from dsetkit.store import (
    CODECS,
    AddressShards,
    FolderShards,
    Record,
    Shards,
    depth_share,
    is_remote,
    u32_key,
    unpack_record,
)
from dsetkit.store import manifest as m

Size = tuple[int, int]  # height, width [px]


class Dataset:
    """Read access to a dataset; picklable, safe under fork and spawn.

    Args:
        path: The dataset's directory, or the address of one in object storage, as `s3://...`.
        allow_incomplete: Also open a dataset whose generation was cut off.

    Raises:
        DatasetError: As `Shards`.
    """

    def __init__(self, path: Path | str, *, allow_incomplete: bool = False) -> None:
        remote = is_remote(str(path))
        self.path = path if remote else Path(path)
        files = AddressShards(path) if remote else FolderShards(self.path)
        self.shards = Shards(files, str(path), allow_incomplete=allow_incomplete)
        self.manifest = self.shards.manifest

    def __getstate__(self) -> dict:
        return {name: value for name, value in vars(self).items() if name != "compositor"}

    def __len__(self) -> int:
        """Samples that are there."""
        return len(self.shards)

    @cached_property
    def cells(self) -> np.ndarray:
        """Split cell of every sample: uint8 (num_samples,), an index into CELL_NAMES."""
        return np.frombuffer(self.shards.whole.get("manifest", m.CELLS_KEY), np.uint8)

    def indices(self, split: str | None) -> np.ndarray:
        """Ascending indices of the samples of a split (None: all of them)."""
        if split is None:
            return np.arange(len(self))
        if split not in m.SPLITS:
            raise DatasetError(f"no split {split!r}: expected one of {', '.join(m.SPLITS)}")
        return np.flatnonzero(np.isin(self.cells, m.SPLITS[split]))

    def record(self, index: int) -> Record:
        """One sample, still encoded, its checksum verified."""
        return self.records([index])[0]

    def records(self, indices: Sequence[int]) -> list[Record]:
        """Many samples, read in one transaction."""
        packed = self.shards.get_many(indices)
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

    def image(self, record: Record, field: str, *, at_least: Size | None = None) -> np.ndarray:
        """A field's pixels: composite uint8 (H,W,3), mask uint8 (H,W), depth uint16 (h,w).

        Args:
            record: The sample.
            field: Stored fields are decoded; a composite or mask that is not stored is drawn.
            at_least: (height, width) that is enough, where fewer pixels take less time [px].
        """
        if field not in self.manifest.codecs:
            return self.compositor.composite(record)[COMPOSITED.index(field)]
        codec = CODECS[self.manifest.codecs[field]]
        decode = codec.decode
        if at_least is not None:
            for divisor, reduced in codec.reduced.items():
                height, width = self.manifest.size
                if at_least[0] * divisor <= height and at_least[1] * divisor <= width:
                    decode = reduced
        return decode(record.fields[field])

    def stored_images(self, record: Record) -> dict[str, np.ndarray]:
        """Composite, mask and depth, as far as there are any, as `image` gives each."""
        drawn = {}
        if self.manifest.layout == "recipe":
            drawn = dict(zip(COMPOSITED, self.compositor.composite(record), strict=True))
        return drawn | {name: self.image(record, name) for name in self.manifest.codecs}

    def depth(self, record: Record) -> np.ndarray:
        """Depth as float32 (h, w) in [0, 1], 0 = invalid; see `encoding.depth_share`."""
        stored = self.image(record, "depth")
        manifest = self.manifest
        return depth_share(stored, kind=manifest.depth_kind, max_depth_m=manifest.max_depth_m)

    def samples(
        self, indices: Sequence[int], fields: Sequence[str], size: Size | None
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """(place in `indices`, fields as `images` gives them) of many samples."""
        for place, record in enumerate(self.records(indices)):
            yield place, self.images(record, fields, size)

    def images(
        self, record: Record, fields: Sequence[str], size: Size | None
    ) -> dict[str, np.ndarray]:
        """Fields of a sample as a reader wants them.

        Args:
            record: The sample.
            fields: Of `background`, `composite`, `mask`, `depth`.
            size: Height and width of all of them; None keeps each as stored [px].

        Returns:
            uint8 (H,W,3) RGB colours, uint8 (H,W) mask, float32 (H,W) depth in [0, 1].
        """
        images: dict[str, np.ndarray] = {}
        if self.manifest.layout == "recipe" and not set(COMPOSITED).isdisjoint(fields):
            images["composite"], images["mask"] = self.compositor.composite(record, size)
        for name in fields:
            if name == "background":
                images[name] = self.compositor.background(record.background, size)
            elif name == "depth":
                depth = self.depth(record)
                images[name] = depth if size is None else resize_depth(depth, size)
            elif name not in images:
                image = self.image(record, name, at_least=size)
                images[name] = image if size is None else resize_image(image, size)
        return {name: images[name] for name in fields}

    @cached_property
    def compositor(self) -> Compositor:
        """Gives backgrounds at any size, and composites and masks in the recipe layout.

        Raises:
            DatasetError: This version draws other pixels than the one that made the dataset.
        """
        drawing = self.manifest.drawing
        if drawing and drawing != compositing_fingerprint():
            raise DatasetError(
                f"{self.path} keeps recipes, not pictures, and was drawn by dsetkit "
                f"{self.manifest.dsetkit_version}; this dsetkit {m.VERSION} would draw other "
                "pixels: convert it with that version to --layout rendered"
            )
        return Compositor(self.asset, tuple(self.manifest.size))

    def asset(self, database: str, number: int) -> np.ndarray:
        """Pixels of one of `backgrounds` (RGB) or `foregrounds` (straight RGBA): uint8 (h,w,c)."""
        packed = self.shards.whole.get(database, u32_key(number))
        return decode_asset(msgpack.unpackb(packed)["image"])

    def background(self, number: int) -> np.ndarray:
        """Pixels of a background: uint8 (H, W, 3) RGB."""
        return self.asset("backgrounds", number)

    def assets(self, database: str) -> Iterator[dict]:
        """The `backgrounds` or `foregrounds` in id order, as maps: name, split, image (encoded)."""
        for _, packed in self.shards.whole.items(database):
            yield msgpack.unpackb(packed)
