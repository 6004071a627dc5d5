"""Reading one picture file as upright 8-bit pixels, or refusing it with a reason.

| in the file                    | as a foreground: straight RGBA       | as a background: RGB    |
|--------------------------------|--------------------------------------|-------------------------|
| RGBA, grey + alpha             | unchanged                            | alpha is dropped        |
| palette, or transparent colour | the file's own transparency as alpha | transparency is dropped |
| RGB, grey, CMYK                | refused: no alpha                    | converted to RGB        |

16-bit channels keep their upper 8 bits. Animations give their first picture. The orientation in
EXIF data is applied; unreadable EXIF data and colour profiles are ignored. The content of a file,
not its suffix, decides whether it is PNG, JPEG or WebP.
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

# Offset of the bit depth: signature 8 bytes, chunk length 4, "IHDR" 4, width 4, height 4.
PNG_BIT_DEPTH = 24


# ---- reading a picture -------------------------------------------------------------------------


def read_foreground(path: Path, *, max_side: int) -> np.ndarray:
    """Reads a foreground, crops it to its visible part, and shrinks it if it is too large.

    Args:
        path: The file.
        max_side: Limit of the longer side [px].

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
    """Reads a background and resizes its central square to size x size [px].

    Args:
        path: The file.
        size: Side of the result [px].

    Returns:
        uint8 (size,size,3) RGB.

    Raises:
        AssetError: The file cannot be used; the message is the reason, without the path.
    """
    image = _decode(path, side_needed=2 * size)
    return _resized_square(_upright(image, "RGB"), size)


# ---- decoding ----------------------------------------------------------------------------------


def _decode(path: Path, *, side_needed: int | None = None) -> Image.Image:
    """Decodes a whole picture to 8 bits per channel.

    Args:
        path: The file.
        side_needed: Both sides keep at least this length [px]. A larger JPEG may be decoded at 1/2,
            1/4 or 1/8 of its size, which is much faster. None decodes at full size.

    Raises:
        AssetError: The file cannot be used.
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
    except Exception as error:  # Pillow's decoders raise many types of errors for damaged data
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
    """Converts 16-bit grey pixels and the transparent colour of a PNG to 8 bits.

    Pillow converts all other pixels itself, but keeps the transparent colour in the file's depth.
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
    """Pixels in a Pillow mode, rotated as the EXIF data says: uint8 (h,w,channels)."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except SyntaxError:  # Pillow raises it for unreadable EXIF data
        orientation = 1
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
    """Shrinks straight RGBA so that its longer side is at most `max_side`.

    Colours are averaged with alpha as their weight. The colours of transparent pixels therefore do
    not show as a fringe. Pixels of the result with alpha 0 have colour 0. A smaller image is only
    copied.

    Args:
        rgba: uint8 (h,w,4).
        max_side: Limit of the longer side [px].

    Returns:
        uint8 (h',w',4).
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
    """The largest central square, resized: uint8 (size,size,3)."""
    height, width = rgb.shape[:2]
    side = min(height, width)
    y, x = (height - side) // 2, (width - side) // 2
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    square = rgb[y : y + side, x : x + side]
    return cv2.resize(square, (size, size), interpolation=interpolation)
