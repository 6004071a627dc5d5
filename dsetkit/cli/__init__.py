"""The command line: parsers only, no logic."""
