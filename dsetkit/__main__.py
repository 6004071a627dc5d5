"""`python -m dsetkit VERB ...`."""

from typing import NoReturn

from dsetkit.stopping import end_while_loading


def entry_point() -> NoReturn:
    """The installed `dsetkit` command."""
    end_while_loading("__main__")
    from dsetkit import cli

    cli.entry_point()


if __name__ == "__main__":
    entry_point()
