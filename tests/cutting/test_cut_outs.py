"""cut-outs: no fringe of the old background, one file for each instance, bad input in one line."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

from dsetkit.assets.pictures import read_foreground
from dsetkit.cli.main import main
from dsetkit.console import run
from dsetkit.cutting import CocoMasks, Cutting, MaskFolder, MattingModel, cut_out, cut_outs
from dsetkit.cutting.coco import Segmentation, decode_segmentation
from dsetkit.errors import DsetkitError

pytest.importorskip("pymatting", reason="needs dsetkit[cut-outs]")

SIZE = (150, 200)
RED, BLUE, GREEN = (210, 40, 30), (20, 60, 200), (60, 190, 80)


def soft_ellipse(centre: tuple[int, int] = (100, 75), axes: tuple[int, int] = (60, 45)):
    """Coverage of pixels by an ellipse, float64 in 0..1, from 8 x 8 points in each."""
    y, x = (np.mgrid[: SIZE[0] * 8, : SIZE[1] * 8] + 0.5) / 8
    inside = ((x - centre[0]) / axes[0]) ** 2 + ((y - centre[1]) / axes[1]) ** 2 <= 1
    return inside.reshape(SIZE[0], 8, SIZE[1], 8).mean(axis=(1, 3))


def over(colour: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    return alpha[..., None] * colour + (1 - alpha[..., None]) * background


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = pixels.astype(np.uint8)
    cv2.imwrite(str(path), stored[..., ::-1] if stored.ndim == 3 else stored)
    return path


def rgba_of(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)


@pytest.fixture
def drawn(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A folder with a red ellipse on blue, and the coverage of its pixels."""
    alpha = soft_ellipse()
    save(tmp_path / "images" / "one.png", np.rint(over(np.array(RED), alpha, np.array(BLUE))))
    return tmp_path / "images", alpha


def polygon_of(mask: np.ndarray) -> list[float]:
    (contour,), _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return (contour[:, 0] + 0.5).astype(float).ravel().tolist()


def runs_of(mask: np.ndarray) -> list[int]:
    flat = np.concatenate([[0], (mask.T.ravel() > 0).astype(int)])
    starts = np.flatnonzero(np.diff(flat)).tolist()
    return np.diff([0, *starts, mask.size]).tolist()


def coco_file(path: Path, annotations: list[dict], *, file_name: str = "one.png") -> Path:
    about = {"id": 7, "file_name": file_name, "height": SIZE[0], "width": SIZE[1]}
    content = {
        "images": [about],
        "annotations": [{"id": n, "image_id": 7} | one for n, one in enumerate(annotations, 1)],
        "categories": [{"id": 3, "name": "tea pot/red"}, {"id": 4, "name": "cup"}],
    }
    path.write_text(json.dumps(content))
    return path


def rle(mask: np.ndarray, **others: object) -> dict:
    segmentation = {"size": list(mask.shape), "counts": runs_of(mask)}
    return {"category_id": 3, "segmentation": segmentation} | others


# ---- edges -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["polygons", "runs"])
def test_edges_pasted_elsewhere_have_no_fringe_of_the_old_background(
    kind: str, drawn: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    images, alpha = drawn
    hard = (alpha >= 0.5).astype(np.uint8)
    one = rle(hard)
    if kind == "polygons":
        one["segmentation"] = [polygon_of(hard)]
    file = coco_file(tmp_path / "coco.json", [one])
    done = cut_outs(tmp_path / "out", images, CocoMasks(file), cutting=Cutting(margin_px=5))
    assert done.written == 1
    made = rgba_of(tmp_path / "out" / "one_tea-pot-red_1.png")
    left, top, width, height = cv2.boundingRect(hard)
    # The visible part is the mask and what the soft edge adds, on both sides alike.
    x = left - (made.shape[1] - width) // 2
    y = top - (made.shape[0] - height) // 2
    place = np.s_[y : y + made.shape[0], x : x + made.shape[1]]
    true = over(np.array(RED), alpha[place], np.array(GREEN))
    pasted = over(made[..., :3], made[..., 3] / 255, np.array(GREEN))
    picture = cv2.imread(str(images / "one.png"))[..., ::-1][place]
    naive = over(picture, hard[place].astype(float), np.array(GREEN))
    same_alpha = over(picture, made[..., 3] / 255, np.array(GREEN))
    edge = (alpha[place] > 0.02) & (alpha[place] < 0.98)
    error, of_naive, of_same = (
        np.abs(one - true)[edge].mean() for one in (pasted, naive, same_alpha)
    )
    assert error < 4 and min(of_naive, of_same) > 15


def test_a_soft_mask_keeps_its_alpha_and_opaque_pixels_their_colours(
    drawn: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    images, alpha = drawn
    soft = cv2.GaussianBlur(np.rint(255 * alpha).astype(np.uint8), (0, 0), 2)
    save(tmp_path / "masks" / "ONE.PNG", soft)
    cut_outs(tmp_path / "out", images, MaskFolder(tmp_path / "masks"), cutting=Cutting(margin_px=0))
    made = rgba_of(tmp_path / "out" / "one.png")
    x, y, width, height = cv2.boundingRect(soft)
    place = np.s_[y : y + height, x : x + width]
    np.testing.assert_array_equal(made[..., 3], soft[place])
    solid = soft[place] == 255
    picture = cv2.imread(str(images / "one.png"))[..., ::-1][place]
    np.testing.assert_array_equal(made[..., :3][solid], picture[solid])
    assert not made[made[..., 3] == 0].any()


def test_there_is_a_clear_margin_also_where_the_picture_ends(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", np.full((60, 60, 3), 90))
    mask = np.zeros((60, 60))
    mask[20:, 10:50] = 255
    save(tmp_path / "masks" / "a.png", mask)
    cut_outs(
        tmp_path / "out",
        tmp_path / "images",
        MaskFolder(tmp_path / "masks"),
        cutting=Cutting(margin_px=3, feather_px=0),
    )
    alpha = rgba_of(tmp_path / "out" / "a.png")[..., 3]
    assert alpha.shape == (46, 46)
    assert (alpha[3:-3, 3:-3] == 255).all() and alpha.sum() == 255 * 40 * 40


def test_generate_takes_what_was_made(drawn: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    images, alpha = drawn
    save(tmp_path / "masks" / "one.png", 255 * (alpha > 0.5))
    cut_outs(tmp_path / "out", images, MaskFolder(tmp_path / "masks"))
    made = read_foreground(tmp_path / "out" / "one.png", max_side=1000)
    assert made.shape[2] == 4 and abs(made.shape[1] - 120) < 6
    with pytest.raises(DsetkitError, match=r"no alpha: .*`dsetkit cut-outs`"):
        read_foreground(images / "one.png", max_side=1000)


# ---- which masks -------------------------------------------------------------------------------


def test_crowds_and_small_instances_are_counted_and_left_out(
    drawn: tuple[Path, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    images, alpha = drawn
    mask = (alpha >= 0.5).astype(np.uint8)
    tiny = np.zeros_like(mask)
    tiny[5:15, 5:60] = 1
    annotations = [rle(mask), rle(mask, iscrowd=1), rle(tiny), rle(mask, category_id=4)]
    file = coco_file(tmp_path / "coco.json", annotations)
    words = ["cut-outs", "--coco", file, "--images", images, "--output", tmp_path / "out"]
    assert run(partial(main, [*map(str, words), "--jobs", "1"])) == 0
    assert "2 cut-outs, 1 under 32 px, 1 crowds" in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert names == ["one_cup_4.png", "one_tea-pot-red_1.png"]


def test_masks_of_0_and_1_count_as_0_and_255(
    drawn: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    images, alpha = drawn
    save(tmp_path / "masks" / "one.png", alpha > 0.5)
    save(tmp_path / "masks255" / "one.png", 255 * (alpha > 0.5))
    for name in ("masks", "masks255"):
        cut_outs(tmp_path / f"{name}-out", images, MaskFolder(tmp_path / name))
    one, other = (rgba_of(tmp_path / f"{name}-out/one.png") for name in ("masks", "masks255"))
    np.testing.assert_array_equal(one, other)


def test_run_lengths_and_polygons_are_what_pycocotools_reads(tmp_path: Path) -> None:
    api = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for _ in range(20):
        height, width = rng.integers(5, 60, 2).tolist()
        mask = cv2.GaussianBlur(rng.integers(0, 256, (height, width), np.uint8), (0, 0), 2) > 127
        packed = api.encode(np.asfortranarray(mask.astype(np.uint8)))
        text = {"size": [height, width], "counts": packed["counts"].decode()}
        numbers = {"size": [height, width], "counts": runs_of(mask)}
        for content in (text, numbers):
            found = decode_segmentation(Segmentation((height, width), content))
            np.testing.assert_array_equal(found, 255 * mask)
    polygon = [10.0, 10.0, 50.0, 12.0, 44.0, 40.0, 12.0, 35.0]
    theirs = api.decode(api.frPyObjects([polygon], 50, 60))[..., 0]
    ours = decode_segmentation(Segmentation((50, 60), [polygon])) > 0
    assert (theirs != ours).sum() < 0.03 * theirs.sum()  # they differ in pixels of the outline


def test_an_interrupted_run_goes_on_and_keeps_what_is_there(tmp_path: Path) -> None:
    alpha = soft_ellipse()
    for number in range(4):
        save(tmp_path / "images" / f"{number}.png", over(np.array(RED), alpha, np.array(BLUE)))
        save(tmp_path / "masks" / f"{number}.png", 255 * (alpha > 0.5))

    def stop(done: int, total: int) -> None:
        assert total == 4
        if done == 2:
            raise KeyboardInterrupt

    source = MaskFolder(tmp_path / "masks")
    with pytest.raises(KeyboardInterrupt):
        cut_outs(tmp_path / "out", tmp_path / "images", source, progress=stop)
    first = (tmp_path / "out" / "0.png").stat().st_mtime_ns
    done = cut_outs(tmp_path / "out", tmp_path / "images", source, jobs=1)
    assert (done.written, done.kept) == (2, 2)
    assert (tmp_path / "out" / "0.png").stat().st_mtime_ns == first
    assert len(list((tmp_path / "out").glob("*.png"))) == 4


@pytest.mark.slow
def test_the_files_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    alpha = soft_ellipse()
    for number in range(4):
        save(tmp_path / "images" / f"{number}.png", over(np.array(RED), alpha, np.array(BLUE)))
        save(tmp_path / "masks" / f"{number}.png", 255 * (alpha > 0.1 + number / 9))
    for jobs in (1, 2):
        source = MaskFolder(tmp_path / "masks")
        cut_outs(tmp_path / str(jobs), tmp_path / "images", source, jobs=jobs)
    for number in range(4):
        one, two = (tmp_path / str(jobs) / f"{number}.png" for jobs in (1, 2))
        assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("mask_is", ["as stored", "upright"])
def test_a_picture_with_an_orientation_is_cut_out_upright(mask_is: str, tmp_path: Path) -> None:
    alpha = soft_ellipse(centre=(60, 75), axes=(40, 50))
    upright = np.rint(over(np.array(RED), alpha, np.array(BLUE))).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored a quarter turn counter-clockwise
    (tmp_path / "images").mkdir()
    stored = Image.fromarray(np.rot90(upright).copy())
    stored.save(tmp_path / "images" / "a.png", exif=exif)
    mask = 255 * (alpha > 0.5)
    save(tmp_path / "masks" / "a.png", mask if mask_is == "upright" else np.rot90(mask))
    source, cutting = MaskFolder(tmp_path / "masks"), Cutting(margin_px=0)
    cut_outs(tmp_path / "out", tmp_path / "images", source, cutting=cutting)
    made = rgba_of(tmp_path / "out" / "a.png")
    assert abs(made.shape[0] - 100) < 4 and abs(made.shape[1] - 80) < 4
    assert np.abs(made[made[..., 3] == 255][:, :3].astype(int) - RED).max() <= 1


@pytest.mark.parametrize("feather_px", [0.3, 0.7, 3.0, 32.0])
def test_thin_and_full_masks_have_no_wrong_numbers(feather_px: float) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    thin, full = np.zeros((40, 50), np.uint8), np.full((40, 50), 255, np.uint8)
    thin[20], thin[:, 10] = 255, 255
    for mask in (thin, full):
        made = cut_out(picture, mask, margin_px=1, feather_px=feather_px)
        assert made.dtype == np.uint8 and made[..., 3].max() > 0
    np.testing.assert_array_equal(made[1:-1, 1:-1, :3], picture)


# ---- a model -----------------------------------------------------------------------------------


def write_model(path: Path, *, side: int | str = 32, inputs: int = 3) -> Path:
    """A network that answers how red a picture is: float32 (1,3,S,S) -> (1,1,S,S)."""
    shape = (1, inputs, side, side)
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "weights"], ["weighted"]),
            helper.make_node("ReduceSum", ["weighted", "axes"], ["map"]),
        ],
        "red",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, None)],
        [
            helper.make_tensor("weights", TensorProto.FLOAT, [3, 1, 1], [1.0, 0.0, -1.0]),
            helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
        ],
    )
    opsets = [helper.make_opsetid("", 18)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    )
    return path


@pytest.mark.parametrize("side", [32, "s"])
def test_a_model_finds_the_foreground(
    side: int | str, drawn: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    images, alpha = drawn
    source = MattingModel(write_model(tmp_path / "m.onnx", side=side), device="cpu")
    done = cut_outs(tmp_path / "out", images, source, cutting=Cutting(margin_px=0))
    assert done.written == 1
    made = rgba_of(tmp_path / "out" / "one.png")
    assert abs(made[..., 3].sum() / 255 - alpha.sum()) < 0.05 * alpha.sum()
    solid = made[..., 3] == 255
    assert np.abs(made[solid][:, :3].astype(int) - RED).max() <= 1
    # Where alpha is small, what little is seen is red too.
    edge = (made[..., 3] > 60) & (made[..., 3] < 200)
    assert np.abs(made[edge][:, :3].mean(axis=0) - RED).max() < 25


# ---- bad input is one line ---------------------------------------------------------------------


def fails(*words: object, capsys: pytest.CaptureFixture) -> str:
    status = run(partial(main, ["cut-outs", *map(str, words), "--jobs", "1"]))
    shown = capsys.readouterr().err.splitlines()
    errors = [line for line in shown if "error: " in line]
    assert (status, len(errors)) == (2, 1), shown
    assert len(errors[0]) < 600
    return errors[0]


BAD_COCO = {
    "text": ("not json", "is no COCO file"),
    "a list": ("[]", "is no COCO file"),
    "nothing in it": ("{}", "is no COCO file"),
    "deep": ("[" * 100_000, "is no COCO file"),
    "other ids": (json.dumps({"images": [{"id": "x"}], "annotations": []}), "is no COCO file"),
    "no annotations": (json.dumps({"images": [], "annotations": []}), "nothing to cut out"),
}


@pytest.mark.parametrize("kind", BAD_COCO)
def test_a_file_that_is_no_coco_file(
    kind: str, drawn: tuple[Path, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    content, expected = BAD_COCO[kind]
    (tmp_path / "coco.json").write_text(content)
    words = ["--coco", tmp_path / "coco.json", "--images", drawn[0], "--output", tmp_path / "o"]
    assert expected in fails(*words, capsys=capsys)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        3,
        [],
        [[1.0, 2.0]],
        [["a"] * 6],
        [[1.0] * 7],
        [[1e400, 1, 2, 3, 4, 5]],
        {},
        {"size": 10, "counts": [100]},
        {"size": None, "counts": [100]},
        {"size": [10, 10], "counts": [100]},
        {"size": list(SIZE), "counts": [5, 7]},
        {"size": list(SIZE), "counts": [10**30]},
        {"size": list(SIZE), "counts": [-5, SIZE[0] * SIZE[1] + 5]},
        {"size": list(SIZE), "counts": ["x"]},
        {"size": list(SIZE), "counts": "\x00\xff"},
        {"size": list(SIZE), "counts": "o" * 5000},
        {"size": list(SIZE), "counts": "PPPP"},
    ],
    ids=str,
)
def test_a_segmentation_that_cannot_be_used(
    segmentation: object,
    drawn: tuple[Path, np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    file = coco_file(tmp_path / "coco.json", [{"segmentation": segmentation}])
    words = ["--coco", file, "--images", drawn[0], "--output", tmp_path / "o"]
    if segmentation == []:  # it shows nothing
        assert run(partial(main, ["cut-outs", *map(str, words), "--jobs", "1"])) == 0
        return
    line = fails(*words, capsys=capsys)
    assert "annotation 1: " in line or "is no COCO file" in line
    if "annotation 1: " in line:
        assert run(partial(main, ["cut-outs", *map(str, words), "--jobs", "1", "--skip-bad"])) == 0


def test_annotations_of_one_name_are_refused(
    drawn: tuple[Path, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    mask = 255 * (drawn[1] > 0.5)
    file = coco_file(tmp_path / "coco.json", [rle(mask, id=5), rle(mask, id=5)])
    words = ["--coco", file, "--images", drawn[0], "--output", tmp_path / "o"]
    assert "two masks for one_tea-pot-red_5.png" in fails(*words, capsys=capsys)


def test_cut_outs_never_lie_among_the_pictures_of_the_next_run(
    drawn: tuple[Path, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    masks = save(tmp_path / "masks" / "one.png", 255 * (drawn[1] > 0.5)).parent
    for output in (drawn[0] / "o", masks / "o"):
        words = ["--masks", masks, "--images", drawn[0], "--output", output]
        assert "the next run would take its results" in fails(*words, capsys=capsys)


@pytest.mark.parametrize("feather_px", [0.7, 5, 32])
def test_a_mask_of_dots_is_never_an_empty_cut_out(feather_px: float) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
    mask = np.zeros(SIZE, np.uint8)
    mask[20, 30] = mask[60, 70] = 255
    assert cut_out(picture, mask, margin_px=0, feather_px=feather_px)[..., 3].any()


def test_pictures_and_masks_that_do_not_fit(
    drawn: tuple[Path, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    images, alpha = drawn
    mask = 255 * (alpha > 0.5)
    small = save(tmp_path / "small" / "one.png", mask[::2, ::2]).parent
    other = save(tmp_path / "other" / "two.png", mask).parent
    twice = save(tmp_path / "twice" / "one.png", mask).parent
    save(twice / "One.jpg", mask)
    elsewhere = coco_file(tmp_path / "a.json", [rle(mask)], file_name="no such.png")
    shrunk = coco_file(tmp_path / "b.json", [rle(mask)])
    shrunk.write_text(shrunk.read_text().replace('"height": 150', '"height": 149'))
    for words, expected in (
        (["--masks", small], "but its mask is 100 x 75 px: expected the same size"),
        (["--masks", other], "it has no mask: expected"),
        (["--masks", twice], "have the same name but for suffix or case"),
        (["--masks", tmp_path / "nowhere"], "is not a folder"),
        (["--coco", elsewhere], "names no such.png, which is not in"),
        (["--coco", shrunk], "annotation 1: no segmentation of the picture's size"),
        (["--coco", tmp_path / "nowhere.json"], "cannot be read"),
    ):
        line = fails(*words, "--images", images, "--output", tmp_path / "o", capsys=capsys)
        assert expected in line


def test_models_that_cannot_be_used(
    drawn: tuple[Path, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    flat = save(tmp_path / "flat" / "a.png", np.full((40, 40, 3), 90)).parent
    (tmp_path / "text.onnx").write_text("weights")
    model = write_model(tmp_path / "m.onnx", side="s")
    fixed = write_model(tmp_path / "fixed.onnx", side=32)
    vast = write_model(tmp_path / "vast.onnx", side=10**6)
    for images, words, expected in (
        (drawn[0], [tmp_path / "text.onnx"], "expected an ONNX model"),
        (drawn[0], [tmp_path / "nowhere.onnx"], "no file"),
        (drawn[0], [fixed, "--size", 64], "cannot take a picture (1, 3, 64, 64)"),
        (drawn[0], [vast], "takes 1000000: expected a whole number from 1 to 8,192"),
        (flat, [model], "it finds nothing"),
    ):
        place = ["--images", images, "--output", tmp_path / "o", "--device", "cpu"]
        assert expected in fails(*place, "--model", *words, capsys=capsys)


def test_a_folder_that_holds_something_else_is_refused(
    drawn: tuple[Path, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    images, alpha = drawn
    save(tmp_path / "masks" / "one.png", 255 * (alpha > 0.5))
    words = ["--masks", tmp_path / "masks", "--images", images, "--output"]
    other = save(tmp_path / "other" / "one.png", 255 * alpha).parent
    assert "is not a folder of cut-outs" in fails(*words, other, capsys=capsys)
    cut_outs(tmp_path / "out", images, MaskFolder(tmp_path / "masks"))
    line = fails(*words, tmp_path / "out", "--margin", 9, capsys=capsys)
    assert "with other settings" in line


def test_without_pymatting_it_is_one_line_that_names_the_extra(
    drawn: tuple[Path, np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "pymatting"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pymatting", None)
    words = ["--masks", tmp_path, "--images", drawn[0], "--output", tmp_path / "o"]
    assert "pip install 'dsetkit[cut-outs]'" in fails(*words, capsys=capsys)


def test_the_estimator_leaves_the_threads_of_networks_as_they_are() -> None:
    program = (
        "import torch\n"
        "from dsetkit.cutting.edges import check_installed\n"
        "before = torch.get_num_threads()\n"
        "check_installed()\n"
        "assert torch.get_num_threads() == before == 1\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("NUMBA_NUM_THREADS", None)
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
