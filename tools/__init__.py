"""Programs for occasional use, started as `python -m tools.NAME` from the repository."""
