"""`python -m dsetkit VERB ...`."""

from dsetkit.cli import entry_point

if __name__ == "__main__":
    entry_point()
