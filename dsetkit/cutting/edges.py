"""From a picture and its mask to a cut-out: alpha, colours without the background's, crop.

At the edge of an object a pixel of the picture shows both the object and what is behind it. Pasted
elsewhere, such a pixel is a fringe of the old background. So the colours under an alpha below 255
are estimated: those of the object alone, by the multi-level method of Germer et al. 2020
(arXiv 2006.14970) in the package pymatting.
"""

import math
import os
from typing import Any

import cv2
import numpy as np

from dsetkit.extras import extra_module
from dsetkit.networks.sessions import default_threads

ESTIMATOR = "pymatting.foreground.estimate_foreground_ml"
CONTEXT_PX = 32  # of the picture around an object, for the colours behind it
HARD_SHARE = 0.02  # a mask whose edge has fewer grey pixels than this has no soft edge
BAND_PER_FEATHER = 1.4  # width of the band of mixed pixels to both sides of a hard edge
LEAST_WEIGHT = 1e-3  # of the pixels that a mean is taken of
NOISE = 0.02  # standard deviation of the colours of even surfaces, of 1
BLUR_ERROR = 0.1  # of a blurred mask as alpha, a standard deviation


def check_installed() -> None:
    """Refuses to begin without pymatting.

    Raises:
        DsetkitError: It is not installed.
    """
    _estimator()


def _estimator() -> Any:
    """The module that estimates colours.

    It gives all OpenMP code of the process its own number of threads, and the last bits of a
    network's answer depend on that number. So it is told the number that torch has.

    Raises:
        DsetkitError: It is not installed.
    """
    os.environ.setdefault("NUMBA_NUM_THREADS", str(default_threads()))
    return extra_module(ESTIMATOR, extra="cut-outs", purpose="cut-outs")


def soft_alpha(picture: np.ndarray, mask: np.ndarray, *, feather_px: float) -> np.ndarray:
    """The alpha of a mask. A hard edge becomes soft, as edges in photographs are.

    Near a hard edge, a pixel is taken for a mix of the mean colours on both sides. Its place
    between the two is its alpha, as far as they differ by more than the colours on each side do;
    the blurred mask decides the rest.

    Args:
        picture: uint8 (H,W,3) RGB.
        mask: uint8 (H,W), 0..255.
        feather_px: Standard deviation of the blur of a hard edge [px]; 0 leaves it hard.

    Returns:
        uint8 (H,W). A mask that has a soft edge already is returned as it is.
    """
    if feather_px == 0 or _is_soft(mask):
        return mask
    # Beyond its border the object goes on, so that it does not fade out there.
    blurred = cv2.GaussianBlur(mask, (0, 0), feather_px, borderType=cv2.BORDER_REPLICATE) / 255
    band_px = math.ceil(BAND_PER_FEATHER * feather_px)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band_px + 1, 2 * band_px + 1))
    inside = cv2.erode(mask, disc, borderValue=255) > 0
    outside = cv2.dilate(mask, disc) == 0
    colours = picture.astype(np.float32) / 255
    front, front_variance = _mean_around(colours, inside, sight_px=2.0 * band_px)
    behind, behind_variance = _mean_around(colours, outside, sight_px=2.0 * band_px)
    step = front - behind
    contrast = (step * step).sum(axis=2)
    place = ((colours - behind) * step).sum(axis=2) / np.maximum(contrast, 1e-9)
    texture = ((front_variance + behind_variance) / 2 + NOISE**2) / BLUR_ERROR**2
    trust = contrast / (contrast + texture)
    alpha = trust * place.clip(0, 1) + (1 - trust) * blurred
    alpha[inside], alpha[outside] = 1, 0
    return np.rint(255 * alpha).astype(np.uint8)


def _mean_around(
    colours: np.ndarray, where: np.ndarray, *, sight_px: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the colours around each pixel, of some pixels only.

    Args:
        colours: float32 (H,W,3).
        where: bool (H,W), the pixels that count.
        sight_px: Standard deviation of their weights [px].

    Returns:
        float32 (H,W,3), and the sum over channels, float32 (H,W); infinite where no pixel counts.
    """
    weight = cv2.GaussianBlur(where.astype(np.float32), (0, 0), sight_px)
    total = cv2.GaussianBlur(colours * where[..., None], (0, 0), sight_px)
    squares = cv2.GaussianBlur((colours * colours).sum(axis=2) * where, (0, 0), sight_px)
    mean = total / np.maximum(weight, LEAST_WEIGHT)[..., None]
    variance = squares / np.maximum(weight, LEAST_WEIGHT) - (mean * mean).sum(axis=2)
    return mean, np.where(weight > LEAST_WEIGHT, np.maximum(variance, 0), np.inf)


def _is_soft(mask: np.ndarray) -> bool:
    """Whether at least some of the pixels along the edge are neither 0 nor 255."""
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 127
    grey = (mask > 0) & (mask < 255)
    return int(grey.sum()) > HARD_SHARE * max(1, int(edge.sum()))


def cut_out(
    picture: np.ndarray, mask: np.ndarray, *, margin_px: int, feather_px: float
) -> np.ndarray:
    """The visible part of a picture as straight RGBA.

    Args:
        picture: uint8 (H,W,3) RGB.
        mask: uint8 (H,W), not 0 everywhere.
        margin_px: Width of the transparent border around the visible part [px].
        feather_px: As of `soft_alpha`.

    Returns:
        uint8 (h,w,4); colours of transparent pixels are 0.

    Raises:
        DsetkitError: pymatting is not installed.
    """
    x, y, width, height = cv2.boundingRect(mask)
    top, left = max(0, y - CONTEXT_PX), max(0, x - CONTEXT_PX)
    around = np.s_[top : y + height + CONTEXT_PX, left : x + width + CONTEXT_PX]
    alpha = soft_alpha(picture[around], mask[around], feather_px=feather_px)
    alpha = alpha if alpha.any() else mask[around]  # dots, of which a wide blur leaves nothing
    rgba = np.dstack([_foreground_colours(picture[around], alpha), alpha])
    rgba[alpha == 0] = 0
    x, y, width, height = cv2.boundingRect(alpha)
    margins = [(margin_px, margin_px)] * 2 + [(0, 0)]
    return np.pad(rgba[y : y + height, x : x + width], margins)


def _foreground_colours(picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The colours of the object alone: those of the picture where alpha is 255, uint8 (h,w,3)."""
    if alpha.min() == 255:
        return picture
    estimated = _estimator().estimate_foreground_ml(picture / 255.0, alpha / 255.0)
    colours = np.rint(255 * estimated).clip(0, 255).astype(np.uint8)
    return np.where(alpha[..., None] == 255, picture, colours)
