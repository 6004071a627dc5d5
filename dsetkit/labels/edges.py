"""Depth labels whose edges lie where the alpha is.

A small depth network answers soft shapes: near the outline of a pasted object its depth passes
gradually from the object's to the background's, and the pixels in between are at neither. But where
the object ends is known exactly. So what lies within some reach of the alpha's edge is taken from
the nearest pixel of its own side that lies farther from it: inside the object from the object,
outside from the background. A wrong depth stays wrong; only the passage between the two goes.
"""

import cv2
import numpy as np

from dsetkit.compositing import OBJECT_ALPHA, resize_in_one_step


def edges_at_alpha(depth: np.ndarray, alpha: np.ndarray, *, reach: float) -> np.ndarray:
    """A depth map with its passage between foreground and background put at the alpha's edge.

    Args:
        depth: uint16 (h,w) as stored, 0 = invalid; invalid pixels stay so, and lend nothing.
        alpha: uint8 (H,W) of the placed foreground; its edge is that of boundary recall.
        reach: How far from the edge depth is replaced, as a share of the shorter side. Of an
            object that is thinner, its middle lends.

    Returns:
        uint16 (h,w); `depth` itself where there is no edge.
    """
    inside = resize_in_one_step(alpha, depth.shape) >= OBJECT_ALPHA
    if inside.all() or not inside.any():
        return depth
    valid, result = depth > 0, depth.copy()
    for side in (inside, ~inside):
        from_edge = cv2.distanceTransform(side.view(np.uint8), cv2.DIST_L2, 3)  # [px]
        kept = min(reach * min(depth.shape), from_edge.max() / 2)
        lends = (from_edge > kept) & valid
        if lends.any():
            replaced = np.flatnonzero(side & valid & ~lends)
            result.ravel()[replaced] = _nearest(depth, lends, replaced)
    return result


def _nearest(depth: np.ndarray, lends: np.ndarray, places: np.ndarray) -> np.ndarray:
    """For the flat indices `places` (n,) the depth of the nearest pixel that lends: uint16 (n,)."""
    _, labels = cv2.distanceTransformWithLabels(
        (~lends).view(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    labels, lenders = labels.ravel(), np.flatnonzero(lends)
    lent = np.zeros(labels.max() + 1, depth.dtype)  # by label: each lender has one of its own
    lent[labels[lenders]] = depth.ravel()[lenders]
    return lent[labels[places]]
