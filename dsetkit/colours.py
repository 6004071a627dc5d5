"""Numbers as colours: depth maps, and any other share of a scale."""

import cv2
import numpy as np

DEPTH_COLOURS = cv2.COLORMAP_VIRIDIS
BRIGHTEST = 255  # of the 256 colours of a colour map
GOLDEN_ANGLE = 68.75  # half of 137.5 degrees: multiples of it are spread evenly


def colour_shares(
    shares: np.ndarray, colour_map: int = DEPTH_COLOURS, *, darkest: int = 0
) -> np.ndarray:
    """Shares (H, W) float, cut off to 0..1, as uint8 (H, W, 3) RGB.

    Args:
        shares: 0 is the darkest colour, 1 the brightest.
        colour_map: A colour map of OpenCV that grows brighter.
        darkest: Which of its 256 colours a share of 0 gets.
    """
    levels = darkest + np.clip(shares, 0, 1) * (BRIGHTEST - darkest)
    return cv2.applyColorMap(np.rint(levels).astype(np.uint8), colour_map)[..., ::-1].copy()


def colour_instances(instances: np.ndarray) -> np.ndarray:
    """Numbers of objects, uint8 (H, W), as uint8 (H, W, 3) RGB.

    The background (0) is black. Neighbouring numbers have colours that are far apart.
    """
    hues = (np.arange(256) * GOLDEN_ANGLE % 180).astype(np.uint8)  # OpenCV's hues are half degrees
    palette = np.dstack([hues[None], np.full((1, 256), 190), np.full((1, 256), 255)])
    colours = cv2.cvtColor(palette.astype(np.uint8), cv2.COLOR_HSV2RGB)[0]
    colours[0] = 0
    return colours[instances]


def colour_depth(
    depth: np.ndarray,
    low: float,
    high: float,
    *,
    near_is_low: bool = True,
    darkest: int = 0,
    invalid: tuple[int, int, int],
) -> np.ndarray:
    """Depth (H, W) float as uint8 (H, W, 3) RGB in viridis, near bright and far dark.

    Args:
        depth: Depth or inverse depth. Pixels that are not above 0 or not finite are invalid.
        low: The depth at one end of the colours, in the unit of `depth`.
        high: The depth at the other end.
        near_is_low: True for depth, False for inverse depth.
        darkest: Which of the 256 colours the farthest depth gets.
        invalid: RGB colour of invalid pixels, 0..255.
    """
    shares = np.nan_to_num((depth - low) / max(high - low, 1e-9))
    colours = colour_shares(1 - shares if near_is_low else shares, darkest=darkest)
    colours[~(depth > 0) | ~np.isfinite(depth)] = invalid
    return colours
