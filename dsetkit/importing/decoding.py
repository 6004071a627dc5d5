"""Pixels of composites, masks, depths and backgrounds that other programs stored as PNG or JPEG.

Everything raises AssetError with the reason alone; the caller knows the file.

Depth comes as grey, 8 or 16 bit. Relative depth is kept as nearness, a share of the grey range that
grows towards the viewer: the grey itself where near is bright, else 1 minus it. That keeps the
order of depths and their even steps. It is no true inverse depth where the author stored depth:
range and offset, which that would take, were lost when the author scaled it.
"""

import io
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from dsetkit.errors import AssetError
from dsetkit.store import LARGEST_DEPTH_M, quantise_metric, quantise_relative

FORMATS = ("PNG", "JPEG")
POLARITIES = ("far-bright", "near-bright")

CHANNELS_DIFFER = 3  # levels; a lossy file of a grey picture may differ by a rounding


@dataclass(frozen=True)
class DepthScale:
    """What the grey of a depth picture means.

    Attributes:
        polarity: One of POLARITIES.
        full_scale: 8-bit grey that stands for the whole range; 16-bit grey has 65535 of it.
        max_depth_m: Depth of the whole range [m] where that is known; 0 = relative depth.
    """

    polarity: str
    full_scale: int = 255
    max_depth_m: float = 0.0

    @property
    def kind(self) -> str:
        """`metric` or `relative`."""
        return "metric" if self.max_depth_m else "relative"

    def stored(self, encoded: bytes) -> np.ndarray:
        """Depth as the dataset keeps it: uint16 (h,w), 0 = invalid; see `encoding`."""
        grey = decode_grey(encoded, what="depth")
        full_scale = 65535 if grey.dtype == np.uint16 else self.full_scale
        share = np.minimum(grey.astype(np.float32) / full_scale, 1)
        is_depth = self.polarity == "far-bright"
        if self.kind == "metric":
            depth = share if is_depth else 1 - share
            return quantise_metric(depth * np.float32(self.max_depth_m), self.max_depth_m)
        return quantise_relative(1 - share if is_depth else share)


@dataclass(frozen=True)
class System:
    """What a system's files hold.

    Attributes:
        polarity: Of its depth; None = has to be told.
        full_scale: 8-bit grey of its largest depth.
        mask_threshold: Grey from which on it takes a mask for 255; None = masks stay soft.
    """

    polarity: str | None = "far-bright"
    full_scale: int = 255
    mask_threshold: int | None = None


SYSTEMS = {
    "000": System(polarity="near-bright"),  # each picture's depth stretched, then inverted
    "001": System(mask_threshold=150),
    "002": System(full_scale=225),  # its depths were multiplied by 225 where 255 was meant
    "003": System(),
    "004": System(),  # not documented: the polarity of the tool it used is assumed
    "table": System(polarity=None),
}


def depth_scale(system: str, polarity: str | None, max_depth_m: float | None) -> DepthScale:
    """What a system's depth pictures mean, with what the user knows better.

    Raises:
        AssetError: The polarity is not known, or the depth cannot be stored.
    """
    about = SYSTEMS[system]
    polarity = polarity or about.polarity
    if polarity not in POLARITIES:
        raise AssetError(
            f"--depth-polarity {polarity or 'is not given'}: expected {' or '.join(POLARITIES)}, "
            "after what is bright in the depth pictures"
        )
    if max_depth_m is not None and not 0 < max_depth_m <= LARGEST_DEPTH_M:
        raise AssetError(
            f"--max-depth-m {max_depth_m:g}: expected more than 0 and at most {LARGEST_DEPTH_M} "
            "(millimetres in 16 bits); without it depth stays relative"
        )
    return DepthScale(polarity, about.full_scale, max_depth_m or 0.0)


def composite_facts(encoded: bytes) -> tuple[tuple[int, int], str]:
    """(height, width) [px] of a composite, all of it decoded once, and `PNG` or `JPEG`."""
    image = _decode(encoded)
    return (image.height, image.width), image.format


def decode_mask(encoded: bytes, *, threshold: int | None) -> np.ndarray:
    """A mask: uint8 (H,W) in 0..255.

    Args:
        encoded: The file.
        threshold: Grey from which on it is 255, and below it 0; None keeps it soft.
    """
    mask = decode_grey(encoded, what="mask")
    if mask.dtype == np.uint16:
        mask = (mask >> 8).astype(np.uint8)
    if threshold is not None:
        mask = np.where(mask >= threshold, 255, 0).astype(np.uint8)
    if mask.max() <= 1:
        raise AssetError(f"mask reaches only {mask.max()}: expected something seen, grey 0..255")
    return mask


def decode_background(encoded: bytes, *, size: tuple[int, int]) -> np.ndarray:
    """A background stretched to the size of the composites: uint8 (height,width,3) RGB."""
    pixels = np.asarray(_decode(encoded).convert("RGB"))
    shrinks = size[0] * size[1] < pixels.shape[0] * pixels.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(pixels, size[::-1], interpolation=interpolation)


def decode_grey(encoded: bytes, *, what: str) -> np.ndarray:
    """A grey picture, also one stored in three equal channels: uint8 or uint16 (h,w)."""
    image = _decode(encoded)
    if image.mode in ("I;16", "I"):  # Pillow's modes for 16-bit grey
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("L", "LA", "1"):
        return np.asarray(image.convert("L"))
    rgb = np.asarray(image.convert("RGB"))
    unequal = np.abs(rgb[..., :2].astype(np.int16) - rgb[..., 1:]).max()
    if unequal > CHANNELS_DIFFER:
        raise AssetError(f"{what} is {'a colour map' if what == 'depth' else 'coloured'}; "
                         f"expected grey (its channels differ by up to {unequal})")  # fmt: skip
    return np.ascontiguousarray(rgb[..., 1])


def _decode(encoded: bytes) -> Image.Image:
    # Pillow, not OpenCV: of a JPEG that was cut off OpenCV gives the rest in grey, as if whole.
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            image.load()
            return image
    except UnidentifiedImageError:
        raise AssetError("not a PNG or JPEG picture") from None
    except Exception as error:  # on damaged data Pillow's decoders raise errors of many types
        raise AssetError(f"damaged or cut off ({error})") from None
