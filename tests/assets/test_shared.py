"""Tests of assets in a mapped file: all processes see the same pixels, and the file is deleted."""

import multiprocessing
import os
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest

from dsetkit.assets.shared import PREFIX, SharedAssets
from dsetkit.errors import DatasetError

PIXELS = {
    "backgrounds": [np.full((4, 4, 3), number, np.uint8) for number in range(3)],
    "foregrounds": [np.arange(2 * 5 * 4, dtype=np.uint8).reshape(2, 5, 4)[:, ::-1]],
}


def _sum(asset: SharedAssets) -> int:
    return int(asset("backgrounds", 2).sum()) + int(asset("foregrounds", 0).sum())


def _share_and_die(directory: Path) -> None:
    SharedAssets(PIXELS, directory=directory)
    os.kill(os.getpid(), signal.SIGKILL)


def test_every_process_sees_the_pixels(tmp_path: Path) -> None:
    with SharedAssets(PIXELS, directory=tmp_path) as asset:
        for kind, images in PIXELS.items():
            for number, image in enumerate(images):
                assert np.array_equal(asset(kind, number), image)
                assert not asset(kind, number).flags.writeable
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(_sum, (asset,)) == _sum(asset)
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_a_killed_process_is_deleted(tmp_path: Path) -> None:
    killed = multiprocessing.get_context("fork").Process(target=_share_and_die, args=(tmp_path,))
    killed.start()
    killed.join()
    assert len(list(tmp_path.glob(f"{PREFIX}{killed.pid}-*"))) == 1
    # The second one must not delete the file of the first, whose process is alive.
    with SharedAssets(PIXELS, directory=tmp_path), SharedAssets(PIXELS, directory=tmp_path):
        assert len(list(tmp_path.iterdir())) == 2
        assert not list(tmp_path.glob(f"{PREFIX}{killed.pid}-*"))


def test_the_file_lies_in_the_temporary_folder_by_default() -> None:
    with SharedAssets(PIXELS) as asset:
        assert asset._path.parent == Path(tempfile.gettempdir())


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot keep the assets in .*nowhere"):
        SharedAssets(PIXELS, directory=tmp_path / "nowhere")
