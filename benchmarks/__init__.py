"""Measurements, started as `python -m benchmarks.NAME` from the repository; see docs/results.md."""

import dsetkit.openmp  # noqa: F401  (before torch, which all but a few load)
