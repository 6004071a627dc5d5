"""The evaluation scripts, on datasets and networks whose scores can be worked out by hand."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

import evaluate_depth
import evaluate_mask
from dsetkit.assets.folders import encode_asset
from dsetkit.colours import colour_depth
from dsetkit.datasets.writer import DatasetWriter
from dsetkit.errors import DatasetError, RunError
from dsetkit.store import manifest as m
from dsetkit.store.codecs import CODECS
from dsetkit.store.records import Record, StoredAsset, quantise_metric
from models import MODELS, ModelError, create_model, save_model
from training.scoring.pictures import INVALID_COLOUR, colour_error
from training.scoring.stress import STRESSES

SIZE = 32
TEST_CELLS = (m.TEST_SEEN, m.TEST_BACKGROUND, m.TEST_FOREGROUND, m.TEST_BOTH)


# ---- a tiny world ------------------------------------------------------------------------------


class GreyDepth(nn.Module):
    """Answers with the grey value of its input, at half size."""

    task, stride, heads = "depth", 2, {"depth": "linear"}

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.register_buffer("unused", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(x[:, :3].mean(dim=1, keepdim=True), 2)


class RampDepth(GreyDepth):
    """Answers 0.2 in the left half and 0.6 in the right one, whatever it sees."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer = torch.full_like(x[:, :1], 0.2)
        answer[..., x.shape[-1] // 2 :] = 0.6
        return answer


class RedMask(GreyDepth):
    """Foreground is where red is above 0.75."""

    task, heads = "mask", {"mask": "logits"}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 40 * (x[:, :1] - 0.75)


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    for network in (GreyDepth, RampDepth, RedMask):
        monkeypatch.setitem(MODELS, network.__name__, network)


@pytest.fixture
def save(tmp_path: Path):
    def save_network(name: str, **about: object) -> Path:
        about = {
            "inputs": ["composite"],
            "img_size": [SIZE, SIZE],
            "depth_kind": "metric",
            "max_depth_m": 10.0,
        } | about
        path = tmp_path / f"{name}.safetensors"
        save_model(path, create_model(name, in_channels=3 * len(about["inputs"])), about)
        return path

    return save_network


def grey(value: float, *, size: tuple[int, int] = (SIZE, SIZE)) -> np.ndarray:
    return np.full((*size, 3), round(value * 255), np.uint8)


def write_dataset(
    path: Path,
    samples: list[dict],
    *,
    background: np.ndarray | None = None,
    depth_kind: str = "metric",
    size: tuple[int, int] = (SIZE, SIZE),
) -> Path:
    """Each sample: cell, composite uint8 (H,W,3), and depth_m (h,w), depth uint16 or mask uint8."""
    fields = [name for name in ("composite", "mask", "depth") if name in samples[0]]
    manifest = m.Manifest(
        num_samples=len(samples),
        complete=False,
        size=list(size),
        fields=["background", *fields] if background is not None else fields,
        codecs={"composite": "png", "mask": "png8", "depth": "png16"},
        depth_kind=depth_kind,
        max_depth_m=10.0 if depth_kind == "metric" else 0.0,
        teacher={"name": "tiny"},
        recipe={},
        splits={"by": "asset"},
        assets_fingerprint="tiny",
    )
    backgrounds = (
        [] if background is None else [StoredAsset("b", "train", encode_asset(background))]
    )
    cells = np.array([sample["cell"] for sample in samples])
    with DatasetWriter(path, manifest, cells, backgrounds=backgrounds) as writer:
        for sample in samples:
            encoded = {name: CODECS[manifest.codecs[name]].encode(sample[name]) for name in fields}
            writer.add([Record(0 if backgrounds else None, (), encoded)])
        writer.finish()
    return path


def plane(cell: int, value: float, depth_m: float) -> dict:
    """A grey composite before a plane at one depth."""
    depth = quantise_metric(np.full((SIZE, SIZE), depth_m, np.float32), 10.0)
    return {"cell": cell, "composite": grey(value), "depth": depth}


@pytest.fixture
def planes(tmp_path: Path) -> Path:
    """The grey network is off by 0.5, 1, 1.5 and 2 m in the four test cells; train is 3 and 5 m."""
    test = [plane(c, 0.4, 4 + (k + 1) / 2) for k, c in enumerate(TEST_CELLS)]
    train = [plane(m.TRAIN, 0.0, 3.0), plane(m.TRAIN, 0.0, 5.0)]
    return write_dataset(tmp_path / "planes", [*train, *test])


def evaluate_depth_on(data: Path, checkpoint: Path, *flags: str) -> dict:
    output = data.parent / "metrics.json"
    arguments = ["--data", data, "--checkpoint", checkpoint, "--device", "cpu", "--output", output]
    evaluate_depth.main([*map(str, arguments), *flags])
    return json.loads(output.read_text())


def evaluate_mask_on(data: Path, checkpoint: Path, *flags: str) -> dict:
    output = data.parent / "metrics.json"
    arguments = ["--data", data, "--checkpoint", checkpoint, "--device", "cpu", "--output", output]
    evaluate_mask.main([*map(str, arguments), *flags])
    return json.loads(output.read_text())


# ---- depth: numbers ----------------------------------------------------------------------------


def test_depth_scores_of_network_and_baselines(planes, save):
    scores = evaluate_depth_on(planes, save("GreyDepth"))["scores"]
    # errors of one depth each: 0.5, 1, 1.5, 2 m; pooled sqrt((0.25 + 1 + 2.25 + 4) / 4)
    assert scores["model"]["rmse_m_per_image"] == pytest.approx(1.25, abs=1e-4)
    assert scores["model"]["rmse_m_pooled"] == pytest.approx(np.sqrt(7.5 / 4), abs=1e-4)
    assert scores["model"]["rmse_per_image"] == pytest.approx(0.125, abs=1e-5)
    # the train split's mean is 4 m, so here the mean map errs as the network does
    assert scores["mean map"]["rmse_m_per_image"] == pytest.approx(1.25, abs=1e-4)
    assert scores["own mean"]["rmse_m_per_image"] == pytest.approx(0, abs=1e-4)


def test_the_four_cells_are_scored_apart(planes, save):
    cells = evaluate_depth_on(planes, save("GreyDepth"))["cells"]
    expected = dict(zip((m.CELL_NAMES[c] for c in TEST_CELLS), (0.5, 1, 1.5, 2), strict=True))
    found = {name: scores["model"]["rmse_m_per_image"] for name, scores in cells.items()}
    assert found == pytest.approx(expected, abs=1e-4)
    assert all(scores["model"]["images"] == 1 for scores in cells.values())


def test_the_mean_map_is_a_mean_per_pixel_over_valid_targets(tmp_path, save):
    near, far = plane(m.TRAIN, 0, 2.0), plane(m.TRAIN, 0, 6.0)
    near["depth"][:, : SIZE // 2] = 0  # invalid on the left: there the mean is 6 m, else 4 m
    target = plane(m.TEST, 0, 6.0)
    target["depth"][:, SIZE // 2 :] = 4000
    data = write_dataset(tmp_path / "halves", [near, far, target])
    scores = evaluate_depth_on(data, save("GreyDepth"))["scores"]
    assert scores["mean map"]["rmse_m_pooled"] == pytest.approx(0, abs=1e-4)


def test_native_scores_at_the_stored_size_inside_the_crop(tmp_path, save):
    depth = np.full((240, 320), 9.0, np.float32)
    depth[17:240, 13:307] = 5.0
    sample = {
        "cell": m.TEST,
        "composite": grey(0.4, size=(240, 320)),
        "depth": quantise_metric(depth, 10.0),
    }
    data = write_dataset(tmp_path / "frames", [sample], size=(0, 0))
    flags = ("--img-size", "24x32", "--native", "--crop", "toolbox")
    result = evaluate_depth_on(data, save("GreyDepth"), *flags)
    assert result["scores"]["model"]["rmse_m_pooled"] == pytest.approx(1, abs=1e-4)
    assert result["scores"]["model"]["pixels"] == 223 * 294
    assert result["protocol"]["crop"] == "toolbox: rows 17:240, columns 13:307 of 240x320 px"


def test_native_takes_pictures_of_different_sizes(tmp_path, save):
    samples = [
        {
            "cell": m.TEST,
            "composite": grey(0.4, size=size),
            "depth": quantise_metric(np.full(size, 5.0, np.float32), 10.0),
        }
        for size in ((20, 30), (40, 24))
    ]
    data = write_dataset(tmp_path / "mixed", samples, size=(0, 0))
    result = evaluate_depth_on(data, save("GreyDepth"), "--native")
    assert result["scores"]["model"]["pixels"] == 20 * 30 + 40 * 24
    assert result["protocol"]["target"].startswith("20x30, 40x24 px, as stored")


@pytest.mark.parametrize(
    "name, window", [("nyu", (17, 240, 13, 307)), ("eigen", (4, 236, 4, 316)), ("full", None)]
)
def test_a_protocol_brings_its_crop_and_is_named_beside_the_scores(
    tmp_path, save, capsys, name, window
):
    top, bottom, left, right = window or (0, 240, 0, 320)
    depth = np.full((240, 320), 9.0, np.float32)
    depth[top:bottom, left:right] = 5.0
    sample = {
        "cell": m.TEST,
        "composite": grey(0.4, size=(240, 320)),
        "depth": quantise_metric(depth, 10.0),
    }
    data = write_dataset(tmp_path / "frames", [sample], size=(0, 0))
    flags = ("--img-size", "24x32", "--native", "--protocol", name)
    result = evaluate_depth_on(data, save("GreyDepth"), *flags)
    # the network says 4 m: 1 m off inside the crop, 5 m outside
    assert result["scores"]["model"]["rmse_m_pooled"] == pytest.approx(1, abs=1e-4)
    assert result["scores"]["model"]["pixels"] == (bottom - top) * (right - left)
    assert result["protocol"]["protocol"] == name
    screen = capsys.readouterr().out.splitlines()
    assert screen[1].startswith(f"protocol {name}: crop ")


def test_alignment_forgives_scale_and_is_named(planes, save, capsys):
    result = evaluate_depth_on(planes, save("GreyDepth"), "--align", "median")
    assert result["scores"]["model"]["rmse_m_pooled"] == pytest.approx(0, abs=1e-3)
    assert result["protocol"]["alignment"].startswith("median")
    assert "align median" in capsys.readouterr().out


def test_a_relative_network_is_scored_on_metric_depth_once_aligned(tmp_path, save):
    sample = plane(m.TEST, 0.0, 2.0)
    sample["depth"][:, SIZE // 2 :] = 5000
    data = write_dataset(tmp_path / "halves", [sample])
    ramp = save("RampDepth", depth_kind="relative", max_depth_m=0.0)
    with pytest.raises(RunError, match="predicts relative depth: give --align scale-shift"):
        evaluate_depth_on(data, ramp)
    with pytest.raises(RunError, match="leave them out"):
        evaluate_depth_on(data, ramp, "--align", "scale-shift", "--published")
    # 0.2 and 0.6 become the inverse depths 1/2 and 1/5 [1/m] of the halves
    scores = evaluate_depth_on(data, ramp, "--align", "scale-shift", "--native")["scores"]
    # enlarging blurs the step between the halves: all else is right
    assert scores["model"]["delta_1_pooled"] >= 1 - 4 / SIZE
    assert scores["model"]["mae_m_pooled"] < 0.1


def test_flipping_averages_the_answer_with_that_to_the_mirrored_picture(planes, save):
    checkpoint = save("RampDepth")
    plain = evaluate_depth_on(planes, checkpoint)["scores"]["model"]
    flipped = evaluate_depth_on(planes, checkpoint, "--tta", "flip")["scores"]["model"]
    # 2 m and 6 m against 4.5, 5, 5.5, 6 m; flipped: 4 m everywhere
    assert plain["mae_m_per_image"] == pytest.approx((2 + 2 + 2 + 2) / 4, abs=1e-3)
    assert flipped["mae_m_per_image"] == pytest.approx(1.25, abs=1e-3)


def test_relative_depth_is_scored_without_metres(tmp_path, save, capsys):
    stored = np.full((SIZE, SIZE), 32768, np.uint16)
    sample = {"cell": m.TEST, "composite": grey(0.4), "depth": stored}
    data = write_dataset(tmp_path / "relative", [sample], depth_kind="relative")
    checkpoint = save("GreyDepth", depth_kind="relative", max_depth_m=0.0)
    scores = evaluate_depth_on(data, checkpoint)["scores"]["model"]
    assert scores["rmse_per_image"] == pytest.approx(0.1, abs=1e-3)
    assert "rmse_m_per_image" not in scores
    screen = capsys.readouterr().out
    assert "RMSE [relative]" in screen
    assert "[m]" not in screen


# ---- depth: what is said -----------------------------------------------------------------------


def test_the_screen_opens_with_rmse_and_shows_the_protocol_whole(planes, save, capsys):
    evaluate_depth_on(planes, save("GreyDepth"))
    screen = capsys.readouterr().out
    rows = [line.split()[0] for line in screen.splitlines() if line.strip()]
    scores = [row for row in rows if row in {"RMSE", "MAE", "AbsRel", "log10", "SILog"}]
    assert scores[:3] == ["RMSE", "RMSE", "MAE"]
    for text in (
        "RMSE [0..1]",
        "RMSE [m]",
        "unseen foreground",
        "0.001 m < target < 10 m",
        "alignment",
        "oracle",
    ):
        assert text in screen
    assert "\x1b" not in screen
    assert "…" not in screen
    assert max(map(len, screen.splitlines())) <= 80 + len(str(planes)) * 2


def test_average_pixel_puts_the_pooled_column_first(planes, save, capsys):
    evaluate_depth_on(planes, save("GreyDepth"), "--average", "pixel")
    heads = next(line for line in capsys.readouterr().out.splitlines() if "pooled" in line)
    assert heads.split()[:3] == ["pooled", "per", "image"]


def test_without_train_samples_the_mean_map_is_not_available(tmp_path, save, capsys):
    data = write_dataset(tmp_path / "test_only", [plane(m.TEST, 0.4, 5.0)])
    scores = evaluate_depth_on(data, save("GreyDepth"))["scores"]
    assert "mean map" not in scores
    assert "n/a" in capsys.readouterr().out


def test_train_data_gives_the_mean_map(planes, tmp_path, save):
    data = write_dataset(tmp_path / "test_only", [plane(m.TEST, 0.4, 5.0)])
    flags = ("--train-data", str(planes))
    scores = evaluate_depth_on(data, save("GreyDepth"), *flags)["scores"]
    assert scores["mean map"]["rmse_m_pooled"] == pytest.approx(1, abs=1e-4)


def test_the_grid_is_a_readable_picture(planes, save, tmp_path):
    evaluate_depth_on(planes, save("GreyDepth"), "--grid", str(tmp_path / "grid.png"))
    height, width, _ = cv2.imread(str(tmp_path / "grid.png")).shape
    assert width > 4 * 128
    assert height > 4 * 128  # four test samples


def test_a_checkpoint_of_another_unit_is_refused(planes, save):
    with pytest.raises(RunError, match="depth up to 10 m, the network up to 80 m"):
        evaluate_depth_on(planes, save("GreyDepth", max_depth_m=80.0))
    with pytest.raises(RunError, match="holds metric depth, the network predicts relative"):
        evaluate_depth_on(planes, save("GreyDepth", depth_kind="relative"))


def test_an_empty_split_is_refused(planes, save):
    with pytest.raises(RunError, match="has no val samples"):
        evaluate_depth_on(planes, save("GreyDepth"), "--split", "val")


def test_a_split_without_valid_depth_is_refused(tmp_path, save):
    data = write_dataset(tmp_path / "holes", [plane(m.TEST, 0.4, 0.0)])
    with pytest.raises(RunError, match="none of the 1 test samples has a valid depth pixel"):
        evaluate_depth_on(data, save("GreyDepth"))


def test_train_data_without_train_samples_is_refused(planes, tmp_path, save):
    data = write_dataset(tmp_path / "test_only", [plane(m.TEST, 0.4, 5.0)])
    with pytest.raises(RunError, match="--train-data .* has no train samples"):
        evaluate_depth_on(planes, save("GreyDepth"), "--train-data", str(data))


def test_train_data_of_another_kind_is_refused(planes, tmp_path, save):
    stored = np.full((SIZE, SIZE), 32768, np.uint16)
    sample = {"cell": m.TRAIN, "composite": grey(0.4), "depth": stored}
    data = write_dataset(tmp_path / "relative", [sample], depth_kind="relative")
    with pytest.raises(RunError, match="relative depth .*: expected metric up to 10 m"):
        evaluate_depth_on(planes, save("GreyDepth"), "--train-data", str(data))


def test_a_field_that_the_dataset_lacks_is_named(planes, save):
    with pytest.raises(DatasetError, match="background"):
        evaluate_depth_on(planes, save("GreyDepth", inputs=["composite", "background"]))


def test_a_network_of_the_other_task_is_refused(planes, save):
    with pytest.raises(ModelError, match="mask"):
        evaluate_depth_on(planes, save("RedMask"))


# ---- masks -------------------------------------------------------------------------------------


def square(cell: int, *, red: float) -> dict:
    """A square of 16x16 on grey 0.2, brighter by `red` in one channel."""
    composite, mask = grey(0.2), np.zeros((SIZE, SIZE), np.uint8)
    composite[8:24, 8:24, 0] = round((0.2 + red) * 255)
    mask[8:24, 8:24] = 255
    return {"cell": cell, "composite": composite, "mask": mask}


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    """The red network sees the first test square and misses the second."""
    samples = [
        square(m.TRAIN, red=0.3),
        square(m.TEST_SEEN, red=0.8),
        square(m.TEST_BOTH, red=0.3),
    ]
    return write_dataset(tmp_path / "squares", samples, background=grey(0.2))


def test_mask_scores_of_network_and_difference(squares, save):
    result = evaluate_mask_on(squares, save("RedMask"))
    scores, cells = result["scores"], result["cells"]
    assert scores["model"]["iou_per_image"] == pytest.approx(0.5)
    assert scores["model"]["iou_pooled"] == pytest.approx(0.5)
    # the missed square is a quarter of its picture: sqrt(1/4), and 0 for the other
    assert scores["model"]["rmse_per_image"] == pytest.approx(0.25, abs=1e-3)
    assert cells["test: seen background, seen foreground"]["model"]["iou_per_image"] == 1
    assert cells["test: both unseen"]["model"]["iou_per_image"] == 0
    assert scores["difference"]["iou_per_image"] == 1
    assert scores["difference"]["boundary_f_per_image"] == 1
    # of two pictures, 0 and 1, each is drawn twice in a quarter of the draws
    assert result["intervals"]["all"]["model"]["iou_per_image"] == [0, 1]
    assert result["intervals"]["all"]["difference"]["iou_per_image"] == [1, 1]
    assert result["intervals"]["test: both unseen"]["model"]["iou_per_image"] == [0, 0]


def test_the_difference_threshold_is_tuned_on_the_train_split_alone(tmp_path, save):
    shadowed = square(m.TRAIN, red=0.3)
    shadowed["composite"][:8, :, 1] -= 40  # 40/255 off without foreground, the square 76/255
    faint = square(m.TEST_SEEN, red=0.12)  # 31/255: below what the train split asks for
    data = write_dataset(tmp_path / "shadow", [shadowed, faint], background=grey(0.2))
    result = evaluate_mask_on(data, save("RedMask"))
    assert result["scores"]["difference"]["iou_per_image"] == 0


def test_changed_backgrounds_are_scored_for_network_and_baseline(squares, save, capsys):
    checkpoint = save("RedMask", inputs=["composite", "background"])
    result = evaluate_mask_on(squares, checkpoint, "--stress")
    stress = result["stress"]
    assert list(stress) == list(STRESSES)
    assert stress["exact"] == result["scores"]
    for scores in stress.values():  # this network looks at the composite alone
        assert scores["model"] == result["scores"]["model"]
    assert stress["wrong"]["difference"]["iou_per_image"] <= 1
    printed = capsys.readouterr().out
    assert all(name in printed for name in STRESSES)
    assert "changed backgrounds, per image; test: both unseen" in printed
    assert list(result["stress_cells"]) == list(STRESSES)
    assert result["stress_cells"]["exact"] == result["cells"]
    unseen = result["stress_cells"]["wrong"]["test: both unseen"]
    assert unseen["model"] == result["cells"]["test: both unseen"]["model"]


def test_stress_needs_backgrounds(tmp_path, save):
    data = write_dataset(tmp_path / "plain", [square(m.TEST, red=0.8)])
    with pytest.raises(RunError, match="--stress changes backgrounds"):
        evaluate_mask_on(data, save("RedMask"), "--stress")


def test_a_few_samples_are_spread_over_the_split(squares, planes, save):
    masks = evaluate_mask_on(squares, save("RedMask"), "--limit-samples", "1")
    assert masks["scores"]["model"]["images"] == 1
    depths = evaluate_depth_on(planes, save("GreyDepth"), "--limit-samples", "2")
    assert depths["scores"]["model"]["images"] == 2
    # the first and the last of the four test planes, off by 0.5 and by 2 m
    assert depths["scores"]["model"]["rmse_m_per_image"] == pytest.approx(1.25, abs=0.01)


def test_the_grid_of_a_network_that_sees_the_background_shows_it(squares, save, tmp_path):
    sizes = {}
    for inputs in (["composite"], ["composite", "background"]):
        grid = tmp_path / f"{len(inputs)}.png"
        evaluate_mask_on(squares, save("RedMask", inputs=inputs), "--grid", str(grid))
        sizes[len(inputs)] = cv2.imread(str(grid)).shape[1]
    assert sizes[2] == pytest.approx(sizes[1] * 5 / 4, rel=0.02)


def test_without_backgrounds_there_is_no_difference(tmp_path, save, capsys):
    data = write_dataset(tmp_path / "plain", [square(m.TEST, red=0.8)])
    scores = evaluate_mask_on(data, save("RedMask"))["scores"]
    assert set(scores) == {"model"}
    assert "n/a" in capsys.readouterr().out


def test_a_background_can_be_an_input(squares, save):
    checkpoint = save("RedMask", inputs=["composite", "background"])
    scores = evaluate_mask_on(squares, checkpoint, "--tta", "flip")["scores"]
    assert scores["model"]["iou_per_image"] == pytest.approx(0.5)


def test_the_mask_grid_is_a_readable_picture(squares, save, tmp_path):
    evaluate_mask_on(squares, save("RedMask"), "--grid", str(tmp_path / "grid.png"))
    height, width, _ = cv2.imread(str(tmp_path / "grid.png")).shape
    assert width > 4 * 128
    assert height > 2 * 128


# ---- pictures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("near_is_low", [True, False])
def test_near_is_bright_far_is_dark_and_invalid_is_grey(near_is_low):
    depth = np.array([[1.0, 3.0, 5.0, 0.0, np.nan]])
    near_and_far = {"near_is_low": near_is_low, "invalid": INVALID_COLOUR}
    colours = colour_depth(depth, 1.0, 5.0, **near_and_far)[0].astype(int)
    brightness = colours[:3].sum(axis=1) * (1 if near_is_low else -1)
    assert brightness[0] > brightness[1] > brightness[2]
    assert (colours[3:] == INVALID_COLOUR).all()


def test_no_error_is_black_and_the_largest_is_brightest():
    colours = colour_error(np.array([[0.0, 0.5, 1.0, 9.0, np.nan]]), 1.0)[0].astype(int)
    assert colours[0].sum() < 10
    assert colours[1].sum() < colours[2].sum()
    assert (colours[3] == colours[2]).all()
    assert (colours[4] == INVALID_COLOUR).all()
