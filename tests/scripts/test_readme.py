"""The README's way for a small computer, as it is written there, on pictures made for the test.

Paths stand in for those of the text, and flags are added that make the trainings short; everything
else is typed as the README says.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from dsetkit.demo.scenes import write_pictures

REPOSITORY = Path(__file__).parents[2]
HEADING = "## Your own pictures, on your own computer"
QUICK = "--img-sizes 32 --epochs 1 --limit-samples 32"


def commands() -> list[list[str]]:
    """The commands of the section, each as words."""
    section = (REPOSITORY / "README.md").read_text().split(HEADING)[1].split("\n## ")[0]
    lines = re.findall(r"^    (python (?:.*\\\n)*.*)$", section, re.MULTILINE)
    return [shlex.split(line.replace("\\\n", " "), comments=True) for line in lines]


def typed(words: list[str], folder: Path) -> list[str]:
    """A command of the README with the test's own paths."""
    place = {
        "photos/": str(folder / "photos"),
        "empty_room.jpg": str(folder / "empty_room.jpg"),
        "--foregrounds DIR": f"--foregrounds {folder / 'pictures' / 'foregrounds'}",
        "--backgrounds DIR": f"--backgrounds {folder / 'pictures' / 'backgrounds'}",
        "--num-samples 2000": "--num-samples 60",
    }
    line = " ".join(words)
    for old, new in place.items():
        line = line.replace(old, new)
    line = re.sub(
        r"(?<=[ =])(data/mine|runs/|predictions|report\.html|mask\.png|depth\.png)",
        rf"{folder}/\1",
        line,
    )
    if "train_" in line:
        line += f" {QUICK}"
    if "dsetkit show" in line:
        line += f" --output {folder / 'sheet.png'}"
    return [sys.executable, *shlex.split(line)[1:]]


def test_the_section_names_each_step() -> None:
    told = [" ".join(words) for words in commands()]
    for name in (
        "generate",
        "show",
        "train_mask.py",
        "train_depth.py",
        "predict.py",
        "evaluate_mask.py",
        "evaluate_depth.py",
        "report",
    ):
        assert any(name in line for line in told), name


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
    for words in commands():
        done = subprocess.run(
            typed(words, tmp_path), cwd=REPOSITORY, capture_output=True, text=True, env=os.environ
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
    mask = cv2.imread(str(tmp_path / "predictions" / "mask" / "own.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == photo.shape[:2]
    for name in ("predictions/sheet.png", "mask.png", "depth.png"):
        assert cv2.imread(str(tmp_path / name)) is not None
    assert "<html" in (tmp_path / "report.html").read_text()[:500]
