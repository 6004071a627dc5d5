"""state.pt, the one file a run continues from: everything that the next step depends on.

| key | holds |
|---|---|
| `format`, `version` | "training state", 1 |
| `progress` | epoch, batch within it, running sums, best score, log rows (see `loop.Progress`) |
| `parts` | the `state_dict()` of each part: network, optimizer, plateau, average |

Random numbers need no place here: the sample order is a function of (seed, epoch) and the
augmentation's draws are one of (seed, step), see `loop.seed_step`.
"""

import errno
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import torch
from torch import nn

from dsetkit.errors import RunError
from training import ranks

STATE_FILE = "state.pt"
FORMAT, VERSION = "training state", 1


class Stateful(Protocol):
    """Anything that can say what it is made of and be put back: network, optimizer, plateau."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


def save_state(path: Path, parts: Mapping[str, Stateful], progress: Mapping[str, Any]) -> None:
    """Writes the state beside `path`, then puts it in the old one's place: never half a file.

    Raises:
        RunError: it could not be written (disk full); the previous file is intact.
    """
    state = {
        "format": FORMAT,
        "version": VERSION,
        "progress": dict(progress),
        "parts": {name: part.state_dict() for name, part in parts.items()},
    }
    write_whole(path, lambda file: torch.save(state, file))


def load_state(path: Path, parts: Mapping[str, Stateful]) -> dict[str, Any]:
    """Puts the saved state back into `parts`.

    Returns:
        The progress that was given to `save_state`.

    Raises:
        RunError: no such file, not a training state, damaged, or of a newer version.
    """
    if not path.exists():
        raise RunError(
            f"{path.parent} has no {path.name}: expected the folder of a run that was cut off "
            "after its first saved state; start it without --resume"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
        state = None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise RunError(
            f"{path} is damaged or not a training state: expected the state.pt of a run; start a "
            f"new run with another --output (--init-from {path.parent}/last.safetensors keeps its "
            "weights)"
        )
    if state["version"] > VERSION:
        raise RunError(
            f"{path} has version {state['version']}, this program reads up to {VERSION}: update it"
        )
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    return state["progress"]


def copy_weights(net: nn.Module, other: nn.Module, path: Path) -> None:
    """Copies all weights of `other`, read from `path`, into `net`.

    Raises:
        RunError: they are not of the same architecture and number of input channels.
    """
    wanted, found = ((n.arch, n.in_channels) for n in (net, other))
    if found != wanted:
        raise RunError(
            f"--init-from {path} holds {found[0]} with {found[1]} input channels: expected "
            f"{wanted[0]} with {wanted[1]}; give the --arch and --inputs it was trained with"
        )
    net.load_state_dict(other.state_dict())


def write_whole(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Calls `write` on a temporary file beside `path`, syncs it and moves it over `path`.

    Of several processes that train together the first writes, the others do nothing.

    Raises:
        RunError: the disk refused; `path` is as it was before and the temporary file is gone.
    """
    if not ranks.is_first():
        return
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise  # not the disk's doing
        reason = "the disk is full" if cause.errno == errno.ENOSPC else cause.strerror
        raise RunError(
            f"{path} could not be written: {reason}; make room and continue with --resume "
            "(the files saved before are intact)"
        ) from error
