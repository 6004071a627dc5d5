"""Programs for occasional use, started as `python -m tools.NAME` from the repository."""

import dsetkit.openmp  # noqa: F401  (before torch, which most load)
