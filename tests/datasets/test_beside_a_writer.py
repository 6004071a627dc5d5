"""Readers of a dataset that is being written, or whose file is replaced while it is open."""

import hashlib
import os
import shutil
import signal
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from dsetkit.datasets.reader import Dataset
from dsetkit.datasets.writer import DatasetWriter
from dsetkit.errors import DatasetError, UnfinishedError
from dsetkit.store.environments import close_environments
from dsetkit.store.lmdb_store import StoreReader, StoreWriter, u64_key
from dsetkit.store.shards import shard_path
from tests.helpers.worlds import tiny_dataset

SAMPLES = 160


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("source") / "d")


def copy(source: Path, output: Path, *, samples_per_commit: int, die_after: int | None) -> None:
    """Copies a dataset sample by sample; ends by SIGKILL after so many samples."""
    dataset = Dataset(source)
    with DatasetWriter(
        output,
        replace(dataset.manifest, complete=False, label_quality={}),
        dataset.cells,
        backgrounds=dataset.assets("backgrounds"),
        foregrounds=dataset.assets("foregrounds"),
        samples_per_commit=samples_per_commit,
    ) as writer:
        for index in range(writer.count, SAMPLES):
            writer.add([dataset.record(index)])
            if writer.count == die_after:
                os.kill(os.getpid(), signal.SIGKILL)
        writer.finish()


def in_child(source: Path, output: Path, **options: int | None):
    process = get_context("spawn").Process(
        target=copy, args=(source, output), kwargs={"die_after": None, **options}
    )
    process.start()
    return process


def test_a_reader_beside_a_writer_sees_samples_or_that_the_dataset_is_not_finished(
    source: Path, tmp_path: Path
) -> None:
    """Never that it is damaged, or another program's; and never a wrong sample."""
    whole = Dataset(source)
    output = tmp_path / "d"
    process = in_child(source, output, samples_per_commit=1)
    counts = set()
    while process.is_alive() or not counts:
        try:
            dataset = Dataset(output, allow_incomplete=True)
            count = len(dataset)
            if count:
                assert dataset.record(count - 1) == whole.record(count - 1)
            counts.add(count)
        except UnfinishedError:
            pass
        except DatasetError as error:  # before the first file is there
            assert "no dataset at" in str(error) or "is not a dataset" in str(error)
    process.join()
    assert process.exitcode == 0
    assert counts <= set(range(SAMPLES + 1))
    assert Dataset(output).records(range(SAMPLES)) == whole.records(range(SAMPLES))


def _append(path: Path, count: int) -> None:
    with StoreWriter(path) as writer:
        for index in range(1, count):
            writer.put([("samples", u64_key(index), bytes(1 << 20))])


def test_a_reader_goes_on_when_the_file_outgrows_what_it_has_mapped(tmp_path: Path) -> None:
    path = tmp_path / "s.lmdb"
    with StoreWriter(path) as writer:
        writer.put([("samples", u64_key(0), b"first")])
    reader = StoreReader(path)
    process = get_context("spawn").Process(target=_append, args=(path, 150))
    process.start()
    process.join()
    assert path.stat().st_size > 2 << 26  # more than the room that was mapped
    assert reader.count("samples") == 150
    assert reader.get("samples", u64_key(0)) == b"first"


# ---- replaced files ----------------------------------------------------------------------------


@pytest.fixture
def opened(source: Path, tmp_path: Path) -> Dataset:
    """A dataset whose file was open, and is opened again by the next reader."""
    dataset = Dataset(shutil.copytree(source, tmp_path / "d"))
    dataset.record(0)
    return dataset


def replace_by(dataset: Dataset, other: Path) -> None:
    file = shard_path(Path(dataset.path))
    shutil.copyfile(other, file.with_suffix(".new"))
    close_environments(file.resolve())
    file.with_suffix(".new").replace(file)


def test_another_dataset_in_the_place_of_an_open_one_is_noticed(
    opened: Dataset, tmp_path: Path
) -> None:
    other = tiny_dataset(tmp_path / "other", seed=1)
    replace_by(opened, shard_path(other))
    for _ in range(2):
        with pytest.raises(DatasetError, match="belongs to another dataset"):
            opened.record(1)


def test_a_copy_in_the_place_of_an_open_dataset_is_read_on(opened: Dataset, source: Path) -> None:
    replace_by(opened, shard_path(source))
    assert opened.record(1) == Dataset(source).record(1)


def test_a_file_that_was_cut_while_it_was_open_is_noticed(opened: Dataset) -> None:
    file = shard_path(Path(opened.path))
    close_environments(file.resolve())
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(DatasetError, match="truncated"):
        opened.record(1)


# ---- the same to the byte ----------------------------------------------------------------------


def sha256(path: Path) -> str:
    return hashlib.sha256(shard_path(path).read_bytes()).hexdigest()


@pytest.mark.parametrize("cuts", [[], [1], [33, 159]])
def test_a_run_that_was_killed_and_continued_writes_the_same_file(
    source: Path, tmp_path: Path, cuts: list[int]
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    copy(source, whole, samples_per_commit=8, die_after=None)
    for after in cuts:
        process = in_child(source, cut, samples_per_commit=8, die_after=after)
        process.join()
        assert process.exitcode == -signal.SIGKILL
    copy(source, cut, samples_per_commit=8, die_after=None)
    assert sha256(whole) == sha256(cut)
