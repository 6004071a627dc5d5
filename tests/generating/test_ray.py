"""Shards on Ray: the samples are those of one file, on any nodes, whichever of them die."""

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dsetkit.datasets.reader import Dataset
from dsetkit.datasets.writer import DatasetWriter
from dsetkit.errors import DatasetError, DsetkitError, UnfinishedError
from dsetkit.generating import ray as ray_engine
from dsetkit.generating.ray import cluster as ray_cluster
from dsetkit.generating.ray import crew
from dsetkit.generating.ray.actor import ShardWriter
from dsetkit.store.lmdb_store import StoreReader
from dsetkit.store.manifest import MANIFEST_KEY, Manifest
from dsetkit.store.shards import shard_path, shard_ranges
from dsetkit.teachers import TeacherOptions
from tests.generating.test_shards import REPOSITORY, SAMPLES, assert_same
from tests.helpers.generating import generate

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray", reason="Ray is not installed: dsetkit[ray]")

NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}
SLOW = {"teacher_options": TeacherOptions(size=256)}  # a few batches a second
LONG = {"teacher": "none", "num_samples": None, "size": 512}  # no torch in the workers


class TwoNodes:
    """A Ray of two nodes on this machine, of one CPU each; what a test took away comes back."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = NODE | {"include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.second = None

    def whole(self) -> "TwoNodes":
        if self.second is None:
            self.second = self.cluster.add_node(**NODE)
        return self

    def remove_second(self) -> None:
        self.cluster.remove_node(self.second, allow_graceful=False)
        self.second = None

    def writing(self) -> list[int]:
        """Processes of both nodes that hold the lock of a shard."""
        return writing_on(self.cluster.head_node) + self.writing_on_second()

    def writing_on_second(self) -> list[int]:
        return writing_on(self.second)


def writing_on(node: object) -> list[int]:
    """Processes of a node that hold the lock of a shard."""
    raylet = node.all_processes["raylet"][0].process.pid
    return [pid for pid in children(raylet) if holds_a_shard(pid)]


def children(parent: int) -> list[int]:
    stats = [file.read_text() for file in Path("/proc").glob("[0-9]*/stat") if file.exists()]
    found = [(stat.split()[0], stat.rpartition(") ")[2].split()[1]) for stat in stats]
    return [int(pid) for pid, of in found if int(of) == parent]


def holds_a_shard(pid: int) -> bool:
    """Whether a process has the lock of a shard, and the shard itself, open."""
    with contextlib.suppress(OSError):  # it has ended
        files = {os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir()}
        return any(f"{file}.lock" in files for file in files if file.endswith(".lmdb"))
    return False


@pytest.fixture(scope="module")
def started() -> Iterator[TwoNodes]:
    nodes = TwoNodes()
    yield nodes
    ray.shutdown()
    nodes.cluster.shutdown()


@pytest.fixture
def nodes(started: TwoNodes) -> TwoNodes:
    """Two nodes, and this process has joined them."""
    started.whole()
    if not ray.is_initialized():
        ray.init(address=started.cluster.address, log_to_driver=False, logging_level="ERROR")
    return started


@pytest.fixture
def apart() -> None:
    """This process belongs to no cluster."""
    ray.shutdown()


@pytest.fixture(scope="module")
def whole(options: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "d"
    generate(**options, output=path)
    return path


@pytest.fixture
def on_ray(options: dict, nodes: TwoNodes, tmp_path: Path) -> Callable:
    """`generate` by two workers on the two nodes, into tmp_path / "d"."""

    def run(**more: object) -> None:
        generate(**(options | {"workers": 2} | more), output=tmp_path / "d", engine="ray")

    return run


def once(
    writing: Callable[[], list[int]], happen: Callable[[list[int]], None]
) -> Callable[[int, int], None]:
    """A progress that lets something happen, once, to processes that write."""
    happened = False

    def progress(done: int, total: int) -> None:
        nonlocal happened
        if not happened and (processes := writing()):
            happened = True
            happen(processes)

    return progress


def kill_the_first(processes: list[int]) -> None:
    os.kill(processes[0], signal.SIGKILL)


# ---- what is written ---------------------------------------------------------------------------


def test_shards_on_two_nodes_equal_one_file(
    on_ray: Callable,
    nodes: TwoNodes,
    whole: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ray.shutdown()
    told = []
    with caplog.at_level(logging.INFO, logger="dsetkit"):
        options = {"workers": None, "ray_address": nodes.cluster.address}
        on_ray(shards=4, progress=lambda *news: told.append(news), **options)
    assert_same(whole, tmp_path / "d", 4)
    assert told[-1] == (SAMPLES, SAMPLES) and told == sorted(told)
    assert f"4 of 4 shards are complete: {SAMPLES} samples written on Ray" in caplog.text
    assert "retries: 0" in caplog.text
    assert not ray.is_initialized()  # what was joined for the run is left


def test_one_shard_a_relative_path_and_a_ray_that_is_there_do_as_well(
    on_ray: Callable,
    whole: Path,
    teacher: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = Path(teacher.partition(":")[2])
    monkeypatch.chdir(file.parent)
    on_ray(teacher=f"checkpoint:{file.name}")
    assert_same(whole, tmp_path / "d", 1)
    assert ray.is_initialized()


def test_a_node_that_is_lost_in_mid_run_changes_nothing(
    on_ray: Callable,
    options: dict,
    nodes: TwoNodes,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    generate(**options, **SLOW, output=tmp_path / "one")
    with caplog.at_level(logging.INFO, logger="dsetkit"):
        lose = once(nodes.writing_on_second, lambda _: nodes.remove_second())
        on_ray(**SLOW, shards=3, progress=lose)
    assert nodes.second is None
    assert "retries: 1" in caplog.text
    assert_same(tmp_path / "one", tmp_path / "d", 3)


def test_a_worker_that_dies_is_replaced(
    on_ray: Callable, nodes: TwoNodes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="dsetkit"):
        on_ray(**LONG, shards=2, progress=once(nodes.writing, kill_the_first))
    assert "retries: 1" in caplog.text
    assert "another takes its place" in caplog.text
    assert Dataset(tmp_path / "d").shards.is_complete()


# ---- what fails --------------------------------------------------------------------------------


def incomplete(path: Path) -> list[str]:
    """Names of the shards that are there and lack samples."""
    return [file.name for file in sorted(path.glob("*.lmdb")) if not holds_all(file)]


def holds_all(shard: Path) -> bool:
    try:
        store = StoreReader(shard)
    except UnfinishedError:  # its writer died before its first samples
        return False
    packed = store.get("manifest", MANIFEST_KEY)
    if packed is None:
        return False
    manifest = Manifest.from_bytes(packed)
    return store.count("samples") == len(shard_ranges(manifest)[manifest.shard["number"]])


def test_a_shard_whose_workers_keep_dying_is_named_and_the_others_finish(
    on_ray: Callable, nodes: TwoNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "RETRIES", 0)
    said = r"1 of 3 shards are not complete; shard \d: its worker died 1 times, last: "
    with pytest.raises(DatasetError, match=said):
        on_ray(**LONG, shards=3, progress=once(nodes.writing, kill_the_first))
    assert len(incomplete(tmp_path / "d")) == 1


def test_a_shard_that_cannot_be_written_is_named_and_the_others_finish(
    on_ray: Callable, tmp_path: Path
) -> None:
    bad = shard_path(tmp_path / "d", 2)
    bad.parent.mkdir()
    bad.write_bytes(b"garbage" * 1000)
    said = "1 of 4 shards are not complete; shard 2: .*shard-00002.lmdb is not an LMDB file"
    with pytest.raises(DatasetError, match=said):
        on_ray(shards=4, teacher="none")
    bad.unlink()
    assert incomplete(tmp_path / "d") == []


def test_more_than_any_node_has_is_an_error(on_ray: Callable) -> None:
    with pytest.raises(DsetkitError, match="no node of the Ray cluster has a CPU and 0.5 of a GPU"):
        on_ray(shards=2, gpus_per_worker=0.5)
    with pytest.raises(DsetkitError, match="--gpus-per-worker 1.5: expected 0, a share"):
        on_ray(shards=2, gpus_per_worker=1.5)


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nowhere", "--ray-address nowhere: expected auto, HOST:PORT or ray://HOST:PORT"),
        ("host:port", "--ray-address host:port: expected auto"),
        ("127.0.0.1:9", "no Ray at 127.0.0.1:9 .*: start it with `ray start --head`"),
        ("ray://127.0.0.1:9", "no Ray at ray://127.0.0.1:9"),
    ],
)
def test_a_cluster_that_is_not_there_is_an_error(
    options: dict, tmp_path: Path, address: str, said: str
) -> None:
    with pytest.raises(DsetkitError, match=said):
        generate(**options, output=tmp_path / "d", engine="ray", ray_address=address)


@pytest.mark.usefixtures("apart")
def test_something_else_that_listens_is_an_error(
    options: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "SECONDS_TO_CONNECT", 3)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(DsetkitError, match=f"no Ray answers at {address}"):
            generate(**options, output=tmp_path / "d", engine="ray", ray_address=address)


def test_ray_that_is_not_installed_is_an_error(
    options: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DsetkitError, match=r"pip install 'dsetkit\[ray\]'"):
        generate(**options, output=tmp_path / "d", engine="ray", shards=2)


# ---- one worker, without Ray -------------------------------------------------------------------


@pytest.fixture
def writer(options: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShardWriter:
    """For tmp_path / "d", of three shards, begun."""
    given = []
    monkeypatch.setattr(ray_engine, "write_on_ray", lambda *plan, **_: given.append(plan))
    generate(**options, output=tmp_path / "d", engine="ray", shards=3)
    return ShardWriter(*given[0])


def test_a_lost_writer_that_still_writes_is_waited_for(writer: ShardWriter) -> None:
    plan, opened = writer._plan, threading.Event()
    writer.prepare()

    def lost() -> None:
        with DatasetWriter(plan.output, plan.manifest, plan.cells, only=1):
            opened.set()
            time.sleep(1)

    thread = threading.Thread(target=lost)
    thread.start()
    assert opened.wait(10)
    with pytest.raises(DatasetError, match="is being written by another process"):
        writer.write(1, patience_s=0)
    assert writer.write(1, patience_s=60) == len(shard_ranges(plan.manifest)[1])
    assert writer.news() == (1, len(shard_ranges(plan.manifest)[1]))
    thread.join(10)


def test_a_node_without_the_dataset_is_named(writer: ShardWriter, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "d")
    with pytest.raises(DatasetError, match=f"on node {socket.gethostname()}: .* is not there"):
        writer.prepare()


# ---- the command -------------------------------------------------------------------------------


def test_the_command_starts_a_ray_of_its_own(pictures: dict, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dsetkit", "generate", "--output", str(tmp_path / "d")]
    for name, folder in pictures.items():
        command += [f"--{name}", str(folder)]
    command += ["--num-samples", str(SAMPLES), "--teacher", "none", "--size", "64"]
    command += ["--placements", "5", "--workers", "2", "--batch-size", "8", "--shards", "3"]
    command += ["--engine", "ray"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"3 of 3 shards are complete: {SAMPLES} samples" in done.stderr
    ours = ("generate: ", "waiting for a Ray worker", "3 of 3 shards")
    assert all(line.startswith(ours) for line in done.stderr.splitlines()), done.stderr
    assert len(Dataset(tmp_path / "d")) == SAMPLES
