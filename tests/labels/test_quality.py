"""Depth labels against the alpha: boundary recall and the foreground's place, worked by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from dsetkit.labels.quality import (
    THRESHOLDS,
    WEIGHTS,
    LabelQuality,
    boundary_recall,
    foreground_ratio,
    inverse_depth,
)
from dsetkit.verbs.stats import as_lines, measure
from tests.helpers.worlds import tiny_dataset, tiny_rgbd

SIZE = 64


def square_mask(size: int = SIZE) -> np.ndarray:
    """A square in the middle, half as wide as the picture."""
    mask = np.zeros((size, size), np.uint8)
    mask[size // 4 : -size // 4, size // 4 : -size // 4] = 255
    return mask


def labels(front_m: float, back_m: float, mask: np.ndarray) -> np.ndarray:
    """Metric depth as stored: the mask's square at one depth, all else at another."""
    return np.where(mask > 0, front_m * 1000, back_m * 1000).astype(np.uint16)


def judge(mask: np.ndarray, depth: np.ndarray, kind: str = "metric") -> dict:
    quality = LabelQuality(kind)
    quality.add(mask, depth)
    return quality.result()


# ---- boundary recall ---------------------------------------------------------------------------


def test_a_sharp_step_at_the_edge_is_found_at_every_threshold():
    mask = square_mask()
    assert judge(mask, labels(2, 4, mask))["boundary_recall"] == pytest.approx(1)


def test_the_step_counts_at_the_thresholds_below_it_weighted_by_them():
    mask = square_mask()
    found = judge(mask, labels(2.0, 2.3, mask))["boundary_recall"]
    # 1.15 is above 1.05, 1.0722, 1.0944, 1.1167, 1.1389: these weigh 5.4722 of 11.5
    assert found == pytest.approx(5.4722 / 11.5, abs=1e-4)


def test_thresholds_and_weights_are_the_published_ones():
    assert len(THRESHOLDS) == 10
    assert (THRESHOLDS[0], THRESHOLDS[-1]) == pytest.approx((1.05, 1.25))
    assert WEIGHTS.sum() == pytest.approx(1)
    assert WEIGHTS[-1] / WEIGHTS[0] == pytest.approx(1.25 / 1.05)


def test_scale_does_not_matter_and_the_right_order_does():
    mask = square_mask()
    assert judge(mask, labels(1, 2, mask))["boundary_recall"] == pytest.approx(1)
    assert judge(mask, labels(20, 40, mask))["boundary_recall"] == pytest.approx(1)
    # the foreground behind its background: an edge, but the wrong one
    assert judge(mask, labels(4, 2, mask))["boundary_recall"] == 0


def test_an_edge_one_pixel_off_is_not_found():
    mask = square_mask()
    shifted = np.roll(labels(2, 4, mask), 1, axis=1)
    # left and right edges are missed; of 32 pixels above and below each, 31 are still there
    assert judge(mask, shifted)["boundary_recall"] == pytest.approx(0.5 * 31 / 32)


def test_a_blurred_edge_is_found_only_where_it_is_steepest():
    inverse = np.full((8, 16), 1.0)
    inverse[:, 6:] = np.array([1.1, 1.4, 1.6] + [1.6] * 7)
    # ratios of columns 5|6, 6|7, 7|8: 1.1, 1.27, 1.14; thinning leaves the second
    for first_inside, expected in ((6, 0.0), (7, 0.25), (8, 0.0)):
        mask = np.zeros((8, 16), np.uint8)
        mask[:, first_inside:] = 255
        if first_inside == 7:
            assert boundary_recall(inverse, mask) == pytest.approx(expected)
        else:
            # above t = 1.1 or 1.14 the runs are no longer than the greatest
            assert boundary_recall(inverse, mask) == expected


def test_a_thinned_run_may_part_at_a_higher_threshold():
    inverse = np.cumprod(np.tile([1, 1, 1.15, 1.06, 1.2, 1, 1, 1.0], (4, 1)), axis=1)
    mask = np.zeros((4, 8), np.uint8)
    mask[:, 2:] = 255
    # up to t = 1.05 one run whose greatest is 1.2, not at the edge; from 1.0722 on 1.06 is out and
    # 1.15 stands alone, until t = 1.15 is passed
    weights = [w for t, w in zip(THRESHOLDS, WEIGHTS, strict=True) if 1.06 < t < 1.15]
    assert boundary_recall(inverse, mask) == pytest.approx(sum(weights) / 4)


def test_a_direction_without_an_edge_counts_nought_as_published():
    mask = np.zeros((16, 16), np.uint8)
    mask[:, 8:] = 255
    assert judge(mask, labels(2, 4, mask))["boundary_recall"] == pytest.approx(1 / 4)


def slow_recall(inverse: np.ndarray, mask: np.ndarray) -> float:
    """The definition, pair by pair."""
    inside, recalls = mask > 25.5, []
    for threshold in THRESHOLDS:
        directions = []
        for depth, is_in in (
            (inverse, inside),
            (inverse[:, ::-1], inside[:, ::-1]),
            (inverse.T, inside.T),
            (inverse.T[:, ::-1], inside.T[:, ::-1]),
        ):
            found = total = 0
            for line, line_in in zip(depth, is_in, strict=True):
                ratio = line[1:] / line[:-1]
                edge = line_in[1:] & ~line_in[:-1]
                total += edge.sum()
                start = None
                for i, big in enumerate([*(ratio > threshold), False]):
                    if big and start is None:
                        start = i
                    elif not big and start is not None:
                        found += edge[start + int(np.argmax(ratio[start:i]))]
                        start = None
            directions.append(found / max(total, 1))
        recalls.append(np.mean(directions))
    return float(np.array(recalls) @ WEIGHTS)


@pytest.mark.parametrize("seed", range(3))
def test_any_map_scores_as_the_definition_says(seed):
    rng = np.random.default_rng(seed)
    inverse = np.exp(rng.normal(0, 0.15, (20, 30)))
    mask = rng.integers(0, 2, (20, 30)).astype(np.uint8) * 255
    assert boundary_recall(inverse, mask) == pytest.approx(slow_recall(inverse, mask))


def test_edges_at_invalid_depth_do_not_count():
    mask = square_mask()
    depth = labels(2, 4, mask)
    depth[:, : SIZE // 2] = 0
    # the left edge and half of the upper and lower ones are unknown, the left counts 0
    assert judge(mask, depth)["boundary_recall"] == pytest.approx(3 / 4)
    assert judge(mask, np.zeros_like(depth))["boundary_recall"] is None


def test_a_mask_without_an_edge_is_not_judged():
    depth = np.full((SIZE, SIZE), 2000, np.uint16)
    for value in (0, 255):
        result = judge(np.full((SIZE, SIZE), value, np.uint8), depth)
        assert (result["boundary_images"], result["placed_images"]) == (0, 0)
        assert result["boundary_recall"] is result["same_depth_share"] is None


def test_relative_labels_are_inverse_depth_already():
    mask = square_mask()
    stored = np.where(mask > 0, 40_000, 20_000).astype(np.uint16)
    result = judge(mask, stored, "relative")
    assert result["boundary_recall"] == pytest.approx(1)
    assert result["in_front_share"] == 1
    assert result["median_ratio"] == pytest.approx(2)


def test_labels_of_another_size_come_to_that_of_the_mask():
    stored = np.array([[1000, 0], [2000, 4000]], np.uint16)
    enlarged = inverse_depth(stored, kind="metric", size=(4, 4))
    assert enlarged.shape == (4, 4)
    assert enlarged[0, 0] == pytest.approx(1 / 1000)
    assert enlarged[3, 3] == pytest.approx(1 / 4000)
    assert (enlarged[:3, 1:] == 0).all()  # what an invalid pixel takes part in
    mask = square_mask()
    assert judge(mask, labels(2, 4, mask)[::2, ::2])["same_depth_share"] == 0


def test_small_labels_are_judged_at_their_own_size_too():
    mask = square_mask()
    result = judge(mask, labels(2, 4, mask)[::4, ::4])
    # sharp where they are, and blurred by the enlargement
    assert result["own_size_boundary_recall"] == pytest.approx(1)
    assert result["boundary_recall"] < 0.7
    same = judge(mask, labels(2, 2.3, mask))
    assert same["own_size_boundary_recall"] == same["boundary_recall"]


# ---- place of the foreground -------------------------------------------------------------------


@pytest.mark.parametrize(
    "front_m, place",
    [
        (2.0, "in_front_share"),
        (3.7, "in_front_share"),
        (3.9, "same_depth_share"),
        (4.0, "same_depth_share"),
        (4.1, "same_depth_share"),
        (4.3, "behind_share"),
    ],
)
def test_the_foreground_stands_in_front_of_at_or_behind_its_background(front_m, place):
    mask = square_mask()
    result = judge(mask, labels(front_m, 4.0, mask))
    shares = {name: result[name] for name in ("in_front_share", "same_depth_share", "behind_share")}
    assert shares == {name: float(name == place) for name in shares}
    assert result["median_ratio"] == pytest.approx(4 / front_m, rel=1e-3)


def test_what_lies_on_the_edge_or_far_away_says_nothing():
    mask = square_mask()
    inverse = 1 / labels(2, 4, mask).astype(float)
    expected = foreground_ratio(inverse, mask)
    inverse[:8, :8] = 1.0  # farther from the square than a sixteenth of 64 px
    inverse[16, 16:48] = inverse[15, 16:48] = 0.5  # the edge itself, where labels are blurred
    assert foreground_ratio(inverse, mask) == expected == pytest.approx(2)


def test_a_thin_foreground_is_asked_all_over():
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[:, 30] = 255
    assert foreground_ratio(1 / labels(2, 4, mask).astype(float), mask) == pytest.approx(2)


# ---- in stats ----------------------------------------------------------------------------------


@pytest.mark.parametrize("depth_kind", ["metric", "relative"])
def test_stats_judge_the_labels_of_composites(tmp_path: Path, depth_kind: str):
    world = tiny_dataset(tmp_path / "w", num_samples=12, depth_kind=depth_kind)
    measured = measure(world)
    judged = measured["labels"]
    # this teacher sees a floor and no object: at its depth or nearly so, and no edges at all
    assert judged["boundary_images"] == judged["placed_images"] == 12
    assert judged["boundary_recall"] < 0.3
    shares = ("in_front_share", "same_depth_share", "behind_share")
    assert sum(judged[name] for name in shares) == pytest.approx(1)
    assert json.loads(json.dumps(measured)) == measured
    printed = "\n".join(as_lines(measured))
    assert f"boundary recall {judged['boundary_recall']:.2%}" in printed
    assert f"at the background's depth {judged['same_depth_share']:.1%}" in printed


def test_without_a_mask_or_depth_labels_are_not_judged(tmp_path: Path):
    for world in (
        tiny_dataset(tmp_path / "w", num_samples=4, depth_kind="none"),
        tiny_rgbd(tmp_path / "r"),
    ):
        measured = measure(world)
        assert "labels" not in measured
        assert "recall" not in "\n".join(as_lines(measured))
