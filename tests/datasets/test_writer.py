"""Tests of the writer: when it commits, and what an interrupted writer leaves."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from dsetkit.datasets.reader import Dataset
from dsetkit.datasets.writer import DatasetWriter
from dsetkit.errors import DatasetError
from dsetkit.store.manifest import Manifest
from dsetkit.store.records import Record


def manifest(num_samples: int) -> Manifest:
    return Manifest(
        num_samples=num_samples,
        complete=True,
        size=[8, 8],
        fields=["composite"],
        codecs={"composite": "png"},
        depth_kind="none",
        max_depth_m=0,
        teacher={"name": "none"},
        recipe={},
        splits={"by": "import"},
        assets_fingerprint="",
    )


def records(count: int) -> list[Record]:
    return [Record(None, (), {"composite": b"c"}, name=f"{i}.png") for i in range(count)]


def test_an_interrupted_writer_leaves_the_samples_that_were_added(tmp_path: Path) -> None:
    cells = np.zeros(5, np.uint8)
    with pytest.raises(KeyboardInterrupt):
        with DatasetWriter(tmp_path, manifest(5), cells) as writer:
            writer.add(records(3))
            raise KeyboardInterrupt
    left = Dataset(tmp_path, allow_incomplete=True)
    assert len(left) == 3 and not left.manifest.complete
    with DatasetWriter(tmp_path, manifest(5), cells) as writer:
        assert writer.count == 3
        writer.add(records(5)[3:])
        assert writer.finish().complete
    whole = Dataset(tmp_path)
    assert [record.name for record in whole.records(range(5))] == [f"{i}.png" for i in range(5)]


def test_a_writer_commits_after_so_many_samples(tmp_path: Path) -> None:
    cells = np.zeros(5, np.uint8)
    with DatasetWriter(tmp_path / "d", manifest(5), cells, samples_per_commit=2) as writer:
        committed = []
        for record in records(5):
            writer.add([record])
            copy = shutil.copytree(tmp_path / "d", tmp_path / f"copy {len(committed)}")
            committed.append(len(Dataset(copy, allow_incomplete=True)))
        writer.finish()
    assert committed == [0, 2, 2, 4, 4]


def test_an_imported_sample_without_a_background_says_so(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, manifest(1), np.zeros(1, np.uint8)) as writer:
        writer.add(records(1))
        writer.finish()
    data = Dataset(tmp_path)
    with pytest.raises(DatasetError, match="the sample has no background: it was imported without"):
        data.images(data.record(0), ["background"], None)


def test_an_unknown_asset_is_an_error(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, manifest(1), np.zeros(1, np.uint8)) as writer:
        writer.add(records(1))
        writer.finish()
    with pytest.raises(DatasetError, match="has no number 7 in its foregrounds"):
        Dataset(tmp_path).asset("foregrounds", 7)
