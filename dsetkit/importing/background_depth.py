"""Measured depth of backgrounds: one depth file for each photograph, in a folder of its own."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from dsetkit.assets import (
    MAX_JOBS,
    central_square,
    decode_picture,
    picture_files,
    read_file,
    turned_size,
)
from dsetkit.compositing import resize_depth
from dsetkit.errors import AssetError, printable
from dsetkit.importing.depth_files import DEPTH_SUFFIXES, read_depth
from dsetkit.importing.pairs import COLOUR_TAG, DEPTH_TAG, tagged
from dsetkit.importing.turning import fitted


@dataclass(frozen=True, kw_only=True)
class MeasuredBackgrounds:
    """Where the measured depth of backgrounds is, and what its numbers mean.

    Attributes:
        folder: Holds NAME.png, or NAME_depth.png, for the background NAME or NAME_color; or `.npy`,
            `.npz`, `.pfm`, `.exr`.
        units_per_m: How much a metre counts in the files; None: 1000 for whole numbers, 1 for
            floating point.
        max_depth_m: Larger depths are invalid [m].
    """

    folder: Path
    units_per_m: float | None = None
    max_depth_m: float = 10.0

    def read(self, backgrounds: Path, names: Sequence[str], *, size: int) -> list[np.ndarray]:
        """The depth of each background, cropped and resized as its photograph is.

        Args:
            backgrounds: The folder of the photographs.
            names: Names of the photographs, without suffix.
            size: Side of the square [px].

        Returns:
            uint16 (size,size) [mm] each, 0 = invalid.

        Raises:
            AssetError: A file is missing, cannot be decoded, is not of its photograph's size, or
                has no valid depth. Names the first such file, and says how many there are.
        """
        photographs, depths = picture_files(backgrounds), self._files()
        with ThreadPoolExecutor(min(MAX_JOBS, os.cpu_count() or 1)) as pool:
            read = partial(self._read_or_reason, photographs, depths, size)
            outcomes = list(pool.map(read, names))
        bad = [outcome for outcome in outcomes if isinstance(outcome, str)]
        if bad:
            more = f" (and {len(bad) - 1:,} more)" if len(bad) > 1 else ""
            raise AssetError(f"depth of backgrounds cannot be used: {bad[0]}{more}")
        return [outcome for outcome in outcomes if isinstance(outcome, np.ndarray)]

    def _files(self) -> dict[str, Path]:
        """The depth files by the names of their backgrounds."""
        try:
            paths = sorted(self.folder.iterdir())
        except OSError as error:
            raise AssetError(
                f"cannot open {printable(self.folder)} ({error.strerror}): expected the folder of "
                "the backgrounds' depth"
            ) from None
        names = [path.name for path in paths if not path.name.startswith(".")]
        pictures = {name for _, name in tagged(names, COLOUR_TAG, DEPTH_SUFFIXES)}
        others = [self.folder / name for name in names if name not in pictures]
        plain = {path.stem: path for path in others if path.suffix.lower() in DEPTH_SUFFIXES}
        depths = tagged(names, DEPTH_TAG, DEPTH_SUFFIXES)
        return plain | {stem: self.folder / name for (stem,), name in depths}

    def _read_or_reason(
        self, photographs: dict[str, Path], depths: dict[str, Path], size: int, name: str
    ) -> np.ndarray | str:
        path = depths.get(name) or depths.get(_without(name, COLOUR_TAG))
        if path is None:
            return (
                f"no depth of {printable(name)} in {printable(self.folder)}: expected "
                f"{printable(name)}.png or {printable(_without(name, COLOUR_TAG))}{DEPTH_TAG}.png"
            )
        try:
            return self._read(photographs[name], path, size)
        except AssetError as error:
            return f"{printable(path)}: {error}"

    def _read(self, photograph: Path, path: Path, size: int) -> np.ndarray:
        picture = decode_picture(read_file(photograph))
        upright = turned_size(picture.size, picture.orientation)
        measured = read_depth(
            read_file(path), units_per_m=self.units_per_m, max_depth_m=self.max_depth_m
        )
        depth = fitted(*measured.label, composite=picture.orientation, size=upright)
        if depth.shape != upright:
            raise AssetError(
                f"{depth.shape[1]} x {depth.shape[0]} px, but its photograph is {upright[1]} x "
                f"{upright[0]} px: expected a depth for each pixel"
            )
        if not depth.any():
            raise AssetError(
                f"no valid depth in 0..{self.max_depth_m:g} m ({measured.num_far:,} pixels are "
                "farther): check the unit (--depth-scale) and --teacher-max-depth"
            )
        square = central_square(depth).astype(np.float32)
        return np.rint(resize_depth(square, (size, size))).astype(np.uint16)


def _without(stem: str, tag: str) -> str:
    return stem[: -len(tag)] if stem.lower().endswith(tag) else stem
