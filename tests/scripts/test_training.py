"""The training scripts and their leaves, on drawn squares and a network of two layers."""

import csv
import logging
import os
import re
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import train_depth
import train_joint
import train_mask
from dsetkit import loading
from dsetkit.console import format_duration
from dsetkit.errors import DsetkitError, RunError
from models import MODELS, load_model
from training import fit, loop, run_dir, run_files
from training.checkpoint import load_state, save_state
from training.ema import AveragedWeights
from training.estimate import TimeEstimate
from training.run_files import PREVIOUS_FILE, STATE_FILE
from training.schedule import Plateau
from training.scoring.metrics import DepthMetrics

SCRIPTS = {"depth": train_depth, "mask": train_mask, "joint": train_joint}
TIME_COLUMNS = ("samples_per_s", "data_wait_share")


# ---- a tiny world ------------------------------------------------------------------------------


class Squares(torch.utils.data.Dataset):
    """Stands in for SampleDataset: bright, near squares on dark, far ground."""

    counts = {"train": 22, "val": 5}
    fingerprint = "squares"

    def __init__(
        self, path: str, split: str, fields: tuple[str, ...], size=(32, 32), cache=None
    ) -> None:
        self.split, self.size, self.fields = split, size, fields
        self.manifest = SimpleNamespace(
            depth_kind="metric", max_depth_m=10.0, fingerprint=self.fingerprint
        )

    def __len__(self) -> int:
        return self.counts[self.split]

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        rng = torch.Generator().manual_seed(index + 100 * (self.split == "val"))
        height, width = self.size
        top, left = (int(torch.randint(0, side // 2, (), generator=rng)) for side in self.size)
        mask = torch.zeros(1, height, width, dtype=torch.uint8)
        mask[:, top : top + height // 3, left : left + width // 3] = 255
        background = torch.randint(0, 100, (3, height, width), generator=rng).byte()
        depth = torch.where(mask > 0, 0.2, 0.7)
        depth[:, 0] = 0  # invalid
        composite = torch.where(mask > 0, 220, background)
        sample = {"background": background, "composite": composite, "mask": mask, "depth": depth}
        return {name: sample[name] for name in self.fields}


class TinyNet(nn.Module):
    """Batch norm, whose running statistics a resume must keep, and dropout, which draws."""

    stride = 4

    def __init__(self, *, in_channels: int, task: str) -> None:
        super().__init__()
        self.task, self.in_channels = task, in_channels
        self.heads = {"mask": "logits", "depth": "linear"}
        if task != "joint":
            self.heads = {task: self.heads[task]}
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 8, 3, padding=1, stride=2 if task == "depth" else 1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout2d(0.1),
            nn.Conv2d(8, len(self.heads), 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        outputs = self.layers(x)
        if self.task != "joint":
            return outputs
        return {name: outputs[:, i : i + 1] for i, name in enumerate(self.heads)}


class TinyDepth(TinyNet):
    def __init__(self, *, in_channels: int) -> None:
        super().__init__(in_channels=in_channels, task="depth")


class TinyMask(TinyNet):
    def __init__(self, *, in_channels: int) -> None:
        super().__init__(in_channels=in_channels, task="mask")


class TinyJoint(TinyNet):
    def __init__(self, *, in_channels: int) -> None:
        super().__init__(in_channels=in_channels, task="joint")


@pytest.fixture(autouse=True, scope="module")
def tiny_world() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "tiny_depth", TinyDepth)
        patch.setitem(MODELS, "tiny_mask", TinyMask)
        patch.setitem(MODELS, "tiny_joint", TinyJoint)
        patch.setattr(loading, "SampleDataset", Squares)
        yield


@pytest.fixture(scope="module", params=SCRIPTS)
def whole_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A task and the folder of its run that nothing interrupted."""
    output = tmp_path_factory.mktemp(request.param)
    train(request.param, output)
    return request.param, output


def train(task: str, output: Path, *arguments: object) -> None:
    """Runs a script on 2 stages x 2 epochs x 5 steps, with all that has a state switched on."""
    given = ["--data", "squares", "--output", output, "--arch", f"tiny_{task}", "--epochs", 2]
    given += ["--img-sizes", "8", "8x16", "--batch-size", 4, "--device", "cpu", "--lr", 0.01]
    given += ["--inputs", "composite", "background", "--augment", "full+camera", "--ema", 0.9]
    given += ["--sched", "plateau", "--plateau-patience", 0, "--clip-grad", 1, *arguments]
    SCRIPTS[task].main([str(word) for word in given])


class CutError(BaseException):
    """The power fails."""


def train_until_save(
    number: int, monkeypatch: pytest.MonkeyPatch, task: str, output: Path, *arguments: object
) -> None:
    """Trains, saving after every step, and cuts the run off at the save after save `number`."""
    saves = 0

    def save_then_fail(*args: object) -> None:
        nonlocal saves
        saves += 1
        if saves > number:
            raise CutError
        save_state(*args)

    with monkeypatch.context() as patch, pytest.raises(CutError):
        patch.setattr(fit, "save_state", save_then_fail)
        train(task, output, "--checkpoint-every", 0, *arguments)


def rows_without_times(run: Path) -> list[dict[str, str]]:
    with open(run / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in TIME_COLUMNS} for row in rows]


# ---- resume ------------------------------------------------------------------------------------


# the first save precedes the first step; then 5 saves per epoch, 10 per stage
@pytest.mark.parametrize("cut_after_save", [4, 6, 14, 18])
def test_a_run_cut_off_and_resumed_equals_an_uninterrupted_one_bit_for_bit(
    whole_run: tuple[str, Path],
    cut_after_save: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task, whole = whole_run
    train_until_save(cut_after_save, monkeypatch, task, tmp_path)
    resume_and_compare(task, tmp_path, whole)


def resume_and_compare(task: str, cut: Path, whole: Path) -> None:
    """Continues a run that was cut off and compares it with one that was not, bit for bit."""
    SCRIPTS[task].main(["--output", str(cut), "--resume"])
    assert rows_without_times(cut) == rows_without_times(whole)
    assert_same_files(whole, cut)


def assert_same_files(one: Path, other: Path) -> None:
    """The weights and the state of two runs are the same, byte for byte."""
    for name in ("best.safetensors", "last.safetensors", STATE_FILE):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_equal_runs_leave_equal_files(whole_run: tuple[str, Path], tmp_path: Path) -> None:
    task, whole = whole_run
    train(task, tmp_path)
    assert_same_files(whole, tmp_path)


def test_a_run_goes_on_from_the_previous_state_and_ends_in_the_same_bytes(
    whole_run: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, whole = whole_run
    train_until_save(8, monkeypatch, task, tmp_path)
    state = tmp_path / STATE_FILE
    state.write_bytes(state.read_bytes()[:-1])
    with pytest.raises(RunError, match=r"state\.pt is damaged .* the state saved before it is"):
        SCRIPTS[task].main(["--output", str(tmp_path), "--resume"])
    (tmp_path / PREVIOUS_FILE).replace(state)
    resume_and_compare(task, tmp_path, whole)


def test_a_new_run_does_not_replace_one_whose_state_is_damaged_or_gone(tmp_path: Path) -> None:
    train("depth", tmp_path)
    (tmp_path / STATE_FILE).write_bytes(b"rubbish")
    with pytest.raises(RunError, match=r"state\.pt is damaged"):
        train("depth", tmp_path)
    (tmp_path / STATE_FILE).unlink()
    with pytest.raises(RunError, match=r"state\.pt is missing"):
        train("depth", tmp_path)


def test_the_times_of_epochs_before_a_resume_stay_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_until_save(11, monkeypatch, "depth", tmp_path)  # in the third epoch
    before = run_files.read_log(tmp_path)
    train_depth.main(["--output", str(tmp_path), "--resume"])
    after = run_files.read_log(tmp_path)
    assert len(before) == 2 and after[:2] == before
    assert all(float(row[name]) >= 0 for row in after for name in TIME_COLUMNS)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'"' + b"x" * 200_000, None])
def test_a_log_that_cannot_be_read_does_not_stop_a_resume(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_until_save(11, monkeypatch, "depth", tmp_path)
    log = tmp_path / "log.csv"
    log.unlink() if content is None else log.write_bytes(content)
    train_depth.main(["--output", str(tmp_path), "--resume"])
    assert [row["epoch"] for row in rows_without_times(tmp_path)] == list("1234")


# ---- Ctrl-C ------------------------------------------------------------------------------------


def saved_batches(run: Path) -> int:
    """Batches of the current epoch in the saved state."""
    return torch.load(run / STATE_FILE, weights_only=True)["progress"]["batch"]


def interrupt(
    monkeypatch: pytest.MonkeyPatch,
    where: object,
    name: str,
    task: str,
    output: Path,
    *,
    call: int,
    action: Callable[[], None],
    first: bool = True,
) -> None:
    """Starts a run that `action` interrupts before or after call number `call` of a function.

    Args:
        monkeypatch: Pytest's.
        where: What has the function as an attribute.
        name: Name of the function.
        task: Which script.
        output: The run folder.
        call: Number of the call, from 1.
        action: Raises KeyboardInterrupt, or sends SIGINT.
        first: Whether `action` runs before the function, or after it.
    """
    real, calls = getattr(where, name), 0

    def interrupted(*args: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == call and first:
            action()
        result = real(*args, **options)
        if calls == call and not first:
            action()
        return result

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(where, name, interrupted)
        train(task, output)


def press_ctrl_c() -> None:
    raise KeyboardInterrupt


def send_sigint() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("first", [True, False], ids=["before the update", "after it"])
def test_a_run_interrupted_in_its_first_step_resumes_bit_for_bit(
    whole_run: tuple[str, Path], first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights of a step that did not end are not saved: the step is made again."""
    task, whole = whole_run
    options = {"call": 1, "action": press_ctrl_c, "first": first}
    interrupt(monkeypatch, loop, "update_weights", task, tmp_path, **options)
    assert saved_batches(tmp_path) == 0
    resume_and_compare(task, tmp_path, whole)


def test_ctrl_c_in_a_step_lets_the_step_end_and_saves_it(
    whole_run: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, whole = whole_run
    options = {"call": 3, "action": send_sigint}
    interrupt(monkeypatch, loop, "update_weights", task, tmp_path, **options)
    assert saved_batches(tmp_path) == 3
    resume_and_compare(task, tmp_path, whole)


def test_ctrl_c_while_waiting_for_data_saves_the_steps_so_far(
    whole_run: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, whole = whole_run
    real = loop._timed

    def interrupted(*args: object) -> Iterator[object]:
        yield from (pair for _, pair in zip(range(2), real(*args), strict=False))
        send_sigint()

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "_timed", interrupted)
        train(task, tmp_path)
    assert saved_batches(tmp_path) == 2
    resume_and_compare(task, tmp_path, whole)


@pytest.mark.parametrize(
    ("where", "name"),
    [(loop, "with_progress"), (run_dir, "record_epoch")],
    ids=["validation", "end of an epoch"],
)
def test_ctrl_c_outside_of_the_steps_saves_the_epoch(
    where: object,
    name: str,
    whole_run: tuple[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task, whole = whole_run
    interrupt(monkeypatch, where, name, task, tmp_path, call=2, action=send_sigint)
    resume_and_compare(task, tmp_path, whole)


def test_a_second_ctrl_c_does_not_wait_for_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send_twice() -> None:
        send_sigint()
        send_sigint()
        raise AssertionError("the second one did not stop it")

    interrupt(monkeypatch, loop, "update_weights", "depth", tmp_path, call=2, action=send_twice)
    assert saved_batches(tmp_path) == 0


def test_the_handler_of_ctrl_c_is_restored(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    train("depth", tmp_path)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_without_a_step_may_be_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"call": 1, "action": press_ctrl_c}
    interrupt(monkeypatch, loop, "update_weights", "depth", tmp_path, **options)
    train("depth", tmp_path, "--lr", 0.02)
    assert run_files.read_arguments(tmp_path, script="train_depth.py")["lr"] == 0.02


# ---- more of resume ----------------------------------------------------------------------------


def test_the_weights_really_change_when_the_seed_does(tmp_path: Path) -> None:
    for seed in (0, 1):
        train("depth", tmp_path / str(seed), "--seed", seed)
    zero, one = (load_model(tmp_path / s / "last.safetensors")[0].state_dict() for s in "01")
    assert not torch.equal(zero["layers.0.weight"], one["layers.0.weight"])


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    train("depth", tmp_path)
    before = (tmp_path / "best.safetensors").read_bytes()
    train_depth.main(["--output", str(tmp_path), "--resume"])
    assert (tmp_path / "best.safetensors").read_bytes() == before
    assert len(rows_without_times(tmp_path)) == 4


def test_resume_without_a_state_says_what_is_missing_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no state\.pt; expected .* without --resume"):
        train_depth.main(["--output", str(tmp_path), "--resume"])
    assert not list(tmp_path.iterdir())


def test_a_new_run_does_not_overwrite_an_old_one(tmp_path: Path) -> None:
    train("depth", tmp_path)
    before = (tmp_path / "last.safetensors").read_bytes()
    with pytest.raises(RunError, match="holds a run already: continue it with --resume"):
        train("depth", tmp_path)
    assert (tmp_path / "last.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--lr", "0.5"], r"--lr 0\.5 .* started with --lr 0\.01"),
        (["--img-sizes", "8", "16"], r"--img-sizes 8x8 16x16 .* --img-sizes 8x8 8x16"),
        (["--arch", "depth_lite"], "--arch depth_lite .* --arch tiny_depth"),
        (["--epochs", "3"], "--epochs 3 .* --epochs 2"),
    ],
)
def test_resume_names_an_argument_that_changes_the_run_and_both_values(
    changed: list[str], message: str, tmp_path: Path
) -> None:
    train("depth", tmp_path)
    with pytest.raises(RunError, match=message):
        train_depth.main(["--output", str(tmp_path), "--resume", *changed])


def test_resume_refuses_another_dataset_and_another_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train("depth", tmp_path)
    with pytest.raises(RunError, match="a run of train_depth.py"):
        train_mask.main(["--output", str(tmp_path), "--resume"])
    monkeypatch.setattr(Squares, "fingerprint", "circles")
    with pytest.raises(RunError, match=r"another dataset \(fingerprint circles\).*\(squares\)"):
        train_depth.main(["--output", str(tmp_path), "--resume"])


# ---- what a run does ---------------------------------------------------------------------------


@pytest.mark.parametrize("task", SCRIPTS)
def test_training_lowers_the_loss_and_leaves_its_files(task: str, tmp_path: Path) -> None:
    train(task, tmp_path, "--epochs", 8, "--augment", "none", "--ema", 0, "--sched", "cosine")
    rows = rows_without_times(tmp_path)
    assert float(rows[7]["train_loss"]) < 0.7 * float(rows[0]["train_loss"])
    assert [row["img_size"] for row in rows] == ["8x8"] * 8 + ["8x16"] * 8
    for name in ("args.json", "state.pt", "epoch-016.png", "tensorboard"):
        assert (tmp_path / name).exists()
    about = load_model(tmp_path / "best.safetensors")[1]
    assert about["inputs"] == ["composite", "background"]
    assert about["img_size"] == [8, 16]


def test_best_is_the_lowest_score_of_the_last_stage(tmp_path: Path) -> None:
    train("depth", tmp_path)
    last_stage = [row for row in rows_without_times(tmp_path) if row["stage"] == "2"]
    best = min(last_stage, key=lambda row: float(row["val_rmse_per_image"]))
    assert load_model(tmp_path / "best.safetensors")[1]["epoch"] == int(best["epoch"])


def test_without_val_samples_best_is_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Squares, "counts", {"train": 22, "val": 0})
    caplog.set_level(logging.INFO)
    train("depth", tmp_path)
    assert load_model(tmp_path / "best.safetensors")[1]["epoch"] == 4
    assert "no val samples" in caplog.text


@pytest.mark.parametrize("task", SCRIPTS)
@pytest.mark.parametrize("count", [1, 2])
def test_a_split_of_few_samples_is_enough(
    task: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Squares, "counts", {"train": count, "val": count})
    train(task, tmp_path, "--epochs", 1)
    assert (tmp_path / "best.safetensors").exists()


@pytest.mark.parametrize("task", ["depth", "joint"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_without_valid_depth_is_refused_before_anything_is_written(
    task: str, split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample_of = Squares.__getitem__

    def without_depth(self: Squares, index: int) -> dict[str, torch.Tensor]:
        sample = sample_of(self, index)
        return sample | {"depth": sample["depth"] * (self.split != split)}

    monkeypatch.setattr(Squares, "__getitem__", without_depth)
    with pytest.raises(RunError, match=f"squares: none of the .* {split} samples has a valid"):
        train(task, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_batch_norm_of_one_value_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Squares, "counts", {"train": 1, "val": 1})
    asked = ["--arch", "depth_lite", "--img-sizes", "32", "--epochs", 1]
    with pytest.raises(RunError, match="batch norm sees a single value: .* larger --img-sizes"):
        train("depth", tmp_path / "run", *asked)
    assert not (tmp_path / "run").exists()


def test_a_run_without_a_finite_score_names_no_best_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    nan = {"rmse_per_image": float("nan"), "delta_1_per_image": 0.0}
    monkeypatch.setattr(DepthMetrics, "compute", lambda self: nan)
    with pytest.raises(RunError, match=r"no best\.safetensors: .* last\.safetensors holds"):
        train("depth", tmp_path)
    assert "the validation score of epoch 1 is nan" in caplog.text
    assert (tmp_path / "last.safetensors").exists()


def test_patience_ends_a_stage_and_goes_on_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DepthMetrics, "compute", lambda self: {"rmse_per_image": 1.0})
    train("depth", tmp_path, "--epochs", 9, "--patience", 1)
    assert [row["stage"] for row in rows_without_times(tmp_path)] == ["1", "1", "2", "2"]


def test_init_from_starts_at_the_weights_of_another_run(tmp_path: Path) -> None:
    train("depth", tmp_path / "first", "--ema", 0)
    source = tmp_path / "first" / "last.safetensors"
    train("depth", tmp_path / "second", "--init-from", source, "--lr", 0, "--ema", 0)
    first, second = (
        load_model(tmp_path / run / "last.safetensors")[0].layers[0].weight
        for run in ("first", "second")
    )
    assert torch.equal(first, second)
    with pytest.raises(RunError, match="holds tiny_depth with 6 .* expected tiny_depth with 3"):
        train("depth", tmp_path / "third", "--init-from", source, "--inputs", "composite")


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter(range(100))

    def loss_fn(prediction: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return prediction.mean() * (float("nan") if next(steps) == 7 else 1)

    monkeypatch.setattr(train_depth, "depth_loss", lambda spec, head: loss_fn)
    with pytest.raises(RunError, match="the loss is nan at step 7: .* --lr"):
        train("depth", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--img-sizes", "8", "10x8"], "10x8 .* multiples of 4, the next is 12x8"),
        (["--epochs", "1", "2", "3"], "3 numbers for 2 --img-sizes"),
        (["--arch", "tiny_mask"], "mask network: train it with train_mask.py"),
        (
            ["--augment", "flip+spin"],
            "no augmentation 'spin' .* expected none, full, honest, camera, flip",
        ),
        (["--loss", "l3"], "l3"),
        (
            ["--img-sizes", "8192", "--epochs", "1", "--batch-size", "1000000"],
            r"--img-sizes 8192x8192 with --batch-size 1000000 needs at least .* GB is free",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_named_before_anything_is_written(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=message):
        train("depth", tmp_path / "run", *arguments)
    assert not (tmp_path / "run").exists()


# ---- one dataset after another ------------------------------------------------------------------


def chain(output: Path, *arguments: object) -> None:
    train("joint", output, "--data", "a", "b", "c", "--chain", *arguments)


def first_layer(run: Path, name: str) -> torch.Tensor:
    return load_model(run / name)[0].layers[0].weight


@pytest.mark.slow
def test_each_link_of_a_chain_starts_from_the_best_weights_of_the_one_before(
    tmp_path: Path,
) -> None:
    chain(tmp_path, "--ema", 0)
    for number in (2, 3):
        started = run_files.read_arguments(tmp_path / f"set-{number}", script="train_joint.py")
        assert started["init_from"] == str(tmp_path / f"set-{number - 1}" / "best.safetensors")
        assert started["lr"] == 0.01
    chain(tmp_path / "frozen", "--ema", 0, "--lr", 0)
    weights = [first_layer(tmp_path / "frozen" / f"set-{n}", "last.safetensors") for n in (1, 3)]
    assert torch.equal(*weights)


def test_a_chain_may_go_on_with_the_rate_the_last_link_ended_with(tmp_path: Path) -> None:
    chain(tmp_path, "--chain-lr", "continue", "--sched", "step", "--step-epochs", 2)
    ends = [float(rows_without_times(tmp_path / f"set-{n}")[-1]["lr"]) for n in (1, 2, 3)]
    assert ends == pytest.approx([1e-3, 1e-4, 1e-5])


@pytest.mark.slow
def test_a_chain_cut_off_and_resumed_equals_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain(tmp_path / "whole", "--checkpoint-every", 0)
    cut = tmp_path / "cut"
    given = ["--data", "a", "b", "c", "--chain"]
    train_until_save(29, monkeypatch, "joint", cut, *given)  # in the second link
    assert not (cut / "set-3").exists()
    train_joint.main(["--output", str(cut), "--resume"])
    weights = [first_layer(run / "set-3", "last.safetensors") for run in (tmp_path / "whole", cut)]
    assert torch.equal(*weights)


def test_pictures_are_drawn_every_so_many_steps(tmp_path: Path) -> None:
    train("joint", tmp_path, "--picture-every", 4)
    drawn = sorted(path.stem for path in tmp_path.glob("step-*.png"))
    assert drawn == [f"step-{step:07d}" for step in (4, 8, 12, 16, 20)]


def test_saliency_learns_a_mask_without_masks(tmp_path: Path) -> None:
    train("depth", tmp_path / "depth", "--inputs", "composite")
    asked = ["--loss", "saliency", "--depth-checkpoint", tmp_path / "depth" / "best.safetensors"]
    train("mask", tmp_path / "mask", *asked, "--inputs", "composite", "--epochs", 4)
    losses = [float(row["train_loss"]) for row in rows_without_times(tmp_path / "mask")]
    assert losses[3] < losses[0]
    with pytest.raises(RunError, match="give its --depth-checkpoint"):
        train("mask", tmp_path / "none", "--loss", "saliency")


# ---- state file --------------------------------------------------------------------------------


@contextmanager
def disk_with_room_for(num_bytes: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_one_error_and_leaves_the_previous_state_intact(tmp_path: Path) -> None:
    path, net = tmp_path / STATE_FILE, nn.Linear(100, 100)
    save_state(path, {"network": net}, {"epoch": 1})
    with disk_with_room_for(20_000), pytest.raises(DsetkitError, match="cannot write .*room"):
        save_state(path, {"network": net}, {"epoch": 2})
    assert load_state(path, {"network": net}) == {"epoch": 1}
    assert [file.name for file in tmp_path.iterdir()] == [STATE_FILE]


@pytest.mark.parametrize("kept_share", [0.0, 0.5, 0.99])
def test_a_state_cut_short_is_a_user_error(kept_share: float, tmp_path: Path) -> None:
    path, net = tmp_path / STATE_FILE, nn.Linear(3, 3)
    save_state(path, {"network": net}, {})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept_share * len(whole))])
    with pytest.raises(RunError, match="damaged or not a training state"):
        load_state(path, {"network": net})


# ---- leaves ------------------------------------------------------------------------------------


def test_plateau_reduces_after_patience_without_a_new_best_and_survives_saving() -> None:
    plateau = Plateau(patience=1, gamma=0.1)
    factors = []
    for score in (3, 2, 2, 2, 1, 2, 2):
        copy = Plateau(patience=9, gamma=9)
        copy.load_state_dict(plateau.state_dict())
        plateau = copy
        plateau.update(score)
        factors.append(plateau.factor)
    assert factors == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01])


def test_averaged_weights_trail_the_network_and_catch_up() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    average = AveragedWeights(net, 0.9)
    average.update_parameters(net)
    nn.init.ones_(net.weight)
    trail = []
    for _ in range(200):
        average.update_parameters(net)
        trail.append(average.module.weight.item())
    assert 0.5 < trail[0] < 1  # the decay warms up
    assert trail == sorted(trail) and trail[-1] == pytest.approx(1)


def test_the_draws_of_a_step_depend_on_seed_and_step_alone() -> None:
    def draw(seed: int, step: int) -> float:
        loop.seed_step(seed, step)
        return torch.rand(()).item()

    assert draw(0, 5) == draw(0, 5)
    assert len({draw(seed, step) for seed in range(5) for step in range(5)}) == 25


def test_time_spent_waiting_for_data_is_measured() -> None:
    now = 100.0

    def batches() -> Iterator[dict[str, torch.Tensor]]:
        nonlocal now
        for _ in range(3):
            now += 3
            yield {"x": torch.zeros(2)}

    def train_step(batch: dict[str, torch.Tensor], step: int) -> torch.Tensor:
        nonlocal now
        now += 1
        return torch.tensor(float(step))

    progress = loop.Progress()
    options = {"label": "", "save": lambda: None, "save_every_s": 60, "clock": lambda: now}
    loop.train_epoch(batches(), train_step, progress, steps_per_epoch=3, **options)
    assert progress.loss == 1 and progress.samples == 6
    assert (progress.wait_seconds, progress.seconds) == (9, 12)
    assert progress.data_wait_share == 0.75


def test_a_state_is_saved_when_its_time_has_come() -> None:
    now, saved = 0.0, []

    def train_step(batch: dict[str, torch.Tensor], step: int) -> torch.Tensor:
        nonlocal now
        now += 20
        return torch.zeros(())

    progress = loop.Progress()
    options = {"label": "", "save_every_s": 60, "clock": lambda: now}
    options["save"] = lambda: saved.append(progress.batch)
    batches = [{"x": torch.zeros(2)}] * 8
    loop.train_epoch(batches, train_step, progress, steps_per_epoch=8, **options)
    assert saved == [3, 6]


def test_stages_follow_one_another() -> None:
    stages = run_dir.make_stages([[8, 8], [16, 24]], [3, 2], stride=8)
    assert [(s.size, s.first, s.end) for s in stages] == [((8, 8), 0, 3), ((16, 24), 3, 5)]


# ---- the log -----------------------------------------------------------------------------------


def test_the_log_says_what_trains_how_long_it_takes_and_how_each_epoch_went(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    train("depth", tmp_path, "--epochs", 4)
    first, *others = [record.getMessage() for record in caplog.records]
    assert first == (
        "tiny_depth with 465 parameters, float32 on cpu; epochs: 4 at 8x8, 4 at 8x16 px; "
        "samples: 22 train, 5 val"
    )
    assert len([line for line in others if "for the whole training" in line]) == 1
    epochs = [line for line in others if line.startswith("epoch ")]
    assert len(epochs) == 8
    assert all(re.search(r"  \d+\.\d s  \d+ samples/s", line) for line in epochs)


def test_the_time_of_a_training_is_estimated_from_its_first_steps(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("training.estimate.time.monotonic", lambda: now)
    caplog.set_level(logging.INFO)
    stages = run_dir.make_stages([[8, 8], [16, 16]], [75, 50], stride=8)
    estimate = TimeEstimate(stages, steps_per_epoch=4, device=torch.device("cpu"))
    for step in range(1, 20):
        now += 60 if step == 1 else 1  # the first step is slow
        now += 30 if step % 4 == 1 else 0  # a validation came before it
        estimate.after_step(step, stages[0])
    # 1 s each of 300 steps, and of 200 with four times the pixels
    (line,) = caplog.messages
    assert line.startswith("1 s a step at 8x8: about 18 min for the whole training, 18 min left")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (4.21, "4.2 s"),
        (70, "70 s"),
        (7000, "117 min"),
        (12_000, "3 h 20 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
