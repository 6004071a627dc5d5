"""Fetching shards from object storage and web servers; only this module uses fsspec.

LMDB can read only local files. A shard is therefore fetched whole into the cache, see
`shard_cache`, before anything reads it.
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
from typing import Any, BinaryIO, TypeVar

from dsetkit.errors import DatasetError
from dsetkit.store.shard_cache import DISK_FULL, ShardCache, default_cache_dir, parse_bytes
from dsetkit.store.shard_list import FILE_NAME, Progress, Shard, ShardList, checksum_of

ATTEMPTS = 6  # for each block
FIRST_ATTEMPTS = 3  # for the shard list; fewer, so that a wrong address soon gives an error
FIRST_WAIT_S = 0.5  # between the first two attempts; doubles with each attempt
CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30  # without receiving a byte
BLOCK = 1 << 24  # bytes of one request; object stores are slow over a single connection
CONNECTIONS = 8

_LONGEST_LIST = 1 << 26  # bytes
# Built-in exceptions that fsspec's file systems raise for a problem of the store or the network.
_STORE_ERRORS = (OSError, EOFError, ValueError, ImportError, RuntimeError)
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; FSSPEC_S3_ANON=true reads "
    "public buckets",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}
_RETRYING_SCHEMES = ("gs", "gcs")  # gcsfs itself makes six attempts, over half a minute
_Result = TypeVar("_Result")
_log = logging.getLogger(__name__)


def is_remote(path: str | Path) -> bool:
    """Whether a dataset's path is a URL with any scheme but `file`."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", str(path))
    return scheme is not None and scheme[1].lower() != "file"


class RemoteShards:
    """Fetches the shards of a remote dataset. It can be pickled, and works after fork and spawn.

    fsspec reads credentials and endpoints from AWS_* variables, ~/.config/fsspec and FSSPEC_*.

    Args:
        url: The folder of `shards.json` and the shards: s3://, gs://, https://, or another scheme
            that fsspec knows.
        cache_dir: The folder of the cache; None means `default_cache_dir()`.
        max_bytes: Size limit of the cache. None means `$DSETKIT_CACHE_BYTES`; if that is not set,
            100 GB, or less so that a twentieth of the disk (at most 10 GB) stays free.
        sleep: Waits so long before another attempt [s].

    Attributes:
        shard_list: The shards of the dataset. It is fetched once.

    Raises:
        DatasetError: The shard list is missing or cannot be fetched, or packages are missing.
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
        from_environment = os.environ.get("DSETKIT_CACHE_BYTES")
        if max_bytes is None and from_environment:
            max_bytes = parse_bytes(from_environment)
        self.cache = ShardCache(Path(cache_dir or default_cache_dir()), max_bytes)
        self._opened: tuple[int, Any, str] | None = None  # process, file system, root
        read = partial(self._read, FILE_NAME, 0, _LONGEST_LIST)
        content = self._with_retries(FILE_NAME, read, FIRST_ATTEMPTS)
        self.shard_list = ShardList.from_json(content, source=self._display_url(FILE_NAME))

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_opened": None}

    def local(self, name: str, progress: Progress | None = None) -> Path:
        """The local file of a shard. If the cache lacks the shard, this fetches it.

        Concurrent calls for one shard fetch it once. Call this in each process right before opening
        the file: the cache may have deleted the shard, and the call marks the shard as used. If the
        cache has the shard, the call only inspects the file's metadata.

        Args:
            name: Name of the shard in the shard list.
            progress: Called with (bytes fetched, bytes in all) after each block.

        Raises:
            DatasetError: The shard cannot be fetched, it differs from the shard list, or the cache
                or the disk is full.
        """
        shard = self.shard_list.shard(name)
        if not self.cache.has(shard):
            with self.cache.writing(), self.cache.locked(shard.checksum):
                if not self.cache.has(shard):  # another process may have fetched it meanwhile
                    self._fetch(shard, progress or (lambda done, total: None))
        return self.cache.path(shard)

    def local_all(self, progress: Progress | None = None) -> list[Path]:
        """The local files of all shards, in order. Missing shards are fetched.

        Args:
            progress: Called with (bytes in the cache, bytes in all).

        Raises:
            DatasetError: As `local`; or the cache is too small for all shards, and then nothing is
                fetched.
        """
        shards, total, done, paths = self.shard_list.shards, self.shard_list.num_bytes, 0, []
        with self.cache.writing():
            self.cache.check_fits(self._display_url(), total)
        for shard in shards:
            self.cache.has(shard)  # marks it as used, so that no shard below replaces it
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
        """Fetches a shard into the cache. The caller holds the shard's lock."""
        _log.info("fetching %s, %s bytes", self._display_url(shard.name), f"{shard.num_bytes:,}")
        for _ in range(2):  # a proxy may give an old or damaged copy the first time
            with self.cache.new_file(shard) as (file, part):
                self._download(file, shard, progress)
                has_size = os.fstat(file.fileno()).st_size == shard.num_bytes
                if has_size and checksum_of(part) == shard.checksum:
                    self.cache.keep(file, part, shard)
                    return
        raise DatasetError(
            f"{self._display_url(shard.name)} is not the shard that {FILE_NAME} lists (its size or "
            "checksum differed twice): upload the dataset again, its shard list last"
        )

    def _download(self, file: BinaryIO, shard: Shard, progress: Progress) -> None:
        if shard.num_bytes > BLOCK and not self._with_retries(
            shard.name, partial(self._supports_ranges, shard)
        ):
            self._with_retries(shard.name, partial(self._stream, file, shard))
            return

        stopped = threading.Event()

        def fetch_block(start: int) -> int:
            def read() -> bytes:
                if stopped.is_set():
                    raise CancelledError
                return self._read(shard.name, start, min(start + BLOCK, shard.num_bytes), True)

            return os.pwrite(file.fileno(), self._with_retries(shard.name, read), start)

        pool, done = ThreadPoolExecutor(CONNECTIONS), 0
        try:
            for count in pool.map(fetch_block, range(0, shard.num_bytes, BLOCK)):
                done += count
                progress(done, shard.num_bytes)
        finally:
            stopped.set()  # if one block failed, the other threads stop
            pool.shutdown(cancel_futures=True)

    # ---- talking to the store ------------------------------------------------------------------

    def _read(self, name: str, start: int, end: int, exact: bool = False) -> bytes:
        files, root = self._filesystem()
        content = files.cat_file(f"{root}/{name}", start=start, end=end)
        if exact and len(content) != end - start:
            raise EOFError(f"received {len(content):,} of {end - start:,} bytes")
        return content

    def _supports_ranges(self, shard: Shard) -> bool:
        """Whether the server can send a part of a file. Only the simplest web servers cannot."""
        files, root = self._filesystem()
        if "https" not in files.protocol:
            return True
        url, size = f"{root}/{shard.name}", shard.num_bytes
        with files.open(url, "rb", cache_type="none", size=size) as file:
            file.seek(size - 1)
            try:
                return len(file.read(1)) == 1
            except ValueError:  # fsspec raises it if the server sends the whole file instead
                return False

    def _stream(self, file: BinaryIO, shard: Shard) -> None:
        files, root = self._filesystem()
        file.seek(0)
        files.get_file(f"{root}/{shard.name}", file)
        if file.tell() < shard.num_bytes:
            raise EOFError(f"received {file.tell():,} of {shard.num_bytes:,} bytes")

    def _with_retries(
        self, name: str, request: Callable[[], _Result], attempts: int = ATTEMPTS
    ) -> _Result:
        """Calls `request`, and calls it again after errors that may be temporary.

        Raises:
            DatasetError: The store refused, or the last attempt failed.
        """
        attempt, attempts = 1, 1 if self._scheme in _RETRYING_SCHEMES else attempts
        while True:
            try:
                return request()
            except Exception as error:  # each store has its own exceptions
                if not _is_store_error(error):
                    raise
                url = self._display_url(name)
                if attempt == attempts or not _is_temporary(error):
                    raise DatasetError(_describe(error, url, attempt)) from None
                _log.info("%s: %s; trying again", url, _message_of(error))
            self._sleep(FIRST_WAIT_S * 2 ** (attempt - 1))
            attempt += 1

    def _filesystem(self) -> tuple[Any, str]:
        """Fsspec's file system and the URL's path in it; connections are not shared by a fork."""
        if self._opened is None or self._opened[0] != os.getpid():
            from fsspec.config import apply_config
            from fsspec.core import get_filesystem_class, url_to_fs

            options = _options(self._scheme)
            user_options = apply_config(get_filesystem_class(self._scheme), {})
            options |= user_options
            files, root = url_to_fs(self.url, skip_instance_cache=True, **options)
            if hasattr(files, "retries"):
                files.retries = 1  # s3fs must not retry, because `_with_retries` does
            self._opened = (os.getpid(), files, root.rstrip("/"))
        _, files, root = self._opened
        return files, root

    @property
    def _scheme(self) -> str:
        return self.url.partition("://")[0].lower()

    def _display_url(self, name: str = "") -> str:
        """A URL for messages, without a password."""
        return _without_password(f"{self.url}/{name}" if name else self.url)


def _options(scheme: str) -> dict[str, Any]:
    """Options of fsspec's file system for a scheme; mostly time limits.

    fsspec's own limits are too long for a server that does not answer. Its limit for https is too
    short, because it allows 5 minutes for a whole file.
    """
    if scheme in ("s3", "s3a"):
        limits = {"connect_timeout": CONNECT_TIMEOUT_S, "read_timeout": READ_TIMEOUT_S}
        return {"config_kwargs": limits | {"retries": {"max_attempts": 0}}}
    if scheme in ("http", "https"):
        from aiohttp import ClientTimeout

        timeout = ClientTimeout(sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
        # Servers that compress an answer on the fly cannot send ranges of the file.
        headers = {"Accept-Encoding": "identity"}
        return {"client_kwargs": {"timeout": timeout, "trust_env": True}, "headers": headers}
    if scheme in _RETRYING_SCHEMES:
        # gcsfs logs a traceback for each failed attempt.
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
        # With this on, gcsfs asks for the type of the bucket over gRPC, which breaks after a fork.
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    return {}


def _is_store_error(error: Exception) -> bool:
    """Whether the store or the network caused an error.

    Other causes are this code, a full local disk, and threads that this code cancelled.
    """
    if isinstance(error, CancelledError) or getattr(error, "errno", None) in DISK_FULL:
        return False
    return type(error).__module__ != "builtins" or isinstance(error, _STORE_ERRORS)


def _status(error: Exception) -> int:
    """HTTP status of an error; 0 if it has none."""
    status = getattr(error, "status", None) or getattr(error, "code", None) or 0
    return int(status) if str(status).isdigit() else 0


def _is_refusal(error: Exception) -> bool:
    """Whether credentials are missing or not sufficient."""
    if isinstance(error, PermissionError) or _status(error) in (401, 403):
        return True
    text = type(error).__name__ + str(error)[:20]  # some stores give no status, only words
    return "Credentials" in text or "Forbidden" in text


def _is_temporary(error: Exception) -> bool:
    """Whether the same request may succeed a moment later."""
    if status := _status(error):
        return status in (408, 429) or status >= 500
    is_lasting = isinstance(error, FileNotFoundError | ValueError | ImportError)
    return not (is_lasting or _is_refusal(error))


def _describe(error: Exception, url: str, attempts: int) -> str:
    """The message for a user: what happened and what to do."""
    message = _message_of(error)
    if isinstance(error, ImportError):
        return f"{url} needs more packages ({message}): pip install 'dsetkit[remote]'"
    if isinstance(error, FileNotFoundError) or _status(error) == 404:
        return f"{url} is not there ({message}): expected shards with their {FILE_NAME} beside them"
    if _is_refusal(error):
        hint = _CREDENTIALS.get(url[:2].lower(), "those of its server")
        return f"{url} may not be read ({message}): give credentials ({hint})"
    if isinstance(error, ValueError):
        return f"cannot use {url} ({message}): expected s3://, gs:// or https:// and a folder"
    return (
        f"cannot fetch {url}, tried {attempts} times ({message}): check the network and the "
        "address, then run the same command again"
    )


def _message_of(error: Exception) -> str:
    """The error's own message in one line of at most 200 characters, without a password."""
    message = _without_password(" ".join(str(error).split()))
    return message[:200].rstrip(".") or type(error).__name__


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)
