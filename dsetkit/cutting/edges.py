"""From a picture and its mask to a cut-out: alpha, colours without the background's, crop.

At the edge of an object a pixel of the picture shows both the object and what is behind it. Pasted
elsewhere, such a pixel is a fringe of the old background. So the colours under an alpha below 255
are estimated: those of the object alone, by the multi-level method of Germer et al. 2020
(arXiv 2006.14970) in the package pymatting.
"""

import cv2
import numpy as np

from dsetkit.extras import extra_module

CONTEXT_PX = 32  # of the picture around an object, for the colours behind it
HARD_SHARE = 0.02  # a mask whose edge has fewer grey pixels than this has no soft edge
EXTRA = {"extra": "cut-outs", "purpose": "cut-outs"}


def check_installed() -> None:
    """Refuses to begin without pymatting.

    Raises:
        DsetkitError: It is not installed.
    """
    extra_module("pymatting.foreground.estimate_foreground_ml", **EXTRA)


def soft_alpha(mask: np.ndarray, *, feather_px: float) -> np.ndarray:
    """The alpha of a mask. A hard edge becomes soft, as edges in photographs are.

    Args:
        mask: uint8 (H,W), 0..255.
        feather_px: Standard deviation of the blur of a hard edge [px]; 0 leaves it hard.

    Returns:
        uint8 (H,W). A mask that has a soft edge already is returned as it is.
    """
    if feather_px == 0 or _is_soft(mask):
        return mask
    # Beyond its border the object goes on, so that it does not fade out there.
    return cv2.GaussianBlur(mask, (0, 0), feather_px, borderType=cv2.BORDER_REPLICATE)


def _is_soft(mask: np.ndarray) -> bool:
    """Whether at least some of the pixels along the edge are neither 0 nor 255."""
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 127
    grey = (mask > 0) & (mask < 255)
    return int(grey.sum()) > HARD_SHARE * max(1, int(edge.sum()))


def cut_out(picture: np.ndarray, alpha: np.ndarray, *, margin_px: int) -> np.ndarray | None:
    """The visible part of a picture as straight RGBA.

    Args:
        picture: uint8 (H,W,3) RGB.
        alpha: uint8 (H,W).
        margin_px: Width of the transparent border around the visible part [px].

    Returns:
        uint8 (h,w,4); colours of transparent pixels are 0. None if nothing is visible.

    Raises:
        DsetkitError: pymatting is not installed.
    """
    left, top, width, height = cv2.boundingRect(alpha)
    if width == 0:
        return None
    x, y = max(0, left - CONTEXT_PX), max(0, top - CONTEXT_PX)
    around = np.s_[y : top + height + CONTEXT_PX, x : left + width + CONTEXT_PX]
    colours = _foreground_colours(picture[around], alpha[around])
    rgba = np.dstack([colours, alpha[around]])
    rgba = rgba[top - y : top - y + height, left - x : left - x + width]
    rgba[rgba[..., 3] == 0] = 0
    margins = [(margin_px, margin_px)] * 2 + [(0, 0)]
    return np.pad(rgba, margins)


def _foreground_colours(picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The colours of the object alone: those of the picture where alpha is 255, uint8 (h,w,3)."""
    if alpha.min() == 255:
        return picture
    module = extra_module("pymatting.foreground.estimate_foreground_ml", **EXTRA)
    estimated = module.estimate_foreground_ml(picture / 255.0, alpha / 255.0)
    colours = np.rint(255 * estimated).clip(0, 255).astype(np.uint8)
    return np.where(alpha[..., None] == 255, picture, colours)
