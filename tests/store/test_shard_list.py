"""Tests of the shard list: round trips, and one-line errors for anything else."""

import json
import os
from pathlib import Path

import pytest
import xxhash

from dsetkit.errors import DatasetError
from dsetkit.store.shard_list import FILE_NAME, ShardList, checksum_of, make_shard_list


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"shard-{number:05d}.lmdb" for number in range(5)]
    for number, path in enumerate(paths):
        path.write_bytes(os.urandom(1000 + (number << 20) * 2))
    return paths


def test_it_lists_name_size_and_checksum_in_order(files: list[Path]) -> None:
    made = make_shard_list(files, fingerprint="f00d")
    assert made.fingerprint == "f00d"
    for path, shard in zip(files, made.shards, strict=True):
        content = path.read_bytes()
        assert (shard.name, shard.num_bytes) == (path.name, len(content))
        assert shard.checksum == xxhash.xxh3_128_hexdigest(content) == checksum_of(path)
    assert made.num_bytes == sum(path.stat().st_size for path in files)


@pytest.mark.parametrize("threads", [1, 3, 16])
def test_threads_change_nothing(files: list[Path], threads: int) -> None:
    assert make_shard_list(files, fingerprint="x", threads=threads) == make_shard_list(
        files, fingerprint="x"
    )


def test_what_is_written_is_read(files: list[Path], tmp_path: Path) -> None:
    made = make_shard_list(files, fingerprint="é")
    path = made.write(tmp_path)
    assert path == tmp_path / FILE_NAME
    assert ShardList.from_json(path.read_bytes()) == made
    assert not list(tmp_path.glob("*.part"))


def test_progress_counts_every_byte_once(files: list[Path]) -> None:
    seen = []
    made = make_shard_list(files, fingerprint="", progress=lambda *step: seen.append(step))
    done = [step[0] for step in seen]
    assert done == sorted(set(done)) and done[-1] == made.num_bytes
    assert {step[1] for step in seen} == {made.num_bytes}


def test_the_error_for_an_unknown_name_gives_the_range_of_names(files: list[Path]) -> None:
    made = make_shard_list(files, fingerprint="")
    assert made.shard(files[3].name) is made.shards[3]
    with pytest.raises(DatasetError, match="has 5, from shard-00000.lmdb to shard-00004.lmdb"):
        made.shard("shard-00005.lmdb")


def test_files_that_cannot_be_listed_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot read .*shard-00007.lmdb: No such file"):
        make_shard_list([tmp_path / "shard-00007.lmdb"], fingerprint="")
    for name, content in (("empty.lmdb", b""), ("with space.lmdb", b"x")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DatasetError, match=name.split(".")[0]):
            make_shard_list([tmp_path / name], fingerprint="")


def good() -> dict:
    row = {"name": "shard-00000.lmdb", "bytes": 5, "xxh3_128": "0" * 32}
    return {"format": "dsetkit-shards", "version": 1, "fingerprint": "x", "shards": [row]}


def changed(**values: object) -> str:
    return json.dumps(good() | values)


def changed_row(**values: object) -> str:
    return changed(shards=[good()["shards"][0] | values])


BAD = {
    "nothing": (b"", "is not JSON"),
    "binary": (b"\xff\xfe\x00", "is not JSON"),
    "cut off": (json.dumps(good())[:-9], "is not JSON"),
    "very deep": ("[" * 100_000, "is not JSON"),
    "a list": ("[]", "of another program"),
    "another program's": ('{"version": 1}', "of another program"),
    "newer": (changed(version=2, more=1), "version 2, this dsetkit reads 1: update"),
    "no version": (changed(version=None), "damaged"),
    "more entries": (changed(more=1), "damaged"),
    "no fingerprint": (changed(fingerprint=None), "fingerprint"),
    "no shards": (changed(shards=[]), "it lists no shards"),
    "shards of another kind": (changed(shards={"a": 1}), "it lists no shards"),
    "no row": (changed(shards=["x"]), "shard 0: expected name, bytes"),
    "twice one name": (changed(shards=good()["shards"] * 2), "two shards have the same name"),
    "a path": (changed_row(name="../../.ssh/key"), "not a plain file name"),
    "a hidden name": (changed_row(name=".x"), "not a plain file name"),
    "a line's end": (changed_row(name="shard\n"), "not a plain file name"),
    "no name": (changed_row(name=3), "not a plain file name"),
    "a negative size": (changed_row(bytes=-1), "not a size in bytes"),
    "a true size": (changed_row(bytes=True), "not a size in bytes"),
    "a fraction": (changed_row(bytes=1.5), "not a size in bytes"),
    "a short checksum": (changed_row(xxh3_128="00"), "not a checksum"),
    "a path as checksum": (changed_row(xxh3_128="../" + "0" * 29), "not a checksum"),
}


@pytest.mark.parametrize("what", BAD)
def test_anything_but_a_shard_list_is_refused_in_one_line(what: str) -> None:
    content, message = BAD[what]
    with pytest.raises(DatasetError, match=message) as caught:
        ShardList.from_json(content, source="s3://b/shards.json")
    assert str(caught.value).startswith("s3://b/shards.json ")
    assert "\n" not in str(caught.value)


def test_the_unchanged_list_of_these_tests_is_accepted() -> None:
    assert ShardList.from_json(changed()).shards[0].num_bytes == 5
