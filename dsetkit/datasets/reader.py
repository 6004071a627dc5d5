"""Reading a dataset: its manifest, split cells, assets, records and images.

It does not use torch.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dsetkit.assets import decode_asset
from dsetkit.compositing import Compositor, can_composite, resize_depth, resize_image, resize_labels
from dsetkit.errors import DatasetError
from dsetkit.store import (
    BACKGROUND_DEPTH_CODEC,
    CODECS,
    IMAGE_FIELDS,
    FolderShards,
    Record,
    Shards,
    StoredAsset,
    UrlShards,
    depth_share,
    is_remote,
    u32_key,
    u64_key,
    unpack_asset,
    unpack_cells,
    unpack_record,
)
from dsetkit.store import manifest as m
from dsetkit.version import VERSION

Size = tuple[int, int]  # (height, width) [px]


class Dataset:
    """Reads a dataset. It can be pickled, and it works in forked and spawned processes.

    Args:
        path: The dataset's directory, or its URL in object storage, such as `s3://...`.
        allow_incomplete: Whether to open a dataset that is incomplete.

    Attributes:
        path: The directory as a Path, or the URL as a string.
        shards: The shards of the dataset.
        manifest: The dataset's manifest.

    Raises:
        DatasetError: As `Shards`.
    """

    def __init__(self, path: Path | str, *, allow_incomplete: bool = False) -> None:
        self.path: Path | str
        files: FolderShards | UrlShards
        if is_remote(path):
            self.path, files = path, UrlShards(str(path))
        else:
            self.path, files = Path(path), FolderShards(Path(path))
        self.shards = Shards(files, str(path), allow_incomplete=allow_incomplete)
        self.manifest = self.shards.manifest

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "compositor"}

    def __len__(self) -> int:
        """The number of stored samples."""
        return len(self.shards)

    @cached_property
    def cells(self) -> np.ndarray:
        """The split cell of every sample: uint8 (num_samples,), indices into CELL_NAMES.

        Raises:
            DatasetError: They are missing, damaged, or not as many as the samples.
        """
        packed = self.shards.first.get("manifest", m.CELLS_KEY)
        try:
            if packed is None:
                raise DatasetError("missing")
            cells = unpack_cells(packed)
            if len(cells) != self.manifest.num_samples:
                total = self.manifest.num_samples
                raise DatasetError(f"there are {len(cells):,} for {total:,} samples")
        except DatasetError as error:
            raise DatasetError(
                f"the split cells of {self.path} cannot be used ({error}): copy it again from its "
                "source, or generate it again"
            ) from None
        return cells

    def indices(self, split: str | None) -> np.ndarray:
        """The indices of the samples of a split, int64 (N,), ascending; None means all samples.

        Raises:
            DatasetError: The split is unknown.
        """
        if split is None:
            return np.arange(len(self.cells))[: len(self)]
        if split not in m.SPLITS:
            raise DatasetError(f"no split {split!r}: expected one of {', '.join(m.SPLITS)}")
        return np.flatnonzero(np.isin(self.cells, m.SPLITS[split]))

    def record(self, index: int) -> Record:
        """A sample with its fields still encoded.

        Raises:
            DatasetError: The sample is missing, or its checksum differs.
        """
        return self.records([index])[0]

    def records(self, indices: Sequence[int] | np.ndarray) -> list[Record]:
        """Many samples with their fields still encoded, read in one transaction per shard.

        Args:
            indices: Indices into the dataset, int (N,).

        Raises:
            DatasetError: A sample is missing, or its checksum differs.
        """
        packed = self.shards.get_many(indices)
        return [
            self._unpack(index, content) for index, content in zip(indices, packed, strict=True)
        ]

    def _unpack(self, index: int, packed: bytes | None) -> Record:
        if packed is None:
            raise DatasetError(f"{self.path} has no sample {index}: it holds {len(self):,}")
        try:
            return unpack_record(packed, u64_key(int(index)))
        except DatasetError as error:
            raise DatasetError(f"{self.path}, sample {index}: {error}") from None

    def image(self, record: Record, field: str, *, at_least: Size | None = None) -> np.ndarray:
        """The pixels of a field, as stored.

        Args:
            record: The sample.
            field: `composite`, `mask`, `depth` or `instances`. A field that is not stored is
                composited.
            at_least: A (height, width) that is sufficient [px]. A codec that can decode a smaller
                image faster then does so. None gives the full size.

        Returns:
            Composite uint8 (H,W,3) RGB, mask uint8 (H,W), depth uint16 (h,w), or instances uint8
            (H,W).
        """
        if field not in self.manifest.codecs:
            return self.compositor.fields(record, (field,))[field]
        codec = CODECS[self.manifest.codecs[field]]
        decode = codec.decode
        if at_least is not None:
            for divisor, reduced in codec.reduced.items():
                height, width = self.manifest.size
                if at_least[0] * divisor <= height and at_least[1] * divisor <= width:
                    decode = reduced
        return decode(record.fields[field])

    def stored_images(
        self, record: Record, fields: Collection[str] = IMAGE_FIELDS
    ) -> dict[str, np.ndarray]:
        """Those of some fields that the dataset has, each as `image` gives it."""
        stored = [name for name in self.manifest.codecs if name in fields]
        images = self.composited(record, fields)
        return images | {name: self.image(record, name) for name in stored}

    def composited(self, record: Record, fields: Collection[str]) -> dict[str, np.ndarray]:
        """Those of some fields that are not stored; see `Compositor.fields`."""
        wanted = [name for name in self.manifest.composited if name in fields]
        if not wanted:
            return {}
        images = self.compositor.fields(record, wanted)
        return {name: images[name] for name in wanted}

    def depth(self, record: Record) -> np.ndarray:
        """Depth as float32 (h,w) in [0, 1], 0 = invalid; see `store.depth_share`."""
        return self.depth_share(self.image(record, "depth"))

    def depth_share(self, stored: np.ndarray) -> np.ndarray:
        """Stored depth, uint16, as float32 in [0, 1], 0 = invalid; see `store.depth_share`."""
        manifest = self.manifest
        return depth_share(stored, kind=manifest.depth_kind, max_depth_m=manifest.max_depth_m)

    def samples(
        self, indices: Sequence[int] | np.ndarray, fields: Sequence[str], size: Size | None
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Gives (place in `indices`, fields as `images` gives them) for each of many samples."""
        for place, record in enumerate(self.records(indices)):
            yield place, self.images(record, fields, size)

    def images(
        self, record: Record, fields: Sequence[str], size: Size | None
    ) -> dict[str, np.ndarray]:
        """Decoded and resized fields of a sample.

        Args:
            record: The sample.
            fields: Any of `background`, `composite`, `mask`, `depth` and `instances`.
            size: (height, width) of the result [px]; None keeps the stored size of each field.

        Returns:
            Background and composite uint8 (H,W,3) RGB, mask and instances uint8 (H,W), depth
            float32 (H,W) in [0, 1] with 0 = invalid; by field, in the order of `fields`.

        Raises:
            DatasetError: A field cannot be decoded, or the sample has no background.
        """
        images: dict[str, np.ndarray] = {}
        composited = set(self.manifest.composited).intersection(fields)
        if composited:
            wanted = {"depth_share" if name == "depth" else name for name in composited}
            images = self.compositor.fields(record, wanted, size)
        if "depth_share" in images:
            images["depth"] = images.pop("depth_share")
        for name in fields:
            if name == "background":
                images[name] = self.compositor.background(record.background_id(), size)
            elif name in images:
                continue
            elif name == "depth":
                depth = self.depth(record)
                images[name] = depth if size is None else resize_depth(depth, size)
            elif name == "instances":
                image = self.image(record, name)
                images[name] = image if size is None else resize_labels(image, size)
            else:
                image = self.image(record, name, at_least=size)
                images[name] = image if size is None else resize_image(image, size)
        return {name: images[name] for name in fields}

    @cached_property
    def compositor(self) -> Compositor:
        """Gives backgrounds at any size, and composites and masks in the recipe layout.

        Raises:
            DatasetError: This version composites other pixels than the one that made the dataset.
        """
        if not can_composite(self.manifest):
            raise DatasetError(
                f"{self.path} stores recipes, not composites, and was made by dsetkit "
                f"{self.manifest.dsetkit_version}; this dsetkit {VERSION} would composite other "
                "pixels: convert it with that version to --layout rendered"
            )
        height, width = self.manifest.size
        return Compositor(self.asset, (height, width), depth_share=self.depth_share)

    def asset(self, database: str, number: int) -> np.ndarray:
        """The pixels of an asset.

        Args:
            database: `backgrounds`, `foregrounds`, or `depths` for the depth of a background.
            number: The asset's id.

        Returns:
            A background uint8 (h,w,3) RGB, a foreground uint8 (h,w,4) straight RGBA, or stored
            depth uint16 (h,w), 0 = invalid.

        Raises:
            DatasetError: The dataset has no such asset, or it cannot be decoded.
        """
        if database == "depths":
            stored = self.stored_asset("backgrounds", number).depth
            if stored is None:
                raise DatasetError(f"{self.path}, number {number} of its backgrounds has no depth")
            return CODECS[BACKGROUND_DEPTH_CODEC].decode(stored)
        return decode_asset(self.stored_asset(database, number).image)

    def stored_asset(self, database: str, number: int) -> StoredAsset:
        """An asset, still encoded.

        Args:
            database: `backgrounds` or `foregrounds`.
            number: The asset's id.

        Raises:
            DatasetError: The dataset has no such asset, or it is damaged.
        """
        packed = self.shards.first.get(database, u32_key(number))
        if packed is None:
            raise DatasetError(f"{self.path} has no number {number} in its {database}")
        return self._unpack_asset(database, u32_key(number), packed)

    def background(self, number: int) -> np.ndarray:
        """The pixels of a background: uint8 (H,W,3) RGB."""
        return self.asset("backgrounds", number)

    def assets(self, database: str) -> Iterator[StoredAsset]:
        """All `backgrounds` or `foregrounds`, still encoded, in the order of their ids.

        Raises:
            DatasetError: An asset is damaged.
        """
        for key, packed in self.shards.first.items(database):
            yield self._unpack_asset(database, key, packed)

    def _unpack_asset(self, database: str, key: bytes, packed: bytes) -> StoredAsset:
        try:
            return unpack_asset(packed, database=database, key=key)
        except DatasetError as error:
            number = int.from_bytes(key, "big")
            raise DatasetError(f"{self.path}, number {number} of its {database}: {error}") from None
