"""Writes predictions as files, and a sheet of them to look at.

| format       | file                      | content                                           |
|--------------|---------------------------|---------------------------------------------------|
| mask         | DIR/mask/NAME.png         | 8-bit grey, 255 = foreground                      |
| cut-out      | DIR/cut-out/NAME.png      | RGBA: the picture's colours, the mask as alpha    |
| depth        | DIR/depth/NAME.png        | 16-bit grey: millimetres; 1 to 65535 for relative |
|              |                           | inverse depth 0 to 1                              |
| depth-npy    | DIR/depth-npy/NAME.npy    | float32: metres, or inverse depth 0 to 1          |
| depth-colour | DIR/depth-colour/NAME.png | near bright, far dark, above a scale              |
"""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dsetkit.assets import encode_asset
from dsetkit.colours import DEPTH_COLOURS, colour_depth
from dsetkit.errors import printable
from dsetkit.files import write_whole
from dsetkit.picture_grid import BAR_PX, PAPER, colour_bar, picture_grid
from dsetkit.predicting.predictor import Prediction, Predictor
from dsetkit.predicting.shots import Shot

MAP_OF = {  # format -> the map that it needs
    "mask": "mask",
    "cut-out": "mask",
    "depth": "depth",
    "depth-npy": "depth",
    "depth-colour": "depth",
}
FORMATS = tuple(MAP_OF)
SHEET = "sheet.png"
SHEET_ROWS = 24
TILE_PX = (240, 320)  # height and width of a picture of the sheet
INVALID = (128, 128, 128)
CHECKS_PX = 16  # of the chequered ground behind a cut-out
CHECKS = (150, 190)  # its two greys


def formats_of(maps: tuple[str, ...], asked: list[str] | None) -> list[str]:
    """What is written of a prediction with some maps: what was asked for, or everything but .npy.

    Raises:
        ValueError: A format is unknown, or needs a map that no network gives.
    """
    for name in asked or ():
        if name not in MAP_OF:
            raise ValueError(f"{name}: expected any of {', '.join(FORMATS)}")
        if MAP_OF[name] not in maps:
            raise ValueError(f"{name} needs a {MAP_OF[name]}, which no network gives")
    return asked or [name for name in FORMATS if MAP_OF[name] in maps and name != "depth-npy"]


class ResultWriter:
    """Writes the files of predictions.

    Args:
        folder: Where; made if it is missing. Files of an earlier run are replaced.
        formats: Of FORMATS.
        predictor: The networks: what depth means.

    Attributes:
        count: Pictures written so far.
    """

    def __init__(self, folder: Path, formats: list[str], predictor: Predictor) -> None:
        self._folder, self._formats = folder, formats
        self._is_metric = predictor.depth_kind == "metric"
        self._rows: list[tuple[list[np.ndarray], str]] = []
        self._titles: tuple[str, ...] = ()
        self.count = 0

    def write(self, shot: Shot, prediction: Prediction) -> None:
        """Writes the files of one picture.

        Raises:
            DsetkitError: A file cannot be written.
        """
        for name in self._formats:
            suffix = ".npy" if name == "depth-npy" else ".png"
            path = self._folder / name / f"{shot.name}{suffix}"
            write_whole(path, self._encoded(name, shot, prediction))
        if self.count < SHEET_ROWS:
            self._add_row(shot, prediction)
        self.count += 1

    def write_sheet(self) -> Path | None:
        """Writes the sheet of the first pictures; None if there is none.

        Raises:
            DsetkitError: It cannot be written.
        """
        if not self._rows:
            return None
        path = self._folder / SHEET
        columns = len(self._titles)
        tiles = [tile for row, _ in self._rows for tile in row]
        height, width = (max(tile.shape[side] for tile in tiles) for side in (0, 1))
        rows = [([_framed(tile, height, width) for tile in row], name) for row, name in self._rows]
        sheet = picture_grid(rows, self._titles, bars=(None,) * columns, caption_column=0)
        write_whole(path, _png(sheet))
        return path

    def _encoded(self, name: str, shot: Shot, prediction: Prediction) -> bytes:
        if name == "mask":
            return _png(_as_bytes(prediction.mask))
        if name == "cut-out":
            return _png(np.dstack([shot.composite, _as_bytes(prediction.mask)]))
        assert prediction.depth is not None  # `formats_of` makes sure
        if name == "depth-npy":
            buffer = io.BytesIO()
            np.save(buffer, prediction.depth)
            return buffer.getvalue()
        if name == "depth":
            steps = prediction.depth * (1000 if self._is_metric else 65534) + (not self._is_metric)
            return _png(np.rint(steps).clip(0, 65535).astype(np.uint16))
        return _png(self._coloured(prediction.depth))

    def _coloured(self, depth: np.ndarray) -> np.ndarray:
        """Depth above its scale, uint8 (H', W, 3) RGB."""
        low, high = (float(value) for value in np.percentile(depth, (1, 99)))
        colours = self._colours(depth, low, high)
        scale: dict[str, Any] = {
            "lo": low,
            "hi": high,
            "unit": "m" if self._is_metric else "inverse depth",
            "colours": DEPTH_COLOURS,
            "flipped": self._is_metric,
        }
        return np.concatenate([colours, colour_bar(colours.shape[1], **scale)])

    def _colours(self, depth: np.ndarray, low: float, high: float) -> np.ndarray:
        positive = np.maximum(depth, 1e-6)  # a prediction has no invalid pixels
        return colour_depth(positive, low, high, near_is_low=self._is_metric, invalid=INVALID)

    def _add_row(self, shot: Shot, prediction: Prediction) -> None:
        tiles = {"composite": _fitted(shot.composite)}
        if shot.background is not None:
            tiles["background"] = _fitted(shot.background)
        if prediction.mask is not None:
            mask = _fitted(prediction.mask)
            tiles["mask"] = cv2.cvtColor(_as_bytes(mask), cv2.COLOR_GRAY2RGB)
            tiles["cut-out"] = _on_checks(tiles["composite"], mask)
        if prediction.depth is not None:
            tiles["depth"] = self._coloured(_fitted(prediction.depth, room_below=BAR_PX))
        self._titles = tuple(tiles)
        self._rows.append((list(tiles.values()), printable(shot.name)))


def _as_bytes(mask: np.ndarray | None) -> np.ndarray:
    """A mask (H, W) in 0..1 as uint8."""
    assert mask is not None  # `formats_of` makes sure
    return np.rint(mask * 255).astype(np.uint8)


def _png(image: np.ndarray) -> bytes:
    """Encodes grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4) as PNG."""
    if image.ndim == 3:
        return encode_asset(image)
    return cv2.imencode(".png", image)[1].tobytes()


# ---- the sheet ---------------------------------------------------------------------------------


def _fitted(picture: np.ndarray, *, room_below: int = 0) -> np.ndarray:
    """A picture or a map as large as fits into a tile, in its shape, maybe above something."""
    height, width = picture.shape[:2]
    zoom = min((TILE_PX[0] - room_below) / height, TILE_PX[1] / width)
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)


def _framed(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A fitted picture in the middle of a tile of a size [px]."""
    tile = np.full((height, width, 3), PAPER, np.uint8)
    own_height, own_width = picture.shape[:2]
    top, left = (height - own_height) // 2, (width - own_width) // 2
    tile[top : top + own_height, left : left + own_width] = picture
    return tile


def _on_checks(picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """A picture (h, w, 3) with alpha (h, w) in 0..1 over a chequered ground."""
    rows, columns = (np.arange(side) // CHECKS_PX for side in alpha.shape)
    ground = np.where((rows[:, None] + columns) % 2, *CHECKS)[..., None]
    share = alpha[..., None]
    return np.rint(picture * share + ground * (1 - share)).astype(np.uint8)
