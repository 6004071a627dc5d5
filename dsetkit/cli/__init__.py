"""The command line: parsers only, no logic."""

from dsetkit.cli.main import entry_point, main

__all__ = ["entry_point", "main"]
