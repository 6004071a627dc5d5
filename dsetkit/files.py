"""A file that is written whole or not at all."""

import os
from pathlib import Path

from dsetkit.errors import DatasetError


def write_whole(path: Path, content: bytes) -> None:
    """Writes under a temporary name in the same folder, made if need be, then renames.

    Raises:
        DatasetError: The place cannot be written to, or has no room left.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DatasetError(f"cannot write {path}: {error.strerror}") from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
