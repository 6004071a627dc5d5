"""The training scripts and their leaves, on drawn squares and a network of two layers."""

import csv
import errno
import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import train_depth
import train_joint
import train_mask
from models import MODELS, load_model
from training import cli, loop, run_dir
from training.checkpoint import STATE_FILE, load_state, save_state
from training.ema import AveragedWeights
from training.errors import RunError
from training.schedule import Plateau

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
        for script in SCRIPTS.values():
            patch.setattr(script, "SampleDataset", Squares)
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
    given += ["--inputs", "composite", "background", "--augment", "full", "--ema", 0.9]
    given += ["--sched", "plateau", "--plateau-patience", 0, "--clip-grad", 1, *arguments]
    SCRIPTS[task].main([str(word) for word in given])


class CutError(BaseException):
    """The power fails."""


def train_until_save(
    number: int, monkeypatch: pytest.MonkeyPatch, task: str, output: Path, *arguments: object
) -> None:
    """Trains, saving after every step, and cuts it off one step after save `number`."""
    saves = 0

    def save_then_fail(*args: object) -> None:
        nonlocal saves
        saves += 1
        if saves > number:
            raise CutError
        save_state(*args)

    with monkeypatch.context() as patch, pytest.raises(CutError):
        patch.setattr(SCRIPTS[task], "save_state", save_then_fail)
        train(task, output, "--checkpoint-every", 0, *arguments)


def rows_without_times(run: Path) -> list[dict[str, str]]:
    with open(run / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in TIME_COLUMNS} for row in rows]


def assert_same_tensors(one: object, other: object) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same_tensors(one[key], other[key])
    else:
        assert one == other


# ---- resume ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut_after_save", [3, 5, 13, 17])  # 5 saves per epoch, 10 per stage
def test_a_run_cut_off_and_resumed_equals_an_uninterrupted_one_bit_for_bit(
    whole_run: tuple[str, Path],
    cut_after_save: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task, whole = whole_run
    train_until_save(cut_after_save, monkeypatch, task, tmp_path)
    SCRIPTS[task].main(["--output", str(tmp_path), "--resume"])

    assert rows_without_times(tmp_path) == rows_without_times(whole)
    for name in ("best.safetensors", "last.safetensors"):
        (net, about), (cut_net, cut_about) = (load_model(run / name) for run in (whole, tmp_path))
        assert_same_tensors(net.state_dict(), cut_net.state_dict())
        assert about == cut_about
    states = [torch.load(run / STATE_FILE, weights_only=True)["parts"] for run in (whole, tmp_path)]
    assert_same_tensors(*states)


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
    ("changed", "told"),
    [
        (["--lr", "0.5"], r"--lr 0\.5 .* started with --lr 0\.01"),
        (["--img-sizes", "8", "16"], r"--img-sizes 8x8 16x16 .* --img-sizes 8x8 8x16"),
        (["--arch", "depth_lite"], "--arch depth_lite .* --arch tiny_depth"),
        (["--epochs", "3"], "--epochs 3 .* --epochs 2"),
    ],
)
def test_resume_names_an_argument_that_changes_the_run_and_both_values(
    changed: list[str], told: str, tmp_path: Path
) -> None:
    train("depth", tmp_path)
    with pytest.raises(RunError, match=told):
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


def test_patience_ends_a_stage_and_goes_on_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_depth.DepthMetrics, "compute", lambda self: {"rmse_per_image": 1.0})
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
    ("arguments", "told"),
    [
        (["--img-sizes", "8", "10x8"], "10x8 .* multiples of 4, the next is 12x8"),
        (["--epochs", "1", "2", "3"], "3 numbers for 2 --img-sizes"),
        (["--arch", "tiny_mask"], "mask network: train it with train_mask.py"),
        (["--augment", "flip+spin"], "no augmentation 'spin' .* expected none, full, honest, flip"),
        (["--loss", "l3"], "l3"),
    ],
)
def test_arguments_that_do_not_fit_are_named_before_anything_is_written(
    arguments: list[str], told: str, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=told):
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
        started = run_dir.read_arguments(tmp_path / f"set-{number}", script="train_joint.py")
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
    train_until_save(27, monkeypatch, "joint", cut, *given)  # in the second link
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
    with disk_with_room_for(20_000), pytest.raises(RunError, match="could not be written: .*room"):
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


@pytest.mark.parametrize(
    ("raised", "status", "told"),
    [
        (RunError("no such thing"), 2, "error: no such thing"),
        (KeyboardInterrupt(), 130, "continue with --resume"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "error: the disk is full"),
        (ZeroDivisionError("ours"), 1, "Traceback"),
    ],
)
def test_exit_status_tells_user_errors_from_faults(
    raised: BaseException, status: int, told: str, capsys: pytest.CaptureFixture
) -> None:
    def main() -> None:
        raise raised

    assert cli.run(main, RunError, on_interrupt="continue with --resume") == status
    shown = capsys.readouterr().err
    assert told in shown
    assert (shown.count("\n") == 1) == (status != 1)
