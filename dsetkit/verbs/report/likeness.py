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
HASH_BITS = HASH_SIDE**2 - 1
MOST_BITS = 10  # of 63 that may differ
MOST_DIFFERENCE = 0.045  # mean over the thumbnail's pixels, in 0..1, brightness taken out
MOST_BRIGHTNESS = 0.2  # that the means may differ by, in 0..1
ROWS_AT_ONCE = 512  # of the matrix of distances
PAIRS_AT_ONCE = 8192  # of thumbnails


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
class Pairs:
    """Pairs of pictures that look alike; all arrays have the shape (P,).

    Attributes:
        first: int64, places in the list of pictures.
        second: int64, places in it, after `first`.
        bits: int64, how many of the 63 bits of the hash differ.
        difference: float32, mean difference of the thumbnails, in 0..1.
    """

    first: np.ndarray
    second: np.ndarray
    bits: np.ndarray
    difference: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


def pairs_alike(pictures: Sequence[Likeness], others: Sequence[Likeness] | None = None) -> Pairs:
    """All pairs of pictures that look alike.

    Args:
        pictures: Those that are compared.
        others: What stands for each of them as the second of a pair, such as its mirror image;
            None for itself.
    """
    signs, flat, brightness = _as_arrays(pictures)
    other_signs, other_flat, other_brightness = _as_arrays(pictures if others is None else others)
    found = []
    for start in range(0, len(signs), ROWS_AT_ONCE):
        bits = (HASH_BITS - signs[start : start + ROWS_AT_ONCE] @ other_signs.T) / 2
        first, second = np.nonzero(bits <= MOST_BITS)
        bits, first = bits[first, second], first + start
        brighter = np.abs(brightness[first] - other_brightness[second])
        kept = (first < second) & (brighter <= MOST_BRIGHTNESS)
        first, second, bits = first[kept], second[kept], bits[kept]
        for part in range(0, len(first), PAIRS_AT_ONCE):
            rows, columns = first[part : part + PAIRS_AT_ONCE], second[part : part + PAIRS_AT_ONCE]
            difference = np.abs(flat[rows] - other_flat[columns]).mean(axis=1)
            near = difference <= MOST_DIFFERENCE
            apart = np.rint(bits[part : part + PAIRS_AT_ONCE][near]).astype(np.int64)
            found.append((rows[near], columns[near], apart, difference[near]))
    if not found:
        nothing = np.zeros(0, np.int64)
        return Pairs(nothing, nothing, nothing, nothing.astype(np.float32))
    return Pairs(*map(np.concatenate, zip(*found, strict=True)))


def _as_arrays(pictures: Sequence[Likeness]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hashes as -1 and 1 (N,63), thumbnails without their brightness (N,768), brightness (N,)."""
    signs = np.array([one.bits for one in pictures], np.float32).reshape(-1, HASH_BITS) * 2 - 1
    thumbnails = np.array([one.thumbnail for one in pictures], np.float32)
    thumbnails = thumbnails.reshape(-1, 3 * THUMBNAIL_SIDE**2)
    brightness = thumbnails.mean(axis=1)
    return signs, thumbnails - brightness[:, None], brightness
