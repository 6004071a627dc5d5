"""Tests of the writer: when it commits, and what an interrupted writer leaves."""

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
        teacher={},
        recipe={},
        splits={"by": "import"},
        assets_fingerprint="",
    )


def records(count: int) -> list[Record]:
    return [Record(None, None, {"name": f"{i}.png"}, {"composite": b"c"}) for i in range(count)]


@pytest.mark.parametrize("commit_every_s, kept", [(0, 3), (60, 0)])
def test_an_interrupted_writer_leaves_the_committed_samples(
    tmp_path: Path, commit_every_s: float, kept: int
) -> None:
    cells = np.zeros(5, np.uint8)
    with pytest.raises(KeyboardInterrupt):
        with DatasetWriter(tmp_path, manifest(5), cells, commit_every_s=commit_every_s) as writer:
            writer.add(records(3))
            raise KeyboardInterrupt
    left = Dataset(tmp_path, allow_incomplete=True)
    assert len(left) == kept and not left.manifest.complete
    with DatasetWriter(tmp_path, manifest(5), cells) as writer:
        assert writer.count == kept
        writer.add(records(5)[kept:])
        assert writer.finish().complete
    whole = Dataset(tmp_path)
    assert [record.recipe["name"] for record in whole.records(range(5))] == [
        f"{i}.png" for i in range(5)
    ]


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
