"""The error of the scripts: what a user can mend in a run's arguments, folder or files."""


class RunError(Exception):
    """A run cannot go on as asked: the message says what came, what was expected, what to do."""
