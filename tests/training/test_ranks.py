"""Several processes train as one does: torchrun with two, held against a process alone."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import train_depth
import train_joint
import train_mask
from dsetkit.errors import RunError
from tests.helpers import gated_training, rank_worker
from tests.helpers.gates import Gate
from tests.helpers.worlds import tiny_dataset
from training import ranks
from training.data import check_enough_samples
from training.run_files import STATE_FILE

REPOSITORY = Path(__file__).parents[2]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")
SCRIPTS = {"depth": train_depth, "mask": train_mask, "joint": train_joint}
NETWORKS = {
    "depth": ["--arch", "depth_lite"],
    "mask": ["--arch", "mask_lite"],
    "joint": ["--arch", "dual_unet", "--mask-loss", "l1"],
}
EXACT = ("stage", "epoch", "lr", "images", "pixels")
SMOOTH = (
    "loss",
    "rmse_per_image",
    "mae_per_image",
)  # others jump where a prediction is near a bound


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "d", num_samples=90)


def arguments(task: str, dataset: Path, output: Path, *more: object) -> list[str]:
    """Everything with a state or a number of its own switched on; plain gradient descent, which
    does not magnify the last bits as Adam does where a gradient is 0."""
    given = ["--data", dataset, "--output", output, *NETWORKS[task], "--img-sizes", 32]
    given += ["--limit-samples", 17]  # of each split: two steps, and an odd number to judge
    given += ["--epochs", 2, "--batch-size", 8, "--device", "cpu", "--opt", "sgd", "--lr", 0.003]
    given += ["--inputs", "composite", "background", "--augment", "full+camera", "--sync-bn"]
    given += ["--ema", 0.5, "--sched", "plateau", "--plateau-patience", 0, "--momentum", 0, *more]
    return [str(word) for word in given]


def command(task: str, given: Sequence[str]) -> list[str]:
    return [*TORCHRUN, f"train_{task}.py", *given]


def start(words: Sequence[str]) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, cwd=REPOSITORY, env=environment, **pipes)


def rows(run: Path) -> list[dict[str, str]]:
    with open(run / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def assert_same_curve(one: Path, two: Path) -> None:
    assert len(rows(one)) == len(rows(two)) == 2
    for ours, theirs in zip(rows(one), rows(two), strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            if name.endswith(EXACT):
                assert ours[name] == theirs[name], name
            elif name.endswith(SMOOTH):
                assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=2e-3), name


# ---- two processes and one ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What `rank_worker.measure` finds in two processes."""
    path = tmp_path_factory.mktemp("ranks") / "result.pt"
    ended = start([*TORCHRUN, "tests/helpers/rank_worker.py", str(path)])
    _, shown = ended.communicate()
    assert ended.returncode == 0, shown
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def one_rank() -> dict[str, object]:
    return rank_worker.measure()


@pytest.mark.slow
def test_losses_and_gradients_are_those_of_the_global_batch(
    two_ranks: dict[str, object], one_rank: dict[str, object]
) -> None:
    """Of every loss, over batch norm, with ranks that have different numbers of valid pixels."""
    assert len(one_rank) > 20
    for name in one_rank.keys() - {"scores", "drawn", "augmented"}:
        torch.testing.assert_close(
            two_ranks[name], one_rank[name], rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.slow
def test_augmentation_draws_the_numbers_of_the_global_batch(
    two_ranks: dict[str, object], one_rank: dict[str, object]
) -> None:
    torch.testing.assert_close(two_ranks["augmented"], one_rank["augmented"], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_scores_are_merged_exactly_and_count_every_sample_once(
    two_ranks: dict[str, object], one_rank: dict[str, object]
) -> None:
    assert two_ranks["scores"] == one_rank["scores"]
    assert one_rank["scores"]["mask_images"] == 13


@pytest.mark.slow
def test_networks_draw_differently_on_each_rank(
    two_ranks: dict[str, object], one_rank: dict[str, object]
) -> None:
    assert len({*two_ranks["drawn"], *one_rank["drawn"]}) == 3


@pytest.mark.slow
@pytest.mark.parametrize("task", ["mask", "joint"])
def test_two_processes_give_the_curve_of_one(task: str, dataset: Path, tmp_path: Path) -> None:
    started = start(command(task, arguments(task, dataset, tmp_path / "two")))
    SCRIPTS[task].main(arguments(task, dataset, tmp_path / "one"))
    _, shown = started.communicate()
    assert started.returncode == 0, shown
    assert_same_curve(tmp_path / "one", tmp_path / "two")
    names = [sorted(path.name for path in (tmp_path / run).iterdir()) for run in ("one", "two")]
    assert names[0] == names[1]
    assert shown.count("epoch 1 at 32x32") == 1  # one rank logs
    assert len(list((tmp_path / "two" / "tensorboard").iterdir())) == 1


# ---- a rank that dies --------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_rank_ends_the_run_in_one_line_and_one_process_resumes_it(
    dataset: Path, tmp_path: Path
) -> None:
    given = arguments("depth", dataset, tmp_path / "cut", "--checkpoint-every", 0)
    with Gate(tmp_path / "gate") as gate:
        step = 1  # of 2 in the first epoch; after step 0 the state was saved
        gated = [*TORCHRUN, gated_training.__file__, str(gate.folder), str(step), *given]
        started = start(gated)
        come = gate.wait_for(2, of=started.pid)
        assert len(come) == 2, started.communicate()[1]
        (second,) = [one.process for one in come if one.place == 1]
        os.kill(second, signal.SIGKILL)
        gate.open()
        _, shown = started.communicate()
    assert started.returncode != 0
    lines = [line for line in shown.splitlines() if line.startswith("gated_training.py: error:")]
    assert len(lines) == 1 and "--resume" in lines[0], shown
    state = torch.load(tmp_path / "cut" / STATE_FILE, weights_only=True)
    assert (state["progress"]["epoch"], state["progress"]["batch"]) == (0, step)  # it was cut

    train_depth.main(arguments("depth", dataset, tmp_path / "whole"))
    train_depth.main(["--output", str(tmp_path / "cut"), "--resume"])
    assert_same_curve(tmp_path / "whole", tmp_path / "cut")


# ---- what the flags must be, and parts ---------------------------------------------------------


def test_a_batch_must_fall_into_equal_parts(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "world", lambda: 3)
    with pytest.raises(RunError, match=r"8 .* 3 \(processes\) x 1 .* a multiple of 3"):
        train_mask.main(arguments("mask", dataset, tmp_path / "run"))
    with pytest.raises(RunError, match="50 train samples are fewer than --batch-size 60, of which"):
        check_enough_samples(50, batch_size=60, name="d")
    monkeypatch.undo()
    with pytest.raises(RunError, match=r"8 .* 1 \(processes\) x 3 \(--accumulate\)"):
        train_mask.main(arguments("mask", dataset, tmp_path / "run", "--accumulate", 3))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_a_batch_in_parts_gives_the_numbers_of_the_whole(parts: int) -> None:
    """Of a network without batch norm, and means over equally many valid pixels."""
    whole = rank_worker.weights_after_steps("mask", "bce+dice", norm=False, parts=1)
    in_parts = rank_worker.weights_after_steps("mask", "bce+dice", norm=False, parts=parts)
    torch.testing.assert_close(in_parts, whole, rtol=1e-6, atol=1e-7)


def test_accumulation_trains_and_resumes(dataset: Path, tmp_path: Path) -> None:
    train_mask.main(arguments("mask", dataset, tmp_path, "--accumulate", 2, "--epochs", 1))
    assert float(rows(tmp_path)[0]["train_loss"]) > 0
    train_mask.main(["--output", str(tmp_path), "--resume", "--accumulate", "4"])
