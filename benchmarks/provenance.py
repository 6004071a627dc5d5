"""Where a figure comes from: the machine, versions, commit, command, seeds and seconds."""

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
# What does not change a figure: the figures themselves, and the pages that show them.
NO_CODE = (":!benchmarks/results", ":!*.md")
FOLDERS = re.compile(r"(?<![^\s:=])/(?:[^\s/]+/)+(?=[^\s/])")


def machine() -> dict:
    """Return the machine, and the versions of the libraries that matter."""
    import cv2
    import lmdb
    import numpy
    import torch

    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":")[1].strip()
            break
    versions = {module.__name__: module.__version__ for module in (torch, cv2, lmdb, numpy)}
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        **versions,
    }


def made(*, seeds: Sequence[int]) -> dict:
    """Return how this process makes its figures.

    Args:
        seeds: Those that decide samples, trainings and choices.

    Returns:
        The commit at which this process began (see `commit`), the command with the last part of
        each path alone, the seeds, and the seconds since the process loaded this module.
    """
    seconds = round(time.perf_counter() - _STARTED, 1)
    return {**_COMMIT, "command": command(), "seeds": list(seeds), "seconds": seconds}


def commit() -> dict[str, str | bool | None]:
    """Return the commit of the code, and whether files of it differ from that commit.

    The commit is None where there is no repository, as in a source archive.
    """
    found = _git("rev-parse", "HEAD")
    if found is None:
        return {"commit": None, "dirty": None}
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *NO_CODE)
    return {"commit": found, "dirty": bool(changed)}


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=REPOSITORY, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


# When the code is loaded: files may change while it runs.
_STARTED, _COMMIT = time.perf_counter(), commit()


def command() -> str:
    """Return the command of this process, without the folders in which its files lie."""
    script = Path(sys.argv[0])
    if script.parent.name == "benchmarks":
        words = ["python", "-m", f"benchmarks.{script.stem}", *sys.argv[1:]]
    else:
        words = ["python", script.name, *sys.argv[1:]]
    return " ".join(
        Path(word).name if word.startswith("/") else without_folders(word) for word in words
    )


def without_folders(text: str) -> str:
    """Return a text in which absolute paths are their last part: folders are a machine's own."""
    return FOLDERS.sub("", text)
