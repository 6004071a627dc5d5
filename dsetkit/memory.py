"""How much memory there is, compared with what is asked for before it is taken."""

import os
from pathlib import Path

from dsetkit.errors import DsetkitError

MEMINFO = Path("/proc/meminfo")
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")  # a number, or "max"


def available_memory() -> int | None:
    """Memory that this process can still take [bytes]; None where the system does not say.

    On Linux it is what is free or can be freed, at most the limit of the container. On other
    systems it is all memory of the machine.
    """
    try:
        lines = MEMINFO.read_text().splitlines()
        (kilobytes,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        free = int(kilobytes) * 1024
    except (OSError, ValueError):
        return physical_memory()
    try:
        return min(free, int(CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit
        return free


def check_memory(
    num_bytes: float,
    *,
    what: str,
    advice: str,
    available: int | None = None,
    error: type[Exception] = DsetkitError,
) -> None:
    """Raises `error` if something needs more memory than there is.

    Args:
        num_bytes: What it needs at least [bytes].
        what: What needs it: the flags and their values.
        advice: What the user can do, for the end of the message.
        available: The memory of the device that is meant [bytes]; None means this machine's.
        error: What is raised.
    """
    available = available_memory() if available is None else available
    if available is not None and num_bytes > available:
        raise error(
            f"{what} needs at least {_gigabytes(num_bytes)} of memory, and "
            f"{_gigabytes(available)} is free: {advice}"
        )


def physical_memory() -> int | None:
    """All memory of this machine [bytes]; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _gigabytes(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:,.1f} GB"
