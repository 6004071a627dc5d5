"""The record, which is a sample as stored bytes, and the units of stored depth.

A record is one msgpack map. Any program with msgpack and OpenCV can read it. `codecs` encodes its
image fields.

| key          | type        | meaning                                                            |
|--------------|-------------|--------------------------------------------------------------------|
| `background` | int or nil  | id in the `backgrounds` database; nil where an import has none     |
| `foreground` | int or nil  | id in the `foregrounds` database; nil in imported datasets         |
| `recipe`     | map         | `index` in the full set, `flip`, `box` [x, y, w, h] px; in         |
|              |             | imported datasets `name`, and whatever else is known               |
| `composite`  | bin, absent | encoded RGB image; absent in the recipe layout, where readers      |
|              |             | composite it                                                       |
| `mask`       | bin, absent | encoded 8-bit alpha of the placed foreground, 0..255; absent in    |
|              |             | the recipe layout                                                  |
| `depth`      | bin, absent | encoded uint16 depth, 0 = invalid; the manifest gives its kind     |
| `drawn`      | bin, absent | recipe layout: xxh3-64 over the pixels of the composite and then   |
|              |             | of the mask, as the teacher was given them                         |
| `checksum`   | bin, 8      | xxh3-64 over the record packed without this key                    |

Depth units: `metric` stores millimetres; `relative` stores inverse depth scaled to 1..65535.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import msgpack
import numpy as np
import xxhash

from dsetkit.errors import DatasetError

FORMAT_VERSION = 1

IMAGE_FIELDS = ("composite", "mask", "depth")


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


@dataclass(frozen=True)
class Record:
    """One sample with its image fields still encoded.

    Attributes:
        background: Id of the background; None where an import has none.
        foreground: Id of the foreground; None in imported datasets.
        recipe: As in the table above.
        fields: Encoded images by name of the field: `composite`, `mask`, `depth`.
        drawn: Checksum of the composited pixels, as in the table above.
    """

    background: int | None
    foreground: int | None
    recipe: dict[str, Any]
    fields: dict[str, bytes] = field(repr=False)
    drawn: bytes | None = None

    def asset_id(self, kind: Literal["background", "foreground"]) -> int:
        """The id of the sample's background or foreground.

        Raises:
            DatasetError: The sample was imported without one.
        """
        number = self.background if kind == "background" else self.foreground
        if number is None:
            raise DatasetError(f"the sample has no {kind}: it was imported without one")
        return number


def pack_record(record: Record) -> bytes:
    """Packs a record with its checksum."""
    content: dict[str, Any] = {
        "background": record.background,
        "foreground": record.foreground,
        "recipe": record.recipe,
        **{name: record.fields[name] for name in IMAGE_FIELDS if name in record.fields},
    }
    if record.drawn is not None:
        content["drawn"] = record.drawn
    packed = msgpack.packb(content)
    return msgpack.packb(content | {"checksum": xxhash.xxh3_64_digest(packed)})


def unpack_record(packed: bytes) -> Record:
    """Unpacks a record and verifies its checksum.

    Raises:
        DatasetError: The bytes are not a record, or they are damaged.
    """
    try:
        content = msgpack.unpackb(packed)
        checksum = content.pop("checksum")
    except (ValueError, AttributeError, KeyError, TypeError):
        raise DatasetError("not a record (no msgpack map with a checksum)") from None
    if xxhash.xxh3_64_digest(msgpack.packb(content)) != checksum:
        raise DatasetError("checksum differs: the record was damaged after it was written")
    fields = {name: content[name] for name in IMAGE_FIELDS if name in content}
    return Record(
        content["background"],
        content["foreground"],
        content["recipe"],
        fields,
        content.get("drawn"),
    )
