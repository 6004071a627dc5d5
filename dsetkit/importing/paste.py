"""Cut-outs pasted in front of measured depth: composites whose depth is known up to the alpha.

A network trained on photographs alone takes a pasted cut-out for a part of the scene behind it.
These samples teach it otherwise: the cut-out stands upright and flat, nearer than all that it
hides, and its depth ends where its alpha does (copy-paste as in Ghiasi et al. 2021, arXiv
2012.07177, with a depth).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dsetkit.assets import Asset
from dsetkit.compositing import (
    ForegroundPyramid,
    Stream,
    place,
    uniform,
)
from dsetkit.errors import AssetError

SCALE_RANGE = (0.25, 0.8)  # longer side of the cut-out as a share of the picture's shorter side
DEPTH_RANGE = (0.35, 0.95)  # depth of the cut-out as a share of the nearest depth behind it
NEAREST_M = 0.4  # closer than this nothing is pasted [m]
NEAREST_PERCENTILE = 5  # of the depths behind it: single wrong pixels do not count
HARD_ALPHA = 128  # from this alpha on a pixel has the depth of the cut-out


@dataclass(frozen=True)
class Pasted:
    """A composite, uint8 (H,W,3) RGB, its depth, uint16 (H,W) mm, and how it was made."""

    image: np.ndarray
    depth: np.ndarray
    recipe: dict


class Paster:
    """Pastes cut-outs over pictures with depth.

    Args:
        foregrounds: Cut-outs, of all splits.
        seed: Key of every choice.
    """

    def __init__(self, foregrounds: Sequence[Asset], *, seed: int) -> None:
        self._seed = seed
        self._of_split: dict[str, list[tuple[str, ForegroundPyramid]]] = {}
        for asset in foregrounds:
            entry = (asset.name, ForegroundPyramid.build(asset.pixels))
            self._of_split.setdefault(asset.split, []).append(entry)

    def paste(self, image: np.ndarray, depth: np.ndarray, *, split: str, index: int) -> Pasted:
        """A cut-out of the same split over a picture, in front of all that it hides.

        Args:
            image: uint8 (H,W,3) RGB.
            depth: uint16 (H,W) mm, 0 = invalid.
            split: `train`, `val` or `test` of the picture: what is pasted on test pictures is
                never seen in training.
            index: Number of the sample; with the seed it decides all.

        Raises:
            AssetError: No cut-out is of that split.
        """
        if split not in self._of_split:
            raise AssetError(
                f"no foreground is of split {split}: three or more are needed, one for each split"
            )
        streams = [
            *(Stream.FOREGROUND, Stream.FLIP, Stream.SCALE),
            *(Stream.PLACE_X, Stream.PLACE_Y, Stream.NEARNESS),
        ]
        which, flip, scale, x, y, near = uniform(self._seed, streams, index).tolist()
        cut_outs = self._of_split[split]
        name, pyramid = cut_outs[int(which * len(cut_outs))]
        box = _box(pyramid.shape, image.shape[:2], scale, x, y)
        image, alpha = image.copy(), np.zeros(image.shape[:2], np.uint8)
        place(pyramid, box, flip=flip < 0.5, image=image, mask=alpha)
        hard = alpha >= HARD_ALPHA
        behind = depth[hard & (depth > 0)]
        nearest_m = np.percentile(behind, NEAREST_PERCENTILE) / 1000 if len(behind) else 0.0
        depth_m = max(NEAREST_M, _between(DEPTH_RANGE, near) * nearest_m)
        depth = np.where(hard, np.uint16(round(depth_m * 1000)), depth)
        recipe = {"foreground": name, "flip": flip < 0.5, "box": list(box), "depth_m": depth_m}
        return Pasted(image, depth, recipe)


def _box(
    shape: tuple[int, int], canvas: tuple[int, int], scale: float, x: float, y: float
) -> tuple[int, int, int, int]:
    share = _between(SCALE_RANGE, scale) * min(canvas) / max(shape)
    height, width = (max(1, round(share * side)) for side in shape)
    return round(x * (canvas[1] - width)), round(y * (canvas[0] - height)), width, height


def _between(limits: tuple[float, float], share: float) -> float:
    return limits[0] + (limits[1] - limits[0]) * share
