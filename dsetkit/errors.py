"""The exception tree: everything that a user can correct.

    DsetkitError            one line: what came, what was expected, what to do; exit status 2
    ├── AssetError          pictures and folders that go in
    ├── DatasetError        a dataset that is missing, foreign, damaged or newer, or a full disk
    │   ├── BusyError       another process is writing it
    │   └── UnfinishedError a file that is empty or has no manifest yet
    ├── NetworkError        a network that cannot be loaded, run or exported
    │   └── TeacherError    a depth teacher that cannot be loaded or gives no usable depth
    └── RunError            a training or an evaluation that cannot go on as asked

Any other exception is a fault of ours and ends with a traceback and status 1.
"""


class DsetkitError(Exception):
    """Base of all errors that a user can correct."""


class AssetError(DsetkitError):
    """Foregrounds or backgrounds cannot be used as they are."""


class DatasetError(DsetkitError):
    """A dataset cannot be opened, read or written."""


class BusyError(DatasetError):
    """Another process is writing the file."""


class UnfinishedError(DatasetError):
    """A file is empty or has no manifest: its writer was interrupted, or has just started."""


class NetworkError(DsetkitError):
    """A network cannot be loaded, run or exported."""


class TeacherError(NetworkError):
    """A teacher cannot be loaded, or its answer cannot be used."""


class RunError(DsetkitError):
    """A training or an evaluation cannot go on with these arguments, folders or files."""


def one_line(error: BaseException) -> str:
    """The start of an error's text, without line breaks."""
    return " ".join(str(error).split())[:200]


def printable(text: object) -> str:
    r"""Text or a path in one line of printable characters, the others as escapes such as \n.

    File names may hold line breaks, control codes, and bytes that are not UTF-8.
    """
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in str(text)
    )
