"""Tests of assets in a mapped file: all processes see the same pixels, and no file is left."""

from pathlib import Path

import numpy as np
import pytest

from dsetkit.assets.shared import SharedAssets
from dsetkit.errors import DatasetError
from dsetkit.processes import in_processes

PIXELS = {
    "backgrounds": [np.full((4, 4, 3), number, np.uint8) for number in range(3)],
    "foregrounds": [np.arange(2 * 5 * 4, dtype=np.uint8).reshape(2, 5, 4)[:, ::-1]],
}


class SumOf:
    def __init__(self, asset: SharedAssets) -> None:
        self._asset = asset

    def __call__(self, number: int) -> int:
        return int(self._asset("backgrounds", number).sum())


def test_every_process_sees_the_pixels(tmp_path: Path) -> None:
    with SharedAssets(PIXELS, directory=tmp_path) as asset:
        for kind, images in PIXELS.items():
            for number, image in enumerate(images):
                assert np.array_equal(asset(kind, number), image)
                assert not asset(kind, number).flags.writeable
        expected = [int(image.sum()) for image in PIXELS["backgrounds"]]
        assert list(in_processes(SumOf(asset), range(3), jobs=2)) == expected


def test_there_is_no_file_that_a_kill_could_leave(tmp_path: Path) -> None:
    with SharedAssets(PIXELS, directory=tmp_path) as asset:
        assert list(tmp_path.iterdir()) == []
        assert asset("backgrounds", 2).any()


def test_it_is_written_to_the_temporary_folder_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(DatasetError, match="cannot keep the assets in .*nowhere"):
        SharedAssets(PIXELS)


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot keep the assets in .*nowhere"):
        SharedAssets(PIXELS, directory=tmp_path / "nowhere")
