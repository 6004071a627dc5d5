"""--teacher-check: a look at the teacher's depth of a few samples, before the long run."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from dsetkit.datasets import Dataset
from dsetkit.errors import TeacherError
from dsetkit.generating import generate
from dsetkit.store import Manifest
from dsetkit.verbs.relabel import relabel
from dsetkit.verbs.show import contact_sheet, save_png

CHECKED_SAMPLES = 16


def check_teacher(picture: Path, *, name: str, **settings: object) -> int:
    """Makes a small dataset with the same settings, draws it, and throws it away.

    Args:
        picture: The `.png` to write: background, composite, mask and depth of each sample.
        name: What the sheet is called: that of the dataset to come.
        settings: Of `generate`, but for `output`.

    Returns:
        Samples on the sheet: CHECKED_SAMPLES, or all if there are fewer.

    Raises:
        DsetkitError: As `generate`, or the picture cannot be written.
    """
    if settings.get("teacher") == "none":
        raise TeacherError("--teacher-check with --teacher none: there is no depth to look at")
    # Drawn in this process: for so few samples workers would take longer to start.
    few = settings | {"at_most": CHECKED_SAMPLES, "workers": 0}
    return _draw(picture, name, lambda output: generate(output=output, **few))


def check_relabel(picture: Path, dataset: Path, *, name: str, **settings: object) -> int:
    """The same for `relabel`: samples of a dataset, spread evenly over it, with new depth.

    Args:
        picture: As `check_teacher`.
        dataset: The one to be relabelled; it is only read.
        name: As `check_teacher`.
        settings: Of `relabel`, but for `output`.

    Returns:
        As `check_teacher`.

    Raises:
        DsetkitError: As `relabel`, or the picture cannot be written.
    """
    few = settings | {"at_most": CHECKED_SAMPLES}
    return _draw(picture, name, lambda output: relabel(dataset, output, **few))


def _draw(picture: Path, name: str, make: Callable[[Path], Manifest]) -> int:
    """Draws all samples of a dataset that `make` writes where it is told, for a moment."""
    with tempfile.TemporaryDirectory() as folder:
        dataset_path = Path(folder) / (name or "dataset")
        count = make(dataset_path).num_samples
        save_png(contact_sheet(Dataset(dataset_path), list(range(count))), picture)
    return count
