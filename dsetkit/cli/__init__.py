"""The command line: parsers that call the verbs; no logic."""

from dsetkit.cli.main import entry_point, main

__all__ = ["entry_point", "main"]
