"""--teacher-check: a look at the teacher's depth of a few samples, before the long run."""

import logging
import tempfile
from pathlib import Path

from dsetkit.dataset import Dataset
from dsetkit.errors import TeacherError
from dsetkit.pipeline import generate
from dsetkit.show import contact_sheet, save_png

CHECKED_SAMPLES = 16

log = logging.getLogger(__name__)


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
    with tempfile.TemporaryDirectory() as folder:
        dataset_path = Path(folder) / (name or "dataset")
        # Drawn in this process: for so few samples workers would take longer to start.
        few = settings | {"output": dataset_path, "at_most": CHECKED_SAMPLES, "workers": 0}
        count = generate(**few).num_samples
        save_png(contact_sheet(Dataset(dataset_path), list(range(count))), picture)
    return count
