"""How scores are shown: tables on stdout and pictures of predictions."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypedDict

import cv2
import numpy as np
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

from dsetkit.files import write_whole
from training.scoring.flags import AVERAGES, describe_averages

Scores = Mapping[str, float]


class Metrics(Protocol):
    """What `metrics.DepthMetrics` and `metrics.MaskMetrics` share."""

    def compute(self, images: np.ndarray | None = None) -> dict[str, float]: ...

    def intervals(self, images: np.ndarray | None = None) -> dict[str, tuple[float, float]]: ...


# kind of depth -> (label, score), in the order of the table
DEPTH_ROWS = {
    "metric": (
        ("RMSE [0..1]", "rmse"),
        ("RMSE [m]", "rmse_m"),
        ("MAE [0..1]", "mae"),
        ("MAE [m]", "mae_m"),
        ("AbsRel", "abs_rel"),
        ("log10", "log10"),
        ("delta_1", "delta_1"),
        ("delta_2", "delta_2"),
        ("delta_3", "delta_3"),
        ("SILog", "silog"),
        ("SSIM", "ssim"),
    ),
    "relative": (("RMSE [relative]", "rmse"), ("MAE [relative]", "mae"), ("SSIM", "ssim")),
}


class Layout(TypedDict):
    """How scores are laid out on the screen.

    Attributes:
        rows: (label, score) of the table.
        columns: the first columns; those without scores are shown as n/a.
        cell_row: (label, score) of the seen/unseen table.
        headline: a line above the table, or nothing.
    """

    rows: Sequence[tuple[str, str]]
    columns: Sequence[str]
    cell_row: tuple[str, str]
    headline: str


MASK_LAYOUT: Layout = {
    "rows": (
        ("RMSE", "rmse"),
        ("MAE", "mae"),
        ("IoU", "iou"),
        ("Dice", "dice"),
        ("soft Dice", "dice_soft"),
        ("boundary F", "boundary_f"),
    ),
    "columns": ("model", "difference"),
    "cell_row": ("IoU", "iou"),
    "headline": "",
}

# rows: background, columns: foreground; the names of a dataset's test cells
SEEN_ROWS = ("seen background", "unseen background")
SEEN_COLUMNS = ("seen foreground", "unseen foreground")
SEEN_CELLS = (
    ("test: seen background, seen foreground", "test: unseen foreground"),
    ("test: unseen background", "test: both unseen"),
)
BOTH_UNSEEN = SEEN_CELLS[1][1]
ALL_IMAGES = "all"
SMALLEST_WIDTH = 80  # columns; narrower screens and pipes get whole lines all the same


def score_table(
    columns: Mapping[str, Scores | None],
    rows: Sequence[tuple[str, str]],
    *,
    average: str,
) -> Table:
    """A table of scores, each averaged over images and over pixels, side by side.

    Args:
        columns: name -> "<score>_per_image" and "<score>_pooled", or None, shown as n/a.
        rows: (label, score).
        average: "image" or "pixel", which comes first.
    """
    order = [average, *(name for name in AVERAGES if name != average)]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("", no_wrap=True)
    for column in columns:
        for place, name in enumerate(order):
            head = f"{column if place == 0 else ''}\n{AVERAGES[name].replace('_', ' ')}"
            table.add_column(head, justify="right", no_wrap=True)
    for label, score in rows:
        keys = [f"{score}_{AVERAGES[name]}" for name in order]
        numbers = [_number(scores, key) for scores in columns.values() for key in keys]
        table.add_row(label, *numbers)
    return table


def cell_scores(
    metrics: Mapping[str, Metrics], cells: np.ndarray, cell_names: Sequence[str]
) -> dict[str, dict[str, Scores]]:
    """Scores in each cell of the seen/unseen table.

    Args:
        metrics: name -> metrics that were updated with the images in the order of `cells`.
        cells: (N,) index into `cell_names` of each image.
        cell_names: the dataset's names.

    Returns:
        Cell name -> name -> scores, for cells with images; empty for splits without cells.
    """
    return {
        cell: {who: metric.compute(images) for who, metric in metrics.items()}
        for cell, images in _members(cells, cell_names).items()
    }


def score_intervals(
    metrics: Mapping[str, Metrics], cells: np.ndarray, cell_names: Sequence[str]
) -> dict[str, dict[str, dict[str, tuple[float, float]]]]:
    """The 95 % intervals of scores, see `metrics.DepthMetrics.intervals`.

    Args:
        metrics: as of `cell_scores`, like the next two.
        cells: of each image.
        cell_names: the dataset's names.

    Returns:
        ALL_IMAGES or the name of a cell -> name -> score -> (low, high).
    """
    chosen = {ALL_IMAGES: None, **_members(cells, cell_names)}
    return {
        which: {who: metric.intervals(images) for who, metric in metrics.items()}
        for which, images in chosen.items()
    }


def _members(cells: np.ndarray, cell_names: Sequence[str]) -> dict[str, np.ndarray]:
    """Cell name -> bool (N,), which images are in it, for cells that have some."""
    members = {name: cells == cell_names.index(name) for row in SEEN_CELLS for name in row}
    return {name: images for name, images in members.items() if images.any()}


def cell_table(
    title: str, cells: Mapping[str, Mapping[str, Scores]], score: str, *, average: str
) -> Table:
    """The 2x2 table of seen and unseen backgrounds and foregrounds.

    Args:
        title: the score and its unit.
        cells: as `cell_scores` returns them.
        score: name of the score without its ending.
        average: "image" or "pixel".
    """
    title = f"{title}, {AVERAGES[average].replace('_', ' ')}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_lines=True)
    for head in ("", *SEEN_COLUMNS):
        table.add_column(head, no_wrap=True)
    for row, names in zip(SEEN_ROWS, SEEN_CELLS, strict=True):
        table.add_row(row, *(_cell_text(cells.get(name), score, average) for name in names))
    return table


def interval_line(
    intervals: Mapping[str, Mapping[str, tuple[float, float]]], layout: Layout, *, average: str
) -> str:
    """The 95 % intervals of the first column's main scores, in one line.

    Args:
        intervals: name -> score -> (low, high), see `score_intervals`.
        layout: says which scores.
        average: "image" or "pixel".
    """
    name = layout["columns"][0]
    shown = []
    for label, score in dict.fromkeys((*layout["rows"][:1], layout["cell_row"])):
        ends = intervals[name].get(f"{score}_{AVERAGES[average]}")
        if ends:
            shown.append(f"{label} {ends[0]:.4f} to {ends[1]:.4f}")
    return f"{name}, 95 % intervals by the choice of images: {', '.join(shown)}"


def stress_table(
    stress: Mapping[str, Mapping[str, Scores]],
    columns: Sequence[tuple[str, str]],
    *,
    average: str,
    of: str = "",
) -> Table:
    """Scores with changed backgrounds, a row each.

    Args:
        stress: background -> name -> scores.
        columns: (label, score without its ending), of each name.
        average: "image" or "pixel".
        of: which images, if not all.
    """
    title = f"changed backgrounds, {AVERAGES[average].replace('_', ' ')}{of and f'; {of}'}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("background", no_wrap=True)
    names = list(next(iter(stress.values())))
    for name in names:
        for label, _ in columns:
            table.add_column(f"{name}\n{label}", no_wrap=True, justify="right")
    for background, by_name in stress.items():
        keys = [(name, f"{score}_{AVERAGES[average]}") for name in names for _, score in columns]
        table.add_row(background, *(_number(by_name[name], key) for name, key in keys))
    return table


def protocol_table(protocol: Mapping[str, Any], *, title: str = "protocol") -> Table:
    """How scores were computed, one line per topic."""
    table = Table(title=title, title_justify="left", box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in protocol.items():
        table.add_row(name, str(value))
    return table


def published_table(scores: Mapping[str, float]) -> Table:
    """What `training.scoring.published_scores` gives, four digits each."""
    title = "odd scores of the reference systems, for reading only"
    return protocol_table({name: f"{value:.4g}" for name, value in scores.items()}, title=title)


def describe_mask_scores(threshold: float, boundary_px: int, *, tta: str) -> dict[str, str]:
    """How mask scores are computed, for people, by topic; arguments as in `MaskMetrics`."""
    return {
        "unit": "RMSE and MAE: probability against soft target, 0..1",
        "threshold": f"IoU, Dice, boundary F: foreground from {threshold:g}",
        "boundary F": f"boundary pixels match within {boundary_px} px",
        **describe_averages(tta),
    }


def show(*parts: RenderableType) -> None:
    """Prints to stdout, with colours on a terminal; columns are never cut off."""
    console = Console(highlight=False, markup=False)
    console.width = max(SMALLEST_WIDTH, console.width)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str))  # paths stay in one piece


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Writes a (H, W, 3) uint8 RGB picture as PNG.

    Raises:
        DsetkitError: The place cannot be written to, or has no room left.
    """
    encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    write_whole(path, encoded.tobytes())


def _cell_text(scores: Mapping[str, Scores] | None, score: str, average: str) -> str:
    if scores is None:
        return "no image"
    lines = {who: _number(of, f"{score}_{AVERAGES[average]}") for who, of in scores.items()}
    lines["images"] = str(next(iter(scores.values()))["images"])
    width = max(map(len, lines))
    return "\n".join(f"{name:{width}}  {text}" for name, text in lines.items())


def _number(scores: Scores | None, name: str) -> str:
    """A score in five digits, as many as possible of them after the point."""
    if scores is None:
        return "n/a"
    value = scores[name]
    before_point = int(math.log10(abs(value))) + 1 if abs(value) >= 1 else 1
    return f"{value:.{max(0, 5 - before_point)}f}"
