"""How well depth labels know the pasted foreground, whose exact alpha every composite has.

Boundary recall. Depth Pro's scale-invariant boundary recall for matting data (Bochkovskii et al.
2024, arXiv 2410.02073, "Evaluation metrics for sharp boundaries"; the settings as in
`eval/boundary_metrics.py` of its code): a pair of neighbouring pixels on the edge of the mask
(alpha > 0.1) is found at threshold t when the inverse depth of its inner pixel is more than t times
that of the outer one, and no neighbouring pair along the line has a greater ratio (thinning, or a
blurred edge would score as a sharp one). The recalls of the four directions are averaged, then
those of 10 thresholds from 1.05 to 1.25, weighted by the threshold. As published the depth is
brought to the mask's size before, so that teachers of different resolutions can be compared: small
labels lose their edges there. At the labels' own size, the mask shrunk instead, the recall tells
what a training at such a size sees; compare it among labels of one size only.

Place of the foreground. The median inverse depth inside the foreground over that in a ring around
it. Within 5 % of 1 the teacher has put the foreground at the background's depth: it has not seen
the pasted object as an object. Both keep clear of the edge, where labels are blurred.

Only ratios of inverse depth count, so metres need no scale. Relative labels have an unknown shift
too, which moves these ratios: compare them among relative teachers only.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from dsetkit.compositing import OBJECT_ALPHA, resize_in_one_step

THRESHOLDS = np.linspace(1.05, 1.25, 10)
WEIGHTS = THRESHOLDS / THRESHOLDS.sum()

FOREGROUND_ALPHA = 128  # of 255: a pixel of the foreground, where its depth is asked
SAME_DEPTH_RATIO = 1.05  # closer than this, foreground and background stand at the same depth
GAP_SHARE = 1 / 64  # of the shorter side: how far inside and ring keep from the edge
RING_SHARE = 1 / 16  # of the shorter side: how far the ring reaches


@dataclass(frozen=True)
class SampleScores:
    """Scores of one sample's label; None where it cannot be scored.

    Attributes:
        boundary_recall: See `boundary_recall`, at the mask's size.
        own_size_boundary_recall: The same at the depth's size.
        ratio: See `foreground_ratio`.
    """

    boundary_recall: float | None
    own_size_boundary_recall: float | None
    ratio: float | None


def score_sample(mask: np.ndarray, depth: np.ndarray, *, kind: str) -> SampleScores:
    """Scores the label of a sample.

    Args:
        mask: uint8 (H,W), alpha of the placed foreground.
        depth: uint16 (h,w) as stored, 0 = invalid.
        kind: `metric` or `relative`, of the depth.
    """
    inverse = inverse_depth(depth, kind=kind, size=mask.shape)
    stored_size = inverse_depth(depth, kind=kind, size=depth.shape)
    small_mask = resize_in_one_step(mask, depth.shape)
    return SampleScores(
        boundary_recall=boundary_recall(inverse, mask),
        own_size_boundary_recall=boundary_recall(stored_size, small_mask),
        ratio=foreground_ratio(inverse, mask),
    )


class LabelQuality:
    """Boundary recall and place of the foreground over many samples.

    Args:
        depth_kind: `metric` or `relative`, of the labels.
    """

    def __init__(self, depth_kind: str) -> None:
        self._kind = depth_kind
        self._recalls: list[float] = []
        self._own_size_recalls: list[float] = []
        self._ratios: list[float] = []

    def add(self, mask: np.ndarray, depth: np.ndarray) -> SampleScores:
        """Takes in a sample, and gives its scores; arguments as of `score_sample`."""
        scores = score_sample(mask, depth, kind=self._kind)
        for found, value in (
            (self._recalls, scores.boundary_recall),
            (self._own_size_recalls, scores.own_size_boundary_recall),
            (self._ratios, scores.ratio),
        ):
            if value is not None:
                found.append(value)
        return scores

    def merge(self, later: "LabelQuality") -> None:
        """Takes in what another took in of the samples that follow."""
        self._recalls += later._recalls
        self._own_size_recalls += later._own_size_recalls
        self._ratios += later._ratios

    def result(self) -> dict:
        """Means and shares over the samples that could be scored; None where none could.

        `boundary_recall` in [0, 1], of `boundary_images`, and `own_size_boundary_recall`; of
        `placed_images` the shares `in_front_share`, `same_depth_share` and `behind_share`, and
        `median_ratio` of inverse depths, above 1 = nearer than the background.
        """
        ratios = np.array(self._ratios)
        nearer, farther = ratios >= SAME_DEPTH_RATIO, ratios <= 1 / SAME_DEPTH_RATIO
        shares = {
            "in_front_share": nearer,
            "same_depth_share": ~(nearer | farther),
            "behind_share": farther,
        }
        return {
            "boundary_recall": _mean(self._recalls),
            "own_size_boundary_recall": _mean(self._own_size_recalls),
            "boundary_images": len(self._recalls),
            **{name: _mean(is_so) for name, is_so in shares.items()},
            "median_ratio": float(np.median(ratios)) if len(ratios) else None,
            "placed_images": len(ratios),
        }


def _mean(values: list[float] | np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None


def inverse_depth(stored: np.ndarray, *, kind: str, size: tuple[int, int]) -> np.ndarray:
    """Stored depth, uint16 (h,w), as inverse depth of any scale: float32 of `size`, 0 = invalid.

    A pixel of another size is valid when all that it averages is.
    """
    depth = stored.astype(np.float32)
    if depth.shape != size:
        valid = resize_in_one_step((depth > 0).astype(np.float32), size)
        depth = resize_in_one_step(depth, size) * (valid > 0.999)
    if kind == "relative":
        return depth
    return np.divide(1, depth, out=np.zeros_like(depth), where=depth > 0)


# ---- boundary recall ---------------------------------------------------------------------------


def boundary_recall(inverse: np.ndarray, mask: np.ndarray) -> float | None:
    """Depth Pro's SI boundary recall; None when the mask has no edge where depth is valid.

    A direction in which the mask has no edge counts 0, as published.

    Args:
        inverse: float (H,W), inverse depth of any scale, 0 = invalid.
        mask: uint8 (H,W) alpha.
    """
    inside = mask >= OBJECT_ALPHA
    found, edges = [], []
    # a pair of neighbours along columns and, transposed, along rows; the inner pixel on either side
    for depth, is_in in ((inverse, inside), (inverse.T, inside.T)):
        first, second = depth[:, :-1], depth[:, 1:]
        known = (first > 0) & (second > 0)
        ratio = np.divide(second, first, out=np.zeros_like(first), where=known)
        turned = np.divide(first, second, out=np.zeros_like(first), where=known)
        for ratios, edge in (
            (ratio, is_in[:, 1:] & ~is_in[:, :-1]),
            (turned, is_in[:, :-1] & ~is_in[:, 1:]),
        ):
            edge = edge & known
            found.append(_found_edges(ratios, edge))
            edges.append(np.count_nonzero(edge))
    if sum(edges) == 0:
        return None
    recalls = np.array(found) / np.maximum(edges, 1)[:, None]  # (4, thresholds)
    return float(recalls.mean(axis=0) @ WEIGHTS)


def _found_edges(ratios: np.ndarray, edge: np.ndarray) -> list[int]:
    """How many pairs of `edge` the thinned `ratios`, both (H,W), find at each threshold."""
    # a column of zeros keeps a run of large ratios from going on in the next row
    flat = np.pad(ratios, ((0, 0), (0, 1))).ravel()
    edge = np.pad(edge, ((0, 0), (0, 1))).ravel()
    above = np.flatnonzero(flat > THRESHOLDS[0])
    counts = []
    for threshold in THRESHOLDS:
        above = above[flat[above] > threshold]
        if len(above) == 0:
            counts.append(0)
            continue
        values = flat[above]
        starts = np.diff(above, prepend=-2) != 1
        run = np.cumsum(starts) - 1
        highest = np.maximum.reduceat(values, np.flatnonzero(starts))
        peaks = np.flatnonzero(values == highest[run])
        _, firsts = np.unique(run[peaks], return_index=True)  # of equal ratios the first
        counts.append(int(np.count_nonzero(edge[above[peaks[firsts]]])))
    return counts


# ---- place of the foreground -------------------------------------------------------------------


def foreground_ratio(inverse: np.ndarray, mask: np.ndarray) -> float | None:
    """Median inverse depth of the foreground over that around it: above 1 = nearer.

    None when either has no pixel with depth; arguments as in `boundary_recall`.
    """
    side = min(mask.shape)
    gap, reach = max(1, side * GAP_SHARE), max(2, side * RING_SHARE)  # [px]
    foreground = (mask >= FOREGROUND_ALPHA).astype(np.uint8)
    if foreground.all() or not foreground.any():
        return None
    depth_inside = cv2.distanceTransform(foreground, cv2.DIST_L2, 3)
    inside = depth_inside > gap
    if not inside.any():  # all of it is thin
        inside = foreground > 0
    away = cv2.distanceTransform((mask == 0).astype(np.uint8), cv2.DIST_L2, 3)
    ring = (away > gap) & (away <= reach)
    inside, ring = inside & (inverse > 0), ring & (inverse > 0)
    if not inside.any() or not ring.any():
        return None
    return float(np.median(inverse[inside]) / np.median(inverse[ring]))
