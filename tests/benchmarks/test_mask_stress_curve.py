"""The curve of mask stress: its changes do what they say, and it is drawn from a tiny world."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks import mask_stress_curve as curve
from benchmarks.line_charts import COLOURS, Panel, line_charts
from dsetkit.errors import RunError
from models import create_model, save_model
from tests.helpers.worlds import tiny_dataset

SIZE = 32  # px


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "d", size=SIZE)


def checkpoint(folder: Path, *inputs: str) -> Path:
    path = folder / f"{len(inputs)}.safetensors"
    torch.manual_seed(0)
    net = create_model("mask_slim", in_channels=3 * len(inputs))
    save_model(path, net, {"inputs": list(inputs), "img_size": [SIZE, SIZE]})
    return path


def words(dataset: Path, folder: Path) -> dict[str, object]:
    return {
        "--data": dataset,
        "--with-background": checkpoint(folder, "composite", "background"),
        "--without-background": checkpoint(folder, "composite"),
        "--output": folder / "stress.png",
        "--limit-samples": 6,
        "--device": "cpu",
    }


def run(flags: dict[str, object]) -> None:
    curve.main([str(word) for pair in flags.items() for word in pair])


def test_it_writes_a_picture_and_the_numbers(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run(words(dataset, tmp_path))
    found = json.loads((tmp_path / "stress.json").read_text())
    assert list(found["iou"]) == list(curve.CHANGES)
    for name, lines in found["iou"].items():
        assert list(lines) == [curve.NETWORK, curve.FLOOR, curve.SUBTRACTION]
        for line in lines.values():
            assert [float(strength) for strength in line] == list(curve.CHANGES[name].strengths)
            assert all(0 <= iou <= 1 for iou in line.values())
    floor = {iou for lines in found["iou"].values() for iou in lines[curve.FLOOR].values()}
    unshaded = found["iou"]["shift"][curve.FLOOR].values()
    assert len(set(unshaded)) == 1 and len(floor) >= 1  # it does not see the background
    exact = [found["iou"][name][curve.SUBTRACTION][key] for name, key in
             (("shift", "0"), ("turn", "0"), ("exposure", "1"), ("shadow", "0"))]  # fmt: skip
    assert max(exact) - min(exact) < 1e-6
    assert exact[0] > found["iou"]["shift"][curve.SUBTRACTION]["5"]
    assert found["images"] == 6
    picture = cv2.imread(str(tmp_path / "stress.png"))
    assert picture.shape[0] > 400 and picture.std() > 10
    assert f"| {curve.SUBTRACTION} |" in capsys.readouterr().out


def test_the_floor_may_be_left_out(dataset: Path, tmp_path: Path) -> None:
    flags = words(dataset, tmp_path)
    del flags["--without-background"]
    run(flags)
    found = json.loads((tmp_path / "stress.json").read_text())
    assert list(found["iou"]["shift"]) == [curve.NETWORK, curve.SUBTRACTION]


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--with-background", "1.safetensors", "--with-background .* is a network of composite"),
        ("--without-background", "2.safetensors", "is a network of composite and background"),
        ("--output", "stress.jpg", "expected a name that ends in .png"),
    ],
)
def test_what_does_not_fit_is_one_line(
    dataset: Path, tmp_path: Path, flag: str, value: str, message: str
) -> None:
    with pytest.raises(RunError, match=message) as caught:
        run(words(dataset, tmp_path) | {flag: tmp_path / value})
    assert "\n" not in str(caught.value)


# ---- changes -----------------------------------------------------------------------------------


def test_a_shift_is_a_share_of_the_side() -> None:
    picture = torch.rand(2, 3, 40, 60)
    right = curve.moved(picture, right=0.05)  # 3 of 60 columns
    assert torch.allclose(right[..., 3:], picture[..., :-3], atol=1e-5)
    assert torch.allclose(curve.moved(picture), picture, atol=1e-5)


def test_a_turn_is_one_in_pixels() -> None:
    rows = torch.arange(41.0)[:, None].expand(1, 1, 41, 61) / 100
    turned = curve.moved(rows, degrees=1)
    assert turned[0, 0, 20, 50] * 100 - 20 == pytest.approx(20 * np.sin(np.radians(1)), abs=1e-3)


def test_a_shadow_darkens_what_is_beside_the_object_and_not_the_object() -> None:
    composite, mask = torch.full((1, 3, 48, 48), 0.5), torch.zeros(1, 1, 48, 48)
    mask[..., 16:32, 16:32] = 1
    shaded = curve.shaded(composite, mask, 0.4)
    assert torch.equal(shaded[..., 16:32, 16:32], composite[..., 16:32, 16:32])
    assert 0.29 < shaded.min() < 0.4 and torch.equal(shaded[..., :8, :8], composite[..., :8, :8])
    assert shaded[..., 32:, 32:].mean() < shaded[..., :16, :16].mean()
    assert torch.equal(curve.shaded(composite, mask, 0), composite)


# ---- the picture -------------------------------------------------------------------------------


def test_charts_stand_in_rows_and_a_higher_line_is_drawn_higher() -> None:
    panels = [
        Panel("a", "px", {"high": [(0, 0.9), (1, 0.9)], "low": [(0, 0.1), (1, 0.1)]}),
        Panel("b", "px", {"low": [(0, 0.5)]}),
        Panel("c", "px", {"high": [(-1, 0), (1, 1)]}),
    ]
    picture = line_charts(panels, columns=2)
    one = line_charts(panels[:1], columns=2)
    assert picture.shape[1] == one.shape[1] and picture.shape[0] > 1.5 * one.shape[0]
    first = picture[: picture.shape[0] // 2 - 20, : picture.shape[1] // 2].astype(int)
    heights = [np.abs(first - colour).sum(axis=-1).min(axis=1).argmin() for colour in COLOURS[:2]]
    assert heights[0] < heights[1] - 80
