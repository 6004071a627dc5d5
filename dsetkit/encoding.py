"""Samples to bytes and back: the codecs of single fields, and the record that holds them.

A record is one msgpack map; any program with msgpack and OpenCV can read it.

| key          | type        | meaning                                                            |
|--------------|-------------|--------------------------------------------------------------------|
| `background` | int or nil  | id in the `backgrounds` database; nil where an import has none     |
| `foreground` | int or nil  | id in the `foregrounds` database; nil in imported datasets         |
| `recipe`     | map         | `index` in the full set, `flip`, `box` [x, y, w, h] px; imported:  |
|              |             | `name`, and what else is known                                     |
| `composite`  | bin         | encoded RGB image                                                  |
| `mask`       | bin, absent | encoded 8-bit alpha of the placed foreground, 0..255               |
| `depth`      | bin, absent | encoded uint16 depth, 0 = invalid; unit and kind: in the manifest  |
| `checksum`   | bin, 8      | xxh3-64 over the record packed without this key                    |

Depth units: `metric` stores millimetres; `relative` stores inverse depth scaled to 1..65535.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import msgpack
import numpy as np
import xxhash

from dsetkit.errors import DatasetError

FORMAT_VERSION = 1

IMAGE_FIELDS = ("composite", "mask", "depth")


# ---- codecs: an array to bytes and back --------------------------------------------------------


@dataclass(frozen=True)
class Codec:
    """A named pair of functions; `lossless` says whether decode(encode(x)) == x."""

    name: str
    encode: Callable[[np.ndarray], bytes]
    decode: Callable[[bytes], np.ndarray]
    lossless: bool


def _imencode(extension: str, image: np.ndarray, parameters: list[int]) -> bytes:
    done, encoded = cv2.imencode(extension, image, parameters)
    if not done:
        raise ValueError(f"OpenCV cannot encode {image.shape} {image.dtype} as {extension}")
    return encoded.tobytes()


def _imdecode(encoded: bytes, flags: int) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    if image is None:
        raise DatasetError("an encoded image cannot be decoded")
    return image


def _encode_jpeg(image: np.ndarray) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return _imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])


def _decode_colour(encoded: bytes) -> np.ndarray:
    return _imdecode(encoded, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


def _encode_colour_png(image: np.ndarray) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return _imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])


# Run lengths take half the time of the default strategy, and no more room. Masks are mostly flat:
# trying row filters on them costs more than all the rest, for nothing.
_RUN_LENGTHS = [
    cv2.IMWRITE_PNG_COMPRESSION,
    1,
    cv2.IMWRITE_PNG_STRATEGY,
    cv2.IMWRITE_PNG_STRATEGY_RLE,
]
_UNFILTERED = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]


def _encode_mask_png(image: np.ndarray) -> bytes:
    return _imencode(".png", image, _RUN_LENGTHS + _UNFILTERED)


def _encode_depth_png(image: np.ndarray) -> bytes:
    return _imencode(".png", image, _RUN_LENGTHS)


def _decode_grey(encoded: bytes) -> np.ndarray:
    return _imdecode(encoded, cv2.IMREAD_UNCHANGED)


CODECS = {
    codec.name: codec
    for codec in (
        Codec("jpeg95", _encode_jpeg, _decode_colour, lossless=False),  # uint8 (H,W,3) RGB
        Codec("png", _encode_colour_png, _decode_colour, lossless=True),  # uint8 (H,W,3) RGB
        Codec("png8", _encode_mask_png, _decode_grey, lossless=True),  # uint8 (H,W)
        Codec("png16", _encode_depth_png, _decode_grey, lossless=True),  # uint16 (H,W)
    )
}

DEFAULT_CODECS = {"composite": "jpeg95", "mask": "png8", "depth": "png16"}


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
    """One sample with its fields still encoded."""

    background: int | None
    foreground: int | None
    recipe: dict
    fields: dict[str, bytes] = field(repr=False)


def pack_record(record: Record) -> bytes:
    """A record as bytes, with its checksum."""
    content = {
        "background": record.background,
        "foreground": record.foreground,
        "recipe": record.recipe,
        **{name: record.fields[name] for name in IMAGE_FIELDS if name in record.fields},
    }
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
    return Record(content["background"], content["foreground"], content["recipe"], fields)
