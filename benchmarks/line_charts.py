"""Line charts as one picture, drawn with OpenCV: uint8 RGB (H, W, 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dsetkit.picture_grid import FONT, INK, PAPER

WIDTH, HEIGHT = 300, 230  # of a panel [px]
LEFT, RIGHT, TOP, BOTTOM = 38, 14, 28, 40  # its margins [px]
LEGEND_PX = 34
ZOOM = 2  # drawn so much larger, then shrunk: smooth lines
GRID_COLOUR = (70, 70, 76)
COLOURS = ((102, 194, 165), (252, 141, 98), (141, 160, 203), (231, 138, 195))
ROWS = 5  # grid lines of a panel, from 0 to 1

Point = tuple[float, float]


@dataclass(frozen=True)
class Panel:
    """One chart.

    Attributes:
        title: above it.
        axis: name and unit of the horizontal axis.
        lines: name -> points (x, share in 0..1), in the order of x.
    """

    title: str
    axis: str
    lines: Mapping[str, Sequence[Point]]


def line_charts(panels: Sequence[Panel], *, columns: int) -> np.ndarray:
    """Draws panels in rows, with one legend below; a line has the same colour in all of them.

    Args:
        panels: one or more; the vertical axis of each goes from 0 to 1.
        columns: panels in a row.
    """
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    rows = -(-len(panels) // columns)
    height, width = rows * HEIGHT + LEGEND_PX, columns * WIDTH
    picture = np.full((height * ZOOM, width * ZOOM, 3), PAPER, np.uint8)
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        _draw_panel(picture, panel, colours, left=column * WIDTH, top=row * HEIGHT)
    _draw_legend(picture, colours, top=rows * HEIGHT)
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _draw_panel(
    picture: np.ndarray,
    panel: Panel,
    colours: Mapping[str, tuple[int, int, int]],
    *,
    left: int,
    top: int,
) -> None:
    places = [x for line in panel.lines.values() for x, _ in line]
    first, last = min(places), max(places)
    inner, drop = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(x: float, share: float) -> tuple[int, int]:
        across = (x - first) / ((last - first) or 1)
        x_px = left + LEFT + inner * across
        y_px = top + TOP + drop * (1 - share)
        return round(x_px * ZOOM), round(y_px * ZOOM)

    _write(picture, panel.title, (left + LEFT, top + TOP - 10))
    _write(picture, panel.axis, (left + LEFT, top + HEIGHT - 8))
    for number in range(ROWS + 1):
        share = number / ROWS
        cv2.line(picture, at(first, share), at(last or 1, share), GRID_COLOUR, 1)
        x, y = at(first, share)
        _write(picture, f"{share:.1f}", (x // ZOOM - 30, y // ZOOM + 4))
    for x in (first, (first + last) / 2, last):
        x_px, y_px = at(x, 0)
        _write(picture, f"{x:.3g}", (x_px // ZOOM - 10, y_px // ZOOM + 16))
    for name, line in panel.lines.items():
        points = [at(x, share) for x, share in line]
        cv2.polylines(picture, [np.array(points)], False, colours[name], 2 * ZOOM, cv2.LINE_AA)
        for point in points:
            cv2.circle(picture, point, 3 * ZOOM, colours[name], -1, cv2.LINE_AA)


def _draw_legend(
    picture: np.ndarray, colours: Mapping[str, tuple[int, int, int]], *, top: int
) -> None:
    left, middle = LEFT, top + LEGEND_PX // 2
    for name, colour in colours.items():
        start, end = (left * ZOOM, middle * ZOOM), ((left + 24) * ZOOM, middle * ZOOM)
        cv2.line(picture, start, end, colour, 2 * ZOOM, cv2.LINE_AA)
        _write(picture, name, (left + 32, middle + 4))
        left += 32 + cv2.getTextSize(name, FONT, 0.42, 1)[0][0] + 28


def _write(picture: np.ndarray, text: str, place: tuple[int, int]) -> None:
    x, y = place
    cv2.putText(picture, text, (x * ZOOM, y * ZOOM), FONT, 0.42 * ZOOM, INK, ZOOM, cv2.LINE_AA)
