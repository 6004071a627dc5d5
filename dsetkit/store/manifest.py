"""The dataset's header: what it holds, in which units, and what it was made from."""

from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields

import msgpack
import xxhash

from dsetkit.errors import DatasetError
from dsetkit.store.records import FORMAT_VERSION
from dsetkit.version import VERSION

WHOLE = {"number": 0, "shards": 1}  # the shard of a dataset that is one file

# Says nothing of what the samples are; scores of the labels are measured, not decided.
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
    """Header of a dataset; every shard holds the same but for its own index range.

    Attributes:
        num_samples: Samples the whole dataset is meant to hold.
        complete: False until the last commit.
        size: Height and width of composite and mask in pixels; [0, 0] = they differ.
        fields: Stored or derived fields that a reader can ask for.
        codecs: Codec name of every stored image field.
        depth_kind: `metric` (millimetres), `relative` (scaled inverse depth) or `none`.
        max_depth_m: Depth that 1.0 stands for in training targets [m]; 0 when not metric.
        teacher: `name`, `hash` of its weights, `batch_size` (a network's answer can depend in its
            last bit on the batch it is asked in).
        recipe: Settings of the recipe: seed, placements, scale_range, placement, full_set.
        splits: `by` (asset, sample, csv or import) and what it was made from.
        assets_fingerprint: Hash over names and pixels of all assets.
        skipped: [file name, reason] of the pictures left out by `--skip-bad`.
        layout: `rendered` (composite and mask are stored) or `recipe` (composited at reading).
        drawing: Layout `recipe`: `compositing_fingerprint` of the code that made the composites.
        shard: `number` of this file, and how many `shards` the dataset has.
        engine: Version of the LMDB library that wrote the file.
        label_quality: What `labels.score_labels` found; {} until then, without masks or depths,
            and in imported datasets.
    """

    num_samples: int
    complete: bool
    size: list[int]
    fields: list[str]
    codecs: dict[str, str]
    depth_kind: str
    max_depth_m: float
    teacher: dict
    recipe: dict
    splits: dict
    assets_fingerprint: str
    skipped: list[list[str]] = field(default_factory=list)
    num_backgrounds: int = 0
    num_foregrounds: int = 0
    layout: str = "rendered"
    drawing: str = ""
    shard: dict = field(default_factory=WHOLE.copy)
    engine: str = ""
    label_quality: dict = field(default_factory=dict)
    dsetkit_version: str = VERSION
    format_version: int = FORMAT_VERSION

    @property
    def fingerprint(self) -> str:
        """Tells this dataset from others: a hash over all that decides what its samples are."""
        content = {name: value for name, value in asdict(self).items() if name not in TOOLING}
        content["shard"] = WHOLE  # the same samples, however many files they lie in
        if not self.drawing:  # datasets made before there were recipes keep their fingerprint
            del content["drawing"]
        return xxhash.xxh3_128_hexdigest(msgpack.packb(content))

    def to_bytes(self) -> bytes:
        """The manifest as a msgpack map."""
        return msgpack.packb(asdict(self))

    @classmethod
    def from_bytes(cls, packed: bytes) -> "Manifest":
        """Reads a manifest.

        Raises:
            DatasetError: It is not one, or was written by a newer format.
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
            raise DatasetError(f"the manifest is not whole ({error}): generate it anew") from None

    def differences(self, other: "Manifest", *, ignoring: Collection[str] = ()) -> list[str]:
        """What differs, one readable line each; what is in TOOLING or `ignoring` does not count."""
        mine, theirs = asdict(self), asdict(other)
        return [
            f"{name}: {mine[name]} there, {theirs[name]} now"
            for name in mine
            if name not in {*TOOLING, *ignoring} and mine[name] != theirs[name]
        ]


def manifest_entry(manifest: Manifest) -> tuple[str, bytes, bytes]:
    """Database, key and value of a manifest, as `StoreWriter.put` takes them."""
    return "manifest", MANIFEST_KEY, manifest.to_bytes()
