"""One thread for each test process: they run side by side, one for each core (see pyproject).

On pictures as small as these, several threads mostly wait for each other.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded; for commands that tests start, too


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, dict], Path]:
    """A dataset of import-images that no test changes, of (system, options)."""
    from tests.image_sets import ImportedSets  # loads torch

    return ImportedSets(tmp_path_factory.mktemp)
