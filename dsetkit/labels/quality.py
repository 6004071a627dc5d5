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
    recall = own_size_recall = boundary_recall(inverse, mask)
    if depth.shape != mask.shape:
        stored_size = inverse_depth(depth, kind=kind, size=depth.shape)
        own_size_recall = boundary_recall(stored_size, resize_in_one_step(mask, depth.shape))
    return SampleScores(recall, own_size_recall, ratio=foreground_ratio(inverse, mask))


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
    height, width = inverse.shape
    # All rows and then all columns in one line, with an invalid pixel around each.
    rows = np.zeros((height, width + 1), inverse.dtype)
    columns = np.zeros((width, height + 1), inverse.dtype)
    rows[:, :-1], columns[:, :-1] = inverse, inverse.T
    line = np.concatenate([np.zeros(1, inverse.dtype), rows.ravel(), columns.ravel()])

    around = _around(mask, margin=1)  # holds all edges
    inside = mask[around] >= OBJECT_ALPHA
    top, left = (part.start for part in around)
    pairs = []
    for is_in, pixels, first_row, first_column, first in (
        (inside, rows, top, left, 1),
        (inside.T, columns, left, top, 1 + rows.size),
    ):
        before, after = is_in[:, :-1], is_in[:, 1:]
        for edge in (after & ~before, before & ~after):  # the inner pixel is the second, the first
            row, column = np.nonzero(edge)
            pairs.append(first + (first_row + row) * pixels.shape[1] + first_column + column)
    direction = np.repeat(np.arange(4), [len(found) for found in pairs])
    ratios = _Ratios(line, np.concatenate(pairs), is_turned=direction % 2 == 1)

    known = np.bincount(direction[ratios.own > 0], minlength=4)
    if not known.any():
        return None
    found = ratios.found()
    recalls = [
        np.count_nonzero(found[:, direction == number], axis=1) / max(count, 1)
        for number, count in enumerate(known)
    ]
    return float(np.mean(recalls, axis=0) @ WEIGHTS)


class _Ratios:
    """Ratios of the inverse depths of pairs of neighbours, and those of the pairs around them.

    Args:
        line: float (M,), inverse depth along rows and columns; 0 = invalid, and between them.
        pairs: int (N,), place of the first pixel of each pair in it.
        is_turned: bool (N,), whether a ratio is first over second, not second over first.

    Attributes:
        own: float (N,), the ratio of each pair; 0 where a depth is invalid.
    """

    def __init__(self, line: np.ndarray, pairs: np.ndarray, *, is_turned: np.ndarray) -> None:
        self._line, self._pairs, self._is_turned = line, pairs, is_turned
        self.own = self._at(pairs, is_turned)

    def _at(self, pairs: np.ndarray, is_turned: np.ndarray) -> np.ndarray:
        first, second = self._line[pairs], self._line[pairs + 1]
        above, below = np.where(is_turned, (first, second), (second, first))
        known = (first > 0) & (second > 0)
        return np.divide(above, below, out=np.zeros_like(first), where=known)

    def found(self) -> np.ndarray:
        """Whether each pair is found at each threshold: bool (thresholds, N).

        At threshold t a pair is found if its ratio is the greatest of the run of pairs around it
        whose ratios are all above t; of equal ones the first is. So it is found from the lowest t
        at which no pair with a greater ratio belongs to its run, up to its own ratio.
        """
        lowest = np.zeros_like(self.own)
        # Two walkers leave each pair, to either side, until one meets a greater ratio or the run
        # ends at every threshold.
        start = np.tile(np.flatnonzero(self.own > THRESHOLDS[0]), 2)
        step = np.repeat((-1, 1), len(start) // 2)
        place, least = self._pairs[start], self.own[start]
        while len(start):
            place = place + step
            ratio = self._at(place, self._is_turned[start])
            least = np.minimum(least, ratio)
            beaten = (ratio > self.own[start]) | ((ratio == self.own[start]) & (step < 0))
            np.maximum.at(lowest, start[beaten], least[beaten])
            goes_on = ~beaten & (least > THRESHOLDS[0])
            start, step = start[goes_on], step[goes_on]
            place, least = place[goes_on], least[goes_on]
        at = THRESHOLDS[:, None]
        return (lowest <= at) & (at < self.own)


# ---- place of the foreground -------------------------------------------------------------------


def foreground_ratio(inverse: np.ndarray, mask: np.ndarray) -> float | None:
    """Median inverse depth of the foreground over that around it: above 1 = nearer.

    None when either has no pixel with depth; arguments as in `boundary_recall`.
    """
    side = min(mask.shape)
    gap, reach = max(1, side * GAP_SHARE), max(2, side * RING_SHARE)  # [px]
    around = _around(mask, int(reach) + 2)
    mask, inverse = mask[around], inverse[around]
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


def _around(mask: np.ndarray, margin: int) -> tuple[slice, slice]:
    """The part of an image that holds all that a mask covers, and a margin [px] around it."""
    left, top, width, height = cv2.boundingRect((mask > 0).astype(np.uint8))
    return (
        slice(max(0, top - margin), top + height + margin),
        slice(max(0, left - margin), left + width + margin),
    )
