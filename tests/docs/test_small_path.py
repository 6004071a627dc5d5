"""The commands and examples of the small path, as README and docs/ have them, on drawn pictures.

Paths stand in for those of the text, and flags are added that make the trainings short; everything
else is typed as it is written there.
"""

import os
import subprocess
import sys
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest

from dsetkit.cli import main as dsetkit
from dsetkit.demo.scenes import write_pictures
from tests.docs.commands import blocks, commands, documents
from tools.build_site import REPOSITORY

README = documents()[PurePosixPath("README.md")]
DATASETS = documents()[PurePosixPath("docs/guides/datasets.md")]
QUICK = "--img-sizes 32 --epochs 1 --limit-samples 32".split()
OUTPUTS = ("predictions", "report.html", "mask.png", "depth.png")
# Verbs of the guide to datasets that need nothing but the dataset.
ALONE = {"info", "stats", "show", "verify", "convert", "split"}


def typed(words: list[str], folder: Path) -> list[str]:
    """A command of the README with the test's own paths."""
    place = {
        "photos/": folder / "photos",
        "empty_room.jpg": folder / "empty_room.jpg",
        "2000": 60,
    }
    found = list[str]()
    for word in words[1:]:
        if word == "DIR":
            found.append(str(folder / "pictures" / found[-1].removeprefix("--")))
        elif word in place:
            found.append(str(place[word]))
        elif word.startswith(("data/", "runs/")) or word in OUTPUTS:
            found.append(str(folder / word))
        else:
            found.append(word)
    found += QUICK if found[0].startswith("train_") else []
    found += ["--output", str(folder / "sheet.png")] if "show" in found else []
    return [sys.executable, *found]


@pytest.mark.slow
def test_a_newcomer_gets_from_two_folders_to_the_mask_of_an_own_photograph(tmp_path: Path) -> None:
    foregrounds, backgrounds = write_pictures(tmp_path / "pictures", rooms=8, cutouts=8)
    assert (foregrounds.name, backgrounds.name) == ("foregrounds", "backgrounds")
    rng = np.random.default_rng(0)
    empty = cv2.imread(str(next(backgrounds.iterdir())))
    cv2.imwrite(str(tmp_path / "empty_room.jpg"), empty)
    (tmp_path / "photos").mkdir()
    photo = empty.copy()
    cv2.circle(photo, (photo.shape[1] // 2, photo.shape[0] // 2), 40, rng.uniform(0, 255, 3), -1)
    cv2.imwrite(str(tmp_path / "photos" / "own.jpg"), photo)
    for words in commands(README):
        done = subprocess.run(
            typed(words, tmp_path), cwd=REPOSITORY, capture_output=True, text=True, env=os.environ
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
    mask = cv2.imread(str(tmp_path / "predictions" / "mask" / "own.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == photo.shape[:2]
    for name in ("predictions/sheet.png", "mask.png", "depth.png"):
        assert cv2.imread(str(tmp_path / name)) is not None
    assert "<html" in (tmp_path / "report.html").read_text()[:500]
    assert (tmp_path / "data" / "yolo" / "data.yaml").is_file()
    (example,) = blocks(README, "python")
    names = {"picture": photo[..., ::-1].copy(), "background": empty[..., ::-1].copy()}
    for folder in ("data", "runs"):
        example = example.replace(f'"{folder}/', f'"{tmp_path}/{folder}/')
    exec(example, names)
    assert names["prediction"].mask.shape == names["prediction"].depth.shape == photo.shape[:2]


@pytest.mark.slow
def test_the_guide_to_datasets_works_on_a_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cutouts, photos = write_pictures(tmp_path / "pictures", rooms=4, cutouts=4)
    cutouts.rename("cutouts")
    photos.rename("photos")
    examples = {text.split(" import ")[1].split()[0]: text for text in blocks(DATASETS, "python")}
    exec(examples["Path"].replace("2000", "24"))
    exec(examples["SampleDataset,"].replace("batch_size=64", "batch_size=4"), names := {})
    assert names["batch"]["composite"].shape[1:] == (3, 64, 64)
    ran = set()
    for words in commands(DATASETS):
        if words[3] in ALONE:
            dsetkit(words[3:])
            ran.add(words[3])
    assert ran == ALONE
    assert "metric" in capsys.readouterr().out
    assert (tmp_path / "sheet.png").is_file()
