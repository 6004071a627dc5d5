"""predict: what is written for pictures, and what is said of them."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from dsetkit.cli import main
from dsetkit.console import run
from dsetkit.teachers.bundled import BUNDLED
from tests.helpers.networks import checkpoint
from tests.predicting.test_shots import write

REPOSITORY = Path(__file__).parents[2]
BOTH = ("composite", "background")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("predict")
    rng = np.random.default_rng(0)
    for folder in ("a", "b"):
        (root / folder).mkdir()
        for number, size in enumerate([(60, 90), (60, 90), (90, 60)]):
            picture = rng.integers(0, 256, (*size, 3), np.uint8)
            cv2.imwrite(str(root / folder / f"p{number}.png"), picture)
    checkpoint(root / "mask.safetensors")
    checkpoint(root / "pair.safetensors", inputs=BOTH)
    checkpoint(root / "depth.safetensors", "depth_lite")
    checkpoint(root / "relative.safetensors", "depth_lite", kind="relative")
    return root


def predict(world: Path, output: Path, *words: str, status: int = 0) -> None:
    command = ["predict", *words, "--output", str(output), "--device", "cpu"]
    assert run(lambda: main([word.replace("@", str(world)) for word in command])) == status


def test_every_format_holds_the_prediction_in_its_unit(world: Path, tmp_path: Path) -> None:
    predict(
        world,
        tmp_path,
        "--checkpoint",
        "@/mask.safetensors",
        "@/depth.safetensors",
        "--composite",
        "@/a",
        "--write",
        "mask",
        "cut-out",
        "depth",
        "depth-npy",
        "depth-colour",
    )
    for name, (height, width) in (("p0", (60, 90)), ("p2", (90, 60))):
        mask, depth = (
            cv2.imread(str(tmp_path / kind / f"{name}.png"), cv2.IMREAD_UNCHANGED)
            for kind in ("mask", "depth")
        )
        cut_out = cv2.imread(str(tmp_path / "cut-out" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        picture = cv2.imread(str(world / "a" / f"{name}.png"))
        np.testing.assert_array_equal(cut_out[..., :3], picture)
        np.testing.assert_array_equal(cut_out[..., 3], mask)
        metres = np.load(tmp_path / "depth-npy" / f"{name}.npy", allow_pickle=False)
        assert metres.shape == depth.shape == mask.shape == (height, width)
        assert depth.dtype == np.uint16 and np.abs(depth - 1000 * metres).max() <= 0.5
        colours = cv2.imread(str(tmp_path / "depth-colour" / f"{name}.png"))
        assert colours.shape[0] > height and colours.shape[1] == width  # above its scale
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None


def test_relative_depth_uses_the_whole_range_of_16_bits(world: Path, tmp_path: Path) -> None:
    predict(
        world,
        tmp_path,
        "--model",
        "@/relative.safetensors",
        "--composite",
        "@/a",
        "--write",
        "depth",
        "depth-npy",
    )
    depth = cv2.imread(str(tmp_path / "depth" / "p1.png"), cv2.IMREAD_UNCHANGED)
    share = np.load(tmp_path / "depth-npy" / "p1.npy")
    assert depth.min() >= 1 and np.abs(depth - (1 + 65534 * share)).max() <= 0.5


def test_the_answer_says_what_was_written_and_how_fast(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ("--checkpoint", "@/pair.safetensors", "--composite", "@/a", "--background", "@/b")
    predict(world, tmp_path / "out", *words)
    said = capsys.readouterr().out
    assert "mask, cut-out of 3 pictures" in said and "pictures/s" in said and "sheet.png" in said
    assert not (tmp_path / "out" / "depth").exists()


def test_bad_pictures_stop_it_or_are_left_out_and_named(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for number in range(3):
        write(tmp_path / "in" / f"p{number}.png")
    (tmp_path / "in" / "p1.png").write_bytes(b"")
    words = ("--checkpoint", "@/mask.safetensors", "--composite", str(tmp_path / "in"))
    predict(world, tmp_path / "out", *words, status=2)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "p1.png: empty" in said[0] and "--skip-bad" in said[0]
    predict(world, tmp_path / "out", *words, "--skip-bad")
    said = capsys.readouterr().out
    assert "2 pictures" in said and "left out:" in said and "p1.png" in said
    assert {path.name for path in (tmp_path / "out" / "mask").iterdir()} == {"p0.png", "p2.png"}


def test_a_background_of_another_view_is_named(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ("--checkpoint", "@/pair.safetensors", "--composite", "@/a", "--background")
    predict(world, tmp_path, *words, "@/b/p0.png", status=2)  # p2 stands upright
    (said,) = capsys.readouterr().err.splitlines()
    assert "p2.png: the background has 90 x 60 px" in said


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--checkpoint @/pair.safetensors --composite @/a", "give --background"),
        ("--checkpoint @/mask.safetensors", "no pictures: expected files"),
        ("--checkpoint @/mask.safetensors --composite @/none.png", "none.png: cannot be read"),
        ("--checkpoint @/none.onnx --composite @/a", "no file"),
        ("--checkpoint @/mask.safetensors --composite @/a --write depth", "which no network gives"),
        ("--checkpoint @/mask.safetensors --composite @/a --write x", "expected any of mask"),
        ("--checkpoint @/mask.safetensors --composite @/a --img-size 50", "multiples of 32"),
        ("--checkpoint @/mask.safetensors --composite @/a --system 001", "--system 001 finds the"),
        ("--checkpoint @/mask.safetensors --composite @/a --pairs @/p.csv", "a table names all"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture, words: str, complaint: str
) -> None:
    predict(world, tmp_path / "out", *words.split(), status=2)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and complaint in said[0]


def test_the_sheet_has_no_room_between_pictures_of_one_shape(world: Path, tmp_path: Path) -> None:
    for name, size in (("square", (60, 60)), ("wide", (60, 90))):
        (tmp_path / name).mkdir()
        picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        cv2.imwrite(str(tmp_path / name / "p.png"), picture)
        words = ("--checkpoint", "@/mask.safetensors", "--composite", str(tmp_path / name))
        predict(world, tmp_path / f"{name}-out", *words)
    square, wide = (
        cv2.imread(str(tmp_path / f"{name}-out" / "sheet.png")) for name in ("square", "wide")
    )
    columns = 3  # composite, mask and cut-out
    assert 240 * columns < square.shape[1] < 260 * columns
    assert 320 * columns < wide.shape[1] < 340 * columns


@pytest.mark.parametrize("output", ["a", "a/out"])
def test_results_never_lie_among_the_pictures_of_the_next_run(
    world: Path, capsys: pytest.CaptureFixture, output: str
) -> None:
    words = ("--checkpoint", "@/mask.safetensors", "--composite", "@/a")
    predict(world, world / output, *words, status=2)
    (said,) = capsys.readouterr().err.splitlines()
    assert "the next run would take its results for pictures" in said
    assert len(list((world / "a").iterdir())) == 3


def test_onnx_files_are_predicted_without_torch(world: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from dsetkit.cli import main\n"
        f"main(['predict', '--model', {str(BUNDLED)!r}, '--composite', {str(world / 'a')!r},"
        f" '--output', {str(tmp_path / 'out')!r}])\n"
        "assert not {'torch', 'models', 'torchvision'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)
    assert (tmp_path / "out" / "depth" / "p2.png").is_file()


def test_the_script_is_the_verb(world: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "predict.py"), "--model", str(BUNDLED)]
    command += ["--composite", str(world / "a" / "p0.png"), "--output", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "1 picture," in done.stdout, done.stderr
    done = subprocess.run([*command, "--write", "x"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("predict.py: error: --write x")
