"""The manifest: what a dataset holds, in which units, and what it was made from."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Annotated, Any

import msgpack
import msgspec
import numpy as np
import xxhash

from dsetkit.errors import DatasetError
from dsetkit.store.codecs import CODECS
from dsetkit.store.records import FORMAT_VERSION, IMAGE_FIELDS, LARGEST_DEPTH_M, LARGEST_SIDE
from dsetkit.store.sealed import decode, fitted_to, one_of, seal, unseal
from dsetkit.store.shard_list import MOST_SHARDS
from dsetkit.version import VERSION

ONLY_SHARD = {"number": 0, "shards": 1}  # `Manifest.shard` of a dataset with one shard

# These entries do not decide the content of the samples. Scores of the labels are measured.
TOOLING = {"complete", "engine", "dsetkit_version", "label_quality"}

MANIFEST_KEY = b"manifest"
CELLS_KEY = b"cells"  # sealed map; its entry `cells` holds a uint8 per sample, see CELL_NAMES

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

OCCLUSION = "occlusion"  # by nearer parts of the background
HARMONISED = ("colour", "blur", "noise", "shadow")  # of a cut-out, matched to its surroundings
EFFECTS = (OCCLUSION, *HARMONISED)

MOST_SAMPLES = 2**40
MOST_TEACHER_BATCH = 2**20

_Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_SAMPLES)]
_AssetCount = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
_Side = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_SIDE)]
_Text = Annotated[str, msgspec.Meta(max_length=4096)]
_Field = Annotated[str, one_of("background", *IMAGE_FIELDS)]
_StoredField = Annotated[str, one_of(*IMAGE_FIELDS)]
_DepthKind = Annotated[str, one_of("metric", "relative", "none")]
_Layout = Annotated[str, one_of("rendered", "recipe")]
_Skipped = Annotated[list[str], msgspec.Meta(min_length=2, max_length=2)]


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
        recipe: Settings of the recipe: seed, placements, scale_range, placement, full_set; `grown`,
            the numbers of samples that the dataset had before it grew; `objects`, the range of
            their number where it is not 1; with scene depth `depth_of`, "scene", and what
            `compositing.Nearness` describes; with placement `scene` what `compositing.Standing`
            describes; `harmonise`, those of HARMONISED that are matched to the surroundings, if
            any.
        splits: `by` (asset, sample, csv or import) and the settings of that split.
        assets_fingerprint: Hash over names and pixels of all assets.
        skipped: [file name, reason] of each picture that `--skip-bad` left out.
        num_backgrounds: Backgrounds that the dataset stores.
        num_foregrounds: Foregrounds that the dataset stores.
        layout: `rendered` stores composite and mask; with `recipe`, readers composite them.
        compositing: In layout `recipe`, the `compositing_fingerprint` of the code that made the
            samples.
        shard: `number` of this shard, and `shards`, how many the dataset has.
        engine: Version of the LMDB library that wrote the file.
        label_quality: Result of `labels.score_labels`. It is {} before scoring, in datasets without
            masks or depths, and in imported datasets.
        dsetkit_version: Version of dsetkit that wrote the file.
        format_version: Version of the format of manifest and records.
    """

    num_samples: _Count
    complete: bool
    size: Annotated[list[_Side], msgspec.Meta(min_length=2, max_length=2)]
    fields: list[_Field]
    codecs: dict[_StoredField, _Text]
    depth_kind: _DepthKind
    max_depth_m: Annotated[float, msgspec.Meta(ge=0, le=LARGEST_DEPTH_M)]
    teacher: dict[str, Any]
    recipe: dict[str, Any]
    splits: dict[str, Any]
    assets_fingerprint: _Text
    skipped: list[_Skipped] = field(default_factory=list)
    num_backgrounds: _AssetCount = 0
    num_foregrounds: _AssetCount = 0
    layout: _Layout = "rendered"
    compositing: _Text = ""
    shard: dict[str, int] = field(default_factory=ONLY_SHARD.copy)
    engine: _Text = ""
    label_quality: dict[str, Any] = field(default_factory=dict)
    dsetkit_version: _Text = VERSION
    format_version: int = FORMAT_VERSION

    @cached_property  # readers ask for it with every sample
    def composited(self) -> tuple[str, ...]:
        """The fields that readers composite, because they are not stored."""
        unstored = {*self.fields} - self.codecs.keys()
        return tuple(name for name in IMAGE_FIELDS if name in unstored)

    @property
    def has_scene_depth(self) -> bool:
        """Whether depth is that of the background and of the planes of the objects."""
        return self._recipes[0].get("depth_of") == "scene"

    @property
    def effects(self) -> tuple[str, ...]:
        """What compositing does besides laying alpha over, of EFFECTS."""
        found = {name for recipe in self._recipes for name in recipe.get("harmonise", ())}
        if any(recipe.get("placement") == "scene" for recipe in self._recipes):
            found.add(OCCLUSION)
        return tuple(name for name in EFFECTS if name in found)

    @property
    def _recipes(self) -> list[dict[str, Any]]:
        """The settings of the recipes of each merged dataset, or of this one."""
        return self.recipe.get("recipes") or [self.recipe]

    @property
    def grown_from(self) -> list[int]:
        """The numbers of samples that the dataset had before it grew."""
        return list(self.recipe.get("grown", ()))

    @property
    def fingerprint(self) -> str:
        """xxh3-128, 32 hex digits, over all entries that decide the content of the samples."""
        content = {name: value for name, value in asdict(self).items() if name not in TOOLING}
        content["shard"] = ONLY_SHARD  # the number of shards does not change the samples
        return xxhash.xxh3_128_hexdigest(msgpack.packb(content))

    def to_bytes(self) -> bytes:
        """Packs the manifest as a sealed map."""
        return seal(asdict(self), database="manifest", key=MANIFEST_KEY)

    @classmethod
    def from_bytes(cls, packed: bytes) -> "Manifest":
        """Unpacks a manifest.

        Raises:
            DatasetError: The bytes are not a manifest, are damaged, or have another format.
        """
        version = _format_version(packed)
        if version is not None and version != FORMAT_VERSION:
            advice = "install a newer dsetkit"
            if version < FORMAT_VERSION:
                advice = "make the dataset again, or read it with the dsetkit that wrote it"
            raise DatasetError(
                f"the dataset has format {version}, this dsetkit {VERSION} reads format "
                f"{FORMAT_VERSION}: {advice}"
            )
        try:
            manifest = unseal(packed, _MANIFEST, database="manifest", key=MANIFEST_KEY)
            manifest.check()
        except DatasetError as error:
            raise DatasetError(
                f"the manifest cannot be used: {error}; copy the dataset again from its source, or "
                "make it again"
            ) from None
        return manifest

    def check(self) -> None:
        """Checks what the types of the entries do not say.

        Raises:
            DatasetError: Entries that do not fit together, or are out of their range.
        """
        number, shards = self.shard.get("number", -1), self.shard.get("shards", 0)
        if not 0 <= number < shards <= MOST_SHARDS:
            raise DatasetError(f"shard {self.shard}: expected a number below 'shards'")
        for name, codec in self.codecs.items():
            if codec not in CODECS or name not in CODECS[codec].fields:
                raise DatasetError(
                    f"codec {codec!r} of {name} is unknown to this dsetkit {VERSION}"
                )
        if self.depth_kind == "metric" and not self.max_depth_m:
            raise DatasetError("max_depth_m is 0, expected more for metric depth")
        if (self.size[0] == 0) != (self.size[1] == 0):
            raise DatasetError(f"size {self.size}: expected height and width, or two zeros")
        teacher = fitted_to(_TeacherEntries, self.teacher)
        recipe = fitted_to(_RecipeEntries, self.recipe)
        fitted_to(_SplitEntries, self.splits)
        fitted_to(_QualityEntries, self.label_quality)
        parts = len(recipe.merged)
        if not (parts == len(recipe.samples) == len(recipe.recipes)) or (
            teacher.teachers and len(teacher.teachers) != parts
        ):
            raise DatasetError("the lists of the merged datasets differ in length")
        if recipe.merged and sum(recipe.samples) != self.num_samples:
            raise DatasetError(f"the merged datasets do not have {self.num_samples:,} samples")

    def differences(self, other: "Manifest", *, ignoring: Collection[str] = ()) -> list[str]:
        """Describes each entry that differs, as in "num_samples: 30, not 31".

        Of two maps only what differs in them is named, as in "teacher size: none, not 96".

        Args:
            other: The manifest to compare with; its values come after "not".
            ignoring: Entries to leave out, besides those in TOOLING.
        """
        mine, others = asdict(self), asdict(other)
        compared = [name for name in mine if name not in {*TOOLING, *ignoring}]
        return [line for name in compared for line in _differences(name, mine[name], others[name])]


def _differences(name: str, mine: Any, other: Any) -> list[str]:
    if mine == other:
        return []
    if not (isinstance(mine, dict) and isinstance(other, dict)):
        return [f"{name}: {mine}, not {other}"]
    return [
        f"{name} {key}: {mine.get(key, 'none')}, not {other.get(key, 'none')}"
        for key in dict.fromkeys([*mine, *other])
        if (key in mine, mine.get(key)) != (key in other, other.get(key))
    ]


def grown_recipe(recipe: Mapping[str, Any], grown_from: Sequence[int]) -> dict[str, Any]:
    """The settings of a recipe, of a dataset that had so many samples before it grew."""
    plain = {name: value for name, value in recipe.items() if name != "grown"}
    return plain | ({"grown": list(grown_from)} if grown_from else {})


def manifest_entry(manifest: Manifest) -> tuple[str, bytes, bytes]:
    """(database, key, value) of a manifest, for `StoreWriter.put`."""
    return "manifest", MANIFEST_KEY, manifest.to_bytes()


def cells_entry(cells: np.ndarray) -> tuple[str, bytes, bytes]:
    """(database, key, value) of split cells, uint8 (N,), for `StoreWriter.put`."""
    content = {"cells": cells.astype(np.uint8).tobytes()}
    return "manifest", CELLS_KEY, seal(content, database="manifest", key=CELLS_KEY)


def unpack_cells(packed: bytes) -> np.ndarray:
    """Unpacks split cells: uint8 (N,), indices into CELL_NAMES.

    Raises:
        DatasetError: The bytes are damaged, or not split cells.
    """
    stored = unseal(packed, _CELLS, database="manifest", key=CELLS_KEY)
    cells = np.frombuffer(stored.cells, np.uint8)
    unknown = cells[cells >= len(CELL_NAMES)]
    if len(unknown):
        raise DatasetError(f"cell {unknown[0]}: expected 0 to {len(CELL_NAMES) - 1}")
    return cells


# ---- the schema --------------------------------------------------------------------------------


class _Cells(msgspec.Struct):
    cells: bytes


class _TeacherEntries(msgspec.Struct):
    """The entries of `Manifest.teacher` that the code uses."""

    name: _Text
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=MOST_TEACHER_BATCH)] = 1
    edge_reach: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0
    teachers: list[dict[str, Any]] = []


class _RecipeEntries(msgspec.Struct):
    """The entries of `Manifest.recipe` that the code uses."""

    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    grown: list[_Count] = []
    merged: list[_Text] = []
    samples: list[_Count] = []
    recipes: list[dict[str, Any]] = []


class _SplitEntries(msgspec.Struct):
    """The entries of `Manifest.splits` that the code uses."""

    by: _Text
    merged: list[dict[str, Any]] = []


_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _QualityEntries(msgspec.Struct, kw_only=True):
    """The entries of `Manifest.label_quality` that the code uses; {} before scoring."""

    boundary_recall: _Share | None = None
    in_front_share: _Share | None = None
    same_depth_share: _Share | None = None
    behind_share: _Share | None = None
    samples: _Count = 0


class _Version(msgspec.Struct):
    format_version: int


_MANIFEST = msgspec.msgpack.Decoder(Manifest)
_CELLS = msgspec.msgpack.Decoder(_Cells)
_VERSION = msgspec.msgpack.Decoder(_Version)


def _format_version(packed: bytes) -> int | None:
    """The format of a manifest, also of one that this version cannot read; None if unknown."""
    try:
        return decode(packed, _VERSION).format_version
    except DatasetError:
        return None
