"""Shards on Ray: the samples are those of one file, on any nodes, whichever of them die."""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from dsetkit.datasets.reader import Dataset
from dsetkit.datasets.writer import DatasetWriter
from dsetkit.errors import DatasetError, DsetkitError, UnfinishedError
from dsetkit.generating import ray as ray_engine
from dsetkit.generating.plan import Plan
from dsetkit.generating.ray import cluster as ray_cluster
from dsetkit.generating.ray import crew
from dsetkit.generating.ray.actor import ShardWriter
from dsetkit.labels import score_labels
from dsetkit.store.lmdb_store import StoreReader
from dsetkit.store.manifest import MANIFEST_KEY, Manifest
from dsetkit.store.shards import shard_path, shard_ranges
from tests.generating.test_shards import REPOSITORY, SAMPLES, assert_same
from tests.helpers.gates import Gate, GatedPlan, Visitor, plan_of, wait_for_end
from tests.helpers.generating import generate

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}
BATCH = 8  # as conftest.options


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

    def of_second(self, come: list[Visitor]) -> list[Visitor]:
        """Those that run on the second node."""
        raylet = self.second.all_processes["raylet"][0].process.pid
        return [one for one in come if parent_of(one.process) == raylet]


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])


@pytest.fixture(scope="module")
def ray() -> ModuleType:
    return pytest.importorskip("ray", reason="Ray is not installed: dsetkit[ray]")


@pytest.fixture(scope="module")
def started(ray: ModuleType) -> Iterator[TwoNodes]:
    nodes = TwoNodes()
    yield nodes
    ray.shutdown()
    nodes.cluster.shutdown()


@pytest.fixture
def nodes(ray: ModuleType, started: TwoNodes) -> TwoNodes:
    """Two nodes, and this process has joined them."""
    started.whole()
    if not ray.is_initialized():
        ray.init(address=started.cluster.address, log_to_driver=False, logging_level="ERROR")
    return started


@pytest.fixture
def apart(ray: ModuleType) -> None:
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


@pytest.fixture
def planned(options: dict, tmp_path: Path) -> Callable:
    """The plan and the pixels of tmp_path / "d", which is begun."""
    return lambda **more: plan_of(**(options | more), output=tmp_path / "d")


@pytest.fixture
def cut_on_ray(planned: Callable, nodes: TwoNodes, tmp_path: Path) -> Callable:
    """Writes `planned` by two workers on the two nodes, of which one is cut off in mid-shard."""

    def run(
        cut: Callable[[Visitor], None],
        *,
        among: Callable[[list[Visitor]], list[Visitor]] = lambda come: come,
        after: int = 1,
        **more: object,
    ) -> None:
        """Lets no worker past the gate until one of those `among` them has been cut off."""
        plan, pixels = planned(**more)
        is_cut = False

        def progress(done: int, total: int) -> None:
            nonlocal is_cut
            if not is_cut and (found := among(gate.look())):
                committed, size = done_of_shard(plan, found[0].place)
                assert committed == BATCH < size
                cut(found[0])
                is_cut = True
                gate.open()

        with Gate(tmp_path / "gate") as gate:
            gated = GatedPlan.of(plan, gate, after=after)
            on_ray = {"address": None, "workers": 2, "gpus_per_worker": 0}
            ray_engine.write_on_ray(gated, pixels, **on_ray, progress=progress)
        score_labels(plan.output)  # as `generate` does afterwards

    return run


def done_of_shard(plan: Plan, sample: int) -> tuple[int, int]:
    """How many samples of the shard that holds one are committed, and how many it will have."""
    ranges = shard_ranges(plan.manifest)
    (number,) = [number for number, indices in enumerate(ranges) if sample in indices]
    return StoreReader(shard_path(plan.output, number)).count("samples"), len(ranges[number])


def kill(visitor: Visitor) -> None:
    os.kill(visitor.process, signal.SIGKILL)


# ---- what is written ---------------------------------------------------------------------------


@pytest.mark.slow
def test_shards_on_two_nodes_equal_one_file(
    ray: ModuleType,
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


@pytest.mark.slow
def test_one_shard_a_relative_path_and_a_ray_that_is_there_do_as_well(
    ray: ModuleType,
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


@pytest.mark.slow
def test_a_node_that_is_lost_in_mid_run_changes_nothing(
    cut_on_ray: Callable,
    nodes: TwoNodes,
    whole: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def lose_the_second(lost: Visitor) -> None:
        nodes.remove_second()
        wait_for_end(lost.process)

    with caplog.at_level(logging.INFO, logger="dsetkit"):
        # Labels come a batch later.
        cut_on_ray(lose_the_second, among=nodes.of_second, after=2, shards=2)
    assert f"{SAMPLES - BATCH} samples written on Ray" in caplog.text  # not those that were there
    assert "retries: 1" in caplog.text
    assert_same(whole, tmp_path / "d", 2)


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced(
    cut_on_ray: Callable, options: dict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="dsetkit"):
        cut_on_ray(kill, shards=2, teacher="none")
    assert f"{SAMPLES - BATCH} samples written on Ray" in caplog.text  # not those that were there
    assert "retries: 1" in caplog.text
    assert "another takes its place" in caplog.text
    generate(**(options | {"teacher": "none"}), output=tmp_path / "one")
    assert_same(tmp_path / "one", tmp_path / "d", 2)


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


@pytest.mark.slow
def test_a_shard_whose_workers_keep_dying_is_named_and_the_others_finish(
    cut_on_ray: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "RETRIES", 0)
    said = r"1 of 3 shards are not complete; shard \d: its worker died 1 times, last: "
    with pytest.raises(DatasetError, match=said):
        cut_on_ray(kill, shards=3, teacher="none")
    assert len(incomplete(tmp_path / "d")) == 1


@pytest.mark.slow
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


@pytest.mark.slow
def test_more_than_any_node_has_is_an_error(on_ray: Callable) -> None:
    with pytest.raises(DsetkitError, match="no node of the Ray cluster has a CPU and 0.5 of a GPU"):
        on_ray(shards=2, gpus_per_worker=0.5)
    with pytest.raises(DsetkitError, match="--gpus-per-worker 1.5: expected 0, a share"):
        on_ray(shards=2, gpus_per_worker=1.5)


@pytest.mark.slow
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


@pytest.mark.slow
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


class Lost:
    """A writer of shard 1 that was given up and still writes, by a clock that stands still."""

    def __init__(self, plan: Plan, *, ends_at: float) -> None:
        self._writer = DatasetWriter(plan.output, plan.manifest, plan.cells, only=1)
        self._ends_at = ends_at
        self.time = 0.0

    def clock(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        if self.time >= self._ends_at:
            self.end()

    def end(self) -> None:
        self._writer.__exit__(None)


def test_a_lost_writer_that_still_writes_is_waited_for(planned: Callable) -> None:
    plan, pixels = planned(shards=3)
    lost = Lost(plan, ends_at=59.5)
    writer = ShardWriter(plan, pixels, clock=lost.clock, sleep=lost.sleep)
    writer.prepare()
    assert writer.write(1, patience_s=60) == len(shard_ranges(plan.manifest)[1])
    assert lost.time == 59.5
    assert writer.progress() == (1, len(shard_ranges(plan.manifest)[1]))


@pytest.mark.parametrize(("patience_s", "waited_s"), [(0, 0.5), (60, 60.5)])
def test_patience_with_a_lost_writer_ends(
    planned: Callable, patience_s: float, waited_s: float
) -> None:
    plan, pixels = planned(shards=3)
    lost = Lost(plan, ends_at=1000)
    writer = ShardWriter(plan, pixels, clock=lost.clock, sleep=lost.sleep)
    writer.prepare()
    with pytest.raises(DatasetError, match="is being written by another process"):
        writer.write(1, patience_s=patience_s)
    assert lost.time == waited_s
    lost.end()


def test_a_node_without_the_dataset_is_named(planned: Callable, tmp_path: Path) -> None:
    writer = ShardWriter(*planned(shards=3))
    shutil.rmtree(tmp_path / "d")
    with pytest.raises(DatasetError, match=f"on node {socket.gethostname()}: .* is not there"):
        writer.prepare()


# ---- the command -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_the_command_starts_a_ray_of_its_own(pictures: dict, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dsetkit", "generate", "--output", str(tmp_path / "d")]
    for name, folder in pictures.items():
        command += [f"--{name}", str(folder)]
    command += ["--num-samples", str(SAMPLES), "--teacher", "none", "--size", "64"]
    command += ["--placements", "5", "--workers", "2", "--batch-size", "8", "--shards", "3"]
    command += ["--engine", "ray"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"3 of 3 shards are complete: {SAMPLES} samples" in done.stderr
    ours = ("generate: ", "waiting for a Ray worker", "3 of 3 shards")
    assert all(line.startswith(ours) for line in done.stderr.splitlines()), done.stderr
    assert len(Dataset(tmp_path / "d")) == SAMPLES
