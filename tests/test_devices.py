"""Tests of devices. The setting of malloc runs in subprocesses, because it cannot be undone."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dsetkit import devices
from dsetkit.devices import prepare_device
from dsetkit.teachers import load_teacher

REPOSITORY = Path(__file__).parents[1]
FAULTS = """
import ctypes, resource, sys
from dsetkit.devices import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def faults(size):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print([faults(1 << 26) for _ in range(3)][-1])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_is_reused_without_page_faults() -> None:
    def last_faults(how: str) -> int:
        command = [sys.executable, "-c", FAULTS, how]
        done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
        return int(done.stdout)

    assert last_faults("leave") > 16  # 16,384 pages, or 32 huge pages, each time
    assert last_faults("keep") < 16


def test_only_networks_on_the_cpu_keep_freed_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(devices, "keep_freed_memory", lambda: calls.append("keep"))
    assert prepare_device(torch.device("cuda")).type == "cuda" and not calls
    assert prepare_device(torch.device("cpu")).type == "cpu" and calls == ["keep"]
    load_teacher("bundled", device="cpu")
    assert calls == ["keep", "keep"]


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert devices.keep_freed_memory() is False
