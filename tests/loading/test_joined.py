"""Several datasets, patterns and addresses are read as one dataset."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import train_mask
from dsetkit import SampleDataset, make_loader
from dsetkit.errors import DatasetError
from dsetkit.loading.sources import open_source
from models import load_model
from tests.helpers.worlds import tiny_dataset


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("worlds")
    return [
        tiny_dataset(root / "night-1", num_samples=40, seed=1),
        tiny_dataset(root / "night-2", num_samples=30, seed=2, layout="recipe"),
        tiny_dataset(root / "day", num_samples=20, seed=3, size=48),
    ]


@pytest.mark.parametrize("split", [None, "train", "val", "test"])
@pytest.mark.parametrize("cached", [False, True])
def test_joined_samples_are_those_of_the_parts_in_turn(
    worlds: list[Path], tmp_path: Path, split: str | None, cached: bool
) -> None:
    options = {"split": split, "size": 16, "cache": tmp_path if cached else None}
    joined = SampleDataset(worlds, **options)
    parts = [SampleDataset(world, **options) for world in worlds]
    assert len(joined) == sum(map(len, parts))
    assert np.array_equal(joined.cells, np.concatenate([part.cells for part in parts]))
    expected = [part[i] for part in parts for i in range(len(part))]
    mixed = np.random.default_rng(0).permutation(len(joined))
    batch = joined.read_batch(mixed)
    for place, position in enumerate(mixed):
        for name, value in expected[position].items():
            assert np.array_equal(batch[name][place], value)


def test_a_pattern_names_its_matches_in_order(worlds: list[Path]) -> None:
    root = worlds[0].parent
    joined = open_source(f"{root}/night-*")
    assert [part.path for part in joined.parts] == worlds[:2]
    assert len(open_source([f"{root}/d*", worlds[0]])) == 60
    with pytest.raises(DatasetError, match="no dataset matches .*/evening-"):
        open_source(f"{root}/evening-*")


def test_one_dataset_is_read_as_itself(worlds: list[Path]) -> None:
    one = SampleDataset(worlds[:1], size=16)
    assert one.manifest == SampleDataset(worlds[0], size=16).manifest


def test_workers_read_joined_datasets(worlds: list[Path]) -> None:
    data = SampleDataset(worlds, size=16)
    assert pickle.loads(pickle.dumps(data))[70]["mask"].equal(data[70]["mask"])
    batches = [list(make_loader(data, batch_size=9, workers=w)) for w in (0, 2)]
    for one, other in zip(*batches, strict=True):
        assert all(one[name].equal(other[name]) for name in one)


def test_the_fingerprint_depends_on_what_was_joined(worlds: list[Path]) -> None:
    prints = {
        open_source(some).manifest.fingerprint
        for some in (worlds, worlds[::-1], worlds[:2], worlds[0])
    }
    assert len(prints) == 4


def test_depths_of_other_units_are_refused(worlds: list[Path], tmp_path: Path) -> None:
    other = tiny_dataset(tmp_path / "relative", num_samples=20, depth_kind="relative")
    complaint = "relative has depth_kind relative, .*night-1 has metric"
    with pytest.raises(DatasetError, match=complaint):
        open_source([worlds[0], other])


def test_a_part_that_is_no_dataset_is_named(worlds: list[Path], tmp_path: Path) -> None:
    shutil.copytree(worlds[0], tmp_path / "cut")
    (tmp_path / "cut" / "shard-00000.lmdb").unlink()
    with pytest.raises(DatasetError, match="cut is not a dataset"):
        open_source([worlds[0], tmp_path / "cut"])


def test_a_training_reads_several_datasets_as_one(worlds: list[Path], tmp_path: Path) -> None:
    asked = ["--data", *map(str, worlds), "--output", str(tmp_path / "run"), "--arch", "mask_lite"]
    asked += ["--inputs", "composite", "--img-sizes", "32", "--epochs", "1", "--batch-size", "8"]
    train_mask.main(asked)
    samples = len(SampleDataset(worlds, split="train"))
    told = json.loads((tmp_path / "run" / "args.json").read_text())
    assert told["arguments"]["data"] == list(map(str, worlds))
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert state["progress"]["rows"][0]["epoch"] == 1
    assert load_model(tmp_path / "run" / "best.safetensors")[1]["step"] == samples // 8
    train_mask.main(["--output", str(tmp_path / "run"), "--resume"])
