"""Samples to bytes and back: the record, and the units of depth; `codecs` packs single fields.

A record is one msgpack map; any program with msgpack and OpenCV can read it.

| key          | type        | meaning                                                            |
|--------------|-------------|--------------------------------------------------------------------|
| `background` | int or nil  | id in the `backgrounds` database; nil where an import has none     |
| `foreground` | int or nil  | id in the `foregrounds` database; nil in imported datasets         |
| `recipe`     | map         | `index` in the full set, `flip`, `box` [x, y, w, h] px; imported:  |
|              |             | `name`, and what else is known                                     |
| `composite`  | bin, absent | encoded RGB image; absent in the recipe layout, which redraws it   |
| `mask`       | bin, absent | encoded 8-bit alpha of the placed foreground, 0..255; likewise     |
| `depth`      | bin, absent | encoded uint16 depth, 0 = invalid; unit and kind: in the manifest  |
| `drawn`      | bin, absent | recipe layout: xxh3-64 over the pixels of composite, then mask, as |
|              |             | the teacher saw them                                               |
| `checksum`   | bin, 8      | xxh3-64 over the record packed without this key                    |

Depth units: `metric` stores millimetres; `relative` stores inverse depth scaled to 1..65535.
"""

from dataclasses import dataclass, field

import msgpack
import numpy as np
import xxhash

from dsetkit.errors import DatasetError

FORMAT_VERSION = 1

IMAGE_FIELDS = ("composite", "mask", "depth")


# ---- depth: metres or inverse depth to uint16 --------------------------------------------------

LARGEST_DEPTH_M = 65.535  # that millimetres in 16 bits reach


def quantise_metric(depth_m: np.ndarray, max_depth_m: float) -> np.ndarray:
    """Metres float32 -> millimetres uint16; what is not in (0, max_depth_m] becomes 0 = invalid."""
    valid = (depth_m > 0) & (depth_m <= max_depth_m)
    millimetres = np.rint(np.where(valid, depth_m, 0) * 1000)
    return np.maximum(millimetres, valid).astype(np.uint16)  # a valid 0.2 mm is not invalid


def quantise_relative(inverse_depth: np.ndarray) -> np.ndarray:
    """Inverse depth float32 in [0, 1] -> uint16 1..65535 (0 stays free for invalid)."""
    return np.rint(1 + np.clip(inverse_depth, 0, 1) * 65534).astype(np.uint16)


def depth_share(stored: np.ndarray, *, kind: str, max_depth_m: float) -> np.ndarray:
    """Stored uint16 depth -> float32 in [0, 1], 0 = invalid.

    Metric depth becomes a share of `max_depth_m`; relative (inverse) depth a share of its range.
    """
    full_scale = max_depth_m * 1000 if kind == "metric" else 65535
    return np.minimum(stored.astype(np.float32) / np.float32(full_scale), np.float32(1))


# ---- the record --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """One sample with its fields still encoded; `drawn` as in the table above."""

    background: int | None
    foreground: int | None
    recipe: dict
    fields: dict[str, bytes] = field(repr=False)
    drawn: bytes | None = None


def pack_record(record: Record) -> bytes:
    """A record as bytes, with its checksum."""
    content = {
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
    """The record in `packed`, its checksum verified.

    Raises:
        DatasetError: The bytes are not a record, or were damaged.
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
