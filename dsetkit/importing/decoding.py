"""Composites, masks, depths and backgrounds stored as PNG, JPEG or WebP by other programs.

All functions raise AssetError with the reason alone; the caller adds the file. Masks and depths
come as stored; `turning` tells which way up they belong.

Depth comes as grey, 8 or 16 bit. Relative depth is kept as nearness, a share of the grey range that
grows towards the viewer: the grey itself where near is bright, otherwise 1 minus the grey. That
keeps the order of depths and their even steps. It is not true inverse depth where the author stored
depth: that needs the range and offset, which were lost when the author scaled it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from dsetkit.assets import Picture, decode_picture, turn, turned_size, without_metadata
from dsetkit.errors import AssetError, DatasetError
from dsetkit.importing.turning import Size
from dsetkit.store import CODECS, quantise_metric, quantise_relative

POLARITIES = ("far-bright", "near-bright")

# What the codecs of composites read like Pillow does; others are encoded anew.
CODEC_OF_FORMAT = {"PNG": "png", "JPEG": "jpeg95", "WEBP": "png"}
KEPT_FORMATS = ("PNG", "JPEG")
KEPT_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I")
MAX_METADATA_BYTES = 2**16  # libpng warns of more on every read

CHANNELS_DIFFER = 3  # grey levels; channels of a lossy grey picture may differ by rounding


@dataclass(frozen=True)
class DepthScale:
    """How the grey of depth pictures becomes stored depth.

    Attributes:
        polarity: One of POLARITIES: what bright grey means.
        full_scale: 8-bit grey that stands for the whole range; for 16-bit grey it is 65535.
        max_depth_m: Depth of the whole range [m]; 0 = relative depth.
    """

    polarity: str
    full_scale: int = 255
    max_depth_m: float = 0.0

    @property
    def kind(self) -> str:
        """`metric` or `relative`."""
        return "metric" if self.max_depth_m else "relative"

    def stored(self, encoded: bytes) -> "Label":
        """Decodes a depth picture to depth as the dataset stores it.

        Returns:
            uint16 (h,w): millimetres, or inverse depth scaled to 1..65535; 0 = invalid.

        Raises:
            AssetError: The picture cannot be decoded, or is not grey.
        """
        grey, orientation = decode_grey(encoded, what="depth")
        full_scale = 65535 if grey.dtype == np.uint16 else self.full_scale
        share = np.minimum(grey.astype(np.float32) / full_scale, 1)
        far_is_bright = self.polarity == "far-bright"
        if self.kind == "metric":
            depth = share if far_is_bright else 1 - share
            stored = quantise_metric(depth * np.float32(self.max_depth_m), self.max_depth_m)
        else:
            stored = quantise_relative(1 - share if far_is_bright else share)
        return Label(stored, orientation)


class Label(NamedTuple):
    """A mask or a depth.

    Attributes:
        pixels: (h,w), as stored: not turned.
        orientation: From the file's EXIF data, 1 to 8.
    """

    pixels: np.ndarray
    orientation: int


@dataclass(frozen=True)
class Composite:
    """A composite as a dataset stores it.

    Attributes:
        encoded: PNG or JPEG, upright.
        size: Height and width, upright [px].
        codec: Name of the codec that encodes such files.
        orientation: EXIF orientation of the file it comes from, 1 to 8.
        is_file: Whether `encoded` are the very bytes of that file.
    """

    encoded: bytes
    size: Size
    codec: str
    orientation: int
    is_file: bool


def decode_composite(encoded: bytes) -> Composite:
    """Decodes a composite, and encodes it anew where readers would not see the same pixels.

    That is: where it has to be turned, is WebP or CMYK, has much metadata, or cannot be decoded by
    the codec. A JPEG becomes a JPEG of quality 95; all others become PNG, which loses nothing.

    Raises:
        AssetError: The picture cannot be decoded.
    """
    picture = decode_picture(encoded)
    codec = CODEC_OF_FORMAT[picture.format]
    size = turned_size(picture.size, picture.orientation)
    kept = None
    if picture.orientation == 1 and picture.format in KEPT_FORMATS:
        kept = _readable(encoded, picture, codec)
    return Composite(
        kept if kept is not None else CODECS[codec].encode(picture.upright("RGB")),
        size,
        codec,
        picture.orientation,
        is_file=kept is encoded,
    )


def _readable(encoded: bytes, picture: Picture, codec: str) -> bytes | None:
    """The file's bytes, without metadata if it is much, if the codec reads them as Pillow does."""
    bare = without_metadata(encoded)[0]
    if len(encoded) - len(bare) > MAX_METADATA_BYTES:
        encoded = bare
    if picture.image.mode not in KEPT_MODES:
        return None
    try:
        seen = CODECS[codec].decode(encoded)
    except DatasetError:
        return None
    return encoded if seen.shape[:2] == picture.size else None


def decode_mask(encoded: bytes, *, threshold: int | None) -> Label:
    """Decodes a mask to uint8 (h,w) in 0..255.

    Args:
        encoded: The file's bytes.
        threshold: Pixels of at least this grey become 255, the others 0; None keeps soft masks.

    Raises:
        AssetError: The picture cannot be decoded, is not grey, or shows no foreground.
    """
    mask, orientation = decode_grey(encoded, what="mask")
    if mask.dtype == np.uint16:
        mask = (mask >> 8).astype(np.uint8)
    if threshold is not None:
        mask = np.where(mask >= threshold, 255, 0).astype(np.uint8)
    if mask.max() <= 1:
        raise AssetError(
            f"the mask's largest value is {mask.max()}: expected a foreground, grey 0..255"
        )
    return Label(mask, orientation)


def stretched(picture: Picture, orientation: int, size: Size) -> np.ndarray:
    """A picture, turned as `orientation` says, stretched to `size`: uint8 (height,width,3) RGB."""
    pixels = turn(picture.pixels("RGB"), orientation)
    shrinks = size[0] * size[1] < pixels.shape[0] * pixels.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(pixels, size[::-1], interpolation=interpolation)


def decode_grey(encoded: bytes, *, what: str) -> Label:
    """Decodes a grey picture, also one with three equal channels: uint8 or uint16 (h,w).

    Args:
        encoded: The file's bytes.
        what: `mask` or `depth`, for messages.

    Raises:
        AssetError: The picture cannot be decoded, or is not grey.
    """
    picture = decode_picture(encoded)
    if picture.has_16_bit_grey:
        return Label(picture.grey_16(), picture.orientation)
    if picture.image.mode in ("L", "LA", "1"):
        return Label(picture.pixels("L"), picture.orientation)
    rgb = picture.pixels("RGB")
    difference = np.abs(rgb[..., :2].astype(np.int16) - rgb[..., 1:]).max()
    if difference > CHANNELS_DIFFER:
        kind = "a colour map" if what == "depth" else "coloured"
        raise AssetError(
            f"the {what} is {kind}: expected grey (its channels differ by up to {difference})"
        )
    return Label(np.ascontiguousarray(rgb[..., 1]), picture.orientation)
