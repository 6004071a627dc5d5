"""Depth put right at the alpha's edges: sharp there, untouched elsewhere, invalid stays invalid."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dsetkit.datasets.reader import Dataset
from dsetkit.errors import TeacherError
from dsetkit.labels.edges import edges_at_alpha
from dsetkit.labels.quality import LabelQuality
from dsetkit.labels.teacher_choice import EDGE_REACH
from tests.helpers.generating import generate, relabel
from tests.helpers.worlds import tiny_rgbd
from tests.labels.test_quality import SIZE, judge, labels, square_mask

REACH = 1 / 16
KEPT = SIZE * REACH  # [px]


def soft() -> tuple[np.ndarray, np.ndarray]:
    """A square's mask, and depth that passes gradually over its edge, as a small network's does."""
    mask = square_mask()
    sharp = labels(2, 4, mask).astype(np.float32)
    return mask, cv2.blur(sharp, (5, 5)).astype(np.uint16)


def from_edge(mask: np.ndarray) -> np.ndarray:
    """How far each pixel is from the mask's edge, on either side [px]."""
    inside = (mask > 0).astype(np.uint8)
    return sum(cv2.distanceTransform(side, cv2.DIST_L2, 5) for side in (inside, 1 - inside))


def test_a_gradual_passage_becomes_the_sharp_step_it_came_from():
    mask, depth = soft()
    found = edges_at_alpha(depth, mask, reach=REACH)
    assert np.array_equal(found, labels(2, 4, mask))
    assert judge(mask, depth)["boundary_recall"] < 0.6
    assert judge(mask, found)["boundary_recall"] == pytest.approx(1)


def test_nothing_changes_farther_from_the_edge_than_the_reach():
    mask = square_mask()
    depth = np.random.default_rng(0).integers(1, 9000, mask.shape).astype(np.uint16)
    found = edges_at_alpha(depth, mask, reach=REACH)
    far = from_edge(mask) > KEPT + 1
    assert np.array_equal(found[far], depth[far])
    assert not np.array_equal(found, depth)


def test_every_value_comes_from_its_own_side():
    mask = square_mask()
    draw = np.random.default_rng(1)
    front, back = (draw.integers(low, low + 900, mask.shape) for low in (1000, 5000))
    depth = np.where(mask > 0, front, back).astype(np.uint16)
    found = edges_at_alpha(depth, mask, reach=REACH)
    assert found[mask > 0].max() < 2000 <= 5000 <= found[mask == 0].min()


def test_invalid_depth_stays_invalid_and_lends_nothing():
    mask, depth = soft()
    holes = np.random.default_rng(2).random(depth.shape) < 0.3
    found = edges_at_alpha(np.where(holes, 0, depth).astype(np.uint16), mask, reach=REACH)
    assert np.array_equal(found == 0, holes)


def test_a_thin_object_takes_the_depth_along_its_middle():
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[10:54, 30:33] = 255  # thinner than twice the reach
    depth = labels(2, 4, mask)
    depth[:, 30], depth[:, 32] = 3500, 3000
    found = edges_at_alpha(depth, mask, reach=REACH)
    assert (found[12:52, 30:33] == 2000).all()


@pytest.mark.parametrize("value", [0, 255])
def test_without_an_edge_depth_is_left_as_it_is(value):
    mask = np.full((SIZE, SIZE), value, np.uint8)
    depth = np.arange(SIZE * SIZE, dtype=np.uint16).reshape(SIZE, SIZE)
    assert edges_at_alpha(depth, mask, reach=REACH) is depth


def test_labels_smaller_than_the_mask_are_put_right_at_their_own_size():
    mask, depth = soft()
    large = cv2.resize(mask, (4 * SIZE, 4 * SIZE), interpolation=cv2.INTER_NEAREST)
    found = edges_at_alpha(depth, large, reach=REACH)
    assert found.shape == depth.shape
    assert np.array_equal(found, edges_at_alpha(depth, mask, reach=REACH))


# ---- in datasets -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both(pictures: dict, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same samples with the bundled teacher's depth: put right, and as it answers."""
    root = tmp_path_factory.mktemp("edges")
    made = {}
    for name, reach in (("right", None), ("raw", 0)):
        made[name] = root / name
        settings = {"size": 64, "num_samples": 24, "workers": 0, "device": "cpu"}
        generate(**pictures, output=made[name], edge_reach=reach, **settings)
    return made


def depths(path: Path) -> list[np.ndarray]:
    dataset = Dataset(path)
    return [dataset.image(dataset.record(i), "depth") for i in range(len(dataset))]


def test_the_bundled_teachers_labels_are_put_right_and_the_manifest_says_so(both):
    right, raw = Dataset(both["right"]), Dataset(both["raw"])
    assert right.manifest.teacher["edge_reach"] == EDGE_REACH["bundled"]
    assert "edge_reach" not in raw.manifest.teacher
    quality = {name: LabelQuality("metric") for name in both}
    for name, path in both.items():
        for index, depth in enumerate(depths(path)):
            record = right.record(index)
            quality[name].add(right.image(record, "mask"), depth)
    found = {name: one.result()["own_size_boundary_recall"] for name, one in quality.items()}
    assert found["right"] > 2 * found["raw"]
    scores = right.manifest.label_quality["own_size_boundary_recall"]
    assert scores == pytest.approx(found["right"])


def test_stored_depth_is_the_raw_one_put_right(both):
    dataset = Dataset(both["right"])
    for index, (right, raw) in enumerate(zip(*map(depths, both.values()), strict=True)):
        mask = dataset.image(dataset.record(index), "mask")
        assert np.array_equal(right, edges_at_alpha(raw, mask, reach=EDGE_REACH["bundled"]))


@pytest.mark.parametrize("name", ["right", "raw"])
def test_relabelling_gives_the_depth_that_generating_gave(both, name, tmp_path):
    reach = None if name == "right" else 0
    relabel(both["raw"], tmp_path / "new", teacher="bundled", edge_reach=reach, device="cpu")
    pairs = zip(depths(tmp_path / "new"), depths(both[name]), strict=True)
    assert all(np.array_equal(new, made) for new, made in pairs)


def test_relabelling_pictures_without_masks_leaves_the_answer_as_it_is(tmp_path):
    tiny_rgbd(tmp_path / "pairs")
    manifest = relabel(tmp_path / "pairs", tmp_path / "new", teacher="bundled", device="cpu")
    assert "edge_reach" not in manifest.teacher


@pytest.mark.parametrize("reach", [-0.1, 0.6])
def test_a_reach_that_is_no_share_is_refused(reach, pictures, tmp_path):
    with pytest.raises(TeacherError, match=rf"--teacher-edges {reach}: expected a number"):
        generate(**pictures, output=tmp_path / "d", edge_reach=reach)
    assert not (tmp_path / "d").exists()
