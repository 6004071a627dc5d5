"""Shards from stores on loopback: a real S3 server, a web server, and both with broken lines."""

import contextlib
import errno
import multiprocessing
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from dsetkit import SampleDataset
from dsetkit.cli import main
from dsetkit.datasets.reader import Dataset
from dsetkit.errors import DatasetError
from dsetkit.store import remote
from dsetkit.store.lmdb_store import StoreReader, StoreWriter, u64_key
from dsetkit.store.remote import RemoteShards, is_remote
from dsetkit.store.shard_cache import ShardCache, parse_bytes
from dsetkit.store.shard_list import FILE_NAME, make_shard_list
from dsetkit.store.shards import list_shards
from tests.helpers.gates import Gate, come_to
from tests.helpers.worlds import tiny_dataset

REMOTE = "needs dsetkit[remote]"
fsspec = pytest.importorskip("fsspec", reason=REMOTE)
pytest.importorskip("s3fs", reason=REMOTE)
pytest.importorskip("aiohttp", reason=REMOTE)

NAMES = [f"shard-{number:05d}.lmdb" for number in range(3)]
SIZE = 200_000  # bytes of a shard


# ---- a tiny world ------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting, small blocks, a cache of its own, and nobody's credentials."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "DSETKIT_", "FSSPEC_"))]:
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("DSETKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DSETKIT_CACHE_BYTES", "1GB")  # not what happens to be free
    monkeypatch.setattr(remote, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(remote, "BLOCK", 1 << 16)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # other tests keep the disk busy


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    """A dataset as it lies in a store: three shards of noise and their list."""
    return dataset(tmp_path / "made")


def dataset(directory: Path, sizes: tuple[int, ...] = (SIZE, SIZE, SIZE)) -> dict[str, bytes]:
    directory.mkdir()
    paths = [directory / name for name, _ in zip(NAMES, sizes, strict=True)]
    for path, size in zip(paths, sizes, strict=True):
        path.write_bytes(os.urandom(size))
    make_shard_list(paths, fingerprint="f00d").write(directory)
    return {path.name: path.read_bytes() for path in directory.iterdir()}


class Web:
    """A web server on loopback that gives `files` by their last name, whatever the folder.

    It counts requests, and is as bad as the attributes say.
    """

    def __init__(self, files: dict[str, bytes], *, ranges: bool = True) -> None:
        self.files, self.ranges = files, ranges
        self.gets: Counter[str] = Counter()
        self.cuts = 0  # answers of shards that will end in the middle
        self.before_answers: Callable[[str], object] = lambda name: None  # to a GET of a name
        self.status: dict[str, tuple[int, bytes]] = {}  # answers in place of a file
        self.counting = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.url = f"{self.address}/ds"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        name = unquote(request.path.partition("?")[0]).rsplit("/", 1)[-1]
        if request.command == "GET":
            with self.counting:
                self.gets[name] += 1
            self.before_answers(name)
        status, content = 200, self.files.get(name, b"")
        if name in self.status:
            status, content = self.status[name]
        elif name not in self.files:
            status = 404
        asked = request.headers.get("Range")
        if asked and self.ranges and status == 200:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            status, content = 206, content[int(first) : int(last) + 1]
        request.send_response(status)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        with self.counting:
            is_cut = self.cuts > 0 and name.endswith(".lmdb")
            self.cuts -= is_cut
        if is_cut:
            content = content[: len(content) // 2]
            request.close_connection = True
        if request.command == "GET":
            try:
                request.wfile.write(content)
            except OSError:
                pass  # the other side had enough

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def web(files: dict[str, bytes]) -> Iterator[Web]:
    server = Web(files)
    yield server
    server.close()


class CuttingProxy:
    """Passes TCP on to a server, and cuts `cuts` connections in the middle of a long answer."""

    def __init__(self, address: str, cuts: int) -> None:
        host, port = address.removeprefix("http://").split(":")
        self.target, self.cuts = (host, int(port)), cuts
        self.counting = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return  # closed
            far = socket.create_connection(self.target)
            for source, sink, is_answer in ((near, far, False), (far, near, True)):
                task = (source, sink, is_answer)
                threading.Thread(target=self._pass, args=task, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        passed = 0
        try:
            while content := source.recv(8192):
                sink.sendall(content)
                passed += len(content)
                if is_answer and passed > 30_000 and self._may_cut():
                    break
        except OSError:
            pass
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _may_cut(self) -> bool:
        with self.counting:
            is_cut = self.cuts > 0
            self.cuts -= is_cut
        return is_cut

    def close(self) -> None:
        self.listener.close()


@pytest.fixture(scope="module")
def s3_address() -> Iterator[str]:
    moto_server = pytest.importorskip("moto.server", reason="needs requirements-dev.txt")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3(s3_address: str, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of the dataset in a bucket of the S3 server."""
    s3_keys(monkeypatch, s3_address)
    import boto3

    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="bucket")
    for name, content in files.items():
        client.put_object(Bucket="bucket", Key=f"sets/mine/{name}", Body=content)
    return "s3://bucket/sets/mine"


def s3_keys(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


def leftovers(cache: Path) -> list[str]:
    return [path.name for path in cache.rglob("*.part")]


def kept(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.lmdb"))


def error_of(act: Callable[[], object]) -> str:
    with pytest.raises(DatasetError) as caught:
        act()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    return message


# ---- what is a URL -----------------------------------------------------------------------------


def test_only_urls_of_another_machine_are_remote() -> None:
    for path in ("s3://b/x", "gs://b/x", "https://h/x", "HTTP://h", "hf://datasets/a/b"):
        assert is_remote(path)
    for path in ("data/mine", "/data", "file:///data", "C:\\data", "s3:/b", "a b://c", "", "."):
        assert not is_remote(path)
    assert not is_remote(Path("data/mine"))


def test_sizes_are_read_as_people_write_them() -> None:
    sizes = {"50GB": 50 * 10**9, "1.5 tb": 15 * 10**11, "2GiB": 2**31, "10": 10, "3k": 3000}
    assert {text: parse_bytes(text) for text in sizes} == sizes
    for text in ("", "GB", "-1", "1 iB", "1e9", "50 GB or so", "nan"):
        assert "no size" in error_of(lambda text=text: parse_bytes(text))


# ---- fetching ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_shard_of_a_bucket_arrives_whole(s3: str, files: dict, tmp_path: Path) -> None:
    shards = RemoteShards(f"{s3}/")
    assert shards.shard_list.fingerprint == "f00d"
    for name in NAMES:
        path = shards.local(name)
        assert path.read_bytes() == files[name]
        assert path.parent == tmp_path / "cache"
        assert path.stem == shards.shard_list.shard(name).checksum
    assert not leftovers(tmp_path)


def test_every_shard_of_a_web_server_arrives_whole(web: Web, files: dict) -> None:
    shards = RemoteShards(web.url)
    assert [path.read_bytes() for path in shards.local_all()] == [files[name] for name in NAMES]


def test_a_web_server_without_ranges_will_do(web: Web, files: dict) -> None:
    web.ranges = False
    shards = RemoteShards(web.url)
    web.cuts = 3  # the look for ranges among them
    assert shards.local(NAMES[0]).read_bytes() == files[NAMES[0]]
    web.cuts = 1000
    assert "tried 6 times" in error_of(lambda: shards.local(NAMES[1]))


def test_shards_of_google_storage_arrive_whole(
    web: Web, files: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    pytest.importorskip("gcsfs", reason=REMOTE)
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon", "endpoint_url": web.address})
    shards = RemoteShards("gs://bucket/ds")
    assert shards.local(NAMES[1]).read_bytes() == files[NAMES[1]]
    web.status[NAMES[0]] = (404, b"")
    assert "is not there" in error_of(lambda: shards.local(NAMES[0]))
    web.status[NAMES[0]] = (403, b"no")
    assert "GOOGLE_APPLICATION_CREDENTIALS" in error_of(lambda: shards.local(NAMES[0]))


def test_lmdb_reads_what_was_fetched(web: Web, tmp_path: Path) -> None:
    path = tmp_path / "shard-00000.lmdb"
    with StoreWriter(path) as writer:
        writer.put([("samples", u64_key(i), bytes([i]) * 999) for i in range(50)])
    web.files[path.name] = path.read_bytes()
    web.files[FILE_NAME] = make_shard_list([path], fingerprint="").to_json().encode()
    reader = StoreReader(RemoteShards(web.url).local(path.name))
    assert reader.get("samples", u64_key(7)) == b"\7" * 999


@pytest.mark.slow
def test_a_dataset_at_an_address_is_read_shard_by_shard(
    s3_address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = tiny_dataset(tmp_path / "here", num_samples=100, shards=3)
    list_shards(here)
    s3_keys(monkeypatch, s3_address)
    import boto3

    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="photos")
    for file in here.iterdir():
        client.upload_file(str(file), "photos", f"mine/{file.name}")
    local, away = Dataset(here), Dataset("s3://photos/mine")
    assert len(kept(tmp_path / "cache")) == 1  # the first, which has the manifest
    assert (away.manifest, len(away)) == (local.manifest, 100)
    assert away.records(range(100)) == local.records(range(100))
    assert len(kept(tmp_path / "cache")) == 3
    kept(tmp_path / "cache")[0].unlink()  # as if it had made way for another
    ours, theirs = (SampleDataset(data, size=16) for data in (here, "s3://photos/mine"))
    for position in range(len(ours)):
        assert all(theirs[position][name].equal(value) for name, value in ours[position].items())
    assert len(kept(tmp_path / "cache")) == 3
    main(["verify", "s3://photos/mine"])
    main(["show", "s3://photos/mine", "--output", str(tmp_path / "sheet.png")])
    with pytest.raises(DatasetError, match="no dataset at s3:/photos"):  # split writes
        main(["split", "s3://photos/mine"])


def test_what_is_there_is_not_fetched_again(web: Web) -> None:
    RemoteShards(web.url).local_all()
    before = Counter(web.gets)
    again = RemoteShards(web.url.replace("/ds", "/elsewhere"))  # another URL, the same content
    again.local_all()
    assert web.gets - before == Counter({FILE_NAME: 1})


@pytest.mark.parametrize("ranges", [True, False])
def test_progress_ends_at_the_total_and_never_falls(web: Web, ranges: bool) -> None:
    web.ranges, seen = ranges, []
    RemoteShards(web.url).local_all(lambda *step: seen.append(step))
    done = [step[0] for step in seen]
    assert done == sorted(done) and done[-1] == 3 * SIZE
    assert {step[1] for step in seen} == {3 * SIZE}


@pytest.mark.parametrize("store", ["web", pytest.param("s3", marks=pytest.mark.slow)])
def test_an_object_travels_to_processes_however_they_start(
    store: str, files: dict, request: pytest.FixtureRequest
) -> None:
    given = request.getfixturevalue(store)
    shards = RemoteShards(given.url if store == "web" else given)
    shards.local(NAMES[0])  # its connections are open now
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)
    child = fork.Process(target=lambda: there.send(shards.local(NAMES[1]).read_bytes()))
    child.start()
    there.close()  # should the child die, the pipe ends
    assert here.recv() == files[NAMES[1]]
    child.join()
    assert child.exitcode == 0
    assert pickle.loads(pickle.dumps(shards)).local(NAMES[2]).read_bytes() == files[NAMES[2]]
    assert shards.local(NAMES[2]).exists()  # the parent's connections are as they were


# ---- many ask at once --------------------------------------------------------------------------

ASK = (
    "import sys; from dsetkit.store.remote import RemoteShards as R; "
    "R(sys.argv[1]).local(sys.argv[2])"
)


def test_processes_share_one_fetch(web: Web, tmp_path: Path) -> None:
    both = threading.Barrier(2)  # neither gets the list before both have asked for it
    web.before_answers = lambda name: both.wait() if name == FILE_NAME else None
    command = [sys.executable, "-c", ASK, web.url, NAMES[0]]
    started = [subprocess.Popen(command, cwd=Path(__file__).parents[2]) for _ in range(2)]
    assert [process.wait() for process in started] == [0, 0]
    # These processes ask for whole shards of this size at once.
    assert web.gets == Counter({FILE_NAME: 2, NAMES[0]: 1})
    assert not leftovers(tmp_path)


def test_threads_share_one_fetch(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "BLOCK", 1 << 24)
    shards, all_of_them = RemoteShards(web.url), threading.Barrier(8)

    def ask(name: str) -> Path:
        all_of_them.wait()
        return shards.local(name)

    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(ask, [NAMES[0]] * 8))
    assert len(paths) == 1 and web.gets[NAMES[0]] == 1


@pytest.mark.slow
def test_a_killed_fetch_leaves_nothing_that_is_used(web: Web, files: dict, tmp_path: Path) -> None:
    with Gate(tmp_path / "gate") as gate:
        web.before_answers = lambda name: name == NAMES[0] and come_to(gate.folder, 0)
        command = [sys.executable, "-c", ASK, web.url, NAMES[0]]
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
        assert gate.wait_for(1, of=process.pid)  # it has asked for the shard, and waits
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert leftovers(tmp_path) and not kept(tmp_path / "cache")
        web.before_answers = lambda name: None
    shards = RemoteShards(web.url)
    shards.local(NAMES[1])  # any fetch tidies up after the dead
    assert not leftovers(tmp_path)
    assert shards.local(NAMES[0]).read_bytes() == files[NAMES[0]]


def test_the_bytes_reach_the_disk_before_the_name(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards, steps, replace = RemoteShards(web.url), [], os.replace

    def named(*paths) -> None:
        steps.append("name")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", lambda _: steps.append("disk"))
    monkeypatch.setattr(os, "replace", named)
    shards.local(NAMES[0])
    assert steps == ["disk", "name"]


def test_a_living_fetch_is_not_tidied_away(web: Web, tmp_path: Path) -> None:
    shards = RemoteShards(web.url)
    shard = shards.shard_list.shards[0]
    with shards.cache.writing(), shards.cache.locked(shard.checksum):
        with shards.cache.new_file(shard) as (_, part):
            with ThreadPoolExecutor(1) as pool:
                pool.submit(shards.local, NAMES[1]).result()
            assert part.exists()
        assert not part.exists()


# ---- what can break ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_line_that_breaks_sometimes_does_no_harm(
    s3: str, s3_address: str, files: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = CuttingProxy(s3_address, cuts=4)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
    shards = RemoteShards(s3)
    assert [path.read_bytes() for path in shards.local_all()] == [files[name] for name in NAMES]
    assert proxy.cuts == 0
    assert not leftovers(tmp_path)
    proxy.close()


@pytest.mark.slow
def test_a_line_that_always_breaks_ends_in_a_line_of_text(
    s3: str, s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = CuttingProxy(s3_address, cuts=10**6)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
    shards = RemoteShards(s3)
    message = error_of(lambda: shards.local(NAMES[1]))
    assert message.startswith(f"cannot fetch {s3}/{NAMES[1]}, tried 6 times (")
    assert not leftovers(tmp_path) and not kept(tmp_path / "cache")
    proxy.close()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_web_server_that_breaks_off_is_asked_again(web: Web, files: dict, ranges: bool) -> None:
    web.ranges = ranges
    shards = RemoteShards(web.url)
    web.cuts = 2
    assert shards.local(NAMES[0]).read_bytes() == files[NAMES[0]]
    assert web.cuts == 0


def test_a_busy_server_is_asked_again_a_refusing_one_is_not(web: Web) -> None:
    shards = RemoteShards(web.url)
    for status, expected in ((503, 6), (429, 6), (403, 1), (404, 1), (410, 1)):
        web.gets.clear()
        web.status = {NAMES[0]: (status, b"")}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(remote, "BLOCK", 1 << 24)
            error_of(lambda: shards.local(NAMES[0]))
        assert web.gets[NAMES[0]] == expected, status


def test_a_server_that_falls_silent_is_given_up(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "READ_TIMEOUT_S", 0.05)
    over = threading.Event()
    web.before_answers = lambda name: over.wait()  # as long as anybody asks
    assert "tried 3 times (" in error_of(lambda: RemoteShards(web.url))
    s3_keys(monkeypatch, web.address)
    assert "tried 3 times (" in error_of(lambda: RemoteShards("s3://bucket/ds"))
    over.set()


def test_another_shard_than_the_listed_is_asked_for_once_more(web: Web, tmp_path: Path) -> None:
    shards = RemoteShards(web.url)
    for wrong in (bytes(SIZE), bytes(SIZE + 9)):  # without ranges, a longer one shows its length
        for ranges in (True, False):
            web.ranges, web.files[NAMES[1]] = ranges, wrong
            web.gets.clear()
            message = error_of(lambda: shards.local(NAMES[1]))
            assert f"{web.url}/{NAMES[1]} is not the shard that shards.json lists" in message
            assert not leftovers(tmp_path) and not kept(tmp_path / "cache")


def test_a_shard_spoilt_on_the_way_is_fetched_again(
    web: Web, files: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = RemoteShards(web.url)
    read, spoilt = RemoteShards._read, []

    def spoil_once(self: RemoteShards, *args) -> bytes:
        content = read(self, *args)
        if not spoilt:
            spoilt.append(True)
            return bytes(len(content))
        return content

    monkeypatch.setattr(RemoteShards, "_read", spoil_once)
    assert shards.local(NAMES[0]).read_bytes() == files[NAMES[0]] and spoilt


def test_a_cached_file_of_another_size_is_fetched_anew(web: Web, files: dict) -> None:
    shards = RemoteShards(web.url)
    path = shards.local(NAMES[0])
    for content in (b"", files[NAMES[0]][:-1], files[NAMES[0]] + b"x"):
        path.write_bytes(content)
        assert shards.local(NAMES[0]).read_bytes() == files[NAMES[0]]


def test_a_dataset_that_changed_never_mixes_with_the_old(web: Web, tmp_path: Path) -> None:
    old = RemoteShards(web.url)
    before = old.local(NAMES[0])
    content = before.read_bytes()
    web.files = dataset(tmp_path / "new")
    new = RemoteShards(web.url).local(NAMES[0])
    assert new != before and new.read_bytes() == web.files[NAMES[0]]
    assert old.local(NAMES[0]).read_bytes() == content
    assert "is not the shard" in error_of(lambda: old.local(NAMES[1]))


# ---- room --------------------------------------------------------------------------------------


def test_what_was_used_longest_ago_goes_first(web: Web, tmp_path: Path) -> None:
    shards = RemoteShards(web.url, max_bytes=2 * SIZE + 10)
    first, second = (shards.local(name) for name in NAMES[:2])
    os.utime(second, (1, 1))
    opened = open(second, "rb")
    third = shards.local(NAMES[2])
    assert kept(tmp_path / "cache") == sorted([first, third])
    assert len(opened.read()) == SIZE  # whoever has it open reads on
    opened.close()
    os.utime(first, (1, 1))
    os.utime(third, (2, 2))
    shards.local(NAMES[0])  # used again: now the third is the oldest
    shards.local(NAMES[1])
    assert kept(tmp_path / "cache") == sorted([first, second])


def test_the_bound_holds_for_all_datasets_and_spares_strangers(web: Web, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / NAMES[0]).write_bytes(bytes(SIZE))  # somebody's own
    for number in range(3):
        web.files = dataset(tmp_path / f"set{number}")
        RemoteShards(web.url, max_bytes=4 * SIZE).local_all()
    assert (cache / NAMES[0]).exists()
    ours = [path for path in kept(cache) if path.name != NAMES[0]]
    assert sum(path.stat().st_size for path in ours) <= 4 * SIZE
    before = Counter(web.gets)
    RemoteShards(web.url, max_bytes=4 * SIZE).local_all()  # the latest is there in full
    assert not [name for name in web.gets - before if name in NAMES]


def test_the_bound_may_stand_in_the_environment(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSETKIT_CACHE_BYTES", "0.4MB")
    shards = RemoteShards(web.url)
    for name in NAMES:
        shards.local(name)
    assert len(kept(tmp_path / "cache")) == 2
    message = error_of(shards.local_all)
    assert "takes 600,000 bytes" in message and "may hold 400,000" in message
    monkeypatch.setenv("DSETKIT_CACHE_BYTES", "150k")
    small = RemoteShards(web.url)
    assert "DSETKIT_CACHE_BYTES" in error_of(lambda: small.local(NAMES[0]))
    monkeypatch.setenv("DSETKIT_CACHE_BYTES", "much")
    assert "'much' is no size" in error_of(lambda: RemoteShards(web.url))


def test_some_of_the_disk_stays_free(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DSETKIT_CACHE_BYTES")
    shards = RemoteShards(web.url)
    first = shards.local(NAMES[0])
    # 100 kB free of 1 MB, a twentieth of which is to stay: one has to go for the next.
    usage = type("Usage", (), {"total": 10**6, "used": 0, "free": 10**5})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    second = shards.local(NAMES[1])
    assert kept(tmp_path / "cache") == [second] and not first.exists()


def disk_of(num_bytes: int, folder: Path) -> Callable[[int, int, int], None]:
    """What takes room for the files of a folder, which have so much together."""

    def take_room(file: int, offset: int, count: int) -> None:
        used = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
        if used + count > num_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.posix_fallocate(file, offset, count)

    return take_room


def test_a_full_disk_makes_room_and_then_says_so(web: Web, files: dict, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    shards = RemoteShards(web.url)
    shards.cache = ShardCache(disk, 10**9, take_room=disk_of(512 << 10, disk))
    paths = [shards.local(name) for name in NAMES]  # the disk holds two of them
    assert kept(disk) == sorted(paths[1:])
    assert paths[2].read_bytes() == files[NAMES[2]]
    for path in paths[1:]:
        path.unlink()
    (disk / "others").write_bytes(bytes(400_000))
    message = error_of(lambda: shards.local(NAMES[0]))
    assert "No space left on device" in message and "DSETKIT_CACHE" in message
    assert not leftovers(disk) and not kept(disk)


def test_a_disk_that_fills_up_in_the_middle_leaves_nothing(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    shards = RemoteShards(web.url)
    monkeypatch.setattr(os, "pwrite", full)
    assert "No space left on device" in error_of(lambda: shards.local(NAMES[0]))
    web.ranges = False
    monkeypatch.setattr(RemoteShards, "_stream", full)
    assert "No space left on device" in error_of(lambda: shards.local(NAMES[0]))
    assert not leftovers(tmp_path) and not kept(tmp_path / "cache")


def test_a_folder_that_is_none_is_told(web: Web, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    shards = RemoteShards(web.url, tmp_path / "file")
    assert "cannot write the cache" in error_of(lambda: shards.local(NAMES[0]))
    assert "cannot write the cache" in error_of(shards.local_all)


def test_a_cache_that_may_only_be_read_is_read(
    web: Web, files: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = RemoteShards(web.url)
    shards.local_all()

    def refuse(*_) -> None:
        raise PermissionError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "utime", refuse)
    assert shards.local(NAMES[0]).read_bytes() == files[NAMES[0]]


# ---- what a user can mend ----------------------------------------------------------------------


def test_a_dataset_without_a_list_is_refused(web: Web) -> None:
    del web.files[FILE_NAME]
    message = error_of(lambda: RemoteShards(web.url))
    assert message.startswith(f"{web.url}/shards.json is not there (")
    web.files[FILE_NAME] = b"<html>"
    assert f"{web.url}/shards.json is not JSON" in error_of(lambda: RemoteShards(web.url))


@pytest.mark.slow
@pytest.mark.usefixtures("s3")
def test_a_folder_of_a_bucket_without_a_list_is_refused() -> None:
    message = error_of(lambda: RemoteShards("s3://bucket/sets/other"))
    assert message.startswith("s3://bucket/sets/other/shards.json is not there (")


@pytest.mark.slow
def test_a_missing_bucket_is_told_from_a_missing_file(s3: str) -> None:
    message = error_of(lambda: RemoteShards("s3://no-such-bucket/ds"))
    assert "bucket does not exist" in message


def test_a_shard_that_was_not_uploaded_is_named(web: Web) -> None:
    del web.files[NAMES[2]]
    shards = RemoteShards(web.url)
    assert f"{web.url}/{NAMES[2]} is not there" in error_of(lambda: shards.local(NAMES[2]))


def test_missing_credentials_are_told(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", web.address)
    message = error_of(lambda: RemoteShards("s3://bucket/ds"))
    assert "Unable to locate credentials" in message and "AWS_ACCESS_KEY_ID" in message
    assert not web.gets


def test_forbidden_is_told(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    denied = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    web.status[FILE_NAME] = (403, denied)
    s3_keys(monkeypatch, web.address)
    for url in ("s3://bucket/ds", web.url):
        web.gets.clear()
        message = error_of(lambda url=url: RemoteShards(url))
        assert message.startswith(f"{url}/shards.json may not be read (")
        assert web.gets[FILE_NAME] == 1


def test_a_server_that_is_not_there_is_told_after_two_short_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remote, "FIRST_WAIT_S", 0.5)  # as it is
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    s3_keys(monkeypatch, address)
    for url in (f"{address}/ds", "s3://bucket/ds"):
        waited = []
        message = error_of(lambda url=url, to=waited: RemoteShards(url, sleep=to.append))
        assert "check the network and the address" in message
        assert waited == [0.5, 1.0]


def test_an_unknown_scheme_is_told() -> None:
    assert "expected s3://, gs:// or https://" in error_of(lambda: RemoteShards("nope://x/y"))


def test_a_password_in_the_url_is_not_told(web: Web) -> None:
    del web.files[FILE_NAME]
    url = web.url.replace("//", "//me:secret@")
    assert "secret" not in error_of(lambda: RemoteShards(url))


@pytest.mark.parametrize(
    ("url", "missing"), [("s3://b/x", "s3fs"), ("https://h/x", "aiohttp"), ("s3://b/x", "fsspec")]
)
def test_packages_that_are_missing_are_named(
    url: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for known in ("s3", "http", "https"):  # those that fsspec has loaded before
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, known, raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)  # as if it were not installed
    assert "pip install 'dsetkit[remote]'" in error_of(lambda: RemoteShards(url))
