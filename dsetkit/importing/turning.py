"""Which way up: how EXIF orientation counts in every import.

1. A picture is upright when it is turned as its own EXIF data says. Sizes are compared, and pixels
   are stored, only when they are upright. A composite that has to be turned is stored anew, upright
   and without EXIF data, because some programs obey that data and others do not.
2. Masks and depths belong to a composite, pixel by pixel. Most programs that write them leave EXIF
   data out, and then nothing says whether they saw the composite upright, or its pixels as stored.
   So both ways are tried: turned as the mask itself says, and turned as its composite is.
   Where only one gives the composite's size, it is right: a depth of 160 x 120 px beside
   a composite of 120 x 160 px was stored like the composite's pixels, and is turned with them.
3. Where both fit and the results differ (a square, or a turn by half), the pair is refused.
   A wrong guess would be a wrong label that nobody sees.
4. Backgrounds have no size to tell by, because they are stretched. But they can be seen in
   their composites, outside the mask: the way that looks more like them is taken.
"""

import numpy as np

from dsetkit.assets import turn, turned_size
from dsetkit.errors import AssetError

Size = tuple[int, int]  # height, width [px]


def fitted(
    label: np.ndarray, own: int, *, composite: int, size: Size, may_be_scaled: bool = False
) -> np.ndarray:
    """A mask or a depth, turned as its composite is.

    Args:
        label: (h,w), as stored.
        own: EXIF orientation of the file it comes from, 1 to 8.
        composite: EXIF orientation of its composite.
        size: Height and width of the upright composite [px].
        may_be_scaled: Whether it may be smaller or larger than the composite, in the same shape.

    Returns:
        (h',w'). It has the composite's size wherever `own` and `composite` differ, or its shape if
        it may be scaled.

    Raises:
        AssetError: No way of turning it fits, or it cannot be told which of two is right.
    """
    if own == composite:
        return turn(label, own)
    height, width = label.shape[:2]
    ways = [
        turn(label, way)
        for way in (own, composite)
        if _fits(turned_size((height, width), way), size, may_be_scaled=may_be_scaled)
    ]
    if not ways:
        raise AssetError(
            f"{in_px((height, width))}, but its composite is {in_px(size)} when it is upright "
            f"(EXIF orientation {composite}): expected the same size"
        )
    if len(ways) > 1 and not np.array_equal(ways[0], ways[1]):
        raise AssetError(
            f"it has EXIF orientation {own}, its composite {composite}, and its size does not tell "
            "how they belong together: turn the pixels of both (mogrify -auto-orient) if each is "
            "upright by itself, or remove the orientation of both (exiftool -Orientation=) if "
            "their stored pixels belong together"
        )
    return ways[0]


def in_px(size: Size | None) -> str:
    """A size for messages: width x height."""
    return f"{size[1]} x {size[0]} px" if size else "missing"


def _fits(size: Size, composite: Size, *, may_be_scaled: bool) -> bool:
    if not may_be_scaled:
        return size == composite
    # Equal shapes, but for a pixel of rounding.
    return abs(size[0] * composite[1] - size[1] * composite[0]) <= min(composite)
