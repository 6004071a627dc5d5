"""The manifest: what a dataset holds, in which units, and what it was made from."""

from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import msgpack
import xxhash

from dsetkit.errors import DatasetError
from dsetkit.store.records import FORMAT_VERSION
from dsetkit.version import VERSION

ONLY_SHARD = {"number": 0, "shards": 1}  # `Manifest.shard` of a dataset with one shard

# These entries do not decide the content of the samples. Scores of the labels are measured.
TOOLING = {"complete", "engine", "dsetkit_version", "label_quality"}

MANIFEST_KEY = b"manifest"
CELLS_KEY = b"cells"  # uint8 per sample: index into CELL_NAMES

CELL_NAMES = (
    "train",
    "val",
    "test",  # imported or split by sample: no seen/unseen table
    "test: seen background, seen foreground",
    "test: unseen background",
    "test: unseen foreground",
    "test: both unseen",
)
TRAIN, VAL, TEST, TEST_SEEN, TEST_BACKGROUND, TEST_FOREGROUND, TEST_BOTH = range(7)
SPLITS = {
    "train": (TRAIN,),
    "val": (VAL,),
    "test": (TEST, TEST_SEEN, TEST_BACKGROUND, TEST_FOREGROUND, TEST_BOTH),
}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The manifest of a dataset. Every shard holds one; only `shard` differs between them.

    Attributes:
        num_samples: Samples of the complete dataset.
        complete: Whether the last commit was made.
        size: Height and width of composite and mask [px]; [0, 0] if they differ between samples.
        fields: Fields that a reader can ask for, stored or computed.
        codecs: Codec name of every stored image field.
        depth_kind: `metric` (millimetres), `relative` (scaled inverse depth) or `none`.
        max_depth_m: The depth that training targets give as 1.0 [m]; 0 unless metric.
        teacher: `name`, `hash` of its weights, and `batch_size`. The last bit of a network's output
            can depend on the batch.
        recipe: Settings of the recipe: seed, placements, scale_range, placement, full_set.
        splits: `by` (asset, sample, csv or import) and the settings of that split.
        assets_fingerprint: Hash over names and pixels of all assets.
        skipped: [file name, reason] of each picture that `--skip-bad` left out.
        num_backgrounds: Backgrounds that the dataset stores.
        num_foregrounds: Foregrounds that the dataset stores.
        layout: `rendered` stores composite and mask; with `recipe`, readers composite them.
        drawing: In layout `recipe`, the `compositing_fingerprint` of the code that made the
            composites.
        shard: `number` of this shard, and `shards`, how many the dataset has.
        engine: Version of the LMDB library that wrote the file.
        label_quality: Result of `labels.score_labels`. It is {} before scoring, in datasets without
            masks or depths, and in imported datasets.
        dsetkit_version: Version of dsetkit that wrote the file.
        format_version: Version of the format of manifest and records.
    """

    num_samples: int
    complete: bool
    size: list[int]
    fields: list[str]
    codecs: dict[str, str]
    depth_kind: str
    max_depth_m: float
    teacher: dict[str, Any]
    recipe: dict[str, Any]
    splits: dict[str, Any]
    assets_fingerprint: str
    skipped: list[list[str]] = field(default_factory=list)
    num_backgrounds: int = 0
    num_foregrounds: int = 0
    layout: str = "rendered"
    drawing: str = ""
    shard: dict[str, int] = field(default_factory=ONLY_SHARD.copy)
    engine: str = ""
    label_quality: dict[str, Any] = field(default_factory=dict)
    dsetkit_version: str = VERSION
    format_version: int = FORMAT_VERSION

    @property
    def fingerprint(self) -> str:
        """xxh3-128, 32 hex digits, over all entries that decide the content of the samples."""
        content = {name: value for name, value in asdict(self).items() if name not in TOOLING}
        content["shard"] = ONLY_SHARD  # the number of shards does not change the samples
        if not self.drawing:  # datasets older than the recipe layout keep their fingerprint
            del content["drawing"]
        return xxhash.xxh3_128_hexdigest(msgpack.packb(content))

    def to_bytes(self) -> bytes:
        """Packs the manifest as a msgpack map."""
        return msgpack.packb(asdict(self))

    @classmethod
    def from_bytes(cls, packed: bytes) -> "Manifest":
        """Unpacks a manifest.

        Raises:
            DatasetError: The bytes are not a manifest, or their format is newer.
        """
        try:
            content = msgpack.unpackb(packed)
            version = content["format_version"]
        except (ValueError, KeyError, TypeError):
            raise DatasetError("the manifest cannot be read: not a dsetkit dataset") from None
        if version > FORMAT_VERSION:
            raise DatasetError(
                f"the dataset has format {version}, this dsetkit {VERSION} reads up to "
                f"{FORMAT_VERSION}: install a newer dsetkit"
            )
        known = {entry.name for entry in fields(cls)}
        try:
            return cls(**{name: value for name, value in content.items() if name in known})
        except TypeError as error:
            raise DatasetError(
                f"the manifest is incomplete ({error}): generate the dataset again"
            ) from None

    def differences(self, other: "Manifest", *, ignoring: Collection[str] = ()) -> list[str]:
        """Describes each entry that differs, as in "num_samples: 30, not 31".

        Args:
            other: The manifest to compare with; its values come after "not".
            ignoring: Entries to leave out, besides those in TOOLING.
        """
        mine, others = asdict(self), asdict(other)
        return [
            f"{name}: {mine[name]}, not {others[name]}"
            for name in mine
            if name not in {*TOOLING, *ignoring} and mine[name] != others[name]
        ]


def manifest_entry(manifest: Manifest) -> tuple[str, bytes, bytes]:
    """(database, key, value) of a manifest, for `StoreWriter.put`."""
    return "manifest", MANIFEST_KEY, manifest.to_bytes()
