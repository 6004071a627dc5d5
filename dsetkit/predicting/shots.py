"""Which pictures are predicted, and which background belongs to each: files, folders, a video.

| given                      | pictures                                                           |
|----------------------------|--------------------------------------------------------------------|
| files                      | those                                                              |
| a folder                   | all PNG, JPEG and WebP files below it, in the order of their names |
| a pattern, `shots/*_a.jpg` | all files that match; `**` stands for any folders                  |
| a video                    | its frames, or each N-th of them                                   |
| a table                    | its rows: the columns composite and, if there are any, background  |

One background is that of all pictures (a camera on a stand). Of several, a picture's background is
the one of the same name in another folder; suffixes and case do not count. Or the numbers in the
names tell it, by the rules of a reference system. Pictures are turned upright as their EXIF data
says.
"""

import glob
import logging
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from dsetkit.assets import MAX_MEGAPIXELS, NOT_UTF_8, decode_picture, is_utf8, read_file
from dsetkit.errors import AssetError, printable
from dsetkit.importing import (
    FileNaming,
    backgrounds_by_names,
    csv_rows,
    natural,
    pictures_below,
    table_text,
)

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
WILDCARDS = "*?["
FFMPEG_IS_QUIET = "-8"  # what is wrong with a video is told here, in one line
TABLE_COLUMNS = ("composite", "background")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shot:
    """A picture to predict.

    Attributes:
        name: What the files of its prediction are called, without suffix; may have folders.
        source: Where it comes from, for messages.
        composite: uint8 (H, W, 3) RGB.
        background: The same view without the foreground, or None.
    """

    name: str
    source: str
    composite: np.ndarray
    background: np.ndarray | None


@dataclass(frozen=True)
class Shots:
    """Pictures to predict, decoded one by one as they are iterated over.

    Attributes:
        count: How many there are; of a video, how many its header promises.
        read: Iterates over them; calls its argument with the reason for each that cannot be used.
    """

    count: int
    read: Callable[[Callable[[str], None]], Iterator[Shot]]


@dataclass(frozen=True)
class _Files:
    """The files of a shot."""

    name: str
    composite: Path
    background: Path | None


def find_shots(
    composites: Sequence[Path] = (),
    *,
    backgrounds: Sequence[Path] = (),
    table: Path | None = None,
    naming: FileNaming | None = None,
    every: int = 1,
) -> Shots:
    """Finds the pictures to predict; see the top of this file.

    Args:
        composites: Files, folders, patterns, or one video.
        backgrounds: None, one, or one for each composite; files, folders or patterns.
        table: A CSV table in place of both; its paths count from its folder.
        naming: The system whose file names tell the background of a composite; None = they have
            the same name, or there is one for all.
        every: Of a video, take each N-th frame.

    Raises:
        AssetError: There is no picture, a background is missing, or a file cannot be used.
    """
    if naming is not None and (table is not None or not backgrounds):
        raise AssetError(
            f"--system {naming.system} finds the background of each picture by its name: expected "
            "--composite and --background"
        )
    if table is not None:
        if composites or backgrounds:
            raise AssetError("a table names all pictures: leave composites and backgrounds out")
        return _of_files(_by_table(table))
    videos = [path for path in composites if path.suffix.lower() in VIDEO_SUFFIXES]
    found_backgrounds = _pictures(backgrounds)
    if videos:
        if len(composites) > 1 or len(found_backgrounds) > 1 or naming is not None:
            raise AssetError(
                f"{printable(videos[0])} is a video: expected it alone, with one background or none"
            )
        return _of_video(videos[0], [path for _, path in found_backgrounds], every)
    found = _pictures(composites)
    if not found:
        raise AssetError("no pictures: expected files, folders, patterns, a video or a table")
    names, paths = _unique_names(found), [path for _, path in found]
    behind: Sequence[Path | None] = (
        backgrounds_by_names(naming, paths, [path for _, path in found_backgrounds])
        if naming is not None
        else _backgrounds_of(found, found_backgrounds)
    )
    return _of_files([_Files(*one) for one in zip(names, paths, behind, strict=True)])


# ---- files -------------------------------------------------------------------------------------


def _pictures(given: Sequence[Path]) -> list[tuple[str, Path]]:
    """Path relative to what was given, and path, of each picture."""
    found: list[tuple[str, Path]] = []
    for path in given:
        if path.is_dir():
            found += [(name, path / name) for name in pictures_below(path)]
        elif not path.exists() and any(character in str(path) for character in WILDCARDS):
            matches = sorted(glob.glob(str(path), recursive=True), key=natural)
            files = [Path(match) for match in matches if not Path(match).is_dir()]
            if not files:
                raise AssetError(f"{printable(path)} matches no file")
            found += [(file.name, file) for file in files]
        else:
            found.append((path.name, path))
    return found


def _unique_names(found: Sequence[tuple[str, Path]]) -> list[str]:
    """A name for the results of each picture: without suffix where that is enough."""
    stems = Counter(_stem(name).lower() for name, _ in found)
    wanted = [_stem(name) if stems[_stem(name).lower()] == 1 else name for name, _ in found]
    wanting = Counter(name.lower() for name in wanted)
    used = {name for name, count in wanting.items() if count == 1}
    last: Counter[str] = Counter()
    names = []
    for want in wanted:
        name = want
        if wanting[want.lower()] > 1:
            while name.lower() in used or name == want:
                last[want.lower()] += 1
                name = f"{want}-{last[want.lower()]}"
            used.add(name.lower())
        names.append(name)
    return names


def _stem(name: str) -> str:
    return str(Path(name).with_suffix(""))


def _backgrounds_of(
    composites: Sequence[tuple[str, Path]], backgrounds: Sequence[tuple[str, Path]]
) -> list[Path | None]:
    if not backgrounds:
        return [None] * len(composites)
    if len(backgrounds) == 1:
        return [backgrounds[0][1]] * len(composites)
    by_stem: dict[str, Path] = {}
    for name, path in backgrounds:
        if by_stem.setdefault(_stem(name).lower(), path) != path:
            first = by_stem[_stem(name).lower()]
            raise AssetError(
                f"backgrounds {printable(first)} and {printable(path)} have one name: leave one out"
            )
    for name, path in composites:
        if _stem(name).lower() not in by_stem:
            raise AssetError(
                f"no background for {printable(path)}: expected one background for all, one called "
                f"{printable(_stem(name))}, or a table of pairs"
            )
    return [by_stem[_stem(name).lower()] for name, _ in composites]


def _by_table(table: Path) -> list[_Files]:
    shown = printable(table)
    rows = csv_rows(table_text(table, partial(read_file, table)), shown, delimiter=",")
    columns = [name.lower() for name in next(rows, (1, []))[1]]
    if columns not in (list(TABLE_COLUMNS), list(TABLE_COLUMNS[::-1]), ["composite"]):
        raise AssetError(
            f"{shown} has the columns {printable(', '.join(columns))[:200] or '(none)'}: expected "
            "composite and background in its first line"
        )
    lines = [(line, values) for line, values in rows if any(values)]
    for line, values in lines:
        if len(values) != len(columns) or not all(Path(value).name for value in values):
            raise AssetError(f"{shown}, line {line}: expected a path for {' and '.join(columns)}")
    if not lines:
        raise AssetError(f"no pairs in {shown}: expected a row for each picture")
    places = [dict(zip(columns, values, strict=True)) for _, values in lines]
    composites = [Path(place["composite"]) for place in places]
    names = _unique_names([(path.name, path) for path in composites])
    root = table.parent
    return [
        _Files(name, root / path, root / place["background"] if "background" in place else None)
        for name, path, place in zip(names, composites, places, strict=True)
    ]


def _of_files(files: list[_Files]) -> Shots:
    def read(refuse: Callable[[str], None]) -> Iterator[Shot]:
        last: tuple[Path | None, np.ndarray | None] = (None, None)
        for file in files:
            try:
                composite = _decoded(file.composite)
                if file.background != last[0]:
                    last = (file.background, _decoded(file.background) if file.background else None)
            except AssetError as error:
                refuse(str(error))
                continue
            yield Shot(file.name, str(file.composite), composite, last[1])

    return Shots(len(files), read)


def _decoded(path: Path) -> np.ndarray:
    try:
        return decode_picture(read_file(path)).upright("RGB")
    except AssetError as error:
        raise AssetError(f"{printable(path)}: {error}") from None


# ---- videos ------------------------------------------------------------------------------------


def _of_video(path: Path, backgrounds: Sequence[Path], every: int) -> Shots:
    shown = printable(path)
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        raise AssetError(f"{shown}: cannot be read ({error.strerror})") from None
    if not is_utf8(str(path)):  # OpenCV crashes on it
        raise AssetError(f"{shown}: {NOT_UTF_8}")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", FFMPEG_IS_QUIET)
    video = cv2.VideoCapture(str(path)) if is_file else None
    if video is None or not video.isOpened():
        raise AssetError(f"{shown} cannot be read as a video: expected MP4, MOV, AVI, MKV or WebM")
    width, height = (
        int(video.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    )
    if not 0 < width * height <= MAX_MEGAPIXELS * 1_000_000:
        raise AssetError(f"{shown}: {width} x {height} px, over {MAX_MEGAPIXELS} megapixels")
    promised = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
    background = _decoded(backgrounds[0]) if backgrounds else None

    def read(refuse: Callable[[str], None]) -> Iterator[Shot]:
        number = 0
        while video.grab():
            if number % every == 0:
                is_read, frame = video.retrieve()
                if is_read:
                    name = f"{path.stem}-{number:06d}"
                    rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                    yield Shot(name, f"{shown}, frame {number}", rgb, background)
                else:
                    refuse(f"{shown}, frame {number}: damaged")
            number += 1
        video.release()
        if number == 0:
            refuse(f"{shown}: no frame can be read")
        elif number < promised:
            logger.warning(
                "%s: its header promises %s frames, but only %s can be read: it is cut off or "
                "damaged",
                *(shown, f"{promised:,}", f"{number:,}"),
            )

    return Shots(-(-promised // every), read)
