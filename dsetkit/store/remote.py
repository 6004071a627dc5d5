"""Shards from object storage or a web server, by way of a local cache: all that knows fsspec.

LMDB maps files, so a shard is fetched whole before it is read; `shard_cache` keeps it.
"""

import logging
import os
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from dsetkit.errors import DatasetError
from dsetkit.store.shard_cache import FULL, ShardCache, default_cache_dir, parse_bytes
from dsetkit.store.shard_list import FILE_NAME, Progress, Shard, ShardList, checksum_of

ATTEMPTS = 6  # at each block
FIRST_ATTEMPTS = 3  # at the shard list: a wrong address shows soon
FIRST_WAIT_S = 0.5  # doubles with every attempt
CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30  # without a single byte
BLOCK = 1 << 24  # bytes asked for at once: one connection alone is slow on every object store
CONNECTIONS = 8

_LONGEST_LIST = 1 << 26  # bytes
_ANSWERS = (OSError, EOFError, ValueError, ImportError, RuntimeError)  # built-in, of stores
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; FSSPEC_S3_ANON=true reads "
    "public buckets",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}
_PATIENT = ("gs", "gcs")  # gcsfs makes six attempts of its own, for half a minute
_Answer = TypeVar("_Answer")
_log = logging.getLogger(__name__)


def is_remote(path: str | Path) -> bool:
    """Whether a dataset's path is a URL to fetch from: any scheme but `file`."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", str(path))
    return scheme is not None and scheme[1].lower() != "file"


class RemoteShards:
    """The shards of a dataset elsewhere; picklable, safe under fork and spawn.

    Credentials and endpoints are fsspec's business: AWS_* variables, ~/.config/fsspec, FSSPEC_*.

    Args:
        url: Where `shards.json` and the shards lie: s3://, gs://, https:// or what fsspec knows.
        cache_dir: The local cache; None: see `default_cache_dir`.
        max_bytes: Bound of the cache; None: `$DSETKIT_CACHE_BYTES`, or else 100 GB, less where a
            twentieth of the disk (at most 10 GB) would not stay free.
        sleep: Waits before another attempt, for so long [s].

    Attributes:
        shard_list: What the dataset consists of, read once.

    Raises:
        DatasetError: No shard list there, no way to it, or packages are missing.
    """

    def __init__(
        self,
        url: str,
        cache_dir: Path | None = None,
        max_bytes: int | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self._sleep = sleep
        asked = os.environ.get("DSETKIT_CACHE_BYTES")
        if max_bytes is None and asked:
            max_bytes = parse_bytes(asked)
        self.cache = ShardCache(Path(cache_dir or default_cache_dir()), max_bytes)
        self._opened: tuple | None = None
        read = partial(self._read, FILE_NAME, 0, _LONGEST_LIST)
        content = self._patiently(FILE_NAME, read, FIRST_ATTEMPTS)
        self.shard_list = ShardList.from_json(content, source=self._shown(FILE_NAME))

    def __getstate__(self) -> dict:
        return vars(self) | {"_opened": None}

    def local(self, name: str, progress: Progress | None = None) -> Path:
        """The local file of a shard, fetched if need be: once, however many ask at a time.

        Ask in every process, right before opening: it costs a look at one file, and what nobody
        has asked for lately may go.

        Args:
            name: Of the shard list.
            progress: Told of the bytes fetched and their total after each block.

        Raises:
            DatasetError: The shard cannot be fetched, is not the one listed, or has no room.
        """
        shard = self.shard_list.shard(name)
        if not self.cache.has(shard):
            with self.cache.writing(), self.cache.locked(shard.checksum):
                if not self.cache.has(shard):  # else the one we waited for has fetched it
                    self._fetch(shard, progress or (lambda done, total: None))
        return self.cache.path(shard)

    def local_all(self, progress: Progress | None = None) -> list[Path]:
        """The local files of all shards, in order; a cache too small for all is refused at once.

        Args:
            progress: Told of the bytes that are there and their total.

        Raises:
            DatasetError: As `local`.
        """
        shards, total, done, paths = self.shard_list.shards, self.shard_list.num_bytes, 0, []
        with self.cache.writing():
            self.cache.check_bound(self._shown(), total)
        for shard in shards:
            self.cache.has(shard)  # counts as asked for: none of them makes way for another
        for shard in shards:

            def advance(fetched: int, _: int, before: int = done) -> None:
                if progress:
                    progress(before + fetched, total)

            paths.append(self.local(shard.name, advance))
            done += shard.num_bytes
            if progress:
                progress(done, total)
        return paths

    def _fetch(self, shard: Shard, progress: Progress) -> None:
        """From nothing to a whole file in the cache; the caller holds the shard's lock."""
        _log.info("fetching %s, %s bytes", self._shown(shard.name), f"{shard.num_bytes:,}")
        for _ in range(2):  # once more: a proxy may have kept an old or a spoilt copy
            with self.cache.new_file(shard) as (file, part):
                self._fill(file, shard, progress)
                whole = os.fstat(file.fileno()).st_size == shard.num_bytes
                if whole and checksum_of(part) == shard.checksum:
                    self.cache.keep(file, part, shard)
                    return
        raise DatasetError(
            f"{self._shown(shard.name)} is not the shard that {FILE_NAME} lists (twice another "
            "size or checksum came): upload the dataset again, its shard list last"
        )

    def _fill(self, file: BinaryIO, shard: Shard, progress: Progress) -> None:
        if shard.num_bytes > BLOCK and not self._patiently(
            shard.name, partial(self._gives_ranges, shard)
        ):
            self._patiently(shard.name, partial(self._stream, file, shard))
            return

        stopped = threading.Event()

        def fetch_block(start: int) -> int:
            def read() -> bytes:
                if stopped.is_set():
                    raise CancelledError
                return self._read(shard.name, start, min(start + BLOCK, shard.num_bytes), True)

            return os.pwrite(file.fileno(), self._patiently(shard.name, read), start)

        pool, done = ThreadPoolExecutor(CONNECTIONS), 0
        try:
            for count in pool.map(fetch_block, range(0, shard.num_bytes, BLOCK)):
                done += count
                progress(done, shard.num_bytes)
        finally:
            stopped.set()  # when one block failed, the rest is not wanted
            pool.shutdown(cancel_futures=True)

    # ---- talking to the store ------------------------------------------------------------------

    def _read(self, name: str, start: int, end: int, exact: bool = False) -> bytes:
        files, root = self._filesystem()
        content = files.cat_file(f"{root}/{name}", start=start, end=end)
        if exact and len(content) != end - start:
            raise EOFError(f"{len(content):,} bytes came, {end - start:,} were asked for")
        return content

    def _gives_ranges(self, shard: Shard) -> bool:
        """Whether a part of a file can be had: everywhere but on the simplest web servers."""
        files, root = self._filesystem()
        if "https" not in files.protocol:
            return True
        url, size = f"{root}/{shard.name}", shard.num_bytes
        with files.open(url, "rb", cache_type="none", size=size) as file:
            file.seek(size - 1)
            try:
                return len(file.read(1)) == 1
            except ValueError:  # how fsspec says that the answer is the whole file
                return False

    def _stream(self, file: BinaryIO, shard: Shard) -> None:
        files, root = self._filesystem()
        file.seek(0)
        files.get_file(f"{root}/{shard.name}", file)
        if file.tell() < shard.num_bytes:
            raise EOFError(f"{file.tell():,} bytes came, {shard.num_bytes:,} were asked for")

    def _patiently(
        self, name: str, act: Callable[[], _Answer], attempts: int = ATTEMPTS
    ) -> _Answer:
        """What `act` answers; tried again while the network may be to blame."""
        attempt, attempts = 1, 1 if self._scheme in _PATIENT else attempts
        while True:
            try:
                return act()
            except Exception as error:  # every store brings exceptions of its own
                if _is_ours(error):
                    raise
                if attempt == attempts or not _may_pass(error):
                    raise DatasetError(_explained(error, self._shown(name), attempt)) from None
                _log.info("%s: %s; trying again", self._shown(name), _words(error))
            self._sleep(FIRST_WAIT_S * 2 ** (attempt - 1))
            attempt += 1

    def _filesystem(self) -> tuple:
        """fsspec's filesystem of this process, whose connections no fork takes along; the root."""
        if self._opened is None or self._opened[0] != os.getpid():
            from fsspec.config import apply_config
            from fsspec.core import get_filesystem_class, url_to_fs

            options = _options(self._scheme)
            options |= apply_config(get_filesystem_class(self._scheme), {})  # the user's own
            files, root = url_to_fs(self.url, skip_instance_cache=True, **options)
            if hasattr(files, "retries"):
                files.retries = 1  # s3fs: attempts are counted in one place, `_patiently`
            self._opened = (os.getpid(), files, root.rstrip("/"))
        return self._opened[1:]

    @property
    def _scheme(self) -> str:
        return self.url.partition("://")[0].lower()

    def _shown(self, name: str = "") -> str:
        """A URL for messages."""
        return _without_password(f"{self.url}/{name}" if name else self.url)


def _options(scheme: str) -> dict:
    """Time limits: what fsspec takes if not told otherwise is too long for a server that is gone,
    and too short (5 minutes for a whole file) for https."""
    if scheme in ("s3", "s3a"):
        limits = {"connect_timeout": CONNECT_TIMEOUT_S, "read_timeout": READ_TIMEOUT_S}
        return {"config_kwargs": limits | {"retries": {"max_attempts": 0}}}
    if scheme in ("http", "https"):
        from aiohttp import ClientTimeout

        limits = ClientTimeout(sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
        # The bytes as they lie there: what is compressed on the way has no ranges.
        headers = {"Accept-Encoding": "identity"}
        return {"client_kwargs": {"timeout": limits, "trust_env": True}, "headers": headers}
    if scheme in _PATIENT:
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # else a traceback each attempt
        # Else gcsfs asks by gRPC, which no fork survives, what kind of bucket this is.
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    return {}


def _is_ours(error: Exception) -> bool:
    """A fault of this file, of the local disk, or our own wish to stop: not the store's."""
    if isinstance(error, CancelledError) or getattr(error, "errno", None) in FULL:
        return True
    return type(error).__module__ == "builtins" and not isinstance(error, _ANSWERS)


def _status(error: Exception) -> int:
    """Status of a web answer, 0 if there is none."""
    status = getattr(error, "status", None) or getattr(error, "code", None) or 0
    return int(status) if str(status).isdigit() else 0


def _is_refusal(error: Exception) -> bool:
    """No credentials, or not those that may read it (some stores say so only in words)."""
    says = type(error).__name__ + str(error)[:20]
    is_known = isinstance(error, PermissionError) or _status(error) in (401, 403)
    return is_known or "Credentials" in says or "Forbidden" in says


def _may_pass(error: Exception) -> bool:
    """Whether the same request may do better a moment later."""
    if status := _status(error):
        return status in (408, 429) or status >= 500
    is_lasting = isinstance(error, FileNotFoundError | ValueError | ImportError)
    return not (is_lasting or _is_refusal(error))


def _explained(error: Exception, url: str, attempts: int) -> str:
    said = _words(error)
    if isinstance(error, ImportError):
        return f"{url} needs more packages ({said}): pip install 'dsetkit[remote]'"
    if isinstance(error, FileNotFoundError) or _status(error) == 404:
        return f"{url} is not there ({said}): expected shards with their {FILE_NAME} beside them"
    if _is_refusal(error):
        hint = _CREDENTIALS.get(url[:2].lower(), "those of its server")
        return f"{url} may not be read ({said}): give credentials ({hint})"
    if isinstance(error, ValueError):
        return f"{url} cannot be asked for ({said}): expected s3://, gs:// or https:// and a folder"
    return (
        f"cannot fetch {url}, tried {attempts} times ({said}): check the network and the address, "
        "then run the same command again"
    )


def _words(error: Exception) -> str:
    words = _without_password(" ".join(str(error).split()))
    return words[:200].rstrip(".") or type(error).__name__


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)
