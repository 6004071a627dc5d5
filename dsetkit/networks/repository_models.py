"""The repository's own networks, which the installed package does without.

A wheel of dsetkit holds no networks that are trained: those lie in the folder `models` of a clone.
Only checkpoints, as teachers, for predictions and for `export-model`, need them, and only this
module looks for them.
"""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

from dsetkit.errors import NetworkError

FILES = ("registry.py", "heads.py", "weights.py", "efficientnet_lite.py")
NAMES = ("ModelError", "answer", "load_model", "efficientnet_lite")


def repository_models(asked_by: str) -> ModuleType:
    """The package `models` of a clone.

    Somebody else's package of that name is recognised by its files and not imported.

    Args:
        asked_by: What needs it, for the message.

    Raises:
        NetworkError: It cannot be imported, or is somebody else's.
    """
    folder = _folder()
    if folder is None:
        raise _missing(asked_by, "which is not installed with dsetkit")
    if not all((folder / name).is_file() for name in FILES):
        raise _missing(asked_by, f"but {folder} is another package of that name")
    try:
        models = importlib.import_module("models")
        importlib.import_module("models.efficientnet_lite")  # becomes one of its names
    except ImportError as error:
        raise _missing(asked_by, f"which cannot be imported ({error})") from error
    lacking = [name for name in NAMES if not hasattr(models, name)]
    if lacking:
        raise _missing(asked_by, f"but {folder} has no {', '.join(lacking)}")
    return models


def _folder() -> Path | None:
    """Where `import models` would find a package; None if nowhere."""
    try:
        spec = importlib.util.find_spec("models")
    except (ImportError, ValueError):  # a module without a spec, as tests make them
        return None
    if spec is None or not spec.submodule_search_locations:
        return None if spec is None or spec.origin is None else Path(spec.origin)
    return Path(next(iter(spec.submodule_search_locations)))


def _missing(asked_by: str, found: str) -> NetworkError:
    return NetworkError(
        f"{asked_by} needs the folder models/ of dsetkit's repository, {found}: run it as "
        "`python -m dsetkit` in a clone"
    )
