"""Pictures in rows and columns, under a header and above colour scales: uint8 RGB (H, W, 3)."""

import math
from typing import Any

import cv2
import numpy as np

from dsetkit.colours import colour_shares

PAPER = (24, 24, 27)
INK = (235, 235, 235)
MIN_TILE_PX = 160
GAP_PX = 4
HEADER_PX = 24
BAR_PX = 32
FONT = cv2.FONT_HERSHEY_SIMPLEX
FONT_SCALE = 0.42


def picture_grid(
    rows: list[tuple[list[np.ndarray], str]],
    titles: tuple[str, ...],
    *,
    bars: tuple[dict[str, Any] | None, ...],
    caption_column: int = -1,
) -> np.ndarray:
    """Lays tiles out in rows under a header, small tiles enlarged by a whole number of times.

    Args:
        rows: per row its tiles, uint8 RGB (h, w, 3) of any sizes, and a caption.
        titles: one header per column.
        bars: one set of `colour_bar` arguments per column, or None for a column without a scale.
        caption_column: index of the tile that captions are written onto.

    Returns:
        (height, width, 3) uint8 RGB. All tiles get the size of those in the last column.
    """
    height, width = rows[0][0][-1].shape[:2]
    zoom = math.ceil(MIN_TILE_PX / width)
    height, width = height * zoom, width * zoom
    columns = len(titles)
    total_height = HEADER_PX + len(rows) * (height + GAP_PX) + BAR_PX
    grid = np.full((total_height, columns * (width + GAP_PX) + GAP_PX, 3), PAPER, np.uint8)
    lefts = [GAP_PX + column * (width + GAP_PX) for column in range(columns)]
    for left, title in zip(lefts, titles, strict=True):
        _write(grid, title, (left + 2, HEADER_PX - 8))
    for r, (tiles, caption) in enumerate(rows):
        top = HEADER_PX + r * (height + GAP_PX)
        for left, tile in zip(lefts, tiles, strict=True):
            grid[top : top + height, left : left + width] = _enlarge(tile, height, width)
        text_width = cv2.getTextSize(caption, FONT, FONT_SCALE, 1)[0][0]
        left = lefts[caption_column]
        text_right = left + min(text_width + 10, width)
        grid[top + height - 20 : top + height, left:text_right] = PAPER
        _write(grid, caption, (left + 5, top + height - 6))
    for left, bar in zip(lefts, bars, strict=True):
        if bar:
            grid[-BAR_PX:, left : left + width] = colour_bar(width, **bar)
    return grid


def colour_bar(
    width: int, *, lo: float, hi: float, unit: str, colours: int, flipped: bool = False
) -> np.ndarray:
    """The colour scale with its ends, middle and unit: a (BAR_PX, width, 3) uint8 RGB strip."""
    bar = np.full((BAR_PX, width, 3), PAPER, np.uint8)
    ramp = np.linspace(1, 0, width) if flipped else np.linspace(0, 1, width)
    bar[2:12] = colour_shares(ramp[np.newaxis], colours)
    texts = (f"{lo:.3g}", f"{(lo + hi) / 2:.3g}", f"{hi:.3g} {unit}".strip())
    for text, share in zip(texts, (0, 0.5, 1), strict=True):
        text_width = cv2.getTextSize(text, FONT, FONT_SCALE, 1)[0][0]
        _write(bar, text, (round(share * (width - text_width - 4)) + 2, BAR_PX - 7))
    return bar


def _enlarge(tile: np.ndarray, height: int, width: int) -> np.ndarray:
    """To the tile's size in the grid; nearest when it grows, so that pixels stay visible."""
    grows = tile.shape[0] <= height
    how = cv2.INTER_NEAREST if grows else cv2.INTER_AREA
    return cv2.resize(tile, (width, height), interpolation=how)


def _write(image: np.ndarray, text: str, origin: tuple[int, int]) -> None:
    """Draws light text with its baseline's left end at `origin` (x, y)."""
    cv2.putText(image, text, origin, FONT, FONT_SCALE, INK, 1, cv2.LINE_AA)
