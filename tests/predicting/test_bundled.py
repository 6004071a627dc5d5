"""The networks that come with dsetkit: they open by name, and do their work on drawn pictures."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dsetkit import Predictor
from dsetkit.cli import main
from dsetkit.console import run
from dsetkit.demo.scenes import draw_cutout, draw_room
from dsetkit.errors import NetworkError
from dsetkit.predicting.bundled import DEPTH, FILES, MASK, bundled_networks

SIZE = (180, 240)  # of the pictures [px]


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A drawn room, a cut-out pasted into it, and where that is: uint8, uint8, bool."""
    background, _ = draw_room(3, seed=1, size=SIZE)
    cut_out = cv2.resize(draw_cutout(2, seed=1), (90, 90), interpolation=cv2.INTER_AREA)
    alpha = np.zeros((*SIZE, 1), np.float32)
    colours = np.zeros((*SIZE, 3), np.float32)
    here = np.s_[60:150, 80:170]
    alpha[here], colours[here] = cut_out[..., 3:] / 255, cut_out[..., :3]
    composite = (alpha * colours + (1 - alpha) * background).round().astype(np.uint8)
    return background, composite, alpha[..., 0] >= 0.5


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    found = mask >= 0.5
    return float((found & truth).sum() / (found | truth).sum())


@pytest.mark.parametrize("name", FILES)
def test_every_file_has_its_json_and_its_card(name: str) -> None:
    path = FILES[name]
    assert path.is_file() and path.with_suffix(".json").is_file()
    assert list(path.parent.glob("BUNDLED*.md"))


def test_masks_are_found_where_the_object_is(scene: tuple) -> None:
    background, composite, truth = scene
    prediction = Predictor(MASK, device="cpu")(composite, background)
    assert prediction.mask is not None and iou(prediction.mask, truth) > 0.85


@pytest.mark.parametrize("register", [True, False])
def test_a_background_of_another_scene_is_told(scene: tuple, register: bool) -> None:
    background, composite, _ = scene
    other, _ = draw_room(9, seed=2, size=SIZE)
    predictor = Predictor(MASK, device="cpu", register=register)
    assert predictor(composite, background).same_view is (True if register else None)
    assert predictor(composite, other).same_view is (False if register else None)


@pytest.mark.parametrize("shift_px", [-4, 3])
def test_masks_are_found_with_a_camera_that_moved(scene: tuple, shift_px: int) -> None:
    background, composite, truth = scene
    moved = np.roll(background, shift_px, axis=1)
    inside = np.s_[:, 8:-8]  # beyond the edge nothing is known
    prediction = Predictor(MASK, device="cpu")(composite, moved)
    assert prediction.mask is not None and iou(prediction.mask[inside], truth[inside]) > 0.8


def test_depth_is_metric_and_nearer_at_the_foot_of_a_room(scene: tuple) -> None:
    prediction = Predictor(DEPTH, device="cpu")(scene[0])
    depth = prediction.depth
    assert depth is not None and depth.shape == SIZE and 0 < depth.min() < depth.max() <= 10
    assert np.median(depth[-20:]) < np.median(depth[60:100])


def test_masks_are_left_out_without_backgrounds() -> None:
    assert bundled_networks(with_background=False) == [DEPTH]
    assert bundled_networks(with_background=True) == [MASK, DEPTH]


@pytest.mark.parametrize("name", ["bundled:", "bundled:masks", "bundled:mask.onnx"])
def test_an_unknown_name_is_one_line_with_the_known_ones(name: str) -> None:
    with pytest.raises(NetworkError, match=rf"no network '{name}'.* {MASK} or {DEPTH}"):
        Predictor(name)


def test_predict_tells_which_backgrounds_show_another_view(
    scene: tuple, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    _, composite, _ = scene
    for name in ("a", "b"):
        (tmp_path / "front").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "front" / f"{name}.png"), composite[..., ::-1])
    cv2.imwrite(str(tmp_path / "other.png"), draw_room(9, seed=2, size=SIZE)[0][..., ::-1])
    command = ["predict", "--composite", tmp_path / "front", "--background", tmp_path / "other.png"]
    assert run(lambda: main([str(word) for word in [*command, "--output", tmp_path / "out"]])) == 0
    assert "a.png and 1 more shows another view" in capsys.readouterr().out


@pytest.mark.parametrize("with_background", [False, True])
def test_predict_needs_no_checkpoint(
    scene: tuple, tmp_path: Path, with_background: bool, capsys: pytest.CaptureFixture
) -> None:
    for name, pixels in zip(("background", "composite"), scene, strict=False):
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels[..., ::-1])
    command = ["predict", "--composite", str(tmp_path / "composite.png")]
    command += ["--output", str(tmp_path / "out")]
    if with_background:
        command += ["--background", str(tmp_path / "background.png")]
    assert run(lambda: main(command)) == 0
    printed = capsys.readouterr().out
    assert "depth" in printed and ("cut-out" in printed) == with_background
