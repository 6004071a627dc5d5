"""tools/score_teacher.py: the scores of a teacher on measured depth, computed by hand."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import evaluate_depth
from dsetkit.errors import RunError, TeacherError
from tests.helpers.importing import import_rgbd
from tools import score_teacher
from tools.bundle_teacher import CHECKPOINT

HEIGHT, WIDTH = 24, 32


class Drawn:
    """Answers with a map of its own for every picture.

    Args:
        depth: (h, w), metres or relative inverse depth.
        kind: "metric" or "relative".
    """

    name, weights_hash = "drawn", "00"

    def __init__(self, depth: np.ndarray, kind: str = "metric") -> None:
        self.depth, self.kind = depth.astype(np.float32), kind
        self.max_depth_m = 20.0 if kind == "metric" else 0.0

    def __call__(self, composites: np.ndarray) -> np.ndarray:
        return np.repeat(self.depth[None], len(composites), axis=0)


def halves(left: float, right: float) -> np.ndarray:
    depth = np.full((HEIGHT, WIDTH), left, np.float32)
    depth[:, WIDTH // 2 :] = right
    return depth


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """Two rooms: 2 m on the left, 4 m on the right."""
    folder, path = tmp_path / "pictures", tmp_path / "rooms"
    folder.mkdir()
    for number in range(2):
        colour = np.full((HEIGHT, WIDTH, 3), 60 + 90 * number, np.uint8)
        cv2.imwrite(str(folder / f"{number}_color.png"), colour)
        cv2.imwrite(str(folder / f"{number}_depth.png"), (halves(2, 4) * 1000).astype(np.uint16))
    import_rgbd(folder, path, split="test")
    return path


@pytest.fixture
def score(measured: Path, monkeypatch: pytest.MonkeyPatch):
    def score_drawn(teacher: Drawn, *flags: str) -> dict:
        monkeypatch.setattr(score_teacher, "load_teacher", lambda name, **options: teacher)
        output = measured.parent / "teacher.json"
        arguments = ("--teacher", "drawn", "--data", str(measured), "--output", str(output))
        score_teacher.main([*arguments, *flags])
        return json.loads(output.read_text())

    return score_drawn


def test_metres_are_scored_in_metres_whatever_the_teachers_range(score, capsys):
    result = score(Drawn(halves(3, 5)))
    scores = result["scores"]["teacher"]
    assert scores["mae_m_per_image"] == pytest.approx(1, abs=1e-5)
    assert scores["images"] == 2
    assert scores["abs_rel_pooled"] == pytest.approx((1 / 2 + 1 / 4) / 2, abs=1e-5)
    assert result["scores"]["own mean"]["rmse_m_pooled"] == pytest.approx(1, abs=1e-3)
    screen = capsys.readouterr().out
    for text in ("teacher drawn (metric)", "protocol full: crop none", "RMSE [m]", "alignment"):
        assert text in screen


def test_a_scale_and_shift_can_be_forgiven(score):
    assert score(Drawn(halves(1, 2)), "--align", "median")["scores"]["teacher"][
        "rmse_m_pooled"
    ] == pytest.approx(0, abs=1e-5)
    result = score(Drawn(halves(3, 3.5)), "--align", "scale-shift", "--protocol", "nyu")
    assert result["scores"]["teacher"]["rmse_m_pooled"] == pytest.approx(0, abs=1e-5)
    assert result["protocol"]["protocol"] == "nyu"
    assert result["protocol"]["alignment"].startswith("scale-shift")


def test_relative_teachers_need_scale_and_shift(score):
    teacher = Drawn(0.2 + halves(1 / 2, 1 / 4), "relative")
    with pytest.raises(RunError, match="--align scale-shift"):
        score(teacher)
    result = score(teacher, "--align", "scale-shift")
    assert result["scores"]["teacher"]["delta_1_per_image"] == 1
    assert result["scores"]["teacher"]["rmse_m_pooled"] == pytest.approx(0, abs=1e-4)


def test_answers_in_a_unit_of_their_own_are_aligned_or_refused(score):
    teacher = Drawn(300 * halves(1 / 2, 1 / 4), "relative")
    teacher.needs_range = True
    with pytest.raises(RunError, match="predicts relative depth"):
        score(teacher)
    result = score(teacher, "--align", "scale-shift")
    assert result["scores"]["teacher"]["rmse_m_pooled"] == pytest.approx(0, abs=1e-4)


def test_flipping_averages_the_answers(score):
    # mirrored, 2 and 4 m become 4 and 2 m: 3 m everywhere
    scores = score(Drawn(halves(2, 4)), "--tta", "flip")["scores"]["teacher"]
    assert scores["mae_m_pooled"] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "depth, complaint",
    [(np.full((4, 4), 2.0), "a constant map"), (np.full((4, 4), np.nan), "not finite")],
)
def test_answers_that_are_no_labels_stop_it(score, depth, complaint):
    with pytest.raises(TeacherError, match=f"{complaint} for sample 0"):
        score(Drawn(depth))


def test_no_teacher_and_an_empty_split_are_refused(measured, score):
    with pytest.raises(RunError, match="has no train samples"):
        score(Drawn(halves(2, 4)), "--split", "train")
    with pytest.raises(RunError, match="gives no depth to score"):
        score(None)


def test_the_bundled_teacher_scores_as_its_checkpoint_does(measured):
    output = measured.parent / "scores.json"
    common = ["--data", str(measured), "--device", "cpu", "--output", str(output)]
    score_teacher.main(["--teacher", "bundled", *common])
    as_teacher = json.loads(output.read_text())["scores"]["teacher"]
    evaluate_depth.main(["--checkpoint", str(CHECKPOINT), "--native", *common])
    as_network = json.loads(output.read_text())["scores"]["model"]
    assert as_teacher["rmse_m_per_image"] == pytest.approx(as_network["rmse_m_per_image"], rel=0.02)
