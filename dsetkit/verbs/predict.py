"""predict: what trained networks see in pictures, written as files."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dsetkit.errors import AssetError, RunError, printable
from dsetkit.files import check_apart
from dsetkit.importing import FileNaming
from dsetkit.predicting import Predictor, ResultWriter, Shot, find_shots, formats_of


@dataclass(frozen=True)
class Predicted:
    """What was written.

    Attributes:
        count: Number of pictures.
        formats: What was written of each.
        sheet: The sheet of the first pictures.
        seconds: How long the pictures took, without loading the networks [s].
        skipped: Reason for each picture that was left out.
        other_views: Pictures whose background shows another view; the network did not see it.
    """

    count: int
    formats: list[str]
    sheet: Path | None
    seconds: float
    skipped: list[str]
    other_views: list[str]


def predict(
    predictor: Predictor,
    output: Path,
    composites: Sequence[Path] = (),
    *,
    backgrounds: Sequence[Path] = (),
    table: Path | None = None,
    naming: FileNaming | None = None,
    every: int = 1,
    formats: list[str] | None = None,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Predicted:
    """Predicts pictures and writes the results; see `predicting.writing` for the files.

    Args:
        predictor: The networks.
        output: Folder to write into; made if it is missing. Files of the same name are replaced.
        composites: As of `find_shots`.
        backgrounds: As of `find_shots`.
        table: As of `find_shots`.
        naming: As of `find_shots`.
        every: As of `find_shots`.
        formats: What to write; None = everything that the networks give, but no .npy.
        skip_bad: Leave out pictures that cannot be used.
        progress: Called with (pictures done, pictures in all).

    Raises:
        RunError: The networks do not give what is to be written, or need backgrounds.
        AssetError: No pictures, a picture that cannot be used, or a background is missing.
        NetworkError: A network cannot be run on a picture.
        DsetkitError: A file cannot be written.
    """
    try:
        formats = formats_of(predictor.maps, formats)
    except ValueError as error:
        raise RunError(f"--write {error}") from None
    if "background" in predictor.inputs and not backgrounds and table is None:
        raise RunError(
            "these networks see the background, too: give --background, the same view without the "
            "foreground"
        )
    check_apart(output, *composites, *backgrounds)
    shots = find_shots(composites, backgrounds=backgrounds, table=table, naming=naming, every=every)
    writer = ResultWriter(output, formats, predictor)
    skipped: list[str] = []

    def refuse(reason: str) -> None:
        if not skip_bad:
            raise AssetError(f"{reason}; --skip-bad leaves out what cannot be used")
        skipped.append(reason)

    waiting: list[Shot] = []  # read, not predicted yet
    other_views: list[str] = []

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        for shot in shots.read(refuse):
            try:
                pair = predictor.check(shot.composite, shot.background)
            except AssetError as error:
                refuse(f"{printable(shot.source)}: {error}")
                continue
            waiting.append(shot)
            yield pair

    start = time.monotonic()
    progress(0, shots.count)  # starts the clock of the rate
    for prediction in predictor.predict(pairs()):
        shot = waiting.pop(0)
        if prediction.same_view is False:
            other_views.append(printable(shot.source))
        writer.write(shot, prediction)
        progress(writer.count, max(shots.count, writer.count))
    seconds = time.monotonic() - start
    if not writer.count:
        raise AssetError(f"no picture could be used: {skipped[0] if skipped else 'no frames'}")
    sheet = writer.write_sheet()
    return Predicted(writer.count, formats, sheet, seconds, skipped, other_views)
