"""Cut-outs pasted in front of measured depth: composites whose depth is known up to the alpha.

A network trained on photographs alone takes a pasted cut-out for a part of the scene behind it.
These samples teach it otherwise: the cut-out stands upright and flat, nearer than everything it
hides, and its depth ends where its alpha does (copy-paste as in Ghiasi et al. 2021, arXiv
2012.07177, extended by depth).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dsetkit.assets import Asset
from dsetkit.compositing import OBJECT_ALPHA, ForegroundPyramid, Stream, place, uniform
from dsetkit.errors import AssetError
from dsetkit.store import PlacedObject

SCALE_RANGE = (0.25, 0.8)  # longer side of the cut-out as a share of the picture's shorter side
DEPTH_RANGE = (0.35, 0.95)  # depth of the cut-out as a share of the nearest depth behind it
NEAREST_M = 0.4  # smallest depth of a cut-out [m]
NEAREST_PERCENTILE = 5  # of the depths behind it; ignores single wrong pixels


@dataclass(frozen=True)
class Pasted:
    """A picture with a cut-out in front.

    Attributes:
        image: uint8 (H,W,3) RGB.
        depth: uint16 (H,W) [mm], 0 = invalid.
        placed: The cut-out: its name, flip, box and plane.
    """

    image: np.ndarray
    depth: np.ndarray
    placed: PlacedObject


class Paster:
    """Pastes cut-outs over pictures with depth.

    Args:
        foregrounds: Cut-outs of all splits.
        seed: Key of every random choice.
    """

    def __init__(self, foregrounds: Sequence[Asset], *, seed: int) -> None:
        self._seed = seed
        self._of_split: dict[str, list[tuple[str, ForegroundPyramid]]] = {}
        for asset in foregrounds:
            entry = (asset.name, ForegroundPyramid.build(asset.pixels))
            self._of_split.setdefault(asset.split, []).append(entry)

    def paste(self, image: np.ndarray, depth: np.ndarray, *, split: str, index: int) -> Pasted:
        """Pastes a cut-out of the picture's split over it, in front of everything it hides.

        Args:
            image: uint8 (H,W,3) RGB.
            depth: uint16 (H,W) [mm], 0 = invalid.
            split: `train`, `val` or `test` of the picture. Cut-outs of test pictures are never
                seen in training.
            index: Number of the sample; it and the seed determine every choice.

        Raises:
            AssetError: There is no cut-out of that split.
        """
        if split not in self._of_split:
            raise AssetError(
                f"no foreground is in split {split}: expected at least three foregrounds, so that "
                "each split has one"
            )
        streams = [
            *(Stream.FOREGROUND, Stream.FLIP, Stream.SCALE),
            *(Stream.PLACE_X, Stream.PLACE_Y, Stream.NEARNESS),
        ]
        which, flip, scale, x, y, near = uniform(self._seed, streams, index).tolist()
        cut_outs = self._of_split[split]
        name, pyramid = cut_outs[int(which * len(cut_outs))]
        height, width = image.shape[:2]
        box = _box(pyramid.shape, (height, width), scale, x, y)
        image, alpha = image.copy(), np.zeros((height, width), np.uint8)
        x_px, y_px, box_width, box_height = box
        here = np.s_[y_px : y_px + box_height, x_px : x_px + box_width]
        alpha[here] = place(pyramid, box, flip=flip < 0.5, image=image)
        hard = alpha >= OBJECT_ALPHA
        behind = depth[hard & (depth > 0)]
        nearest_m = np.percentile(behind, NEAREST_PERCENTILE) / 1000 if len(behind) else 0.0
        depth_m = max(NEAREST_M, _between(DEPTH_RANGE, near) * nearest_m)
        plane = round(depth_m * 1000)
        depth = np.where(hard, np.uint16(plane), depth)
        placed = PlacedObject(name=name, flip=flip < 0.5, box=box, plane=plane)
        return Pasted(image, depth, placed)


def _box(
    shape: tuple[int, int], canvas: tuple[int, int], scale: float, x: float, y: float
) -> tuple[int, int, int, int]:
    """Where a cut-out goes: x, y, width, height [px].

    Args:
        shape: Height and width of the cut-out [px].
        canvas: Height and width of the picture [px].
        scale: Place in SCALE_RANGE, 0..1.
        x: Place from left to right, 0..1.
        y: Place from top to bottom, 0..1.
    """
    share = _between(SCALE_RANGE, scale) * min(canvas) / max(shape)
    height, width = (max(1, round(share * side)) for side in shape)
    return round(x * (canvas[1] - width)), round(y * (canvas[0] - height)), width, height


def _between(limits: tuple[float, float], share: float) -> float:
    return limits[0] + (limits[1] - limits[0]) * share
