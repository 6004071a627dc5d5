"""Joining a Ray cluster, or starting one on this machine; what cannot be had ends in one line."""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from dsetkit.errors import DsetkitError
from dsetkit.stopping import kept_handlers

SECONDS_TO_CONNECT = 30
CLIENT_PORT = 10001  # of ray://HOST
_ROOM_IN_STORE = 1 << 27  # bytes besides the assets; Ray asks for 75 MB at least
_ADVICE = "start it with `ray start --head`, or leave --ray-address away for a Ray of this run"


def installed_ray() -> ModuleType:
    """Ray, an optional extra.

    Raises:
        DsetkitError: It is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray is loaded
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise DsetkitError(
            "--engine ray needs Ray: pip install 'dsetkit[ray]', here and on every node"
        ) from None
    return ray


@contextmanager
def joined(ray: ModuleType, address: str | None, *, cpus: int, asset_bytes: int) -> Iterator[None]:
    """Inside, this process belongs to a cluster; what was started or joined for it ends with it.

    Args:
        ray: The package.
        address: `auto`, HOST:PORT or ray://HOST:PORT; None starts Ray on this machine.
        cpus: At most this many for a Ray that is started.
        asset_bytes: What its object store must hold.

    Raises:
        DsetkitError: Nothing answers there, or Ray cannot be started.
    """
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"address": "local", "num_cpus": min(cpus, os.cpu_count() or 1)}
        options |= {"object_store_memory": 2 * asset_bytes + _ROOM_IN_STORE}
        options |= {"include_dashboard": False}
    else:
        _check_reachable(address)
        options |= {"address": address}
    try:
        with kept_handlers():
            ray.init(**options)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        what = f"cannot join Ray at {address}" if address else "cannot start Ray here"
        raise DsetkitError(f"{what}: {one_line(error)}") from None
    try:
        yield
    finally:
        ray.shutdown()


def room_for(ray: ModuleType, gpus_per_worker: float) -> int:
    """Workers, of one CPU each, that the nodes could hold if nothing else ran on them."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = [int(node.get("CPU", 0)) for node in nodes]
    if gpus_per_worker:
        by_gpus = [int(node.get("GPU", 0) / gpus_per_worker) for node in nodes]
        room = [min(both) for both in zip(room, by_gpus, strict=True)]
    return sum(room)


def describe_need(gpus_per_worker: float) -> str:
    """What a worker takes of a node, and what to do where no node has it."""
    if not gpus_per_worker:
        return "a CPU for a worker: add a node that has"
    return (
        f"a CPU and {gpus_per_worker:g} of a GPU for a worker: add a node that has, or change "
        "--gpus-per-worker"
    )


def one_line(error: BaseException, *, most: int = 300) -> str:
    """The text of an error of Ray, which runs over many lines."""
    text = " ".join(str(error).split())
    return text if len(text) <= most else f"{text[:most]} ..."


def _check_reachable(address: str) -> None:
    """Asks beforehand: with nothing there, `ray.init` tries for minutes and can end the process."""
    is_client = address.startswith("ray://")
    if address != "auto":
        parts = urlsplit(address if is_client else f"//{address}")
        try:
            host, port = parts.hostname, parts.port or (CLIENT_PORT if is_client else None)
        except ValueError:  # a port that is no number
            host = port = None
        if not (host and port):
            raise DsetkitError(
                f"--ray-address {address}: expected auto, HOST:PORT or ray://HOST:PORT"
            )
        try:
            socket.create_connection((host, port), timeout=SECONDS_TO_CONNECT).close()
        except OSError as error:
            raise DsetkitError(f"no Ray at {address} ({error}): {_ADVICE}") from None
    if not is_client and not _answers(address):  # a client gives up by itself
        raise DsetkitError(f"no Ray answers at {address}: {_ADVICE}")


def _answers(address: str) -> bool:
    where = [] if address == "auto" else ["--address", address]
    command = [sys.executable, "-m", "ray.scripts.scripts", "status", *where]
    try:
        asked = subprocess.run(command, capture_output=True, timeout=SECONDS_TO_CONNECT)
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0
