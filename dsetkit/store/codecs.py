"""Codecs: they encode one image field of a sample to bytes and decode it.

A dataset's manifest names the codec of each field. Any program can read the PNG and JPEG codecs.
The zstd and pco codecs decode faster, but a reader needs the packages `zstandard` or `pcodec`.
docs/results.md gives microseconds and bytes for each codec, measured on real photographs.
"""

import os
from collections.abc import Callable, Collection, Mapping
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

MOST_PIXELS = 1 << 26  # of an image; a header may promise more than the bytes hold
# OpenCV reads this setting before it decodes its first image, and refuses larger ones.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))


@dataclass(frozen=True)
class Codec:
    """An encoder and its decoder under one name.

    Attributes:
        name: The codec's name in the manifest.
        fields: Names of the fields it can encode.
        encode: Encodes an image, uint8 (H,W,3), uint8 (H,W) or uint16 (H,W) as CODECS says.
        decode: Decodes to the same shape and dtype. Raises DatasetError if the bytes are damaged.
        lossless: Whether decode(encode(image)) equals the image.
        reduced: Maps a divisor to a faster decoder whose result is smaller by that divisor.
        transcode: Maps the name of another codec to what makes this one's bytes of its bytes, as
            `encode` would make them of the picture before it was encoded at all.
    """

    name: str
    fields: tuple[str, ...]
    encode: Callable[[np.ndarray], bytes]
    decode: Callable[[bytes], np.ndarray]
    lossless: bool
    reduced: Mapping[int, Callable[[bytes], np.ndarray]] = field(default_factory=dict)
    transcode: Mapping[str, Callable[[bytes], bytes]] = field(default_factory=dict)


# ---- colour ------------------------------------------------------------------------------------


def _imencode(extension: str, image: np.ndarray, parameters: list[int]) -> bytes:
    done, encoded = cv2.imencode(extension, image, parameters)
    if not done:
        raise ValueError(f"OpenCV cannot encode {image.shape} {image.dtype} as {extension}")
    return encoded.tobytes()


def decode_with_opencv(encoded: bytes, flags: int) -> np.ndarray | None:
    """Decodes a picture with OpenCV, of at most MOST_PIXELS.

    Args:
        encoded: The bytes.
        flags: As of `cv2.imdecode`.

    Returns:
        The pixels. None if OpenCV cannot decode them.
    """
    if not encoded:
        return None
    try:
        return cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:
        return None


def _imdecode(encoded: bytes, flags: int) -> np.ndarray:
    image = decode_with_opencv(encoded, flags)
    if image is None:
        raise DatasetError(UNDECODABLE)
    return image


def _encode_jpeg(image: np.ndarray, *parameters: int) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return _imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 95, *parameters])


def _encode_colour_png(image: np.ndarray) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return _imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])


def _decode_colour(encoded: bytes) -> np.ndarray:
    return _imdecode(encoded, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


# IMREAD_REDUCED_COLOR_2 asks for half the size and for BGR; this keeps only the half size.
_HALF = cv2.IMREAD_REDUCED_COLOR_2 & ~cv2.IMREAD_COLOR_BGR


def _decode_half(encoded: bytes) -> np.ndarray:
    return _imdecode(encoded, _HALF | cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


# A JPEG can hold the same picture at half the size: a second JPEG, in application segments behind
# its first marker, as cameras store previews. Other programs pass over them. A network of 64 px
# then decodes a quarter of the pixels.
_START, _SEGMENT = b"\xff\xd8", b"\xff\xef"  # of a JPEG; APP15
_MOST_IN_SEGMENT = 0xFFFF - 2  # bytes, without the two of the length


def _with_half(jpeg: bytes) -> bytes:
    """A JPEG with itself at half the size, as `jpeg95` decodes that, in full colour resolution."""
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    half = _encode_jpeg(_decode_half(jpeg), *sampling)
    pieces = (half[at : at + _MOST_IN_SEGMENT] for at in range(0, len(half), _MOST_IN_SEGMENT))
    segments = (_SEGMENT + (len(piece) + 2).to_bytes(2, "big") + piece for piece in pieces)
    return _START + b"".join(segments) + jpeg[len(_START) :]


def _stored_half(encoded: bytes) -> tuple[bytes, int]:
    """The smaller JPEG within a JPEG, and where the larger one goes on."""
    at, pieces = len(_START), []
    while encoded[at : at + 2] == _SEGMENT:
        end = at + 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
        if end < at + 4:  # a length counts itself
            raise DatasetError(UNDECODABLE)
        pieces.append(encoded[at + 4 : end])
        at = end
    return b"".join(pieces), at


def _without_half(encoded: bytes) -> bytes:
    _, rest = _stored_half(encoded)
    return _START + encoded[rest:]


def _encode_jpeg_with_half(image: np.ndarray) -> bytes:
    return _with_half(_encode_jpeg(image))


def _decode_stored_half(encoded: bytes) -> np.ndarray:
    half, _ = _stored_half(encoded)
    return _decode_colour(half)


# ---- masks and depths --------------------------------------------------------------------------


def _decode_grey_png(encoded: bytes, dtype: type) -> np.ndarray:
    image = png.decode(encoded, most_pixels=MOST_PIXELS)
    if image is None:
        image = _imdecode(encoded, cv2.IMREAD_UNCHANGED)
    if image.ndim != 2 or image.dtype != dtype:
        expected = f"{np.dtype(dtype)} with 2 axes"
        raise DatasetError(f"an image is {image.dtype} {image.shape}, expected {expected}")
    return image


def _decode_png8(encoded: bytes) -> np.ndarray:
    return _decode_grey_png(encoded, np.uint8)


def _decode_png16(encoded: bytes) -> np.ndarray:
    return _decode_grey_png(encoded, np.uint16)


# zstd and pco fields begin with height and width as two little-endian u16. One zstd frame or one
# pco file follows.
_SHAPE = np.dtype("<u2")
_LEVEL = 1


class _Zstd(local):
    """The zstd contexts of one thread.

    Making a context costs more than using it, and two threads must not share one.
    """

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=_LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_zstd = lru_cache(_Zstd)  # created on first use; `threading.local` gives each thread its contexts


def _zstd_encode_mask(mask: np.ndarray) -> bytes:
    return _shape_prefix(mask) + _zstd().compress(np.ascontiguousarray(mask).data)


def _zstd_decode_mask(encoded: bytes) -> np.ndarray:
    (height, width), octets = _zstd_decompress(encoded, itemsize=1)
    return octets.reshape(height, width)


# A depth pixel is stored as its difference from its left neighbour, plus 128. Small differences of
# either sign then have a high byte of 0. All low bytes come first, then all high bytes.
_BIAS = 128


def _zstd_encode_depth(depth: np.ndarray) -> bytes:
    steps = depth + np.uint16(_BIAS)
    steps[:, 1:] -= depth[:, :-1]
    octets = steps.astype("<u2").view(np.uint8).reshape(-1, 2)
    planes = octets[:, 0].tobytes() + octets[:, 1].tobytes()
    return _shape_prefix(depth) + _zstd().compress(planes)


def _zstd_decode_depth(encoded: bytes) -> np.ndarray:
    (height, width), octets = _zstd_decompress(encoded, itemsize=2)
    low, high = octets.reshape(2, height, width)
    depth = high.astype(np.uint16)
    depth <<= 8
    depth |= low
    np.add.accumulate(depth, axis=1, out=depth)
    depth -= _summed_bias(width)
    return depth


@lru_cache(maxsize=64)
def _summed_bias(width: int) -> np.ndarray:
    """The sum of all biases up to each pixel of a row, modulo 2**16: uint16 (width,)."""
    return (_BIAS * np.arange(1, width + 1)).astype(np.uint16)


def _zstd_decompress(encoded: bytes, *, itemsize: int) -> tuple[tuple[int, int], np.ndarray]:
    """(height, width) and the decompressed bytes, uint8 (height * width * itemsize,).

    Raises:
        DatasetError: The field is damaged.
    """
    try:
        (height, width), frame = _split_shape(encoded)
        promised = height * width
        if promised > MOST_PIXELS or zstandard.frame_content_size(frame) != promised * itemsize:
            raise ValueError
        octets = _zstd().decompress(frame)
    except (zstandard.ZstdError, ValueError):
        raise DatasetError(UNDECODABLE) from None
    return (height, width), np.frombuffer(octets, np.uint8)


# Pco (Loncaric 2025) compresses numbers. Here it stores differences between neighbours and spends
# fewer bits on frequent differences. Levels run from 0 to 12; levels above 4 decode more slowly.
_PCO = pcodec.ChunkConfig(
    compression_level=4,
    mode_spec=pcodec.ModeSpec.classic(),
    delta_spec=pcodec.DeltaSpec.try_consecutive(1),
)


def _pco_encode_depth(depth: np.ndarray) -> bytes:
    return _shape_prefix(depth) + pcodec.standalone.simple_compress(depth.ravel(), _PCO)


def _pco_decode_depth(encoded: bytes) -> np.ndarray:
    try:
        (height, width), file = _split_shape(encoded)
        if height * width > MOST_PIXELS:
            raise ValueError
        depth = np.empty(height * width, np.uint16)
        progress = pcodec.standalone.simple_decompress_into(bytes(file), depth)
        if not progress.finished or progress.n_processed != depth.size:
            raise ValueError
    except (RuntimeError, TypeError, ValueError):
        raise DatasetError(UNDECODABLE) from None
    return depth.reshape(height, width)


def _shape_prefix(image: np.ndarray) -> bytes:
    return np.array(image.shape, _SHAPE).tobytes()


def _split_shape(encoded: bytes) -> tuple[tuple[int, int], memoryview]:
    """(height, width) and the bytes after them; ValueError if `encoded` is too short."""
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
            transcode={"jpeg95+half": _without_half},
        ),
        Codec(
            "jpeg95+half",
            ("composite",),
            _encode_jpeg_with_half,
            _decode_colour,
            lossless=False,
            reduced={2: _decode_stored_half},
            transcode={"jpeg95": _with_half},
        ),
        Codec("png", ("composite",), _encode_colour_png, _decode_colour, lossless=True),
        # uint8 (H,W)
        Codec("png8", ("mask", "instances"), png.encode, _decode_png8, lossless=True),
        # uint16 (H,W)
        Codec("png16", ("depth",), png.encode, _decode_png16, lossless=True),
        # uint8 (H,W), uint16 (H,W)
        Codec("zstd8", ("mask",), _zstd_encode_mask, _zstd_decode_mask, lossless=True),
        Codec("zstd16", ("depth",), _zstd_encode_depth, _zstd_decode_depth, lossless=True),
        # uint16 (H,W)
        Codec("pco16", ("depth",), _pco_encode_depth, _pco_decode_depth, lossless=True),
    )
}

DEFAULT_CODECS = {"composite": "jpeg95", "mask": "png8", "depth": "png16", "instances": "png8"}
RECIPE_CODECS = {"depth": "pco16"}  # this layout stores no field that a recipe gives
BACKGROUND_DEPTH_CODEC = "png16"  # of the depth of a background
LAYOUT_CODECS = {"rendered": DEFAULT_CODECS, "recipe": RECIPE_CODECS}


def stored_fields(fields: Collection[str], *, layout: str, has_scene_depth: bool) -> list[str]:
    """The fields that a layout stores for each sample; readers composite the others.

    Args:
        fields: The fields of the dataset.
        layout: `rendered` or `recipe`.
        has_scene_depth: Whether depth follows from the recipe.
    """
    from_recipe = {"background"}
    if layout == "recipe":
        from_recipe |= {"composite", "mask", "instances"}
        from_recipe |= {"depth"} if has_scene_depth else set()
    return [name for name in fields if name not in from_recipe]


def chosen_codecs(layout: str, wanted: Mapping[str, str]) -> dict[str, str]:
    """The codec name of each field that a layout stores.

    Args:
        layout: `rendered` or `recipe`.
        wanted: Codec names by field; other fields get the layout's default codec.

    Raises:
        DatasetError: The layout is unknown, it does not store a field, or a codec cannot encode its
            field.
    """
    if layout not in LAYOUT_CODECS:
        raise DatasetError(f"--layout {layout}: expected {' or '.join(LAYOUT_CODECS)}")
    defaults = LAYOUT_CODECS[layout]
    for stored, name in wanted.items():
        possible = [codec.name for codec in CODECS.values() if stored in codec.fields]
        if stored not in defaults:
            raise DatasetError(
                f"--codec {stored}={name}: layout {layout} stores {', '.join(defaults)} only"
            )
        if name not in possible:
            expected = " or ".join(possible)
            raise DatasetError(f"--codec {stored}={name}: expected {stored}={expected}")
    return defaults | dict(wanted)
