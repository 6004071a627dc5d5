"""What the background hides of an object that stands in it.

A pixel of the background hides the object where it is nearer than the object's plane. Objects are
not as flat as their planes, and depth is not exact, so only what is nearer by 7 % hides all, and
what is nearer by less than 5 % hides nothing: otherwise the floor would eat feet. In between the
object shows through: an edge that is soft in the depth is soft here too. Where depth is not known,
nothing is hidden.
"""

import cv2
import numpy as np

HIDES_ALL, HIDES_NOTHING = 93, 95  # depth of the background, in hundredths of the plane's
OPAQUE = 255


def visible_share(depth: np.ndarray, plane: int) -> np.ndarray:
    """How much of an object is seen at each pixel.

    Args:
        depth: Stored metric depth of the background, uint16 (h,w) [mm], 0 = invalid.
        plane: Depth of the object's plane [mm], 1..65535.

    Returns:
        uint8 (h,w): 0 = hidden, 255 = visible.
    """
    farther = depth.astype(np.int64) * 100 - HIDES_ALL * plane
    share = farther * OPAQUE // ((HIDES_NOTHING - HIDES_ALL) * plane)
    return np.where(depth > 0, share.clip(0, OPAQUE), OPAQUE).astype(np.uint8)


def seen_through(premultiplied: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """What is seen of a cut-out.

    Args:
        premultiplied: The cut-out, uint8 (h,w,4).
        visible: How much is seen of it, uint8 (h,w).

    Returns:
        round(premultiplied * visible / 255): uint8 (h,w,4).
    """
    # Exact, though OpenCV multiplies in float32: see `placing`.
    return cv2.multiply(premultiplied, cv2.merge([visible] * 4), scale=1 / 255)
