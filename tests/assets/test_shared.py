"""Assets in a mapped file: the same pixels in every process, and nothing left behind."""

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


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _sum(asset: SharedAssets) -> int:
    return int(asset("backgrounds", 2).sum()) + int(asset("foregrounds", 0).sum())


def _wait(_: object) -> None:
    SharedAssets(PIXELS)
    os.kill(os.getpid(), signal.SIGKILL)


def test_every_process_sees_the_pixels(folder: Path) -> None:
    with SharedAssets(PIXELS) as asset:
        for kind, images in PIXELS.items():
            for number, image in enumerate(images):
                assert np.array_equal(asset(kind, number), image)
                assert not asset(kind, number).flags.writeable
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(_sum, (asset,)) == _sum(asset)
    assert list(folder.iterdir()) == []


def test_what_a_killed_process_left_is_swept(folder: Path) -> None:
    killed = multiprocessing.get_context("fork").Process(target=_wait, args=(None,))
    killed.start()
    killed.join()
    assert len(list(folder.glob(f"{PREFIX}{killed.pid}-*"))) == 1
    with SharedAssets(PIXELS), SharedAssets(PIXELS):  # a living one's files stay
        assert len(list(folder.iterdir())) == 2
        assert not list(folder.glob(f"{PREFIX}{killed.pid}-*"))


def test_no_room_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(DatasetError, match="cannot keep the assets in /nowhere"):
        SharedAssets(PIXELS)
