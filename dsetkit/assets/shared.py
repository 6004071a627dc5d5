"""The pixels of all assets in one mapped file: processes share them without copies."""

import contextlib
import mmap
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dsetkit.errors import DatasetError

PREFIX = "dsetkit-assets-"  # then the process, and chance


class SharedAssets:
    """Gives pixels by (`backgrounds` or `foregrounds`, id) in every process it is pickled to.

    Use it in a `with` block: its file, in the machine's folder for temporary files, is removed at
    the end; whoever has mapped it keeps the pixels.

    Args:
        pixels: uint8 arrays by kind, in id order.

    Raises:
        DatasetError: There is no room for the file.
    """

    def __init__(self, pixels: Mapping[str, Sequence[np.ndarray]]) -> None:
        self._places: dict[str, list[tuple[int, tuple[int, ...]]]] = {}
        self._map: mmap.mmap | None = None
        start = 0
        _sweep()
        try:
            prefix = f"{PREFIX}{os.getpid()}-"
            with tempfile.NamedTemporaryFile(prefix=prefix, delete=False) as file:
                self._path = Path(file.name)
                for kind, images in pixels.items():
                    self._places[kind] = []
                    for image in images:
                        file.write(np.ascontiguousarray(image).data)
                        self._places[kind].append((start, image.shape))
                        start += image.nbytes
        except OSError as error:
            self.close()
            raise DatasetError(
                f"cannot keep the assets in {tempfile.gettempdir()} ({error.strerror}): make room "
                "there, or point TMPDIR to another folder"
            ) from None

    def __call__(self, kind: str, number: int) -> np.ndarray:
        """Pixels of an asset, uint8 (h,w,c); only read them."""
        if self._map is None:
            with open(self._path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        start, shape = self._places[kind][number]
        count = int(np.prod(shape))
        return np.frombuffer(self._map, np.uint8, count, start).reshape(shape)

    def __getstate__(self) -> dict:
        return vars(self) | {"_map": None}

    def __enter__(self) -> "SharedAssets":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Removes the file."""
        with contextlib.suppress(AttributeError, OSError):
            self._path.unlink()


def _sweep() -> None:
    """Removes the files of processes that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = path.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and not _is_running(int(pid)):
            path.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        pass
    return True
