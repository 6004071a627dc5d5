"""Tests of the store: reading, writing, and the pitfalls of LMDB that its docstring lists."""

import multiprocessing
import os
import pickle
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from pathlib import Path

import lmdb
import pytest

from dsetkit.errors import DatasetError, UnfinishedError
from dsetkit.store.environments import EnvironmentPool
from dsetkit.store.lmdb_store import FIRST_MAP_SIZE, StoreReader, StoreWriter, u64_key

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "shard.lmdb"
    write(path, range(100))
    return path


def write(path: Path, numbers: range, size: int = 1000) -> None:
    with StoreWriter(path) as writer:
        writer.put([("samples", u64_key(i), i.to_bytes(4, "big") * (size // 4)) for i in numbers])


def first_number(reader: StoreReader, number: int) -> int:
    value = reader.get("samples", u64_key(number))
    assert value is not None
    return int.from_bytes(value[:4], "big")


def test_what_is_put_is_got(store: Path) -> None:
    reader = StoreReader(store)
    assert [first_number(reader, i) for i in range(100)] == list(range(100))
    assert reader.get("samples", u64_key(100)) is None
    assert reader.count("samples") == 100
    assert [key for key, _ in reader.items("samples")] == [u64_key(i) for i in range(100)]


def test_key_order_is_number_order_across_byte_borders(tmp_path: Path) -> None:
    numbers = [2**40, 255, 256, 0, 65536]
    with StoreWriter(tmp_path / "s.lmdb") as writer:
        writer.put([("samples", u64_key(i), b"x") for i in numbers])
    keys = [key for key, _ in StoreReader(tmp_path / "s.lmdb").items("samples")]
    assert keys == [u64_key(i) for i in sorted(numbers)]


def test_the_map_grows_past_its_first_size(tmp_path: Path) -> None:
    path = tmp_path / "s.lmdb"
    value = bytes(1 << 20)
    with StoreWriter(path) as writer:
        for i in range((FIRST_MAP_SIZE >> 20) + 8):
            writer.put([("samples", u64_key(i), value)])
    assert StoreReader(path).count("samples") == (FIRST_MAP_SIZE >> 20) + 8


def test_a_full_map_is_one_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.lmdb"
    with StoreWriter(path, map_limit=1 << 20) as writer:
        writer.put([("samples", u64_key(0), b"kept")])
        with pytest.raises(DatasetError, match=r"map .* is full at its limit of 1,048,576 bytes"):
            writer.put([("samples", u64_key(i), bytes(100_000)) for i in range(1, 30)])
    reader = StoreReader(path)
    assert reader.count("samples") == 1
    assert reader.get("samples", u64_key(0)) == b"kept"


def test_a_full_disk_is_one_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    """A file size limit stands in for a full disk: the kernel refuses the write either way."""
    path = tmp_path / "s.lmdb"
    write(path, range(10))
    script = (
        "import resource, signal; from dsetkit.store.lmdb_store import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"with StoreWriter({str(path)!r}) as writer:\n"
        f"    resource.setrlimit(resource.RLIMIT_FSIZE, ({path.stat().st_size + 100_000},) * 2)\n"
        "    writer.put([('samples', u64_key(i), bytes(100_000)) for i in range(10, 99)])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert "DatasetError: no space left to write" in ended.stderr
    assert "free some space and run the same command again" in ended.stderr
    assert StoreReader(path).count("samples") == 10


def test_two_readers_of_one_path_share_an_environment(store: Path) -> None:
    train, val = StoreReader(store), StoreReader(store)
    assert first_number(train, 1) == first_number(val, 1) == 1
    assert train._opened is val._opened


def test_a_reader_can_be_pickled(store: Path) -> None:
    reader = pickle.loads(pickle.dumps(StoreReader(store)))
    assert first_number(reader, 7) == 7


def _read_in_child(reader: StoreReader, number: int) -> int:
    return first_number(reader, number)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_reader_works_in_children(store: Path, method: str) -> None:
    reader = StoreReader(store)
    assert first_number(reader, 3) == 3  # open in the parent before the children start
    with multiprocessing.get_context(method).Pool(2) as pool:
        numbers = pool.starmap(_read_in_child, [(reader, i) for i in range(20)])
    assert numbers == list(range(20))
    assert first_number(reader, 3) == 3


def test_readers_leave_no_file_behind_and_need_no_write_permission(store: Path) -> None:
    folder = store.parent
    before = sorted(os.listdir(folder))
    store.chmod(stat.S_IRUSR)
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert first_number(StoreReader(store), 5) == 5
        assert sorted(os.listdir(folder)) == before == ["shard.lmdb"]
    finally:
        folder.chmod(stat.S_IRWXU)


def test_more_readers_than_lmdb_has_slots(store: Path) -> None:
    assert [first_number(StoreReader(store), i % 100) for i in range(300)][-1] == 99


def test_a_replaced_file_is_read_anew(store: Path) -> None:
    assert StoreReader(store).count("samples") == 100
    write(store.with_name("new.lmdb"), range(7))
    os.replace(store.with_name("new.lmdb"), store)
    assert StoreReader(store).count("samples") == 7


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_an_error_not_a_crash(store: Path, share: float) -> None:
    os.truncate(store, int(store.stat().st_size * share))
    with pytest.raises(DatasetError, match="truncated: .* bytes, but its header promises"):
        StoreReader(store)
    with pytest.raises(DatasetError, match="truncated"):
        StoreWriter(store)


@pytest.mark.parametrize("content", [b"", b"hello", bytes(100_000)])
def test_a_file_that_is_not_lmdb(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.lmdb"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="not an LMDB file"):
        StoreReader(path)


def test_a_newer_lmdb_format(store: Path) -> None:
    with open(store, "r+b") as file:
        for page in (0, 4096):
            file.seek(page + 20)
            file.write((2).to_bytes(4, "little"))
    with pytest.raises(DatasetError, match="has LMDB data version 2, expected 1"):
        StoreReader(store)


def test_an_lmdb_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "s.lmdb"
    with lmdb.open(str(path), subdir=False, lock=False) as env, env.begin(write=True) as txn:
        txn.put(b"key", b"value")
    with pytest.raises(DatasetError, match="LMDB file of another program"):
        StoreReader(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot read .*: No such file"):
        StoreReader(tmp_path / "s.lmdb")


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "s.lmdb"), pytest.raises(DatasetError, match="another process"):
        StoreWriter(tmp_path / "s.lmdb")


def mapped(folder: Path) -> set[Path]:
    """The files of a folder that this process has mapped."""
    lines = os.fsdecode(Path("/proc/self/maps").read_bytes()).splitlines()
    paths = {Path(line.split(maxsplit=5)[5]) for line in lines if len(line.split(maxsplit=5)) == 6}
    return {path for path in paths if path.parent == folder}


def test_many_files_are_read_with_few_of_them_open(tmp_path: Path) -> None:
    pool, readers = EnvironmentPool(max_open=3), []
    for number in range(8):
        with StoreWriter(tmp_path / f"{number}.lmdb") as writer:
            writer.put([("samples", u64_key(0), bytes([number]))])
        readers.append(StoreReader(tmp_path / f"{number}.lmdb", pool=pool))
    for number, reader in [*enumerate(readers)] * 2:
        assert reader.get("samples", u64_key(0)) == bytes([number])
    assert len(mapped(tmp_path)) == 3


def test_a_writer_closes_the_file_in_every_pool(tmp_path: Path) -> None:
    path = tmp_path / "s.lmdb"
    write(path, range(3))
    pool = EnvironmentPool()
    reader = StoreReader(path, pool=pool)
    assert mapped(tmp_path) == {path}
    with StoreWriter(path) as writer:
        writer.put([("samples", u64_key(3), b"x")])
    assert reader.count("samples") == 4


def test_threads_read_while_files_are_closed_and_opened(tmp_path: Path) -> None:
    pool, readers = EnvironmentPool(max_open=2), []
    for number in range(6):
        with StoreWriter(tmp_path / f"{number}.lmdb") as writer:
            writer.put([("samples", u64_key(0), bytes([number]) * 5000)])
        readers.append(StoreReader(tmp_path / f"{number}.lmdb", pool=pool))

    def read(turn: int) -> bool:
        number = turn * 5 % 6
        return readers[number].get("samples", u64_key(0)) == bytes([number]) * 5000

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(3000)))


@pytest.mark.parametrize("made", range(4))
def test_a_file_whose_writer_is_making_its_databases_is_not_finished(
    made: int, tmp_path: Path
) -> None:
    """Whatever the order in which it makes them; until all are there it puts nothing into them."""
    for number, names in enumerate(permutations(("manifest", "backgrounds", "samples"), made % 4)):
        path = tmp_path / f"{number}.lmdb"
        with lmdb.open(str(path), subdir=False, max_dbs=8, lock=False) as env:
            for name in names:
                env.open_db(name.encode())
        with pytest.raises(UnfinishedError):
            StoreReader(path).get("manifest", b"manifest")


def test_a_file_that_has_lost_a_database_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "s.lmdb"
    with lmdb.open(str(path), subdir=False, max_dbs=8, lock=False) as env:
        samples = env.open_db(b"samples")
        with env.begin(samples, write=True) as txn:
            txn.put(b"key", b"value")
    with pytest.raises(DatasetError, match="damaged .no database manifest, backgrounds, foregr"):
        StoreReader(path).get("samples", b"key")
