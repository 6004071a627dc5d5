"""relabel: the same bytes but for the depth; an interrupted run can be continued."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsetkit.cli import main
from dsetkit.console import run
from dsetkit.datasets.reader import Dataset
from dsetkit.errors import DsetkitError
from dsetkit.labels import teacher_choice
from dsetkit.store.lmdb_store import StoreReader
from dsetkit.store.shards import shard_path
from dsetkit.verbs import show, teacher_check
from dsetkit.verbs.stats import measure
from dsetkit.verbs.verify import verify
from tests.helpers.cutting_off import CutOffError, stop_at
from tests.helpers.generating import relabel
from tests.helpers.worlds import SmoothDepth, replace_record, tiny_dataset, tiny_rgbd


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("world") / "d", num_samples=40)


@pytest.fixture(autouse=True)
def smooth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `--teacher metric` and `--teacher relative` load SmoothDepth."""

    def load_teacher(spec: str, **_: object) -> SmoothDepth | None:
        return None if spec == "none" else SmoothDepth(spec)

    monkeypatch.setattr(teacher_choice, "load_teacher", load_teacher)


def contents(dataset: Path, database: str) -> list[tuple[bytes, bytes]]:
    return list(StoreReader(shard_path(dataset)).items(database))


def test_all_but_the_depth_is_the_same_to_the_byte(world: Path, tmp_path: Path) -> None:
    manifest = relabel(world, tmp_path / "new", teacher="relative")
    old, new = Dataset(world), Dataset(tmp_path / "new")
    assert (manifest.depth_kind, manifest.max_depth_m) == ("relative", 0.0)
    for database in ("backgrounds", "foregrounds"):
        assert contents(world, database) == contents(tmp_path / "new", database)
    np.testing.assert_array_equal(old.cells, new.cells)
    for before, after in zip(old.records(range(40)), new.records(range(40)), strict=True):
        assert before.fields["depth"] != after.fields["depth"]
        assert replace(after, fields=after.fields | {"depth": before.fields["depth"]}) == before
    assert verify(tmp_path / "new") == []


def test_the_same_teacher_gives_the_same_samples(world: Path, tmp_path: Path) -> None:
    """The teacher sees composites without the losses of JPEG."""
    relabel(world, tmp_path / "new", teacher="metric", batch_size=7)
    assert contents(world, "samples") == contents(tmp_path / "new", "samples")


def test_a_dataset_without_depth_gets_one(tmp_path: Path) -> None:
    tiny_dataset(tmp_path / "d", num_samples=20, depth_kind="none")
    relabel(tmp_path / "d", tmp_path / "new", teacher="metric")
    dataset = Dataset(tmp_path / "new")
    assert dataset.manifest.fields == ["background", "composite", "mask", "depth"]
    assert dataset.depth(dataset.record(3)).max() > 0


def test_imported_pictures_are_shown_as_they_are_stored(tmp_path: Path) -> None:
    tiny_rgbd(tmp_path / "rgbd")
    relabel(tmp_path / "rgbd", tmp_path / "new", teacher="metric")
    old, new = Dataset(tmp_path / "rgbd"), Dataset(tmp_path / "new")
    record = new.record(2)
    assert record.fields["composite"] == old.record(2).fields["composite"]
    assert new.image(record, "depth").shape == (15, 20)


def test_a_composite_that_cannot_be_reproduced_is_shown_as_stored(
    world: Path, tmp_path: Path
) -> None:
    tiny_dataset(tmp_path / "d", num_samples=20)
    dataset = Dataset(tmp_path / "d")
    first, second = dataset.records([0, 1])
    changed = replace(first, fields=first.fields | {"composite": second.fields["composite"]})
    replace_record(tmp_path / "d", 0, changed)
    relabel(tmp_path / "d", tmp_path / "new", teacher="metric")
    one, other = Dataset(tmp_path / "new").records([0, 1])
    depths = [Dataset(tmp_path / "new").image(one, "depth").astype(int) for one in (one, other)]
    assert np.abs(depths[0] - depths[1]).max() < 60  # [mm]: JPEG noise


@pytest.mark.parametrize("kept", [1, 3])
def test_a_continued_run_gives_the_same_bytes(world: Path, tmp_path: Path, kept: int) -> None:
    options = {"teacher": "relative", "batch_size": 8}
    relabel(world, tmp_path / "whole", **options)

    with pytest.raises(CutOffError):
        relabel(world, tmp_path / "cut", **options, progress=stop_at(kept * 8))
    done = []
    relabel(world, tmp_path / "cut", **options, progress=lambda n, total: done.append(n))
    assert done[0] == (kept + 1) * 8
    for database in ("manifest", "samples"):
        assert contents(tmp_path / "whole", database) == contents(tmp_path / "cut", database)


def test_what_it_came_from_is_recorded_and_not_mixed(world: Path, tmp_path: Path) -> None:
    manifest = relabel(world, tmp_path / "new", teacher="metric")
    assert manifest.teacher["relabelled"] == Dataset(world).manifest.fingerprint
    other = tiny_dataset(tmp_path / "other", num_samples=40, seed=1)
    with pytest.raises(DsetkitError, match="with other settings"):
        relabel(other, tmp_path / "new", teacher="metric")


def test_the_scores_of_the_labels_are_those_of_the_new_depth(world: Path, tmp_path: Path) -> None:
    metric = relabel(world, tmp_path / "metric", teacher="metric")
    relative = relabel(tmp_path / "metric", tmp_path / "relative", teacher="relative")
    assert metric.label_quality["samples"] == relative.label_quality["samples"] == 40
    for name, manifest in (("metric", metric), ("relative", relative)):
        judged = measure(tmp_path / name)["labels"]
        assert manifest.label_quality == judged | {"samples": 40}
    assert metric.label_quality != relative.label_quality


def test_without_masks_labels_have_no_scores(tmp_path: Path) -> None:
    tiny_rgbd(tmp_path / "rgbd")
    assert relabel(tmp_path / "rgbd", tmp_path / "new", teacher="metric").label_quality == {}


@pytest.mark.parametrize("teacher", ["metric", "relative"])
def test_a_check_shows_samples_of_all_the_dataset_and_writes_nothing_else(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: str, capsys
) -> None:
    drawn = []

    def contact_sheet(dataset: Dataset, indices: list[int]) -> Image.Image:
        drawn.extend(record.index for record in dataset.records(indices))
        assert dataset.manifest.depth_kind == teacher
        return show.contact_sheet(dataset, indices)

    monkeypatch.setattr(teacher_check, "contact_sheet", contact_sheet)
    before = shard_path(world).read_bytes()
    command = ["relabel", str(world), "--teacher", teacher, "--output", str(tmp_path / "new")]
    main([*command, "--teacher-check", str(tmp_path / "check.png")])
    assert "16 samples" in capsys.readouterr().out
    chosen = np.linspace(0, 39, 16).round().astype(int).tolist()
    assert drawn == [record.index for record in Dataset(world).records(chosen)]
    assert Image.open(tmp_path / "check.png").height > 200 * 16
    assert [path.name for path in tmp_path.iterdir()] == ["check.png"]
    assert [path.name for path in world.iterdir()] == [shard_path(world).name]
    assert shard_path(world).read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"teacher": "none"}, "--teacher none gives no depth"),
        ({"batch_size": 0}, "--batch-size 0: expected a whole number from 1"),
        ({"output": None}, "is the dataset itself: choose another directory"),
    ],
)
def test_bad_settings_are_one_clear_line(
    world: Path, tmp_path: Path, changes: dict, complaint: str
) -> None:
    options = {"output": tmp_path / "new", "teacher": "metric"} | changes
    with pytest.raises(DsetkitError, match=complaint):
        relabel(world, options.pop("output") or world, **options)
    assert not (tmp_path / "new").exists()


def test_an_incomplete_dataset_is_not_relabelled(tmp_path: Path) -> None:
    tiny_dataset(tmp_path / "d", num_samples=20, stop_after=5)
    with pytest.raises(DsetkitError, match="is not complete"):
        relabel(tmp_path / "d", tmp_path / "new", teacher="metric")


def test_the_command(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    command = ["relabel", str(world), "--teacher", "metric", "--output", str(tmp_path / "new")]
    assert run(lambda: main(command)) == 0
    assert "40 samples, complete" in capsys.readouterr().out
