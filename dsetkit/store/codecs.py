"""The codecs of single fields: a picture, a mask or a depth to bytes and back.

Which one packed a field stands in the manifest, by name. PNG and JPEG any program reads; the zstd
and pco ones take less time to read, and need `zstandard` and `pcodec`. Microseconds a sample and
bytes, on real photographs: docs/results.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from threading import local

import cv2
import numpy as np
import pcodec
import zstandard

from dsetkit.errors import DatasetError
from dsetkit.store import png

UNDECODABLE = "an encoded image cannot be decoded"


@dataclass(frozen=True)
class Codec:
    """A named pair of functions.

    Attributes:
        name: What the manifest calls it.
        packs: The fields it is for.
        encode: An image to bytes.
        decode: Bytes to the image; raises DatasetError if they are none.
        lossless: Whether decode(encode(x)) == x.
        reduced: By divisor, a decoder that gives the image so many times smaller, in less time.
    """

    name: str
    packs: tuple[str, ...]
    encode: Callable[[np.ndarray], bytes]
    decode: Callable[[bytes], np.ndarray]
    lossless: bool
    reduced: Mapping[int, Callable[[bytes], np.ndarray]] = field(default_factory=dict)


# ---- colour ------------------------------------------------------------------------------------


def _imencode(extension: str, image: np.ndarray, parameters: list[int]) -> bytes:
    done, encoded = cv2.imencode(extension, image, parameters)
    if not done:
        raise ValueError(f"OpenCV cannot encode {image.shape} {image.dtype} as {extension}")
    return encoded.tobytes()


def _imdecode(encoded: bytes, flags: int) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags) if encoded else None
    if image is None:
        raise DatasetError(UNDECODABLE)
    return image


def _encode_jpeg(image: np.ndarray) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return _imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])


def _encode_colour_png(image: np.ndarray) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return _imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])


def _decode_colour(encoded: bytes) -> np.ndarray:
    return _imdecode(encoded, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


_HALF = cv2.IMREAD_REDUCED_COLOR_2 & ~cv2.IMREAD_COLOR_BGR  # the size without the order of colours


def _decode_half(encoded: bytes) -> np.ndarray:
    return _imdecode(encoded, _HALF | cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


# ---- masks and depths --------------------------------------------------------------------------


def _decode_grey_png(encoded: bytes) -> np.ndarray:
    ours = png.decode(encoded)
    return ours if ours is not None else _imdecode(encoded, cv2.IMREAD_UNCHANGED)


# zstd and pco: height and width as two little-endian u16, then one frame or file of that codec.
_SHAPE = np.dtype("<u2")
_LEVEL = 1


class _Zstd(local):
    """Contexts of one thread: they cost more to make than to use, and serve one at a time."""

    def __init__(self) -> None:
        self.pack = zstandard.ZstdCompressor(level=_LEVEL).compress
        self.unpack = zstandard.ZstdDecompressor().decompress


_zstd = lru_cache(_Zstd)  # made when first needed; each thread sees its own contexts


def _zstd_encode_mask(mask: np.ndarray) -> bytes:
    return _shape_of(mask) + _zstd().pack(np.ascontiguousarray(mask))


def _zstd_decode_mask(encoded: bytes) -> np.ndarray:
    (height, width), octets = _unpacked(encoded, itemsize=1)
    return octets.reshape(height, width)


# Depth: the difference to the left neighbour plus 128, so that small steps of either sign leave
# the high byte 0; then all low bytes, then all high bytes.
_BIAS = 128


def _zstd_encode_depth(depth: np.ndarray) -> bytes:
    steps = depth + np.uint16(_BIAS)
    steps[:, 1:] -= depth[:, :-1]
    octets = steps.astype("<u2").view(np.uint8).reshape(-1, 2)
    planes = octets[:, 0].tobytes() + octets[:, 1].tobytes()
    return _shape_of(depth) + _zstd().pack(planes)


def _zstd_decode_depth(encoded: bytes) -> np.ndarray:
    (height, width), octets = _unpacked(encoded, itemsize=2)
    low, high = octets.reshape(2, height, width)
    depth = high.astype(np.uint16)
    depth <<= 8
    depth |= low
    np.add.accumulate(depth, axis=1, out=depth)
    depth -= _biases(width)
    return depth


@lru_cache(maxsize=64)
def _biases(width: int) -> np.ndarray:
    """What the biases of a row have summed up to at each pixel."""
    return (_BIAS * np.arange(1, width + 1)).astype(np.uint16)


def _unpacked(encoded: bytes, *, itemsize: int) -> tuple[tuple[int, int], np.ndarray]:
    """Shape and bytes of a zstd field."""
    try:
        (height, width), frame = _shape_and_rest(encoded)
        if zstandard.frame_content_size(frame) != height * width * itemsize:
            raise ValueError
        octets = _zstd().unpack(frame)
    except (zstandard.ZstdError, ValueError):
        raise DatasetError(UNDECODABLE) from None
    return (height, width), np.frombuffer(octets, np.uint8)


# Pco (Loncaric 2025) packs numbers: here the differences to the left neighbour, in bits that fit
# how often each size of step comes. Level 4 of 0..12: what is above takes longer to unpack.
_PCO = pcodec.ChunkConfig(
    compression_level=4,
    mode_spec=pcodec.ModeSpec.classic(),
    delta_spec=pcodec.DeltaSpec.try_consecutive(1),
)


def _pco_encode_depth(depth: np.ndarray) -> bytes:
    return _shape_of(depth) + pcodec.standalone.simple_compress(depth.ravel(), _PCO)


def _pco_decode_depth(encoded: bytes) -> np.ndarray:
    try:
        (height, width), file = _shape_and_rest(encoded)
        depth = np.empty(height * width, np.uint16)
        progress = pcodec.standalone.simple_decompress_into(bytes(file), depth)
        if not progress.finished or progress.n_processed != depth.size:
            raise ValueError
    except (RuntimeError, TypeError, ValueError):
        raise DatasetError(UNDECODABLE) from None
    return depth.reshape(height, width)


def _shape_of(image: np.ndarray) -> bytes:
    return np.array(image.shape, _SHAPE).tobytes()


def _shape_and_rest(encoded: bytes) -> tuple[tuple[int, int], memoryview]:
    """(height, width) and what follows; ValueError if there is less."""
    height, width = np.frombuffer(encoded, _SHAPE, 2).tolist()
    return (height, width), memoryview(encoded)[2 * _SHAPE.itemsize :]


# ---- the registry ------------------------------------------------------------------------------

CODECS = {
    codec.name: codec
    for codec in (
        # uint8 (H,W,3) RGB
        Codec(
            "jpeg95",
            ("composite",),
            _encode_jpeg,
            _decode_colour,
            lossless=False,
            reduced={2: _decode_half},
        ),
        Codec("png", ("composite",), _encode_colour_png, _decode_colour, lossless=True),
        # uint8 (H,W)
        Codec("png8", ("mask",), png.encode, _decode_grey_png, lossless=True),
        # uint16 (H,W)
        Codec("png16", ("depth",), png.encode, _decode_grey_png, lossless=True),
        # uint8 (H,W), uint16 (H,W)
        Codec("zstd8", ("mask",), _zstd_encode_mask, _zstd_decode_mask, lossless=True),
        Codec("zstd16", ("depth",), _zstd_encode_depth, _zstd_decode_depth, lossless=True),
        # uint16 (H,W)
        Codec("pco16", ("depth",), _pco_encode_depth, _pco_decode_depth, lossless=True),
    )
}

DEFAULT_CODECS = {"composite": "jpeg95", "mask": "png8", "depth": "png16"}
RECIPE_CODECS = {"depth": "pco16"}  # composite and mask are not stored
LAYOUT_CODECS = {"rendered": DEFAULT_CODECS, "recipe": RECIPE_CODECS}


def chosen_codecs(layout: str, wanted: Mapping[str, str]) -> dict[str, str]:
    """The codec name of each field a layout stores.

    Args:
        layout: `rendered` or `recipe`.
        wanted: Codec names by field, where they shall not be the layout's own.

    Raises:
        DatasetError: No such layout, field or codec, or one that does not fit the field.
    """
    if layout not in LAYOUT_CODECS:
        raise DatasetError(f"--layout {layout}: expected {' or '.join(LAYOUT_CODECS)}")
    own = LAYOUT_CODECS[layout]
    for stored, name in wanted.items():
        fitting = [codec.name for codec in CODECS.values() if stored in codec.packs]
        if stored not in own:
            raise DatasetError(
                f"--codec {stored}={name}: layout {layout} stores {', '.join(own)} only"
            )
        if name not in fitting:
            raise DatasetError(f"--codec {stored}={name}: expected {stored}={' or '.join(fitting)}")
    return own | dict(wanted)
