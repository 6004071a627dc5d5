"""`python -m dsetkit VERB ...`."""

from typing import NoReturn

from dsetkit.stopping import end_at_once


def entry_point() -> NoReturn:
    """The installed `dsetkit` command."""
    end_at_once()  # on Ctrl-C, while the rest is loaded
    from dsetkit import cli

    cli.entry_point()


if __name__ == "__main__":
    entry_point()
