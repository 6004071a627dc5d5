"""cut-outs --hf: pictures and masks in the columns of a dataset of Hugging Face, offline."""

import io
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dsetkit.cli.main import main
from dsetkit.console import run
from dsetkit.cutting import HuggingFaceMasks, MaskFolder, cut_outs

pytest.importorskip("pymatting", reason="needs dsetkit[cut-outs]")
datasets = pytest.importorskip("datasets", reason="needs dsetkit[hub]")

COUNT = 3


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def drawn(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture and the mask of what is in it, which is soft at its edge."""
    rng = np.random.default_rng(number)
    mask = np.zeros((80, 100), np.uint8)
    cv2.circle(mask, (40 + 5 * number, 40), 25, 255, -1)
    return rng.integers(0, 256, (80, 100, 3), np.uint8), cv2.GaussianBlur(mask, (0, 0), 2)


def made(names: tuple[str, str] = ("image", "mask"), count: int = COUNT):
    pairs = [drawn(number) for number in range(count)]
    columns = {
        name: [{"bytes": png(pair[n]), "path": None} for pair in pairs]
        for n, name in enumerate(names)
    }
    columns["caption"] = ["a disc"] * count
    features = {name: datasets.Image() for name in names} | {"caption": datasets.Value("string")}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def saved(root: Path, form: str) -> tuple[Path, str]:
    """A dataset on the disk, and the name of its split."""
    if form == "one split":
        made().save_to_disk(root / "set")
        return root / "set", "rows"
    if form == "splits":
        datasets.DatasetDict({"train": made()}).save_to_disk(root / "set")
        return root / "set", "train"
    if form == "image folder":
        for number in range(COUNT):
            for kind, pixels in zip(("image", "mask"), drawn(number), strict=True):
                (root / "set").mkdir(exist_ok=True)
                (root / "set" / f"{number}-{kind}.png").write_bytes(png(pixels))
        lines = [f"{number}-image.png,{number}-mask.png" for number in range(COUNT)]
        table = "\n".join(["image_file_name,mask_file_name", *lines])
        (root / "set" / "metadata.csv").write_text(table)
        return root / "set", "train"
    (root / "set" / "data").mkdir(parents=True)
    made().to_parquet(root / "set" / "data" / "train-00000-of-00001.parquet")
    return root / "set", "train"


@pytest.mark.parametrize("form", ["one split", "splits", "parquet", "image folder"])
def test_a_dataset_gives_what_its_pictures_and_masks_give_as_files(
    form: str, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    place, split = saved(tmp_path, form)
    capfd.readouterr()
    words = ["cut-outs", "--hf", str(place), "--output", str(tmp_path / "out"), "--jobs", "1"]
    assert run(lambda: main(words)) == 0
    assert capfd.readouterr().out == f"{tmp_path / 'out'}: {COUNT} cut-outs\n"
    for number in range(COUNT):
        for kind, pixels in zip(("image", "mask"), drawn(number), strict=True):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / kind / f"{split}-{number:06d}.png").write_bytes(png(pixels))
    cut_outs(tmp_path / "files", tmp_path / "image", MaskFolder(tmp_path / "mask"))
    expected = {path.name: path.read_bytes() for path in (tmp_path / "files").glob("*.png")}
    assert len(expected) == COUNT
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")} == expected


def test_columns_and_splits_are_chosen_by_name(tmp_path: Path) -> None:
    splits = {name: made(("photo", "alpha")) for name in ("train", "test")}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "set")
    cut_outs(tmp_path / "out", tmp_path / "set", HuggingFaceMasks("photo", "alpha", "test"))
    names = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert names == [f"test-{number:06d}.png" for number in range(COUNT)]


def test_the_files_do_not_depend_on_the_number_of_processes_and_a_run_goes_on(
    tmp_path: Path,
) -> None:
    place, _ = saved(tmp_path, "splits")
    for jobs in (1, 2):
        done = cut_outs(tmp_path / str(jobs), place, HuggingFaceMasks(), jobs=jobs)
        assert done.written == COUNT
    (tmp_path / "1" / "train-000001.png").unlink()
    done = cut_outs(tmp_path / "1", place, HuggingFaceMasks())
    assert (done.written, done.kept) == (1, COUNT - 1)
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / str(jobs)).iterdir()}
        for jobs in (1, 2)
    )
    assert one == two


def test_a_row_without_a_picture_is_named_or_left_out(tmp_path: Path) -> None:
    good, none = {"bytes": png(drawn(0)[0]), "path": None}, None
    mask = {"bytes": png(drawn(0)[1]), "path": None}
    bad = {"bytes": b"no picture", "path": None}
    columns = {"image": [good, none, good, bad], "mask": [mask, mask, none, mask]}
    features = datasets.Features({name: datasets.Image() for name in columns})
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(tmp_path / "set")
    done = cut_outs(tmp_path / "out", tmp_path / "set", HuggingFaceMasks(), skip_bad=True)
    assert done.written == 1
    assert [reason.partition("set/rows/")[2] for reason in done.bad] == [
        "1: no picture in column image",
        "2: its mask: no picture in column mask",
        "3: not a PNG, JPEG or WebP picture",
    ]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--hf @/set --mask-column no", "has no column no: it has image, mask, caption"),
        ("--hf @/set --image-column caption", "column caption holds Value: expected Image"),
        ("--hf @/set --split dev", "has no split dev: it has train"),
        ("--hf @/none/at/all", "expected a folder, or a name on the Hub"),
        ("--hf @/file", "expected a folder, or a name on the Hub"),
        ("--hf @/empty", "cannot be opened by `datasets`"),
        ("--hf @/damaged", "cannot be opened by `datasets`"),
        ("--hf nobody/nothing", "cannot be opened by `datasets`"),
        ("--hf @/set --images @/empty", "--hf has pictures of its own: leave --images out"),
        ("--hf @/set --masks @/empty", "not allowed with argument"),
        ("--masks @/empty", "--images is missing"),
        ("--hf=", "expected a path"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_status_2(
    words: str, complaint: str, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    datasets.DatasetDict({"train": made(count=1)}).save_to_disk(tmp_path / "set")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "dataset_dict.json").write_text("{")
    capfd.readouterr()
    given = [word.replace("@", str(tmp_path)) for word in words.split()]

    def command() -> None:
        main(["cut-outs", *given, "--output", str(tmp_path / "out")])

    try:
        status = run(command)
    except SystemExit as error:  # of the parser, after its line
        status = error.code  # type: ignore[assignment]
    (line,) = capfd.readouterr().err.splitlines()
    assert status == 2 and complaint in line


def test_without_datasets_it_is_one_line_that_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    (tmp_path / "set").mkdir()
    words = ["cut-outs", "--hf", str(tmp_path / "set"), "--output", str(tmp_path / "out")]
    assert run(lambda: main(words)) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith("needs datasets, which is not installed: pip install 'dsetkit[hub]'")
