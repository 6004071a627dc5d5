"""A room whose depth is known: a floor, a wall behind it, and a pillar before the wall."""

import numpy as np

from dsetkit.compositing.standing import Standing

CAMERA_MM, WALL_MM, PILLAR_MM = 1400, 5000, 2500


def room(side: int, *, floor: bool = True, pillar: bool = True) -> np.ndarray:
    """The depth of a room, seen level by a camera of the field of view of `Standing()`.

    Args:
        side: Of the picture [px].
        floor: Whether there is one; otherwise the wall goes on below.
        pillar: Whether there is one, a fifth of the picture wide, left of its middle.

    Returns:
        uint16 (side,side) [mm].
    """
    focal = Standing().focal_px(side)
    below = np.maximum(np.arange(side) - side // 2, 1e-3)
    floors = focal * CAMERA_MM / below if floor else np.full(side, np.inf)
    depth = np.tile(np.minimum(WALL_MM, floors)[:, None], (1, side))
    if pillar:
        part = depth[:, side // 5 : 2 * side // 5]
        part[:] = np.minimum(part, PILLAR_MM)
    return np.rint(depth).astype(np.uint16)
