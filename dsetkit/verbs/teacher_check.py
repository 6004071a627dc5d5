"""--teacher-check: shows the teacher's depth of a few samples before a long run."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from dsetkit.datasets import Dataset
from dsetkit.store import Manifest
from dsetkit.verbs.show import contact_sheet, save_png

CHECKED_SAMPLES = 16


def check_teacher(picture: Path, *, name: str, make: Callable[[Path, int], Manifest]) -> int:
    """Makes a small dataset in a temporary folder and writes a contact sheet of its samples.

    Args:
        picture: The `.png` to write: background, composite, mask and depth of each sample.
        name: Title of the sheet: the name of the dataset to be made.
        make: Called with a directory and the largest number of samples; makes a dataset there, by
            `generate` or `relabel` with the settings of the long run.

    Returns:
        Samples on the sheet: CHECKED_SAMPLES, or all if there are fewer.

    Raises:
        DsetkitError: Whatever `make` raises, or the picture cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (name or "dataset")
        count = make(path, CHECKED_SAMPLES).num_samples
        save_png(contact_sheet(Dataset(path), list(range(count))), picture)
    return count
