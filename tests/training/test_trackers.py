"""Trainings report to the trackers that --log-to names: every epoch's numbers and pictures."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dsetkit.errors import RunError
from tests.helpers.trainings import train_small_mask
from tests.helpers.worlds import tiny_dataset
from training.run_files import read_log
from training.trackers import TRACKERS, find_tracker


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "d")


def train(dataset: Path, run: Path, *words: str) -> None:
    train_small_mask(dataset, run, "--epochs", "2", *words)


class Notebook:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.epochs: dict[int, dict[str, float]] = {}
        self.pictures: list[tuple[str, int, tuple]] = []
        self.is_closed = False

    def scalars(self, values: Mapping[str, float], *, epoch: int) -> None:
        self.epochs[epoch] = dict(values)

    def picture(self, name: str, grid: np.ndarray, *, step: int) -> None:
        self.pictures.append((name, step, grid.shape))

    def close(self) -> None:
        self.is_closed = True


def test_a_function_of_ones_own_gets_what_the_log_gets(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, notebook = ModuleType("own_tracker"), Notebook()
    opened = []

    def open_notebook(*arguments: object) -> Notebook:
        opened.append(arguments)
        return notebook

    own.open_notebook = open_notebook  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_tracker", own)
    train(dataset, tmp_path / "run", "--log-to", "own_tracker:open_notebook", "none")
    ((run_dir, arguments, first_epoch),) = opened
    assert (run_dir, first_epoch) == (tmp_path / "run", 1) and arguments["batch_size"] == 8
    for row in read_log(tmp_path / "run"):
        told = notebook.epochs[int(row["epoch"])]
        assert told["train_loss"] == pytest.approx(float(row["train_loss"]))
        assert told["val_iou_per_image"] == pytest.approx(float(row["val_iou_per_image"]))
    assert [step for _, step, _ in notebook.pictures] == [1, 2] and notebook.is_closed
    assert not (tmp_path / "run" / "tensorboard").exists()
    assert (tmp_path / "run" / "epoch-002.png").is_file()


def test_mlflow_keeps_numbers_arguments_and_pictures(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "store").as_uri())
    train(dataset, tmp_path / "run", "--log-to", "mlflow")
    client = mlflow.MlflowClient((tmp_path / "store").as_uri())
    experiment = client.get_experiment_by_name("dsetkit")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["batch_size"] == "8" and run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "train_loss")
    rows = read_log(tmp_path / "run")
    assert [(one.step, one.value) for one in history] == [
        (int(row["epoch"]), pytest.approx(float(row["train_loss"]))) for row in rows
    ]
    assert len(client.list_artifacts(run.info.run_id)) == 2


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nosuch", "--log-to nosuch: expected tensorboard, wandb, mlflow, none, or MODULE"),
        ("nosuch:function", "--log-to nosuch:function cannot be imported"),
        ("json:nosuch", "--log-to json:nosuch cannot be imported"),
        (":x", "--log-to :x cannot be imported"),
    ],
)
def test_an_unknown_tracker_is_told_before_anything_is_made(
    name: str, complaint: str, dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=complaint):
        train(dataset, tmp_path / "run", "--log-to", name)
    assert not (tmp_path / "run").exists()


def test_mlflow_without_a_usable_address_says_how_to_give_one(dataset, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("nosuch://place")
    try:
        with pytest.raises(RunError, match="set MLFLOW_TRACKING_URI to .*; it said: ") as error:
            train(dataset, tmp_path / "run", "--log-to", "mlflow")
    finally:
        mlflow.set_tracking_uri(before)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_that_is_not_installed_says_what_to_install(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RunError, match=f"pip install {name}"):
        find_tracker(name)(tmp_path, {}, 1)


def test_a_tracker_that_cannot_be_opened_is_one_line(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ValueError("no\nroute")

    monkeypatch.setitem(TRACKERS, "mlflow", fails)
    with pytest.raises(RunError, match="--log-to mlflow cannot be opened: no route"):
        train(dataset, tmp_path / "run", "--log-to", "mlflow")
