"""The training scripts and their leaves, on drawn squares and a network of two layers."""

import csv
import errno
import logging
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import train_depth
import train_mask
from models import MODELS, load_model
from training import augment, cli, loop, run_dir
from training.checkpoint import STATE_FILE, load_state, save_state
from training.ema import average_weights
from training.errors import RunError
from training.schedule import Plateau, make_optimizer, make_schedule

SCRIPTS = {"depth": train_depth, "mask": train_mask}
TIME_COLUMNS = ("samples_per_s", "data_wait_share")


# ---- a tiny world ------------------------------------------------------------------------------


class Squares(torch.utils.data.Dataset):
    """Stands in for SampleDataset: bright, near squares on dark, far ground."""

    counts = {"train": 22, "val": 5}
    fingerprint = "squares"

    def __init__(self, path: str, split: str, fields: tuple[str, ...], size=(32, 32)) -> None:
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
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 8, 3, padding=1, stride=2 if task == "depth" else 1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout2d(0.1),
            nn.Conv2d(8, 1, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class TinyDepth(TinyNet):
    def __init__(self, *, in_channels: int) -> None:
        super().__init__(in_channels=in_channels, task="depth")


class TinyMask(TinyNet):
    def __init__(self, *, in_channels: int) -> None:
        super().__init__(in_channels=in_channels, task="mask")


@pytest.fixture(autouse=True, scope="module")
def tiny_world() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "tiny_depth", TinyDepth)
        patch.setitem(MODELS, "tiny_mask", TinyMask)
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
    states = [torch.load(run / STATE_FILE)["parts"] for run in (whole, tmp_path)]
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

    monkeypatch.setattr(train_depth, "depth_loss", lambda spec: loss_fn)
    with pytest.raises(RunError, match="the loss is nan at step 7: .* --lr"):
        train("depth", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--img-sizes", "8", "10x8"], "10x8 .* multiples of 4, the next is 12x8"),
        (["--epochs", "1", "2", "3"], "3 numbers for 2 --img-sizes"),
        (["--arch", "tiny_mask"], "mask network: train it with train_mask.py"),
        (["--augment", "flip+spin"], "no augmentation 'spin' .* expected none, full, flip"),
        (["--loss", "l3"], "l3"),
    ],
)
def test_arguments_that_do_not_fit_are_named_before_anything_is_written(
    arguments: list[str], told: str, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=told):
        train("depth", tmp_path / "run", *arguments)
    assert not (tmp_path / "run").exists()


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


def test_cosine_rises_over_the_warm_up_then_falls_to_its_floor() -> None:
    share = make_schedule("cosine", total_steps=110, warmup_steps=10, gamma_steps=1, gamma=1)
    values = [share(step) for step in range(110)]
    assert values[:11] == sorted(values[:11]) and values[10] == 1
    assert values[10:] == sorted(values[10:], reverse=True)
    assert values[60] == pytest.approx(0.505) and values[-1] < 0.02


def test_step_schedule_reduces_every_gamma_steps() -> None:
    share = make_schedule("step", total_steps=9, warmup_steps=0, gamma_steps=3, gamma=0.5)
    assert [share(step) for step in (0, 2, 3, 6)] == [1, 1, 0.5, 0.25]


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


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_every_optimizer_learns_and_spares_norms_from_decay(name: str) -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    optimizer = make_optimizer(net, name, lr=0.1, weight_decay=0.5, momentum=0.9)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0]
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 3]
    before = net[0].weight.clone()
    net(torch.rand(2, 1, 4, 4)).pow(3).sum().backward()
    optimizer.step()
    assert not torch.equal(net[0].weight, before)


def test_averaged_weights_trail_the_network_and_catch_up() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    average = average_weights(net, 0.9)
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
    def slow_batches() -> Iterator[dict[str, torch.Tensor]]:
        for _ in range(3):
            time.sleep(0.02)
            yield {"x": torch.zeros(2)}

    def train_step(batch: dict[str, torch.Tensor], step: int) -> torch.Tensor:
        return torch.tensor(float(step))

    progress = loop.Progress()
    options = {"label": "", "save": lambda: None, "save_every_s": 60}
    loop.train_epoch(slow_batches(), train_step, progress, steps_per_epoch=3, **options)
    assert progress.loss == 1 and progress.samples == 6
    assert 0.06 <= progress.wait_seconds <= progress.seconds
    assert progress.data_wait_share > 0.8


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


# ---- augmentation ------------------------------------------------------------------------------


def aligned_batch(n: int = 8, height: int = 24, width: int = 32) -> dict[str, torch.Tensor]:
    """All fields show the same ramp, so that a field that moved alone is found out."""
    ramp = torch.linspace(0.2, 0.6, width).expand(height, width)
    ramp = ramp + torch.linspace(0, 0.3, height).view(-1, 1)
    ramp = ramp.expand(n, 1, height, width).contiguous()
    picture = ramp.expand(n, 3, height, width).contiguous()
    return {"composite": picture, "background": picture, "mask": ramp, "depth": ramp.clone()}


def test_flip_moves_all_fields_alike_and_some_samples_only() -> None:
    torch.manual_seed(0)
    before = aligned_batch(n=32)
    after = augment.horizontal_flip(before)
    assert torch.equal(after["depth"], after["mask"])
    assert torch.equal(after["composite"], after["mask"].expand(-1, 3, -1, -1))
    flipped = (after["mask"] != before["mask"]).flatten(1).any(dim=1)
    assert 4 < flipped.sum() < 28
    assert torch.equal(after["mask"][flipped], before["mask"][flipped].flip(-1))


def test_enlarging_keeps_fields_aligned_and_brings_depth_nearer_by_the_scale() -> None:
    torch.manual_seed(0)
    before = aligned_batch()
    after = augment.scale_and_crop(before, max_scale=2.0)
    assert torch.allclose(after["composite"], after["mask"].expand(-1, 3, -1, -1), atol=1e-6)
    assert after["mask"].min() >= before["mask"].min()  # nothing from beyond the border
    # A ramp enlarged by s is s times flatter.
    slope = after["mask"].diff(dim=-1).median(dim=-1).values.mean(dim=(1, 2))  # (N,)
    scale = before["mask"].diff(dim=-1)[0, 0, 0, 0] / slope
    assert scale.min() >= 0.99 and scale.max() <= 2.01 and scale.max() - scale.min() > 0.3
    restored = after["depth"] * scale.view(-1, 1, 1, 1)
    assert (restored - after["mask"]).abs().max() < 0.02  # nearest against bilinear: half a pixel


def test_enlarging_does_not_mix_invalid_depth_into_valid() -> None:
    torch.manual_seed(0)
    batch = aligned_batch()
    batch["depth"] = torch.where(torch.rand_like(batch["depth"]) < 0.3, 0.0, 0.5)
    depth = augment.scale_and_crop(batch, max_scale=1.5)["depth"]
    assert depth[depth > 0].min() >= 0.5 / 1.5 - 1e-6
    assert 0.2 < (depth == 0).float().mean() < 0.4


def test_colour_jitter_maps_equal_colours_equally_and_leaves_targets_alone() -> None:
    torch.manual_seed(0)
    before = aligned_batch()
    before["composite"] = torch.rand_like(before["composite"])
    before["background"] = before["composite"].clone()
    before["background"][..., :4, :4] = 0
    after = augment.colour_jitter(before)
    same = (before["composite"] == before["background"]).all(dim=1)  # (N, H, W)
    composite, background = (after[name].movedim(1, -1) for name in ("composite", "background"))
    assert same.any() and torch.equal(composite[same], background[same])
    assert after["composite"].min() >= 0 and after["composite"].max() <= 1
    change = (after["composite"] - before["composite"]).mean(dim=(1, 2, 3))
    assert change.std() > 0.01  # each sample its own
    assert torch.equal(after["depth"], before["depth"])


def test_cut_depth_shows_depth_in_a_rectangle_and_needs_depth() -> None:
    torch.manual_seed(0)
    batch = aligned_batch(n=32)
    batch["composite"] = torch.zeros_like(batch["composite"])
    shown = augment.cut_depth(batch)["composite"]
    inside = shown > 0
    assert torch.equal(shown[inside], batch["depth"].expand_as(shown)[inside])
    assert 4 < inside.flatten(1).any(dim=1).sum() < 28
    with pytest.raises(RunError, match="only for depth training"):
        augment.cut_depth({"composite": batch["composite"]})


def test_enlarging_leaves_relative_depth_as_it_is() -> None:
    batch = aligned_batch()
    batch["depth"] = torch.full_like(batch["depth"], 0.5)
    assert torch.equal(
        augment.make_augment("scale", depth_is_metric=False)(batch)["depth"], batch["depth"]
    )
    assert augment.make_augment("scale")(batch)["depth"].max() < 0.5


def test_augmentation_by_name_leaves_none_unchanged() -> None:
    batch = aligned_batch()
    assert augment.make_augment("none")(batch) is batch
