"""Packages that only some commands need: loaded when they are, named in one line when missing."""

from importlib import import_module
from typing import Any

from dsetkit.errors import DsetkitError


def extra_module(
    name: str, *, extra: str, purpose: str, error: type[DsetkitError] = DsetkitError
) -> Any:
    """Imports a module of an optional package.

    Args:
        name: The module, such as `pyarrow.parquet`.
        extra: The extra of dsetkit that installs it.
        purpose: What needs it, for the message.
        error: What is raised.

    Raises:
        DsetkitError: It is not installed; of the class `error`.
    """
    try:
        return import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise error(
            f"{purpose} needs {package}, which is not installed: pip install 'dsetkit[{extra}]'"
        ) from None
