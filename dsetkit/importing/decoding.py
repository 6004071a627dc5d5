"""Pixels of composites, masks, depths and backgrounds stored as PNG or JPEG by other programs.

All functions raise AssetError with the reason alone; the caller adds the file.

Depth comes as grey, 8 or 16 bit. Relative depth is kept as nearness, a share of the grey range that
grows towards the viewer: the grey itself where near is bright, otherwise 1 minus the grey. That
keeps the order of depths and their even steps. It is not true inverse depth where the author stored
depth: that needs the range and offset, which were lost when the author scaled it.
"""

import io
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from dsetkit.errors import AssetError
from dsetkit.store import quantise_metric, quantise_relative

FORMATS = ("PNG", "JPEG")
POLARITIES = ("far-bright", "near-bright")

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

    def stored(self, encoded: bytes) -> np.ndarray:
        """Decodes a depth picture to depth as the dataset stores it.

        Returns:
            uint16 (h,w): millimetres, or inverse depth scaled to 1..65535; 0 = invalid.

        Raises:
            AssetError: The picture cannot be decoded, or is not grey.
        """
        grey = decode_grey(encoded, what="depth")
        full_scale = 65535 if grey.dtype == np.uint16 else self.full_scale
        share = np.minimum(grey.astype(np.float32) / full_scale, 1)
        far_is_bright = self.polarity == "far-bright"
        if self.kind == "metric":
            depth = share if far_is_bright else 1 - share
            return quantise_metric(depth * np.float32(self.max_depth_m), self.max_depth_m)
        return quantise_relative(1 - share if far_is_bright else share)


def composite_facts(encoded: bytes) -> tuple[tuple[int, int], str]:
    """Decodes a composite; returns its (height, width) [px] and its format, `PNG` or `JPEG`.

    Raises:
        AssetError: The picture cannot be decoded.
    """
    image = _decode(encoded)
    return (image.height, image.width), str(image.format)


def decode_mask(encoded: bytes, *, threshold: int | None) -> np.ndarray:
    """Decodes a mask to uint8 (H,W) in 0..255.

    Args:
        encoded: The file's bytes.
        threshold: Pixels of at least this grey become 255, the others 0; None keeps soft masks.

    Raises:
        AssetError: The picture cannot be decoded, is not grey, or shows no foreground.
    """
    mask = decode_grey(encoded, what="mask")
    if mask.dtype == np.uint16:
        mask = (mask >> 8).astype(np.uint8)
    if threshold is not None:
        mask = np.where(mask >= threshold, 255, 0).astype(np.uint8)
    if mask.max() <= 1:
        raise AssetError(
            f"the mask's largest value is {mask.max()}: expected a foreground, grey 0..255"
        )
    return mask


def decode_background(encoded: bytes, *, size: tuple[int, int]) -> np.ndarray:
    """Decodes a background and stretches it to `size`: uint8 (height,width,3) RGB.

    Args:
        encoded: The file's bytes.
        size: Height and width of the composites [px].

    Raises:
        AssetError: The picture cannot be decoded.
    """
    pixels = np.asarray(_decode(encoded).convert("RGB"))
    shrinks = size[0] * size[1] < pixels.shape[0] * pixels.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(pixels, size[::-1], interpolation=interpolation)


def decode_grey(encoded: bytes, *, what: str) -> np.ndarray:
    """Decodes a grey picture, also one with three equal channels: uint8 or uint16 (h,w).

    Args:
        encoded: The file's bytes.
        what: `mask` or `depth`, for messages.

    Raises:
        AssetError: The picture cannot be decoded, or is not grey.
    """
    image = _decode(encoded)
    if image.mode in ("I;16", "I"):  # Pillow's modes for 16-bit grey
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("L", "LA", "1"):
        return np.asarray(image.convert("L"))
    rgb = np.asarray(image.convert("RGB"))
    difference = np.abs(rgb[..., :2].astype(np.int16) - rgb[..., 1:]).max()
    if difference > CHANNELS_DIFFER:
        kind = "a colour map" if what == "depth" else "coloured"
        raise AssetError(
            f"the {what} is {kind}: expected grey (its channels differ by up to {difference})"
        )
    return np.ascontiguousarray(rgb[..., 1])


def _decode(encoded: bytes) -> Image.Image:
    # Pillow, not OpenCV: OpenCV fills the missing part of a truncated JPEG with grey, silently.
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            image.load()
            return image
    except UnidentifiedImageError:
        raise AssetError("not a PNG or JPEG picture") from None
    except Exception as error:  # on damaged data Pillow's decoders raise errors of many types
        raise AssetError(f"damaged or truncated ({error})") from None
