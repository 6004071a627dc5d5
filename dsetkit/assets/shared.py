"""The mapped file in which processes share the pixels of all assets."""

import contextlib
import mmap
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsetkit.errors import DatasetError

PREFIX = "dsetkit-assets-"  # of the file name; the process id and random characters follow


class SharedAssets:
    """Gives the pixels of assets in every process that it is pickled to.

    Use it in a `with` block. The end of the block deletes the file; processes that have mapped it
    can still read the pixels.

    Args:
        pixels: uint8 arrays (h,w,c) in the order of their ids, by `backgrounds` and `foregrounds`.
        directory: Folder for the file; None means the system's folder for temporary files.

    Raises:
        DatasetError: The file cannot be written.
    """

    def __init__(
        self, pixels: Mapping[str, Sequence[np.ndarray]], *, directory: Path | None = None
    ) -> None:
        # The offset in the file and the shape of each asset.
        self._places: dict[str, list[tuple[int, tuple[int, ...]]]] = {}
        self._map: mmap.mmap | None = None
        folder = Path(directory or tempfile.gettempdir())
        start = 0
        _delete_leftovers(folder)
        try:
            prefix = f"{PREFIX}{os.getpid()}-"
            with tempfile.NamedTemporaryFile(prefix=prefix, dir=folder, delete=False) as file:
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
                f"cannot keep the assets in {folder} ({error.strerror}): free some space there, "
                "or set TMPDIR to another folder"
            ) from None

    def __call__(self, kind: str, number: int) -> np.ndarray:
        """The pixels of an asset, uint8 (h,w,c), read-only.

        Args:
            kind: `backgrounds` or `foregrounds`.
            number: The asset's id.
        """
        if self._map is None:
            with open(self._path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        start, shape = self._places[kind][number]
        count = int(np.prod(shape))
        return np.frombuffer(self._map, np.uint8, count, start).reshape(shape)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_map": None}

    def __enter__(self) -> "SharedAssets":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Deletes the file."""
        with contextlib.suppress(AttributeError, OSError):
            self._path.unlink()


def _delete_leftovers(folder: Path) -> None:
    """Deletes the files of processes that were killed."""
    for path in folder.glob(f"{PREFIX}*"):
        pid = path.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and not _is_running(int(pid)):
            path.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the process runs, under another user
        pass
    return True
