"""The mapped file in which processes share the pixels of all assets."""

import mmap
import os
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dsetkit.errors import DatasetError

ALIGNMENT = 8  # of each array in the file [bytes]


class SharedAssets:
    """Gives the pixels of assets in every process that is started with it as an argument.

    Use it in a `with` block. The file has no name: the system frees it when the last process that
    has it open ends, however it ends.

    Args:
        pixels: Arrays in the order of their ids, by kind, such as `backgrounds`.
        directory: Folder for the file; None means the system's folder for temporary files.

    Raises:
        DatasetError: The file cannot be written.
    """

    def __init__(
        self, pixels: Mapping[str, Sequence[np.ndarray]], *, directory: Path | None = None
    ) -> None:
        # The offset in the file, the shape and the type of each asset.
        self._places: dict[str, list[tuple[int, tuple[int, ...], str]]] = {}
        self._map: mmap.mmap | None = None
        folder = Path(directory or tempfile.gettempdir())
        start = 0
        try:
            self._file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
            for kind, images in pixels.items():
                self._places[kind] = []
                for image in images:
                    padding = -start % ALIGNMENT
                    self._file.write(bytes(padding))
                    start += padding
                    self._file.write(np.ascontiguousarray(image).data)
                    self._places[kind].append((start, image.shape, image.dtype.str))
                    start += image.nbytes
            self._file.flush()
        except OSError as error:
            raise DatasetError(
                f"cannot keep the assets in {folder} ({error.strerror}): free some space there, "
                "or set TMPDIR to another folder"
            ) from None

    def __call__(self, kind: str, number: int) -> np.ndarray:
        """The pixels of an asset, as they were given, read-only.

        Args:
            kind: A key of what was given.
            number: The asset's id.
        """
        if self._map is None:
            self._map = mmap.mmap(self._file.fileno(), 0, prot=mmap.PROT_READ)
        start, shape, dtype = self._places[kind][number]
        count = int(np.prod(shape))
        return np.frombuffer(self._map, dtype, count, start).reshape(shape)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_map": None, "_file": DupFd(self._file.fileno())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state | {"_file": os.fdopen(state["_file"].detach(), "rb")})

    def __enter__(self) -> "SharedAssets":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
