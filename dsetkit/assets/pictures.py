"""Reading one picture file as upright 8-bit pixels, or refusing it with a reason.

| in the file                    | as a foreground: straight RGBA       | as a background: RGB    |
|--------------------------------|--------------------------------------|-------------------------|
| RGBA, grey + alpha             | unchanged                            | alpha is dropped        |
| palette, or transparent colour | the file's own transparency as alpha | transparency is dropped |
| RGB, grey, CMYK                | refused: no alpha                    | converted to RGB        |

16-bit channels keep their upper 8 bits. Animations give their first picture. The orientation in
EXIF data is applied; unreadable EXIF data and colour profiles are ignored. The content of a file,
not its suffix, decides whether it is PNG, JPEG or WebP. `foreign` decodes and checks.
"""

from pathlib import Path

import cv2
import numpy as np

from dsetkit.assets.foreign import decode_picture, read_file
from dsetkit.errors import AssetError

MIN_SIDE = 8  # px


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
    picture = decode_picture(read_file(path))
    _check_sides(*picture.size)
    if not picture.image.has_transparency_data:
        raise AssetError(
            "no alpha: expected a cut-out, PNG or WebP with transparency (`dsetkit cut-outs` makes "
            "some from pictures and their masks)"
        )
    return shrink_rgba(_visible_part(picture.upright("RGBA")), max_side=max_side)


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
    picture = decode_picture(read_file(path), side_needed=2 * size)
    _check_sides(*picture.size)
    return _resized_square(picture.upright("RGB"), size)


# ---- preparing ---------------------------------------------------------------------------------


def _check_sides(height: int, width: int, *, what: str = "") -> None:
    if min(width, height) < MIN_SIDE:
        raise AssetError(f"{what}{width} x {height} px, expected at least {MIN_SIDE} px each way")


def _visible_part(rgba: np.ndarray) -> np.ndarray:
    """Crops to the bounding box of alpha > 0."""
    x, y, width, height = cv2.boundingRect(rgba[..., 3])
    if width == 0:
        raise AssetError("alpha is 0 everywhere: there is nothing to see")
    _check_sides(height, width, what="visible part ")
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
    square = central_square(rgb)
    interpolation = cv2.INTER_AREA if len(square) > size else cv2.INTER_CUBIC
    return cv2.resize(square, (size, size), interpolation=interpolation)


def central_square(image: np.ndarray) -> np.ndarray:
    """The largest central square of an image (H,W) or (H,W,C)."""
    height, width = image.shape[:2]
    side = min(height, width)
    y, x = (height - side) // 2, (width - side) // 2
    return image[y : y + side, x : x + side]
