"""Tests of the pages of an LMDB file: what is damaged is found before LMDB reads it."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks import flip_bits
from dsetkit.errors import DatasetError, UnfinishedError
from dsetkit.store.environments import DATABASES, EnvironmentPool
from dsetkit.store.lmdb_store import StoreReader, StoreWriter, u64_key
from dsetkit.store.shards import shard_path
from dsetkit.store.structure import check_structure, is_unborn
from tests.helpers.worlds import tiny_dataset

PAGE = 4096  # bytes
META = 152  # bytes of a meta page that are used


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all kinds of pages: several levels, large values, free pages."""
    path = tmp_path_factory.mktemp("store") / "s.lmdb"
    for first in range(0, 400, 100):
        with StoreWriter(path) as writer:
            writer.put([("samples", u64_key(first + i), bytes([i]) * 30) for i in range(100)])
            writer.put([("manifest", b"manifest", bytes([200 + first // 100]) * 9000)])
    return path


def everything(path: Path) -> list[tuple[bytes, bytes]]:
    reader = StoreReader(path, pool=EnvironmentPool())
    found = [item for name in DATABASES for item in reader.items(name)]
    samples = reader.get_many("samples", [u64_key(i) for i in range(400)])
    return [*found, *((b"", value or b"missing") for value in samples)]


def header_bits(content: bytes) -> list[int]:
    """Some bits of meta pages, of page headers and of the first places of entries."""
    places: list[int] = []
    for start in range(0, len(content), PAGE):
        places += range(start, start + (META if start < 2 * PAGE else 24))
    rng = np.random.default_rng(0)
    chosen = rng.choice(8 * len(places), 300, replace=False)
    return [8 * places[place // 8] + int(place) % 8 for place in chosen]


def test_a_flipped_bit_is_found_or_changes_nothing_and_never_ends_the_process(
    store: Path, tmp_path: Path
) -> None:
    """LMDB's own assertions would end the process, so a child reads."""
    content, expected = store.read_bytes(), everything(store)
    child = os.fork()
    if not child:
        status = 1
        try:
            status = _flip_all(tmp_path / "s.lmdb", content, expected)
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended) == 0, (tmp_path / "bit").read_text()


def _flip_all(path: Path, content: bytes, expected: list) -> int:
    found = 0
    for bit in header_bits(content):
        page, place = divmod(bit // 8, PAGE)
        (path.parent / "bit").write_text(f"bit {bit}, page {page}, byte {place}")
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.unlink(missing_ok=True)
        path.write_bytes(damaged)
        kind = content[page * PAGE + 10]
        is_value = kind > 8 or (kind == 4 and place >= 16)
        try:
            if everything(path) != expected and not is_value:
                return 2
        except DatasetError:
            found += 1
    return 0 if found > 30 else 3


def test_of_random_flips_in_a_dataset_none_is_wrong_and_none_ends_the_process(
    tmp_path: Path,
) -> None:
    path = tiny_dataset(tmp_path / "d", num_samples=12, size=16)
    kinds = flip_bits.kinds_of_bytes(path, shard_path(path).read_bytes())
    outcomes = flip_bits.flip_all(path, flip_bits.chosen_bits(kinds, 60, seed=1))
    found = Counter(outcome for _, outcome in outcomes)
    assert found.keys() <= {"detected", "harmless"}
    assert found["detected"] > 20


def test_a_sound_file_passes(store: Path) -> None:
    check_structure(store, DATABASES, thorough=True)


def test_a_free_page_that_is_used_is_found_before_it_is_written_over(
    store: Path, tmp_path: Path
) -> None:
    """Points a list of free pages at the root of the samples."""
    content = bytearray(store.read_bytes())
    newest = max((0, 1), key=lambda page: content[page * PAGE + 144 : page * PAGE + 152][::-1])
    free_root = int.from_bytes(content[newest * PAGE + 80 : newest * PAGE + 88], "little")
    used = int.from_bytes(content[newest * PAGE + 128 : newest * PAGE + 136], "little")
    places = content[free_root * PAGE + 16 : free_root * PAGE + 18]
    entry = free_root * PAGE + int.from_bytes(places, "little")
    content[entry + 24 : entry + 32] = used.to_bytes(8, "little")
    path = tmp_path / "s.lmdb"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=f"page {used} is used twice, or is used and free"):
        StoreWriter(path)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\0" * 5 * PAGE, "start", "one page"])
def test_a_file_that_was_cut_off_while_it_was_created_is_begun_again(
    store: Path, tmp_path: Path, content: bytes | str
) -> None:
    path = tmp_path / "s.lmdb"
    starts = {"start": store.read_bytes()[:20], "one page": store.read_bytes()[:PAGE]}
    path.write_bytes(content if isinstance(content, bytes) else starts[content])
    assert is_unborn(path)
    with StoreWriter(path) as writer:
        writer.put([("samples", u64_key(0), b"x")])
    assert StoreReader(path).get("samples", u64_key(0)) == b"x"


@pytest.mark.parametrize("content", [b"my notes", b"\0" * 9000 + b"x", "cut in two"])
def test_a_file_that_may_hold_something_is_not_emptied(
    store: Path, tmp_path: Path, content: bytes | str
) -> None:
    path = tmp_path / "s.lmdb"
    path.write_bytes(content if isinstance(content, bytes) else store.read_bytes()[: 5 * PAGE])
    before = path.read_bytes()
    with pytest.raises(DatasetError, match="not an LMDB file|truncated"):
        StoreWriter(path)
    assert path.read_bytes() == before


def test_a_file_without_databases_yet_is_unfinished(tmp_path: Path) -> None:
    import lmdb

    lmdb.open(str(tmp_path / "s.lmdb"), subdir=False, lock=False).close()
    with pytest.raises(UnfinishedError, match="holds nothing yet"):
        StoreReader(tmp_path / "s.lmdb")
