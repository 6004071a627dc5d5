"""state.pt: whole or refused by name, with the state before it at hand; equal for equal content."""

import os
import shlex
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import xxhash
from torch import nn

from dsetkit.errors import DsetkitError, RunError
from dsetkit.stopping import Interrupted
from training.checkpoint import VERSION, load_state, save_state
from training.loop import Progress
from training.run_files import PREVIOUS_FILE, STATE_FILE

MARK_BYTES = 25


def save(folder: Path, *, epoch: int) -> Path:
    """Saves the state of a small network after some epochs."""
    torch.manual_seed(epoch)
    save_state(folder / STATE_FILE, {"network": nn.Linear(3, 3)}, {"epoch": epoch, "batch": 0})
    return folder / STATE_FILE


def load(path: Path) -> dict:
    return load_state(path, {"network": nn.Linear(3, 3)})


def signed(content: bytes) -> bytes:
    """Content with the checksum and the mark of a state."""
    digest = xxhash.xxh3_128(content).digest()
    return content + digest + b"dsetkit training state %d\n" % VERSION


def test_equal_states_are_equal_files(tmp_path: Path) -> None:
    one, other = (save(tmp_path / name, epoch=2).read_bytes() for name in "ab")
    assert one == other


def test_the_state_saved_before_is_kept(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        path = save(tmp_path, epoch=epoch)
    assert load(path)["epoch"] == 3
    assert load(tmp_path / PREVIOUS_FILE)["epoch"] == 2
    assert {file.name for file in tmp_path.iterdir()} == {STATE_FILE, PREVIOUS_FILE}


@pytest.mark.parametrize("raised", [Interrupted(15), OSError(28, "No space left on device")])
def test_what_ends_a_write_ends_the_saving_and_nothing_else_is_raised(
    raised: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = save(tmp_path, epoch=1).read_bytes()
    writes: list[int] = []  # how many bytes
    failing: list[int] = []  # the number of the write that fails

    class File:
        """An open file, one of whose writes fails."""

        def __init__(self, path: Path, mode: str) -> None:
            self.file = open(path, mode)

        def __enter__(self) -> "File":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, content: bytes) -> int:
            writes.append(len(content))
            if len(writes) in failing:
                raise raised
            return self.file.write(content)

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

    monkeypatch.setattr("training.checkpoint.open", File, raising=False)
    save(tmp_path / "whole", epoch=2)
    assert len(writes) > 5
    for number in range(1, len(writes) + 1):
        writes.clear()
        failing[:] = [number]
        expected = DsetkitError if isinstance(raised, OSError) else Interrupted
        with pytest.raises(expected) as caught:
            save(tmp_path, epoch=2)
        assert caught.value is raised or "the disk is full" in str(caught.value)
        assert os.listdir(tmp_path).count(STATE_FILE) == 1
        assert (tmp_path / STATE_FILE).read_bytes() == before


def test_every_damaged_byte_and_every_cut_is_found(tmp_path: Path) -> None:
    path = save(tmp_path, epoch=1)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in [*rng.integers(0, len(whole), 200), *range(len(whole) - MARK_BYTES, len(whole))]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(RunError, match=rf"{STATE_FILE} (is damaged|has version)"):
            load(path)
    for end in [0, 1, MARK_BYTES, *rng.integers(0, len(whole), 50), len(whole) - 1]:
        path.write_bytes(whole[:end])
        with pytest.raises(RunError, match=rf"{STATE_FILE} is damaged or not a training state"):
            load(path)


def test_a_damaged_state_offers_the_one_before_and_the_offer_works(tmp_path: Path) -> None:
    folder = tmp_path / "a run"
    for epoch in (1, 2):
        path = save(folder, epoch=epoch)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match="the state saved before it is whole") as caught:
        load(path)
    command = str(caught.value).split("`")[1]
    subprocess.run(shlex.split(command), check=True)
    assert load(path)["epoch"] == 1


def test_a_damaged_state_without_a_whole_one_before_offers_a_new_run(tmp_path: Path) -> None:
    for epoch in (1, 2):
        path = save(tmp_path, epoch=epoch)
    for name in (STATE_FILE, PREVIOUS_FILE):
        (tmp_path / name).write_bytes(b"rubbish")
    with pytest.raises(RunError, match="start a new run with another --output$"):
        load(path)
    (tmp_path / "last.safetensors").touch()
    with pytest.raises(RunError, match=r"\(--init-from .*last.safetensors keeps its weights\)$"):
        load(path)


def test_a_missing_state_offers_the_one_before(tmp_path: Path) -> None:
    """A kill may leave this where the file system has no hard links."""
    for epoch in (1, 2):
        path = save(tmp_path, epoch=epoch)
    path.unlink()
    with pytest.raises(RunError, match=f"{STATE_FILE} is missing: .* is whole: .* run `mv"):
        load(path)


def test_states_are_kept_without_hard_links_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*names: object) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    for epoch in (1, 2):
        path = save(tmp_path, epoch=epoch)
    assert (load(path)["epoch"], load(tmp_path / PREVIOUS_FILE)["epoch"]) == (2, 1)


def test_a_state_of_another_version_is_refused_in_one_line(tmp_path: Path) -> None:
    path = save(tmp_path, epoch=1)
    newer = path.read_bytes()[:-2] + b"3\n"
    path.write_bytes(newer)
    with pytest.raises(RunError, match="has version 3, this program reads 2: update it"):
        load(path)
    torch.save({"format": "training state", "version": 1, "progress": {}, "parts": {}}, path)
    with pytest.raises(RunError, match="no checksum stands at its end .*earlier version"):
        load(path)


def pickled(content: object, path: Path) -> bytes:
    torch.save(content, path)
    return path.read_bytes()


def zip_bomb(path: Path) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(2**24))
    return path.read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        lambda path: b"",
        lambda path: b"PK\3\4 rubbish",
        zip_bomb,
        lambda path: pickled([1, 2], path),
        lambda path: pickled({"progress": 1, "parts": {}}, path),
        lambda path: pickled({"progress": {}, "parts": {"network": 3}}, path),
        lambda path: pickled({"progress": {}, "parts": {}}, path),
        lambda path: pickled({"progress": {}, "parts": {"network": {"weight": 3}}}, path),
        lambda path: pickled(nn.Linear(1, 1), path),
    ],
    ids=["empty", "cut", "bomb", "list", "progress", "part", "no part", "network", "class"],
)
def test_foreign_bytes_under_a_right_checksum_are_one_error(content, tmp_path: Path) -> None:
    path = tmp_path / STATE_FILE
    path.write_bytes(signed(content(tmp_path / "content")))
    with pytest.raises(RunError, match=f"{STATE_FILE} (is no training state|does not fit|cannot)"):
        load(path)


def test_a_directory_and_a_pipe_are_no_states(tmp_path: Path) -> None:
    for make in (os.mkdir, os.mkfifo):
        path = tmp_path / make.__name__ / STATE_FILE
        path.parent.mkdir()
        make(path)
        with pytest.raises(RunError, match=f"{STATE_FILE} is missing"):
            load(path)


# ---- progress ----------------------------------------------------------------------------------


def some_progress() -> Progress:
    progress = Progress(epoch=1, batch=3, loss_sum=0.5, samples=12, seconds=4.5, timed_samples=12)
    progress.end_row(stage=1, img_size="8x8", lr=0.1, metrics={"rmse": 0.25})
    return progress


def test_progress_survives_saving_but_for_times() -> None:
    copy = Progress()
    copy.load_state_dict(some_progress().state_dict())
    (row,) = copy.rows
    assert (copy.epoch, copy.batch, copy.loss_sum, copy.samples) == (1, 3, 0.5, 12)
    assert row["val_rmse"] == 0.25 and row["epoch"] == 2
    assert "samples_per_s" not in row and copy.seconds == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"epoch": -1},
        {"epoch": 1.0},
        {"batch": None},
        {"loss_sum": float("nan")},
        {"best": "0"},
        {"stale": True},
        {"rows": {}},
        {"rows": [3]},
        {"rows": [{"epoch": "1"}]},
        {"rows": [{"epoch": 1, "x": [1]}]},
        {"more": 1},
    ],
    ids=str,
)
def test_a_foreign_progress_is_refused(changed: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        Progress().load_state_dict(some_progress().state_dict() | changed)
