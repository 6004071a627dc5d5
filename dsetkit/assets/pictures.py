"""One picture file to upright 8-bit pixels, or the reason why it cannot be used.

| in the file                    | as a foreground: straight RGBA       | as a background: RGB    |
|--------------------------------|--------------------------------------|-------------------------|
| RGBA, grey + alpha             | as it is                             | alpha is dropped        |
| palette, or transparent colour | the file's own transparency as alpha | transparency is dropped |
| RGB, grey, CMYK                | refused: no alpha                    | converted to RGB        |

From both: of 16-bit channels the upper 8 bits, of animations the first picture. EXIF orientation is
applied (EXIF that cannot be read counts as none), colour profiles are ignored.
PNG, JPEG and WebP are told by their content, not by their suffix.
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from dsetkit.errors import AssetError

FORMATS = ("PNG", "JPEG", "WEBP")

MIN_SIDE = 8  # px
MAX_MEGAPIXELS = 100

# EXIF orientation -> (mirrored left to right, then quarter turns counter-clockwise)
ORIENTATIONS = {
    2: (True, 0),
    3: (False, 2),
    4: (True, 2),
    5: (True, 1),
    6: (False, 3),
    7: (True, 3),
    8: (False, 1),
}

PNG_BIT_DEPTH = 24  # offset in the file: signature 8, chunk length 4, "IHDR" 4, width 4, height 4


# ---- what the house asks for -------------------------------------------------------------------


def read_foreground(path: Path, *, max_side: int) -> np.ndarray:
    """A cut-out, cropped to what is visible, then shrunk (never enlarged).

    Args:
        path: The file.
        max_side: Longest the longer side may be [px].

    Returns:
        uint8 (h,w,4) straight RGBA.

    Raises:
        AssetError: The file cannot be used; the message is the reason, without the path.
    """
    image = _decode(path)
    if not image.has_transparency_data:
        raise AssetError("no alpha: expected a cut-out, PNG or WebP with transparency")
    return shrink_rgba(_visible_part(_upright(image, "RGBA")), max_side=max_side)


def read_background(path: Path, *, size: int) -> np.ndarray:
    """A photograph: the square in its middle, resized to size x size [px].

    Returns:
        uint8 (size,size,3) RGB.

    Raises:
        AssetError: The file cannot be used; the message is the reason, without the path.
    """
    image = _decode(path, side_needed=2 * size)
    return _resized_square(_upright(image, "RGB"), size)


# ---- decoding ----------------------------------------------------------------------------------


def _decode(path: Path, *, side_needed: int | None = None) -> Image.Image:
    """The picture in a file, all of it decoded, 8 bits a channel.

    Args:
        path: The file.
        side_needed: A JPEG may come at 1/2, 1/4 or 1/8 of its size, which is far quicker, as long
            as both sides keep this length [px].
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            _check_sides(*image.size)
            if side_needed is not None:
                image.draft(None, (side_needed, side_needed))
            image.load()
    except AssetError:
        raise
    except Image.DecompressionBombError:
        raise AssetError(f"over {MAX_MEGAPIXELS} megapixels") from None
    except UnidentifiedImageError:
        raise AssetError("not a PNG, JPEG or WebP picture") from None
    except Exception as error:  # on damaged data Pillow's decoders raise errors of many types
        if isinstance(error, OSError) and error.strerror:
            raise AssetError(f"cannot be read ({error.strerror})") from None
        raise AssetError(f"damaged or cut off ({error})") from None
    return _to_8_bits(image, path)


def _check_sides(width: int, height: int, *, what: str = "") -> None:
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        raise AssetError(f"{what}{width} x {height} px, over {MAX_MEGAPIXELS} megapixels")
    if min(width, height) < MIN_SIDE:
        raise AssetError(f"{what}{width} x {height} px, expected at least {MIN_SIDE} px each way")


def _to_8_bits(image: Image.Image, path: Path) -> Image.Image:
    """Brings 16-bit grey, and a transparent colour with it, to 8 bits.

    Pillow scales all other pixels itself, but leaves the transparent colour in the file's depth.
    """
    key = image.info.get("transparency")
    if image.mode == "I;16":
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if key is not None and image.mode in ("L", "RGB"):
        bits = _png_bit_depth(path)
        values = np.atleast_1d(key)
        values = values >> 8 if bits == 16 else values * 255 // (2**bits - 1)
        image.info["transparency"] = tuple(values.tolist()) if image.mode == "RGB" else int(*values)
    return image


def _png_bit_depth(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(PNG_BIT_DEPTH + 1)[PNG_BIT_DEPTH]


def _upright(image: Image.Image, mode: str) -> np.ndarray:
    """Pixels in a mode, turned as EXIF says: uint8 (h,w,channels)."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except SyntaxError:  # Pillow's word for EXIF that is none
        orientation = None
    pixels = np.asarray(image.convert(mode))
    mirrored, quarter_turns = ORIENTATIONS.get(orientation, (False, 0))
    if mirrored:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(np.rot90(pixels, quarter_turns))


# ---- preparing ---------------------------------------------------------------------------------


def _visible_part(rgba: np.ndarray) -> np.ndarray:
    """Crops to the bounding box of alpha > 0."""
    x, y, width, height = cv2.boundingRect(rgba[..., 3])
    if width == 0:
        raise AssetError("alpha is 0 everywhere: there is nothing to see")
    _check_sides(width, height, what="visible part ")
    return rgba[y : y + height, x : x + width]


def shrink_rgba(rgba: np.ndarray, *, max_side: int) -> np.ndarray:
    """Shrinks straight RGBA until the longer side is at most `max_side` [px].

    Colours are averaged weighted by alpha, so none bleeds in from transparent pixels as a fringe.
    Where the result is wholly transparent its colour is 0; what need not shrink stays as it is.

    Args:
        rgba: uint8 (h,w,4).
        max_side: Longest the longer side may be [px].

    Returns:
        uint8 (h',w',4), a copy.
    """
    height, width = rgba.shape[:2]
    scale = max_side / max(height, width)
    if scale >= 1:
        return rgba.copy()
    size = max(1, round(scale * width)), max(1, round(scale * height))
    weighted = rgba.astype(np.uint16)
    weighted[..., 3] = 255
    weighted *= rgba[..., 3:]  # colours times alpha, and 255 times alpha: at most 255**2
    weighted = cv2.resize(weighted, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    colours, alpha = weighted[..., :3], weighted[..., 3:] / 255
    colours = np.divide(colours, alpha, out=np.zeros_like(colours), where=alpha > 0)
    return np.rint(np.concatenate([colours, alpha], axis=2)).clip(0, 255).astype(np.uint8)


def _resized_square(rgb: np.ndarray, size: int) -> np.ndarray:
    """The largest square in the middle, resized: uint8 (size,size,3)."""
    height, width = rgb.shape[:2]
    side = min(height, width)
    y, x = (height - side) // 2, (width - side) // 2
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    square = rgb[y : y + side, x : x + side]
    return cv2.resize(square, (size, size), interpolation=interpolation)
