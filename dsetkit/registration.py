"""Registers a background with its composite: where two photographs of a scene lie to each other.

Between the two photographs a hand-held camera moves by a few pixels. Corners of the background are
found again in the composite by the optical flow of Lucas and Kanade, there and back. One shift,
turn and zoom is fitted to them by RANSAC, so that those behind the foreground do not count.
Both pictures are brought to one local brightness and contrast first, so that exposure, shadows and
vignettes matter little.

Source: B. D. Lucas, T. Kanade, An Iterative Image Registration Technique, IJCAI 1981; M. A.
Fischler, R. C. Bolles, Random Sample Consensus, CACM 24(6), 1981; both as OpenCV has them.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np

CORNERS = 300  # at most
CORNER_QUALITY = 0.05  # of the best corner's
CORNERS_APART_PX = 4
NEAR_PX = 9  # side of the window of local brightness and contrast
CONTRAST, LEAST_CONTRAST = 40.0, 6.0  # grey levels: to which contrast is brought; which is noise
WINDOW_PX = 21  # of the flow, at each level
COARSEST_PX = 32  # shorter side at the pyramid's coarsest level: a third of it can be followed
FLOW_STEPS, FLOW_PX = 20, 0.01  # the flow ends after so many steps, or at a step so small
RETURNS_PX = 0.5  # a corner counts if the flow there and back ends this near
FITS_PX = 1.0  # a corner fits a motion this exactly
LEAST_CORNERS = 8  # that must fit
# Share of the corners that must fit. Measured at 128 px on 286 composites: 0.39 and more for the
# same view, with noise and shifts too, and 0.11 and less for another view. An object that covers
# half of the picture leaves 0.07 to 0.55.
LEAST_SHARE = 0.3
SHARE_OF_ANOTHER = 0.12  # another view has less; between the two nothing is known
MANY_CORNERS = 24  # fewer are too few to tell another view
LEAST_MOTION_PX = 0.25  # of some corner of the picture; less is left as it is
GREATEST_MOTION = 0.15  # of the diagonal; more is not believed


class Registered(NamedTuple):
    """A registered background.

    Attributes:
        background: uint8 (H, W, 3) RGB.
        same_view: Whether it shows what the composite shows behind the foreground; None if that
            cannot be told, because it is plain or mostly hidden.
    """

    background: np.ndarray
    same_view: bool | None


class _Found(NamedTuple):
    """What corners say: the motion as of `find_motion`, and the view as of `Registered`."""

    motion: np.ndarray | None
    same_view: bool | None


def find_motion(composite: np.ndarray, background: np.ndarray) -> np.ndarray | None:
    """Where the pixels of a composite lie in its background.

    The same pictures give the same motion.

    Args:
        composite: uint8 (H, W, 3) RGB.
        background: The same view without the foreground, of the same size.

    Returns:
        float64 (2, 3): the background shows at M @ (x, y, 1) what the composite shows at (x, y), in
        px. None if no motion can be told: too few corners, or another view.
    """
    return _motion_between(_local_contrast(background), _local_contrast(composite)).motion


def comparable_background(background: np.ndarray, composite: np.ndarray) -> Registered:
    """A background as a network compares it with its composite: registered, or black.

    It is black if the composite shows another view. Networks that are trained with the augmentation
    `camera` know black as a background that is missing; one of another place would mislead them.

    Args:
        background: uint8 (H, W, 3) RGB.
        composite: Of the same size.
    """
    registered = register_background(background, composite)
    if registered.same_view is False:
        return Registered(np.zeros_like(background), same_view=False)
    return registered


def register_background(background: np.ndarray, composite: np.ndarray) -> Registered:
    """Moves a background to where its composite shows the scene.

    Args:
        background: uint8 (H, W, 3) RGB.
        composite: The same view with a foreground, of the same size.

    Returns:
        The moved background; beyond its edge, the edge is repeated. It is the same array if no
        motion can be told, if the motion is too small to be told from noise, or if the moved
        background resembles the composite less. So an exact background stays as it is.
    """
    before, target = _local_contrast(background), _local_contrast(composite)
    motion, same_view = _motion_between(before, target)
    if motion is None or _greatest_motion(motion, background.shape) < LEAST_MOTION_PX:
        return Registered(background, same_view)
    moved = cv2.warpAffine(
        background,
        motion,
        background.shape[1::-1],
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    was_apart = cv2.norm(target, before, cv2.NORM_L1)
    is_apart = cv2.norm(target, _local_contrast(moved), cv2.NORM_L1)
    return Registered(moved if is_apart < was_apart else background, same_view)


def _motion_between(before: np.ndarray, after: np.ndarray) -> _Found:
    """Compares background and composite as `_local_contrast` gives them."""
    corners = cv2.goodFeaturesToTrack(before, CORNERS, CORNER_QUALITY, CORNERS_APART_PX)
    if corners is None:
        return _Found(None, same_view=None)
    there, was_found = _follow(before, after, corners)
    back, was_found_again = _follow(after, before, there)
    returns = np.linalg.norm(back - corners, axis=2)[:, 0] < RETURNS_PX
    is_known = (was_found & was_found_again)[:, 0].astype(bool) & returns
    if is_known.sum() < LEAST_CORNERS:
        return _not_found(int(is_known.sum()), len(corners))
    cv2.setRNGSeed(0)
    motion, fits = cv2.estimateAffinePartial2D(
        there[is_known], corners[is_known], method=cv2.RANSAC, ransacReprojThreshold=FITS_PX
    )
    if motion is None or fits.sum() < max(LEAST_CORNERS, LEAST_SHARE * len(corners)):
        return _not_found(0 if motion is None else int(fits.sum()), len(corners))
    if _greatest_motion(motion, before.shape) >= GREATEST_MOTION * math.hypot(*before.shape):
        return _Found(None, same_view=None)
    return _Found(motion, same_view=True)


def _not_found(fitting: int, corners: int) -> _Found:
    """No motion: it is another view if hardly any of many corners fit."""
    is_another = corners >= MANY_CORNERS and fitting < SHARE_OF_ANOTHER * corners
    return _Found(None, same_view=False if is_another else None)


def _local_contrast(pixels: np.ndarray) -> np.ndarray:
    """Grey levels (H, W) uint8, with the mean 128 and about the same contrast everywhere."""
    levels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean = cv2.blur(levels, (NEAR_PX, NEAR_PX))
    variance = cv2.blur(levels * levels, (NEAR_PX, NEAR_PX)) - mean * mean
    contrast = np.sqrt(np.maximum(variance, 0) + LEAST_CONTRAST**2)
    return np.clip(128 + CONTRAST * (levels - mean) / contrast, 0, 255).astype(np.uint8)


def _follow(
    first: np.ndarray, second: np.ndarray, corners: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where corners of the first picture are in the second, and whether they were found."""
    ends = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, FLOW_STEPS, FLOW_PX)
    window = (WINDOW_PX, WINDOW_PX)
    halvings = max(0, round(math.log2(min(first.shape) / COARSEST_PX)))
    there, was_found, _ = cv2.calcOpticalFlowPyrLK(
        first, second, corners, corners.copy(), winSize=window, maxLevel=halvings, criteria=ends
    )
    return there, was_found


def _greatest_motion(motion: np.ndarray, shape: tuple[int, ...]) -> float:
    """How far a corner of the picture moves at most, in px."""
    height, width = shape[:2]
    corners = np.array([(0, 0, 1), (width, 0, 1), (0, height, 1), (width, height, 1)], float)
    return float(np.linalg.norm(corners @ motion.T - corners[:, :2], axis=1).max())
