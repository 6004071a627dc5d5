"""The record, which is a sample as stored bytes; the stored asset; and the units of stored depth.

A record is one sealed msgpack map (see `sealed`). Any program with msgpack and OpenCV can read it.
`codecs` encodes its image fields.

| key          | type         | meaning                                                           |
|--------------|--------------|-------------------------------------------------------------------|
| `background` | int, absent  | id in the `backgrounds` database; absent where an import has none |
| `objects`    | list of maps | the placed objects, the one in front last; see below              |
| `index`      | int, absent  | index in the full set, or place in the imported set               |
| `name`       | str, absent  | name of the imported file                                         |
| `composite`  | bin, absent  | encoded RGB image; absent in the recipe layout, where readers     |
|              |              | composite it                                                      |
| `mask`       | bin, absent  | encoded 8-bit alpha of all objects together, 0..255; absent in    |
|              |              | the recipe layout                                                 |
| `depth`      | bin, absent  | encoded uint16 depth, 0 = invalid; the manifest gives its kind    |
| `instances`  | bin, absent  | encoded uint8: 0 is background, k the k-th object                 |
| `pixels`     | bin 8, absent| recipe layout: xxh3-64 over the pixels of the composite and then  |
|              |              | of the mask, as the teacher was given them                        |
| `checksum`   | bin 8        | see `sealed`                                                      |

A placed object is a map:

| key             | type            | meaning                                                     |
|-----------------|-----------------|-------------------------------------------------------------|
| `foreground`    | int, absent     | id in the `foregrounds` database; absent in imports         |
| `name`          | str, absent     | name of the cut-out, where the dataset does not store it    |
| `flip`          | bool, absent    | whether the cut-out is mirrored left to right               |
| `box`           | 4 ints, absent  | x, y, width, height of the placed cut-out [px]              |
| `plane`         | int, absent     | stored depth of the plane on which it stands, upright and   |
|                 |                 | flat, in the unit of `depth`: 1..65535                      |
| `occluded`      | bool, absent    | true where nearer parts of the background hide it           |
| `look`          | map, absent     | what makes it look like its surroundings; see `Look`        |

An asset is a sealed map of `name`, `split`, `image` (PNG) and, for a background whose depth is
known, `depth` (as in a record).

Depth units: `metric` stores millimetres; `relative` stores inverse depth scaled to 1..65535.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import numpy as np

from dsetkit.errors import DatasetError
from dsetkit.store.sealed import one_of, seal, unseal

FORMAT_VERSION = 2

IMAGE_FIELDS = ("composite", "mask", "depth", "instances")

LARGEST_SIDE = 16_384  # of a picture in a dataset [px]
MOST_SHADOW = 4096  # half the width of a shadow [px]
MOST_OBJECTS = 255  # of a sample: `instances` has 8 bits

# ---- depth: metres or inverse depth to uint16 --------------------------------------------------

LARGEST_DEPTH_M = 65.535  # the largest uint16 number of millimetres


def quantise_metric(depth_m: np.ndarray, max_depth_m: float) -> np.ndarray:
    """Converts metres, float32, to millimetres, uint16 of the same shape.

    Depths outside (0, max_depth_m] and NaN become 0, which means invalid.
    """
    valid = (depth_m > 0) & (depth_m <= max_depth_m)
    millimetres = np.rint(np.where(valid, depth_m, 0) * 1000)
    return np.maximum(millimetres, valid).astype(np.uint16)  # a valid 0.2 mm stays valid: 1


def quantise_relative(inverse_depth: np.ndarray) -> np.ndarray:
    """Converts inverse depth, float32 in [0, 1], to uint16 in 1..65535; 0 is left for invalid."""
    return np.rint(1 + np.clip(inverse_depth, 0, 1) * 65534).astype(np.uint16)


def depth_share(stored: np.ndarray, *, kind: str, max_depth_m: float) -> np.ndarray:
    """Converts stored depth, uint16, to float32 in [0, 1] of the same shape; 0 means invalid.

    Args:
        stored: uint16, as `quantise_metric` or `quantise_relative` gives it.
        kind: `metric` divides by `max_depth_m`; `relative` divides by 65535.
        max_depth_m: The manifest's; deeper pixels become 1 [m].
    """
    full_scale = max_depth_m * 1000 if kind == "metric" else 65535
    return np.minimum(stored.astype(np.float32) / np.float32(full_scale), np.float32(1))


# ---- the record --------------------------------------------------------------------------------

_Id = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
_Text = Annotated[str, msgspec.Meta(max_length=65_536)]
_Bytes8 = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
_Side = Annotated[int, msgspec.Meta(ge=1, le=LARGEST_SIDE)]
_Offset = Annotated[int, msgspec.Meta(ge=0, lt=LARGEST_SIDE)]
_Plane = Annotated[int, msgspec.Meta(ge=1, le=65535)]


_Level = Annotated[int, msgspec.Meta(ge=-1024, le=1024)]
_Length = Annotated[int, msgspec.Meta(ge=1, le=MOST_SHADOW)]


class Colour(msgspec.Struct, frozen=True, kw_only=True):
    """Contrast, brightness and cast of a cut-out.

    Attributes:
        gain: A colour is multiplied by it, in 256 parts.
        shift: Levels of 0..255 that are then added to R, G and B.
    """

    gain: Annotated[int, msgspec.Meta(ge=0, le=1024)]
    shift: tuple[_Level, _Level, _Level]


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """Noise of a cut-out.

    Attributes:
        deviation: Its standard deviation on the canvas, in 16 parts of a level of 0..255.
        key: Key of its random numbers.
    """

    deviation: Annotated[int, msgspec.Meta(ge=0, le=4096)]
    key: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]


class Shadow(msgspec.Struct, frozen=True, kw_only=True):
    """An ellipse of shade on the floor under an object.

    Attributes:
        x: Column of its middle [px].
        y: Row of its middle [px].
        across: Half its width [px].
        down: Half its height [px].
        strength: How much it darkens its middle, in 256 parts.
    """

    x: _Offset
    y: _Offset
    across: _Length
    down: _Length
    strength: Annotated[int, msgspec.Meta(ge=0, le=256)]


class Look(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is done to a cut-out before it is laid over its background, in this order.

    Attributes:
        colour: Contrast, brightness and cast; None leaves them.
        blur: Variance of a blur on the canvas, in 128 parts of a square pixel.
        noise: Its noise; None without.
        shadow: Its shadow; None without.
    """

    colour: Colour | None = None
    blur: Annotated[int, msgspec.Meta(ge=0, le=4096)] = 0
    noise: Noise | None = None
    shadow: Shadow | None = None


class PlacedObject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A cut-out, and where it stands in a sample.

    Attributes:
        foreground: Id of the foreground; None in imported datasets.
        name: Name of the cut-out where the dataset does not store it; empty if it is not known.
        flip: Whether it is mirrored left to right; None if that is not known.
        box: x, y, width, height [px]; None if that is not known.
        plane: Stored depth of the plane on which it stands, upright and flat, 1..65535 in the
            unit of the field `depth`; None if it has none.
        occluded: Whether nearer parts of the background hide it.
        look: What makes it look like its surroundings; None leaves it as it is.
    """

    foreground: _Id | None = None
    name: _Text = ""
    flip: bool | None = None
    box: tuple[_Offset, _Offset, _Side, _Side] | None = None
    plane: _Plane | None = None
    occluded: bool = False
    look: Look | None = None


@dataclass(frozen=True)
class Record:
    """One sample with its image fields still encoded.

    Attributes:
        background: Id of the background; None where an import has none.
        objects: The placed objects, the one in front last.
        fields: Encoded images by name of the field, of IMAGE_FIELDS.
        index: Index in the full set, or place in the imported set; None if it has none.
        name: Name of the imported file; empty in generated datasets.
        pixels: Checksum of the composited pixels, as in the table above.
    """

    background: int | None
    objects: tuple[PlacedObject, ...]
    fields: dict[str, bytes] = field(repr=False)
    index: int | None = None
    name: str = ""
    pixels: bytes | None = None

    def background_id(self) -> int:
        """The id of the sample's background.

        Raises:
            DatasetError: The sample was imported without one.
        """
        if self.background is None:
            raise DatasetError("the sample has no background: it was imported without one")
        return self.background


class _StoredRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The schema of a record, without its checksum."""

    background: _Id | None = None
    objects: Annotated[tuple[PlacedObject, ...], msgspec.Meta(max_length=MOST_OBJECTS)]
    index: Annotated[int, msgspec.Meta(ge=0, le=2**62)] | None = None
    name: _Text = ""
    composite: bytes | None = None
    mask: bytes | None = None
    depth: bytes | None = None
    instances: bytes | None = None
    pixels: _Bytes8 | None = None


_RECORD = msgspec.msgpack.Decoder(_StoredRecord)


def pack_record(record: Record, key: bytes) -> bytes:
    """Packs a record with its checksum.

    Args:
        record: The record.
        key: Its key in the database `samples`, see `u64_key`.
    """
    stored = _StoredRecord(
        background=record.background,
        objects=record.objects,
        index=record.index,
        name=record.name,
        pixels=record.pixels,
        **record.fields,
    )
    return seal(_entries(stored), database="samples", key=key)


def unpack_record(packed: bytes, key: bytes) -> Record:
    """Unpacks a record and verifies its checksum.

    Args:
        packed: The bytes.
        key: Their key in the database `samples`.

    Raises:
        DatasetError: The bytes are damaged, or not the record of this key.
    """
    stored = unseal(packed, _RECORD, database="samples", key=key)
    named = ((name, getattr(stored, name)) for name in IMAGE_FIELDS)
    fields = {name: encoded for name, encoded in named if encoded is not None}
    return Record(
        stored.background, stored.objects, fields, stored.index, stored.name, stored.pixels
    )


# ---- the asset ---------------------------------------------------------------------------------


class StoredAsset(msgspec.Struct, frozen=True, omit_defaults=True):
    """An asset as a dataset stores it.

    Attributes:
        name: Its name, unique among the assets of its kind.
        split: `train`, `val` or `test`.
        image: The picture, encoded by `encode_asset`.
        depth: Depth of a background, encoded by the codec `png16`; None if it is not known.
    """

    name: _Text
    split: Annotated[str, one_of("train", "val", "test")]
    image: bytes
    depth: bytes | None = None


_ASSET = msgspec.msgpack.Decoder(StoredAsset)


def pack_asset(asset: StoredAsset, *, database: str, key: bytes) -> bytes:
    """Packs an asset with its checksum.

    Args:
        asset: The asset.
        database: `backgrounds` or `foregrounds`.
        key: Its key there, see `u32_key`.
    """
    return seal(_entries(asset), database=database, key=key)


def unpack_asset(packed: bytes, *, database: str, key: bytes) -> StoredAsset:
    """Unpacks an asset and verifies its checksum.

    Raises:
        DatasetError: The bytes are damaged, or not the asset of this key.
    """
    return unseal(packed, _ASSET, database=database, key=key)


def _entries(stored: msgspec.Struct) -> dict[str, Any]:
    """The entries of a map; those that are absent are left out."""
    return msgspec.to_builtins(stored, builtin_types=(bytes,))
