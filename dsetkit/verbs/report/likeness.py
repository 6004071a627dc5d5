"""Which pictures look alike: a perceptual hash, and a comparison of thumbnails.

The hash is the common one of 63 low frequencies: a picture's grey values at 32 x 32 px, their
cosine transform, its 8 x 8 lowest frequencies without the mean, and for each whether it is above
the median. Copies that were resized, encoded again or brightened differ in a few bits. Simple
pictures differ in a few bits too, so pairs must also agree in a colour thumbnail.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

GREY_SIDE, HASH_SIDE, THUMBNAIL_SIDE = 32, 8, 16  # [px]
MOST_BITS = 10  # of 63 that may differ
MOST_DIFFERENCE = 0.045  # mean over the thumbnail's pixels, in 0..1, brightness taken out
MOST_BRIGHTNESS = 0.2  # that the means may differ by, in 0..1
ROWS_AT_ONCE = 512  # of the matrix of distances


@dataclass(frozen=True)
class Likeness:
    """What of a picture is compared.

    Attributes:
        bits: bool (63,), the perceptual hash.
        thumbnail: float32 (16, 16, 3), in 0..1.
    """

    bits: np.ndarray
    thumbnail: np.ndarray

    def mirrored(self) -> "Likeness":
        """The same for the picture mirrored left to right."""
        return likeness(np.rint(self.thumbnail[:, ::-1] * 255).astype(np.uint8))


def likeness(picture: np.ndarray) -> Likeness:
    """What of a picture is compared; `picture` is uint8 (h,w,3) RGB."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    side = (GREY_SIDE, GREY_SIDE)
    small = cv2.resize(grey, side, interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:HASH_SIDE, :HASH_SIDE].ravel()[1:]
    side = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    thumbnail = cv2.resize(picture, side, interpolation=cv2.INTER_AREA)
    return Likeness(low > np.median(low), thumbnail.astype(np.float32) / 255)


@dataclass(frozen=True)
class Pair:
    """Two pictures that look alike.

    Attributes:
        first, second: Their places in the list, ascending.
        bits: How many of the 63 bits of the hash differ.
        difference: Mean difference of the thumbnails, in 0..1.
    """

    first: int
    second: int
    bits: int
    difference: float


def pairs_alike(pictures: Sequence[Likeness]) -> list[Pair]:
    """All pairs of pictures that look alike, the most alike first."""
    if len(pictures) < 2:
        return []
    signs = np.array([one.bits for one in pictures], np.float32) * 2 - 1  # (N, 63)
    thumbnails = np.array([one.thumbnail for one in pictures]).reshape(len(pictures), -1)
    brightness = thumbnails.mean(axis=1)
    flat = thumbnails - brightness[:, None]
    pairs = []
    for start in range(0, len(signs), ROWS_AT_ONCE):
        bits = (signs.shape[1] - signs[start : start + ROWS_AT_ONCE] @ signs.T) / 2
        for row, second in zip(*np.nonzero(bits <= MOST_BITS), strict=True):
            first = start + row
            if first >= second or abs(brightness[first] - brightness[second]) > MOST_BRIGHTNESS:
                continue
            difference = float(np.abs(flat[first] - flat[second]).mean())
            if difference <= MOST_DIFFERENCE:
                apart = round(float(bits[row, second]))
                pairs.append(Pair(int(first), int(second), apart, difference))
    return sorted(pairs, key=lambda pair: (pair.bits, pair.difference))
