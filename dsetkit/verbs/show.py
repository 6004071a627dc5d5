"""show: a contact sheet, one row for each sample, one column for each field."""

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dsetkit.colours import colour_depth, colour_instances, colour_shares
from dsetkit.compositing import Stream, uniform
from dsetkit.datasets import Dataset, SampleTable, indices_of
from dsetkit.errors import DatasetError, printable
from dsetkit.files import write_whole
from dsetkit.store import Manifest, Record

TILE_PX = 208  # height of a tile; its width follows from the shape of the first sample
MIN_WIDTH_PX = 160  # smallest width of a tile; fits a heading and the colour bar
GAP_PX, MARGIN_PX = 8, 24
CAPTION_PX = 30  # height of the caption below each row
BAR_PX = 8
TEXT_PX = 14
MAX_TEXT = 1000  # characters of a line that are tried

PAPER, INK, FADED = (255, 255, 255), (28, 30, 36), (112, 116, 126)
INVALID = (214, 214, 218)
DARKEST = 16  # of the 256 colours


def choose(dataset: Dataset, *, split: str | None, count: int, seed: int) -> list[int]:
    """Chooses samples of a split by chance.

    Args:
        dataset: The dataset.
        split: `train`, `val`, `test`, or None for all samples.
        count: How many; all if there are fewer.
        seed: Key of the choice.

    Returns:
        Ascending indices.

    Raises:
        DatasetError: The split is unknown or empty.
    """
    indices = indices_of(dataset, split)
    order = np.argsort(uniform(seed, Stream.SELECT, indices))
    return sorted(indices[order[:count]].tolist())


def contact_sheet(dataset: Dataset, indices: list[int]) -> Image.Image:
    """Shows samples in rows, their fields in columns.

    Depth is shown from near (bright) to far (dark), over the range of all samples on the sheet;
    invalid pixels are grey.

    Args:
        dataset: The dataset.
        indices: Which samples, in the order of rows.

    Raises:
        DatasetError: An index out of range, or a damaged sample.
    """
    wrong = [index for index in indices if not 0 <= index < len(dataset)]
    if wrong:
        raise DatasetError(
            f"no sample {wrong[0]} in {dataset.path}: expected 0 to {len(dataset) - 1:,}"
        )
    records = dataset.records(indices)
    fields, table = dataset.manifest.fields, SampleTable(dataset)
    height, width = dataset.image(records[0], "composite").shape[:2]
    colours = depth_colours(dataset, records) if "depth" in fields else None
    tile_width = max(MIN_WIDTH_PX, round(TILE_PX * width / height))
    sheet = _Sheet(len(fields), len(records), tile_width=tile_width)
    sheet.title(Path(dataset.path).absolute().name, _subtitle(dataset.manifest, len(dataset)))
    for column, field in enumerate(fields):
        if field == "depth" and colours is not None:
            sheet.heading(column, colours.name)
            sheet.bar(column, colours)
        else:
            sheet.heading(column, field)
    for number, (index, record) in enumerate(zip(indices, records, strict=True)):
        for column, field in enumerate(fields):
            sheet.tile(number, column, _picture(dataset, record, field, colours))
        sheet.caption(number, *_caption(table.row(index, record)))
    return sheet.image


def save_png(sheet: Image.Image, file: Path) -> None:
    """Writes a sheet as PNG, completely or not at all.

    Raises:
        DsetkitError: The file cannot be written.
    """
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_whole(file, buffer.getvalue())


# ---- text --------------------------------------------------------------------------------------


def _subtitle(manifest: Manifest, samples: int) -> str:
    height, width = manifest.size
    size = f"{width} x {height} px" if width else "pictures of several sizes"
    depth = {
        "metric": f"depth in metres, up to {manifest.max_depth_m:g} m",
        "relative": "relative inverse depth",
        "none": "no depth",
    }[manifest.depth_kind]
    teacher = f", from {manifest.teacher['name']}" if manifest.depth_kind != "none" else ""
    return f"{samples:,} samples   ·   {size}   ·   {depth}{teacher}"


def _caption(row: dict[str, int | str]) -> tuple[str, str]:
    """The text below a row: its number, and in a lighter colour its cell and its assets."""
    if row["name"]:
        assets = str(row["name"])
    else:
        names, flips = (str(row[column]).split(";") for column in ("foreground", "flip"))
        shown = [
            f"{name} (mirrored)" if flip == "1" else name
            for name, flip in zip(names, flips, strict=True)
        ]
        assets = f"{' + '.join(shown)}  on  {row['background']}"
    return f"#{row['index']}", f"{row['cell']}   ·   {assets}"


# ---- pixels ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DepthColours:
    """The colours of depth.

    Attributes:
        low: Smallest depth [m] or inverse depth that is told apart.
        high: Largest one.
        metric: Whether depth is in metres.
        per_share: Depth [m] or inverse depth that a share of 1 stands for.
    """

    low: float
    high: float
    metric: bool
    per_share: float

    @property
    def name(self) -> str:
        """Heading of the column, with the unit."""
        return "depth [m]" if self.metric else "inverse depth"

    @property
    def ticks(self) -> tuple[str, str, str]:
        """Labels of the left end, the middle and the right end of the bar."""
        digits = 1 if self.metric else 2
        left, middle, right = (
            f"{value:.{digits}f}" for value in np.linspace(self.low, self.high, 3)
        )
        return left, middle, right

    def picture(self, share: np.ndarray) -> np.ndarray:
        """Depth in [0,1] (h,w), 0 = invalid -> uint8 (h,w,3) RGB."""
        return colour_depth(
            share * self.per_share,
            self.low,
            self.high,
            near_is_low=self.metric,
            darkest=DARKEST,
            invalid=INVALID,
        )

    def bar(self, width: int) -> np.ndarray:
        """The colours from `low` to `high`: uint8 (BAR_PX,width,3) RGB."""
        ramp = np.linspace(1, 0, width) if self.metric else np.linspace(0, 1, width)
        return colour_shares(np.tile(ramp, (BAR_PX, 1)), darkest=DARKEST)


def depth_colours(dataset: Dataset, records: list[Record]) -> DepthColours:
    """Colours for the middle 98 % of the valid depths of some samples."""
    metric = dataset.manifest.depth_kind == "metric"
    per_share = dataset.manifest.max_depth_m if metric else 1.0
    shares = np.concatenate([dataset.depth(record).ravel() for record in records])
    valid = shares[shares > 0]
    low, high = np.percentile(valid, (1, 99)) * per_share if len(valid) else (0.0, per_share)
    return DepthColours(float(low), float(high), metric, per_share)


def _picture(
    dataset: Dataset, record: Record, field: str, colours: DepthColours | None
) -> np.ndarray:
    """A field for the sheet: uint8 (h,w,3) RGB."""
    if field == "background":
        assert record.background is not None  # every sample of a dataset with this field has one
        return dataset.background(record.background)
    if field == "depth" and colours is not None:
        return colours.picture(dataset.depth(record))
    image = dataset.image(record, field)
    if field == "instances":
        return colour_instances(image)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image


# ---- layout ------------------------------------------------------------------------------------


class _Sheet:
    """A picture with a title, and a grid of tiles with a caption below each row.

    Args:
        columns: Number of columns.
        rows: Number of rows.
        tile_width: Width of a tile [px].

    Attributes:
        image: The picture.
    """

    HEAD_PX = 108
    TITLE_Y, SUBTITLE_Y, TICKS_Y, HEADING_Y, BAR_Y = 18, 46, 72, 86, 90

    def __init__(self, columns: int, rows: int, *, tile_width: int) -> None:
        self._tile_width = tile_width
        width = 2 * MARGIN_PX + columns * (tile_width + GAP_PX) - GAP_PX
        height = self.HEAD_PX + rows * (TILE_PX + CAPTION_PX) + GAP_PX
        self.image = Image.new("RGB", (width, height), PAPER)
        self._draw = ImageDraw.Draw(self.image)

    def title(self, text: str, subtitle: str) -> None:
        """Writes the title and the line below it."""
        self._write((MARGIN_PX, self.TITLE_Y), text, size=20)
        self._write((MARGIN_PX, self.SUBTITLE_Y), subtitle, ink=FADED)

    def heading(self, column: int, text: str) -> None:
        """Writes the heading of a column."""
        self._write((self._left(column), self.HEADING_Y), text)

    def bar(self, column: int, colours: DepthColours) -> None:
        """Pastes the colour bar, beside the heading of its column."""
        name_width = round(self._draw.textlength(colours.name, _font()))
        left = self._left(column) + 2 + name_width + GAP_PX
        right = self._left(column) + self._tile_width
        self.image.paste(Image.fromarray(colours.bar(right - left)), (left, self.BAR_Y))
        places = ((left, "la"), ((left + right) / 2, "ma"), (right, "ra"))
        for (x, anchor), text in zip(places, colours.ticks, strict=True):
            self._write((x, self.TICKS_Y), text, size=12, ink=FADED, anchor=anchor)

    def tile(self, row: int, column: int, picture: np.ndarray) -> None:
        """Pastes a picture, uint8 (h,w,3) RGB, as large as fits."""
        height, width = picture.shape[:2]
        zoom = min(TILE_PX / height, self._tile_width / width)
        size = (round(width * zoom), round(height * zoom))
        interpolation = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
        fitted = Image.fromarray(cv2.resize(picture, size, interpolation=interpolation))
        left = self._left(column) + (self._tile_width - size[0]) // 2
        self.image.paste(fitted, (left, self._top(row) + (TILE_PX - size[1]) // 2))

    def caption(self, row: int, number: str, text: str) -> None:
        """Writes the caption of a row."""
        y = self._top(row) + TILE_PX + 5
        self._write((MARGIN_PX, y), number)
        after = MARGIN_PX + self._draw.textlength(number, _font()) + 2 * GAP_PX
        self._write((after, y), text, ink=FADED)

    def _left(self, column: int) -> int:
        return MARGIN_PX + column * (self._tile_width + GAP_PX)

    def _top(self, row: int) -> int:
        return self.HEAD_PX + row * (TILE_PX + CAPTION_PX)

    def _write(
        self,
        place: tuple[float, float],
        text: str,
        *,
        size: int = TEXT_PX,
        ink: tuple[int, int, int] = INK,
        anchor: str = "la",
    ) -> None:
        width = self.image.width - place[0]
        text = printable(text[:MAX_TEXT])  # names of files may hold line breaks
        while self._draw.textlength(text, _font(size)) > width and anchor == "la" and len(text) > 1:
            text = text[:-2] + "…"
        self._draw.text(place, text, ink, _font(size), anchor=anchor)


@cache
def _font(size: int = TEXT_PX) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
