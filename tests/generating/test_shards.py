"""Shards: however a dataset is cut, and whoever writes them, its samples are the same."""

import os
import pickle
import shutil
import signal
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from dsetkit import SampleDataset, make_loader
from dsetkit.assets.shared import SharedAssets
from dsetkit.datasets.reader import Dataset
from dsetkit.errors import DatasetError, DsetkitError
from dsetkit.generating.plan import Plan
from dsetkit.generating.ray.actor import Pixels
from dsetkit.generating.shard_jobs import write_in_processes
from dsetkit.store.lmdb_store import StoreReader, StoreWriter
from dsetkit.store.manifest import Manifest
from dsetkit.store.shards import Shards, shard_path, shard_ranges
from dsetkit.verbs import info, stats
from dsetkit.verbs.convert import convert
from dsetkit.verbs.splits import split_by_sample
from dsetkit.verbs.verify import verify
from tests.helpers.gates import Gate, GatedPlan, plan_of
from tests.helpers.generating import generate

REPOSITORY = Path(__file__).parents[2]
SAMPLES = 60  # as conftest.options


def entries(path: Path, database: str, shards: int = 1) -> list[tuple[bytes, bytes]]:
    """All entries of a database, over the shards in turn."""
    stores = [StoreReader(shard_path(path, number)) for number in range(shards)]
    return [entry for store in stores for entry in store.items(database)]


def assert_same(one: Path, many: Path, shards: int) -> None:
    for database in ("samples", "backgrounds", "foregrounds"):
        assert entries(one, database) == entries(many, database, shards)
    assert np.array_equal(Dataset(one).cells, Dataset(many).cells)
    whole, parts = Dataset(one).manifest, Dataset(many).manifest
    assert whole.fingerprint == parts.fingerprint
    assert whole.label_quality == parts.label_quality
    assert parts.shard == {"number": 0, "shards": shards}


@pytest.fixture(scope="module")
def whole(options: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "d"
    generate(**options, output=path)
    return path


@pytest.fixture(scope="module")
def parts(options: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parts") / "d"
    generate(**options, output=path, shards=3)
    return path


# ---- where the borders lie ---------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 31, 32, 33, 1000, 424_320])
@pytest.mark.parametrize("batch", [1, 32])
def test_ranges_are_even_whole_batches_that_cover_all(samples: int, batch: int) -> None:
    batches = -(-samples // batch)
    for shards in {1, min(2, batches), min(7, batches), min(1000, batches)}:
        ranges = shard_ranges(_manifest(samples, shards, batch))
        assert [i for r in ranges for i in (r.start, r.stop)][1:-1:2] == [
            r.start for r in ranges[1:]
        ]
        assert ranges[0].start == 0 and ranges[-1].stop == samples
        assert all(r.start % batch == 0 and len(r) > 0 for r in ranges)
        sizes = [-(-len(r) // batch) for r in ranges]
        assert max(sizes) - min(sizes) <= 1


def test_more_shards_than_batches_are_an_error() -> None:
    with pytest.raises(DatasetError, match="4 shards: expected 1 to 3, one for each batch of 32"):
        shard_ranges(_manifest(70, 4, 32))


def _manifest(samples: int, shards: int, batch: int) -> Manifest:
    return Manifest(
        num_samples=samples,
        complete=True,
        size=[8, 8],
        fields=[],
        codecs={},
        depth_kind="none",
        max_depth_m=0,
        teacher={"batch_size": batch},
        recipe={},
        splits={},
        assets_fingerprint="",
        shard={"number": 0, "shards": shards},
    )


# ---- writing -----------------------------------------------------------------------------------


def test_shards_together_equal_one_file(whole: Path, parts: Path) -> None:
    assert_same(whole, parts, 3)


@pytest.mark.slow
@pytest.mark.parametrize(("shards", "workers"), [(2, 2), (5, 3)])
def test_neither_shards_nor_workers_change_a_byte(
    options: dict, whole: Path, tmp_path: Path, shards: int, workers: int
) -> None:
    generate(**(options | {"workers": workers}), output=tmp_path / "d", shards=shards)
    assert_same(whole, tmp_path / "d", shards)


def test_single_shards_written_anywhere_in_any_order_equal_one_file(
    options: dict, whole: Path, tmp_path: Path
) -> None:
    for number in (2, 0, 1):  # each as on a machine of its own
        place = tmp_path / f"machine{number}"
        generate(**options, output=place, shards=3, shard_index=number)
        assert [file.name for file in place.iterdir()] == [shard_path(place, number).name]
        (tmp_path / "d").mkdir(exist_ok=True)
        shutil.copy(shard_path(place, number), shard_path(tmp_path / "d", number))
    generate(**options, output=tmp_path / "d", shards=3)  # scores the labels of the whole
    assert_same(whole, tmp_path / "d", 3)


def test_the_last_of_single_shards_scores_the_labels(
    options: dict, whole: Path, tmp_path: Path
) -> None:
    for number in (1, 0, 2):
        generate(**options, output=tmp_path / "d", shards=3, shard_index=number)
    assert_same(whole, tmp_path / "d", 3)


@pytest.mark.parametrize("begun", ["empty", "without a manifest"])
def test_a_shard_that_another_job_has_just_begun_does_no_harm(
    options: dict, whole: Path, tmp_path: Path, begun: str
) -> None:
    generate(**options, output=tmp_path / "d", shards=3, shard_index=0)
    generate(**options, output=tmp_path / "d", shards=3, shard_index=2)
    if begun == "empty":
        shard_path(tmp_path / "d", 1).touch()
    else:
        StoreWriter(shard_path(tmp_path / "d", 1)).close()
    generate(**options, output=tmp_path / "d", shards=3, shard_index=2)
    shard_path(tmp_path / "d", 1).unlink()
    generate(**options, output=tmp_path / "d", shards=3, shard_index=1)
    assert_same(whole, tmp_path / "d", 3)


def test_recipes_in_shards_draw_like_one_file(options: dict, tmp_path: Path) -> None:
    options = options | {"layout": "recipe"}
    generate(**options, output=tmp_path / "one")
    generate(**options, output=tmp_path / "many", shards=4)
    assert_same(tmp_path / "one", tmp_path / "many", 4)
    assert verify(tmp_path / "many") == []


def _write_in_processes(plan: Plan, pixels: Pixels) -> None:
    os.setsid()  # so that its workers can be killed with it
    with SharedAssets(pixels) as asset:
        write_in_processes(plan, asset, {}, workers=2, progress=lambda done, total: None)


@pytest.mark.slow
def test_killed_shards_go_on_to_the_same_bytes(options: dict, whole: Path, tmp_path: Path) -> None:
    options = options | {"output": tmp_path / "d", "shards": 3}
    plan, pixels = plan_of(**options)
    with Gate(tmp_path / "gate") as gate:
        gated = GatedPlan.of(plan, gate, after=2)  # labels come a batch later
        run = get_context("spawn").Process(target=_write_in_processes, args=(gated, pixels))
        run.start()
        assert len(gate.wait_for(2, of=run.pid)) == 2  # both workers
        os.killpg(run.pid, signal.SIGKILL)
        run.join()
    stores = [StoreReader(shard_path(tmp_path / "d", number)) for number in range(3)]
    assert [store.count("samples") for store in stores] == [16, 8, 8]
    assert [len(indices) for indices in shard_ranges(plan.manifest)] == [16, 24, 20]
    generate(**(options | {"workers": 2}))
    assert_same(whole, tmp_path / "d", 3)


def test_another_number_of_shards_does_not_go_on(options: dict, parts: Path) -> None:
    for shards, said in ((1, "to a dataset of more than 1 shards"), (4, "shard shards: 3, not 4")):
        with pytest.raises(DatasetError, match=said):
            generate(**options, output=parts, shards=shards)


def test_a_shard_that_is_not_there_to_be_written_is_an_error(options: dict, tmp_path: Path) -> None:
    with pytest.raises(DsetkitError, match="--shard-index 3: expected 0 to 2, one of --shards 3"):
        generate(**options, output=tmp_path / "d", shards=3, shard_index=3)
    with pytest.raises(DatasetError, match="9 shards: expected 1 to 8"):
        generate(**options, output=tmp_path / "d", shards=9)
    assert not (tmp_path / "d").exists()


# ---- reading -----------------------------------------------------------------------------------


def test_every_reader_sees_one_dataset(whole: Path, parts: Path) -> None:
    assert verify(parts) == []
    told = [stats.measure(path) | {"dataset": ""} for path in (whole, parts)]
    assert told[0] == told[1]
    about = info.describe(parts)
    assert about["samples"] == SAMPLES and about["complete"] and about["shards"] == 3
    assert about["splits"] == info.describe(whole)["splits"]


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_loader_gives_the_batches_of_one_file(whole: Path, parts: Path, workers: int) -> None:
    loaders = [
        make_loader(SampleDataset(path, size=16), batch_size=7, seed=3, workers=workers)
        for path in (whole, parts)
    ]
    for one, other in zip(*loaders, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_dataset_of_shards_survives_pickling(parts: Path) -> None:
    dataset = pickle.loads(pickle.dumps(Dataset(parts)))
    assert dataset.record(SAMPLES - 1) == Dataset(parts).record(SAMPLES - 1)


def test_a_shard_is_opened_when_a_sample_of_it_is_read(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(parts, tmp_path / "d")
    opened = []
    plain = Shards._check
    monkeypatch.setattr(
        Shards, "_check", lambda self, n, reader: opened.append(n) or plain(self, n, reader)
    )
    dataset = Dataset(tmp_path / "d")
    ranges = dataset.shards.ranges
    assert len(dataset.indices("train")) and opened == [0]
    dataset.record(ranges[2].start)
    assert opened == [0, 2]


def test_splits_of_shards_can_be_changed(parts: Path, tmp_path: Path) -> None:
    shutil.copytree(parts, tmp_path / "d")
    split_by_sample(tmp_path / "d", shares=(0.5, 0.25, 0.25), seed=1)
    assert len(Dataset(tmp_path / "d").indices("train")) == SAMPLES // 2
    assert verify(tmp_path / "d") == []


def test_shards_can_be_converted_to_one_file(parts: Path, whole: Path, tmp_path: Path) -> None:
    for path in (whole, parts):
        convert(path, tmp_path / path.parent.name, layout="recipe")
    of_whole, of_parts = (tmp_path / path.parent.name for path in (whole, parts))
    assert entries(of_whole, "samples") == entries(of_parts, "samples")


# ---- what is wrong -----------------------------------------------------------------------------


@pytest.fixture
def copy(parts: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(parts, tmp_path / "copy"))


def test_a_missing_shard_is_named(copy: Path) -> None:
    shard_path(copy, 1).unlink()
    with pytest.raises(DatasetError, match="it has 2 of 3 shards and lacks shard-00001.lmdb;"):
        Dataset(copy)
    about = info.describe(copy)
    assert not about["complete"] and about["samples"] < SAMPLES


def test_a_shard_too_much_is_named(copy: Path) -> None:
    shutil.copy(shard_path(copy, 1), shard_path(copy, 7))
    with pytest.raises(DatasetError, match="has 3 shards, but it also contains shard-00007.lmdb"):
        Dataset(copy)


def test_a_shard_under_the_name_of_another_is_named(copy: Path) -> None:
    shutil.copy(shard_path(copy, 2), shard_path(copy, 1))
    with pytest.raises(DatasetError, match="shard-00001.lmdb is shard 2 of 3, expected 1 of 3"):
        Dataset(copy).record(SAMPLES // 2)


def test_a_shard_of_another_dataset_is_named(options: dict, copy: Path, tmp_path: Path) -> None:
    generate(**(options | {"seed": 5}), output=tmp_path / "other", shards=3)
    shutil.copy(shard_path(tmp_path / "other", 1), shard_path(copy, 1))
    with pytest.raises(DatasetError, match="shard-00001.lmdb belongs to another dataset"):
        Dataset(copy).record(SAMPLES // 2)


def test_verify_names_what_is_damaged_in_any_shard(copy: Path) -> None:
    file = shard_path(copy, 2)
    content = bytearray(file.read_bytes())
    index = Dataset(copy).shards.ranges[2].start
    packed = dict(entries(copy, "samples", 3))[index.to_bytes(8, "big")]
    content[content.index(packed[len(packed) // 2 :]) + 5] ^= 1
    file.write_bytes(content)
    assert [(p.where, p.number) for p in verify(copy)] == [("sample", index)]
