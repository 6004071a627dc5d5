"""Writes drawn pictures to folders, in the layouts that dsetkit reads."""

from pathlib import Path

import cv2
import numpy as np

from dsetkit.demo.scenes.cutouts import draw_cutout
from dsetkit.demo.scenes.rooms import draw_room

MM_PER_M = 1000
JPEG_QUALITY = 95


def write_pictures(
    folder: Path, *, rooms: int = 24, cutouts: int = 24, seed: int = 0
) -> tuple[Path, Path]:
    """Draw the two input folders of `dsetkit generate`.

    Args:
        folder: parent of both. It is created if missing; files of the same names are replaced.
        rooms: number of backgrounds, JPEG.
        cutouts: number of foregrounds, PNG with alpha.
        seed: selects another series of pictures.

    Returns:
        The folder of foregrounds and the folder of backgrounds.
    """
    foregrounds, backgrounds = folder / "foregrounds", folder / "backgrounds"
    foregrounds.mkdir(parents=True, exist_ok=True)
    backgrounds.mkdir(parents=True, exist_ok=True)
    for index in range(cutouts):
        rgba = draw_cutout(index, seed=seed)
        _write(foregrounds / f"cutout_{index:04d}.png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))
    for index in range(rooms):
        image, _ = draw_room(index, seed=seed)
        _write_jpeg(backgrounds / f"room_{index:04d}.jpg", image)
    return foregrounds, backgrounds


def write_rgbd(
    folder: Path, count: int, *, seed: int = 0, size: tuple[int, int] = (240, 320)
) -> None:
    """Draw pairs for `dsetkit import-rgbd`: NNNN_color.jpg and NNNN_depth.png (uint16 [mm]).

    Args:
        folder: where to write. It is created if missing; files of the same names are replaced.
        count: number of pairs.
        seed: selects another series of rooms.
        size: (height, width) in pixels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image, depth = draw_room(index, seed=seed, size=size)
        _write_jpeg(folder / f"{index:04d}_color.jpg", image)
        depth_mm = np.round(depth * MM_PER_M).astype(np.uint16)
        _write(folder / f"{index:04d}_depth.png", depth_mm)


def _write_jpeg(path: Path, image: np.ndarray) -> None:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _write(path, bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def _write(path: Path, image: np.ndarray, options: list[int] | None = None) -> None:
    """Write an image. Unlike cv2.imwrite, this raises an error if it cannot write."""
    _, encoded = cv2.imencode(path.suffix, image, options or [])
    path.write_bytes(encoded.tobytes())
