"""More scenes: nothing of the val and test splits is among them, and pieces differ."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import more_scenes
from dsetkit.assets import assign_splits
from tests.helpers.worlds import draw_background


def write(folder: Path, names: list[str]) -> list[Path]:
    folder.mkdir()
    files = [folder / name for name in names]
    for number, file in enumerate(files):
        cv2.imwrite(str(file), draw_background(number, 40))
    return files


def test_held_out_pictures_and_their_rooms_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs = write(tmp_path / "b", [f"nyu_{40 * number:04d}.jpg" for number in range(12)])
    frames = write(tmp_path / "frames", [f"{number:04d}_color.jpg" for number in range(0, 480, 5)])
    cut_outs = write(tmp_path / "f", [f"f{number}.png" for number in range(12)])
    words = ["--backgrounds", tmp_path / "b", "--foregrounds", tmp_path / "f"]
    words += ["--frames", tmp_path / "frames", "--output", tmp_path / "out", "--pieces", 2, 1]
    monkeypatch.setattr(sys, "argv", ["more_scenes", *map(str, words)])
    more_scenes.main()
    splits = dict(
        zip(photographs, assign_splits([p.stem for p in photographs], seed=0), strict=True)
    )
    train = {file.name for file, split in splits.items() if split == "train"}
    held_out = [int(file.stem[4:]) for file, split in splits.items() if split != "train"]
    assert held_out
    scenes = {file.name for file in (tmp_path / "out/scenes").iterdir()}
    assert {name for name in scenes if name.startswith("nyu_")} == train
    shown = [int(name[:4]) for name in scenes if name.endswith("_color.jpg")]
    assert 0 < len(shown) < len(frames)
    assert min(abs(one - other) for one in shown for other in held_out) > more_scenes.SAME_ROOM
    assert len(list((tmp_path / "out/train-foregrounds").iterdir())) < len(cut_outs)
    crops = list((tmp_path / "out/crops").iterdir())
    assert len(crops) == 2 * len(train) + len(shown)


def test_pieces_are_parts_of_their_picture(tmp_path: Path) -> None:
    picture = np.full((60, 90, 3), 77, np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    more_scenes.cut_pieces(tmp_path / "a.png", tmp_path, 8, np.random.default_rng(0))
    pieces = [cv2.imread(str(file)) for file in tmp_path.glob("a-*.jpg")]
    assert len({piece.shape for piece in pieces}) > 4
    for piece in pieces:
        assert 26 <= piece.shape[0] <= 60 and 34 <= piece.shape[1] <= 90
        assert abs(piece.astype(int) - 77).max() <= 2
